//! Data keys: personal data is encrypted in the event, under a key per subject, so that destroying the key
//! erases the subject while every byte of the ledger stays as it is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quick_cache::sync::Cache;
use sqlx::PgPool;
use uuid::Uuid;

use super::CryptoError;
use super::master::{self, MasterKey};
use crate::clock::{Randomness, Timestamp};
pub use crate::domain::retention::month;
use crate::domain::value::Sealed;
use crate::ids::{ClientKey, SubjectId};
use crate::ledger::retrying;

/// The period of a client's key, which has none.
const CLIENT: &str = "client";
/// Keys that one statement destroys.
const AT_ONCE: i64 = 10_000;

/// Whose data a key encrypts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyOwner {
    owner: Uuid,
    period: String,
}

impl KeyOwner {
    /// A subject's personal data.
    #[must_use]
    pub fn subject(subject: SubjectId) -> Self {
        Self {
            owner: subject.0,
            period: String::new(),
        }
    }

    /// Addresses and agents of a month: the subject's, or everybody's where no subject is known.
    #[must_use]
    pub fn network(subject: Option<SubjectId>, at: Timestamp) -> Self {
        Self {
            owner: subject.map_or(Uuid::nil(), |subject| subject.0),
            period: month(at),
        }
    }

    /// What clients ask for that act for themselves, or before a user has answered.
    #[must_use]
    pub fn client(client: ClientKey) -> Self {
        Self {
            owner: client.0,
            period: CLIENT.to_owned(),
        }
    }

    /// Whether it is of a month before this one.
    fn is_before(&self, month: &str) -> bool {
        let is_month = self.period.starts_with(|first: char| first.is_ascii_digit());
        is_month && self.period.as_str() < month
    }

    fn label(&self) -> String {
        format!("data key {} {}", self.owner, self.period)
    }
}

/// Where a sealed value stands; it can be opened nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The aggregate type.
    pub aggregate_type: &'a str,
    /// The aggregate id.
    pub aggregate_id: Uuid,
    /// The event type; `*` for a value that events hand on unchanged (a user's profile fields).
    pub event_type: &'a str,
    /// The payload's member.
    pub field: &'a str,
}

impl Place<'_> {
    fn aad(&self) -> String {
        format!(
            "{}\n{}\n{}\n{}",
            self.aggregate_type, self.aggregate_id, self.event_type, self.field
        )
    }
}

/// One data key, in memory.
pub struct DataKey(LessSafeKey);

