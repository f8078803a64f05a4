//! A user as administrators are shown it: with what is personal decrypted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Operations;
use super::legal_hold::StandingHold;
use super::user::{Profile, parse_subject};
use crate::clock::Timestamp;
use crate::domain::user::User;
use crate::ids::SubjectId;
use crate::ledger::LedgerError;

/// Whether a user can log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// They can.
    Active,
    /// Not until they are enabled.
    Disabled,
    /// Never again: their data is destroyed.
    Erased,
}

/// A user, as far as it may be shown.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownUser {
    /// The subject's id.
    pub sub: SubjectId,
    /// Whether they can log in.
    pub state: UserState,
    /// What else there is to be shown; nothing of whom was erased.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<UserDetails>,
}

/// A user's account.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UserDetails {
    /// The login name.
    pub username: String,
    /// The display name.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether there is a password.
    pub has_password: bool,
    /// The legal hold that keeps the user's data, where one does.
    pub legal_hold: Option<StandingHold>,
    /// When the claims were last changed, where that was ever done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// Further claims of OpenID Connect, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<&'static str, Value>,
}

impl Operations {
    /// The user of that login name or id; none where there is no such user, and never was.
    pub async fn known_user(&self, user: &str) -> Result<Option<SubjectId>, LedgerError> {
        if let Some(subject) = self.find_user(user).await? {
            return Ok(Some(subject));
        }
        let Some(subject) = parse_subject(user) else {
            return Ok(None);
        };
        let exists = self.load::<User>(subject.0).await?.exists();
        Ok(exists.then_some(subject))
    }

    /// A user, with what is personal decrypted.
    pub async fn shown_user(&self, subject: SubjectId) -> Result<ShownUser, LedgerError> {
        let erased = ShownUser {
            sub: subject,
            state: UserState::Erased,
            details: None,
        };
        let user = self.load::<User>(subject.0).await?;
        let Some(account) = &user.account else {
            return Ok(erased);
        };
        let Some(profile) = self.profile(subject, account).await? else {
            return Ok(erased);
        };
        let Profile {
            username,
            name,
            email,
            claims,
            updated_at,
        } = profile;
        let claims = claims.into_iter().map(|(claim, value)| (claim.name(), value));
        Ok(ShownUser {
            sub: subject,
            state: if account.disabled {
                UserState::Disabled
            } else {
                UserState::Active
            },
            details: Some(UserDetails {
                username,
                name,
                email,
                has_password: account.password.is_some(),
                legal_hold: self.standing_hold(subject).await?,
                updated_at,
                claims: claims.collect(),
            }),
        })
    }
}
