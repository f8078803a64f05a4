//! `grantlog blast-radius`: what a leaked token, credential, client or account could do, and did.

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::arguments::{Connection, Json};
use super::grant::Found;
use super::session::Session;
use super::{client, grant_uses, missing, output, prompt, user};
use crate::blast_radius::{BlastRadius, Could, Did, Of, ReachedSession, ReachedToken, Window, measure};
use crate::domain::value::Digest;
use crate::ids::RequestId;
use crate::trail::as_of::AsOf;
use crate::trail::bounds::Names;

/// Whose blast radius.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OfName {
    /// Of an authorization code, device code, access token or refresh token; - reads it from standard input
    Token,
    /// Of a client's secrets, by the client's id, or of one of them with --number; or of a generated secret itself (`gls_…`),
    /// - reads it from standard input
    Secret,
    /// Of a client's or a sender's key or certificate, by its kid or thumbprint
    Key,
    /// Of a client, by its id
    Client,
    /// Of a user, by the login name or id
    User,
    /// Of the network (/24 or /48) of an address
    Address,
    /// Of what one request did, an administrator's command or any other, by its request id
    Request,
}

/// What a token, secret, key, client, user, address or act could do between two moments, and what it did
#[derive(Args)]
pub(super) struct Arguments {
    /// Of what
    #[arg(long, value_enum)]
    of: OfName,
    /// Which one
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// The number of the secret, as `client show` lists them
    #[arg(long, value_name = "NUMBER")]
    number: Option<u32>,
    /// From when on: a moment (RFC 3339), a day, so long ago (2h), or a position; otherwise from the beginning
    #[arg(long, value_name = "TIME|POSITION")]
    since: Option<AsOf>,
    /// Until when, or up to which position; otherwise until now
    #[arg(long, value_name = "TIME|POSITION")]
    until: Option<AsOf>,
    #[command(flatten)]
    output: Json,
}

pub(super) async fn run(connection: &Connection, arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    let shown = show(&session, arguments).await;
    session.close().await;
    shown
}

async fn show(session: &Session, arguments: Arguments) -> anyhow::Result<()> {
    let bounds = (arguments.since, arguments.until);
    let window = Window::asked(&session.operations, Names::OPTIONS, bounds).await?;
    if arguments.number.is_some() && arguments.of != OfName::Secret {
        bail!("--number goes with --of secret");
    }
    let of = choose(session, (arguments.of, arguments.value), arguments.number).await?;
    let context = session.context("blast-radius")?;
    let reading = of.reading(window.stretch);
    session.operations.record_reading(&context, reading).await?;
    let spinner = output::spinner("following the trail");
    let found = measure(&session.operations, &of, window).await;
    spinner.finish_and_clear();
    let found = found?;
    if arguments.output.json {
        return output::json(&found);
    }
    print(&found)
}

async fn choose(session: &Session, (of, value): (OfName, String), number: Option<u32>) -> anyhow::Result<Of> {
    Ok(match of {
        OfName::Token => {
            let found = Found::find(session, value).await?;
            let (sequence, access) = found
                .issued()
                .context("this is a grant's id: paste a token of it, or see `grantlog grant show`")?;
            Of::Token {
                grant: found.grant,
                sequence,
                access,
            }
        }
        OfName::Secret => secret(session, value, number).await?,
        OfName::Key => Of::Key(value),
        OfName::Client => Of::Client(client::find(session, &value).await?),
        OfName::User => Of::User(user::find(session, &value).await?),
        OfName::Address => Of::Address(value.parse().context("this is not an IP address")?),
        OfName::Request => {
            let id = Uuid::try_parse(&value).context("this is not a request's id, which is a UUID")?;
            Of::Request(RequestId(id))
        }
    })
}

/// A client's secrets, or the one that was pasted: it is digested at once, and not repeated.
async fn secret(session: &Session, value: String, number: Option<u32>) -> anyhow::Result<Of> {
    let value = Zeroizing::new(if value == "-" {
        prompt::first_line()?
    } else {
        value
    });
    let value = value.trim();
    if !value.starts_with("gls_") {
        let client = client::find(session, value).await?;
        return Ok(Of::Secret { client, number });
    }
    if number.is_some() {
        bail!("--number goes with a client's id, not with a secret");
    }
    let digest = Digest::of(value.as_bytes());
    let found = session.operations.find_secret(&digest).await?;
    let (client, number) = found.context("no client ever had this secret")?;
    Ok(Of::Secret {
        client,
        number: Some(number),
    })
}

