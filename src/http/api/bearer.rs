//! Access tokens, as bearer tokens (RFC 6750) or with proof of the key that they are bound to (RFC 9449 §7): which user and scope a request stands for, as the ledger has it now.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use super::super::context::Origin;
use super::super::dpop::{self, PresentedProof};
use super::super::error::{ApiError, Rejection};
use crate::app::App;
use crate::clock::Timestamp;
use crate::crypto::certificate::ClientCertificate;
use crate::crypto::signing::TokenRefusal;
use crate::domain::client::{AssertionAlgorithm, Client, Registration};
use crate::domain::confirmation::Confirmation;
use crate::domain::grant::Grant;
use crate::domain::openid::Claim;
use crate::domain::refusal::RefusalReason;
use crate::domain::scope::Scope;
use crate::domain::user::{Account, User};
use crate::domain::value::ScopeSet;
use crate::http::oauth::access_token::PresentedAccessToken;
use crate::http::oauth::standing;
use crate::http::token_uses::Used;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{LedgerError, Loaded, UnitOfWork};

/// A token that is authentic, and whose time and audience are good.
pub struct BearerToken {
    token: PresentedAccessToken,
    /// What the proof that came with it is signed with.
    proof: Option<AssertionAlgorithm>,
}

impl BearerToken {
    /// Reads the Authorization header (RFC 6750 §2.1; tokens in queries or bodies are not looked at).
    pub async fn read(app: &App, origin: &Origin, headers: &HeaderMap) -> Result<Self, Rejection<ApiError>> {
        // RFC 9068 §4: this resource server's own audience is the issuer.
        Self::read_for(app, origin, headers, std::slice::from_ref(&app.settings.issuer)).await
    }

