//! The master key, the signing keys, and the projections.

use chrono::TimeDelta;
use uuid::Uuid;

use super::{Findings, retention};
use crate::crypto::vault::{KeyOwner, VaultError};
use crate::ids::SubjectId;
use crate::ledger::{Ledger, LedgerError};
use crate::operations::Operations;
use crate::operations::key::StoredKey;
use crate::projection::{self, replay};

/// Data keys that are tried.
const SAMPLE: i64 = 50;
const OLD: TimeDelta = TimeDelta::days(180);
/// Events that a projection may be behind.
const LAG: i64 = 10_000;

pub(super) async fn check(operations: &Operations, findings: &mut Findings) {
    if let Err(error) = signing_keys(operations, findings).await {
        findings.fail(
            "signing keys",
            format!("not readable: {error}"),
            "mend what the error says",
        );
    }
    if let Err(error) = erased_keys(operations, findings).await {
        findings.fail(
            "erasures",
            format!("not readable: {error}"),
            "mend what the error says",
        );
    }
    if let Err(error) = data_keys(&operations.ledger, findings).await {
        findings.fail(
            "data keys",
            format!("not readable: {error}"),
            "mend what the error says",
        );
    }
    if let Err(error) = retention::check(operations, findings).await {
        findings.fail(
            "retention",
            format!("not readable: {error}"),
            "mend what the error says",
        );
    }
    projections(&operations.ledger, findings).await;
}

async fn signing_keys(operations: &Operations, findings: &mut Findings) -> Result<(), LedgerError> {
    let keys = operations.signing_keys().await?;
    let published: Vec<&StoredKey> = keys.iter().filter(|key| key.retired_at.is_none()).collect();
    let unreadable: Vec<&str> = published
        .iter()
        .filter(|key| !key.opens)
        .map(|key| key.kid.as_str())
        .collect();
    if unreadable.is_empty() {
        findings.ok("master key", format!("opens {} signing keys", published.len()));
    } else {
        findings.fail(
            "master key",
            format!("does not open the signing keys {}", unreadable.join(", ")),
            "configure the master key that this database was made with, or restore the table key_material",
        );
    }
    for algorithm in operations.token_algorithms() {
        let newest = published
            .iter()
            .filter(|key| key.algorithm == algorithm.name())
            .filter_map(|key| key.active_since)
            .max();
        match newest {
            None => findings.fail(
                "signing keys",
                format!("no active key for {}", algorithm.name()),
                "run `grantlog key rotate`",
            ),
            Some(since) if operations.ledger.clock().now() - since > OLD => findings.warn(
                "signing keys",
                format!("{} signs since {}", algorithm.name(), since.format("%Y-%m-%d")),
                "run `grantlog key rotate`, and retire the old key once its tokens have expired",
            ),
            Some(since) => findings.ok(
                "signing keys",
                format!("{} signs since {}", algorithm.name(), since.format("%Y-%m-%d")),
            ),
        }
    }
    Ok(())
}

/// Who was erased has no keys, and is shown by no replayed table.
async fn erased_keys(operations: &Operations, findings: &mut Findings) -> Result<(), LedgerError> {
    let (subjects, _) = operations.keys_of_erased(0).await?;
    if subjects.is_empty() {
        findings.ok("erasures", "no key is there of anybody who was erased");
    } else {
        findings.fail(
            "erasures",
            format!(
                "{} users were erased and have keys: the table came back from a backup",
                subjects.len()
            ),
            "run `grantlog user erase --again`, or start a server, which does the same",
        );
    }
    let showing = replay::showing_erased(operations.ledger.pool()).await?;
    if !showing.is_empty() {
        findings.fail(
            "erasures",
            format!(
                "the replayed schemas {} show who was erased, or cannot be looked into",
                showing.join(", ")
            ),
            "run `grantlog user erase --again`; drop those that it cannot blank, as their owner",
        );
    }
    Ok(())
}

async fn data_keys(ledger: &Ledger, findings: &mut Findings) -> Result<(), LedgerError> {
    let subjects: Vec<Uuid> = sqlx::query_scalar(
        "SELECT owner FROM grantlog.data_keys WHERE period = '' ORDER BY created_at DESC LIMIT $1",
    )
    .bind(SAMPLE)
    .fetch_all(ledger.pool())
    .await?;
    for subject in &subjects {
        match ledger.vault().find(&KeyOwner::subject(SubjectId(*subject))).await {
            Ok(_) => {}
            Err(VaultError::Unreadable(_)) => {
                findings.fail(
                    "data keys",
                    "the master key does not open the newest of them",
                    "configure the master key that this database was made with",
                );
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    findings.ok(
        "data keys",
        format!("the master key opens {} of {0} tried", subjects.len()),
    );
    Ok(())
}

async fn projections(ledger: &Ledger, findings: &mut Findings) {
    const ADVICE: &str = "see the server's log; `grantlog projection rebuild` builds it again";
    let statuses = match projection::status(ledger.pool()).await {
        Ok(statuses) => statuses,
        Err(error) => {
            findings.fail(
                "projections",
                format!("their state is not readable: {error}"),
                ADVICE,
            );
            return;
        }
    };
    if statuses.is_empty() {
        findings.warn(
            "projections",
            "none was ever folded",
            "start a server: it creates them",
        );
        return;
    }
    for status in &statuses {
        if let Some(error) = &status.error {
            findings.fail(
                "projections",
                format!("{} stands still: {error}", status.name),
                ADVICE,
            );
        } else if !status.current {
            findings.warn(
                "projections",
                format!("{} is of another version", status.name),
                ADVICE,
            );
        } else if status.lag > LAG {
            findings.warn(
                "projections",
                format!("{} is {} events behind", status.name, status.lag),
                ADVICE,
            );
        }
    }
    let most = statuses.iter().map(|status| status.lag).max().unwrap_or_default();
    findings.ok(
        "projections",
        format!("{} known, at most {most} events behind", statuses.len()),
    );
}
