//! The `session` aggregate: one browser login.

use serde::{Deserialize, Serialize};

use super::user::User;
use super::value::Digest;
use super::{Decision, aggregate};
use crate::clock::Timestamp;
use crate::ids::SubjectId;

events! {
    /// Events of one browser login.
    pub enum SessionEvent of "session" {
        /// A user logged in.
        SessionStarted 1 {
            /// Who.
            subject: SubjectId,
            /// When the user was authenticated (`auth_time`).
            authenticated_at: Timestamp,
            /// How (RFC 8176 `amr` values).
            amr: Vec<String>,
            /// SHA-256 of the cookie's secret part.
            digest: Digest,
            /// How often the user's password had changed before.
            password_generation: u32,
            /// When it ends by itself.
            expires_at: Timestamp,
        },
        /// The user proved again who it is.
        SessionReauthenticated 1 {
            /// When.
            authenticated_at: Timestamp,
            /// How (RFC 8176).
            amr: Vec<String>,
            /// SHA-256 of the renewed cookie's secret part.
            digest: Digest,
            /// How often the user's password had changed before.
            password_generation: u32,
            /// When it now ends by itself.
            expires_at: Timestamp,
        },
        /// The session is over.
        SessionEnded 1 {
            /// Why, in a word: `logout`, `administrator`.
            reason: String,
        },
    }
}

/// A session's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// None before the login and after the end.
    pub login: Option<Login>,
}

/// A login that has not been ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Who.
    pub subject: SubjectId,
    /// When the user was last authenticated.
    pub authenticated_at: Timestamp,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// SHA-256 of the cookie's secret part.
    pub digest: Digest,
    /// How often the user's password had changed before.
    pub password_generation: u32,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// Commands on a session.
#[derive(Clone, Debug)]
pub enum SessionCommand {
    /// A user was authenticated: start the session, or renew it for the same user.
    Authenticate(Login),
    /// End it.
    End {
        /// Why, in a word.
        reason: String,
    },
}

/// Why a session command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefusal {
    /// Not started, or over.
    #[error("there is no such session")]
    Unknown,
    /// The session is another user's.
    #[error("the session belongs to another user")]
    OtherSubject,
}

impl Session {
    /// The login, where it still holds at `at` for the cookie with that digest and for `user` as it is now.
    #[must_use]
    pub fn valid(&self, digest: &Digest, user: &User, at: Timestamp) -> Option<&Login> {
        self.login.as_ref().filter(|login| {
            login.digest.matches(digest)
                && at < login.expires_at
                && user.may_act()
                && user.password_generation == login.password_generation
        })
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &SessionCommand) -> Decision<SessionEvent, (), SessionRefusal> {
        match (command, &self.login) {
            (SessionCommand::Authenticate(new), None) => {
                let Login {
                    subject,
                    authenticated_at,
                    amr,
                    digest,
                    password_generation,
                    expires_at,
                } = new.clone();
                let event = SessionStarted {
                    subject,
                    authenticated_at,
                    amr,
                    digest,
                    password_generation,
                    expires_at,
                };
                Decision::accept(vec![event.into()], ())
            }
            (SessionCommand::Authenticate(new), Some(login)) if new.subject != login.subject => {
                Decision::refuse(SessionRefusal::OtherSubject)
            }
            (SessionCommand::Authenticate(new), Some(_)) => {
                let Login {
                    subject: _,
                    authenticated_at,
                    amr,
                    digest,
                    password_generation,
                    expires_at,
                } = new.clone();
                let event = SessionReauthenticated {
                    authenticated_at,
                    amr,
                    digest,
                    password_generation,
                    expires_at,
                };
                Decision::accept(vec![event.into()], ())
            }
            (SessionCommand::End { .. }, None) => Decision::refuse(SessionRefusal::Unknown),
            (SessionCommand::End { reason }, Some(_)) => Decision::accept(
                vec![
                    SessionEnded {
                        reason: reason.clone(),
                    }
                    .into(),
                ],
                (),
            ),
        }
    }

    fn evolve(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::SessionStarted(event) => {
                self.login = Some(Login {
                    subject: event.subject,
                    authenticated_at: event.authenticated_at,
                    amr: event.amr,
                    digest: event.digest,
                    password_generation: event.password_generation,
                    expires_at: event.expires_at,
                });
            }
            SessionEvent::SessionReauthenticated(event) => {
                if let Some(login) = &mut self.login {
                    login.authenticated_at = event.authenticated_at;
                    login.amr = event.amr;
                    login.digest = event.digest;
                    login.password_generation = event.password_generation;
                    login.expires_at = event.expires_at;
                }
            }
            SessionEvent::SessionEnded(_) => self.login = None,
        }
    }
}

aggregate!(
    Session,
    Session,
    "session",
    SessionCommand,
    SessionEvent,
    SessionRefusal
);
