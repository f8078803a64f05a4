//! The events of users, sessions, consents and refusals.

use uuid::Uuid;

use super::class::Activity;
use super::mapping::{Mapped, Mapping, Party};
use crate::domain::LedgerEvent;
use crate::domain::alert::Severity;
use crate::domain::consent::ConsentEvent;
use crate::domain::refusal::{RefusalEvent, RequestRefused};
use crate::domain::session::SessionEvent;
use crate::domain::user::UserEvent;
use crate::ids::{SessionId, SubjectId};

/// `by_user`: the user acts, not an administrator.
pub(super) fn map_user(event: &UserEvent, id: Uuid, by_user: bool) -> Mapped {
    let account = |activity| Mapping::account(activity, SubjectId(id));
    match event {
        UserEvent::UserRegistered(_) => account(Activity::ACCOUNT_CREATE),
        UserEvent::UserEnabled(_) => account(Activity::ACCOUNT_ENABLE),
        UserEvent::PasswordChanged(_) if by_user => account(Activity::PASSWORD_CHANGE),
        UserEvent::PasswordChanged(_) => account(Activity::PASSWORD_RESET),
        UserEvent::PasswordRehashed(_) => {
            return Mapped::Not("the same password under stronger parameters: nothing changed for anybody");
        }
        UserEvent::UserDisabled(_) => account(Activity::ACCOUNT_DISABLE).graver(Severity::Low),
        UserEvent::SubjectKeyDestroyed(_) => account(Activity::ACCOUNT_DELETE).graver(Severity::Low),
        UserEvent::ProfileUpdated(_) | UserEvent::ClaimsUpdated(_) => account(Activity::PROFILE_UPDATE),
        UserEvent::FreshLoginRequired(_) => account(Activity::REQUIRE_LOGIN).graver(Severity::Medium),
        UserEvent::LegalHoldPlaced(_) | UserEvent::LegalHoldLifted(_) => account(Activity::LEGAL_HOLD),
    }
    .into()
}

pub(super) fn map_session(event: &SessionEvent, id: Uuid) -> Mapped {
    let session = SessionId(id);
    match event {
        SessionEvent::SessionStarted(event) => {
            Mapping::authentication(Activity::LOGON, Party::User(event.subject), None)
                .with("is_new_logon", true.into())
                .session(session)
        }
        SessionEvent::SessionReauthenticated(_) => {
            Mapping::authentication(Activity::LOGON, Party::Session(session), None)
                .with("is_new_logon", false.into())
                .session(session)
        }
        SessionEvent::SessionEnded(event) => {
            Mapping::authentication(Activity::LOGOFF, Party::Session(session), None)
                .with("status_detail", event.reason.as_str().into())
                .session(session)
        }
        SessionEvent::BackchannelLogoutDelivered(_) => {
            return Mapped::Not("a note that a client took the end of a login, which was exported itself");
        }
        SessionEvent::BackchannelLogoutAbandoned(told) => Mapping::api(Activity::API_CALL, event.name())
            .resources([("session", id.to_string()), ("client", told.client.to_string())])
            .failed(Severity::Medium, told.error.as_str()),
    }
    .into()
}

pub(super) fn map_consent(event: &ConsentEvent, id: Uuid) -> Mapped {
    match event {
        ConsentEvent::ConsentGiven(event) => {
            Mapping::privileges(Activity::ASSIGN, Party::User(event.subject), &event.scope)
        }
        ConsentEvent::ConsentWithdrawn(_) => {
            Mapping::api(Activity::API_DELETE, event.name()).resources([("consent", id.to_string())])
        }
    }
    .into()
}

pub(super) fn map_refusal(event: &RefusalEvent) -> Mapped {
    match event {
        RefusalEvent::RequestRefused(event) => refused(event),
        RefusalEvent::RefusalsSuppressed(suppressed) => Mapping::api(Activity::API_REFUSED, event.name())
            .resources(suppressed.client.map(|client| ("client", client.to_string())))
            .with("count", suppressed.count.into())
            .failed(Severity::Medium, "suppressed"),
    }
    .into()
}

/// Reasons that mean that somebody could not log in.
const LOGIN_REASONS: [&str; 4] = ["wrong_password", "unknown_user", "user_disabled", "user_erased"];

fn refused(event: &RequestRefused) -> Mapping {
    let login = LOGIN_REASONS.contains(&event.reason.as_str());
    let mapping = match event.subject {
        Some(subject) if login => {
            Mapping::authentication(Activity::LOGON, Party::User(subject), event.client)
        }
        None if event.reason == "unknown_user" => {
            Mapping::authentication(Activity::LOGON, Party::Unknown, event.client)
        }
        Some(_) | None => Mapping::api(Activity::API_REFUSED, "RequestRefused").resources(
            [
                event.client.map(|client| ("client", client.to_string())),
                event.grant.map(|grant| ("grant", grant.to_string())),
                event.subject.map(|subject| ("user", subject.to_string())),
            ]
            .into_iter()
            .flatten(),
        ),
    };
    mapping
        .with("status_code", event.error.as_str().into())
        .failed(Severity::Low, event.reason.as_str())
}
