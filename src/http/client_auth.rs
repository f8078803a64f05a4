//! Client authentication (RFC 6749 §2.3): HTTP Basic, credentials in the body, a signed assertion (RFC 7523), or none
//! for a public client.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quick_cache::sync::Cache;

use super::client_assertion::{self, Assertion};
use super::error::{Rejection, TokenError};
use super::form::{self, Form};
use super::limits::{Counted, counted_address};
use crate::app::App;
use crate::crypto::password::Verified;
use crate::domain::client::{AuthMethod, Client, Registration, SecretVerifier, Standing};
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::ids::ClientKey;
use crate::ledger::{Context, Loaded, UnitOfWork};

/// What a request says of its client. Proves nothing yet.
pub struct Credentials {
    /// The claimed name.
    pub client_id: String,
    presented: Presented,
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

/// Chosen secrets that verified, by a keyed digest; a client's every event invalidates what was kept of it.
pub struct SecretCache(Cache<Digest, ()>);

impl Default for SecretCache {
    fn default() -> Self {
        Self(Cache::new(10_000))
    }
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
                | (AuthMethod::PrivateKeyJwt, Presented::Assertion(_))
                | (AuthMethod::None, Presented::Nothing)
        )
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
    let Some(key) = key else {
        // The same work as for a known client with a generated secret.
        for secret in credentials.secrets() {
            std::hint::black_box(Digest::of(secret.as_bytes()));
        }
        return Err(failed(RefusalReason::UnknownClient));
    };
    let failed = |reason| failed(reason).client(key);
    let loaded = unit.load::<Client>(key.0).await?;
    let registration = loaded.registration.clone();
    let Some(registration) = registration.filter(|known| known.client_id == credentials.client_id) else {
        return Err(failed(RefusalReason::UnknownClient));
    };
    if !credentials.uses(registration.metadata.token_endpoint_auth_method) {
        return Err(failed(RefusalReason::OtherAuthenticationMethod));
    }
    match &credentials.presented {
        Presented::Nothing => {}
        Presented::Basic { .. } | Presented::Body(_) => {
            if !verify(app, unit, credentials, &loaded, &registration).await? {
                return Err(failed(RefusalReason::WrongClientSecret));
            }
        }
        Presented::Assertion(assertion) => assertion
            .authenticate(app, (key, &registration), (unit.endpoint(), unit.at()))
            .await?
            .map_err(failed)?,
    }
    match registration.standing {
        Standing::Active => Ok(AuthenticatedClient {
            key,
            loaded,
            registration,
        }),
        Standing::Suspended => Err(failed(RefusalReason::ClientSuspended)),
        Standing::Revoked => Err(failed(RefusalReason::ClientRevoked)),
    }
}

async fn verify(
    app: &App,
    unit: &UnitOfWork<'_>,
    credentials: &Credentials,
    loaded: &Loaded<Client>,
    registration: &Registration,
) -> Result<bool, Rejection<TokenError>> {
    for secret in registration.valid_secrets(unit.at()) {
        for presented in credentials.secrets() {
            let good = match &secret.verifier {
                SecretVerifier::Sha256(digest) => digest.matches(&Digest::of(presented.as_bytes())),
                SecretVerifier::Argon2id(phc) | SecretVerifier::Bcrypt(phc) => {
                    verify_chosen(app, loaded, presented, phc).await?
                }
            };
            if good {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// A chosen secret costs an argon2id once; then its keyed digest is remembered until the client's next event.
async fn verify_chosen(
    app: &App,
    client: &Loaded<Client>,
    presented: &str,
    phc: &str,
) -> Result<bool, Rejection<TokenError>> {
    let parts: [&[u8]; 5] = [
        b"client secret",
        client.id.as_bytes(),
        &client.sequence.to_be_bytes(),
        phc.as_bytes(),
        presented.as_bytes(),
    ];
    let remembered = app.ledger.vault().master().form_token(&parts);
    if app.secrets.0.get(&remembered).is_some() {
        return Ok(true);
    }
    let verified = app
        .operations
        .hasher
        .verify(presented.to_owned(), Some(phc.to_owned()))
        .await?;
    let good = verified != Verified::No;
    if good {
        app.secrets.0.insert(remembered, ());
    }
    Ok(good)
}
