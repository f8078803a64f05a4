//! Resource owners. Personal data is sealed under the subject's key before it becomes an event.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::profile::{ProfilePatch, check_email, check_name};
use super::{OperationError, Operations, run};
use crate::clock::Timestamp;
use crate::crypto::CryptoError;
use crate::crypto::password::Verified;
use crate::crypto::vault::{KeyOwner, Place};
use crate::domain::claim_value;
use crate::domain::openid::Claim;
use crate::domain::user::{Account, ProfileUpdated, User, UserCommand, UserRefusal, UserRegistered};
use crate::domain::value::{Sealed, is_plain_text, steers};
use crate::ids::SubjectId;
use crate::ledger::{Context, LedgerError};

/// The kind of name under which user names are unique.
pub const USERNAME: &str = "username";
/// The kind of name under which e-mail addresses are unique.
pub const EMAIL: &str = "email";

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPassword {
    /// Too short or too long.
    #[error("it needs 8 to 1024 characters")]
    Length,
    /// The user name, whose case is ignored.
    #[error("it is the user name")]
    Username,
    /// The one that is to be replaced.
    #[error("it is the current password")]
    Current,
}

impl From<UnfitPassword> for OperationError {
    fn from(unfit: UnfitPassword) -> Self {
        Self::invalid("password", unfit.to_string())
    }
}

/// What a password must be whoever sets it: 8 to 1024 characters, and not the user name.
pub fn check_password(password: &str, username: &str) -> Result<(), UnfitPassword> {
    if !(8..=1024).contains(&password.chars().count()) {
        return Err(UnfitPassword::Length);
    }
    if canonical_username(password) == canonical_username(username) {
        return Err(UnfitPassword::Username);
    }
    Ok(())
}

/// A user to register.
#[derive(Clone, Default)]
pub struct NewUser {
    /// The login name: 1 to 128 characters, none of them white space or control characters; case is ignored.
    pub username: String,
    /// The display name.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The password: 8 to 1024 characters.
    pub password: Option<String>,
}

/// A user's personal data, decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The login name.
    pub username: String,
    /// The display name.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// Further claims of OpenID Connect.
    pub claims: BTreeMap<Claim, Value>,
    /// When the claims were last changed, where that was ever done.
    pub updated_at: Option<Timestamp>,
}

