//! `UserInfo` endpoint, OpenID Connect Core §5.3: the claims of the user that a token stands for.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::claims::UserClaims;
use crate::app::App;
use crate::config::Settings;
use crate::domain::client::{IdTokenAlgorithm, Registration};
use crate::domain::openid::{Claim, OPENID};
use crate::domain::refusal::RefusalReason;
use crate::domain::user::Account;
use crate::domain::value::ScopeSet;
use crate::http::api::bearer::BearerToken;
use crate::http::api::respond;
use crate::http::context::Origin;
use crate::http::cors::OriginsOf;
use crate::http::error::{ApiError, BearerError, Rejection, no_store};
use crate::http::form::{self, Form, FormError};
use crate::http::oauth::{answer, rounds};
use crate::ids::SubjectId;
use crate::ledger::{Actor, LedgerError, UnitOfWork};

/// The path.
pub const PATH: &str = "/oauth/userinfo";

type BearerRejection = Rejection<BearerError>;

#[derive(Serialize)]
struct UserInfo {
    sub: String,
    #[serde(flatten)]
    claims: UserClaims,
}

#[derive(Serialize)]
struct SignedUserInfo<'a> {
    iss: &'a str,
    aud: &'a str,
    #[serde(flatten)]
    user_info: UserInfo,
}

/// The audience of tokens with this scope. `openid` opens this endpoint, so it is among them: itself where the
/// client's tokens are for other resource servers, so that they open nothing else here.
#[must_use]
pub fn audience(settings: &Settings, scope: &ScopeSet, mut audience: Vec<String>) -> Vec<String> {
    let endpoint = own_audience(settings);
    if scope.contains(OPENID)
        && !audience
            .iter()
            .any(|one| *one == settings.issuer || *one == endpoint)
    {
        audience.push(endpoint);
    }
    audience
}

/// What names this endpoint in an audience.
pub(crate) fn own_audience(settings: &Settings) -> String {
    format!("{}{PATH}", settings.issuer)
}

/// The token comes in the Authorization header (RFC 6750 §2.1).
pub async fn get(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let result = user_info(&app, &origin, &headers, None).await;
    answer(&app, &origin, PATH, result.map_err(BearerRejection::from)).await
}

/// As [`get`]; the token may come in a form instead (RFC 6750 §2.2).
pub async fn post(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = match in_form(&headers, body) {
        Ok(form) => user_info(&app, &origin, &headers, form.as_deref()).await,
        Err(rejection) => Err(rejection),
    };
    answer(&app, &origin, PATH, result.map_err(BearerRejection::from)).await
}

/// The token in a form, where there is one.
fn in_form(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Option<String>, Rejection<ApiError>> {
    let invalid = |what, reason| Rejection::new(ApiError::ValidationError(what), reason);
    if form::check_content_type(headers).is_err() {
        return Ok(None);
    }
    let malformed = || invalid("The body is not a form in UTF-8.", RefusalReason::MalformedBody);
    let body = body.map_err(|_| malformed())?;
    let form = Form::parse_bytes(&body).map_err(|error| match error {
        FormError::Duplicate(_) => invalid(
            "A parameter is included more than once in the form.",
            RefusalReason::ParameterDoubled,
        ),
        FormError::TooMany => invalid(
            "The form has too many parameters.",
            RefusalReason::TooManyParameters,
        ),
        FormError::NotUtf8
        | FormError::Nul
        | FormError::ContentType
        | FormError::Charset
        | FormError::NotFlatJson => malformed(),
    })?;
    let token = form.get("access_token").map(str::to_owned);
    if token.is_some() && headers.contains_key(header::AUTHORIZATION) {
        let what = "There is an access token in the header and in the form.";
        return Err(invalid(what, RefusalReason::TwoAccessTokens));
    }
    Ok(token)
}

async fn user_info(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    in_form: Option<&str>,
) -> Result<Response, Rejection<ApiError>> {
    let audience = [app.settings.issuer.clone(), own_audience(&app.settings)];
    let token = match in_form {
        Some(token) => BearerToken::check(app, token, &audience).await?,
        None => BearerToken::read_for(app, origin, headers, &audience).await?,
    };
    let context = origin.context(PATH, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let known = rounds!(unit, round((app, &mut unit), &token))?;
    let profile = app.operations.profile(known.subject, &known.account).await?;
    // The key is gone: the user was erased in this very moment.
    let erased = Rejection::new(ApiError::TokenInvalid, RefusalReason::UserErased);
    let user_info = UserInfo {
        sub: app.operations.subject_for(&known.client, known.subject),
        claims: UserClaims::of(
            &profile.ok_or(erased)?,
            (&Claim::ALL, &known.scope),
            &known.individual_claims,
        ),
    };
    let mut response = match known.client.metadata.userinfo_signed_response_alg {
        None => respond(user_info),
        Some(algorithm) => signed(app, algorithm, &known.client, user_info)?,
    };
    response.extensions_mut().insert(OriginsOf(known.client));
    Ok(response)
}

/// OpenID Connect Core §5.3.2.
fn signed(
    app: &App,
    algorithm: IdTokenAlgorithm,
    client: &Registration,
    user_info: UserInfo,
) -> Result<Response, Rejection<ApiError>> {
    let claims = SignedUserInfo {
        iss: &app.settings.issuer,
        aud: &client.client_id,
        user_info,
    };
    let jwt = app
        .keys
        .sign_user_info(algorithm, &claims)
        .map_err(LedgerError::Crypto)?;
    let mut response = ([(header::CONTENT_TYPE, "application/jwt")], jwt).into_response();
    no_store(&mut response);
    Ok(response)
}

/// Whom a token stands for, and what it opens.
struct Known {
    subject: SubjectId,
    account: Account,
    scope: ScopeSet,
    /// What it opens besides, claim by claim.
    individual_claims: Vec<Claim>,
    client: Arc<Registration>,
}

async fn round(
    (app, unit): (&App, &mut UnitOfWork<'_>),
    token: &BearerToken,
) -> Result<Option<Known>, Rejection<ApiError>> {
    let active = token.active(unit).await?;
    let Some(subject) = active.subject else {
        // RFC 6750 §3.1 has no other code for it: no scope would help.
        let refused = Rejection::new(ApiError::NoUser, RefusalReason::NoUser);
        return Err(active.about(refused));
    };
    active.require(unit, OPENID).await?;
    let account = active.own_account(unit, subject).await?;
    let Some(client) = active.registration() else {
        return Err(active.about(Rejection::new(
            ApiError::TokenInvalid,
            RefusalReason::TokenRevoked,
        )));
    };
    let known = Known {
        subject,
        account,
        scope: active.usable_scope(),
        individual_claims: active.userinfo_claims().to_vec(),
        client,
    };
    Ok(active.confirm_use(app, unit).await?.then_some(known))
}