    /// As [`Self::read`], for a resource with any of these audiences.
    pub async fn read_for(
        app: &App,
        origin: &Origin,
        headers: &HeaderMap,
        audience: &[String],
    ) -> Result<Self, Rejection<ApiError>> {
        let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
        let header = authorizations
            .next()
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if authorizations.next().is_some() {
            return Err(Rejection::new(
                ApiError::ValidationError("There is more than one Authorization header."),
                RefusalReason::TwoAuthorizationHeaders,
            ));
        }
        match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                Self::check(app, token.trim(), audience).await
            }
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(dpop::SCHEME) => {
                let known = Self::verify(app, token.trim(), audience).await?;
                let proof = known.require_proof(app, origin, (headers, token.trim())).await?;
                let proof = Some(proof);
                Ok(Self { proof, ..known })
            }
            _ => Err(Rejection::new(
                ApiError::Unauthenticated,
                RefusalReason::NoBearerToken,
            )),
        }
    }

    /// Checks a token that came without proof of a key.
    pub async fn check(app: &App, token: &str, audience: &[String]) -> Result<Self, Rejection<ApiError>> {
        let known = Self::verify(app, token, audience).await?;
        // RFC 9449 §7.2: what is bound is no bearer token.
        if let Some(Confirmation::JwkThumbprint(_)) = known.token.claims.cnf {
            let refused = Rejection::new(ApiError::TokenInvalid, RefusalReason::BoundToken);
            return Err(known.of(refused));
        }
        Ok(known)
    }

    /// RFC 9449 §7.1: the request proves to hold the key that the token is bound to. With what the proof is signed.
    async fn require_proof(
        &self,
        app: &App,
        origin: &Origin,
        (headers, token): (&HeaderMap, &str),
    ) -> Result<AssertionAlgorithm, Rejection<ApiError>> {
        let read = PresentedProof::read(app, origin, headers, Some(token));
        let missing = || Rejection::new(ApiError::InvalidDpopProof, RefusalReason::DpopProofMissing);
        let proof = read.map_err(|refusal| self.of(refusal.into()))?;
        let proof = proof.ok_or_else(|| self.of(missing()))?;
        if self.token.claims.cnf != Some(proof.confirmation()) {
            let refused = Rejection::new(ApiError::TokenInvalid, RefusalReason::DpopOtherKey);
            return Err(self.of(refused));
        }
        let used = proof.use_up(app).await?;
        used.map_err(|refusal| self.of(refusal.into()))?;
        Ok(proof.algorithm())
    }

    /// Names the token's grant in a refusal: a token that comes without its key may have been stolen.
    fn of(&self, rejection: Rejection<ApiError>) -> Rejection<ApiError> {
        rejection.grant(self.token.presented.address.grant, None)
    }

    /// Checks a token's form, authenticity, time and audience.
    async fn verify(app: &App, token: &str, audience: &[String]) -> Result<Self, Rejection<ApiError>> {
        let invalid = |reason| Rejection::new(ApiError::TokenInvalid, reason);
        let token = match PresentedAccessToken::read(app, token).await? {
            Ok(token) => token,
            Err(TokenRefusal::Expired) => {
                return Err(Rejection::new(
                    ApiError::TokenExpired,
                    RefusalReason::TokenExpired,
                ));
            }
            Err(TokenRefusal::Invalid) => return Err(invalid(RefusalReason::NotOurToken)),
            Err(TokenRefusal::NoAddress) => return Err(invalid(RefusalReason::NoAddress)),
        };
        if !audience.iter().any(|one| token.claims.aud.contains(one)) {
            return Err(invalid(RefusalReason::OtherAudience));
        }
        let at = app.ledger.clock().now();
        let within = app.limits.check_request(token.presented.digest, at);
        within.map_err(|wait| {
            Rejection::new(
                ApiError::RateLimitExceeded(wait.retry_after),
                RefusalReason::RateLimitExceeded,
            )
        })?;
        Ok(Self { token, proof: None })
    }

    /// The token, where it is active at this moment.
    pub async fn active(&self, unit: &mut UnitOfWork<'_>) -> Result<ActiveToken, Rejection<ApiError>> {
        let invalid = |reason| Rejection::new(ApiError::TokenInvalid, reason);
        if !self.token.signer_stands(unit).await? {
            return Err(invalid(RefusalReason::KeyRetired));
        }
        self.check_certificate(unit.context().certificate.as_deref())?;
        let address = self.token.presented.address;
        let grant = unit.load::<Grant>(address.grant.0).await?;
        let family = grant
            .access_at(address.sequence)
            .ok_or(invalid(RefusalReason::TokenRevoked))?;
        let Some((client, circumstances)) = standing::carried(unit, family).await? else {
            return Err(invalid(RefusalReason::TokenRevoked)
                .client(family.client)
                .grant(address.grant, family.subject));
        };
        if let (Some(algorithm), Some(client)) = (self.proof, client.registration.as_deref()) {
            dpop::check_algorithm(&client.metadata, algorithm).map_err(|refusal| self.of(refusal.into()))?;
        }
        Ok(ActiveToken {
            userinfo_claims: circumstances.individual_claims.userinfo,
            grant: address.grant,
            subject: family.subject,
            granted: ScopeSet::parse(&self.token.claims.scope).unwrap_or_default(),
            allowed: circumstances.allowed_scope,
            client: (family.client, client),
        })
    }
}

impl BearerToken {
    /// Whether its time is over, for whoever uses it for longer than a moment.
    #[must_use]
    pub fn is_over(&self, at: Timestamp) -> bool {
        self.token.claims.exp <= at.timestamp()
    }

    /// A token that is bound to a certificate is good with that one only (RFC 8705 §3).
    fn check_certificate(&self, certificate: Option<&ClientCertificate>) -> Result<(), Rejection<ApiError>> {
        let Some(Confirmation::CertificateSha256(bound)) = self.token.claims.cnf else {
            return Ok(());
        };
        if certificate.is_some_and(|certificate| certificate.thumbprint == bound) {
            return Ok(());
        }
        let refused = Rejection::new(ApiError::TokenInvalid, RefusalReason::OtherCertificate);
        Err(self.of(refused))
    }
}

