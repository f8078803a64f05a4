//! The `dpop_jkt` parameter (RFC 9449 §10): the key that the code is to be bound to, so that a code that leaks is worth
//! nothing to others.

use super::error::{AuthorizeError, invalid_request};
use super::parameters::Parameters;
use crate::domain::client::ClientMetadata;
use crate::domain::confirmation::{Confirmation, Thumbprint};
use crate::domain::refusal::RefusalReason;
use crate::http::error::Rejection;

/// The key, where the request names one. The tokens of a client may be bound to its certificate instead (RFC 8705 §3.4):
/// such a code could never be redeemed.
pub(super) fn read(
    parameters: &Parameters,
    client: &ClientMetadata,
) -> Result<Option<Confirmation>, Rejection<AuthorizeError>> {
    let Some(text) = parameters.get("dpop_jkt") else {
        return Ok(None);
    };
    if client.tls_client_certificate_bound_access_tokens {
        let what = "This client's tokens are bound to its certificate: there can be no dpop_jkt.";
        return Err(invalid_request(what, RefusalReason::DpopJktOfCertificateClient));
    }
    let thumbprint = Thumbprint::parse(text).ok_or_else(|| {
        let what = "The dpop_jkt is not the SHA-256 thumbprint of a JWK in base64url.";
        invalid_request(what, RefusalReason::DpopJktMalformed)
    })?;
    Ok(Some(Confirmation::JwkThumbprint(thumbprint)))
}
