//! Client authentication (RFC 6749 §2.3): HTTP Basic, credentials in the body, a signed assertion (RFC 7523), a
//! certificate (RFC 8705), or none for a public client.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::client_assertion::{self, Assertion};
use super::client_certificate;
use super::client_secret::{self, Tried};
use super::error::{Rejection, TokenError};
use super::form::{self, Form};
use super::limits::{Counted, counted_address};
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::client::{AuthMethod, Client, Registration, Standing};
use crate::domain::refusal::RefusalReason;
use crate::ids::ClientKey;
use crate::ledger::{ClientAuthentication, Context, Loaded, UnitOfWork};

/// Where tokens are issued, and where a way to them begins: what a throttled client is answered few requests at.
const THROTTLED: [&str; 3] = ["/oauth/token", "/oauth/par", "/oauth/device_authorization"];

/// What a request says of its client. Proves nothing yet.
pub struct Credentials {
    /// The claimed name.
    pub client_id: String,
    presented: Presented,
    pub(super) tried: Tried,
}

enum Presented {
    /// As decoded per RFC 6749 §2.3.1, and as it came, which is what older clients mean.
    Basic {
        decoded: String,
        raw: String,
    },
    Body(String),
    Assertion(Box<Assertion>),
    Nothing,
}

/// A client whose credentials are good, as the unit of work loaded it.
pub struct AuthenticatedClient {
    /// Its aggregate.
    pub key: ClientKey,
    /// Its state.
    pub loaded: Loaded<Client>,
    /// Its registration.
    pub registration: Arc<Registration>,
}

impl Credentials {
    /// Reads the Authorization header and the body's parameters.
    pub fn read(headers: &HeaderMap, form: &Form) -> Result<Self, Rejection<TokenError>> {
        let invalid_request = |reason| Rejection::new(TokenError::InvalidRequest, reason);
        let asserted = form.get("client_assertion").is_some() || form.get("client_assertion_type").is_some();
        if asserted {
            return Self::read_assertion(headers, form);
        }
        let body_id = form.get("client_id");
        let body_secret = form.get("client_secret");
        let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
        let Some(authorization) = authorizations.next() else {
            let client_id = body_id.ok_or(Rejection::new(
                TokenError::InvalidClient { challenge: true },
                RefusalReason::ClientAuthenticationMissing,
            ))?;
            let presented =
                body_secret.map_or(Presented::Nothing, |secret| Presented::Body(secret.to_owned()));
            return Ok(Self {
                client_id: client_id.to_owned(),
                presented,
                tried: Tried::default(),
            });
        };
        if authorizations.next().is_some() {
            return Err(invalid_request(RefusalReason::TwoAuthorizationHeaders));
        }
        if body_secret.is_some() {
            return Err(invalid_request(RefusalReason::TwoAuthenticationMethods));
        }
        let (id, raw) = basic(authorization.as_bytes()).ok_or(Rejection::new(
            TokenError::InvalidClient { challenge: true },
            RefusalReason::MalformedAuthorizationHeader,
        ))?;
        let decoded = form::decode(&raw).unwrap_or_else(|_| raw.clone());
        let decoded_id = form::decode(&id).unwrap_or_else(|_| id.clone());
        // An id that was sent without form-encoding is recognised by the body's client_id.
        let client_id = if body_id == Some(id.as_str()) {
            id
        } else {
            decoded_id
        };
        if body_id.is_some_and(|body_id| body_id != client_id) {
            return Err(invalid_request(RefusalReason::TwoClientIds));
        }
        Ok(Self {
            client_id,
            presented: Presented::Basic { decoded, raw },
            tried: Tried::default(),
        })
    }

    /// RFC 7521 §4.2: the assertion says who the client is; a `client_id` beside it must say the same.
    fn read_assertion(headers: &HeaderMap, form: &Form) -> Result<Self, Rejection<TokenError>> {
        let invalid_request = |reason| Rejection::new(TokenError::InvalidRequest, reason);
        if headers.contains_key(header::AUTHORIZATION) || form.get("client_secret").is_some() {
            return Err(invalid_request(RefusalReason::TwoAuthenticationMethods));
        }
        let ours = form.get("client_assertion_type") == Some(client_assertion::TYPE);
        let assertion = form
            .get("client_assertion")
            .filter(|_| ours)
            .and_then(Assertion::parse)
            .ok_or(Rejection::new(
                TokenError::InvalidClient { challenge: false },
                RefusalReason::AssertionMalformed,
            ))?;
        let client_id = assertion.client_id().to_owned();
        if form.get("client_id").is_some_and(|named| named != client_id) {
            return Err(invalid_request(RefusalReason::TwoClientIds));
        }
        Ok(Self {
            client_id,
            presented: Presented::Assertion(Box::new(assertion)),
            tried: Tried::default(),
        })
    }

    fn challenge(&self) -> TokenError {
        TokenError::InvalidClient {
            challenge: !matches!(self.presented, Presented::Body(_) | Presented::Assertion(_)),
        }
    }

    fn secrets(&self) -> Vec<&str> {
        match &self.presented {
            Presented::Basic { decoded, raw } if decoded != raw => vec![decoded, raw],
            Presented::Basic { decoded, .. } => vec![decoded],
            Presented::Body(secret) => vec![secret],
            Presented::Assertion(_) | Presented::Nothing => Vec::new(),
        }
    }

