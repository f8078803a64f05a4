//! The `user` aggregate: a resource owner. Personal data is sealed under the subject's key before it gets here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::openid::Claim;
use super::value::Sealed;
use super::{Decision, aggregate};
use crate::clock::Timestamp;

events! {
    /// Events of one resource owner.
    pub enum UserEvent of "user" {
        /// An account was opened.
        UserRegistered 1 {
            /// The login name (sealed).
            username: Sealed,
            /// The display name (sealed).
            name: Option<Sealed>,
            /// The e-mail address (sealed).
            email: Option<Sealed>,
            /// The hash of the password (sealed): argon2id in PHC form, or the bcrypt hash of an imported user.
            password: Option<Sealed>,
            /// Which import brought the account; none where it was opened here.
            imported: Option<String>,
        },
        /// A new password: ends every session and refresh token of the user.
        PasswordChanged 1 {
            /// The argon2id hash of the password, in PHC form (sealed).
            password: Sealed,
        },
        /// The same password under stronger parameters: ends nothing.
        PasswordRehashed 1 {
            /// The argon2id hash of the password, in PHC form (sealed).
            password: Sealed,
        },
        /// Profile claims changed; absent ones stay.
        ProfileUpdated 1 {
            /// The display name (sealed).
            name: Option<Sealed>,
            /// The e-mail address (sealed).
            email: Option<Sealed>,
        },
        /// Claims of OpenID Connect changed; those that are not named stay.
        ClaimsUpdated 1 {
            /// Claims that the user has from now on, by name (sealed).
            claims: BTreeMap<Claim, Sealed>,
            /// Claims that the user has no more.
            removed: Vec<Claim>,
            /// When.
            at: Timestamp,
        },
        /// The user may not act any more: sessions, refresh tokens and access tokens end.
        UserDisabled 1 {
            /// Why, in the administrator's words.
            reason: String,
        },
        /// The user may act again; what ended stays ended.
        UserEnabled 1 {},
        /// Logins of before are good no more: whoever acts logs in again. Grants stay.
        FreshLoginRequired 1 {
            /// From when on a login is good.
            since: Timestamp,
            /// Why.
            reason: String,
        },
        /// The user's data must be kept: erasure is refused.
        LegalHoldPlaced 1 {
            /// Why, in the administrator's words.
            reason: String,
        },
        /// The hold is over.
        LegalHoldLifted 1 {},
        /// The subject was erased: the key to all its personal data is gone.
        SubjectKeyDestroyed 1 {},
    }
}

/// A user's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// None before registration and after erasure.
    pub account: Option<Account>,
    /// How often the password changed or the account was disabled: what was issued under a lower number is over.
    pub password_generation: u32,
    /// Whether the account was erased.
    pub erased: bool,
    /// From when on a login is good.
    #[serde(default)]
    pub fresh_login_since: Option<Timestamp>,
}

/// An account that has not been erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The login name (sealed).
    pub username: Sealed,
    /// The display name (sealed).
    pub name: Option<Sealed>,
    /// The e-mail address (sealed).
    pub email: Option<Sealed>,
    /// The password's hash (sealed).
    pub password: Option<Sealed>,
    /// Further claims of OpenID Connect (sealed).
    #[serde(default)]
    pub claims: BTreeMap<Claim, Sealed>,
    /// When the claims were last changed, where that was ever done.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
    /// Whether it may not act.
    pub disabled: bool,
    /// Whether it must be kept.
    pub legal_hold: bool,
}

impl Account {
    fn update(&mut self, event: ClaimsUpdated) {
        let ClaimsUpdated { claims, removed, at } = event;
        if claims.contains_key(&Claim::PhoneNumber) || removed.contains(&Claim::PhoneNumber) {
            self.claims.remove(&Claim::PhoneNumberVerified);
        }
        self.claims.retain(|claim, _| !removed.contains(claim));
        self.claims.extend(claims);
        self.updated_at = Some(at);
    }
}

/// Commands on a user.
#[derive(Clone, Debug)]
pub enum UserCommand {
    /// Open the account.
    Register(UserRegistered),
    /// Set a new password.
    ChangePassword(Sealed),
    /// Store the same password under stronger parameters.
    RehashPassword(Sealed),
    /// Change profile claims.
    UpdateProfile(ProfileUpdated),
    /// Change name and address, if any, and further claims, at once.
    Amend(Option<ProfileUpdated>, ClaimsUpdated),
    /// Let the user act no more.
    Disable {
        /// Why.
        reason: String,
    },
    /// Let no login of before be good.
    RequireFreshLogin {
        /// From when on a login is good.
        since: Timestamp,
        /// Why.
        reason: String,
    },
    /// Let the user act again.
    Enable,
    /// Keep the data whatever is asked.
    PlaceHold {
        /// Why.
        reason: String,
    },
    /// End the hold.
    LiftHold,
    /// Erase the subject.
    Erase,
}

/// Why a user command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserRefusal {
    /// The id is in use.
    #[error("this user exists already")]
    Exists,
    /// Never registered, or erased.
    #[error("there is no such user")]
    Unknown,
    /// The data must be kept.
    #[error("a legal hold is placed on this user: it cannot be erased before the hold is lifted")]
    LegalHold,
}

