//! Client configuration endpoint, RFC 7592: a client reads, replaces and deletes its registration.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::{answer, bearer, failures_of, information, read, respond, stated, terms};
use crate::app::App;
use crate::crypto::client_secret;
use crate::crypto::password::Verified;
use crate::domain::client::{
    AuthMethod, Client, ClientMetadata, Registration, ReplaceSelf, SecretVerifier, SoftwareStatementAccepted,
    Standing,
};
use crate::domain::initial_access_token::RegistrationPermit;
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::http::context::Origin;
use crate::http::error::{RegistrationError, Rejection, no_store};
use crate::http::oauth::rounds;
use crate::ids::ClientKey;
use crate::ledger::{Actor, Context, Loaded, UnitOfWork};
use crate::operations::self_registration;

/// The path.
pub(super) const PATH: &str = "/oauth/register/{client_id}";
/// What only the server states (RFC 7592 §2.2).
const SERVERS: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

type ClientId = Result<Path<String>, PathRejection>;

/// A caller with a registration access token.
struct Caller {
    client_id: String,
    key: ClientKey,
    token: String,
    context: Context,
}

impl Caller {
    async fn read(
        app: &App,
        origin: &Origin,
        (client_id, headers): (ClientId, &HeaderMap),
    ) -> Result<Self, Rejection<RegistrationError>> {
        app.limits
            .check_failures(&failures_of(origin), app.ledger.clock().now())?;
        let token = bearer(headers)?.ok_or(Rejection::new(
            RegistrationError::Unauthenticated,
            RefusalReason::NoBearerToken,
        ))?;
        let Path(client_id) = client_id.map_err(|_| wrong_token())?;
        let key = app.operations.find_client(&client_id).await?;
        let key = key.ok_or_else(wrong_token)?;
        Ok(Self {
            client_id,
            key,
            token: token.to_owned(),
            context: origin.context(PATH, Actor::Client(key)),
        })
    }

    /// The client, where the token is its own. Of one that is gone nobody is told more than of one that never was (RFC
    /// 7592 §2.1).
    async fn client(
        &self,
        unit: &mut UnitOfWork<'_>,
    ) -> Result<(Loaded<Client>, Arc<Registration>), Rejection<RegistrationError>> {
        let client = unit.load::<Client>(self.key.0).await?;
        let known = client.registration.clone().filter(|known| {
            known.client_id == self.client_id
                && known.standing != Standing::Revoked
                && known.has_registration_token(&Digest::of(self.token.as_bytes()))
        });
        let registration = known.ok_or_else(wrong_token)?;
        if registration.standing == Standing::Suspended {
            let refused = Rejection::new(RegistrationError::AccessDenied, RefusalReason::ClientSuspended);
            return Err(refused.client(self.key));
        }
        Ok((client, registration))
    }
}

fn wrong_token() -> Rejection<RegistrationError> {
    Rejection::new(
        RegistrationError::InvalidToken,
        RefusalReason::RegistrationTokenWrong,
    )
}

/// The answer; a wrong token is counted.
async fn finish(
    app: &App,
    origin: &Origin,
    result: Result<Response, Rejection<RegistrationError>>,
) -> Response {
    if let Err(rejection) = &result
        && rejection.error == RegistrationError::InvalidToken
    {
        app.limits
            .record_failure(&failures_of(origin), app.ledger.clock().now());
    }
    answer(app, origin, PATH, result).await
}

/// RFC 7592 §2.1. No secret is shown again: only its digest is stored.
pub(super) async fn show(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    client_id: ClientId,
    headers: HeaderMap,
) -> Response {
    let result = shown(&app, &origin, (client_id, &headers)).await;
    finish(&app, &origin, result).await
}

async fn shown(
    app: &App,
    origin: &Origin,
    request: (ClientId, &HeaderMap),
) -> Result<Response, Rejection<RegistrationError>> {
    let caller = Caller::read(app, origin, request).await?;
    let mut unit = app.ledger.unit_of_work(&caller.context);
    let registration = rounds!(unit, async {
        let (_, registration) = caller.client(&mut unit).await?;
        Ok::<_, Rejection<RegistrationError>>(unit.confirm().await?.then_some(registration))
    })?;
    let document = information(app, (caller.key, &registration), &caller.token, None).await?;
    Ok(respond(StatusCode::OK, document))
}

/// RFC 7592 §2.2. The registration access token stays: an answer that is lost must not lock a client out.
pub(super) async fn replace(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    client_id: ClientId,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = replaced(&app, &origin, (client_id, &headers), body).await;
    finish(&app, &origin, result).await
}

