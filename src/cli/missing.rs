//! What could not be looked at, on standard error: an answer that looks complete and is not would mislead.

use super::output;
use crate::trail::missing::Missing;

/// Names the quarters that have left the ledger.
pub(super) fn note(missing: &[Missing]) {
    for quarter in missing {
        output::note(&format!(
            "not looked at: {} events of {}, from position {} to {}, have left the ledger; the export that was made then has \
             them",
            quarter.events, quarter.partition, quarter.first_position, quarter.last_position
        ));
    }
}
