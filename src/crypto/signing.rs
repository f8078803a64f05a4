//! The signing keys in use: which one signs, which ones are published, and verification against them.

use std::sync::{Arc, RwLock};

use chrono::TimeDelta;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use quick_cache::sync::Cache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::CryptoError;
use super::jwt::{self, AccessClaims, Audience};
use super::master::MasterKey;
use crate::clock::{Randomness, Timestamp};
use crate::domain::client::{IdTokenAlgorithm, TokenAlgorithm};
use crate::domain::confirmation::Confirmation;
use crate::domain::value::Digest;
use crate::ids::KeyId;
use crate::ledger::{Ledger, LedgerError};

/// The media type in the header of an access token (RFC 9068 §2.1).
const TYP: &str = "at+jwt";
/// The media type in the header of an ID token. It keeps ID tokens apart from access tokens (RFC 8725 §3.11).
const ID_TOKEN_TYP: &str = "JWT";
/// The media type in the header of a `UserInfo` answer: with another, it could be taken for an ID token.
const USER_INFO_TYP: &str = "userinfo+jwt";
/// The media type in the header of an introspection answer (RFC 9701 §5).
const INTROSPECTION_TYP: &str = "token-introspection+jwt";
/// The media type in the header of a status list (draft-ietf-oauth-status-list §5.1).
const STATUS_LIST_TYP: &str = "statuslist+jwt";
/// The media type in the header of a logout token (OpenID Connect Back-Channel Logout §2.4).
const LOGOUT_TOKEN_TYP: &str = "logout+jwt";
const SECURITY_EVENT_TYP: &str = "secevent+jwt";
/// How long a list of keys is used before it is read again.
const REREAD_AFTER_SECONDS: i64 = 5;
/// How long whoever fetched the JWK set may keep it.
pub const JWKS_MAX_AGE_SECONDS: i64 = 60;
/// How long a key is published before it signs: until every node has read it, and every copy of the JWK set that was
/// made before is over (RFC 7517 has no word on it; OpenID Connect Core §10.1.1 rotates so). Five seconds are for clocks.
pub const PUBLISHED_AHEAD: TimeDelta = TimeDelta::seconds(JWKS_MAX_AGE_SECONDS + REREAD_AFTER_SECONDS + 5);
/// How often an unknown `kid` may cause a reading.
const REREAD_AT_MOST_EVERY_MILLIS: i64 = 500;

/// The label under which a private key is wrapped.
#[must_use]
pub fn wrap_label(id: KeyId) -> String {
    format!("signing key {id}")
}

/// A key whose tokens are accepted.
pub struct TokenKey {
    /// Its aggregate.
    pub id: KeyId,
    /// Its `kid`.
    pub kid: String,
    /// Its algorithm.
    pub algorithm: TokenAlgorithm,
    /// When it was activated; none where it was not.
    pub active_since: Option<Timestamp>,
    /// When it was generated.
    pub generated_at: Timestamp,
    /// The public JWK; none for a symmetric key, which is never published.
    pub jwk: Option<Value>,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// The keys, as read at one moment.
struct KeySet {
    keys: Vec<Arc<TokenKey>>,
    read_at: Timestamp,
}

/// The signing keys in use on this node.
#[derive(Clone)]
pub struct SigningKeys {
    pool: PgPool,
    master: Arc<MasterKey>,
    /// What is signed with and accepted here; keys of other algorithms are not even read.
    algorithms: &'static [TokenAlgorithm],
    current: Arc<RwLock<Arc<KeySet>>>,
    reading: Arc<Mutex<()>>,
    clock: crate::clock::Clock,
    /// Claims of tokens whose signature was verified against a key that was published then. Their key must still
    /// be published, their time is compared each time.
    verified: Arc<Cache<Digest, Arc<AccessClaims>>>,
}

/// A token of this issuer.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// What it says.
    pub claims: Arc<AccessClaims>,
    /// Which key signed it. Whether that key is still published is compared with the ledger, like all else that
    /// an answer rests on.
    pub key: KeyId,
}

