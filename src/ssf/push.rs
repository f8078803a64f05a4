//! Push delivery (RFC 8935): the next token of a stream is sent until its receiver acknowledges it, and then the one after.

use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderValue, StatusCode};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{MANAGE, MAX_AGE_DAYS, MAX_WAITING, READ, SignalError, header, outbox, rounds, set};
use crate::app::App;
use crate::domain::client::{Client, Registration, Standing};
use crate::domain::ssf_stream::{
    SsfStream, SsfStreamCommand, SsfStreamStatusChanged, StreamDelivery, StreamStatus,
};
use crate::ledger::{Actor, Context, LedgerError};
use crate::outbound::{Answer, Fetcher, Outgoing};

/// RFC 8935 §2.1.
const MEDIA_TYPE: &str = "application/secevent+jwt";
/// How many streams a node sends at once.
const AT_ONCE: i64 = 8;
/// How many tokens of a stream are sent before others have their turn.
const IN_A_ROW: i64 = 20;
/// For how long a node has a stream to itself: longer than so many calls may take.
const LEASE_SECONDS: f64 = 300.0;
/// The longest pause between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_mins(15);
/// How often streams are looked at that nobody takes.
const TEND_EVERY: Duration = Duration::from_secs(1);
/// What is read of a receiver's answer (RFC 8935 §2.3).
const MAX_ANSWER: usize = 16 * 1024;

/// Sends until told to stop.
pub(super) async fn run(app: App, stopped: watch::Receiver<bool>) {
    let fetcher = app.outbound.apart("ssf_push");
    rounds(("the delivery", &app), stopped, || round(&app, &fetcher)).await;
}

/// Turns off the streams whose receivers take nothing, until told to stop.
pub(super) async fn tend(app: App, mut stopped: watch::Receiver<bool>) {
    while !crate::logout::rest(&mut stopped, TEND_EVERY, std::future::pending()).await {
        if let Err(error) = disable_neglected(&app).await {
            let cause = &error as &dyn std::error::Error;
            tracing::warn!(
                error = cause,
                "event streams that nobody takes could not be disabled"
            );
        }
    }
}

async fn disable_neglected(app: &App) -> Result<(), SignalError> {
    app.evidence.require_sound()?;
    outbox::tend(app.ledger.pool()).await?;
    for stream in outbox::neglected(app.ledger.pool(), app.ledger.clock().now()).await? {
        disable(app, stream).await?;
    }
    Ok(())
}

/// Sends what is due. False: nothing was.
async fn round(app: &App, fetcher: &Fetcher) -> Result<bool, SignalError> {
    let taken = take(app).await?;
    let any = !taken.is_empty();
    let mut sending = JoinSet::new();
    for (stream, attempts) in taken {
        sending.spawn(send(app.clone(), fetcher.clone(), (stream, attempts)));
    }
    while let Some(sent) = sending.join_next().await {
        if let Ok(Err(error)) = sent {
            // Its lease ends, and it is tried again.
            tracing::warn!(%error, "signals could not be sent");
        }
    }
    Ok(any)
}

/// Takes streams that have something to send and may; with each, how often its next was sent in vain.
async fn take(app: &App) -> Result<Vec<(Uuid, i32)>, sqlx::Error> {
    sqlx::query_as(
        "UPDATE grantlog.ssf_streams AS s SET due_at = $1 + make_interval(secs => $2) \
         FROM (SELECT d.stream_id FROM grantlog.ssf_streams AS d WHERE d.push AND d.due_at <= $1 AND EXISTS ( \
                   SELECT FROM grantlog.ssf_sets AS t WHERE t.stream_id = d.stream_id \
                   AND (d.status = 'enabled' OR t.event_type = $4)) \
               ORDER BY d.due_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS mine \
         WHERE s.stream_id = mine.stream_id RETURNING s.stream_id, s.attempts",
    )
    .bind(app.ledger.clock().now())
    .bind(LEASE_SECONDS)
    .bind(AT_ONCE)
    .bind(outbox::STREAM_UPDATED)
    .fetch_all(app.ledger.pool())
    .await
}

/// Sends what comes next, until one is not acknowledged.
async fn send(app: App, fetcher: Fetcher, (stream, mut attempts): (Uuid, i32)) -> Result<(), SignalError> {
    let mut pause = Duration::ZERO;
    for waiting in outbox::next(app.ledger.pool(), stream, IN_A_ROW).await? {
        app.evidence.require_sound()?;
        match deliver(&app, &fetcher, stream, &waiting).await? {
            Ok(taken) => {
                attempts = 0;
                outbox::settle(app.ledger.pool(), stream, &[waiting.jti]).await?;
                if taken == Taken::Refused {
                    tracing::warn!(%stream, jti = %waiting.jti, "a receiver refused a security event token");
                }
                metrics::counter!("grantlog_ssf_sets_total", "outcome" => taken.outcome()).increment(1);
            }
            Err(error) => {
                attempts = attempts.saturating_add(1);
                pause = backoff(attempts);
                metrics::counter!("grantlog_ssf_sets_total", "outcome" => "failed").increment(1);
                tracing::info!(stream = %stream, attempts, error, "a signal was not acknowledged yet");
                break;
            }
        }
    }
    sqlx::query("UPDATE grantlog.ssf_streams SET due_at = $2, attempts = $3 WHERE stream_id = $1")
        .bind(stream)
        .bind(app.ledger.clock().now() + pause)
        .bind(attempts)
        .execute(app.ledger.pool())
        .await?;
    Ok(())
}

