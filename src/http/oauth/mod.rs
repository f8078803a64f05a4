//! The OAuth endpoints, one file each, named like their URLs.

pub mod authorize;
pub(crate) mod imported;
pub mod introspect;
pub mod jwks;
pub mod metadata;
pub mod revoke;
pub mod standing;
pub mod token;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::client_auth::{self, AuthenticatedClient, Credentials};
use super::context::Origin;
use super::cors::OriginsOf;
use super::error::{Rejection, TokenError, WireError};
use super::form::Form;
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::client::Registration;
use crate::ids::ClientKey;
use crate::ledger::{Actor, Context, UnitOfWork};

/// The endpoints that clients and resource servers call.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/oauth/token", post(token::token))
        .route("/oauth/introspect", post(introspect::introspect))
        .route("/oauth/revoke", post(revoke::revoke))
        .route("/oauth/jwks", get(jwks::jwks))
        .route("/.well-known/oauth-authorization-server", get(metadata::metadata))
}

/// A form-encoded request of a client, read but not believed.
pub struct ClientRequest {
    /// The parameters.
    pub form: Form,
    /// What it says of its client.
    pub credentials: Credentials,
    /// The aggregate of the client with that name, if there is one.
    pub key: Option<ClientKey>,
    /// For the events that it causes.
    pub context: Context,
    /// The client, once it was authenticated.
    authenticated: OnceLock<Arc<Registration>>,
}

impl ClientRequest {
    /// Reads a request: content type, encoding, duplicates, credentials; refuses a source with too many
    /// failures.
    pub async fn read(
        app: &App,
        mut context: Context,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Self, Rejection<TokenError>> {
        let form = read_form(headers, body)?;
        let credentials = Credentials::read(headers, &form)?;
        let counted = client_auth::counted(&credentials, &context);
        app.limits
            .check_failures(&counted, app.ledger.clock().now())
            .map_err(|wait| Rejection::new(TokenError::TooMany(wait.retry_after), "too_many_failures"))?;
        let key = app.operations.find_client(&credentials.client_id).await?;
        context.actor = key.map_or(Actor::Anonymous, Actor::Client);
        Ok(Self {
            form,
            credentials,
            key,
            context,
            authenticated: OnceLock::new(),
        })
    }

    /// A parameter that must be there.
    pub fn required(&self, name: &str) -> Result<&str, Rejection<TokenError>> {
        self.form
            .get(name)
            .ok_or(Rejection::new(TokenError::InvalidRequest, "parameter_missing"))
    }

    /// Authenticates the client in this round of a unit of work, and counts a failure.
    pub async fn authenticate(
        &self,
        app: &App,
        unit: &mut UnitOfWork<'_>,
    ) -> Result<AuthenticatedClient, Rejection<TokenError>> {
        let client = client_auth::authenticate(app, unit, &self.credentials, self.key).await?;
        // A later round may have read the client anew; the first will do for what follows.
        let _ = self.authenticated.set(Arc::clone(&client.registration));
        Ok(client)
    }

    /// Lets no page read the answer but those of the client's own origins.
    fn for_its_origins(&self, response: &mut Response) {
        if let Some(registration) = self.authenticated.get() {
            response
                .extensions_mut()
                .insert(OriginsOf(Arc::clone(registration)));
        }
    }

    /// Counts a failed authentication, once its refusal stands.
    fn count_failure(&self, app: &App, error: TokenError, at: Timestamp) {
        if matches!(error, TokenError::InvalidClient { .. }) {
            app.limits
                .record_failure(&client_auth::counted(&self.credentials, &self.context), at);
        }
    }
}

/// Tries rounds of a unit of work until one is concluded or its refusal stands.
macro_rules! rounds {
    ($unit:expr, $round:expr) => {
        loop {
            match $round.await {
                Ok(Some(value)) => break Ok(value),
                Ok(None) => {}
                Err(rejection) => {
                    let stands = $unit
                        .refusal_stands()
                        .map_err($crate::http::error::Rejection::from);
                    match stands {
                        Ok(true) => break Err(rejection),
                        Ok(false) => {}
                        Err(unavailable) => break Err(unavailable),
                    }
                }
            }
        }
    };
}
pub(crate) use rounds;

/// RFC 6749 §3.2: form-encoded, UTF-8, each parameter once.
fn read_form(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Form, Rejection<TokenError>> {
    let malformed = |reason| Rejection::new(TokenError::InvalidRequest, reason);
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(malformed("wrong_content_type"));
    }
    let body = body.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => Rejection::new(TokenError::TooLarge, "body_too_large"),
        _ => malformed("unreadable_body"),
    })?;
    Form::parse_bytes(&body).map_err(|error| {
        malformed(match error {
            super::form::FormError::Duplicate(_) => "duplicate_parameter",
            super::form::FormError::NotUtf8 => "not_utf8",
            super::form::FormError::Nul => "nul_character",
            super::form::FormError::TooMany => "too_many_parameters",
        })
    })
}

/// The answer, or the refusal and its event.
pub(crate) async fn answer<E: WireError + IntoResponse>(
    app: &App,
    origin: &Origin,
    endpoint: &'static str,
    result: Result<Response, Rejection<E>>,
) -> Response {
    match result {
        Ok(response) => response,
        Err(rejection) => {
            if let Some(refused) = rejection.refused() {
                let context = origin.context(endpoint, Actor::Anonymous);
                app.ledger.record_refusal(&context, refused).await;
            }
            rejection.error.into_response()
        }
    }
}
