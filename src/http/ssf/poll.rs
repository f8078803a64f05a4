//! `POST /ssf/poll/{stream_id}`: a receiver fetches its tokens and acknowledges those of before (RFC 8936).

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::api::bearer::BearerToken;
use super::super::api::{respond, uuid_in};
use super::super::context::Origin;
use super::super::error::{ApiError, Rejection};
use super::super::oauth::{answer, rounds};
use super::body::Body;
use super::{READ, Receiver, invalid};
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::ssf_stream::StreamDelivery;
use crate::ledger::{Actor, LedgerError, UnitOfWork};
use crate::ssf::outbox::{self, Waiting};
use crate::ssf::sign;

pub(super) const PATH: &str = "/ssf/poll/{stream_id}";
/// The most tokens of one answer.
const MOST: i64 = 100;
/// The most acknowledgements of one request.
const MOST_ACKS: usize = 1_000;
/// How long an answer waits for something to tell (§2.5): shorter than a request may take.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

/// The poll endpoint of a stream.
pub(super) fn url(issuer: &str, stream: Uuid) -> String {
    format!("{issuer}/ssf/poll/{stream}")
}

/// What a receiver asks for (§2.2).
#[derive(Debug, PartialEq, Eq)]
struct PollRequest {
    max_events: i64,
    return_immediately: bool,
    /// What it has.
    acknowledged: Vec<Uuid>,
    /// What it will not take, and its word for why.
    refused: Vec<Uuid>,
}

/// `POST`.
pub(super) async fn poll(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    stream: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = polled(&app, &origin, stream, (&headers, body)).await;
    answer(&app, &origin, PATH, result.map(respond)).await
}

async fn polled(
    app: &App,
    origin: &Origin,
    stream: Result<Path<String>, PathRejection>,
    (headers, body): (&HeaderMap, Result<Bytes, BytesRejection>),
) -> Result<Value, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let id = uuid_in(stream)?;
    let request = PollRequest::read(&Body::read(headers, body)?)?;
    let context = origin.context(PATH, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let receiver = rounds!(unit, round(&mut unit, (&token, id)))?;
    settle(app, id, &request).await?;
    let (waiting, more, waited) = fetch(app, id, &request).await?;
    // Meanwhile the token, the client or the stream may have come to an end.
    let receiver = if waited && !waiting.is_empty() {
        let mut unit = app.ledger.unit_of_work(&context);
        rounds!(unit, round(&mut unit, (&token, id)))?
    } else {
        receiver
    };
    // Or the ledger may have been found to be another than the signed one.
    let waiting = if app.evidence.fault().is_some() {
        Vec::new()
    } else {
        waiting
    };
    let mut sets = Map::new();
    for one in waiting {
        let token = sign(app, (id, &receiver.registration), &one)?;
        sets.insert(one.jti.to_string(), token.into());
    }
    Ok(json!({ "sets": sets, "moreAvailable": more }))
}

async fn round(
    unit: &mut UnitOfWork<'_>,
    (token, id): (&BearerToken, Uuid),
) -> Result<Option<Receiver>, Rejection<ApiError>> {
    let receiver = Receiver::require(unit, token, READ).await?;
    let (_, open) = receiver.stream(unit, id).await?;
    if open.settings.delivery != StreamDelivery::Poll {
        let error = ApiError::ValidationError("The event stream is pushed: there is nothing to poll.");
        let refused = Rejection::new(error, RefusalReason::StreamRequest);
        return Err(refused.client(receiver.client));
    }
    Ok(unit.confirm().await?.then_some(receiver))
}

/// Acknowledged tokens wait no longer, nor do those that the receiver cannot make anything of (§2.6).
async fn settle(app: &App, id: Uuid, request: &PollRequest) -> Result<(), LedgerError> {
    let pool = app.ledger.pool();
    for (jtis, outcome) in [
        (&request.acknowledged, "delivered"),
        (&request.refused, "refused"),
    ] {
        if jtis.is_empty() {
            continue;
        }
        let settled = outbox::settle(pool, id, jtis).await?;
        metrics::counter!("grantlog_ssf_sets_total", "outcome" => outcome).increment(settled);
        if outcome == "refused" && settled > 0 {
            tracing::warn!(stream = %id, settled, "a receiver refused security event tokens");
        }
    }
    Ok(())
}

