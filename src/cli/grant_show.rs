//! `grantlog grant show`: a grant from the login to its last token, with what each step rested on.

use anyhow::bail;

use super::arguments::Json;
use super::audit::operator;
use super::client_approval::who;
use super::grant::Found;
use super::session::Session;
use super::{grant_uses, output};
use crate::domain::grant::Family;
use crate::domain::openid::{Claim, IndividualClaims};
use crate::ledger::{Caller, Metadata, StoredEvent};
use crate::standing::{GrantStanding, GrantState};
use crate::trail::as_of::AsOf;
use crate::trail::document;
use crate::trail::history::{History, Version};
use crate::trail::lineage::{Fork, Lineage, Place, TokenStep};
use crate::trail::pasted::Recognised;

/// How many hexadecimal digits of a network's digest are printed.
const SHORT: usize = 12;

pub(super) async fn run(
    session: &Session,
    grant: String,
    (at, reveal): (Option<AsOf>, bool),
    output: Json,
) -> anyhow::Result<()> {
    let found = Found::find(session, grant).await?;
    let (upto, moment) = match at {
        Some(at) => (
            at.position(session.ledger()).await?,
            at.moment(session.ledger()).await?,
        ),
        None => (i64::MAX, session.ledger().clock().now()),
    };
    let events = found.read(session, "grant show", (upto, reveal)).await?;
    let Some(history) = History::read(&session.operations, (&found.pasted, events), (upto, moment)).await?
    else {
        bail!(
            "there is no grant {}{}",
            found.grant,
            if at.is_some() { " at that moment" } else { "" }
        );
    };
    if output.json {
        return output::json(&history.document(session.ledger(), reveal).await?);
    }
    print(&history)?;
    output::line("")?;
    table(session, &history.events, reveal).await?;
    grant_uses::table(&history.uses)
}

fn print(history: &History) -> anyhow::Result<()> {
    output::line(&format!("grant {}", history.grant))?;
    if let Some(family) = history.state.as_deref() {
        print_state(family, history.standing.as_ref())?;
    }
    if let Some(pasted) = &history.credential {
        print_pasted(pasted)?;
    }
    output::line("")?;
    print_lineage(history)?;
    output::line("")?;
    print_basis(history)
}

fn named(name: &str, value: &str) -> anyhow::Result<()> {
    output::line(&format!("{name:<10} {}", output::visible(value)))
}

fn print_state(family: &Family, standing: Option<&GrantStanding>) -> anyhow::Result<()> {
    let failed = standing.and_then(|standing| standing.failed);
    let ends = output::moment(family.expires_at);
    let words = match (family.revoked, standing.map(|standing| standing.state)) {
        (Some(reason), _) => format!("revoked ({})", reason.name()),
        (None, Some(GrantState::Expired)) => format!("expired on {ends}"),
        (None, Some(GrantState::Blocked | GrantState::Revoked)) => {
            let why = failed.map(|failed| failed.to_string()).unwrap_or_default();
            format!("blocked, its tokens are refused: {why}")
        }
        (None, Some(GrantState::Live) | None) => format!("stands until {ends}"),
    };
    let subject = family
        .subject
        .map_or_else(|| "none".to_owned(), |subject| subject.to_string());
    named("state", &words)?;
    named("client", &family.client.to_string())?;
    named("user", &subject)?;
    named("flow", family.flow.name())?;
    named("scope", &family.scope.to_string())?;
    let individual = family.individual_claims().map(IndividualClaims::all);
    if let Some(claims) = individual.filter(|claims| !claims.is_empty()) {
        let names: Vec<&str> = claims.into_iter().map(Claim::name).collect();
        named("claims", &names.join(" "))?;
    }
    if let Some(standing) = standing {
        let of_claims = standing.lapsed_claims.iter();
        let of_claims = of_claims.map(|claim| format!("the claim {claim}"));
        let lapsed: Vec<String> = standing.lapsed.iter().cloned().chain(of_claims).collect();
        if !lapsed.is_empty() {
            let why = "no longer the client's, no longer approved, retired, or beyond what it rests on";
            let lapsed = lapsed.join(", ");
            named("lapsed", &format!("{lapsed} (its tokens do not have it: {why})"))?;
        }
    }
    if let Some(device) = &family.device {
        named("device", device.stage.name())?;
    }
    if let Some(refresh) = &family.refresh {
        named("refresh", &format!("generation {}", refresh.current.number))?;
    }
    Ok(())
}

