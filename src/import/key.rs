//! The other server's encryption key: kept beside the signing keys, wrapped by the master key, so that every node
//! can open old refresh tokens without a setting or a restart. That it came and went is on the trail.

use sqlx::PgPool;
use uuid::Uuid;

use super::ImportError;
use crate::crypto::CryptoError;
use crate::crypto::defuse::Secret;
use crate::crypto::vault::VaultError;
use crate::domain::trail::{Trail, TrailCommand};
use crate::ledger::{Context, Ledger, LedgerError, retrying};
use crate::operations::{Operations, run};

const LABEL: &str = "passport encryption key";
/// Its row in `grantlog.key_material`, where signing keys have random ids.
const ROW: Uuid = Uuid::from_u128(0x7061_7373_706f_8274_a074_6f6b_656e_6b79);

/// Stores the key; nothing where it is stored already. True where it was not.
pub async fn store(operations: &Operations, context: &Context, secret: &Secret) -> Result<bool, ImportError> {
    let ledger = &operations.ledger;
    let stored = load(ledger).await?;
    let is_new = stored.is_none();
    match stored {
        Some(stored) if stored.to_bytes() != secret.to_bytes() => return Err(ImportError::OtherKey),
        Some(_) => {}
        None => insert(ledger, secret).await?,
    }
    // Also where it was stored: the event of a run that was interrupted is made up for.
    let thumbprint = ledger
        .vault()
        .master()
        .form_token(&[LABEL.as_bytes(), &secret.to_bytes()]);
    record(operations, context, TrailCommand::StoreLegacyKey(thumbprint)).await?;
    Ok(is_new)
}

async fn insert(ledger: &Ledger, secret: &Secret) -> Result<(), ImportError> {
    let wrapped = ledger
        .vault()
        .master()
        .wrap(ledger.random(), LABEL, &secret.to_bytes())
        .map_err(LedgerError::from)?;
    let inserted = sqlx::query(
        "INSERT INTO grantlog.key_material (key_id, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(ROW)
    .bind(wrapped)
    .execute(ledger.pool())
    .await
    .map_err(LedgerError::from)?;
    let stored = load(ledger).await?;
    // Somebody else was first, with another key.
    let is_ours = stored.is_some_and(|stored| stored.to_bytes() == secret.to_bytes());
    if inserted.rows_affected() == 0 && !is_ours {
        return Err(ImportError::OtherKey);
    }
    Ok(())
}

async fn record(
    operations: &Operations,
    context: &Context,
    command: TrailCommand,
) -> Result<(), LedgerError> {
    let concluded = run!(operations, context, Trail, ROW, &command);
    // Neither command is ever refused.
    concluded.outcome.or(Ok(()))
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
pub async fn forget(operations: &Operations, context: &Context) -> Result<bool, LedgerError> {
    let deleted = sqlx::query("DELETE FROM grantlog.key_material WHERE key_id = $1")
        .bind(ROW)
        .execute(operations.ledger.pool())
        .await?;
    record(operations, context, TrailCommand::ForgetLegacyKey).await?;
    Ok(deleted.rows_affected() > 0)
}
