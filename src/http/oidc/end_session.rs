//! The end session endpoint, OpenID Connect RP-Initiated Logout 1.0: an application asks that its user be logged out
//! here, and perhaps wants the browser back.
//!
//! An `id_token_hint` of the browser's own login proves that the application knows that login: it ends at once. In all
//! other cases the user is asked (§2, §6). Nothing ends, and nobody is sent anywhere, on a request that is not good as
//! a whole. `ui_locales` is the language of the pages. `logout_hint` is accepted and changes nothing: there is one login in
//! a browser.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::App;
use crate::crypto::signing::IdTokenHint;
use crate::domain::client::{Client, Registration, Standing};
use crate::domain::refusal::RefusalReason;
use crate::domain::signing_key::SigningKey;
use crate::http::context::Origin;
use crate::http::csrf;
use crate::http::error::Rejection;
use crate::http::form::Form;
use crate::http::logout::{self, Asked};
use crate::http::oauth::authorize::{destination, posted_request, read_form, see_other, with_query};
use crate::http::other_methods;
use crate::http::page::{self, GoBackPage, PageError, Presentation, WayBack};
use crate::http::session::{self, LiveSession, SESSION_COOKIE};
use crate::ids::ClientKey;
use crate::ledger::{Actor, Context};

/// The path.
pub const PATH: &str = "/oauth/logout";

/// The endpoint.
pub fn routes() -> Router<App> {
    Router::new().route(PATH, get(show).post(submit).head(other_methods))
}

/// A logout request whose every parameter is good.
struct LogoutRequest {
    /// How its pages are shown.
    presentation: Presentation,
    /// The query, which the form's address repeats.
    query: String,
    hint: Option<IdTokenHint>,
    client: Option<RelyingParty>,
    /// Where the browser goes in the end, `state` included.
    back: Option<String>,
}

struct RelyingParty {
    key: ClientKey,
    registration: Arc<Registration>,
}

async fn show(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let context = origin.context(PATH, Actor::Anonymous);
    let asked = (query.unwrap_or_default(), None);
    let answer = answer(&app, (&context, origin.presentation), &headers, asked).await;
    finish(&app, (&context, origin.presentation), answer).await
}

/// The user's answer; or, without a query, a request that an application had posted, which goes on by `GET`: the
/// browser keeps our cookie from forms of other sites.
async fn submit(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let context = origin.context(PATH, Actor::Anonymous);
    let query = query.unwrap_or_default();
    let answer = match read(&query, &headers, body) {
        Ok(Posted::Request(location)) => Ok(see_other(&location)),
        Ok(Posted::Form(form)) => {
            let asked = (query, Some(form));
            answer(&app, (&context, origin.presentation), &headers, asked).await
        }
        Err(rejection) => Err(rejection),
    };
    finish(&app, (&context, origin.presentation), answer).await
}

enum Posted {
    Request(String),
    Form(Form),
}

