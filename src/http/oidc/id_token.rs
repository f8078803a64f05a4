//! The ID token (OpenID Connect Core §2): what the ledger knows of the login that a grant was given in, signed for
//! the one client that it was given to.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::claims::UserClaims;
use crate::app::App;
use crate::domain::client::{IdTokenAlgorithm, Registration};
use crate::domain::confirmation::Confirmation;
use crate::domain::grant::{Grant, Issued};
use crate::domain::openid::{self, Authentication, IndividualClaims, OPENID};
use crate::domain::user::User;
use crate::ids::{SessionId, SubjectId};
use crate::ledger::LedgerError;

/// Seconds that an ID token is good for. It says who logged in, and opens nothing: the client's own session begins
/// when it has been checked.
pub const LIFETIME: i64 = 3600;

/// The claims of an ID token.
#[derive(Serialize)]
struct IdTokenClaims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    exp: i64,
    iat: i64,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    at_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'static str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
    /// The key of the tokens beside it: whoever exchanges this one (RFC 8693) must prove it, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    #[serde(flatten)]
    user: UserClaims,
}

/// Tokens that were issued, and for whom.
#[derive(Clone, Copy)]
pub struct IdTokenFor<'a> {
    /// The client.
    pub client: &'a Registration,
    /// The grant that the tokens are of.
    pub grant: &'a Grant,
    /// The tokens.
    pub issued: &'a Issued,
    /// The claims that the user consented to one by one and that the client may have now.
    pub individual_claims: &'a IndividualClaims,
    /// Whether a code was exchanged for them. A refreshed ID token has no `nonce` (OpenID Connect Core §12.2).
    pub of_code: bool,
}

impl IdTokenFor<'_> {
    /// The ID token beside this access token; none where `openid` is not in its scope. `jti` is its address in the
    /// ledger, by which it can be exchanged (RFC 8693) while its grant stands.
    pub async fn sign(
        &self,
        app: &App,
        access_token: &str,
        jti: &str,
    ) -> Result<Option<String>, LedgerError> {
        if !self.issued.scope.contains(OPENID) {
            return Ok(None);
        }
        let Some(family) = self.grant.family.as_deref() else {
            return Ok(None);
        };
        let (Some(subject), Some(authentication)) = (family.subject, family.authentication.as_deref()) else {
            return Ok(None);
        };
        let algorithm = self.client.metadata.id_token_signed_response_alg;
        let iat = self.issued.issued_at.timestamp();
        let claims = IdTokenClaims {
            iss: &app.settings.issuer,
            sub: app.operations.subject_for(self.client, subject),
            aud: &self.client.client_id,
            exp: iat + LIFETIME,
            iat,
            jti,
            auth_time: authentication.time.map(|time| time.timestamp()),
            nonce: authentication.nonce.as_deref().filter(|_| self.of_code),
            at_hash: at_hash(algorithm, access_token),
            sid: family.session,
            acr: openid::acr(&authentication.amr),
            amr: &authentication.amr,
            cnf: self.issued.confirmation,
            user: self.user_claims(app, subject, authentication).await?,
        };
        Ok(Some(app.keys.sign_id_token(algorithm, &claims)?))
    }

    /// The claims that the request had asked to find in the ID token.
    async fn user_claims(
        &self,
        app: &App,
        subject: SubjectId,
        authentication: &Authentication,
    ) -> Result<UserClaims, LedgerError> {
        let individual = &self.individual_claims.id_token;
        if authentication.claims.is_empty() && individual.is_empty() {
            return Ok(UserClaims::default());
        }
        let user = app.operations.load::<User>(subject.0).await?;
        let Some(account) = &user.account else {
            return Ok(UserClaims::default());
        };
        let profile = app.operations.profile(subject, account).await?;
        Ok(profile.map_or_else(UserClaims::default, |profile| {
            UserClaims::of(&profile, (&authentication.claims, &self.issued.scope), individual)
        }))
    }
}

/// OpenID Connect Core §3.1.3.6: the left half of the access token's hash, by the hash function of the algorithm that
/// signs. That of Ed25519 is SHA-512 (RFC 8032 §5.1).
fn at_hash(algorithm: IdTokenAlgorithm, access_token: &str) -> String {
    let function = match algorithm {
        IdTokenAlgorithm::RS256 | IdTokenAlgorithm::ES256 | IdTokenAlgorithm::PS256 => &SHA256,
        IdTokenAlgorithm::EdDSA => &SHA512,
    };
    let hash = digest(function, access_token.as_bytes());
    let (left, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    URL_SAFE_NO_PAD.encode(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_hash_is_the_left_half_of_the_algorithms_hash() {
        // The example of OpenID Connect Core appendix A.3.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(at_hash(IdTokenAlgorithm::RS256, token), "77QmUPtjPfzWtF2AnpK9RQ");
        assert_eq!(
            at_hash(IdTokenAlgorithm::EdDSA, token).len(),
            43,
            "half of 64 bytes"
        );
    }
}
