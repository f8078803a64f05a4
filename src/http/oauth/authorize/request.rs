//! Checking an authorization request (RFC 6749 §4.1.1), one rule per function.

use std::sync::Arc;

use super::authentication::AuthenticationRequest;
use super::dpop_jkt;
use super::error::{AuthorizeError, invalid_request};
use super::management;
use super::parameters::Parameters;
use super::redirect::ReturnAddress;
use super::response_mode::ResponseMode;
use crate::app::App;
use crate::domain::client::{Client, ClientMetadata, GrantType, PkceRule, Registration, Standing};
use crate::domain::confirmation::Confirmation;
use crate::domain::consent::Terms;
use crate::domain::grant::Management;
use crate::domain::openid::OPENID;
use crate::domain::pkce::{Challenge, Method};
use crate::domain::redirect_uri;
use crate::domain::refusal::RefusalReason;
use crate::domain::scope::{Definition, Scope};
use crate::domain::value::ScopeSet;
use crate::http::error::Rejection;
use crate::http::oauth::authorization_details::{self, Asked};
use crate::http::oauth::{resource, standing};
use crate::http::page::{Lost, PageError};
use crate::ids::ClientKey;
use crate::ledger::UnitOfWork;

/// The most bytes of a `state`: it comes back in a header.
const MAX_STATE: usize = 4096;

/// The client and where its answers go: from here on errors are sent there.
pub(super) struct Target {
    pub(super) key: ClientKey,
    pub(super) registration: Arc<Registration>,
    pub(super) back: ReturnAddress,
    /// Whether the request named the redirect URI; then the token request must, too.
    pub(super) redirect_uri_given: bool,
}

/// A request that may be put before the user.
pub(super) struct AuthorizationRequest {
    pub(super) scope: ScopeSet,
    /// The same scopes, with their descriptions.
    pub(super) scopes: Vec<Definition>,
    /// The audience of the grant's tokens.
    pub(super) audience: Vec<String>,
    /// The resources that the request names, for the user to see.
    pub(super) resources: Vec<String>,
    /// What is asked for besides (RFC 9396).
    pub(super) details: Vec<Asked>,
    pub(super) challenge: Option<Challenge>,
    /// The key that the code is to be bound to.
    pub(super) confirmation: Option<Confirmation>,
    pub(super) prompt: Prompt,
    /// Whether the client is to know the grant by an id, and by which.
    pub(super) management: Option<Management>,
    /// What the user takes back by it, where it takes the place of what was granted before.
    pub(super) lost: Option<Lost>,
    /// What OpenID Connect adds.
    pub(super) openid: AuthenticationRequest,
}

/// The `prompt` parameter (OpenID Connect Core §3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a value of its own on the wire"
)]
pub(super) struct Prompt {
    /// Show no page.
    pub(super) none: bool,
    /// Ask for the password, whoever is logged in.
    pub(super) login: bool,
    /// Ask for consent, whatever was given before.
    pub(super) consent: bool,
    /// Let the user take another account.
    pub(super) select_account: bool,
}

/// Finds the client.
pub(super) async fn client(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    parameters: &Parameters,
) -> Result<(ClientKey, Arc<Registration>), Rejection<PageError>> {
    let client_id = parameters.get("client_id").ok_or(Rejection::new(
        PageError::ClientMissing,
        RefusalReason::ClientIdMissing,
    ))?;
    let unknown = || Rejection::new(PageError::ClientUnknown, RefusalReason::UnknownClient);
    let key = app.operations.find_client(client_id).await?.ok_or_else(unknown)?;
    let client = unit.load::<Client>(key.0).await?;
    let registration = client.registration.clone();
    let registration = registration
        .filter(|known| known.client_id == client_id)
        .ok_or_else(unknown)?;
    // One that is suspended may come back, so its users are sent back to it with an error; one that is revoked
    // for good is sent nobody any more.
    if registration.standing == Standing::Revoked {
        return Err(Rejection::new(PageError::ClientRevoked, RefusalReason::ClientRevoked).client(key));
    }
    Ok((key, registration))
}

