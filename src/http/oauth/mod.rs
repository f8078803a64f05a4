//! The OAuth endpoints, one file each, named like their URLs.

pub(crate) mod access_token;
mod authorization_details;
pub mod authorize;
pub mod device;
pub mod grant_management;
pub(crate) mod imported;
pub mod introspect;
mod introspection_jwt;
pub mod jwks;
pub mod metadata;
pub mod par;
pub mod register;
pub mod resource;
pub mod revoke;
mod sender;
pub mod status_list;
pub mod token;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::client_auth::{self, AuthenticatedClient, Credentials};
use super::context::Origin;
use super::cors::OriginsOf;
use super::dpop::PresentedProof;
use super::error::{ErrorAnswer, Rejection, TokenError, no_store};
use super::form::{self, Form, FormError};
use crate::app::App;
use crate::domain::client::{Client, Registration};
use crate::domain::refusal::RefusalReason;
use crate::ids::ClientKey;
use crate::ledger::{Actor, Context, UnitOfWork};
pub(crate) use crate::standing;

/// The endpoints that clients and resource servers call.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/oauth/token", post(token::token))
        .route("/oauth/par", post(par::push))
        .route("/oauth/device_authorization", post(device::authorize_device))
        .route("/oauth/introspect", post(introspect::introspect))
        .route("/oauth/revoke", post(revoke::revoke))
        .route(
            grant_management::GRANT,
            get(grant_management::query).delete(grant_management::revoke),
        )
        .route("/oauth/jwks", get(jwks::jwks))
        .route(metadata::PATH, get(metadata::metadata))
        .route(
            &format!("{}/{{*path}}", metadata::PATH),
            get(metadata::metadata_of_path),
        )
}

/// A request of a client, read but not believed.
pub struct ClientRequest {
    /// The parameters.
    pub form: Form,
    /// How they came.
    encoding: Encoding,
    /// What it says of its client.
    pub credentials: Credentials,
    /// The aggregate of the client with that name, if there is one.
    pub key: Option<ClientKey>,
    /// For the events that it causes.
    pub context: Context,
    /// The DPoP proof, at endpoints that take one.
    proof: Option<PresentedProof>,
    /// The client, once it was authenticated.
    authenticated: OnceLock<Arc<Registration>>,
}

/// How the parameters of a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// `application/x-www-form-urlencoded`, as RFC 6749 §3.2 asks.
    Form,
    /// `application/json`, for legacy clients that are marked so.
    Json,
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
        let encoding = encoding(headers)?;
        let form = read_form(encoding, body)?;
        let mut credentials = Credentials::read(headers, &form)?;
        credentials.tried.set_address(context.address);
        let counted = client_auth::counted(&credentials, &context);
        app.limits
            .check_failures(&counted, app.ledger.clock().now())
            .map_err(Rejection::from)?;
        let key = app.operations.find_client(&credentials.client_id).await?;
        context.actor = key.map_or(Actor::Anonymous, Actor::Client);
        let request = Self {
            form,
            encoding,
            credentials,
            key,
            context,
            proof: None,
            authenticated: OnceLock::new(),
        };
        if encoding == Encoding::Json {
            let mut unit = app.ledger.unit_of_work(&request.context);
            rounds!(unit, request.json_permitted(&mut unit))?;
        }
        Ok(request)
    }

    /// Whether the client that a JSON request names may send such. Before anything else is said of the request:
    /// to all others it is what a wrong content type is.
    async fn json_permitted(&self, unit: &mut UnitOfWork<'_>) -> Result<Option<()>, Rejection<TokenError>> {
        let Some(key) = self.key else {
            return Err(wrong_content_type());
        };
        let client = unit.load::<Client>(key.0).await?;
        let registration = client.registration.as_deref();
        let permitted = registration.is_some_and(|known| {
            known.client_id == self.credentials.client_id && self.is_permitted_encoding(known)
        });
        if permitted {
            Ok(Some(()))
        } else {
            Err(wrong_content_type().client(key))
        }
    }

    fn is_permitted_encoding(&self, client: &Registration) -> bool {
        let metadata = &client.metadata;
        self.encoding == Encoding::Form || (metadata.legacy && metadata.json_requests)
    }

    /// A parameter that must be there.
    pub fn required(&self, name: &str) -> Result<&str, Rejection<TokenError>> {
        self.form.get(name).ok_or(Rejection::new(
            TokenError::InvalidRequest,
            RefusalReason::ParameterMissing,
        ))
    }

    /// Authenticates the client in this round of a unit of work, and counts a failure.
    pub async fn authenticate(
        &self,
        app: &App,
        unit: &mut UnitOfWork<'_>,
    ) -> Result<AuthenticatedClient, Rejection<TokenError>> {
        let client = client_auth::authenticate(app, unit, &self.credentials, self.key).await?;
        if !self.is_permitted_encoding(&client.registration) {
            return Err(wrong_content_type().client(client.key));
        }
        self.use_proof_up(app, &client).await?;
        // A later round may have read the client anew; the first will do for what follows.
        let _ = self.authenticated.set(Arc::clone(&client.registration));
        Ok(client)
    }

    /// Ends the request, once its answer or refusal stands: a failed authentication is counted, and no page may
    /// read an answer but those of the client's own origins.
    fn end(
        &self,
        app: &App,
        result: Result<Response, Rejection<TokenError>>,
    ) -> Result<Response, Rejection<TokenError>> {
        let origins = self
            .authenticated
            .get()
            .map(|registration| OriginsOf(Arc::clone(registration)));
        let mut response = match result {
            Ok(response) => response,
            Err(mut rejection) => {
                let failed = matches!(rejection.error, TokenError::InvalidClient { .. });
                if failed && !self.credentials.tried.is_counted() {
                    let counted = client_auth::counted(&self.credentials, &self.context);
                    app.limits.record_failure(&counted, app.ledger.clock().now());
                }
                rejection.origins = origins;
                rejection.authentication = self.context.authentication.get().cloned().map(Box::new);
                return Err(rejection);
            }
        };
        no_store(&mut response);
        if let Some(origins) = origins {
            response.extensions_mut().insert(origins);
        }
        Ok(response)
    }
}

