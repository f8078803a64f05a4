//! Which ledger events receivers hear of, and in which words. Pure.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::session::SessionEvent;
use crate::domain::ssf_stream::SignalType;
use crate::domain::user::UserEvent;
use crate::ids::{SessionId, SubjectId};

/// One thing to be told of one user.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Signal {
    pub(super) kind: SignalType,
    pub(super) whose: Whose,
    /// What stands under the event type in the claim `events`.
    pub(super) body: Value,
}

/// Whom a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// A user, with all that is theirs.
    User(SubjectId),
    /// One login; its start says whose it is.
    Session(SessionId),
}

/// Ends of logins that follow from what ends all logins of the user, and was told then.
const TOLD_BEFORE: [&str; 3] = ["password_changed", "user_disabled", "user_erased"];

/// What changed of a password (CAEP §3.3).
const PASSWORD_UPDATE: [(&str, &str); 2] = [("credential_type", "password"), ("change_type", "update")];

/// The signals of a ledger event. `actor` is who caused it, as in its metadata.
pub(super) fn of(event: &Event, id: Uuid, actor: &str, at: Timestamp) -> Vec<Signal> {
    let user = Whose::User(SubjectId(id));
    let told = Told {
        by: initiator(event, actor),
        at,
    };
    match event {
        Event::Session(SessionEvent::SessionEnded(ended))
            if !TOLD_BEFORE.contains(&ended.reason.as_str()) =>
        {
            vec![told.of(
                SignalType::SessionRevoked,
                Whose::Session(SessionId(id)),
                reason(&ended.reason),
                [],
            )]
        }
        Event::User(UserEvent::PasswordChanged(_)) => vec![
            told.of(
                SignalType::CredentialChange,
                user,
                "The password was changed.",
                PASSWORD_UPDATE.map(|(member, value)| (member, value.into())),
            ),
            told.of(SignalType::SessionRevoked, user, "The password was changed.", []),
        ],
        Event::User(UserEvent::FreshLoginRequired(_)) => {
            vec![told.of(SignalType::SessionRevoked, user, "A fresh login is required.", [])]
        }
        Event::User(UserEvent::UserDisabled(_)) => vec![
            told.of(SignalType::AccountDisabled, user, "The account was disabled.", []),
            told.of(SignalType::SessionRevoked, user, "The account was disabled.", []),
        ],
        Event::User(UserEvent::UserEnabled(_)) => {
            vec![told.of(SignalType::AccountEnabled, user, "The account was enabled.", [])]
        }
        Event::User(UserEvent::SubjectKeyDestroyed(_)) => vec![
            told.of(SignalType::SessionRevoked, user, "The account was erased.", []),
            told.of(SignalType::AccountPurged, user, "The account was erased.", []),
        ],
        Event::Session(_)
        | Event::User(_)
        | Event::Client(_)
        | Event::Scope(_)
        | Event::AuthorizationDetailType(_)
        | Event::Consent(_)
        | Event::Grant(_)
        | Event::Refusal(_)
        | Event::SigningKey(_)
        | Event::Trail(_)
        | Event::InitialAccessToken(_)
        | Event::TrustedIssuer(_)
        | Event::SsfStream(_)
        | Event::Network(_)
        | Event::TokenUse(_)
        | Event::Stream(_)
        | Event::Policy(_)
        | Event::Alert(_) => Vec::new(),
    }
}

/// What all signals of one event say.
struct Told {
    by: &'static str,
    at: Timestamp,
}

impl Told {
    /// CAEP 1.0 §2: when, by whom, and why in words for an administrator. They are fixed: an administrator's own words
    /// stay here.
    fn of<const N: usize>(
        &self,
        kind: SignalType,
        whose: Whose,
        why: &str,
        claims: [(&str, Value); N],
    ) -> Signal {
        let mut body = Map::new();
        match kind {
            SignalType::SessionRevoked | SignalType::CredentialChange => {
                body.insert("event_timestamp".to_owned(), self.at.timestamp().into());
                body.insert("initiating_entity".to_owned(), self.by.into());
                body.insert("reason_admin".to_owned(), json!({ "en": why }));
            }
            // RISC 1.0 defines none of these members.
            SignalType::AccountPurged | SignalType::AccountDisabled | SignalType::AccountEnabled => {}
        }
        body.extend(claims.map(|(name, value)| (name.to_owned(), value)));
        Signal {
            kind,
            whose,
            body: body.into(),
        }
    }
}

