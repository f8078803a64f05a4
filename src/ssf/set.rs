//! Security Event Tokens (RFC 8417), as SSF 1.0 §4 profiles them.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::outbox::Waiting;
use crate::app::App;
use crate::domain::client::Registration;
use crate::ids::SubjectId;
use crate::ledger::LedgerError;

/// The claims. Never `sub` nor `exp`, so that it cannot be taken for an ID token or an access token (SSF §4.1.1, §4.1.7).
#[derive(Serialize)]
struct SetClaims<'a> {
    iss: &'a str,
    jti: Uuid,
    iat: i64,
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    txn: Option<Uuid>,
    /// When it happened (RFC 8417 §2.2): what waited has its order by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    toe: Option<i64>,
    sub_id: Value,
    events: std::collections::BTreeMap<&'a str, Box<RawValue>>,
}

/// Signs a waiting token for its receiver, with the algorithm of its ID tokens. Signed anew it has the same `jti` and
/// says the same.
pub(crate) fn sign(
    app: &App,
    (stream, receiver): (Uuid, &Registration),
    waiting: &Waiting,
) -> Result<String, LedgerError> {
    let body = RawValue::from_string(waiting.body.clone()).map_err(|error| decode(error.into()))?;
    let claims = SetClaims {
        iss: &app.settings.issuer,
        jti: waiting.jti,
        iat: app.ledger.clock().now().timestamp(),
        aud: &receiver.client_id,
        txn: waiting.request,
        toe: waiting.subject.map(|_| waiting.made_at.timestamp()),
        sub_id: subject(app, (stream, receiver), waiting),
        events: [(waiting.event_type.as_str(), body)].into(),
    };
    let algorithm = receiver.metadata.id_token_signed_response_alg;
    Ok(app.keys.sign_security_event(algorithm, &claims)?)
}

fn decode(error: Box<dyn std::error::Error + Send + Sync>) -> LedgerError {
    LedgerError::Read(sqlx::Error::Decode(error))
}

/// Whom it is about (RFC 9493): the user as this receiver knows them; for one login, the user and the login, so that
/// nobody ends the user's others (CAEP 1.0 §3.1); or the stream.
fn subject(app: &App, (stream, receiver): (Uuid, &Registration), waiting: &Waiting) -> Value {
    let Some(subject) = waiting.subject else {
        return json!({ "format": "opaque", "id": stream });
    };
    let user = json!({
        "format": "iss_sub",
        "iss": app.settings.issuer,
        "sub": app.operations.subject_for(receiver, SubjectId(subject)),
    });
    match waiting.session {
        None => user,
        Some(session) => json!({
            "format": "complex",
            "user": user,
            "session": { "format": "opaque", "id": session },
        }),
    }
}
