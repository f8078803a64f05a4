//! The evidence log: the sealer keeps up, and what is stored is what was signed.

use chrono::TimeDelta;
use sqlx::PgConnection;

use super::Findings;
use crate::evidence::{EvidenceError, sealer, store};

const NAME: &str = "evidence";
/// Events that may wait for the sealer.
const LAG: u64 = 10_000;
/// How long any event may.
const LATE: TimeDelta = TimeDelta::seconds(60);

pub(super) async fn check(connection: &mut PgConnection, findings: &mut Findings) {
    match compare(connection).await {
        Ok(State::Sealed(size)) => findings.ok(
            NAME,
            format!("{size} events are sealed, and the last of them are those"),
        ),
        Ok(State::Waiting(count)) => findings.warn(
            NAME,
            format!("{count} events are not sealed"),
            "a running server seals within a second: see its log, and grantlog_evidence_failures_total",
        ),
        Err(error) => findings.fail(
            NAME,
            error.to_string(),
            "see docs/evidence.md; `grantlog audit verify --database` names the first bad position",
        ),
    }
}

enum State {
    Sealed(u64),
    Waiting(u64),
}

async fn compare(connection: &mut PgConnection) -> Result<State, EvidenceError> {
    let log = store::read(&mut *connection).await?;
    if log.head < log.size {
        let (ledger, signed) = (log.head, log.size);
        return Err(crate::evidence::Fault::RolledBack { ledger, signed }.into());
    }
    let edge = store::edge(&mut *connection, &log).await?;
    sealer::check_last_rows(connection, &edge).await?;
    let waiting = log.head - log.size;
    let late = waiting > 0 && log.now - log.signed_at > LATE;
    Ok(if late || waiting > LAG {
        State::Waiting(waiting)
    } else {
        State::Sealed(log.size)
    })
}
