//! The events of a grant.

use uuid::Uuid;

use super::class::Activity;
use super::mapping::{Mapped, Mapping, Party};
use crate::domain::LedgerEvent;
use crate::domain::alert::Severity;
use crate::domain::grant::{GrantEvent, Reason, TokenRevoked};
use crate::domain::value::ScopeSet;
use crate::ids::{ClientKey, SubjectId};

/// Nobody knows at the event whose grant it is; the grant's id leads there.
const BY_ITS_GRANT: &str = "grant";

pub(super) fn map(event: &GrantEvent, grant: Uuid) -> Mapped {
    match event {
        GrantEvent::CodeIssued(event) => {
            let assigned = Mapping::privileges(Activity::ASSIGN, Party::User(event.subject), &event.scope);
            match event.session {
                Some(session) => assigned.session(session),
                None => assigned,
            }
        }
        GrantEvent::DeviceAuthorizationApproved(event) => {
            Mapping::authentication(Activity::TICKET, Party::User(event.subject), None).session(event.session)
        }
        GrantEvent::DeviceAuthorizationDenied(event) => {
            Mapping::authentication(Activity::TICKET, Party::User(event.subject), None)
                .failed(Severity::Low, "denied")
        }
        GrantEvent::CodeRedeemed(event) => ticket(Activity::TICKET, None, event.client),
        GrantEvent::DeviceCodeRedeemed(event) => ticket(Activity::TICKET, None, event.client),
        GrantEvent::TokenIssued(event) => ticket(Activity::SERVICE_TICKET, event.subject, event.client),
        GrantEvent::RefreshRotated(event) => ticket(Activity::RENEWAL, event.subject, event.client),
        GrantEvent::AccessTokenRefreshed(event) => ticket(Activity::RENEWAL, event.subject, event.client),
        GrantEvent::RefreshRetried(event) => {
            ticket(Activity::RENEWAL, event.subject, event.client).graver(Severity::Low)
        }
        GrantEvent::CodeReplayed(event) => {
            ticket(Activity::TICKET, None, event.client).failed(Severity::High, "code_replayed")
        }
        GrantEvent::DeviceCodeReplayed(event) => {
            ticket(Activity::TICKET, None, event.client).failed(Severity::High, "code_replayed")
        }
        GrantEvent::RefreshReplayed(event) => {
            ticket(Activity::RENEWAL, None, event.client).failed(Severity::High, "refresh_replayed")
        }
        GrantEvent::AssertionAccepted(event) => ticket(Activity::TICKET, event.subject, event.client),
        GrantEvent::TokenExchanged(event) => assigned(event.subject, event.client, &event.scope),
        GrantEvent::GrantImported(event) => assigned(event.subject, event.client, &event.scope),
        GrantEvent::DeviceAuthorizationRequested(request) => Mapping::api(Activity::API_CREATE, event.name())
            .resources([
                (BY_ITS_GRANT, grant.to_string()),
                ("client", request.client.to_string()),
            ]),
        GrantEvent::GrantReplaced(replaced) => Mapping::api(Activity::API_UPDATE, event.name()).resources([
            (BY_ITS_GRANT, grant.to_string()),
            ("grant", replaced.by.to_string()),
        ]),
        GrantEvent::TokenRevoked(revoked) => revocation(revoked, event.name(), grant),
    }
    .into()
}

fn ticket(activity: Activity, subject: Option<SubjectId>, client: ClientKey) -> Mapping {
    Mapping::authentication(activity, Party::of(subject, client), Some(client))
}

fn assigned(subject: Option<SubjectId>, client: ClientKey, scope: &ScopeSet) -> Mapping {
    Mapping::privileges(Activity::ASSIGN, Party::of(subject, client), scope)
}

fn revocation(event: &TokenRevoked, operation: &str, grant: Uuid) -> Mapping {
    let severity = match event.reason {
        Reason::CodeReplayed | Reason::RefreshReplayed | Reason::Policy => Severity::High,
        Reason::Administrator => Severity::Medium,
        Reason::ClientRequest | Reason::SessionEnded | Reason::User | Reason::Replaced => {
            Severity::Informational
        }
    };
    Mapping::api(Activity::API_DELETE, operation)
        .resources([(BY_ITS_GRANT, grant.to_string())])
        .with("status_detail", event.reason.name().into())
        .graver(severity)
}