impl DataKey {
    fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes)?)))
    }

    /// Encrypts a value for its place.
    pub fn seal(&self, random: &Randomness, place: &Place<'_>, value: &str) -> Result<Sealed, CryptoError> {
        let sealed = master::seal(&self.0, random, place.aad().as_bytes(), value.as_bytes())?;
        Ok(Sealed(URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Decrypts a value from its place.
    pub fn open(&self, place: &Place<'_>, sealed: &Sealed) -> Result<String, CryptoError> {
        let bytes = URL_SAFE_NO_PAD.decode(&sealed.0).map_err(|_| CryptoError)?;
        let plain = master::open(&self.0, place.aad().as_bytes(), &bytes)?;
        String::from_utf8(plain).map_err(|_| CryptoError)
    }
}

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The database did not answer.
    #[error("the key table could not be read or written")]
    Unavailable(#[from] sqlx::Error),
    /// The stored key does not open: another master key, or damage.
    #[error("a stored key does not open under the configured master key")]
    Unreadable(#[from] CryptoError),
}

/// The table of data keys, with a bounded cache.
#[derive(Clone)]
pub struct Vault {
    master: Arc<MasterKey>,
    random: Randomness,
    pool: PgPool,
    cache: Arc<Cache<KeyOwner, Arc<DataKey>>>,
}

impl Vault {
    /// A vault over the table `grantlog.data_keys` that `pool` reaches.
    #[must_use]
    pub fn new(master: Arc<MasterKey>, random: Randomness, pool: PgPool) -> Self {
        Self {
            master,
            random,
            pool,
            cache: Arc::new(Cache::new(10_000)),
        }
    }

    /// The master key's derivatives.
    #[must_use]
    pub fn master(&self) -> &MasterKey {
        &self.master
    }

    /// The source of nonces.
    #[must_use]
    pub fn random(&self) -> &Randomness {
        &self.random
    }

    /// The owner's key; none where there never was one, or it was destroyed.
    pub async fn find(&self, owner: &KeyOwner) -> Result<Option<Arc<DataKey>>, VaultError> {
        if let Some(key) = self.cache.get(owner) {
            return Ok(Some(key));
        }
        let wrapped: Option<Vec<u8>> = retrying(|| async {
            sqlx::query_scalar("SELECT wrapped FROM grantlog.data_keys WHERE owner = $1 AND period = $2")
                .bind(owner.owner)
                .bind(&owner.period)
                .fetch_optional(&self.pool)
                .await
        })
        .await?;
        wrapped.map(|wrapped| self.keep(owner, &wrapped)).transpose()
    }

    /// The personal-data keys of many subjects in one read, by subject. The cache is passed by: a key that was
    /// destroyed is not found, whatever this node remembers.
    pub async fn find_subjects(&self, subjects: &[Uuid]) -> Result<HashMap<Uuid, Arc<DataKey>>, VaultError> {
        let stored: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
            "SELECT owner, wrapped FROM grantlog.data_keys WHERE owner = ANY ($1) AND period = ''",
        )
        .bind(subjects)
        .fetch_all(&self.pool)
        .await?;
        stored
            .into_iter()
            .map(|(subject, wrapped)| {
                let label = KeyOwner::subject(SubjectId(subject)).label();
                let key = DataKey::from_bytes(&self.master.unwrap(&label, &wrapped)?)?;
                Ok((subject, Arc::new(key)))
            })
            .collect()
    }

    /// The owner's key, made where there is none.
    pub async fn find_or_create(&self, owner: &KeyOwner) -> Result<Arc<DataKey>, VaultError> {
        if let Some(key) = self.find(owner).await? {
            return Ok(key);
        }
        let fresh: [u8; 32] = self.random.bytes().map_err(|_| CryptoError)?;
        let wrapped = self.master.wrap(&self.random, &owner.label(), &fresh)?;
        // Another node may be first: what is stored counts.
        retrying(|| async {
            sqlx::query("INSERT INTO grantlog.data_keys (owner, period, wrapped) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(owner.owner)
                .bind(&owner.period)
                .bind(&wrapped)
                .execute(&self.pool)
                .await
        })
        .await?;
        self.find(owner)
            .await?
            .ok_or(VaultError::Unavailable(sqlx::Error::RowNotFound))
    }

    /// Makes personal-data keys for many subjects in one statement, and reads them back, by subject: a key that was
    /// there before counts. The cache is passed by.
    pub async fn create_subjects(
        &self,
        subjects: &[Uuid],
    ) -> Result<HashMap<Uuid, Arc<DataKey>>, VaultError> {
        let mut wrapped = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let fresh: [u8; 32] = self.random.bytes().map_err(|_| CryptoError)?;
            let label = KeyOwner::subject(SubjectId(*subject)).label();
            wrapped.push(self.master.wrap(&self.random, &label, &fresh)?);
        }
        retrying(|| async {
            sqlx::query(
                "INSERT INTO grantlog.data_keys (owner, period, wrapped) \
                 SELECT owner, '', wrapped FROM unnest($1, $2) AS made (owner, wrapped) ON CONFLICT DO NOTHING",
            )
            .bind(subjects)
            .bind(&wrapped)
            .execute(&self.pool)
            .await
        })
        .await?;
        self.find_subjects(subjects).await
    }

    /// The key of what only its bearer and this server can read together: made of the master key and the bearer's
    /// secret, and kept nowhere.
    pub fn bearer_key(&self, purpose: &str, secret: &[u8]) -> Result<DataKey, CryptoError> {
        let key = self
            .master
            .form_token(&[b"bearer key", purpose.as_bytes(), secret]);
        DataKey::from_bytes(&key.0)
    }

    /// Destroys every key of a subject: what they encrypted cannot be read any more. Returns how many.
    pub async fn destroy(&self, subject: SubjectId) -> Result<u64, VaultError> {
        let deleted = sqlx::query("DELETE FROM grantlog.data_keys WHERE owner = $1")
            .bind(subject.0)
            .execute(&self.pool)
            .await?;
        self.forget(&[subject.0]);
        Ok(deleted.rows_affected())
    }

    /// Forgets what this node remembers of these subjects' keys: another node destroyed them.
    pub fn forget(&self, subjects: &[Uuid]) {
        let subjects: HashSet<&Uuid> = subjects.iter().collect();
        self.cache.retain(|owner, _| !subjects.contains(&owner.owner));
    }

    /// Destroys the keys to addresses and agents of all months before one, but for those of some subjects. Returns how
    /// many. In short statements: none keeps a snapshot open for long.
    pub async fn destroy_before(&self, month: &str, except: &[Uuid]) -> Result<u64, VaultError> {
        let mut destroyed = 0;
        loop {
            let deleted = sqlx::query(
                "DELETE FROM grantlog.data_keys WHERE (owner, period) IN (SELECT owner, period FROM grantlog.data_keys \
                 WHERE period ~ '^[0-9]' AND period COLLATE \"C\" < $1 AND owner <> ALL ($2) LIMIT $3)",
            )
            .bind(month)
            .bind(except)
            .bind(AT_ONCE)
            .execute(&self.pool)
            .await?
            .rows_affected();
            if deleted == 0 {
                break;
            }
            destroyed += deleted;
        }
        // Another node may have destroyed what this one remembers. Those that are kept are read again.
        self.cache.retain(|owner, _| !owner.is_before(month));
        Ok(destroyed)
    }

    /// The months of which there are keys to addresses and agents, and how many: the subjects', but for some, and one for
    /// those that nobody is known of.
    pub async fn months(&self, except: &[Uuid]) -> Result<Vec<(String, i64)>, VaultError> {
        Ok(sqlx::query_as(
            "SELECT period, count(*) FROM grantlog.data_keys WHERE period ~ '^[0-9]' AND owner <> ALL ($1) \
             GROUP BY period ORDER BY period COLLATE \"C\"",
        )
        .bind(except)
        .fetch_all(&self.pool)
        .await?)
    }

    /// The periods of a subject's stored keys: empty for its personal data, a month for its network data.
    pub async fn periods(&self, subject: SubjectId) -> Result<Vec<String>, VaultError> {
        Ok(
            sqlx::query_scalar("SELECT period FROM grantlog.data_keys WHERE owner = $1 ORDER BY period")
                .bind(subject.0)
                .fetch_all(&self.pool)
                .await?,
        )
    }

    /// Which of these subjects have any stored key.
    pub async fn with_keys(&self, subjects: &[Uuid]) -> Result<Vec<Uuid>, VaultError> {
        Ok(
            sqlx::query_scalar("SELECT DISTINCT owner FROM grantlog.data_keys WHERE owner = ANY ($1)")
                .bind(subjects)
                .fetch_all(&self.pool)
                .await?,
        )
    }

    fn keep(&self, owner: &KeyOwner, wrapped: &[u8]) -> Result<Arc<DataKey>, VaultError> {
        let key = Arc::new(DataKey::from_bytes(
            &self.master.unwrap(&owner.label(), wrapped)?,
        )?);
        self.cache.insert(owner.clone(), Arc::clone(&key));
        Ok(key)
    }
}