/// What of an ID token leads to its grant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct IdTokenAddress {
    /// The user, as its client knows it.
    pub sub: String,
    /// Its address in the ledger (see [`crate::credential`]).
    pub jti: String,
    /// When it ends, seconds since 1970.
    pub exp: i64,
    /// The key of the tokens beside it.
    #[serde(default)]
    pub cnf: Option<Confirmation>,
}

/// What an `id_token_hint` says.
#[derive(Clone, Debug, Deserialize)]
pub struct IdTokenHint {
    /// The user.
    pub sub: String,
    /// The client.
    pub aud: Audience,
    /// The login.
    #[serde(default)]
    pub sid: Option<String>,
}

/// How many verified tokens are remembered.
const REMEMBERED_TOKENS: usize = 5_000;

/// Why a token was not signed or not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Not a JWT of ours: malformed, wrong `typ`, unknown `kid`, wrong algorithm or signature, wrong issuer.
    #[error("the token is not one of this issuer's")]
    Invalid,
    /// It was one, but its time is over.
    #[error("the token has expired")]
    Expired,
    /// It is one, but its `jti` is no address of the ledger.
    #[error("the token does not say where it was issued")]
    NoAddress,
}

impl SigningKeys {
    /// Reads the keys of these algorithms.
    pub async fn open(
        ledger: &Ledger,
        master: Arc<MasterKey>,
        algorithms: &'static [TokenAlgorithm],
    ) -> Result<Self, LedgerError> {
        jwt::install_provider();
        let clock = ledger.clock().clone();
        let keys = read(ledger.pool(), &master, algorithms).await?;
        let set = KeySet {
            keys,
            read_at: clock.now(),
        };
        Ok(Self {
            pool: ledger.pool().clone(),
            master,
            algorithms,
            current: Arc::new(RwLock::new(Arc::new(set))),
            reading: Arc::default(),
            clock,
            verified: Arc::new(Cache::new(REMEMBERED_TOKENS)),
        })
    }

    /// The keys whose tokens are accepted, newest first.
    #[must_use]
    pub fn accepted(&self) -> Vec<Arc<TokenKey>> {
        self.set().keys.clone()
    }

    /// Reads the keys again where the last reading is older than a few seconds.
    pub async fn refresh(&self) -> Result<(), LedgerError> {
        self.reread(REREAD_AFTER_SECONDS * 1000).await
    }

    /// Reads the keys again now.
    pub async fn reload(&self) -> Result<(), LedgerError> {
        self.reread(-1).await
    }

    /// The key that signs with an algorithm, as this node has last read them.
    #[must_use]
    pub fn signer(&self, algorithm: TokenAlgorithm) -> Option<Arc<TokenKey>> {
        signer(&self.set().keys, algorithm, self.clock.now()).cloned()
    }

    /// Signs an access token with the newest active key of an algorithm.
    pub fn sign(&self, algorithm: TokenAlgorithm, claims: &AccessClaims) -> Result<String, CryptoError> {
        self.sign_as(TYP, algorithm, claims)
    }

    /// Signs an ID token (OpenID Connect Core §2) with the newest active key of an algorithm.
    pub fn sign_id_token<C: Serialize>(
        &self,
        algorithm: IdTokenAlgorithm,
        claims: &C,
    ) -> Result<String, CryptoError> {
        self.sign_as(ID_TOKEN_TYP, algorithm.key(), claims)
    }

    /// Signs a `UserInfo` answer (OpenID Connect Core §5.3.2) with the newest active key of an algorithm.
    pub fn sign_user_info<C: Serialize>(
        &self,
        algorithm: IdTokenAlgorithm,
        claims: &C,
    ) -> Result<String, CryptoError> {
        self.sign_as(USER_INFO_TYP, algorithm.key(), claims)
    }