/// Finds the client and its redirect URI. Whoever asks, nothing is sent to an address that is not registered
/// (RFC 6749 §4.1.2.1, RFC 9700 §4.11).
pub(super) async fn target(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    parameters: &Parameters,
) -> Result<Target, Rejection<PageError>> {
    let (key, registration) = client(app, unit, parameters).await?;
    let requested = parameters.get("redirect_uri");
    let redirect_uri = named_where_it_must_be(parameters)
        .and_then(|()| redirect_uri(&registration.metadata, requested))
        .map_err(|(error, reason)| Rejection::new(error, reason).client(key))?
        .to_owned();
    let state = parameters.get("state").filter(|state| state.len() <= MAX_STATE);
    Ok(Target {
        key,
        back: ReturnAddress {
            redirect_uri,
            state: state.map(str::to_owned),
            issuer: app.settings.issuer.clone(),
            // One that is not good is refused later, by the default one.
            mode: response_mode(parameters, &registration.metadata)
                .unwrap_or_else(|_| ResponseMode::default_of(&registration.metadata)),
            client_id: registration.client_id.clone(),
            algorithm: registration.metadata.response_algorithm(),
        },
        registration,
        redirect_uri_given: requested.is_some(),
    })
}

/// OpenID Connect Core §3.1.2.1: an authentication request names its redirect URI, even where there is only one. One by
/// reference may name it there, and is sent back for being one.
fn named_where_it_must_be(parameters: &Parameters) -> Result<(), (PageError, RefusalReason)> {
    let scope = parameters.get("scope").unwrap_or_default();
    let is_named = ["redirect_uri", "request_uri"]
        .iter()
        .any(|name| parameters.get(name).is_some());
    if scope.split(' ').any(|name| name == OPENID) && !is_named {
        return Err((PageError::RedirectUriMissing, RefusalReason::RedirectUriMissing));
    }
    Ok(())
}

impl AuthorizationRequest {
    /// What its user is asked to allow, besides authorization details.
    pub(super) fn terms(&self, target: &Target) -> Terms {
        let is_unvouched = target.registration.registration_access_token.is_some();
        Terms {
            scope: self.scope.clone(),
            claims: self.openid.individual_claims.all(),
            resources: self.resources.iter().cloned().collect(),
            returns_to: is_unvouched.then(|| redirect_uri::place(&target.back.redirect_uri)),
        }
    }
}

/// RFC 6749 §3.1.2.3: the requested one if it is registered; the only one where none is requested. A loopback
/// address must be requested, since only the request knows the port.
fn redirect_uri<'a>(
    metadata: &'a ClientMetadata,
    requested: Option<&'a str>,
) -> Result<&'a str, (PageError, RefusalReason)> {
    match (requested, metadata.redirect_uris.as_slice()) {
        (Some(requested), _) if metadata.registered_redirect_uri(requested).is_some() => Ok(requested),
        (Some(_), _) => Err((
            PageError::RedirectUriUnknown,
            RefusalReason::RedirectUriNotRegistered,
        )),
        (None, [only]) if !redirect_uri::has_free_port(only) => Ok(only),
        (None, _) => Err((PageError::RedirectUriMissing, RefusalReason::RedirectUriMissing)),
    }
}

/// Checks all else of the request.
pub(super) async fn check(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    parameters: &Parameters,
    target: &Target,
) -> Result<AuthorizationRequest, Rejection<AuthorizeError>> {
    let registration = &target.registration;
    let metadata = &registration.metadata;
    if registration.standing != Standing::Active {
        return Err(Rejection::new(
            AuthorizeError::AccessDenied,
            RefusalReason::ClientSuspended,
        ));
    }
    well_formed(parameters)?;
    supported(parameters)?;
    redirect_uri_named(target)?;
    response_type(parameters.get("response_type"))?;
    if !metadata.allows(GrantType::AuthorizationCode) {
        return Err(Rejection::new(
            AuthorizeError::UnauthorizedClient,
            RefusalReason::GrantTypeNotAllowed,
        ));
    }
    let scope = requested_scope(unit, parameters, registration).await?;
    let scopes = granted_scopes(unit, registration, &scope).await?;
    let audience = resource::audience(&parameters.form, metadata.audience_or(&target.back.issuer))
        .map_err(|reason| Rejection::new(AuthorizeError::InvalidTarget, reason))?;
    let details = details(unit, parameters, target).await?;
    let challenge = challenge(
        parameters.get("code_challenge"),
        parameters.get("code_challenge_method"),
        metadata.pkce(),
    )?;
    let prompt = Prompt::parse(parameters.get("prompt").unwrap_or_default())?;
    let (management, predecessor) = management::read(app, unit, parameters, target.key).await?;
    let openid = AuthenticationRequest::read(app, unit, parameters, (registration, &scope))
        .await?
        .of(predecessor.as_ref().map(|known| known.owner));
    let lost = match &predecessor {
        Some(known) => {
            let claims = openid.individual_claims.all();
            Some(known.lost(app, unit, (&scope, &claims, &details)).await?)
        }
        None => None,
    };
    response_mode(parameters, metadata)?;
    Ok(AuthorizationRequest {
        scope,
        scopes,
        audience,
        resources: resource::requested(&parameters.form)
            .ok()
            .flatten()
            .unwrap_or_default(),
        details,
        challenge,
        confirmation: dpop_jkt::read(parameters, metadata)?,
        prompt,
        management,
        lost,
        openid,
    })
}

