//! The logout token (OpenID Connect Back-Channel Logout §2.4).

use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::domain::client::Registration;
use crate::ids::{SessionId, SubjectId};
use crate::ledger::LedgerError;

/// Seconds that a logout token is good for (§2.4 recommends two minutes at most).
const LIFETIME: i64 = 120;
/// Says that it is one.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The claims. There is never a `nonce`, so that it cannot be taken for an ID token (§2.4).
#[derive(Serialize)]
struct LogoutClaims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: Uuid,
    sid: SessionId,
    events: serde_json::Value,
}

/// Signs one, with the algorithm of the client's ID tokens (§2.4). Each attempt has a `jti` of its own: a client that
/// remembers them would refuse the second.
pub(super) fn sign(
    app: &App,
    client: &Registration,
    (session, subject): (SessionId, SubjectId),
) -> Result<String, LedgerError> {
    let iat = app.ledger.clock().now().timestamp();
    let mut events = serde_json::Map::new();
    events.insert(EVENT.to_owned(), serde_json::json!({}));
    let claims = LogoutClaims {
        iss: &app.settings.issuer,
        sub: app.operations.subject_for(client, subject),
        aud: &client.client_id,
        iat,
        exp: iat + LIFETIME,
        jti: app.ledger.random().uuid()?,
        sid: session,
        events: events.into(),
    };
    let algorithm = client.metadata.id_token_signed_response_alg;
    Ok(app.keys.sign_logout_token(algorithm, &claims)?)
}
