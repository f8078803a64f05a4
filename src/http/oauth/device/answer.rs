//! The user's answer to a device: approve, deny, or use another account.

use axum::response::Response;

use super::user_code::UserCode;
use super::{Asked, Visit, asked, back, query};
use crate::app::App;
use crate::domain::consent::{Consent, ConsentCommand, Terms};
use crate::domain::grant::{DeviceAuthorizationApproved, DeviceAuthorizationDenied, GrantRefusal};
use crate::domain::refusal::RefusalReason;
use crate::http::csrf::{self, Purpose};
use crate::http::error::{Rejection, WireError};
use crate::http::form::Form;
use crate::http::oauth::authorize::see_other;
use crate::http::oauth::rounds;
use crate::http::page::{self, PageError};
use crate::http::session::{self, LiveSession, SESSION_COOKIE};
use crate::ids::{GrantId, SessionId};
use crate::ledger::{Refused, UnitOfWork};
use crate::operations::authorization_detail::Holder;

/// What the user chose about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Approve,
    Deny,
}

/// Takes the form.
pub(super) async fn submit(
    visit: &Visit<'_>,
    code: &UserCode,
    form: &Form,
) -> Result<Response, Rejection<PageError>> {
    let live = session::live(visit.app, &visit.context, visit.headers).await?;
    // Logged out in another window: the login page is next, and nothing is done.
    let Some(live) = live else { return Ok(back(code)) };
    let answer = match form.get("decision") {
        _ if !is_ours(visit, code, (&live, form)) => None,
        Some("switch") => return switch(visit, code, live.id).await,
        Some("approve") => Some(Answer::Approve),
        Some("deny") => Some(Answer::Deny),
        _ => None,
    };
    let Some(answer) = answer else {
        record_forged(visit, &live).await;
        return visit.asked_page(code, Some(PageError::ForgedForm)).await;
    };
    let subject = live.login.subject;
    let grant = visit.find(code, subject).await?;
    let mut unit = visit.app.ledger.unit_of_work(&visit.context);
    let given = rounds!(unit, give(visit, &mut unit, (grant, code), answer));
    visit.found(given, subject)
}

/// Whether the form was made for the session that the browser has, and for this code.
fn is_ours(visit: &Visit<'_>, code: &UserCode, (live, form): (&LiveSession, &Form)) -> bool {
    let made_for = form
        .get("session")
        .and_then(|text| uuid::Uuid::try_parse(text).ok());
    made_for.map(SessionId) == Some(live.id)
        && Purpose::Device(live.id).verify(visit.app, &query(code), form.get(csrf::FIELD))
}

async fn record_forged(visit: &Visit<'_>, live: &LiveSession) {
    let refused = Refused {
        error: PageError::ForgedForm.code(),
        reason: RefusalReason::FormTokenWrong,
        client: None,
        subject: Some(live.login.subject),
        grant: None,
    };
    visit.app.ledger.record_refusal(&visit.context, refused).await;
}

async fn switch(
    visit: &Visit<'_>,
    code: &UserCode,
    session: SessionId,
) -> Result<Response, Rejection<PageError>> {
    session::finish(visit.app, &visit.context, session, "switched").await?;
    let mut response = back(code);
    page::set_cookie(&mut response, SESSION_COOKIE.clear(&visit.app.settings));
    Ok(response)
}

/// One round: the answer, with the consent where it is new, in one append, which passes only if client, user, session,
/// scopes and consent are by then as they were seen.
async fn give(
    visit: &Visit<'_>,
    unit: &mut UnitOfWork<'_>,
    (id, code): (GrantId, &UserCode),
    answer: Answer,
) -> Result<Option<Response>, Rejection<PageError>> {
    let Some(live) = session::find(visit.session.as_ref(), unit).await? else {
        return Ok(Some(back(code)));
    };
    let asked = asked(visit.app, unit, id, &live).await?;
    let (subject, at) = (live.login.subject, unit.at());
    unit.about(Some(subject));
    let decision = match answer {
        // The page asks for the password first.
        Answer::Approve if !asked.accepts(&live, at) => {
            return Ok(unit.confirm().await?.then(|| back(code)));
        }
        Answer::Approve => {
            let event = approve(visit.app, unit, &asked, &live).await?;
            asked.grant.approve_device(&event)
        }
        Answer::Deny => asked
            .grant
            .deny_device(&DeviceAuthorizationDenied { subject, at }),
    };
    let Some(concluded) = unit.conclude(&asked.grant, decision).await? else {
        return Ok(None);
    };
    match concluded.outcome {
        Ok(_) if answer == Answer::Approve => Ok(Some(see_other("device/approved"))),
        Ok(_) => Ok(Some(see_other("device/denied"))),
        Err(refusal) => Err(over(refusal, id, &live)),
    }
}

/// The approval. The consent is written where it adds something.
async fn approve(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    asked: &Asked,
    live: &LiveSession,
) -> Result<DeviceAuthorizationApproved, Rejection<PageError>> {
    let (subject, at) = (live.login.subject, unit.at());
    let consent = unit.load::<Consent>(Consent::id(subject, asked.client)).await?;
    let terms = Terms {
        scope: asked.scopes.iter().map(|scope| scope.name.as_str()).collect(),
        resources: asked.resources.iter().cloned().collect(),
        ..Terms::default()
    };
    let operations = &app.operations;
    let new_details = operations
        .seal_unconsented((subject, asked.client), &consent, &asked.details)
        .await?;
    let adds = new_details.is_some() || !consent.allows(&terms);
    let give = ConsentCommand::Give {
        subject,
        client: asked.client,
        terms,
        authorization_details: new_details,
        at,
    };
    if adds {
        unit.also(&consent, &consent.decide(&give).events)?;
    }
    Ok(DeviceAuthorizationApproved {
        subject,
        session: live.id,
        auth_time: live.login.authenticated_at,
        amr: live.login.amr.clone(),
        password_generation: live.user.password_generation,
        consent_withdrawals: consent.withdrawals,
        authorization_details: operations
            .seal_details(GrantId(asked.grant.id), Holder::Subject(subject), &asked.details)
            .await?,
        at,
    })
}

fn over(refusal: GrantRefusal, id: GrantId, live: &LiveSession) -> Rejection<PageError> {
    Rejection::new(PageError::UserCodeUnknown, refusal.reason()).grant(id, Some(live.login.subject))
}