async fn replaced(
    app: &App,
    origin: &Origin,
    request: (ClientId, &HeaderMap),
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Rejection<RegistrationError>> {
    let headers = request.1;
    let caller = Caller::read(app, origin, request).await?;
    let mut unit = app.ledger.unit_of_work(&caller.context);
    // Whose registration it is comes first: a stranger learns nothing from what is wrong with a body.
    let before = rounds!(unit, async {
        let (_, registration) = caller.client(&mut unit).await?;
        let method = registration.metadata.token_endpoint_auth_method;
        Ok::<_, Rejection<RegistrationError>>(unit.confirm().await?.then_some(method))
    })?;
    let members = read(headers, body)?;
    let replacement = Replacement::check(app, &caller, members)?;
    let method = replacement.method();
    // A secret that is a key is stored when it is made: none is made that will not be used.
    let is_new = method == AuthMethod::ClientSecretJwt && method != before;
    let kind = if is_new {
        method
    } else {
        AuthMethod::ClientSecretBasic
    };
    let (secret, verifier) = app.operations.generate_secret(kind).await?;
    let mut unit = app.ledger.unit_of_work(&caller.context);
    let replaced = rounds!(unit, replacement.round(app, &caller, &mut unit, verifier.clone()));
    let is_unused = match &replaced {
        Ok((_, needs_secret)) => !needs_secret,
        Err(rejection) => !rejection.error.is_ours(),
    };
    if is_unused {
        app.operations.forget_secret(Some(&verifier)).await;
    }
    let (registration, needs_secret) = replaced?;
    let secret = needs_secret.then_some(secret.as_str());
    let document = information(app, (caller.key, &registration), &caller.token, secret).await?;
    Ok(respond(StatusCode::OK, document))
}

/// What a registration is to be replaced with.
struct Replacement {
    members: Map<String, Value>,
    statement: Option<SoftwareStatementAccepted>,
    secret: Option<String>,
}

impl Replacement {
    /// RFC 7592 §2.2: it names its client, and nothing that the server states.
    fn check(
        app: &App,
        caller: &Caller,
        mut members: Map<String, Value>,
    ) -> Result<Self, Rejection<RegistrationError>> {
        if let Some(name) = SERVERS.iter().find(|name| members.contains_key(**name)) {
            return Err(RegistrationError::metadata(name, "an update does not state it"));
        }
        if members.get("client_id").and_then(Value::as_str) != Some(&caller.client_id) {
            return Err(RegistrationError::metadata(
                "client_id",
                "it is not the id of this client",
            ));
        }
        let secret = match members.remove("client_secret") {
            None | Some(Value::Null) => None,
            Some(secret) => Some(secret.as_str().unwrap_or_default().to_owned()),
        };
        let (members, statement) = stated(app, members, false)?;
        Ok(Self {
            members,
            statement,
            secret,
        })
    }

    /// How the client will authenticate.
    fn method(&self) -> AuthMethod {
        let method = self.members.get("token_endpoint_auth_method").cloned();
        method
            .and_then(|method| serde_json::from_value(method).ok())
            .unwrap_or(AuthMethod::ClientSecretBasic)
    }

    async fn round(
        &self,
        app: &App,
        caller: &Caller,
        unit: &mut UnitOfWork<'_>,
        verifier: SecretVerifier,
    ) -> Result<Option<(Registration, bool)>, Rejection<RegistrationError>> {
        let (client, registration) = caller.client(unit).await?;
        let about = |rejection: Rejection<RegistrationError>| rejection.client(caller.key);
        if !self.has_current_secret(app, unit, &registration).await? {
            return Err(about(RegistrationError::metadata(
                "client_secret",
                "it is not the client's secret, which an update does not change",
            )));
        }
        let metadata = self.metadata(app, &registration.metadata).await.map_err(about)?;
        let command = ReplaceSelf {
            metadata: Box::new(metadata),
            verifier,
            statement: self.statement.clone(),
            at: unit.at(),
        };
        let decision = client.replace_self(&command);
        let Some(concluded) = unit.conclude(&client, decision).await? else {
            return Ok(None);
        };
        let needs_secret = concluded.outcome.map_err(|refusal| about(refusal.into()))?;
        let mut replaced = (*registration).clone();
        replaced.metadata = *command.metadata;
        Ok(Some((replaced, needs_secret)))
    }

    async fn metadata(
        &self,
        app: &App,
        before: &ClientMetadata,
    ) -> Result<ClientMetadata, Rejection<RegistrationError>> {
        let terms = terms(app, &RegistrationPermit::default()).await?.and(before);
        let metadata = self_registration::metadata(self.members.clone(), &terms, Some(before))?;
        app.operations.check_here(&metadata).await?;
        app.operations.check_sector(&metadata, Some(before)).await?;
        Ok(metadata)
    }

    /// A secret that is stated must be the one that the client has.
    async fn has_current_secret(
        &self,
        app: &App,
        unit: &UnitOfWork<'_>,
        registration: &Registration,
    ) -> Result<bool, Rejection<RegistrationError>> {
        let Some(presented) = &self.secret else {
            return Ok(true);
        };
        for secret in registration.valid_secrets(unit.at()) {
            let good = match &secret.verifier {
                SecretVerifier::Sha256(digest) => digest.matches(&Digest::of(presented.as_bytes())),
                SecretVerifier::Argon2id(phc) | SecretVerifier::Bcrypt(phc) => {
                    let hasher = &app.operations.hasher;
                    hasher.verify(presented.clone(), Some(phc.clone())).await? != Verified::No
                }
                SecretVerifier::Key(id) => {
                    let key = app.secret_keys.find(&app.ledger, *id).await?;
                    key.is_some_and(|key| client_secret::is(&key, presented))
                }
            };
            if good {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// RFC 7592 §2.3: the client is revoked, and no token of its is good any more.
pub(super) async fn delete(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    client_id: ClientId,
    headers: HeaderMap,
) -> Response {
    let result = deleted(&app, &origin, (client_id, &headers)).await;
    finish(&app, &origin, result).await
}

async fn deleted(
    app: &App,
    origin: &Origin,
    request: (ClientId, &HeaderMap),
) -> Result<Response, Rejection<RegistrationError>> {
    let caller = Caller::read(app, origin, request).await?;
    let mut unit = app.ledger.unit_of_work(&caller.context);
    rounds!(unit, async {
        let (client, _) = caller.client(&mut unit).await?;
        let Some(concluded) = unit.conclude(&client, client.delete_self()).await? else {
            return Ok(None);
        };
        concluded.outcome?;
        Ok::<_, Rejection<RegistrationError>>(Some(()))
    })?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    no_store(&mut response);
    Ok(response)
}