fn print_pasted(pasted: &Recognised) -> anyhow::Result<()> {
    let words = match (pasted.authentic, pasted.failed) {
        (false, _) => "NOT authentic: this grant never issued it".to_owned(),
        (true, None) => {
            let until = pasted.expires_at.map(output::moment).unwrap_or_default();
            format!("authentic, usable until {until}")
        }
        (true, Some(failed)) => format!("authentic, no longer usable: {failed}"),
    };
    named("pasted", &format!("{}: {words}", pasted.kind))
}

fn at(place: Place) -> String {
    format!("at {} on {}", place.position, output::moment(place.at))
}

/// From the login to the code.
fn beginnings(history: &History) -> Vec<String> {
    let lineage = &history.lineage;
    let mut steps = Vec::new();
    let first = history.rested_on.values().next();
    if let Some(session) = lineage.session {
        let login = first.and_then(|first| first.session.as_ref());
        steps.push(format!("login {session}{}", login.map(since).unwrap_or_default()));
    }
    for (what, tokens) in [
        ("the token", &lineage.subject_tokens),
        ("the actor's token", &lineage.actor_tokens),
    ] {
        steps.extend(tokens.iter().map(|token| {
            let (grant, sequence, client) = (token.grant, token.sequence, token.client);
            format!("rests on {what} of grant {grant}, sequence {sequence}, client {client}")
        }));
    }
    steps.extend(
        lineage
            .issuer
            .map(|issuer| format!("rests on the trust in issuer {issuer}")),
    );
    if let Some(consent) = first.and_then(|first| first.consent.as_ref()) {
        steps.push(format!("consent{}", since(consent)));
    }
    if let Some(code) = &lineage.code {
        steps.push(format!(
            "{} issued {}",
            code.kind.replace('_', " "),
            at(code.issued)
        ));
        steps.extend(code.answered.map(|place| format!("  answered {}", at(place))));
        steps.extend(code.redeemed.map(|place| format!("  redeemed {}", at(place))));
        steps.extend(forks(&lineage.forks, None));
    }
    steps
}

/// Each generation, and what it was exchanged for.
fn generations(lineage: &Lineage) -> Vec<String> {
    let mut steps = Vec::new();
    for token in &lineage.tokens {
        steps.push(format!("{} {}", issued(token), at(token.issued)));
        steps.extend(
            token
                .access_revoked
                .map(|place| format!("  access token revoked {}", at(place))),
        );
        steps.extend(token.exchanged.iter().map(|one| {
            let how = if one.direct {
                "exchanged for"
            } else {
                "further exchanged for"
            };
            format!(
                "  {how} grant {} by client {}, {}",
                one.grant,
                one.client,
                at(one.issued)
            )
        }));
        if token.generation.is_some() {
            steps.extend(forks(&lineage.forks, token.generation));
        }
    }
    steps
}

fn print_lineage(history: &History) -> anyhow::Result<()> {
    let lineage = &history.lineage;
    let mut steps = beginnings(history);
    steps.extend(generations(lineage));
    if history.truncated.contains(&"lineage") {
        steps.push(
            "and more exchanges or containments than are told: see `grantlog audit search --grant`"
                .to_owned(),
        );
    }
    if let Some(revoked) = &lineage.revoked {
        steps.push(format!(
            "all of it revoked ({}) {}",
            revoked.reason.name(),
            at(revoked.place)
        ));
    }
    for one in &history.contained {
        let cause = serde_json::to_string(&one.cause)?;
        steps.push(format!(
            "contained by alert {} at {}: {cause}",
            one.alert, one.position
        ));
    }
    output::line("lineage")?;
    steps
        .iter()
        .try_for_each(|step| output::line(&format!("  {}", output::visible(step))))
}

