//! The browser login: its cookie, and finding it again.
//!
//! The cookie is base64url of the session's id and 32 random bytes. Only SHA-256 of the random part is in the
//! ledger, and it is renewed at every login, so that a cookie planted before (session fixation) is worth
//! nothing after.

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use uuid::Uuid;

use super::cookie::Cookie;
use super::page::Account;
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::session::{Login, Session, SessionCommand, SessionRefusal};
use crate::domain::user::User;
use crate::domain::value::Digest;
use crate::ids::{SessionId, SubjectId};
use crate::ledger::{Context, LedgerError, Loaded, UnitOfWork};
use crate::operations::user::Profile;

/// Carries the login.
pub const SESSION_COOKIE: Cookie = Cookie("grantlog_session");

/// A session cookie, taken apart. It proves nothing until its digest is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The session that it names.
    pub id: SessionId,
    /// SHA-256 of its random part.
    pub digest: Digest,
}

/// A login that holds.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// Its id.
    pub id: SessionId,
    /// Who logged in, when and how.
    pub login: Login,
    /// The user, as the unit of work loaded it.
    pub user: Loaded<User>,
}

impl LiveSession {
    /// The account in words that its owner knows.
    pub async fn account(&self, app: &App) -> Result<Account, LedgerError> {
        let profile = match &self.user.account {
            Some(account) => app.operations.profile(self.login.subject, account).await?,
            None => None,
        };
        Ok(match profile {
            Some(Profile { username, name, .. }) => Account { username, name },
            // Erased this very moment: there is no name any more.
            None => Account {
                username: self.login.subject.to_string(),
                name: None,
            },
        })
    }
}

/// A user whose password was verified.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    /// Who.
    pub subject: SubjectId,
    /// How often the password had changed when it was verified.
    pub password_generation: u32,
}

impl Presented {
    /// The session cookie that a request brought.
    #[must_use]
    pub fn read(app: &App, headers: &HeaderMap) -> Option<Self> {
        Self::parse(SESSION_COOKIE.read(&app.settings, headers)?)
    }

    /// What stands in the cookie. Any text is read or refused.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let bytes: [u8; 48] = URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok()?;
        let (id, random) = bytes.split_first_chunk::<16>()?;
        Some(Self {
            id: SessionId(Uuid::from_bytes(*id)),
            digest: Digest::of(random),
        })
    }

    /// Whose session it is, though it may be over; for the trail only. None where the user may not act: an erased
    /// one gets no new key to seal the caller's address under.
    pub async fn subject(&self, app: &App, context: &Context) -> Result<Option<SubjectId>, LedgerError> {
        let mut unit = app.ledger.unit_of_work(context);
        let session = unit.load::<Session>(self.id.0).await?;
        let login = session.login.as_ref();
        let Some(login) = login.filter(|login| login.digest.matches(&self.digest)) else {
            return Ok(None);
        };
        let user = unit.load::<User>(login.subject.0).await?;
        Ok(user.may_act().then_some(login.subject))
    }

    /// The login, where it holds in this round of a unit of work.
    pub async fn find(&self, unit: &mut UnitOfWork<'_>) -> Result<Option<LiveSession>, LedgerError> {
        let session = unit.load::<Session>(self.id.0).await?;
        let Some(login) = &session.login else {
            return Ok(None);
        };
        let user = unit.load::<User>(login.subject.0).await?;
        let valid = session.valid(&self.digest, &user, unit.at()).cloned();
        Ok(valid.map(|login| LiveSession {
            id: self.id,
            login,
            user,
        }))
    }
}

/// As [`Presented::find`], for a request that may have no cookie.
pub async fn find(
    presented: Option<&Presented>,
    unit: &mut UnitOfWork<'_>,
) -> Result<Option<LiveSession>, LedgerError> {
    match presented {
        Some(presented) => presented.find(unit).await,
        None => Ok(None),
    }
}

/// Why a session that was there when a form was made is over, in a word for the ledger.
pub async fn why_over(
    presented: Option<&Presented>,
    unit: &mut UnitOfWork<'_>,
) -> Result<RefusalReason, LedgerError> {
    let Some(presented) = presented else {
        return Ok(RefusalReason::SessionExpired);
    };
    let session = unit.load::<Session>(presented.id.0).await?;
    let login = session.login.as_ref();
    let Some(login) = login.filter(|login| login.digest.matches(&presented.digest)) else {
        return Ok(RefusalReason::SessionExpired);
    };
    let user = unit.load::<User>(login.subject.0).await?;
    Ok(if user.may_act() {
        RefusalReason::SessionExpired
    } else {
        RefusalReason::UserDisabled
    })
}

