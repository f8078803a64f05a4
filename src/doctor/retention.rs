//! What a retention keeps no longer: nothing leaves the ledger by itself.

use super::Findings;
use crate::ledger::LedgerError;
use crate::operations::Operations;
use crate::operations::retention::Overdue;

pub(super) async fn check(operations: &Operations, findings: &mut Findings) -> Result<(), LedgerError> {
    let Overdue { quarters, months } = operations.overdue().await?;
    if quarters.is_empty() && months.is_empty() {
        findings.ok("retention", "nothing is kept longer than was set");
    }
    if !quarters.is_empty() {
        let names: Vec<&str> = quarters
            .iter()
            .map(|quarter| quarter.partition.as_str())
            .collect();
        findings.warn(
            "retention",
            format!(
                "the time of {} has come, and nobody took it out",
                names.join(", ")
            ),
            "run `grantlog retention detach`, which says what keeps a quarter that it leaves",
        );
    }
    if let Some(month) = months.last() {
        findings.warn(
            "retention",
            format!(
                "there are keys to addresses of {}, which are kept no longer",
                month.month
            ),
            "start a server, which destroys them, but for those of users whom a legal hold keeps",
        );
    }
    Ok(())
}
