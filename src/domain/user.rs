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
        /// The user's data must be kept: erasure is refused, and so is the detachment of what the user's grants did.
        LegalHoldPlaced 1 {
            /// Why, in the administrator's words (sealed: it may name persons).
            reason: Sealed,
            /// When the hold ends by itself; none where somebody must lift it.
            until: Option<Timestamp>,
        },
        /// The hold is over.
        LegalHoldLifted 1 {
            /// Why, in the administrator's words (sealed: it may name persons).
            reason: Option<Sealed>,
        },
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
    /// Why it must be kept, where it must.
    pub legal_hold: Option<LegalHold>,
}

/// Why, and until when, a user's data must be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegalHold {
    /// In the administrator's words (sealed).
    pub reason: Sealed,
    /// When it ends by itself; none where somebody must lift it.
    pub until: Option<Timestamp>,
}

impl LegalHold {
    /// Whether it is still in force at a moment.
    #[must_use]
    pub fn holds_at(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| at < until)
    }

    /// Whether this hold ends before another does.
    fn is_shorter_than(&self, other: &Self) -> bool {
        match (self.until, other.until) {
            (Some(_), None) => true,
            (Some(mine), Some(other)) => mine < other,
            (None, _) => false,
        }
    }
}

impl Account {
    /// Whether it must be kept at a moment.
    #[must_use]
    pub fn is_held_at(&self, at: Timestamp) -> bool {
        self.legal_hold.as_ref().is_some_and(|hold| hold.holds_at(at))
    }

    /// A later hold may say more and last longer, never less.
    fn place_hold(&self, hold: &LegalHold, at: Timestamp) -> Decision<UserEvent, (), UserRefusal> {
        let standing = self.legal_hold.as_ref().filter(|standing| standing.holds_at(at));
        if standing.is_some_and(|standing| hold.is_shorter_than(standing)) {
            return Decision::refuse(UserRefusal::HoldLasts);
        }
        let LegalHold { reason, until } = hold.clone();
        Decision::accept(vec![LegalHoldPlaced { reason, until }.into()], ())
    }

    fn lift_hold(&self, reason: &Sealed) -> Decision<UserEvent, (), UserRefusal> {
        if self.legal_hold.is_none() {
            return Decision::refuse(UserRefusal::NoHold);
        }
        let reason = Some(reason.clone());
        Decision::accept(vec![LegalHoldLifted { reason }.into()], ())
    }

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
        /// Why, and until when.
        hold: LegalHold,
        /// When.
        at: Timestamp,
    },
    /// End the hold.
    LiftHold {
        /// Why.
        reason: Sealed,
    },
    /// Erase the subject.
    Erase {
        /// When: a hold may be over by itself.
        at: Timestamp,
    },
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
    /// The hold that is placed lasts longer.
    #[error(
        "the hold that is placed lasts longer: it ends by `user release` only, so that nobody shortens it unseen"
    )]
    HoldLasts,
    /// There is no hold to lift.
    #[error("no legal hold is placed on this user")]
    NoHold,
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
                | UserCommand::LiftHold { .. }
                | UserCommand::Erase { .. } => Decision::refuse(UserRefusal::Unknown),
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
            UserCommand::PlaceHold { hold, at } => return account.place_hold(hold, *at),
            UserCommand::LiftHold { reason } => return account.lift_hold(reason),
            UserCommand::Erase { at } if account.is_held_at(*at) => {
                return Decision::refuse(UserRefusal::LegalHold);
            }
            UserCommand::Erase { .. } => SubjectKeyDestroyed {}.into(),
            UserCommand::Disable { .. } | UserCommand::Enable => return Decision::accept(Vec::new(), ()),
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
                    legal_hold: None,
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
            UserEvent::LegalHoldPlaced(LegalHoldPlaced { reason, until }) => {
                account.legal_hold = Some(LegalHold { reason, until });
            }
            UserEvent::LegalHoldLifted(_) => account.legal_hold = None,
            UserEvent::UserRegistered(_)
            | UserEvent::SubjectKeyDestroyed(_)
            | UserEvent::FreshLoginRequired(_) => {}
        }
    }
}

aggregate!(User, User, "user", UserCommand, UserEvent, UserRefusal);

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    fn hold(until: Option<i64>) -> LegalHold {
        LegalHold {
            reason: Sealed("sealed".to_owned()),
            until: until.map(at),
        }
    }

    fn user() -> User {
        let mut user = User::default();
        user.evolve(
            UserRegistered {
                username: Sealed("sealed".to_owned()),
                name: None,
                email: None,
                password: None,
                imported: None,
            }
            .into(),
        );
        user
    }

    fn decide(user: &mut User, command: &UserCommand) -> Result<(), UserRefusal> {
        let Decision { events, outcome } = user.decide(command);
        for event in events {
            user.evolve(event);
        }
        outcome
    }

    #[test]
    fn a_hold_refuses_an_erasure_until_it_is_lifted_or_over_and_is_never_shortened() {
        let mut user = user();
        let place = |until, hours| UserCommand::PlaceHold {
            hold: hold(until),
            at: at(hours),
        };
        let lift = UserCommand::LiftHold {
            reason: Sealed("sealed".to_owned()),
        };
        assert_eq!(decide(&mut user, &lift), Err(UserRefusal::NoHold));
        decide(&mut user, &place(Some(10), 0)).unwrap();
        let erase = |hours| UserCommand::Erase { at: at(hours) };
        assert_eq!(decide(&mut user, &erase(9)), Err(UserRefusal::LegalHold));
        assert_eq!(user.decide(&erase(10)).outcome, Ok(()), "it is over by itself");
        assert_eq!(decide(&mut user, &place(Some(9), 1)), Err(UserRefusal::HoldLasts));
        decide(&mut user, &place(None, 1)).unwrap();
        assert_eq!(
            decide(&mut user, &place(Some(99), 2)),
            Err(UserRefusal::HoldLasts)
        );
        assert_eq!(decide(&mut user, &erase(1000)), Err(UserRefusal::LegalHold));
        decide(&mut user, &lift).unwrap();
        decide(&mut user, &erase(3)).unwrap();
        assert!(user.erased);
        assert_eq!(decide(&mut user, &place(None, 4)), Err(UserRefusal::Unknown));
    }
}