/// Tries rounds of a unit of work until one is concluded or its refusal stands.
macro_rules! rounds {
    ($unit:expr, $round:expr) => {
        loop {
            match $round.await {
                Ok(Some(value)) => break Ok(value),
                Ok(None) => {}
                Err(rejection) => match $unit.refusal_stands() {
                    Ok(true) => break Err(rejection),
                    Ok(false) => {}
                    Err(unavailable) => break Err(unavailable.into()),
                },
            }
        }
    };
}
pub(crate) use rounds;

fn wrong_content_type() -> Rejection<TokenError> {
    Rejection::new(TokenError::InvalidRequest, RefusalReason::WrongContentType)
}

/// RFC 6749 §3.2: form-encoded. Whether JSON is permitted depends on the client, which is not known yet.
fn encoding(headers: &HeaderMap) -> Result<Encoding, Rejection<TokenError>> {
    let checked = match form::check_content_type(headers) {
        Ok(()) => Ok(Encoding::Form),
        Err(FormError::ContentType) => form::check_json_type(headers).map(|()| Encoding::Json),
        Err(error) => Err(error),
    };
    checked.map_err(|error| Rejection::new(TokenError::InvalidRequest, reason(&error)))
}

/// RFC 6749 §3.2: UTF-8, each parameter once.
fn read_form(encoding: Encoding, body: Result<Bytes, BytesRejection>) -> Result<Form, Rejection<TokenError>> {
    let malformed = |reason| Rejection::new(TokenError::InvalidRequest, reason);
    let body = body.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => Rejection::new(TokenError::TooLarge, RefusalReason::BodyTooLarge),
        _ => malformed(RefusalReason::UnreadableBody),
    })?;
    let form = match encoding {
        Encoding::Form => Form::parse_bytes(&body),
        Encoding::Json => Form::parse_json(&body),
    };
    form.map_err(|error| malformed(reason(&error)))
}

fn reason(error: &FormError) -> RefusalReason {
    match error {
        FormError::ContentType => RefusalReason::WrongContentType,
        FormError::Charset => RefusalReason::WrongCharset,
        FormError::Duplicate(_) => RefusalReason::ParameterDoubled,
        FormError::NotUtf8 => RefusalReason::NotUtf8,
        FormError::Nul => RefusalReason::NulCharacter,
        FormError::TooMany => RefusalReason::TooManyParameters,
        FormError::NotFlatJson => RefusalReason::NotFlatJson,
    }
}

/// The answer, or the refusal and its event.
pub(crate) async fn answer<E: ErrorAnswer>(
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
                if let Some(how) = &rejection.authentication {
                    let _ = context.authentication.set((**how).clone());
                }
                app.ledger.record_refusal(&context, refused).await;
            }
            let mut response = rejection.error.respond(origin.request);
            if let Some(origins) = rejection.origins {
                response.extensions_mut().insert(origins);
            }
            response
        }
    }
}