/// Our form is told by its token, since a request may have no parameter at all.
fn read(
    query: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Posted, Rejection<PageError>> {
    if !query.is_empty() {
        return read_form(headers, body).map(Posted::Form);
    }
    let location = posted_request("logout", (headers, body))?;
    let (_, parameters) = location.split_once('?').unwrap_or_default();
    match Form::parse(parameters) {
        Ok(form) if form.get(csrf::FIELD).is_some() => Ok(Posted::Form(form)),
        Ok(_) | Err(_) => Ok(Posted::Request(location)),
    }
}

async fn finish(
    app: &App,
    (context, presentation): (&Context, Presentation),
    answer: Result<Response, Rejection<PageError>>,
) -> Response {
    match answer {
        Ok(response) => response,
        Err(rejection) => {
            if let Some(refused) = rejection.refused() {
                app.ledger.record_refusal(context, refused).await;
            }
            let error = if rejection.error == PageError::Malformed {
                PageError::LogoutMalformed
            } else {
                rejection.error
            };
            logout::failed((context, presentation), error)
        }
    }
}

/// Checks the request, then ends the login, or asks the user, or says that nobody is logged in.
async fn answer(
    app: &App,
    (context, presentation): (&Context, Presentation),
    headers: &HeaderMap,
    (query, form): (String, Option<Form>),
) -> Result<Response, Rejection<PageError>> {
    let request = LogoutRequest::read(app, query, presentation).await?;
    let Some(live) = session::live(app, context, headers).await? else {
        return Ok(request.without_login(app, context));
    };
    let asked = Asked {
        presentation,
        query: &request.query,
        by: request
            .client
            .as_ref()
            .map(|client| client.registration.metadata.client_name.as_str()),
    };
    match &form {
        None if request.is_of(app, &live) => {}
        None => return Ok(logout::confirmation(app, &live, &asked, None).await?),
        Some(form) => {
            if let Some(again) = logout::unproven(app, context, &live, (&asked, form)).await? {
                return Ok(again);
            }
        }
    }
    logout::end(app, context, &live, "rp_logout").await?;
    Ok(request.done(app))
}

impl LogoutRequest {
    async fn read(
        app: &App,
        query: String,
        presentation: Presentation,
    ) -> Result<Self, Rejection<PageError>> {
        let parameters = Form::parse(&query)
            .map_err(|_| Rejection::new(PageError::Malformed, RefusalReason::MalformedQuery))?;
        let hint = hint(app, &parameters).await?;
        let client = client(app, &parameters, hint.as_ref()).await?;
        let back = back(&parameters, client.as_ref())?;
        Ok(Self {
            presentation,
            query,
            hint,
            client,
            back,
        })
    }

    /// Whether the hint is of the login that this browser has.
    fn is_of(&self, app: &App, live: &LiveSession) -> bool {
        let (Some(hint), Some(client)) = (&self.hint, &self.client) else {
            return false;
        };
        let subject = app
            .operations
            .subject_for(&client.registration, live.login.subject);
        hint.sid.as_deref() == Some(live.id.to_string().as_str()) && hint.sub == subject
    }

    /// The answer where nobody was logged in. Nobody is sent unasked to where a client wants that nobody has vouched for
    /// (RFC 9700 §4.11.2), whatever ID token is in the link: anybody who has an account has one.
    fn without_login(&self, app: &App, context: &Context) -> Response {
        let unvouched = |client: &RelyingParty| client.registration.registration_access_token.is_some();
        match &self.back {
            Some(location) if self.client.as_ref().is_some_and(unvouched) => GoBackPage {
                presentation: self.presentation,
                way: &WayBack::Link(location.clone()),
                destination: &destination(location),
                error: None,
                request: context.request,
            }
            .into_response(),
            Some(_) | None => self.done(app),
        }
    }

    /// The answer where nobody is logged in (any more).
    fn done(&self, app: &App) -> Response {
        let mut response = match &self.back {
            Some(back) => see_other(back),
            None => page::logged_out(self.presentation),
        };
        page::set_cookie(&mut response, SESSION_COOKIE.clear(&app.settings));
        response
    }
}

/// An ID token of ours. It may have expired (§2): it says which login is meant.
async fn hint(app: &App, parameters: &Form) -> Result<Option<IdTokenHint>, Rejection<PageError>> {
    let Some(hint) = parameters.get("id_token_hint") else {
        return Ok(None);
    };
    let hint = app.keys.hint(hint, &app.settings.issuer);
    if let Some((hint, key)) = hint.await.map_err(Rejection::<PageError>::from)? {
        let key = app.operations.load::<SigningKey>(key.0).await;
        if matches!(
            *key.map_err(Rejection::<PageError>::from)?.state,
            SigningKey::Published { .. }
        ) {
            return Ok(Some(hint));
        }
    }
    Err(Rejection::new(
        PageError::LogoutHintInvalid,
        RefusalReason::IdTokenHintInvalid,
    ))
}

/// The application that asks: by `client_id`, or by the hint's audience. Where both are there they must agree (§2).
async fn client(
    app: &App,
    parameters: &Form,
    hint: Option<&IdTokenHint>,
) -> Result<Option<RelyingParty>, Rejection<PageError>> {
    let named = parameters.get("client_id");
    let hinted = hint.and_then(|hint| hint.aud.iter().next());
    let Some(client_id) = named.or(hinted) else {
        return Ok(None);
    };
    let unknown = || Rejection::new(PageError::LogoutClientUnknown, RefusalReason::UnknownClient);
    let key = app.operations.find_client(client_id).await?.ok_or_else(unknown)?;
    if hint.is_some_and(|hint| !hint.aud.contains(client_id)) {
        return Err(
            Rejection::new(PageError::LogoutHintInvalid, RefusalReason::IdTokenHintInvalid).client(key),
        );
    }
    let client = app
        .operations
        .load::<Client>(key.0)
        .await
        .map_err(Rejection::<PageError>::from)?;
    let registration = client.registration.as_ref().ok_or_else(unknown)?;
    if registration.standing == Standing::Revoked {
        return Err(Rejection::new(PageError::ClientRevoked, RefusalReason::ClientRevoked).client(key));
    }
    Ok(Some(RelyingParty {
        key,
        registration: Arc::clone(registration),
    }))
}

/// The `post_logout_redirect_uri`, which must be registered to the letter (§3), with the `state`.
fn back(parameters: &Form, client: Option<&RelyingParty>) -> Result<Option<String>, Rejection<PageError>> {
    let Some(uri) = parameters.get("post_logout_redirect_uri") else {
        return Ok(None);
    };
    let reason = RefusalReason::PostLogoutRedirectUriNotRegistered;
    let Some(client) = client else {
        return Err(Rejection::new(PageError::LogoutClientUnknown, reason));
    };
    // Its logout counts, and its links lead nowhere.
    if client.registration.standing == Standing::Suspended {
        return Ok(None);
    }
    let registered = &client.registration.metadata.post_logout_redirect_uris;
    if !registered.iter().any(|registered| registered == uri) {
        return Err(Rejection::new(PageError::PostLogoutRedirectUriUnknown, reason).client(client.key));
    }
    Ok(Some(match parameters.get("state") {
        Some(state) => with_query(uri, &[("state", state)]),
        None => uri.to_owned(),
    }))
}
