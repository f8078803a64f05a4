//! Client secrets that are keys themselves (`client_secret_jwt`): a digest cannot verify an HMAC, so these are kept,
//! wrapped by the master key, in `grantlog.key_material`. An event names them only.

use std::sync::Arc;

use aws_lc_rs::hmac;
use quick_cache::sync::Cache;

use crate::ids::KeyId;
use crate::ledger::{LANE, Ledger, LedgerError, retrying};

/// The label under which a secret is wrapped.
fn label(id: KeyId) -> String {
    format!("client secret {id}")
}

/// Stores a secret. Before its event: one that nobody knows does no harm.
pub async fn store(ledger: &Ledger, id: KeyId, secret: &str) -> Result<(), LedgerError> {
    let master = ledger.vault().master();
    let wrapped = master.wrap(ledger.random(), &label(id), secret.as_bytes())?;
    sqlx::query("INSERT INTO grantlog.key_material (key_id, wrapped) VALUES ($1, $2)")
        .bind(id.0)
        .bind(wrapped)
        .execute(ledger.pool())
        .await?;
    Ok(())
}

/// Removes a secret that came to no use: what it was made for was refused.
pub async fn forget(ledger: &Ledger, id: KeyId) -> Result<(), LedgerError> {
    crate::crypto::signing::forget_private(ledger.pool(), id).await
}

/// Removes the secrets that are over by now, and those of clients that are revoked for good; returns how many.
pub async fn prune(ledger: &Ledger) -> Result<u64, LedgerError> {
    let deleted = sqlx::query(
        "DELETE FROM grantlog.key_material AS m USING grantlog.ledger_client AS a \
         WHERE a.lane = $1 AND a.event_type = 'ClientSecretAdded' \
         AND a.payload->'verifier'->>'key' = m.key_id::text AND EXISTS ( \
             SELECT FROM grantlog.ledger_client AS e \
             WHERE e.lane = a.lane AND e.aggregate_type = a.aggregate_type AND e.aggregate_id = a.aggregate_id \
             AND (e.event_type = 'ClientRevoked' OR (e.event_type = 'ClientSecretRetired' \
                  AND e.payload->>'number' = a.payload->>'number' AND (e.payload->>'at')::timestamptz <= $2)))",
    )
    .bind(LANE)
    .bind(ledger.clock().now())
    .execute(ledger.pool())
    .await?;
    Ok(deleted.rows_affected())
}

/// The HMAC keys of secrets that were used on this node.
pub struct SecretKeys(Cache<KeyId, Arc<hmac::Key>>);

impl Default for SecretKeys {
    fn default() -> Self {
        Self(Cache::new(1_000))
    }
}

/// Whether a secret is the one that a key was made of, in constant time.
#[must_use]
pub fn is(key: &hmac::Key, secret: &str) -> bool {
    let presented = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&presented, b"", hmac::sign(key, b"").as_ref()).is_ok()
}

impl SecretKeys {
    /// The secret as a key for HS256 (RFC 7518 §3.2); none where it is not stored. Whether the client still has it is
    /// the ledger's to say.
    pub async fn find(&self, ledger: &Ledger, id: KeyId) -> Result<Option<Arc<hmac::Key>>, LedgerError> {
        if let Some(key) = self.0.get(&id) {
            return Ok(Some(key));
        }
        let wrapped: Option<Vec<u8>> = retrying(|| async {
            sqlx::query_scalar("SELECT wrapped FROM grantlog.key_material WHERE key_id = $1")
                .bind(id.0)
                .fetch_optional(ledger.pool())
                .await
        })
        .await?;
        let Some(wrapped) = wrapped else {
            return Ok(None);
        };
        let secret = zeroize::Zeroizing::new(ledger.vault().master().unwrap(&label(id), &wrapped)?);
        let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret));
        self.0.insert(id, Arc::clone(&key));
        Ok(Some(key))
    }
}