fn since(version: &Version) -> String {
    format!(
        ", version {}: {} at {} on {}",
        version.version,
        version.event_type,
        version.position,
        output::moment(version.at)
    )
}

fn issued(token: &TokenStep) -> String {
    let used = token
        .used
        .map(|used| format!(", for generation {used}"))
        .unwrap_or_default();
    match token.generation {
        Some(generation) => format!("generation {generation} ({}{used})", token.event),
        None => format!("access token ({}{used})", token.event),
    }
}

/// The forks of the code, or of one generation.
fn forks(forks: &[Fork], generation: Option<u32>) -> Vec<String> {
    let of = forks.iter().filter(|fork| fork.generation == generation);
    of.map(|fork| {
        let first = fork.first_use.map_or_else(|| "earlier".to_owned(), at);
        format!("  FORK: used {first}, and once more {}", at(fork.second_use))
    })
    .collect()
}

fn print_basis(history: &History) -> anyhow::Result<()> {
    output::line("what each step rested on (version of client, user, consent, login, issuer)")?;
    for (sequence, rested) in &history.rested_on {
        let versions = [
            ("client", &rested.client),
            ("user", &rested.user),
            ("consent", &rested.consent),
            ("login", &rested.session),
            ("issuer", &rested.issuer),
        ];
        let mut words: Vec<String> = versions
            .iter()
            .filter_map(|(name, version)| {
                let version = version.as_ref()?;
                Some(format!("{name} {} (at {})", version.version, version.position))
            })
            .collect();
        let approvals = rested.approvals.iter();
        words.extend(approvals.map(|one| format!("approval of {} (at {})", one.scope, one.position)));
        output::line(&format!(
            "  {sequence:>4}  {}",
            output::visible(&words.join(", "))
        ))?;
    }
    if !history.mentions.is_empty() {
        output::line("")?;
        output::line("named elsewhere by")?;
    }
    if history.truncated.contains(&"mentions") {
        output::line("  (the newest; for all of them: `grantlog audit search --grant`)")?;
    }
    for one in &history.mentions {
        let (kind, id, request) = (&one.aggregate_type, one.aggregate_id, one.request_id);
        let when = output::moment(one.at);
        output::line(&format!(
            "  {:>8}  {when}  {} {kind}/{id}  {request}",
            one.position, one.event_type
        ))?;
    }
    Ok(())
}

async fn table(session: &Session, events: &[StoredEvent], reveal: bool) -> anyhow::Result<()> {
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        rows.push(row(session, event, reveal).await?);
    }
    output::table(
        [
            "POSITION", "RECORDED", "SEQ", "EVENT", "ACTOR", "FROM", "AGENT", "REQUEST",
        ],
        &rows,
    )
}

async fn row(session: &Session, event: &StoredEvent, reveal: bool) -> anyhow::Result<[String; 8]> {
    let metadata = Metadata::read(&event.metadata)?;
    let operator = operator(session.ledger(), event, &metadata).await?;
    let caller = if reveal {
        document::caller(session.ledger(), event).await?
    } else {
        None
    };
    let network = metadata.network.map(|digest| {
        let mut text = digest.to_string();
        text.truncate(SHORT);
        format!("network {text}")
    });
    let family = metadata.agent.map(|agent| agent.name().to_owned());
    let (address, agent) = match caller {
        Some(Caller { address, agent }) => (address.map(|address| address.to_string()), agent),
        None => (network, family),
    };
    Ok([
        event.position.to_string(),
        output::moment(event.recorded_at),
        event.sequence.to_string(),
        event.event_type.clone(),
        who(&metadata.who(), operator.as_ref()),
        address.unwrap_or_default(),
        agent.unwrap_or_default(),
        metadata.request_id.to_string(),
    ])
}
