//! What OpenID Connect adds to an authorization request (Core §3.1.2.1), one rule per function. `display` and
//! `ui_locales` say how its pages are shown ([`crate::http::page::Presentation`]). `claims_locales` and `acr_values` are
//! accepted and change nothing: claims are in one language, and there is one way to log in.

use chrono::TimeDelta;

use super::error::{AuthorizeError, invalid_request};
use super::parameters::Parameters;
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::client::Registration;
use crate::domain::openid::{ACR_PASSWORD, Claim, IndividualClaims, OPENID};
use crate::domain::refusal::RefusalReason;
use crate::domain::session::Login;
use crate::domain::value::{ScopeSet, is_plain_text};
use crate::http::error::Rejection;
use crate::http::oauth::standing;
use crate::http::oidc::claims_request::ClaimsRequest;
use crate::ids::SubjectId;
use crate::ledger::{LedgerError, UnitOfWork};

/// The most characters of a `nonce`: it is kept with the grant.
const MAX_NONCE: usize = 512;
/// The most bytes of a `login_hint` that is shown.
const MAX_LOGIN_HINT: usize = 256;

/// The parameters of an authentication request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AuthenticationRequest {
    /// Ties the ID token to the client's own session. Without the scope `openid` it means nothing and is not kept.
    pub(super) nonce: Option<String>,
    /// How long ago the user may have given the password.
    max_age: Option<TimeDelta>,
    /// The user whom the `id_token_hint` is of.
    hinted: Option<String>,
    /// The user whose grant is to be replaced.
    owner: Option<SubjectId>,
    /// The `claims` parameter.
    claims: ClaimsRequest,
    /// Those of its claims that the scope does not open and the client may ask for.
    pub(super) individual_claims: IndividualClaims,
    /// The sector whose subjects the client knows; none where they are public.
    sector: Option<String>,
}

impl AuthenticationRequest {
    pub(super) async fn read(
        app: &App,
        unit: &mut UnitOfWork<'_>,
        parameters: &Parameters,
        (client, scope): (&Registration, &ScopeSet),
    ) -> Result<Self, Rejection<AuthorizeError>> {
        let claims = claims(parameters)?;
        Ok(Self {
            individual_claims: individual_claims(unit, client, (scope, &claims)).await?,
            nonce: nonce(parameters, scope)?,
            max_age: max_age(parameters)?.or_else(|| client.metadata.default_max_age()),
            hinted: hinted(app, unit, parameters, &client.client_id).await?,
            owner: None,
            claims,
            sector: client.pairwise_sector(),
        })
    }

    /// The same for one user only, where there is one.
    pub(super) fn of(self, owner: Option<SubjectId>) -> Self {
        Self { owner, ..self }
    }

    /// Whether this login will do at `at`; if not, the user has to log in (again).
    pub(super) fn accepts(&self, app: &App, login: &Login, at: Timestamp) -> bool {
        let recent = self
            .max_age
            .is_none_or(|max_age| at - login.authenticated_at <= max_age);
        recent && !self.asks_for_another(app, login)
    }

    /// Whether it is another user that will do (`id_token_hint`, `sub` in `claims`, or the owner of a grant).
    pub(super) fn asks_for_another(&self, app: &App, login: &Login) -> bool {
        if self.owner.is_some_and(|owner| owner != login.subject) {
            return true;
        }
        let subject = app.operations.subject_in(self.sector.as_deref(), login.subject);
        let other = |hinted: &String| *hinted != subject;
        let asked = self.claims.subjects.as_ref();
        self.hinted.as_ref().is_some_and(other) || asked.is_some_and(|asked| !asked.contains(&subject))
    }

    /// The claims that the grant's ID tokens are to carry, where it has any.
    pub(super) fn id_token_claims(&self, scope: &ScopeSet) -> Option<Vec<Claim>> {
        let wanted = &self.claims.id_token;
        (scope.contains(OPENID) && !wanted.is_empty()).then(|| wanted.clone())
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

/// Seconds, in digits. More than there will ever be is as good as none.
fn max_age(parameters: &Parameters) -> Result<Option<TimeDelta>, Rejection<AuthorizeError>> {
    let Some(text) = parameters.get("max_age") else {
        return Ok(None);
    };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid_request(
            "The max_age is not a number of seconds.",
            RefusalReason::MaxAgeMalformed,
        ));
    }
    let seconds = text.parse().ok().and_then(TimeDelta::try_seconds);
    Ok(Some(seconds.unwrap_or(TimeDelta::MAX)))
}

/// The user of an ID token of this client. It may have expired: it is the user that matters.
async fn hinted(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    parameters: &Parameters,
    client_id: &str,
) -> Result<Option<String>, Rejection<AuthorizeError>> {
    let Some(hint) = parameters.get("id_token_hint") else {
        return Ok(None);
    };
    let hint = app.keys.hint(hint, &app.settings.issuer);
    if let Some((hint, key)) = hint.await?
        && hint.aud.contains(client_id)
        && standing::is_published(unit, key).await?
    {
        return Ok(Some(hint.sub));
    }
    Err(invalid_request(
        "The id_token_hint is not an ID token of this client, or its key is no longer published.",
        RefusalReason::IdTokenHintInvalid,
    ))
}

/// OpenID Connect Core §5.5.
fn claims(parameters: &Parameters) -> Result<ClaimsRequest, Rejection<AuthorizeError>> {
    let claims = parameters.get("claims").map(ClaimsRequest::parse).transpose();
    let claims = claims.map_err(|_| {
        invalid_request(
            "The claims parameter is not as OpenID Connect Core section 5.5 has it, or is too long.",
            RefusalReason::ClaimsMalformed,
        )
    })?;
    let claims = claims.unwrap_or_default();
    // §5.5.1.1: an essential acr that is not met is a failed authentication. Every login here is of the one class,
    // so nobody is asked for a password in vain.
    let unmet = |acr: &Vec<String>| !acr.iter().any(|one| one == ACR_PASSWORD);
    if claims.acr.as_ref().is_some_and(unmet) {
        return Err(Rejection::new(
            AuthorizeError::UnmetAuthenticationRequirements,
            RefusalReason::AcrUnmet,
        ));
    }
    Ok(claims)
}

/// A client may ask for a claim by itself where it may ask for the scope that opens it: how much of a user it may know is
/// a matter of its registration, in whichever way it asks. Others are left out (§5.5.1), as is a claim that only a
/// particular value of will do: the user would be asked for what may not be wanted.
async fn individual_claims(
    unit: &mut UnitOfWork<'_>,
    client: &Registration,
    (scope, asked): (&ScopeSet, &ClaimsRequest),
) -> Result<IndividualClaims, LedgerError> {
    let closed = |claims: &[Claim]| -> Vec<Claim> {
        let closed = claims.iter().filter(|claim| !scope.contains(claim.scope()));
        closed
            .filter(|claim| !asked.particular.contains(claim))
            .copied()
            .collect()
    };
    let asked = IndividualClaims {
        id_token: closed(&asked.id_token),
        userinfo: closed(&asked.userinfo),
    };
    if asked.is_empty() || !scope.contains(OPENID) {
        return Ok(IndividualClaims::default());
    }
    standing::allowed_claims(unit, client, &asked).await
}

/// The user name to put into the login form. It proves nothing.
pub(super) fn login_hint(parameters: &Parameters) -> &str {
    let hint = parameters.get("login_hint");
    hint.filter(|hint| hint.len() <= MAX_LOGIN_HINT && is_plain_text(hint))
        .unwrap_or_default()
}