/// `initiating_entity`.
fn initiator(event: &Event, actor: &str) -> &'static str {
    match actor.split_once(':').map_or(actor, |(kind, _)| kind) {
        // A login ends through a client at its user's wish; accounts change only for clients that administer.
        "client" if matches!(event, Event::User(_)) => "admin",
        "user" | "anonymous" | "client" => "user",
        "command_line" => "admin",
        "policy" => "policy",
        _ => "system",
    }
}

/// Why a login ended, in a sentence.
fn reason(word: &str) -> &'static str {
    match word {
        "logout" => "The user logged out.",
        "rp_logout" => "The user logged out at a client.",
        "user" => "The user ended the login.",
        "administrator" => "An administrator ended the login.",
        "replaced" | "switched" => "Another login took its place.",
        _ => "The login was ended.",
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::session::SessionEnded;
    use crate::domain::user::{PasswordChanged, PasswordRehashed, UserDisabled};
    use crate::domain::value::Sealed;

    fn kinds(event: impl Into<UserEvent>) -> Vec<SignalType> {
        let signals = of(
            &Event::User(event.into()),
            Uuid::nil(),
            "command_line",
            DateTime::UNIX_EPOCH,
        );
        assert!(
            signals
                .iter()
                .all(|signal| signal.whose == Whose::User(SubjectId(Uuid::nil())))
        );
        signals.into_iter().map(|signal| signal.kind).collect()
    }

    #[test]
    fn what_ends_every_login_of_a_user_is_told_once_and_of_the_user() {
        let password = Sealed(String::new());
        let changed = PasswordChanged {
            password: password.clone(),
        };
        assert_eq!(
            kinds(changed),
            [SignalType::CredentialChange, SignalType::SessionRevoked]
        );
        let disabled = UserDisabled {
            reason: "she stole".to_owned(),
        };
        assert_eq!(
            kinds(disabled),
            [SignalType::AccountDisabled, SignalType::SessionRevoked]
        );
        assert!(kinds(PasswordRehashed { password }).is_empty());
        let ended = |reason: &str| {
            let event = SessionEnded {
                reason: reason.to_owned(),
                revokes: None,
            };
            of(
                &Event::Session(event.into()),
                Uuid::nil(),
                "system",
                DateTime::UNIX_EPOCH,
            )
        };
        assert!(TOLD_BEFORE.iter().all(|reason| ended(reason).is_empty()));
        let alone = ended("logout");
        assert_eq!(alone[0].whose, Whose::Session(SessionId(Uuid::nil())));
    }

    #[test]
    fn a_signal_says_who_did_it_and_nothing_that_an_administrator_wrote() {
        let event = Event::User(
            UserDisabled {
                reason: "she stole".to_owned(),
            }
            .into(),
        );
        let signals = of(&event, Uuid::nil(), "command_line", DateTime::UNIX_EPOCH);
        assert_eq!(signals[1].body["initiating_entity"], "admin");
        assert_eq!(signals[1].body["event_timestamp"], 0);
        assert!(!format!("{signals:?}").contains("stole"));
        for (actor, entity) in [
            ("user:1", "user"),
            ("client:1", "admin"),
            ("policy", "policy"),
            ("system", "system"),
        ] {
            assert_eq!(initiator(&event, actor), entity);
        }
        let ended = SessionEnded {
            reason: "rp_logout".to_owned(),
            revokes: None,
        };
        assert_eq!(initiator(&Event::Session(ended.into()), "client:1"), "user");
    }
}