/// 1 second, 2, 4 … 15 minutes.
fn backoff(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(16);
    Duration::from_secs(1 << doublings).min(LONGEST_BACKOFF)
}

/// What a receiver made of a token, which is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// It has it.
    Acknowledged,
    /// It can make nothing of it, now or later.
    Refused,
}

impl Taken {
    /// Its word in metrics.
    fn outcome(self) -> &'static str {
        match self {
            Self::Acknowledged => "delivered",
            Self::Refused => "refused",
        }
    }

    /// What an answer means; none where the token is to be sent again. RFC 8935 §2.2: 202 and nothing else; 200 and 204
    /// are what some receivers make of it. §2: what did not fail for a passing reason should not be sent again. Of the
    /// errors of §2.3, only `invalid_request` is about the token itself; what the others say can be mended.
    fn of(answer: &Answer) -> Option<Self> {
        match answer.status {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => Some(Self::Acknowledged),
            StatusCode::BAD_REQUEST => {
                let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
                let error = body.as_ref().and_then(|body| body.get("err")?.as_str());
                (error == Some("invalid_request")).then_some(Self::Refused)
            }
            _ => None,
        }
    }
}

/// One transmission (RFC 8935 §2.1); what went wrong, in a word.
async fn deliver(
    app: &App,
    fetcher: &Fetcher,
    stream: Uuid,
    waiting: &outbox::Waiting,
) -> Result<Result<Taken, String>, LedgerError> {
    let loaded = app.operations.load::<SsfStream>(stream).await?;
    let Some(open) = &loaded.open else {
        return Ok(Ok(Taken::Acknowledged));
    };
    let StreamDelivery::Push {
        endpoint_url,
        authorized,
    } = &open.settings.delivery
    else {
        return Ok(Err("polled".to_owned()));
    };
    let client = app.operations.load::<Client>(open.client.0).await?;
    let receiver = client.registration.as_ref();
    let Some(receiver) = receiver.filter(|known| known.standing == Standing::Active) else {
        return Ok(Err("client_blocked".to_owned()));
    };
    if !may_receive(receiver) {
        return Ok(Err("not_approved".to_owned()));
    }
    let token = match set::sign(app, (stream, receiver), waiting) {
        Ok(token) => token,
        Err(LedgerError::Crypto(_)) => return Ok(Err("not_signed".to_owned())),
        Err(error) => return Err(error),
    };
    let mut request = Outgoing::post(endpoint_url, MEDIA_TYPE, token)
        .accept("application/json")
        .max_bytes(MAX_ANSWER);
    if *authorized {
        let header = header::find(&app.ledger, stream).await?;
        let header = header.and_then(|text| HeaderValue::from_str(&text).ok());
        match header {
            Some(mut value) => {
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            None => return Ok(Err("header_missing".to_owned())),
        }
    }
    Ok(match fetcher.send(request).await {
        Ok(answer) => Taken::of(&answer).ok_or_else(|| format!("status_{}", answer.status.as_u16())),
        Err(error) => Err(error.code().to_owned()),
    })
}

/// Whether the client may still hear of users, as the endpoints ask of its tokens.
fn may_receive(receiver: &Registration) -> bool {
    let may = |scope| receiver.metadata.scope.contains(scope) && receiver.is_approved(scope);
    may(MANAGE) || may(READ)
}

/// Turns a stream off whose receiver does not take what it is sent.
async fn disable(app: &App, stream: Uuid) -> Result<(), LedgerError> {
    let context = Context::local(app.ledger.random().uuid()?, Actor::System, "shared_signals");
    let command = SsfStreamCommand::ChangeStatus(SsfStreamStatusChanged {
        status: StreamStatus::Disabled,
        reason: Some(format!(
            "more than {MAX_WAITING} events, or one for more than {MAX_AGE_DAYS} days, were not acknowledged"
        )),
        by_transmitter: true,
        by_operator: None,
    });
    let mut unit = app.ledger.unit_of_work(&context);
    loop {
        let loaded = unit.load::<SsfStream>(stream).await?;
        if unit.conclude(&loaded, loaded.decide(&command)).await?.is_some() {
            tracing::warn!(%stream, "an event stream was disabled: its receiver does not acknowledge");
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_second_to_a_quarter_of_an_hour() {
        let seconds: Vec<u64> = [1, 2, 3, 10, 11, 1000].map(|n| backoff(n).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 512, 900, 900]);
    }
}
