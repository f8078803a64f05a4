//! Approvals of restricted scopes: what may be asked for, and who decided what, when and why.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{OperationError, Operations};
use crate::clock::Timestamp;
use crate::domain::LedgerEvent;
use crate::domain::client::{Approval, ClientCommand, ClientEvent};
use crate::domain::scope::Scope;
use crate::ids::ClientKey;
use crate::ledger::{LANE, LedgerError, Metadata, Operator, retrying};

/// The most characters of a reason.
const MAX_REASON: usize = 2000;

/// The last step of a scope's approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ApprovalStep {
    /// Where the approval stands.
    pub state: Approval,
    /// Who took the step: `command_line`, `client:…`.
    pub actor: String,
    /// The person at the command line; none where it was a client, or nobody was named.
    pub operator: Option<Operator>,
    /// When.
    pub at: Timestamp,
    /// Why, in that person's words; may be empty where it was approved.
    pub reason: String,
}

/// The last steps of one client's approvals, by scope.
pub type Approvals = BTreeMap<String, ApprovalStep>;

/// A client's event: whose, type, version, payload, metadata and time.
type Row = (Uuid, String, i16, String, String, Timestamp);

impl Operations {
    /// Where the approvals of these clients stand, with who, when and why. A client without any has no entry.
    pub async fn approvals(
        &self,
        clients: &[ClientKey],
    ) -> Result<HashMap<ClientKey, Approvals>, LedgerError> {
        let ids: Vec<Uuid> = clients.iter().map(|client| client.0).collect();
        let rows: Vec<Row> = retrying(|| async {
            sqlx::query_as(
                "SELECT aggregate_id, event_type, event_version, payload::text, metadata::text, recorded_at \
                 FROM grantlog.ledger_client \
                 WHERE lane = $1 AND aggregate_type = 'client' AND aggregate_id = ANY ($2) AND event_type IN \
                     ('ScopeApprovalRequested', 'ScopeApproved', 'ScopeRejected', 'ScopeApprovalWithdrawn') \
                 ORDER BY aggregate_id, sequence",
            )
            .bind(LANE)
            .bind(&ids)
            .fetch_all(self.ledger.pool())
            .await
        })
        .await?;
        let mut approvals: HashMap<ClientKey, Approvals> = HashMap::new();
        for (client, event_type, version, payload, metadata, at) in rows {
            let event = ClientEvent::decode(&event_type, version, &payload)?;
            let Some((scope, state, reason)) = step(event) else {
                continue;
            };
            let metadata = Metadata::read(&metadata)?;
            let event = ("client", client, event_type.as_str());
            let operator = metadata.operator(self.ledger.vault(), event, at).await?;
            let step = ApprovalStep {
                state,
                actor: metadata.actor,
                operator,
                at,
                reason,
            };
            approvals
                .entry(ClientKey(client))
                .or_default()
                .insert(scope, step);
        }
        Ok(approvals)
    }

    /// What a client's own state cannot say of a step: that the scope exists, and needs an approval at all.
    pub(super) async fn check_approval(&self, command: &ClientCommand) -> Result<(), OperationError> {
        let ClientCommand::Approval { scope, step, reason } = command else {
            return Ok(());
        };
        if reason.chars().count() > MAX_REASON {
            return Err(OperationError::invalid(
                "reason",
                format!("it is longer than {MAX_REASON} characters"),
            ));
        }
        // What is denied or taken back may be a scope that is gone. One that will be restricted may be approved
        // beforehand, so that nobody is cut off in between.
        if matches!(step, Approval::Rejected | Approval::Withdrawn) {
            return Ok(());
        }
        let loaded = self.load::<Scope>(Scope::id(scope)).await?;
        let Some(definition) = loaded.grantable() else {
            return Err(OperationError::invalid(
                "scope",
                format!("the scope {scope} is not defined"),
            ));
        };
        if *step == Approval::Requested && !definition.restricted {
            return Err(OperationError::invalid(
                "scope",
                format!("the scope {scope} is not restricted: it needs no approval"),
            ));
        }
        Ok(())
    }
}

fn step(event: ClientEvent) -> Option<(String, Approval, String)> {
    match event {
        ClientEvent::ScopeApprovalRequested(step) => Some((step.scope, Approval::Requested, step.reason)),
        ClientEvent::ScopeApproved(step) => Some((step.scope, Approval::Approved, step.reason)),
        ClientEvent::ScopeRejected(step) => Some((step.scope, Approval::Rejected, step.reason)),
        ClientEvent::ScopeApprovalWithdrawn(step) => Some((step.scope, Approval::Withdrawn, step.reason)),
        ClientEvent::ClientRegistered(_)
        | ClientEvent::ClientUpdated(_)
        | ClientEvent::ClientSecretAdded(_)
        | ClientEvent::ClientSecretRetired(_)
        | ClientEvent::ClientSuspended(_)
        | ClientEvent::ClientReinstated(_)
        | ClientEvent::ClientThrottled(_)
        | ClientEvent::ClientRevoked(_)
        | ClientEvent::RegistrationAccessTokenIssued(_)
        | ClientEvent::SoftwareStatementAccepted(_)
        | ClientEvent::ExchangeAllowed(_)
        | ClientEvent::ExchangeDisallowed(_) => None,
    }
}
