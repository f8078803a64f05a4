//! From a request's id to why it was refused.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Operations;
use crate::clock::Timestamp;
use crate::domain::client::Client;
use crate::domain::grant::GrantEvent;
use crate::domain::refusal::{Advice, RefusalEvent, RefusalReason, RequestRefused};
use crate::domain::{LedgerEvent, UnknownEvent};
use crate::ids::{ClientKey, GrantId, RequestId, SubjectId};
use crate::ledger::{LANE, LedgerError, Metadata, retrying};

/// What is said where no refusal is found.
pub const NOT_FOUND: &str = "No refusal with this request id is recorded. The request may not have been refused, or by no endpoint (404, 405, 408, 431); it may have failed in the server itself (its log has the id), may be older than what the ledger still holds, or its refusal may have been suppressed under load.";

/// A refused request, explained. It has no personal datum: the caller's address and agent stay sealed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ExplainedRefusal {
    /// The request.
    pub request_id: RequestId,
    /// When it was refused.
    pub refused_at: Timestamp,
    /// The endpoint's path.
    pub endpoint: String,
    /// The error code that the caller was given.
    pub error: String,
    /// The precise reason, in a word.
    pub reason: String,
    /// The check that failed, in a sentence; none where the reason is from a newer build.
    pub check: Option<&'static str>,
    /// What helps; none where the reason is from a newer build.
    #[serde(flatten)]
    pub advice: Option<Advice>,
    /// The client's name on the wire, where it is known (claimed or authenticated).
    pub client_id: Option<String>,
    /// The user.
    pub subject: Option<SubjectId>,
    /// The grant.
    pub grant: Option<GrantId>,
    /// Who acted, as far as it was authenticated.
    pub actor: String,
    /// The W3C trace id that the request brought.
    pub trace_id: Option<String>,
    /// The event's place in the ledger.
    pub position: i64,
}

/// An event's aggregate, type, version, payload, metadata, position and time.
type Row = (Uuid, String, i16, String, String, i64, Timestamp);

/// What an event says of its refusal.
struct Told {
    error: String,
    reason: String,
    client: Option<ClientKey>,
    subject: Option<SubjectId>,
    grant: Option<GrantId>,
}

impl Operations {
    /// Why a request was refused: its refusal, or the replay that it was. None is not proof that it was not
    /// refused ([`NOT_FOUND`]).
    pub async fn find_refusal(&self, request: RequestId) -> Result<Option<ExplainedRefusal>, LedgerError> {
        if let Some(row) = self.event_of(request, "refusal", &["RequestRefused"]).await? {
            let told = match RefusalEvent::decode(&row.1, row.2, &row.3)? {
                RefusalEvent::RequestRefused(event) => Told::from(event),
                RefusalEvent::RefusalsSuppressed(_) => return Ok(None),
            };
            return self.explain(row, told).await.map(Some);
        }
        let replays = ["CodeReplayed", "RefreshReplayed", "DeviceCodeReplayed"];
        let Some(row) = self.event_of(request, "grant", &replays).await? else {
            return Ok(None);
        };
        let reason = match GrantEvent::decode(&row.1, row.2, &row.3)? {
            GrantEvent::CodeReplayed(_) => RefusalReason::CodeReplayed,
            GrantEvent::RefreshReplayed(_) => RefusalReason::RefreshReplayed,
            GrantEvent::DeviceCodeReplayed(_) => RefusalReason::DeviceCodeReplayed,
            GrantEvent::CodeIssued(_)
            | GrantEvent::TokenExchanged(_)
            | GrantEvent::AssertionAccepted(_)
            | GrantEvent::GrantImported(_)
            | GrantEvent::CodeRedeemed(_)
            | GrantEvent::DeviceAuthorizationRequested(_)
            | GrantEvent::DeviceAuthorizationApproved(_)
            | GrantEvent::DeviceAuthorizationDenied(_)
            | GrantEvent::DeviceCodeRedeemed(_)
            | GrantEvent::TokenIssued(_)
            | GrantEvent::RefreshRotated(_)
            | GrantEvent::AccessTokenRefreshed(_)
            | GrantEvent::RefreshRetried(_)
            | GrantEvent::GrantReplaced(_)
            | GrantEvent::TokenRevoked(_) => return Ok(None),
        };
        let family = self.load::<crate::domain::grant::Grant>(row.0).await?;
        let family = family.family.as_ref();
        let told = Told {
            error: "invalid_grant".to_owned(),
            reason: reason.name().to_owned(),
            client: family.map(|family| family.client),
            subject: family.and_then(|family| family.subject),
            grant: Some(GrantId(row.0)),
        };
        self.explain(row, told).await.map(Some)
    }

    /// The first event of these types that a request caused, by the index on the request's id.
    async fn event_of(
        &self,
        request: RequestId,
        kind: &'static str,
        types: &[&'static str],
    ) -> Result<Option<Row>, LedgerError> {
        // Names of ours, spelled out so that the planner sees that the partial index applies.
        let types = types.join("', '");
        let query = format!(
            "SELECT aggregate_id, event_type, event_version, payload::text, metadata::text, position, recorded_at \
             FROM grantlog.ledger_{kind} \
             WHERE (metadata->>'request_id')::uuid = $1 AND event_type IN ('{types}') AND lane = $2 \
             ORDER BY position LIMIT 1"
        );
        Ok(retrying(|| async {
            sqlx::query_as(&query)
                .bind(request.0)
                .bind(LANE)
                .fetch_optional(self.ledger.pool())
                .await
        })
        .await?)
    }

    async fn explain(&self, row: Row, told: Told) -> Result<ExplainedRefusal, LedgerError> {
        let (_, event_type, version, _, metadata, position, refused_at) = row;
        let metadata: Metadata = serde_json::from_str(&metadata)
            .map_err(|error| UnknownEvent::new("metadata", &event_type, version, Some(&error)))?;
        let client_id = match told.client {
            None => None,
            Some(key) => {
                let client = self.load::<Client>(key.0).await?;
                client
                    .registration
                    .as_ref()
                    .map(|registration| registration.client_id.clone())
            }
        };
        let reason = RefusalReason::named(&told.reason);
        Ok(ExplainedRefusal {
            request_id: metadata.request_id,
            refused_at,
            endpoint: metadata.endpoint,
            error: told.error,
            check: reason.map(RefusalReason::check),
            advice: reason.map(|reason| reason.guide().text()),
            reason: told.reason,
            client_id,
            subject: told.subject,
            grant: told.grant,
            actor: metadata.actor,
            trace_id: metadata.trace_id,
            position,
        })
    }
}

impl From<RequestRefused> for Told {
    fn from(event: RequestRefused) -> Self {
        Self {
            error: event.error,
            reason: event.reason,
            client: event.client,
            subject: event.subject,
            grant: event.grant,
        }
    }
}