/// RFC 6749 §3.1: no parameter twice.
fn well_formed(parameters: &Parameters) -> Result<(), Rejection<AuthorizeError>> {
    if parameters.has_doubled() {
        return Err(invalid_request(
            "A parameter is included more than once.",
            RefusalReason::ParameterDoubled,
        ));
    }
    if parameters
        .get("state")
        .is_some_and(|state| state.len() > MAX_STATE)
    {
        return Err(invalid_request(
            "The state is longer than 4096 bytes.",
            RefusalReason::StateTooLong,
        ));
    }
    Ok(())
}

/// RFC 6749 §3.1.1.
fn response_type(requested: Option<&str>) -> Result<(), Rejection<AuthorizeError>> {
    match requested {
        Some("code") => Ok(()),
        Some(_) => Err(Rejection::new(
            AuthorizeError::UnsupportedResponseType,
            RefusalReason::ResponseTypeUnsupported,
        )),
        None => Err(invalid_request(
            "The response_type is missing.",
            RefusalReason::ResponseTypeMissing,
        )),
    }
}

/// RFC 9396 §3, §5.
async fn details(
    unit: &mut UnitOfWork<'_>,
    parameters: &Parameters,
    target: &Target,
) -> Result<Vec<Asked>, Rejection<AuthorizeError>> {
    let registration = &target.registration;
    let audience = registration.metadata.audience_or(&target.back.issuer);
    let refuse = |reason| {
        let error = AuthorizeError::InvalidAuthorizationDetails(authorization_details::what(reason));
        Rejection::new(error, reason)
    };
    authorization_details::requested(unit, &parameters.form, (registration, &audience), refuse).await
}

/// RFC 6749 §3.3: what is asked for, or the client's default, and no more than the client may ask for. Authorization
/// details do without (RFC 9396 §3.1).
async fn requested_scope(
    unit: &mut UnitOfWork<'_>,
    parameters: &Parameters,
    registration: &Registration,
) -> Result<ScopeSet, Rejection<AuthorizeError>> {
    let invalid = |reason| Rejection::new(AuthorizeError::InvalidScope, reason);
    let scope = match parameters.get("scope") {
        Some(text) => ScopeSet::parse(text).map_err(|_| invalid(RefusalReason::ScopeMalformed))?,
        None => standing::omitted_scope(unit, registration).await?,
    };
    if scope.is_empty() && !authorization_details::are_asked_for(&parameters.form) {
        return Err(invalid(RefusalReason::ScopeMissing));
    }
    if !scope.is_subset(&registration.metadata.scope) {
        return Err(invalid(RefusalReason::ScopeNotAllowed));
    }
    Ok(scope)
}

/// Each scope must exist, and a restricted one be approved for this client at this moment.
async fn granted_scopes(
    unit: &mut UnitOfWork<'_>,
    registration: &Registration,
    scope: &ScopeSet,
) -> Result<Vec<Definition>, Rejection<AuthorizeError>> {
    let invalid = |reason| Rejection::new(AuthorizeError::InvalidScope, reason);
    let mut scopes = Vec::new();
    for name in scope.iter() {
        let loaded = unit.load::<Scope>(Scope::id(name)).await?;
        let definition = loaded
            .grantable()
            .ok_or_else(|| invalid(RefusalReason::ScopeUnknown))?;
        if definition.restricted && !registration.is_approved(name) {
            return Err(invalid(RefusalReason::ScopeNotApproved));
        }
        scopes.push(definition.clone());
    }
    Ok(scopes)
}

/// RFC 7636 §4.3, tightened by RFC 9700 §2.1.1: a challenge is required and must be S256, except that a client
/// marked legacy may send `plain` (which is what an absent method means) or nothing, and one that need not have one
/// nothing. To a challenge that was sent the code is bound, whoever sent it.
fn challenge(
    challenge: Option<&str>,
    method: Option<&str>,
    rule: PkceRule,
) -> Result<Option<Challenge>, Rejection<AuthorizeError>> {
    let method = match (challenge, method) {
        (None, None) if rule != PkceRule::Required => return Ok(None),
        (None, _) => {
            return Err(invalid_request(
                "The code_challenge is missing (PKCE).",
                RefusalReason::PkceMissing,
            ));
        }
        (Some(_), Some("S256")) => Method::S256,
        (Some(_), Some("plain") | None) if rule == PkceRule::Loose => Method::Plain,
        (Some(_), _) => {
            let what = "The code_challenge_method must be S256.";
            return Err(invalid_request(what, RefusalReason::PkceMethodUnsupported));
        }
    };
    let parsed = challenge.map(|text| Challenge::parse(text, method)).transpose();
    parsed.map_err(|_| invalid_request("The code_challenge is malformed.", RefusalReason::PkceMalformed))
}

