//! Reading the trail, which is on the trail itself.

use super::{OperationError, Operations, run};
use crate::domain::trail::{LedgerRead, Trail, TrailCommand, TrailRefusal};
use crate::ledger::{Context, LedgerError, head_position};

impl Operations {
    /// Records that what these filters find is about to be read, wherever in the ledger it is.
    pub async fn record_reading_by(&self, context: &Context, filters: &[&str]) -> Result<(), OperationError> {
        let head = head_position(self.ledger.pool())
            .await
            .map_err(LedgerError::from)?;
        let reading = LedgerRead {
            grant: None,
            after: 0,
            upto: head,
            filters: filters.iter().map(|name| (*name).to_owned()).collect(),
            revealed: false,
        };
        self.record_reading(context, reading).await
    }

    /// Records that the trail is about to be read. Nothing may be shown before this is durable.
    pub async fn record_reading(&self, context: &Context, reading: LedgerRead) -> Result<(), OperationError> {
        let id = self.ledger.random().uuid().map_err(LedgerError::from)?;
        let command = TrailCommand::Read(reading);
        match run!(self, context, Trail, id, &command).outcome {
            Ok(()) | Err(TrailRefusal::Exists) => Ok(()),
            Err(other @ TrailRefusal::UnknownLogKey) => Err(other.into()),
        }
    }
}
