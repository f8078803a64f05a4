//! Refresh tokens of the server that was imported from (`docs/import.md`): recognised here, exchanged like ours.
//!
//! Opening one may cost a PBKDF2 of 100,000 rounds. So it is tried only for a value that has exactly that form, for
//! a client that is authenticated, on the bounded pool where passwords are hashed, and failures are counted.

use serde::Deserialize;

use super::{ClientRequest, rounds};
use crate::app::App;
use crate::credential::{Address, Kind, Presented};
use crate::crypto::defuse::Message;
use crate::domain::value::Digest;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::error::{Rejection, TokenError};
use crate::http::limits::{Counted, counted_address};
use crate::ids::GrantId;
use crate::import::{IMPORTED_REFRESH, LONGEST_TOKEN, SHORTEST_TOKEN, key};
use crate::ledger::UnitOfWork;

/// What League's authorization server puts into a refresh token, as far as it matters here.
#[derive(Deserialize)]
struct Payload {
    client_id: Id,
    refresh_token_id: String,
    expire_time: i64,
}

/// Passport's client ids were numbers once.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

impl Id {
    fn is(&self, client_id: &str) -> bool {
        match self {
            Self::Text(text) => text == client_id,
            Self::Number(number) => number.to_string() == client_id,
        }
    }
}

/// The address and digest of an imported token; none where it is not one. Proves nothing about client, scope or
/// time: the grant decides on them, as on a token of ours.
pub(crate) async fn recognise(
    app: &App,
    request: &ClientRequest,
    text: &str,
) -> Result<Option<Presented>, Rejection<TokenError>> {
    let message = Message::parse(text);
    let fits = (SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&text.len());
    if text.starts_with(Kind::Refresh.prefix()) || !(fits || message.is_some()) {
        return Ok(None);
    }
    let mut unit = app.ledger.unit_of_work(&request.context);
    let client = rounds!(unit, authenticated(app, request, &mut unit))?;
    let digest = match message {
        None => Digest::of(text.as_bytes()),
        Some(message) => match open(app, request, &client, message).await? {
            Some(id) => Digest::of(id.as_bytes()),
            None => return Ok(None),
        },
    };
    let grant = app
        .ledger
        .find_name(IMPORTED_REFRESH, &digest.to_string())
        .await?;
    Ok(grant.map(|grant| Presented {
        address: Address {
            grant: GrantId(grant),
            sequence: 1,
        },
        digest,
    }))
}

async fn authenticated(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
) -> Result<Option<AuthenticatedClient>, Rejection<TokenError>> {
    request.authenticate(app, unit).await.map(Some)
}

/// The id inside an encrypted token of this client; none where it does not open, or is another client's, or over.
async fn open(
    app: &App,
    request: &ClientRequest,
    client: &AuthenticatedClient,
    message: Message,
) -> Result<Option<String>, Rejection<TokenError>> {
    let Some(secret) = key::load(&app.ledger).await? else {
        return Ok(None);
    };
    let now = app.ledger.clock().now();
    app.limits
        .check_failures(&counted(request), now)
        .map_err(|wait| Rejection::from(wait).client(client.key))?;
    let opened = app.operations.hasher.run(move || secret.decrypt(&message)).await;
    let payload = opened?
        .ok()
        .and_then(|plain| serde_json::from_slice::<Payload>(&plain).ok());
    let payload = payload.filter(|payload| {
        payload.client_id.is(&client.registration.client_id) && now.timestamp() < payload.expire_time
    });
    if payload.is_none() {
        count_failure(app, request);
    }
    Ok(payload.map(|payload| payload.refresh_token_id))
}

/// Counts an old token that was worth nothing: to find that out is costly.
pub(crate) fn count_failure(app: &App, request: &ClientRequest) {
    app.limits
        .record_failure(&counted(request), app.ledger.clock().now());
}

fn counted(request: &ClientRequest) -> [Counted; 1] {
    let address = request.context.address.map(counted_address);
    [Counted::Imported(request.credentials.client_id.clone(), address)]
}
