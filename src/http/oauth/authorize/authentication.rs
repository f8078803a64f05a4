//! What OpenID Connect adds to an authorization request (Core §3.1.2.1), one rule per function.

use super::error::{AuthorizeError, invalid_request};
use super::parameters::Parameters;
use crate::domain::openid::OPENID;
use crate::domain::refusal::RefusalReason;
use crate::domain::value::ScopeSet;
use crate::http::error::Rejection;

/// The most characters of a `nonce`: it is kept with the grant.
const MAX_NONCE: usize = 512;

/// The parameters of an authentication request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AuthenticationRequest {
    /// Ties the ID token to the client's own session. Without the scope `openid` it means nothing and is not kept.
    pub(super) nonce: Option<String>,
}

impl AuthenticationRequest {
    pub(super) fn read(parameters: &Parameters, scope: &ScopeSet) -> Result<Self, Rejection<AuthorizeError>> {
        Ok(Self {
            nonce: nonce(parameters, scope)?,
        })
    }
}

fn nonce(parameters: &Parameters, scope: &ScopeSet) -> Result<Option<String>, Rejection<AuthorizeError>> {
    let nonce = parameters.get("nonce");
    if nonce.is_some_and(|nonce| nonce.chars().count() > MAX_NONCE) {
        return Err(invalid_request(
            "The nonce is longer than 512 characters.",
            RefusalReason::NonceTooLong,
        ));
    }
    Ok(nonce.filter(|_| scope.contains(OPENID)).map(str::to_owned))
}