/// The browser's login, confirmed.
pub async fn live(
    app: &App,
    context: &Context,
    headers: &HeaderMap,
) -> Result<Option<LiveSession>, LedgerError> {
    confirmed(app, context, Presented::read(app, headers).as_ref()).await
}

/// The login that was presented, where it holds, confirmed.
pub async fn confirmed(
    app: &App,
    context: &Context,
    presented: Option<&Presented>,
) -> Result<Option<LiveSession>, LedgerError> {
    let mut unit = app.ledger.unit_of_work(context);
    loop {
        let live = find(presented, &mut unit).await?;
        if unit.confirm().await? {
            return Ok(live);
        }
    }
}

/// Starts a session for a user whose password was verified, and gives its cookie. The user's own session that
/// the browser had is renewed, anybody else's is ended. None: the password has changed since, or the user may
/// not act any more.
pub async fn start(
    app: &App,
    context: &Context,
    verified: Verified,
    previous: Option<&Presented>,
) -> Result<Option<HeaderValue>, LedgerError> {
    let Verified {
        subject,
        password_generation,
    } = verified;
    let random: [u8; 32] = app.ledger.random().bytes()?;
    let fresh = app.ledger.random().uuid()?;
    let mut unit = app.ledger.unit_of_work(context);
    unit.about(Some(subject));
    loop {
        let user = unit.load::<User>(subject.0).await?;
        if !user.may_act() || user.password_generation != password_generation {
            if unit.refusal_stands()? {
                return Ok(None);
            }
            continue;
        }
        let renewed = end_or_renew(app, &mut unit, previous, &user).await?;
        let session = renewed.unwrap_or_else(|| unit.create::<Session>(fresh));
        let at = unit.at();
        let command = SessionCommand::Authenticate(Login {
            subject,
            authenticated_at: at,
            amr: vec!["pwd".to_owned()],
            digest: Digest::of(&random),
            password_generation,
            expires_at: at + TimeDelta::seconds(i64::from(app.settings.session_lifetime)),
        });
        let id = session.id;
        if let Some(concluded) = unit.conclude(&session, session.decide(&command)).await? {
            return Ok(match concluded.outcome {
                Ok(()) => SESSION_COOKIE.set(&app.settings, &cookie_value(id, &random)),
                Err(SessionRefusal::Unknown | SessionRefusal::OtherSubject) => None,
            });
        }
    }
}

/// The browser's session, where it is this user's and holds; another one ends in the same append.
async fn end_or_renew(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    previous: Option<&Presented>,
    user: &Loaded<User>,
) -> Result<Option<Loaded<Session>>, LedgerError> {
    let Some(previous) = previous else { return Ok(None) };
    let session = unit.load::<Session>(previous.id.0).await?;
    let Some(login) = &session.login else {
        return Ok(None);
    };
    if !login.digest.matches(&previous.digest) {
        // Somebody else's cookie, guessed: it is not ours to end.
        return Ok(None);
    }
    if login.subject.0 == user.id && session.valid(&previous.digest, user, unit.at()).is_some() {
        return Ok(Some(session));
    }
    unit.also(&session, &session.decide(&end(app, "replaced")).events)?;
    Ok(None)
}

/// Ends a session, with why in a word. It may be over already.
pub async fn finish(app: &App, context: &Context, id: SessionId, reason: &str) -> Result<(), LedgerError> {
    let mut unit = app.ledger.unit_of_work(context);
    loop {
        let session = unit.load::<Session>(id.0).await?;
        if unit
            .conclude(&session, session.decide(&end(app, reason)))
            .await?
            .is_some()
        {
            return Ok(());
        }
    }
}

/// The command that ends a session, with why in a word.
pub(super) fn end(app: &App, reason: &str) -> SessionCommand {
    SessionCommand::End {
        reason: reason.to_owned(),
        revokes: app.settings.session_end_revokes,
    }
}

fn cookie_value(id: Uuid, random: &[u8; 32]) -> String {
    let mut bytes = id.as_bytes().to_vec();
    bytes.extend_from_slice(random);
    URL_SAFE_NO_PAD.encode(bytes)
}
