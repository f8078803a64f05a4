//! The login form's answer.

use axum::response::Response;

use super::error::Failure;
use super::request::Target;
use super::visit::{Typed, Visit, acting, settle};
use super::{ENDPOINT, see_other};
use crate::crypto::password::{self, PasswordError};
use crate::domain::refusal::RefusalReason;
use crate::domain::user::User;
use crate::domain::value::Digest;
use crate::http::csrf::{self, Purpose};
use crate::http::error::{Rejection, WireError};
use crate::http::form::Form;
use crate::http::limits::{Counted, counted_address};
use crate::http::page::{self, PageError, Problem};
use crate::http::session::{self, Verified};
use crate::ids::SubjectId;
use crate::ledger::{Actor, Context, LedgerError, Refused};
use crate::operations::user::canonical_username;

/// Why nobody was logged in. The page says the same for all; the ledger is told which.
struct Refusal {
    reason: RefusalReason,
    subject: Option<SubjectId>,
}

/// A user whose password is right, and its new hash where the stored one is weaker than today's.
struct Recognised {
    verified: Verified,
    rehashed: Option<String>,
}

/// Takes the form.
pub(super) async fn submit(visit: &Visit, form: &Form) -> Response {
    let target = match asked(visit).await {
        Ok(target) => target,
        Err(failure) => return visit.refuse(failure).await,
    };
    match attempt(visit, &target, form).await {
        Ok(response) => response,
        Err(rejection) => visit.refuse(Failure::Page(rejection)).await,
    }
}

/// Who asks: a password is taken only for a request that is good.
async fn asked(visit: &Visit) -> Result<Target, Failure> {
    let mut unit = visit.app.ledger.unit_of_work(&visit.context);
    loop {
        let checked = visit.checked(&mut unit).await;
        let checked = checked.map(|(target, _)| Some(target));
        if let Some(target) = settle(&mut unit, checked)?
            && unit
                .confirm()
                .await
                .map_err(|error| Failure::Page(error.into()))?
        {
            return Ok(target);
        }
    }
}

