//! The policies: whether somebody watches the ledger.

use sqlx::PgConnection;

use super::Findings;
use crate::policy;

/// From how many events on that nobody has looked at it is worth a word.
const FAR_BEHIND: i64 = 50_000;

/// How far the engine is behind the ledger.
pub(super) async fn engine(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let status = policy::status(connection).await?;
    let found = format!("{} events behind", status.lag);
    if let Some(error) = status.error {
        findings.fail(
            "policies",
            format!("they stand still at position {}: {error}", status.position),
            "mend what the error says: no alert is raised until then, and none is lost",
        );
    } else if status.lag > FAR_BEHIND {
        findings.warn(
            "policies",
            found,
            "is a server running? A back-test of all rules shows what they cost (grantlog policy backtest)",
        );
    } else {
        findings.ok("policies", found);
    }
    Ok(())
}
