//! Proving who one is by user name and password: what the login form of an authorization request and the pages of
//! the account have in common.

use axum::http::HeaderValue;

use super::error::{Rejection, WireError};
use super::limits::{Counted, TooMany, counted_address};
use super::network_throttles;
use super::oauth::token;
use super::page::PageError;
use super::session::{self, Presented, Verified};
use crate::app::App;
use crate::crypto::password::{self, Guess};
use crate::domain::refusal::RefusalReason;
use crate::domain::user::User;
use crate::domain::value::Digest;
use crate::ids::SubjectId;
use crate::ledger::{Context, LedgerError, Refused};
use crate::operations::user::canonical_username;

/// Why nobody was logged in. The page says the same for all; the ledger is told which.
pub(super) struct Refusal {
    pub(super) reason: RefusalReason,
    pub(super) subject: Option<SubjectId>,
    /// The password was right, but its user may not act.
    pub(super) blocked: bool,
    /// The password was not looked at, and will not be for so many seconds: too many were wrong while it waited.
    pub(super) wait: Option<TooMany>,
}

/// A user whose password is right, and its new hash where the stored one is weaker than today's.
pub(super) struct Recognised {
    pub(super) verified: Verified,
    pub(super) rehashed: Option<String>,
}

impl Refusal {
    /// The password was not looked at.
    fn unread(app: &App, counted: &[Counted]) -> Self {
        let wait = app.limits.check_failures(counted, app.ledger.clock().now());
        // Whoever is told when the minute is just over need not wait, but did not get in either.
        let wait = wait.err().unwrap_or(TooMany { retry_after: 1 });
        Self {
            reason: RefusalReason::TooManyFailures,
            subject: None,
            blocked: false,
            wait: Some(wait),
        }
    }

    /// What the ledger records.
    pub(super) fn refused(&self) -> Refused {
        Refused {
            error: "access_denied",
            reason: self.reason,
            client: None,
            subject: self.subject,
            grant: None,
        }
    }
}

/// What failed attempts are counted under: the user name, so that one account cannot be tried from everywhere,
/// and the address, so that not every account can be tried from one place.
pub(super) fn counted(username: &str, context: &Context) -> Vec<Counted> {
    let login = Counted::Login(Digest::of(canonical_username(username).as_bytes()));
    let address = context.address.map(counted_address).map(Counted::Address);
    std::iter::once(login).chain(address).collect()
}

/// A password that is tried, counted when it was wrong, and not tried where too many were wrong while it waited.
struct Attempt {
    app: App,
    counted: Vec<Counted>,
}

impl Guess for Attempt {
    fn may_be_made(&self) -> bool {
        let at = self.app.ledger.clock().now();
        self.app.limits.check_failures(&self.counted, at).is_ok()
    }

    fn failed(&self) {
        let at = self.app.ledger.clock().now();
        self.app.limits.record_failure(&self.counted, at);
    }
}

/// Compares the password; failures are counted. A network that a policy throttled is refused before.
pub(super) async fn recognise<E: WireError>(
    app: &App,
    context: &Context,
    username: &str,
    password: &str,
) -> Result<Result<Recognised, Refusal>, Rejection<E>> {
    // The token endpoint has counted its requests itself.
    let counted_before = context.endpoint == token::ENDPOINT;
    match (!counted_before).then(|| network_throttles::check(app, context)) {
        Some(Err(wait)) => Ok(Err(Refusal {
            reason: RefusalReason::NetworkThrottled,
            subject: None,
            blocked: false,
            wait: Some(wait),
        })),
        Some(Ok(())) | None => compare(app, context, username, password).await,
    }
}

/// A user that does not exist takes the same steps, and the same time, as one that does.
async fn compare<E: WireError>(
    app: &App,
    context: &Context,
    username: &str,
    password: &str,
) -> Result<Result<Recognised, Refusal>, Rejection<E>> {
    let operations = &app.operations;
    let found = operations.find_user(username).await?;
    let subject = match found {
        Some(subject) => subject,
        None => SubjectId(app.ledger.random().uuid().map_err(LedgerError::from)?),
    };
    // Confirmed before the password is compared: a refusal needs fresh state, and one comparison must do,
    // since a second one could be measured.
    let mut unit = app.ledger.unit_of_work(context);
    let user = loop {
        let user = unit.load::<User>(subject.0).await?;
        if unit.confirm().await? {
            break user;
        }
    };
    let hash = match &user.account {
        Some(account) => operations.password_hash(subject, account).await?,
        None => None,
    };
    let attempt = Attempt {
        app: app.clone(),
        counted: counted(username, context),
    };
    let compared = operations.hasher.guess(password.to_owned(), hash, attempt);
    let Some(verified) = compared.await? else {
        return Ok(Err(Refusal::unread(app, &counted(username, context))));
    };
    let rehashed = match verified {
        password::Verified::Yes => None,
        password::Verified::YesRehash(hash) => Some(hash),
        password::Verified::No => {
            let known = user.account.is_some();
            return Ok(Err(Refusal {
                reason: if known {
                    RefusalReason::WrongPassword
                } else {
                    RefusalReason::UnknownUser
                },
                subject: found.filter(|_| known),
                blocked: false,
                wait: None,
            }));
        }
    };
    if !user.may_act() {
        let at = app.ledger.clock().now();
        app.limits.record_failure(&counted(username, context), at);
        return Ok(Err(Refusal {
            reason: RefusalReason::UserDisabled,
            subject: Some(subject),
            blocked: true,
            wait: None,
        }));
    }
    let verified = Verified {
        subject,
        password_generation: user.password_generation,
    };
    Ok(Ok(Recognised { verified, rehashed }))
}

/// Starts the session of a user who was recognised, and gives its cookie.
pub(super) async fn start(
    app: &App,
    context: &Context,
    recognised: Recognised,
    previous: Option<&Presented>,
) -> Result<Result<HeaderValue, Refusal>, Rejection<PageError>> {
    let Recognised { verified, rehashed } = recognised;
    let started = session::start(app, context, verified, previous).await?;
    let Some(cookie) = started else {
        return Ok(Err(Refusal {
            reason: RefusalReason::WrongPassword,
            subject: Some(verified.subject),
            blocked: false,
            wait: None,
        }));
    };
    rehash(app, context, verified.subject, rehashed).await;
    Ok(Ok(cookie))
}

/// Keeps a better hash of a password that was right. The login does not depend on it; the next one tries again.
pub(super) async fn rehash(app: &App, context: &Context, subject: SubjectId, hash: Option<String>) {
    let Some(hash) = hash else { return };
    if let Err(error) = app.operations.rehash_password(context, subject, &hash).await {
        tracing::warn!(%error, "a password was not rehashed");
    }
}
