//! Sender constraint: which key a token request proves to hold, and so what its tokens are bound to.

use super::ClientRequest;
use crate::domain::confirmation::Confirmation;
use crate::domain::refusal::RefusalReason;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::error::{Rejection, TokenError};

impl ClientRequest {
    /// The key that the tokens of this request are bound to; none where they are bearer tokens.
    pub(super) fn confirmation(
        &self,
        client: &AuthenticatedClient,
    ) -> Result<Option<Confirmation>, Rejection<TokenError>> {
        self.certificate_confirmation(client)
    }

    /// The certificate, where the client is registered for tokens that are bound to it (RFC 8705 §3).
    fn certificate_confirmation(
        &self,
        client: &AuthenticatedClient,
    ) -> Result<Option<Confirmation>, Rejection<TokenError>> {
        if !client
            .registration
            .metadata
            .tls_client_certificate_bound_access_tokens
        {
            return Ok(None);
        }
        if let Some(certificate) = &self.context.certificate {
            return Ok(Some(Confirmation::CertificateSha256(certificate.thumbprint)));
        }
        let rejection = Rejection::new(TokenError::InvalidRequest, RefusalReason::CertificateMissing);
        Err(rejection.client(client.key))
    }
}