    /// Signs an authorization response (JARM §2.1) with the newest active key of an algorithm. JARM names no media type;
    /// without one, and without `sub`, it is no ID token.
    pub fn sign_authorization_response<C: Serialize>(
        &self,
        algorithm: IdTokenAlgorithm,
        claims: &C,
    ) -> Result<String, CryptoError> {
        let key = self.signer(algorithm.key()).ok_or(CryptoError)?;
        let header = Header {
            typ: None,
            kid: Some(key.kid.clone()),
            ..Header::new(jwt::jws_algorithm(algorithm.key()))
        };
        jsonwebtoken::encode(&header, claims, &key.encoding).map_err(|_| CryptoError)
    }

    fn sign_as<C: Serialize>(
        &self,
        typ: &str,
        algorithm: TokenAlgorithm,
        claims: &C,
    ) -> Result<String, CryptoError> {
        let key = self.signer(algorithm).ok_or(CryptoError)?;
        let header = Header {
            typ: Some(typ.to_owned()),
            kid: Some(key.kid.clone()),
            ..Header::new(jwt::jws_algorithm(algorithm))
        };
        jsonwebtoken::encode(&header, claims, &key.encoding).map_err(|_| CryptoError)
    }

    /// The claims of an access token of this issuer (RFC 9068 §4). `expired` tokens keep their claims out of
    /// reach; whether the grant is still active is another question.
    pub async fn verify(
        &self,
        token: &str,
        issuer: &str,
    ) -> Result<Result<VerifiedToken, TokenRefusal>, LedgerError> {
        let Ok(header) = jsonwebtoken::decode_header(token) else {
            return Ok(Err(TokenRefusal::Invalid));
        };
        let Some(kid) = header.kid.as_deref().filter(|kid| kid.len() == 43) else {
            return Ok(Err(TokenRefusal::Invalid));
        };
        let Some(key) = self.find(kid).await? else {
            return Ok(Err(TokenRefusal::Invalid));
        };
        // A resource server asks about the same token again and again: its signature does not change.
        let id = Digest::of(token.as_bytes());
        let remembered = self.verified.get(&id);
        let claims = match remembered {
            Some(claims) => claims,
            None => match check(token, issuer, &header, &key) {
                Ok(claims) => {
                    let claims = Arc::new(claims);
                    self.verified.insert(id, Arc::clone(&claims));
                    claims
                }
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        if claims.exp <= self.clock.now().timestamp() {
            return Ok(Err(TokenRefusal::Expired));
        }
        Ok(Ok(VerifiedToken { claims, key: key.id }))
    }

    /// Signs an introspection answer (RFC 9701 §5) with the newest active key of an algorithm.
    pub fn sign_introspection<C: Serialize>(
        &self,
        algorithm: IdTokenAlgorithm,
        claims: &C,
    ) -> Result<String, CryptoError> {
        self.sign_as(INTROSPECTION_TYP, algorithm.key(), claims)
    }

    /// Signs a status list (draft-ietf-oauth-status-list §5.1) with the newest active key of an algorithm.
    pub fn sign_status_list<C: Serialize>(
        &self,
        algorithm: TokenAlgorithm,
        claims: &C,
    ) -> Result<String, CryptoError> {
        self.sign_as(STATUS_LIST_TYP, algorithm, claims)
    }

    /// Signs a logout token (OpenID Connect Back-Channel Logout §2.4) with the newest active key of an algorithm.
    pub fn sign_logout_token<C: Serialize>(
        &self,
        algorithm: IdTokenAlgorithm,
        claims: &C,
    ) -> Result<String, CryptoError> {
        self.sign_as(LOGOUT_TOKEN_TYP, algorithm.key(), claims)
    }

    /// Signs a Security Event Token (RFC 8417 §2.3) with the newest active key of an algorithm.
    pub fn sign_security_event<C: Serialize>(
        &self,
        algorithm: IdTokenAlgorithm,
        claims: &C,
    ) -> Result<String, CryptoError> {
        self.sign_as(SECURITY_EVENT_TYP, algorithm.key(), claims)
    }

    /// What an ID token of this issuer says, for whichever client and expired or not, and which key signed it; none where
    /// it is not one. Whether its key is still published is for the caller to compare with the ledger.
    pub async fn hint(
        &self,
        id_token: &str,
        issuer: &str,
    ) -> Result<Option<(IdTokenHint, KeyId)>, LedgerError> {
        self.id_token(id_token, issuer).await
    }

    /// What an ID token of this issuer says, and which key signed it; none where it is not one, or its time is over.
    pub async fn verify_id_token(
        &self,
        id_token: &str,
        issuer: &str,
    ) -> Result<Option<(IdTokenAddress, KeyId)>, LedgerError> {
        let found: Option<(IdTokenAddress, KeyId)> = self.id_token(id_token, issuer).await?;
        Ok(found.filter(|(claims, _)| claims.exp > self.clock.now().timestamp()))
    }

    /// Reads an ID token, whoever it is for and whether it has ended.
    async fn id_token<C: DeserializeOwned>(
        &self,
        id_token: &str,
        issuer: &str,
    ) -> Result<Option<(C, KeyId)>, LedgerError> {
        let Ok(header) = jsonwebtoken::decode_header(id_token) else {
            return Ok(None);
        };
        let Some(kid) = header.kid.as_deref() else {
            return Ok(None);
        };
        let key = self.find(kid).await?;
        Ok(key.and_then(|key| Some((read_id_token(id_token, &header, &key, issuer)?, key.id))))
    }

    /// The accepted key of that name; read again where it is not known, since another node may have rotated.
    async fn find(&self, kid: &str) -> Result<Option<Arc<TokenKey>>, LedgerError> {
        let find = || self.set().keys.iter().find(|key| key.kid == kid).cloned();
        if let Some(key) = find() {
            return Ok(Some(key));
        }
        self.reread(REREAD_AT_MOST_EVERY_MILLIS).await?;
        Ok(find())
    }

    fn set(&self) -> Arc<KeySet> {
        // A poisoned lock still holds a whole key set.
        Arc::clone(
            &self
                .current
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    async fn reread(&self, older_than_millis: i64) -> Result<(), LedgerError> {
        let _one_at_a_time = self.reading.lock().await;
        let now = self.clock.now();
        if (now - self.set().read_at).num_milliseconds().abs() <= older_than_millis {
            return Ok(());
        }
        let keys = read(&self.pool, &self.master, self.algorithms).await?;
        let mut current = self
            .current
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *current = Arc::new(KeySet { keys, read_at: now });
        Ok(())
    }
}

fn read_id_token<C: DeserializeOwned>(
    id_token: &str,
    header: &Header,
    key: &TokenKey,
    issuer: &str,
) -> Option<C> {
    let algorithm = jwt::jws_algorithm(key.algorithm);
    let typ = header.typ.as_deref().unwrap_or_default();
    let is_id_token = jwt::is_typ(typ, ID_TOKEN_TYP) && key.jwk.is_some();
    if header.alg != algorithm || !is_id_token {
        return None;
    }
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["iss", "aud", "sub"]);
    validation.validate_aud = false; // whose it is, the caller knows
    validation.validate_exp = false; // against the ledger's clock, by the caller
    Some(
        jsonwebtoken::decode(id_token, &key.decoding, &validation)
            .ok()?
            .claims,
    )
}

/// Whether a text is an access token, and whether it is an ID token, of this issuer under a secret: the keys are of other
/// algorithms, the rest is as it is for theirs. For the tests of all parsers.
#[doc(hidden)]
#[must_use]
pub fn tokens_in(text: &str, issuer: &str, secret: &[u8]) -> (bool, bool) {
    let Ok(header) = jsonwebtoken::decode_header(text) else {
        return (false, false);
    };
    let key = TokenKey {
        id: KeyId(Uuid::nil()),
        kid: String::new(),
        algorithm: TokenAlgorithm::HS256,
        active_since: None,
        generated_at: Timestamp::default(),
        jwk: Some(Value::Null),
        encoding: EncodingKey::from_secret(secret),
        decoding: DecodingKey::from_secret(secret),
    };
    let id_token: Option<IdTokenHint> = read_id_token(text, &header, &key, issuer);
    (check(text, issuer, &header, &key).is_ok(), id_token.is_some())
}

/// The newest active key of an algorithm that every copy of the JWK set has by now; where there is none (the first
/// key, or the others are retired), the active one that has been published longest.
fn signer(keys: &[Arc<TokenKey>], algorithm: TokenAlgorithm, now: Timestamp) -> Option<&Arc<TokenKey>> {
    let active = || {
        keys.iter()
            .filter(|key| key.algorithm == algorithm && key.active_since.is_some())
    };
    let is_known = |key: &&Arc<TokenKey>| {
        let since = key.active_since.map(|since| since + PUBLISHED_AHEAD);
        key.jwk.is_none() || since.is_some_and(|since| since <= now)
    };
    active()
        .filter(is_known)
        .max_by_key(|key| key.active_since)
        .or_else(|| active().min_by_key(|key| key.active_since))
}

fn check(token: &str, issuer: &str, header: &Header, key: &TokenKey) -> Result<AccessClaims, TokenRefusal> {
    // The key decides the algorithm, never the token (RFC 8725 §3.1); `typ` keeps other JWTs out (§3.11).
    let algorithm = jwt::jws_algorithm(key.algorithm);
    let typ = header.typ.as_deref().unwrap_or_default();
    if header.alg != algorithm || !jwt::is_typ(typ, TYP) {
        return Err(TokenRefusal::Invalid);
    }
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_aud = false; // the endpoint knows its own audience
    validation.validate_exp = false; // against the ledger's clock, by the caller
    let data = jsonwebtoken::decode::<AccessClaims>(token, &key.decoding, &validation)
        .map_err(|_| TokenRefusal::Invalid)?;
    Ok(data.claims)
}

type KeyRow = (
    Uuid,
    String,
    String,
    Option<String>,
    Timestamp,
    Option<Timestamp>,
    Vec<u8>,
);

async fn read(
    pool: &PgPool,
    master: &MasterKey,
    algorithms: &[TokenAlgorithm],
) -> Result<Vec<Arc<TokenKey>>, LedgerError> {
    let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
    let rows: Vec<KeyRow> = crate::ledger::retrying(|| async {
        sqlx::query_as(
            "SELECT g.aggregate_id, g.payload->>'kid', g.payload->>'algorithm', g.payload->>'public_jwk', \
                    g.recorded_at, \
                    (SELECT max(a.recorded_at) FROM grantlog.ledger_signing_key a \
                     WHERE a.aggregate_id = g.aggregate_id AND a.event_type = 'KeyActivated'), m.wrapped \
             FROM grantlog.ledger_signing_key g JOIN grantlog.key_material m ON m.key_id = g.aggregate_id \
             WHERE g.event_type = 'KeyGenerated' AND g.payload->>'algorithm' = ANY($1) AND NOT EXISTS ( \
                 SELECT FROM grantlog.ledger_signing_key r \
                 WHERE r.aggregate_id = g.aggregate_id AND r.event_type = 'KeyRetired') \
             ORDER BY g.position DESC",
        )
        .bind(&names)
        .fetch_all(pool)
        .await
    })
    .await?;
    rows.into_iter()
        .map(|row| Ok(Arc::new(open_key(row, master)?)))
        .collect()
}

fn open_key(row: KeyRow, master: &MasterKey) -> Result<TokenKey, CryptoError> {
    let (id, kid, algorithm, public_jwk, generated_at, active_since, wrapped) = row;
    let id = KeyId(id);
    let private = master.unwrap(&wrap_label(id), &wrapped)?;
    let algorithm = TokenAlgorithm::ALL
        .into_iter()
        .find(|known| known.name() == algorithm)
        .ok_or(CryptoError)?;
    let jwk: Option<Value> = public_jwk
        .map(|text| serde_json::from_str(&text).map_err(|_| CryptoError))
        .transpose()?;
    let public = || -> Result<DecodingKey, CryptoError> {
        let parsed: Jwk = serde_json::from_value(jwk.clone().ok_or(CryptoError)?).map_err(|_| CryptoError)?;
        DecodingKey::from_jwk(&parsed).map_err(|_| CryptoError)
    };
    let (encoding, decoding) = match algorithm {
        TokenAlgorithm::ES256 => (EncodingKey::from_ec_der(&private), public()?),
        TokenAlgorithm::RS256 | TokenAlgorithm::PS256 => (EncodingKey::from_rsa_der(&private), public()?),
        TokenAlgorithm::EdDSA => (EncodingKey::from_ed_der(&private), public()?),
        TokenAlgorithm::HS256 => (
            EncodingKey::from_secret(&private),
            DecodingKey::from_secret(&private),
        ),
    };
    Ok(TokenKey {
        id,
        kid,
        algorithm,
        active_since,
        generated_at,
        jwk,
        encoding,
        decoding,
    })
}

/// Stores a private key, wrapped by the master key.
pub async fn store_private(
    pool: &PgPool,
    master: &MasterKey,
    random: &Randomness,
    id: KeyId,
    private: &[u8],
) -> Result<(), LedgerError> {
    let wrapped = master.wrap(random, &wrap_label(id), private)?;
    sqlx::query("INSERT INTO grantlog.key_material (key_id, wrapped) VALUES ($1, $2)")
        .bind(id.0)
        .bind(wrapped)
        .execute(pool)
        .await?;
    Ok(())
}

/// Removes a private key that came to no use, or that is retired.
pub async fn forget_private(pool: &PgPool, id: KeyId) -> Result<(), LedgerError> {
    sqlx::query("DELETE FROM grantlog.key_material WHERE key_id = $1")
        .bind(id.0)
        .execute(pool)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ISSUER: &str = "https://id.example";
    const SECRET: [u8; 32] = [7; 32];

    /// The claims of a good access token of this issuer, rightly signed under this type.
    fn signed(typ: Option<&str>, issuer: &str) -> String {
        jwt::install_provider();
        let header = Header {
            typ: typ.map(str::to_owned),
            ..Header::new(jsonwebtoken::Algorithm::HS256)
        };
        let claims = json!({
            "iss": issuer, "sub": "alice", "aud": "https://api.example", "client_id": "app", "scope": "read",
            "iat": 1_700_000_000, "exp": 4_000_000_000_i64, "jti": "address",
        });
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&SECRET)).unwrap()
    }

    /// RFC 9068 §4, RFC 8725 §3.11: of what this issuer signs with the same keys, an access token is told by its type.
    #[test]
    fn another_type_or_issuer_is_no_access_token_however_well_signed() {
        let is_one = |typ, issuer| tokens_in(&signed(typ, issuer), ISSUER, &SECRET).0;
        for typ in ["at+jwt", "application/at+jwt", "AT+JWT"] {
            assert!(is_one(Some(typ), ISSUER), "{typ}");
        }
        let others = [
            ID_TOKEN_TYP,
            USER_INFO_TYP,
            INTROSPECTION_TYP,
            STATUS_LIST_TYP,
            LOGOUT_TOKEN_TYP,
            SECURITY_EVENT_TYP,
            "dpop+jwt",
            "text/at+jwt",
            "",
        ];
        for typ in others.map(Some).into_iter().chain([None]) {
            assert!(!is_one(typ, ISSUER), "{typ:?}");
        }
        for issuer in ["https://id.example/", "https://other.example", ""] {
            assert!(!is_one(Some(TYP), issuer), "{issuer}");
        }
    }
}
