//! The consent form's answer: approve, deny, or use another account.

use axum::response::Response;

use super::code::{self, Granting};
use super::error::{AuthorizeError, Failure};
use super::request::{AuthorizationRequest, Target};
use super::shown;
use super::visit::{Typed, Visit};
use super::{may_use, see_other};
use crate::domain::consent::Consent;
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::http::csrf::{self, Purpose};
use crate::http::error::Rejection;
use crate::http::form::Form;
use crate::http::oauth::rounds;
use crate::http::page::{self, PageError};
use crate::http::session::{self, LiveSession, SESSION_COOKIE};
use crate::ids::SessionId;
use crate::ledger::{Refused, UnitOfWork};

/// What the user chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Approve,
    Deny,
    Switch,
}

impl Choice {
    fn read(form: &Form) -> Option<Self> {
        match form.get("decision")? {
            "approve" => Some(Self::Approve),
            "deny" => Some(Self::Deny),
            "switch" => Some(Self::Switch),
            _ => None,
        }
    }
}

/// Takes the form.
pub(super) async fn submit(visit: &Visit, form: &Form) -> Response {
    let mut unit = visit.app.ledger.unit_of_work(&visit.context);
    match rounds!(unit, answer(visit, &mut unit, form)) {
        Ok(response) => response,
        Err(failure) => visit.refuse(failure).await,
    }
}

/// One round.
async fn answer(visit: &Visit, unit: &mut UnitOfWork<'_>, form: &Form) -> Result<Option<Response>, Failure> {
    let (target, request) = visit.checked(unit).await?;
    decide(visit, unit, (&target, &request), form)
        .await
        .map_err(|rejection| Failure::redirect(&target.back, (target.key, visit.context.subject), rejection))
}

async fn decide(
    visit: &Visit,
    unit: &mut UnitOfWork<'_>,
    asked: (&Target, &AuthorizationRequest),
    form: &Form,
) -> Result<Option<Response>, Rejection<AuthorizeError>> {
    let (target, request) = asked;
    let live = session::find(visit.session.as_ref(), unit).await?;
    let (Some(choice), Some(shown)) = (Choice::read(form), ours(visit, form)) else {
        let notice = (PageError::ForgedForm, RefusalReason::FormTokenWrong);
        return ask_again(visit, unit, asked, (live.as_ref(), notice)).await;
    };
    if choice == Choice::Approve && shown != shown::digest(target, request) && live.is_some() {
        let notice = (PageError::ConsentOutdated, RefusalReason::ConsentOutdated);
        return ask_again(visit, unit, asked, (live.as_ref(), notice)).await;
    }
    let Some(live) = live else {
        let reason = session::why_over(visit.session.as_ref(), unit).await?;
        return Err(Rejection::new(AuthorizeError::AccessDenied, reason));
    };
    match choice {
        // The login that the page was shown to has become too old for the request meanwhile.
        Choice::Approve if !visit.accepts(request, &live, unit.at()) => {
            let again = see_other(&format!("authorize?{}", visit.query()));
            Ok(unit.confirm().await?.then_some(again))
        }
        Choice::Approve => {
            may_use(target, &live)?;
            let consent = unit
                .load::<Consent>(Consent::id(live.login.subject, target.key))
                .await?;
            let granting = Granting {
                target,
                request,
                live: &live,
                consent: &consent,
                consents_now: true,
            };
            code::issue(visit, unit, granting).await
        }
        Choice::Deny => Err(Rejection::new(
            AuthorizeError::AccessDenied,
            RefusalReason::UserDenied,
        )),
        Choice::Switch => {
            session::finish(&visit.app, &visit.context, live.id, "switched").await?;
            let mut response = see_other(&format!("authorize?{}", visit.query()));
            page::set_cookie(&mut response, SESSION_COOKIE.clear(&visit.app.settings));
            Ok(Some(response))
        }
    }
}

/// What the page of the form showed, where it was made for the session that the browser has. A browser that has none any
/// more (logged out in another window) still shows what it was made for: its answer is that the session is over, which tells a
/// stranger's page nothing and does nothing.
fn ours(visit: &Visit, form: &Form) -> Option<Digest> {
    let made_for = form
        .get("session")
        .and_then(|text| uuid::Uuid::try_parse(text).ok())
        .map(SessionId)?;
    let same_session = visit.session.is_none_or(|presented| presented.id == made_for);
    let (token, shown) = shown::read(form.get(csrf::FIELD))?;
    let bound = shown::bound(visit.query(), &shown);
    let is_ours = same_session && Purpose::Consent(made_for).verify(&visit.app, &bound, Some(token));
    is_ours.then_some(shown)
}

/// The form is not ours, or no longer, or its page no longer says what is asked: nothing is done, and the page is shown
/// afresh.
async fn ask_again(
    visit: &Visit,
    unit: &mut UnitOfWork<'_>,
    asked: (&Target, &AuthorizationRequest),
    (live, (error, reason)): (Option<&LiveSession>, (PageError, RefusalReason)),
) -> Result<Option<Response>, Rejection<AuthorizeError>> {
    let notice = Some(error);
    // A consent form for a request that asks for the password first would be a way around it.
    let live = live.filter(|live| !visit.must_log_in(asked.1, live, unit.at()));
    let page = if let Some(live) = live {
        may_use(asked.0, live)?;
        visit.consent_page(asked, live, notice).await?
    } else {
        let typed = Typed {
            notice,
            ..Typed::default()
        };
        visit.login_page(asked.0, typed)?
    };
    if !unit.confirm().await? {
        return Ok(None);
    }
    let refused = Refused {
        error: "invalid_request",
        reason,
        client: Some(asked.0.key),
        subject: live.map(|live| live.login.subject),
        grant: None,
    };
    visit.record(&visit.context, refused).await;
    Ok(Some(page))
}
