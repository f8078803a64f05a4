//! Reading the trail, which is on the trail itself.

use super::{OperationError, Operations, run};
use crate::domain::grant::Grant;
use crate::domain::trail::{LedgerRead, Trail, TrailCommand, TrailRefusal};
use crate::ids::GrantId;
use crate::ledger::{Context, LedgerError, head_position};

impl Operations {
    /// A reading of what the ledger holds now, to be narrowed and recorded.
    pub async fn reading_now(&self) -> Result<LedgerRead, OperationError> {
        let head = head_position(self.ledger.pool()).await;
        Ok(LedgerRead::upto(head.map_err(LedgerError::from)?))
    }

    /// Records that a grant is about to be read up to a position, and whether with its callers' addresses.
    pub async fn record_reading_of_grant(
        &self,
        context: &Context,
        id: GrantId,
        (upto, revealed): (i64, bool),
    ) -> Result<(), OperationError> {
        let reading = LedgerRead {
            grant: Some(id),
            revealed,
            ..LedgerRead::upto(upto)
        };
        self.record_reading(context, reading).await
    }

    /// Records that the trail is about to be read; of a grant, whose it is, too. Nothing may be shown before this is
    /// durable.
    pub async fn record_reading(
        &self,
        context: &Context,
        mut reading: LedgerRead,
    ) -> Result<(), OperationError> {
        if let (Some(grant), None, None) = (reading.grant, reading.subject, reading.client) {
            let grant = self.load::<Grant>(grant.0).await?;
            let family = grant.family.as_deref();
            reading.subject = family.and_then(|family| family.subject);
            reading.client = family.map(|family| family.client);
        }
        let id = self.ledger.random().uuid().map_err(LedgerError::from)?;
        let command = TrailCommand::Read(reading);
        match run!(self, context, Trail, id, &command).outcome {
            Ok(()) | Err(TrailRefusal::Exists) => Ok(()),
            Err(other @ TrailRefusal::UnknownLogKey) => Err(other.into()),
        }
    }
}
