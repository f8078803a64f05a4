//! `/ssf/subjects:add` and `/ssf/subjects:remove`: of whom a receiver wants to hear (SSF 1.0 §8.1.3). By default that is
//! everybody that it has to do with.
//!
//! Whether there is a user of that name is not told: the answer is the same (§8.1.3.2, §9.1).

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use uuid::Uuid;

use super::super::api::bearer::BearerToken;
use super::super::context::Origin;
use super::super::error::{ApiError, Rejection};
use super::super::oauth::{answer, rounds};
use super::body::Body;
use super::{MANAGE, Receiver, acting, invalid};
use crate::app::App;
use crate::domain::ssf_stream::SsfStreamCommand;
use crate::ids::SubjectId;
use crate::ledger::{LANE, LedgerError, UnitOfWork};

pub(super) const ADD: &str = "/ssf/subjects:add";
pub(super) const REMOVE: &str = "/ssf/subjects:remove";
/// The longest `sub` that is looked for.
const MAX_SUB: usize = 255;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

/// `POST`: hears of a user again.
pub(super) async fn add(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = change(&app, (&origin, ADD), (&headers, body), Change::Add).await;
    answer(
        &app,
        &origin,
        ADD,
        result.map(|()| StatusCode::OK.into_response()),
    )
    .await
}

/// `POST`: hears of a user no more.
pub(super) async fn remove(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = change(&app, (&origin, REMOVE), (&headers, body), Change::Remove).await;
    let result = result.map(|()| StatusCode::NO_CONTENT.into_response());
    answer(&app, &origin, REMOVE, result).await
}

async fn change(
    app: &App,
    (origin, path): (&Origin, &'static str),
    (headers, body): (&HeaderMap, Result<Bytes, BytesRejection>),
    change: Change,
) -> Result<(), Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let body = Body::read(headers, body)?;
    let id = body.stream_id()?;
    let sub = subject(app, body.get("subject"))?;
    let context = acting(app, (origin, path), &token).await?;
    let mut unit = app.ledger.unit_of_work(&context);
    rounds!(unit, round(app, &mut unit, (&token, id), (sub, change)))
}

async fn round(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    (token, id): (&BearerToken, Uuid),
    (sub, change): (&str, Change),
) -> Result<Option<()>, Rejection<ApiError>> {
    let receiver = Receiver::require(unit, token, MANAGE).await?;
    let (stream, _) = receiver.stream(unit, id).await?;
    let found = app.operations.find_subject(&receiver.registration, sub).await?;
    let Some(subject) = found else {
        return Ok(unit.confirm().await?.then_some(()));
    };
    if is_so(app, id, (&receiver, subject), change).await? {
        return Ok(unit.confirm().await?.then_some(()));
    }
    let command = match change {
        Change::Add => SsfStreamCommand::AddSubject(subject),
        Change::Remove => SsfStreamCommand::RemoveSubject(subject),
    };
    Ok(unit.conclude(&stream, stream.decide(&command)).await?.map(|_| ()))
}

/// Whether nothing would change: the stream has it so, or the client has nothing to do with the user. The tables say so
/// only where the reader of signals has come as far as what they are asked of: until then it is written down once more.
async fn is_so(
    app: &App,
    stream: Uuid,
    (receiver, subject): (&Receiver, SubjectId),
    change: Change,
) -> Result<bool, LedgerError> {
    let (excluded, related, knows_stream, knows_all): (bool, bool, bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM grantlog.ssf_exclusions WHERE stream_id = $1 AND subject = $2), \
                EXISTS (SELECT FROM grantlog.ssf_relations WHERE client = $3 AND subject = $2), \
                c.position >= (SELECT max(l.position) FROM grantlog.ledger_ssf_stream AS l \
                    WHERE l.lane = $4 AND l.aggregate_type = 'ssf_stream' AND l.aggregate_id = $1), \
                c.position >= h.position \
         FROM grantlog.ssf_cursor AS c, grantlog.head AS h WHERE h.lane = $4",
    )
    .bind(stream)
    .bind(subject.0)
    .bind(receiver.client.0)
    .bind(LANE)
    .fetch_one(app.ledger.pool())
    .await?;
    Ok(match change {
        Change::Add => knows_stream && !excluded,
        Change::Remove => (knows_stream && excluded) || (knows_all && !related),
    })
}

/// The `sub` of a subject in the format `iss_sub` (RFC 9493 §3.2.3), of this issuer.
fn subject<'a>(app: &App, value: Option<&'a Value>) -> Result<&'a str, Rejection<ApiError>> {
    let value = value.ok_or_else(|| invalid("The subject is missing."))?;
    let member = |name: &str| value.get(name).and_then(Value::as_str);
    if member("format") != Some("iss_sub") {
        return Err(invalid("Only subjects of the format iss_sub are known here."));
    }
    if member("iss") != Some(&app.settings.issuer) {
        return Err(invalid("The subject is of another issuer."));
    }
    member("sub")
        .filter(|sub| !sub.is_empty() && sub.len() <= MAX_SUB)
        .ok_or_else(|| invalid("The sub of the subject is missing or too long."))
}
