//! Signed authorization responses: JWT Secured Authorization Response Mode for OAuth 2.0 (JARM). The parameters of an
//! answer, an error too, are claims of a JWT, so that nothing on the way through the browser can change or mix them.

use serde_json::{Map, Value};

use super::redirect::ReturnAddress;
use crate::app::App;
use crate::crypto::CryptoError;

/// The one parameter of a signed answer (JARM §2.3).
pub(super) const PARAMETER: &str = "response";
/// Seconds that a signed answer is good for: JARM §2.1 has 10 minutes at most.
const LIFETIME: i64 = 300;

/// The parameters as a JWT: `iss`, `aud` and `exp` besides (JARM §2.1).
pub(super) fn sign(
    app: &App,
    back: &ReturnAddress,
    parameters: &[(&str, &str)],
) -> Result<String, CryptoError> {
    let mut claims: Map<String, Value> = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
        .collect();
    let ends = app.ledger.clock().now().timestamp() + LIFETIME;
    claims.insert("iss".to_owned(), back.issuer.as_str().into());
    claims.insert("aud".to_owned(), back.client_id.as_str().into());
    claims.insert("exp".to_owned(), ends.into());
    app.keys.sign_authorization_response(back.algorithm, &claims)
}