async fn attempt(visit: &Visit, target: &Target, form: &Form) -> Result<Response, Rejection<PageError>> {
    let (app, username) = (&visit.app, form.get("username").unwrap_or_default());
    let typed = Typed {
        username,
        ..Typed::default()
    };
    // Whoever was logged in before, this is somebody who has yet to prove who it is.
    let context = visit.origin.context(ENDPOINT, Actor::Anonymous);
    if !is_ours(visit, form) {
        return notify(
            visit,
            target,
            typed,
            (PageError::ForgedForm, RefusalReason::FormTokenWrong),
        )
        .await;
    }
    let Some(password) = form.get("password").filter(|_| !username.is_empty()) else {
        let problem = Some(Problem::Incomplete);
        return Ok(visit.login_page(target, Typed { problem, ..typed })?);
    };
    let counted = counted(username, &context);
    if let Err(too_many) = app.limits.check_failures(&counted, app.ledger.clock().now()) {
        let error = PageError::TooMany(too_many.retry_after);
        return notify(visit, target, typed, (error, RefusalReason::TooManyFailures)).await;
    }
    let refusal = match recognise(visit, &context, username, password).await? {
        Ok(recognised) => match log_in(visit, recognised).await? {
            Ok(response) => return Ok(response),
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal,
    };
    app.limits.record_failure(&counted, app.ledger.clock().now());
    let context = Context {
        subject: refusal.subject,
        ..context
    };
    let refused = Refused {
        error: "access_denied",
        reason: refusal.reason,
        client: Some(target.key),
        subject: refusal.subject,
        grant: None,
    };
    visit.record(&context, refused).await;
    let problem = Some(Problem::Wrong);
    Ok(visit.login_page(target, Typed { problem, ..typed })?)
}

/// Whether the form was made for this browser and this request.
fn is_ours(visit: &Visit, form: &Form) -> bool {
    visit
        .mark
        .as_ref()
        .is_some_and(|mark| Purpose::Login(mark).verify(&visit.app, visit.query(), form.get(csrf::FIELD)))
}

/// What failed logins are counted under: the user name, so that one account cannot be tried from everywhere,
/// and the address, so that not every account can be tried from one place.
fn counted(username: &str, context: &Context) -> Vec<Counted> {
    let login = Counted::Login(Digest::of(canonical_username(username).as_bytes()));
    let address = context.address.map(counted_address).map(Counted::Address);
    std::iter::once(login).chain(address).collect()
}

/// Shows the form again with what went wrong, and records it.
async fn notify(
    visit: &Visit,
    target: &Target,
    typed: Typed<'_>,
    (error, reason): (PageError, RefusalReason),
) -> Result<Response, Rejection<PageError>> {
    let refused = Refused {
        error: error.code(),
        reason,
        client: Some(target.key),
        subject: None,
        grant: None,
    };
    let context = visit.origin.context(ENDPOINT, Actor::Anonymous);
    visit.record(&context, refused).await;
    let notice = Some(error);
    Ok(visit.login_page(target, Typed { notice, ..typed })?)
}

/// Compares the password. A user that does not exist takes the same steps, and the same time, as one that does.
async fn recognise(
    visit: &Visit,
    context: &Context,
    username: &str,
    password: &str,
) -> Result<Result<Recognised, Refusal>, Rejection<PageError>> {
    let operations = &visit.app.operations;
    let found = operations.find_user(username).await?;
    let subject = match found {
        Some(subject) => subject,
        None => SubjectId(visit.app.ledger.random().uuid().map_err(LedgerError::from)?),
    };
    // Confirmed before the password is compared: a refusal needs fresh state, and one comparison must do,
    // since a second one could be measured.
    let mut unit = visit.app.ledger.unit_of_work(context);
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
    let rehashed = match operations.hasher.verify(password.to_owned(), hash).await {
        Ok(password::Verified::Yes) => None,
        Ok(password::Verified::YesRehash(hash)) => Some(hash),
        Ok(password::Verified::No) => {
            let known = user.account.is_some();
            return Ok(Err(Refusal {
                reason: if known {
                    RefusalReason::WrongPassword
                } else {
                    RefusalReason::UnknownUser
                },
                subject: found.filter(|_| known),
            }));
        }
        Err(PasswordError::Overloaded) => {
            let error = PageError::TemporarilyUnavailable;
            return Err(Rejection::new(error, RefusalReason::HashingOverloaded));
        }
        Err(PasswordError::Crypto(_)) => {
            return Err(Rejection::new(
                PageError::ServerError,
                RefusalReason::HashingFailed,
            ));
        }
    };
    if !user.may_act() {
        return Ok(Err(Refusal {
            reason: RefusalReason::UserDisabled,
            subject: Some(subject),
        }));
    }
    let verified = Verified {
        subject,
        password_generation: user.password_generation,
    };
    Ok(Ok(Recognised { verified, rehashed }))
}

/// Starts the session and sends the browser back to the request (post, redirect, get), which is now answered
/// for a user who is logged in.
async fn log_in(
    visit: &Visit,
    recognised: Recognised,
) -> Result<Result<Response, Refusal>, Rejection<PageError>> {
    let Recognised { verified, rehashed } = recognised;
    let context = acting(&visit.origin, verified.subject);
    let started = session::start(&visit.app, &context, verified, visit.session.as_ref()).await?;
    let Some(cookie) = started else {
        return Ok(Err(Refusal {
            reason: RefusalReason::WrongPassword,
            subject: Some(verified.subject),
        }));
    };
    if let Some(hash) = rehashed {
        let operations = &visit.app.operations;
        // The login does not depend on it; the next one tries again.
        if let Err(error) = operations
            .rehash_password(&context, verified.subject, &hash)
            .await
        {
            tracing::warn!(%error, "a password was not rehashed");
        }
    }
    let mut response = see_other(&format!("authorize?{}", visit.parameters.after_login()));
    page::set_cookie(&mut response, Some(cookie));
    Ok(Ok(response))
}