impl User {
    /// Whether it can log in, consent, and have its tokens refreshed.
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.account.as_ref().is_some_and(|account| !account.disabled)
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &UserCommand) -> Decision<UserEvent, (), UserRefusal> {
        let Some(account) = &self.account else {
            return match command {
                UserCommand::Register(event) if !self.erased => {
                    Decision::accept(vec![event.clone().into()], ())
                }
                UserCommand::Register(_)
                | UserCommand::ChangePassword(_)
                | UserCommand::RehashPassword(_)
                | UserCommand::UpdateProfile(_)
                | UserCommand::Amend(..)
                | UserCommand::Disable { .. }
                | UserCommand::RequireFreshLogin { .. }
                | UserCommand::Enable
                | UserCommand::PlaceHold { .. }
                | UserCommand::LiftHold
                | UserCommand::Erase => Decision::refuse(UserRefusal::Unknown),
            };
        };
        let event: UserEvent = match command {
            UserCommand::Register(_) => return Decision::refuse(UserRefusal::Exists),
            UserCommand::ChangePassword(password) => PasswordChanged {
                password: password.clone(),
            }
            .into(),
            UserCommand::RehashPassword(password) => PasswordRehashed {
                password: password.clone(),
            }
            .into(),
            UserCommand::UpdateProfile(event) => event.clone().into(),
            UserCommand::Amend(profile, claims) => {
                let profile = profile.clone().map(UserEvent::from);
                let events = profile.into_iter().chain([claims.clone().into()]);
                return Decision::accept(events.collect(), ());
            }
            UserCommand::Disable { reason } if !account.disabled => UserDisabled {
                reason: reason.clone(),
            }
            .into(),
            UserCommand::RequireFreshLogin { since, reason } => FreshLoginRequired {
                since: *since,
                reason: reason.clone(),
            }
            .into(),
            UserCommand::Enable if account.disabled => UserEnabled {}.into(),
            UserCommand::PlaceHold { reason } if !account.legal_hold => LegalHoldPlaced {
                reason: reason.clone(),
            }
            .into(),
            UserCommand::LiftHold if account.legal_hold => LegalHoldLifted {}.into(),
            UserCommand::Erase if account.legal_hold => return Decision::refuse(UserRefusal::LegalHold),
            UserCommand::Erase => SubjectKeyDestroyed {}.into(),
            UserCommand::Disable { .. }
            | UserCommand::Enable
            | UserCommand::PlaceHold { .. }
            | UserCommand::LiftHold => return Decision::accept(Vec::new(), ()),
        };
        Decision::accept(vec![event], ())
    }

    fn evolve(&mut self, event: UserEvent) {
        match event {
            UserEvent::UserRegistered(UserRegistered {
                username,
                name,
                email,
                password,
                imported: _,
            }) => {
                self.account = Some(Account {
                    username,
                    name,
                    email,
                    password,
                    claims: BTreeMap::new(),
                    updated_at: None,
                    disabled: false,
                    legal_hold: false,
                });
            }
            UserEvent::FreshLoginRequired(event) => self.fresh_login_since = Some(event.since),
            UserEvent::SubjectKeyDestroyed(_) => {
                self.account = None;
                self.erased = true;
                self.password_generation += 1;
            }
            UserEvent::PasswordChanged(_) | UserEvent::UserDisabled(_) => {
                self.password_generation += 1;
                self.evolve_account(event);
            }
            UserEvent::PasswordRehashed(_)
            | UserEvent::ProfileUpdated(_)
            | UserEvent::ClaimsUpdated(_)
            | UserEvent::UserEnabled(_)
            | UserEvent::LegalHoldPlaced(_)
            | UserEvent::LegalHoldLifted(_) => self.evolve_account(event),
        }
    }

    fn evolve_account(&mut self, event: UserEvent) {
        let Some(account) = &mut self.account else { return };
        match event {
            UserEvent::PasswordChanged(PasswordChanged { password })
            | UserEvent::PasswordRehashed(PasswordRehashed { password }) => account.password = Some(password),
            UserEvent::ProfileUpdated(ProfileUpdated { name, email }) => {
                account.name = name.or_else(|| account.name.take());
                // Whoever controlled the address of before need not control this one.
                if email.is_some() {
                    account.claims.remove(&Claim::EmailVerified);
                }
                account.email = email.or_else(|| account.email.take());
            }
            UserEvent::ClaimsUpdated(event) => account.update(event),
            UserEvent::UserDisabled(_) => account.disabled = true,
            UserEvent::UserEnabled(_) => account.disabled = false,
            UserEvent::LegalHoldPlaced(_) => account.legal_hold = true,
            UserEvent::LegalHoldLifted(_) => account.legal_hold = false,
            UserEvent::UserRegistered(_)
            | UserEvent::SubjectKeyDestroyed(_)
            | UserEvent::FreshLoginRequired(_) => {}
        }
    }
}

aggregate!(User, User, "user", UserCommand, UserEvent, UserRefusal);
