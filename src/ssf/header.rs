//! The `Authorization` headers that receivers gave for the delivery to them (SSF §10.3.1.1), wrapped by the master key.

use uuid::Uuid;

use crate::ledger::{Ledger, LedgerError};

/// The longest one, in bytes.
pub const MAX_BYTES: usize = 4096;

fn label(stream: Uuid) -> String {
    format!("ssf push header {stream}")
}

/// Keeps one, in place of the one of before.
pub async fn store(ledger: &Ledger, stream: Uuid, header: &str) -> Result<(), LedgerError> {
    let master = ledger.vault().master();
    let wrapped = master.wrap(ledger.random(), &label(stream), header.as_bytes())?;
    sqlx::query(
        "INSERT INTO grantlog.ssf_push_headers (stream_id, wrapped) VALUES ($1, $2) \
         ON CONFLICT (stream_id) DO UPDATE SET wrapped = excluded.wrapped",
    )
    .bind(stream)
    .bind(wrapped)
    .execute(ledger.pool())
    .await?;
    Ok(())
}

/// The one that is kept; none where there is none.
pub async fn find(ledger: &Ledger, stream: Uuid) -> Result<Option<String>, LedgerError> {
    let wrapped: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT wrapped FROM grantlog.ssf_push_headers WHERE stream_id = $1")
            .bind(stream)
            .fetch_optional(ledger.pool())
            .await?;
    let Some(wrapped) = wrapped else {
        return Ok(None);
    };
    let header = ledger.vault().master().unwrap(&label(stream), &wrapped)?;
    Ok(String::from_utf8(header).ok())
}

/// Forgets it.
pub async fn forget(ledger: &Ledger, stream: Uuid) -> Result<(), LedgerError> {
    sqlx::query("DELETE FROM grantlog.ssf_push_headers WHERE stream_id = $1")
        .bind(stream)
        .execute(ledger.pool())
        .await?;
    Ok(())
}