    fn uses(&self, method: AuthMethod) -> bool {
        matches!(
            (method, &self.presented),
            (
                AuthMethod::ClientSecretBasic | AuthMethod::Any,
                Presented::Basic { .. }
            ) | (AuthMethod::ClientSecretPost | AuthMethod::Any, Presented::Body(_))
                | (
                    AuthMethod::TlsClientAuth | AuthMethod::SelfSignedTlsClientAuth | AuthMethod::None,
                    Presented::Nothing
                )
        ) || matches!(&self.presented, Presented::Assertion(assertion) if assertion.method() == method)
    }
}

/// `Basic base64(id ":" secret)` (RFC 7617 §2).
fn basic(header: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = STANDARD.decode(encoded.trim()).ok()?;
    let (id, secret) = String::from_utf8(bytes)
        .ok()?
        .split_once(':')
        .map(|(id, secret)| (id.to_owned(), secret.to_owned()))?;
    // A public client may send its id with an empty password; it has no use for Basic here.
    Some((id, secret)).filter(|(id, secret)| !id.is_empty() && !secret.is_empty())
}

/// What failures of this request are counted under.
pub(super) fn counted(credentials: &Credentials, context: &Context) -> Vec<Counted> {
    let address = context.address.map(counted_address);
    vec![Counted::Client(credentials.client_id.clone(), address)]
}

/// Authenticates the client in this round of a unit of work: the append will pass only if the client is by
/// then as it is now.
pub async fn authenticate(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    credentials: &Credentials,
    key: Option<ClientKey>,
) -> Result<AuthenticatedClient, Rejection<TokenError>> {
    let failed = |reason| Rejection::new(credentials.challenge(), reason);
    let (secrets, at) = (credentials.secrets(), unit.at());
    let presented = (
        credentials.client_id.as_str(),
        secrets.as_slice(),
        &credentials.tried,
    );
    let Some(key) = key else {
        client_secret::verify(app, presented, None, at).await?;
        return Err(failed(RefusalReason::UnknownClient));
    };
    let failed = |reason| failed(reason).client(key);
    let loaded = unit.load::<Client>(key.0).await?;
    let registration = loaded.registration.clone();
    let Some(registration) = registration.filter(|known| known.client_id == credentials.client_id) else {
        client_secret::verify(app, presented, None, at).await?;
        return Err(failed(RefusalReason::UnknownClient));
    };
    if !credentials.uses(registration.metadata.token_endpoint_auth_method) {
        client_secret::verify(app, presented, None, at).await?;
        return Err(failed(RefusalReason::OtherAuthenticationMethod));
    }
    let how = prove(app, unit, credentials, (&loaded, &registration)).await?;
    // A later round says the same: the credentials are those of the request.
    let _ = unit.context().authentication.set(how.map_err(failed)?);
    match registration.standing {
        Standing::Active => {
            if THROTTLED.contains(&unit.endpoint()) {
                throttle(app, key, (&registration, credentials), at)?;
            }
            Ok(AuthenticatedClient {
                key,
                loaded,
                registration,
            })
        }
        Standing::Suspended => Err(failed(RefusalReason::ClientSuspended)),
        Standing::Revoked => Err(failed(RefusalReason::ClientRevoked)),
    }
}

/// A client that a policy throttled is answered a few requests a minute, on each node.
fn throttle(
    app: &App,
    key: ClientKey,
    (registration, credentials): (&Registration, &Credentials),
    at: Timestamp,
) -> Result<(), Rejection<TokenError>> {
    match registration.throttle {
        Some((until, per_minute)) if at < until => {
            let counted = [Counted::Throttled(key)];
            let ask = || app.limits.check_and_count(&counted, per_minute, at);
            credentials.tried.throttled(ask).map_err(|wait| {
                let error = TokenError::TooMany(wait.retry_after);
                Rejection::new(error, RefusalReason::ClientThrottled).client(key)
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the credentials are the client's, and which of its own they are.
async fn prove(
    app: &App,
    unit: &UnitOfWork<'_>,
    credentials: &Credentials,
    (loaded, registration): (&Loaded<Client>, &Registration),
) -> Result<Result<ClientAuthentication, RefusalReason>, Rejection<TokenError>> {
    let method = match &credentials.presented {
        Presented::Nothing => {
            let certificate = unit.context().certificate.as_deref();
            let proved = client_certificate::authenticate(app, registration, certificate, unit.at());
            return Ok(proved.await);
        }
        Presented::Assertion(assertion) => {
            let client = (ClientKey(loaded.id), registration);
            return Ok(assertion
                .authenticate(app, client, (unit.endpoint(), unit.at()))
                .await?);
        }
        Presented::Basic { .. } => AuthMethod::ClientSecretBasic,
        Presented::Body(_) => AuthMethod::ClientSecretPost,
    };
    let secrets = credentials.secrets();
    let presented = (
        credentials.client_id.as_str(),
        secrets.as_slice(),
        &credentials.tried,
    );
    let number = client_secret::verify(app, presented, Some((loaded, registration)), unit.at()).await?;
    Ok(number.ok_or(RefusalReason::WrongClientSecret).map(|number| {
        let mut how = ClientAuthentication::of(method);
        how.secret = Some(number);
        how
    }))
}
