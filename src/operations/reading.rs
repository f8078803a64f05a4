//! Reading the trail, which is on the trail itself.

use super::{OperationError, Operations, run};
use crate::domain::trail::{LedgerRead, Trail, TrailCommand, TrailRefusal};
use crate::ledger::Context;

impl Operations {
    /// Records that the trail is about to be read. Nothing may be shown before this is durable.
    pub async fn record_reading(&self, context: &Context, reading: LedgerRead) -> Result<(), OperationError> {
        let id = self
            .ledger
            .random()
            .uuid()
            .map_err(crate::ledger::LedgerError::from)?;
        let command = TrailCommand::Read(reading);
        match run!(self, context, Trail, id, &command).outcome {
            Ok(()) | Err(TrailRefusal::Exists) => Ok(()),
            Err(other @ TrailRefusal::UnknownLogKey) => Err(other.into()),
        }
    }
}
