//! Resource owners. Personal data is sealed under the subject's key before it becomes an event.

use uuid::Uuid;

use super::{OperationError, Operations, run};
use crate::crypto::vault::{KeyOwner, Place};
use crate::domain::user::{Account, ProfileUpdated, User, UserCommand, UserRegistered};
use crate::domain::value::Sealed;
use crate::ids::SubjectId;
use crate::ledger::{Context, LedgerError};

/// The kind of name under which user names are unique.
pub const USERNAME: &str = "username";
/// The kind of name under which e-mail addresses are unique.
pub const EMAIL: &str = "email";

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
        check_username(&user.username)?;
        let NewUser {
            username,
            name,
            email,
            password,
        } = user;
        if email
            .as_deref()
            .is_some_and(|email| email.len() > 254 || !email.contains('@'))
        {
            return Err(OperationError::invalid("email", "it is not an e-mail address"));
        }
        if name
            .as_deref()
            .is_some_and(|name| name.len() > 256 || name.contains('\0'))
        {
            return Err(OperationError::invalid(
                "name",
                "it is longer than 256 bytes, or has a NUL",
            ));
        }
        let password = match password {
            Some(password) => Some(self.hash_password(password).await?),
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
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let state = unit.load::<User>(subject.0).await?;
            unit.claim::<User>(USERNAME, &canonical_username(&username), subject.0);
            if let Some(email) = &email {
                unit.claim::<User>(EMAIL, &email.to_lowercase(), subject.0);
            }
            let decision = state.decide(&UserCommand::Register(sealed.clone()));
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
        let hash = self.hash_password(password).await?;
        let sealed = self.seal_existing(subject, "password", &hash).await?;
        Ok(run!(
            self,
            context,
            User,
            subject.0,
            &UserCommand::ChangePassword(sealed)
        )
        .outcome?)
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

    /// Erases a user: the names are given up, the keys destroyed; what the ledger holds of the user can be
    /// read by nobody any more.
    pub async fn erase_user(&self, context: &Context, subject: SubjectId) -> Result<(), OperationError> {
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let user = unit.load::<User>(subject.0).await?;
            if let Some(account) = &user.account {
                let profile = self.profile(subject, account).await?;
                if let Some(Profile { username, email, .. }) = profile {
                    unit.release::<User>(USERNAME, &canonical_username(&username), subject.0);
                    if let Some(email) = email {
                        unit.release::<User>(EMAIL, &email.to_lowercase(), subject.0);
                    }
                }
            }
            let decision = user.decide(&UserCommand::Erase);
            if let Some(concluded) = unit.conclude(&user, decision).await? {
                concluded.outcome?;
                break;
            }
        }
        // After the event, so that a crash in between leaves an erased user whose keys a repetition destroys.
        self.ledger
            .vault()
            .destroy(subject)
            .await
            .map_err(LedgerError::from)?;
        Ok(())
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

    async fn hash_password(&self, password: String) -> Result<String, OperationError> {
        if !(8..=1024).contains(&password.chars().count()) {
            return Err(OperationError::invalid(
                "password",
                "it needs 8 to 1024 characters",
            ));
        }
        Ok(self.hasher.hash(password).await?)
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
    async fn seal_existing(
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
        let key = key.ok_or(crate::domain::user::UserRefusal::Unknown)?;
        Ok(key
            .seal(vault.random(), &place(subject, field), value)
            .map_err(LedgerError::from)?)
    }
}

pub(crate) fn check_username(username: &str) -> Result<(), OperationError> {
    let trimmed = username.trim();
    let fits = (1..=128).contains(&trimmed.chars().count());
    if !fits || trimmed.chars().any(|c| c.is_whitespace() || c.is_control()) {
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