fn print(found: &BlastRadius) -> anyhow::Result<()> {
    let since = found
        .since
        .map_or_else(|| "the beginning".to_owned(), output::moment);
    output::line(&format!(
        "{} from {since} to {}, positions {} to {}",
        found.of,
        output::moment(found.until),
        found.first_position,
        found.last_position
    ))?;
    print_could(&found.could)?;
    print_did(&found.did)?;
    missing::note(&found.missing);
    if let Some(before) = found.forgotten_before {
        output::note(&format!(
            "codes and tokens that expired before {} are not among what it could use: the tables have forgotten them",
            output::moment(before)
        ));
    }
    for what in &found.truncated {
        output::note(&format!(
            "there is more of {what} than was looked at: narrow it with --since and --until"
        ));
    }
    Ok(())
}

fn joined<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let words: Vec<&str> = words.into_iter().map(String::as_str).collect();
    output::visible(&words.join(" "))
}

fn print_could(could: &Could) -> anyhow::Result<()> {
    output::line("\nIt could")?;
    for client in &could.clients {
        output::line(&format!(
            "  act as the client {} by {}, scope {}",
            output::visible(&client.client_id),
            client.grant_types.join(" "),
            joined(&client.scope)
        ))?;
        if !client.introspects.is_empty() {
            output::line(&format!("  ask about tokens for {}", joined(&client.introspects)))?;
        }
    }
    output::line(&format!("  scopes     {}", joined(&could.scopes)))?;
    output::line(&format!("  audiences  {}", joined(&could.audiences)))?;
    for (what, tokens) in [
        ("codes", &could.codes),
        ("access tokens", &could.access_tokens),
        ("refresh tokens", &could.refresh_tokens),
    ] {
        let live = tokens.iter().filter(|token| token.good_at_end).count();
        output::line(&format!(
            "  {} {what}, {live} of them good at the end",
            tokens.len()
        ))?;
    }
    could.sessions.iter().try_for_each(print_login)?;
    for power in &could.exchanges {
        output::line(&format!(
            "  have tokens of client {} exchanged by client {}: scope {}, audience {}",
            power.tokens_of,
            power.client,
            output::visible(&power.scope),
            joined(&power.audience)
        ))?;
    }
    let all: Vec<[String; 6]> = [
        ("code", &could.codes),
        ("access", &could.access_tokens),
        ("refresh", &could.refresh_tokens),
    ]
    .into_iter()
    .flat_map(|(kind, tokens)| tokens.iter().map(move |token| row(kind, token)))
    .collect();
    if all.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::table(
        ["POSITION", "KIND", "GRANT", "GOOD FROM", "GOOD UNTIL", "SCOPE"],
        &all,
    )
}

fn print_login(login: &ReachedSession) -> anyhow::Result<()> {
    let why = login.ended_by.as_ref().map(|why| format!(" ({why})"));
    output::line(&format!(
        "  have grants given in the login {} of user {} until {}{}",
        login.session,
        login.subject,
        output::moment(login.good_until),
        why.unwrap_or_default()
    ))
}

fn row(kind: &str, token: &ReachedToken) -> [String; 6] {
    let kind = match token.generation {
        Some(generation) => format!("{kind} {generation}"),
        None => kind.to_owned(),
    };
    let until = match &token.ended_by {
        Some(reason) => format!("{} ({reason})", output::moment(token.good_until)),
        None => output::moment(token.good_until),
    };
    [
        token.position.to_string(),
        kind,
        token.grant.to_string(),
        output::moment(token.good_from),
        until,
        token.scope.clone(),
    ]
}

fn print_did(did: &Did) -> anyhow::Result<()> {
    output::line("\nIt did")?;
    for grant in &did.exchanged {
        output::line(&format!("  tokens of grant {grant} were exchanged for its own"))?;
    }
    let events: Vec<[String; 6]> = did
        .events
        .iter()
        .map(|fact| {
            let positions: Vec<String> = fact.positions.iter().take(3).map(ToString::to_string).collect();
            let more = if fact.count > 3 {
                format!(" … {}", fact.last_position)
            } else {
                String::new()
            };
            [
                fact.event_type.clone(),
                fact.endpoint.clone(),
                grant_uses::short(fact.network.as_ref()),
                fact.count.to_string(),
                output::moment(fact.last_at),
                format!("{}{more}", positions.join(" ")),
            ]
        })
        .collect();
    output::table(
        ["EVENT", "ENDPOINT", "NETWORK", "COUNT", "LAST", "POSITIONS"],
        &events,
    )?;
    grant_uses::tables(&did.used)
}
