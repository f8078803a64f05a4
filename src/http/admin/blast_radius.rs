//! `POST /admin/blast-radius`: what `grantlog blast-radius` does. That it is asked is on the trail first.

use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::Nothing;
use super::scope::AdminScope;
use super::trail::{Moment, out_of_bounds};
use crate::blast_radius::{BlastRadius, BlastRadiusError, Of, Window, measure};
use crate::credential::Kind;
use crate::domain::value::Digest;
use crate::ids::RequestId;
use crate::ledger::LedgerError;
use crate::trail::bounds::Names;
use crate::trail::pasted::{Pasted, PastedError};

/// Whose blast radius, and when.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Radius {
    /// Of what.
    of: OfName,
    /// Which one: a token or code (which is digested and forgotten), a client's id or a generated secret, a key's `kid` or
    /// thumbprint, a client's id, a user's login name or id, an address, or a request's id.
    value: String,
    /// The number of the secret, as the client is shown with.
    #[serde(default)]
    number: Option<u32>,
    /// From when on, or from which position; otherwise from the beginning.
    #[serde(default)]
    since: Option<Moment>,
    /// Until when, or up to which position; otherwise until now.
    #[serde(default)]
    until: Option<Moment>,
}

/// Of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OfName {
    Token,
    Secret,
    Key,
    Client,
    User,
    Address,
    Request,
}

pub(super) fn operations() -> Vec<Operation> {
    let about = About::post(
        AdminScope::Read,
        "/admin/blast-radius",
        (
            "measureBlastRadius",
            "What something could do between two moments, and did",
        ),
    );
    vec![operation(about, radius)]
}

async fn radius(
    call: Call,
    asked: Asked<Nothing, Nothing, JsonBody<Radius>>,
) -> Result<BlastRadius, Rejected> {
    let Radius {
        of,
        value,
        number,
        since,
        until,
    } = asked.body.0;
    if number.is_some() && of != OfName::Secret {
        return Err(call.invalid("number: it goes with the secrets of a client"));
    }
    let of = chosen(&call, of, (value.trim(), number)).await?;
    let operations = call.operations();
    let bounds = (since.map(|since| since.0), until.map(|until| until.0));
    let window = Window::asked(operations, Names::MEMBERS, bounds).await;
    let window = window.map_err(|error| out_of_bounds(&call, error))?;
    call.record(of.reading(window.stretch)).await?;
    let measured = measure(operations, &of, window).await;
    measured.map_err(|error| failed(&call, error))
}

async fn chosen(call: &Call, of: OfName, (value, number): (&str, Option<u32>)) -> Result<Of, Rejected> {
    Ok(match of {
        OfName::Token => token(call, value).await?,
        OfName::Secret if value.starts_with("gls_") => {
            let digest = Digest::of(value.as_bytes());
            let found = call.operations().find_secret(&digest).await?;
            let (client, number) = found.ok_or_else(|| call.missing("No client ever had this secret."))?;
            Of::Secret {
                client,
                number: Some(number),
            }
        }
        OfName::Secret => Of::Secret {
            client: call.named_client(value).await?,
            number,
        },
        OfName::Key => Of::Key(value.to_owned()),
        OfName::Client => Of::Client(call.named_client(value).await?),
        OfName::User => Of::User(call.named_user(value).await?),
        OfName::Address => {
            let address = value.parse();
            Of::Address(address.map_err(|_| call.invalid("value: it is not an IP address"))?)
        }
        OfName::Request => {
            let id = Uuid::try_parse(value);
            let id = id.map_err(|_| call.invalid("value: it is not a request's id, which is a UUID"))?;
            Of::Request(RequestId(id))
        }
    })
}

async fn token(call: &Call, value: &str) -> Result<Of, Rejected> {
    let pasted = Pasted::find(call.operations(), value)
        .await
        .map_err(|error| match error {
            PastedError::Unknown | PastedError::NoPassportKey | PastedError::OtherPassportKey => {
                call.missing("This is no credential of this server.")
            }
            PastedError::Ledger(error) => error.into(),
            PastedError::Password(_) => LedgerError::Unavailable.into(),
        })?;
    let Some((kind, presented)) = pasted.credential else {
        return Err(call.invalid("value: this is a grant's id: give a token of it, or show the grant"));
    };
    Ok(Of::Token {
        grant: pasted.grant,
        sequence: presented.address.sequence,
        access: matches!(kind, Kind::Access | Kind::TokenId),
    })
}

fn failed(call: &Call, error: BlastRadiusError) -> Rejected {
    match error {
        BlastRadiusError::UnknownRequest(_) | BlastRadiusError::UnknownToken(_) => {
            call.missing(error.to_string())
        }
        BlastRadiusError::LaterRequest(_) => call.invalid(error.to_string()),
        BlastRadiusError::Database(error) => Call::failed(error),
        BlastRadiusError::Ledger(error) => error.into(),
        BlastRadiusError::Projection(_) | BlastRadiusError::Behind => {
            tracing::warn!(%error, "a blast radius could not be measured");
            LedgerError::Unavailable.into()
        }
    }
}
