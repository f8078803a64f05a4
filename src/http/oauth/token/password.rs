//! `grant_type=password`, RFC 6749 §4.3: discouraged (RFC 9700 §2.4), off unless server and client allow it.

use chrono::TimeDelta;

use super::super::{ClientRequest, rounds};
use super::{Randoms, TokenResponse, allowed, audience, requested_scope};
use crate::app::App;
use crate::crypto::password::{PasswordError, Verified};
use crate::domain::client::GrantType;
use crate::domain::grant::{Grant, IssueToken, Outcome};
use crate::domain::user::User;
use crate::domain::value::Digest;
use crate::http::error::{Rejection, TokenError};
use crate::http::limits::{Counted, counted_address};
use crate::ids::{GrantId, SubjectId};
use crate::ledger::{LedgerError, UnitOfWork};
use crate::operations::user::canonical_username;

/// A user whose password was right, as of a password generation.
struct Verdict {
    subject: SubjectId,
    password_generation: u32,
}

pub(super) async fn issue(
    app: &App,
    request: &ClientRequest,
) -> Result<TokenResponse, Rejection<TokenError>> {
    let username = request.required("username")?;
    let password = request.required("password")?;
    // Before the password: only a client that may use this grant may try passwords.
    let mut unit = app.ledger.unit_of_work(&request.context);
    rounds!(unit, permitted(app, request, &mut unit))?;
    let verdict = verify(app, request, username, password).await?;
    let randoms = Randoms::new(app)?;
    let mut unit = app.ledger.unit_of_work(&request.context);
    rounds!(unit, round(app, request, &mut unit, &verdict, &randoms))
}

async fn permitted(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
) -> Result<Option<()>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    allowed(&client, GrantType::Password)?;
    Ok(Some(()))
}

/// Compares the password; failures count against the address and the user name.
async fn verify(
    app: &App,
    request: &ClientRequest,
    username: &str,
    password: &str,
) -> Result<Verdict, Rejection<TokenError>> {
    let now = app.ledger.clock().now();
    let mut counted = vec![Counted::Login(Digest::of(
        canonical_username(username).as_bytes(),
    ))];
    counted.extend(
        request
            .context
            .address
            .map(|address| Counted::Address(counted_address(address))),
    );
    app.limits
        .check_failures(&counted, now)
        .map_err(|wait| Rejection::new(TokenError::TooMany(wait.retry_after), "too_many_failures"))?;
    let subject = app.operations.find_user(username).await?;
    let mut unit = app.ledger.unit_of_work(&request.context);
    let user = match subject {
        Some(subject) => Some((subject, unit.load::<User>(subject.0).await?)),
        None => None,
    };
    let account = user
        .as_ref()
        .and_then(|(subject, user)| Some((*subject, user.account.as_ref()?)));
    let hash = match account {
        Some((subject, account)) => app.operations.password_hash(subject, account).await?,
        None => None,
    };
    let verified = app.operations.hasher.verify(password.to_owned(), hash).await;
    let refused = |reason| {
        app.limits.record_failure(&counted, now);
        Err(Rejection::new(TokenError::InvalidGrant, reason))
    };
    if let (Ok(Verified::YesRehash(hash)), Some((subject, user))) = (&verified, &user)
        && user.may_act()
    {
        // The token does not depend on it; the next request tries again.
        let rehashed = app
            .operations
            .rehash_password(&request.context, *subject, hash)
            .await;
        if let Err(error) = rehashed {
            tracing::warn!(%error, "a password was not rehashed");
        }
    }
    match (verified, user) {
        (Ok(Verified::Yes | Verified::YesRehash(_)), Some((subject, user))) if user.may_act() => {
            Ok(Verdict {
                subject,
                password_generation: user.password_generation,
            })
        }
        (Ok(Verified::Yes | Verified::YesRehash(_)), _) => refused("user_disabled"),
        (Ok(Verified::No), Some(_)) => refused("wrong_password"),
        (Ok(Verified::No), None) => refused("unknown_user"),
        (Err(PasswordError::Overloaded), _) => Err(Rejection::new(
            TokenError::TemporarilyUnavailable,
            "hashing_overloaded",
        )),
        (Err(PasswordError::Crypto(_)), _) => Err(Rejection::new(TokenError::ServerError, "hashing_failed")),
    }
}

async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    verdict: &Verdict,
    randoms: &Randoms,
) -> Result<Option<TokenResponse>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    allowed(&client, GrantType::Password)?;
    let user = unit.load::<User>(verdict.subject.0).await?;
    if !user.may_act() || user.password_generation != verdict.password_generation {
        return Err(Rejection::new(TokenError::InvalidGrant, "user_changed").client(client.key));
    }
    let scope = requested_scope(request, unit, &client).await?;
    let at = unit.at();
    unit.about(Some(verdict.subject));
    let id = GrantId(app.ledger.random().uuid_at(at).map_err(LedgerError::from)?);
    let grant = unit.create::<Grant>(id.0);
    let command = IssueToken {
        flow: GrantType::Password,
        client: client.key,
        subject: Some(verdict.subject),
        scope,
        audience: audience(app, &client.registration),
        password_generation: verdict.password_generation,
        grant_expires_at: at + TimeDelta::days(i64::from(app.settings.grant_lifetime_days)),
        mint: randoms.mint(&client.registration, true),
        at,
    };
    let Some(concluded) = unit.conclude(&grant, grant.issue(&command)).await? else {
        return Ok(None);
    };
    match concluded.outcome {
        Ok(Outcome::Tokens(issued)) => {
            TokenResponse::new(app, &client.registration, id, &issued, randoms).map(Some)
        }
        Ok(Outcome::Code | Outcome::Imported | Outcome::Revoked) => {
            Err(Rejection::new(TokenError::ServerError, "unexpected_outcome"))
        }
        Err(refusal) => Err(Rejection::from(refusal).client(client.key)),
    }
}