/// What there is, or comes within the wait; whether there is more, and whether it was waited for.
async fn fetch(
    app: &App,
    id: Uuid,
    request: &PollRequest,
) -> Result<(Vec<Waiting>, bool, bool), LedgerError> {
    let mut waited = Duration::ZERO;
    loop {
        let mut waiting = outbox::next(app.ledger.pool(), id, request.max_events + 1).await?;
        let fits = usize::try_from(request.max_events).unwrap_or_default();
        let more = waiting.len() > fits;
        waiting.truncate(fits);
        let done = request.return_immediately || request.max_events == 0 || waited >= LONGEST_WAIT;
        if done || !waiting.is_empty() {
            return Ok((waiting, more, !waited.is_zero()));
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
}

impl PollRequest {
    fn read(body: &Body) -> Result<Self, Rejection<ApiError>> {
        let max_events = match body.get("maxEvents") {
            None => MOST,
            Some(value) => value
                .as_i64()
                .filter(|most| *most >= 0)
                .ok_or_else(|| invalid("The maxEvents is not a number from 0 on."))?,
        };
        let return_immediately = match body.get("returnImmediately") {
            None => false,
            Some(value) => value
                .as_bool()
                .ok_or_else(|| invalid("The returnImmediately is neither true nor false."))?,
        };
        let acknowledged = match body.get("ack") {
            None => Vec::new(),
            Some(Value::Array(jtis)) => jtis.iter().map(Value::as_str).collect(),
            Some(_) => return Err(invalid("The ack is not a list.")),
        };
        let refused = match body.get("setErrs") {
            None => Vec::new(),
            Some(Value::Object(errors)) => errors.keys().map(|jti| Some(jti.as_str())).collect(),
            Some(_) => return Err(invalid("The setErrs are not an object.")),
        };
        Ok(Self {
            max_events: max_events.min(MOST),
            return_immediately,
            acknowledged: jtis(acknowledged)?,
            refused: jtis(refused)?,
        })
    }
}

/// Those that can be ours; others are nobody's.
fn jtis(texts: Vec<Option<&str>>) -> Result<Vec<Uuid>, Rejection<ApiError>> {
    if texts.len() > MOST_ACKS {
        return Err(invalid("More than 1000 tokens are acknowledged at once."));
    }
    let texts: Option<Vec<&str>> = texts.into_iter().collect();
    let texts = texts.ok_or_else(|| invalid("The ack is not a list of strings."))?;
    Ok(texts
        .into_iter()
        .filter_map(|text| Uuid::try_parse(text).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<PollRequest> {
        PollRequest::read(&Body::parse(text.as_bytes())?).ok()
    }

    #[test]
    fn a_poll_may_ask_for_everything_acknowledge_or_both() {
        let empty = read("{}").unwrap();
        assert_eq!((empty.max_events, empty.return_immediately), (MOST, false));
        let id = Uuid::from_u128(7);
        let request = read(&format!(
            r#"{{"maxEvents":0,"returnImmediately":true,"ack":["{id}","other"],"setErrs":{{"{id}":{{"err":"x"}}}}}}"#
        ));
        let request = request.unwrap();
        assert_eq!((request.max_events, request.return_immediately), (0, true));
        assert_eq!((request.acknowledged, request.refused), (vec![id], vec![id]));
        for bad in [
            r#"{"maxEvents":-1}"#,
            r#"{"ack":"x"}"#,
            r#"{"ack":[1]}"#,
            r#"{"setErrs":[]}"#,
            r#"{"returnImmediately":1}"#,
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_json_is_a_poll_or_refused(value in "[\\[\\]{}\"a-z0-9:,-]{0,60}") {
            let _ = read(&format!("{{\"ack\":{value},\"setErrs\":{value},\"maxEvents\":{value}}}"));
        }
    }
}
