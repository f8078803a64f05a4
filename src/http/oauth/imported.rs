//! Refresh tokens of the server that was imported from (`docs/import.md`): recognised here, exchanged like ours.
//!
//! Opening one may cost a PBKDF2 of 100,000 rounds. So it is tried only for a value that has exactly that form, for
//! a client that is authenticated, on the bounded pool where passwords are hashed, and failures are counted.

use super::{ClientRequest, rounds};
use crate::app::App;
use crate::credential::Presented;
use crate::crypto::defuse::Message;
use crate::domain::value::Digest;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::error::{Rejection, TokenError};
use crate::http::limits::{Counted, counted_address};
use crate::import::key;
use crate::import::token::{self, Content, OldToken};
use crate::ledger::UnitOfWork;

/// The address and digest of an imported token; none where it is not one. Proves nothing about client, scope or
/// time: the grant decides on them, as on a token of ours.
pub(crate) async fn recognise(
    app: &App,
    request: &ClientRequest,
    text: &str,
) -> Result<Option<Presented>, Rejection<TokenError>> {
    let Some(old) = OldToken::parse(text) else {
        return Ok(None);
    };
    let mut unit = app.ledger.unit_of_work(&request.context);
    let client = rounds!(unit, authenticated(app, request, &mut unit))?;
    let digest = match old {
        OldToken::Opaque(digest) => digest,
        OldToken::Encrypted(message) => match open(app, request, &client, message).await? {
            Some(digest) => digest,
            None => return Ok(None),
        },
    };
    Ok(token::find(&app.ledger, digest).await?)
}

async fn authenticated(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
) -> Result<Option<AuthenticatedClient>, Rejection<TokenError>> {
    request.authenticate(app, unit).await.map(Some)
}

/// What an encrypted token of this client is found by; none where it does not open, or is another client's, or over.
async fn open(
    app: &App,
    request: &ClientRequest,
    client: &AuthenticatedClient,
    message: Message,
) -> Result<Option<Digest>, Rejection<TokenError>> {
    let Some(secret) = key::load(&app.ledger).await? else {
        return Ok(None);
    };
    let now = app.ledger.clock().now();
    app.limits
        .check_failures(&counted(request), now)
        .map_err(|wait| Rejection::from(wait).client(client.key))?;
    let opened = app
        .operations
        .hasher
        .run(move || Content::open(&secret, &message));
    let content = opened.await?.filter(|content| {
        content.is_of(&client.registration.client_id) && now.timestamp() < content.expires_at()
    });
    if content.is_none() {
        count_failure(app, request);
    }
    Ok(content.map(|content| content.digest()))
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
