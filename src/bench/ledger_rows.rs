//! Synthetic commands for the ledger.

use crate::clock::Timestamp;
use crate::domain::client::GrantType;
use crate::domain::grant::{AccessToken, GrantEvent, TokenIssued};
use crate::domain::value::{Digest, ScopeSet};
use crate::domain::{AggregateType, LedgerEvent};
use crate::ids::ClientKey;
use crate::ledger::{Command, Expectation, Ledger, LedgerError, NewEvent};

/// The event of a client-credentials issuance.
pub(super) fn token_issued(client: ClientKey, audience: &str, digest: Digest, at: Timestamp) -> GrantEvent {
    let end = at + chrono::TimeDelta::seconds(3600);
    TokenIssued {
        flow: GrantType::ClientCredentials,
        client,
        subject: None,
        scope: ["server-operations"].into_iter().collect::<ScopeSet>(),
        audience: vec![audience.to_owned()],
        authorization_details: None,
        details: None,
        access: AccessToken {
            digest,
            expires_at: end,
            confirmation: None,
        },
        refresh: None,
        password_generation: 0,
        issued_at: at,
        grant_expires_at: end,
    }
    .into()
}

/// A command that appends events to one grant after `sequence`, relying on nothing else.
pub(super) fn command(
    ledger: &Ledger,
    grant: uuid::Uuid,
    sequence: i64,
    events: &[GrantEvent],
    metadata: &str,
) -> Result<Command, LedgerError> {
    let kind = AggregateType::Grant;
    let events = (1..)
        .zip(events)
        .map(|(offset, event)| {
            Ok(NewEvent {
                kind,
                id: grant,
                sequence: sequence + offset,
                event_type: event.name(),
                version: event.version(),
                payload: event.payload()?,
                metadata: metadata.to_owned(),
            })
        })
        .collect::<Result<Vec<_>, LedgerError>>()?;
    Ok(Command {
        id: ledger.random().uuid()?,
        expectations: vec![Expectation {
            kind,
            id: grant,
            sequence,
        }],
        events,
        names: Vec::new(),
    })
}
