//! Bearer tokens, RFC 6750: which user and scope a request stands for, as the ledger has it now.

use axum::http::{HeaderMap, header};

use super::super::error::{ApiError, Rejection};
use crate::app::App;
use crate::credential::{self, Kind, Presented};
use crate::crypto::signing::{TokenRefusal, VerifiedToken};
use crate::domain::client::Registration;
use crate::domain::grant::Grant;
use crate::domain::refusal::RefusalReason;
use crate::domain::scope::Scope;
use crate::domain::user::{Account, User};
use crate::domain::value::ScopeSet;
use crate::http::oauth::standing;
use crate::ids::SubjectId;
use crate::ledger::UnitOfWork;

/// A token whose form, signature, time and audience are good.
pub struct BearerToken {
    token: VerifiedToken,
    presented: Presented,
}

impl BearerToken {
    /// Reads the Authorization header (RFC 6750 §2.1; tokens in queries or bodies are not looked at).
    pub async fn read(app: &App, headers: &HeaderMap) -> Result<Self, Rejection<ApiError>> {
        let header = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => {
                return Err(Rejection::new(
                    ApiError::Unauthenticated,
                    RefusalReason::NoBearerToken,
                ));
            }
        };
        let invalid = |reason| Rejection::new(ApiError::TokenInvalid, reason);
        let token = match app.keys.verify(token, &app.settings.issuer).await? {
            Ok(token) => token,
            Err(TokenRefusal::Expired) => {
                return Err(Rejection::new(
                    ApiError::TokenExpired,
                    RefusalReason::TokenExpired,
                ));
            }
            Err(TokenRefusal::Invalid) => return Err(invalid(RefusalReason::NotOurToken)),
        };
        // RFC 9068 §4: this resource server's own audience is the issuer.
        if !token.claims.aud.contains(&app.settings.issuer) {
            return Err(invalid(RefusalReason::OtherAudience));
        }
        let key = app.ledger.vault().master().address_key();
        let presented = credential::parse(Kind::TokenId, key, &token.claims.jti)
            .ok_or(invalid(RefusalReason::NoAddress))?;
        let at = app.ledger.clock().now();
        app.limits.check_request(presented.digest, at).map_err(|wait| {
            Rejection::new(
                ApiError::RateLimitExceeded(wait.retry_after),
                RefusalReason::RateLimitExceeded,
            )
        })?;
        Ok(Self { token, presented })
    }

    /// The account that the token stands for, where the token is active and has `scope` at this moment.
    pub async fn account(
        &self,
        unit: &mut UnitOfWork<'_>,
        scope: &'static str,
    ) -> Result<(SubjectId, Account), Rejection<ApiError>> {
        if !standing::is_published(unit, self.token.key).await? {
            return Err(Rejection::new(ApiError::TokenInvalid, RefusalReason::KeyRetired));
        }
        let address = self.presented.address;
        let grant = unit.load::<Grant>(address.grant.0).await?;
        let revoked = || Rejection::new(ApiError::TokenInvalid, RefusalReason::TokenRevoked);
        let family = grant.access_at(address.sequence).ok_or_else(revoked)?;
        let about = |rejection: Rejection<ApiError>| {
            rejection
                .client(family.client)
                .grant(address.grant, family.subject)
        };
        let carried = standing::carried(unit, family).await?;
        let (client, circumstances) = carried.ok_or_else(|| about(revoked()))?;
        let Some(subject) = family.subject else {
            return Err(about(Rejection::new(
                ApiError::PermissionDenied,
                RefusalReason::NoUser,
            )));
        };
        let granted = ScopeSet::parse(&self.token.claims.scope).unwrap_or_default();
        if !granted.contains(scope) {
            return Err(about(Rejection::new(
                ApiError::InsufficientScope(scope),
                RefusalReason::InsufficientScope,
            )));
        }
        if !circumstances.allowed_scope.contains(scope) {
            let (error, reason) = not_allowed(unit, client.registration.as_deref(), scope).await?;
            return Err(about(Rejection::new(error, reason)));
        }
        let user = unit.load::<User>(subject.0).await?;
        let account = user.account.clone().ok_or_else(|| about(revoked()))?;
        Ok((subject, account))
    }
}

/// Why a granted scope is not allowed any more: a restricted one lacks approval, another was taken away.
async fn not_allowed(
    unit: &mut UnitOfWork<'_>,
    client: Option<&Registration>,
    scope: &'static str,
) -> Result<(ApiError, RefusalReason), Rejection<ApiError>> {
    let definition = unit.load::<Scope>(Scope::id(scope)).await?;
    let restricted = definition
        .grantable()
        .is_some_and(|definition| definition.restricted);
    let registered = client.is_some_and(|client| client.metadata.scope.contains(scope));
    if restricted && registered {
        return Ok((ApiError::UnapprovedScope(scope), RefusalReason::ScopeNotApproved));
    }
    Ok((
        ApiError::InsufficientScope(scope),
        RefusalReason::ScopeNoLongerAllowed,
    ))
}
