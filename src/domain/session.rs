//! The `session` aggregate: one browser login.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::openid::{OFFLINE_ACCESS, OPENID};
use super::user::User;
use super::value::{Digest, ScopeSet};
use super::{Decision, aggregate};
use crate::clock::Timestamp;
use crate::ids::{ClientKey, SubjectId};

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
            /// Why, in a word: `logout`, `rp_logout`, `user` (at the account's pages), `administrator`, `replaced`, `switched`,
            /// `password_changed`, `user_disabled`, `user_erased`, `contained`,
            /// `epoch` (a new one of the ledger began).
            reason: String,
            /// Which of the grants that were given in it end with it; none (in events of earlier builds) means `none`.
            revokes: Option<SessionEndRevokes>,
        },
        /// A client was told that the session is over, and took note (OpenID Connect Back-Channel Logout 1.0).
        BackchannelLogoutDelivered 1 {
            /// Which client.
            client: ClientKey,
            /// How often it was tried.
            attempts: u32,
        },
        /// A client could not be told that the session is over; it is not tried again.
        BackchannelLogoutAbandoned 1 {
            /// Which client.
            client: ClientKey,
            /// How often it was tried.
            attempts: u32,
            /// What went wrong the last time, in a word: `timeout`, `status_503`.
            error: String,
        },
    }
}

/// Which of the grants that were given in a session end with it (OpenID Connect Back-Channel Logout §2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEndRevokes {
    /// None of them.
    None,
    /// Those with `openid` and without `offline_access`: they are for while the user is there.
    Online,
    /// All of them.
    All,
}

impl SessionEndRevokes {
    /// Whether a grant with this scope ends.
    #[must_use]
    pub fn covers(self, scope: &ScopeSet) -> bool {
        match self {
            Self::None => false,
            Self::Online => scope.contains(OPENID) && !scope.contains(OFFLINE_ACCESS),
            Self::All => true,
        }
    }
}

/// A session's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// None before the login and after the end.
    pub login: Option<Login>,
    /// Once it is over: which grants ended with it.
    #[serde(default)]
    pub ended: Option<SessionEndRevokes>,
    /// Clients that were told of the end, or given up.
    #[serde(default)]
    pub told: BTreeSet<ClientKey>,
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
        /// Which of its grants end with it.
        revokes: SessionEndRevokes,
    },
    /// Note that a client was told of the end, or given up.
    Told(SessionEvent),
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
                && user
                    .fresh_login_since
                    .is_none_or(|since| login.authenticated_at >= since)
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
            (SessionCommand::End { reason, revokes }, Some(_)) => Decision::accept(
                vec![
                    SessionEnded {
                        reason: reason.clone(),
                        revokes: Some(*revokes),
                    }
                    .into(),
                ],
                (),
            ),
            (SessionCommand::Told(event), _) => {
                let known = told_client(event).is_none_or(|client| self.told.contains(&client));
                let events = if known { Vec::new() } else { vec![event.clone()] };
                Decision::accept(events, ())
            }
        }
    }

    /// Whether a grant that was given in this session, with this scope, ended with it.
    #[must_use]
    pub fn took(&self, scope: &ScopeSet) -> bool {
        self.ended.is_some_and(|revokes| revokes.covers(scope))
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
            SessionEvent::SessionEnded(event) => {
                self.login = None;
                self.ended = Some(event.revokes.unwrap_or(SessionEndRevokes::None));
            }
            SessionEvent::BackchannelLogoutDelivered(_) | SessionEvent::BackchannelLogoutAbandoned(_) => {
                self.told.extend(told_client(&event));
            }
        }
    }
}

/// The client that an event says was told, or given up.
fn told_client(event: &SessionEvent) -> Option<ClientKey> {
    match event {
        SessionEvent::BackchannelLogoutDelivered(event) => Some(event.client),
        SessionEvent::BackchannelLogoutAbandoned(event) => Some(event.client),
        SessionEvent::SessionStarted(_)
        | SessionEvent::SessionReauthenticated(_)
        | SessionEvent::SessionEnded(_) => None,
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
