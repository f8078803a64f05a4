//! Sender constraint: which key a token request proves to hold, and so what its tokens are bound to.

use axum::http::HeaderMap;

use super::ClientRequest;
use crate::app::App;
use crate::domain::confirmation::Confirmation;
use crate::domain::refusal::RefusalReason;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::context::Origin;
use crate::http::dpop::{self, PresentedProof};
use crate::http::error::{Rejection, TokenError};

impl ClientRequest {
    /// Reads the request's DPoP proof (RFC 9449 §5). Before the client is authenticated: one that is told to come
    /// again with a nonce may bring the same assertion, so nothing is used up by then.
    pub(super) fn with_proof(
        mut self,
        app: &App,
        origin: &Origin,
        headers: &HeaderMap,
    ) -> Result<Self, Rejection<TokenError>> {
        let read = PresentedProof::read(app, origin, headers, None);
        self.proof = read.map_err(|refusal| {
            let rejection = Rejection::from(refusal);
            match self.key {
                Some(client) => rejection.client(client),
                None => rejection,
            }
        })?;
        Ok(self)
    }

    /// Uses the proof up, once the client is authenticated and may sign like that.
    pub(super) async fn use_proof_up(
        &self,
        app: &App,
        client: &AuthenticatedClient,
    ) -> Result<(), Rejection<TokenError>> {
        let Some(proof) = &self.proof else { return Ok(()) };
        dpop::check_algorithm(&client.registration.metadata, proof.algorithm())
            .map_err(|refusal| Rejection::from(refusal).client(client.key))?;
        let used = proof.use_up(app).await?;
        used.map_err(|refusal| Rejection::from(refusal).client(client.key))
    }

    /// The key that the tokens of this request are bound to; none where they are bearer tokens.
    pub(super) fn confirmation(
        &self,
        client: &AuthenticatedClient,
    ) -> Result<Option<Confirmation>, Rejection<TokenError>> {
        let metadata = &client.registration.metadata;
        if metadata.tls_client_certificate_bound_access_tokens {
            return self.certificate_confirmation(client).map(Some);
        }
        let proved = self.proof.as_ref().map(PresentedProof::confirmation);
        if proved.is_none() && metadata.dpop_bound_access_tokens {
            let refused = Rejection::new(TokenError::InvalidRequest, RefusalReason::DpopProofMissing);
            return Err(refused.client(client.key));
        }
        Ok(proved)
    }

    /// Whether this request proves to hold a key.
    pub(super) fn proves(&self, confirmation: Confirmation) -> bool {
        let certificate = self.context.certificate.as_ref();
        let certificate = certificate.map(|known| Confirmation::CertificateSha256(known.thumbprint));
        let proof = self.proof.as_ref().map(PresentedProof::confirmation);
        [certificate, proof].contains(&Some(confirmation))
    }

    /// The certificate, for a client whose tokens are bound to it (RFC 8705 §3).
    fn certificate_confirmation(
        &self,
        client: &AuthenticatedClient,
    ) -> Result<Confirmation, Rejection<TokenError>> {
        if let Some(certificate) = &self.context.certificate {
            return Ok(Confirmation::CertificateSha256(certificate.thumbprint));
        }
        let rejection = Rejection::new(TokenError::InvalidRequest, RefusalReason::CertificateMissing);
        Err(rejection.client(client.key))
    }
}

/// How a token that is bound to this key is presented (RFC 6749 §7.1).
pub(super) fn token_type(confirmation: Option<Confirmation>) -> &'static str {
    match confirmation {
        Some(Confirmation::JwkThumbprint(_)) => dpop::SCHEME,
        // RFC 8705 §3: one that is bound to a certificate is presented as a bearer token.
        Some(Confirmation::CertificateSha256(_)) | None => "Bearer",
    }
}
