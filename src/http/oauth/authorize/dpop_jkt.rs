//! The `dpop_jkt` parameter (RFC 9449 §10): the key that the code is to be bound to, so that a code that leaks is worth
//! nothing to others.

use super::error::{AuthorizeError, invalid_request};
use super::parameters::Parameters;
use crate::domain::confirmation::{Confirmation, Thumbprint};
use crate::domain::refusal::RefusalReason;
use crate::http::error::Rejection;

/// The key, where the request names one.
pub(super) fn read(parameters: &Parameters) -> Result<Option<Confirmation>, Rejection<AuthorizeError>> {
    let Some(text) = parameters.get("dpop_jkt") else {
        return Ok(None);
    };
    let thumbprint = Thumbprint::parse(text).ok_or_else(|| {
        let what = "The dpop_jkt is not the SHA-256 thumbprint of a JWK in base64url.";
        invalid_request(what, RefusalReason::DpopJktMalformed)
    })?;
    Ok(Some(Confirmation::JwkThumbprint(thumbprint)))
}
