//! Sender constraint: which key a token request proves to hold.

use super::ClientRequest;
use crate::domain::confirmation::Confirmation;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::error::{Rejection, TokenError};

impl ClientRequest {
    /// The key that the tokens of this request are bound to; none where they are bearer tokens.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "no binding yet")]
    pub(super) fn confirmation(
        &self,
        _client: &AuthenticatedClient,
    ) -> Result<Option<Confirmation>, Rejection<TokenError>> {
        Ok(None)
    }
}
