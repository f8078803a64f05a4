//! The other server's encryption key: kept beside the signing keys, wrapped by the master key, so that every node
//! can open old refresh tokens without a setting or a restart.

use sqlx::PgPool;
use uuid::Uuid;

use super::ImportError;
use crate::crypto::CryptoError;
use crate::crypto::defuse::Secret;
use crate::crypto::vault::VaultError;
use crate::ledger::{Ledger, LedgerError, retrying};

const LABEL: &str = "passport encryption key";
/// Its row in `grantlog.key_material`, where signing keys have random ids.
const ROW: Uuid = Uuid::from_u128(0x7061_7373_706f_8274_a074_6f6b_656e_6b79);

/// Stores the key; nothing where it is stored already. True where it was not.
pub async fn store(ledger: &Ledger, secret: &Secret) -> Result<bool, ImportError> {
    if let Some(stored) = load(ledger).await? {
        if stored.to_bytes() != secret.to_bytes() {
            return Err(ImportError::OtherKey);
        }
        return Ok(false);
    }
    let wrapped = ledger
        .vault()
        .master()
        .wrap(ledger.random(), LABEL, &secret.to_bytes())
        .map_err(LedgerError::from)?;
    sqlx::query("INSERT INTO grantlog.key_material (key_id, wrapped) VALUES ($1, $2)")
        .bind(ROW)
        .bind(wrapped)
        .execute(ledger.pool())
        .await
        .map_err(LedgerError::from)?;
    Ok(true)
}

/// The stored key.
pub async fn load(ledger: &Ledger) -> Result<Option<Secret>, LedgerError> {
    let pool: &PgPool = ledger.pool();
    let wrapped: Option<Vec<u8>> = retrying(|| async {
        sqlx::query_scalar("SELECT wrapped FROM grantlog.key_material WHERE key_id = $1")
            .bind(ROW)
            .fetch_optional(pool)
            .await
    })
    .await?;
    wrapped
        .map(|wrapped| {
            let bytes = ledger.vault().master().unwrap(LABEL, &wrapped)?;
            Secret::from_bytes(&bytes).ok_or(CryptoError)
        })
        .transpose()
        .map_err(|error| LedgerError::from(VaultError::Unreadable(error)))
}

/// Deletes the key: old tokens that are encrypted with it are refused from now on. True where there was one.
pub async fn forget(ledger: &Ledger) -> Result<bool, LedgerError> {
    let deleted = sqlx::query("DELETE FROM grantlog.key_material WHERE key_id = $1")
        .bind(ROW)
        .execute(ledger.pool())
        .await?;
    Ok(deleted.rows_affected() > 0)
}
