//! The login form's answer.

use axum::response::Response;

use super::error::{AuthorizeError, Failure};
use super::request::Target;
use super::visit::{Typed, Visit, acting};
use super::{ENDPOINT, see_other};
use crate::domain::refusal::RefusalReason;
use crate::http::csrf::{self, Purpose};
use crate::http::error::{Rejection, WireError};
use crate::http::form::Form;
use crate::http::login::{self, Recognised, Refusal};
use crate::http::oauth::rounds;
use crate::http::page::{self, PageError, Problem};
use crate::ledger::{Actor, Context, Refused, UnitOfWork};

/// Takes the form.
pub(super) async fn submit(visit: &Visit, form: &Form) -> Response {
    let mut unit = visit.app.ledger.unit_of_work(&visit.context);
    let target = match rounds!(unit, asked(visit, &mut unit)) {
        Ok(target) => target,
        Err(failure) => return visit.refuse(failure).await,
    };
    match attempt(visit, &target, form).await {
        Ok(response) => response,
        Err(failure) => visit.refuse(failure).await,
    }
}

/// Who asks: a password is taken only for a request that is good.
async fn asked(visit: &Visit, unit: &mut UnitOfWork<'_>) -> Result<Option<Target>, Failure> {
    let (target, _) = visit.checked(unit).await?;
    Ok(unit.confirm().await?.then_some(target))
}

async fn attempt(visit: &Visit, target: &Target, form: &Form) -> Result<Response, Failure> {
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
    let counted = login::counted(username, &context);
    if let Err(too_many) = app.limits.check_failures(&counted, app.ledger.clock().now()) {
        let error = PageError::TooMany(too_many.retry_after);
        return notify(visit, target, typed, (error, RefusalReason::TooManyFailures)).await;
    }
    let refusal = match login::recognise(app, &context, username, password).await? {
        Ok(recognised) => match log_in(visit, recognised).await? {
            Ok(response) => return Ok(response),
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal,
    };
    if let Some(wait) = refusal.wait {
        let error = PageError::TooMany(wait.retry_after);
        return notify(visit, target, typed, (error, refusal.reason)).await;
    }
    if refusal.blocked {
        return Err(blocked(target, &refusal));
    }
    let context = Context {
        subject: refusal.subject,
        ..context
    };
    let refused = Refused {
        client: Some(target.key),
        ..refusal.refused()
    };
    visit.record(&context, refused).await;
    let problem = Some(Problem::Wrong);
    Ok(visit.login_page(target, Typed { problem, ..typed })?)
}

/// Whoever knows the password of a user that is blocked is told so, and so is the client (RFC 6749 §4.1.2.1);
/// nobody else learns of it.
fn blocked(target: &Target, refusal: &Refusal) -> Failure {
    let rejection = Rejection::new(AuthorizeError::AccessDenied, refusal.reason);
    Failure::redirect(&target.back, (target.key, refusal.subject), rejection)
}

/// Whether the form was made for this browser and this request.
fn is_ours(visit: &Visit, form: &Form) -> bool {
    visit
        .mark
        .as_ref()
        .is_some_and(|mark| Purpose::Login(mark).verify(&visit.app, visit.query(), form.get(csrf::FIELD)))
}

/// Shows the form again with what went wrong, and records it.
async fn notify(
    visit: &Visit,
    target: &Target,
    typed: Typed<'_>,
    (error, reason): (PageError, RefusalReason),
) -> Result<Response, Failure> {
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

/// Starts the session and sends the browser back to the request (post, redirect, get), which is now answered
/// for a user who is logged in.
async fn log_in(visit: &Visit, recognised: Recognised) -> Result<Result<Response, Refusal>, Failure> {
    let context = acting(&visit.origin, recognised.verified.subject);
    let started = login::start(&visit.app, &context, recognised, visit.session.as_ref()).await?;
    Ok(started.map(|cookie| {
        let mut response = see_other(&format!("authorize?{}", visit.query_after_login()));
        page::set_cookie(&mut response, Some(cookie));
        response
    }))
}