/// A token that is active, and what it may be used for.
pub struct ActiveToken {
    /// The user that it stands for; none where a client acts for itself.
    pub subject: Option<SubjectId>,
    grant: GrantId,
    granted: ScopeSet,
    allowed: ScopeSet,
    userinfo_claims: Vec<Claim>,
    client: (ClientKey, Loaded<Client>),
}

impl ActiveToken {
    /// The aggregate of the client that it was issued to.
    #[must_use]
    pub fn client(&self) -> ClientKey {
        self.client.0
    }

    /// That client's registration.
    #[must_use]
    pub fn registration(&self) -> Option<Arc<Registration>> {
        self.client.1.registration.clone()
    }

    /// What of its scope its client may use now.
    #[must_use]
    pub fn usable_scope(&self) -> ScopeSet {
        self.granted.intersection(&self.allowed)
    }

    /// The claims that its user consented to one by one, for `UserInfo`, as far as its client may have them now.
    #[must_use]
    pub fn userinfo_claims(&self) -> &[Claim] {
        &self.userinfo_claims
    }

    /// Confirms what was loaded, and counts the use where it stands. False: load again.
    pub async fn confirm_use(&self, app: &App, unit: &mut UnitOfWork<'_>) -> Result<bool, LedgerError> {
        let stands = unit.confirm().await?;
        if stands {
            let used = Used {
                grant: self.grant,
                client: self.client.0,
                subject: self.subject,
                asked_by: None,
            };
            app.uses.count(used, unit.context(), unit.at());
        }
        Ok(stands)
    }

    /// Names the token's client, grant and user in a refusal.
    #[must_use]
    pub fn about(&self, rejection: Rejection<ApiError>) -> Rejection<ApiError> {
        rejection.client(self.client.0).grant(self.grant, self.subject)
    }

    /// Requires a scope: that the token has it, and that its client may use it now.
    pub async fn require(
        &self,
        unit: &mut UnitOfWork<'_>,
        scope: &'static str,
    ) -> Result<(), Rejection<ApiError>> {
        if !self.granted.contains(scope) {
            return Err(self.about(Rejection::new(
                ApiError::InsufficientScope(scope),
                RefusalReason::InsufficientScope,
            )));
        }
        if !self.allowed.contains(scope) {
            let (error, reason) = not_allowed(unit, self.client.1.registration.as_deref(), scope).await?;
            return Err(self.about(Rejection::new(error, reason)));
        }
        Ok(())
    }

    /// Requires a scope that opens what nobody's consent can: it must be approved for the client even where it
    /// was not defined as restricted.
    pub async fn require_approved(
        &self,
        unit: &mut UnitOfWork<'_>,
        scope: &'static str,
    ) -> Result<(), Rejection<ApiError>> {
        self.require(unit, scope).await?;
        let registration = self.client.1.registration.as_deref();
        if registration.is_some_and(|client| client.is_approved(scope)) {
            return Ok(());
        }
        Err(self.about(Rejection::new(
            ApiError::UnapprovedScope(scope),
            RefusalReason::ScopeNotApproved,
        )))
    }

    /// Whether the token has a scope, whatever its client may use now.
    #[must_use]
    pub fn has(&self, scope: &str) -> bool {
        self.granted.contains(scope)
    }

    /// Whether it has a scope that its client may use now and is approved for.
    #[must_use]
    pub fn is_approved_for(&self, scope: &str) -> bool {
        let registration = self.client.1.registration.as_deref();
        self.has(scope)
            && self.allowed.contains(scope)
            && registration.is_some_and(|client| client.is_approved(scope))
    }

    /// The account of the token's own user.
    pub async fn own_account(
        &self,
        unit: &mut UnitOfWork<'_>,
        subject: SubjectId,
    ) -> Result<Account, Rejection<ApiError>> {
        let user = unit.load::<User>(subject.0).await?;
        let revoked = || Rejection::new(ApiError::TokenInvalid, RefusalReason::TokenRevoked);
        user.account.clone().ok_or_else(|| self.about(revoked()))
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