/// Where a field of a user is sealed for. Events hand sealed values on, so the event type is not part of it.
#[must_use]
pub fn place(subject: SubjectId, field: &'static str) -> Place<'static> {
    Place {
        aggregate_type: "user",
        aggregate_id: subject.0,
        event_type: "*",
        field,
    }
}

/// The spelling of a user name under which it is unique and looked up.
#[must_use]
pub fn canonical_username(username: &str) -> String {
    username.trim().to_lowercase()
}

impl Operations {
    /// Registers a user.
    pub async fn create_user(&self, context: &Context, user: NewUser) -> Result<SubjectId, OperationError> {
        self.create_user_with(context, user, &ProfilePatch::default())
            .await
    }

    /// Registers a user with further claims.
    pub async fn create_user_with(
        &self,
        context: &Context,
        user: NewUser,
        further: &ProfilePatch,
    ) -> Result<SubjectId, OperationError> {
        check_username(&user.username)?;
        let NewUser {
            username,
            name,
            email,
            password,
        } = user;
        let (name, email) = (further.name.clone().or(name), further.email.clone().or(email));
        email.as_deref().map_or(Ok(()), check_email)?;
        name.as_deref().map_or(Ok(()), check_name)?;
        let password = match password {
            Some(password) => {
                check_password(&password, &username)?;
                Some(self.hasher.hash(password).await?)
            }
            None => None,
        };
        let subject = SubjectId(self.ledger.random().uuid().map_err(LedgerError::from)?);
        let sealed = UserRegistered {
            username: self.seal(subject, "username", username.trim()).await?,
            name: self.seal_some(subject, "name", name.as_deref()).await?,
            email: self.seal_some(subject, "email", email.as_deref()).await?,
            password: self.seal_some(subject, "password", password.as_deref()).await?,
            imported: None,
        };
        let claims = if further.claims.is_empty() {
            None
        } else {
            let key = self
                .ledger
                .vault()
                .find_or_create(&KeyOwner::subject(subject))
                .await;
            let key = key.map_err(LedgerError::from)?;
            Some(self.seal_claims((subject, &key), further)?)
        };
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let state = unit.load::<User>(subject.0).await?;
            unit.claim::<User>(USERNAME, &canonical_username(&username), subject.0);
            if let Some(email) = &email {
                unit.claim::<User>(EMAIL, &email.to_lowercase(), subject.0);
            }
            let mut decision = state.decide(&UserCommand::Register(sealed.clone()));
            if decision.outcome.is_ok() {
                decision.events.extend(claims.clone().map(Into::into));
            }
            if let Some(concluded) = unit.conclude(&state, decision).await? {
                return Ok(concluded.outcome.map(|()| subject)?);
            }
        }
    }

    /// The user with that login name.
    pub async fn find_user(&self, username: &str) -> Result<Option<SubjectId>, LedgerError> {
        Ok(self
            .ledger
            .find_name(USERNAME, &canonical_username(username))
            .await?
            .map(SubjectId))
    }

    /// Sets a new password: every session and every token of the user ends.
    pub async fn set_password(
        &self,
        context: &Context,
        subject: SubjectId,
        password: String,
    ) -> Result<(), OperationError> {
        let user = self.load::<User>(subject.0).await?;
        let account = user.account.as_ref().ok_or(UserRefusal::Unknown)?;
        let sealed = self.seal_password(subject, account, password).await?;
        Ok(run!(
            self,
            context,
            User,
            subject.0,
            &UserCommand::ChangePassword(sealed)
        )
        .outcome?)
    }

    /// The event's form of a new password for this account, if it may be one: its hash, sealed.
    pub async fn seal_password(
        &self,
        subject: SubjectId,
        account: &Account,
        password: String,
    ) -> Result<Sealed, OperationError> {
        let profile = self.profile(subject, account).await?;
        let profile = profile.ok_or(UserRefusal::Unknown)?;
        check_password(&password, &profile.username)?;
        let current = self.password_hash(subject, account).await?;
        if current.is_some() && self.hasher.verify(password.clone(), current).await? != Verified::No {
            return Err(UnfitPassword::Current.into());
        }
        let hash = self.hasher.hash(password).await?;
        self.seal_existing(subject, "password", &hash).await
    }

    /// Stores the same password under today's parameters: nothing ends.
    pub async fn rehash_password(
        &self,
        context: &Context,
        subject: SubjectId,
        hash: &str,
    ) -> Result<(), OperationError> {
        let sealed = self.seal_existing(subject, "password", hash).await?;
        Ok(run!(
            self,
            context,
            User,
            subject.0,
            &UserCommand::RehashPassword(sealed)
        )
        .outcome?)
    }

    /// Changes profile claims; absent ones stay.
    pub async fn update_profile(
        &self,
        context: &Context,
        subject: SubjectId,
        name: Option<&str>,
    ) -> Result<(), OperationError> {
        let name = match name {
            Some(name) if !is_plain_text(name) => {
                return Err(OperationError::invalid(
                    "name",
                    "it has a character that controls the text's direction or the terminal",
                ));
            }
            Some(name) => Some(self.seal_existing(subject, "name", name).await?),
            None => None,
        };
        let command = UserCommand::UpdateProfile(ProfileUpdated { name, email: None });
        Ok(run!(self, context, User, subject.0, &command).outcome?)
    }

    /// Lets a user act no more: sessions and tokens end at once.
    pub async fn disable_user(
        &self,
        context: &Context,
        subject: SubjectId,
        reason: &str,
    ) -> Result<(), OperationError> {
        let command = UserCommand::Disable {
            reason: reason.to_owned(),
        };
        Ok(run!(self, context, User, subject.0, &command).outcome?)
    }

    /// Lets a user act again. What ended stays ended.
    pub async fn enable_user(&self, context: &Context, subject: SubjectId) -> Result<(), OperationError> {
        Ok(run!(self, context, User, subject.0, &UserCommand::Enable).outcome?)
    }

    /// A user's personal data; none once its key is destroyed.
    pub async fn profile(
        &self,
        subject: SubjectId,
        account: &Account,
    ) -> Result<Option<Profile>, LedgerError> {
        let Some(key) = self.ledger.vault().find(&KeyOwner::subject(subject)).await? else {
            return Ok(None);
        };
        let open = |field, sealed: &Sealed| key.open(&place(subject, field), sealed);
        Ok(Some(Profile {
            username: open("username", &account.username)?,
            name: account.name.as_ref().map(|name| open("name", name)).transpose()?,
            email: account
                .email
                .as_ref()
                .map(|email| open("email", email))
                .transpose()?,
            claims: account
                .claims
                .iter()
                .map(|(claim, sealed)| Ok((*claim, open(claim.name(), sealed)?)))
                .filter_map(|opened: Result<(Claim, String), CryptoError>| match opened {
                    Ok((claim, text)) => Some(Ok((claim, claim_value::restore(claim, &text)?))),
                    Err(error) => Some(Err(error)),
                })
                .collect::<Result<_, _>>()?,
            updated_at: account.updated_at,
        }))
    }

    /// The PHC string of a user's password; none where there is none, or its key is destroyed.
    pub async fn password_hash(
        &self,
        subject: SubjectId,
        account: &Account,
    ) -> Result<Option<String>, LedgerError> {
        let Some(sealed) = &account.password else {
            return Ok(None);
        };
        let key = self.ledger.vault().find(&KeyOwner::subject(subject)).await?;
        Ok(key
            .map(|key| key.open(&place(subject, "password"), sealed))
            .transpose()?)
    }

    async fn seal(
        &self,
        subject: SubjectId,
        field: &'static str,
        value: &str,
    ) -> Result<Sealed, LedgerError> {
        let vault = self.ledger.vault();
        let key = vault.find_or_create(&KeyOwner::subject(subject)).await?;
        Ok(key.seal(vault.random(), &place(subject, field), value)?)
    }

    async fn seal_some(
        &self,
        subject: SubjectId,
        field: &'static str,
        value: Option<&str>,
    ) -> Result<Option<Sealed>, LedgerError> {
        match value {
            Some(value) => Ok(Some(self.seal(subject, field, value).await?)),
            None => Ok(None),
        }
    }

    /// As [`Self::seal`], but makes no key: an erased or unknown subject gets no new one.
    pub(super) async fn seal_existing(
        &self,
        subject: SubjectId,
        field: &'static str,
        value: &str,
    ) -> Result<Sealed, OperationError> {
        let vault = self.ledger.vault();
        let key = vault
            .find(&KeyOwner::subject(subject))
            .await
            .map_err(LedgerError::from)?;
        let key = key.ok_or(UserRefusal::Unknown)?;
        Ok(key
            .seal(vault.random(), &place(subject, field), value)
            .map_err(LedgerError::from)?)
    }
}

pub(crate) fn check_username(username: &str) -> Result<(), OperationError> {
    let trimmed = username.trim();
    let fits = (1..=128).contains(&trimmed.chars().count());
    if !fits || trimmed.chars().any(|c| c.is_whitespace() || steers(c)) {
        return Err(OperationError::invalid(
            "username",
            "it needs 1 to 128 characters, none of them white space",
        ));
    }
    Ok(())
}

/// Reads a subject's id.
#[must_use]
pub fn parse_subject(text: &str) -> Option<SubjectId> {
    Uuid::parse_str(text).ok().map(SubjectId)
}