impl Prompt {
    fn parse(text: &str) -> Result<Self, Rejection<AuthorizeError>> {
        let mut prompt = Self::default();
        for value in text.split(' ').filter(|value| !value.is_empty()) {
            match value {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                "select_account" => prompt.select_account = true,
                _ => {
                    return Err(invalid_request(
                        "The prompt has an unknown value.",
                        RefusalReason::PromptUnknown,
                    ));
                }
            }
        }
        if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
            let what = "The prompt has none together with another value.";
            return Err(invalid_request(what, RefusalReason::PromptNoneWithOthers));
        }
        Ok(prompt)
    }
}

/// Says no to what this server does not do, rather than leave it out unnoticed.
fn supported(parameters: &Parameters) -> Result<(), Rejection<AuthorizeError>> {
    for (name, error, reason) in [
        (
            "request_uri",
            AuthorizeError::RequestUriNotSupported,
            RefusalReason::RequestUri,
        ),
        (
            "registration",
            AuthorizeError::RegistrationNotSupported,
            RefusalReason::Registration,
        ),
    ] {
        if parameters.get(name).is_some() {
            return Err(Rejection::new(error, reason));
        }
    }
    Ok(())
}

/// The mode that is asked for, or the client's default.
fn response_mode(
    parameters: &Parameters,
    metadata: &ClientMetadata,
) -> Result<ResponseMode, Rejection<AuthorizeError>> {
    let Some(name) = parameters.get("response_mode") else {
        return Ok(ResponseMode::default_of(metadata));
    };
    let mode = ResponseMode::named(name).ok_or_else(|| {
        invalid_request(
            "The response_mode is not query, fragment, form_post, jwt, query.jwt, fragment.jwt or form_post.jwt.",
            RefusalReason::ResponseModeUnsupported,
        )
    })?;
    if metadata.requires_signed_responses() && !mode.is_signed() {
        let what =
            "The client's profile needs signed responses: a response_mode of jwt, or one that ends in .jwt.";
        return Err(invalid_request(what, RefusalReason::ResponseNotSigned));
    }
    Ok(mode)
}

/// A FAPI client names its redirect URI (FAPI 2.0 Security Profile §5.3.2.2).
fn redirect_uri_named(target: &Target) -> Result<(), Rejection<AuthorizeError>> {
    if target.redirect_uri_given || !target.registration.metadata.is_fapi2() {
        return Ok(());
    }
    let what = "The redirect_uri is missing, which the client's profile needs.";
    Err(invalid_request(what, RefusalReason::RedirectUriMissing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pkce_is_required_and_plain_is_for_legacy_clients_only() {
        use PkceRule::{Loose, Optional, Required};
        let s256 = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let method = |challenge, method, rule| {
            super::challenge(challenge, method, rule)
                .map(|found| found.map(|found| found.method))
                .map_err(|rejection| rejection.reason)
        };
        for rule in [Required, Optional, Loose] {
            assert_eq!(method(Some(s256), Some("S256"), rule), Ok(Some(Method::S256)));
            assert_eq!(method(None, Some("S256"), rule), Err(RefusalReason::PkceMissing));
            assert_eq!(
                method(Some("short"), Some("S256"), rule),
                Err(RefusalReason::PkceMalformed)
            );
            assert_eq!(
                method(Some(s256), Some("s256"), rule),
                Err(RefusalReason::PkceMethodUnsupported)
            );
        }
        for absent in [Some("plain"), None] {
            assert_eq!(method(Some(s256), absent, Loose), Ok(Some(Method::Plain)));
            for strict in [Required, Optional] {
                assert_eq!(
                    method(Some(s256), absent, strict),
                    Err(RefusalReason::PkceMethodUnsupported)
                );
            }
        }
        assert_eq!(method(None, None, Loose), Ok(None));
        assert_eq!(method(None, None, Optional), Ok(None));
        assert_eq!(method(None, None, Required), Err(RefusalReason::PkceMissing));
    }
}
