//! `GET /admin/events`: the ledger as Server-Sent Events (WHATWG HTML §9.2), for clients that act for themselves with the
//! scope `admin`.
//!
//! A reader is paced, not buffered: no more is read from the ledger than it takes. Before each page of events its token is
//! looked at again, so that nothing that was recorded after a revocation reaches whoever it was revoked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use http_body_util::channel::{Channel, Sender};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::super::api::bearer::BearerToken;
use super::super::context::Origin;
use super::super::error::{ApiError, Rejection, WireError as _, no_store};
use super::AdminScope;
use super::endpoint::{About, Operation};
use super::looked::operator;
use super::openapi;
use super::parameters::Nothing;
use crate::app::App;
use crate::clock::monotonic;
use crate::domain::refusal::RefusalReason;
use crate::domain::stream::StreamFilter;
use crate::domain::trail::LedgerRead;
use crate::http::oauth::{answer, rounds};
use crate::ids::ClientKey;
use crate::ledger::{Actor, Context, LedgerError, UnitOfWork, head_position};
use crate::operations::OperationError;
use crate::stream::{Checkpoint, Envelope, read};

mod asked;
mod readers;

use asked::Asked;
use readers::{Place, Readers};

const ENDPOINT: &str = "/admin/events";
/// Where a reader says which position it had last.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies such as nginx to hand on what comes at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Events read at once.
const PAGE: u32 = 100;
/// Frames that wait for a reader.
const WAITING: usize = 16;
/// How often other nodes' events are looked for.
const POLL: Duration = Duration::from_millis(250);
/// How often a reader hears that the connection is there, and its token is looked at where nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often checkpoints are looked for at most.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How long a reader may take nothing at all.
const STALLED: Duration = Duration::from_mins(1);
/// Milliseconds after which a reader comes back when a connection has ended.
const RETRY: u32 = 2_000;

/// The connections of readers on this node.
pub struct EventStreams {
    free: Arc<Semaphore>,
    closing: watch::Sender<bool>,
    readers: Readers,
}

impl EventStreams {
    /// As many at once.
    #[must_use]
    pub fn new(connections: u32) -> Self {
        let connections = usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            closing: watch::Sender::new(false),
            readers: Readers::default(),
        }
    }

    /// Sets the gauge of the reader that is farthest behind the ledger's last position.
    pub fn measure(&self, head: i64) {
        let behind = self.readers.least().map_or(0, |least| (head - least).max(0));
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
        metrics::gauge!("grantlog_event_stream_lag_events").set(behind as f64);
    }

    /// Ends them all, and every one that is opened from now on: the server stops.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// The call, for the document.
pub(super) fn operations() -> Vec<Operation> {
    let about = About::get(
        ENDPOINT,
        ("streamEvents", "Follow the ledger as Server-Sent Events"),
    );
    let content = json!({"text/event-stream": {"schema": {"type": "string"}}});
    vec![Operation {
        about,
        route: get(events),
        describe: Box::new(move |generators| {
            let resumed = openapi::header(
                "Last-Event-ID",
                "Begin after this position, where the connection broke; it wins over `since`. Browsers send it themselves.",
                &json!({"type": "integer", "minimum": 0}),
            );
            openapi::raw::<Nothing, asked::Query>(about, (&[resumed], &content), generators)
        }),
    }]
}

/// Opens a stream of events.
pub async fn events(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let result = opened(&app, &origin, &headers, query.as_deref()).await;
    answer(&app, &origin, ENDPOINT, result).await
}

async fn opened(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Response, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let mut context = origin.context(ENDPOINT, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let client = rounds!(unit, round(&mut unit, &token))?;
    context.actor = Actor::Client(client);
    context.operator = operator(headers).map_err(malformed)?;
    let asked = Asked::parse(query, headers.get(&LAST_EVENT_ID)).map_err(malformed)?;
    let permit = Arc::clone(&app.event_streams.free).try_acquire_owned();
    let permit = permit.map_err(|_| {
        Rejection::new(
            ApiError::RateLimitExceeded(RETRY / 1_000),
            RefusalReason::TooManyEventStreams,
        )
        .client(client)
    })?;
    let head = head_position(app.ledger.pool())
        .await
        .map_err(LedgerError::from)?;
    let after = asked.after.unwrap_or(head);
    if after > head {
        return Err(malformed("The ledger has not come to this position yet."));
    }
    let filter = filter(app, &asked).await?;
    record(app, &context, &filter, (after, head)).await?;
    let (sender, body) = Channel::new(WAITING);
    let feed = Feed {
        app: app.clone(),
        context,
        token,
        filter,
        sender,
        after,
        delivered: 0,
        checkpoint: 0,
        told: after,
        spoke: monotonic(),
        checked: monotonic(),
        place: app.event_streams.readers.enter(after),
        _permit: permit,
    };
    tokio::spawn(feed.run());
    Ok(respond(body))
}

fn respond(body: Channel<Bytes>) -> Response {
    let mut response = Response::new(Body::new(body));
    no_store(&mut response);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn malformed(what: &'static str) -> Rejection<ApiError> {
    Rejection::new(ApiError::ValidationError(what), RefusalReason::MalformedQuery)
}

/// Who asks, where it may.
async fn round(
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
) -> Result<Option<ClientKey>, Rejection<ApiError>> {
    let administrator = super::require(unit, token, AdminScope::Read).await?;
    Ok(unit.confirm().await?.then_some(administrator.client))
}

async fn filter(app: &App, asked: &Asked) -> Result<StreamFilter, Rejection<ApiError>> {
    let mut clients = Vec::with_capacity(asked.clients.len());
    for client in &asked.clients {
        let known = app.operations.find_client(client).await?;
        clients.push(known.ok_or_else(|| malformed("There is no client of the id in the query."))?);
    }
    Ok(StreamFilter {
        types: asked.types.clone(),
        aggregates: asked.aggregates.clone(),
        clients,
    })
}

/// Nothing is shown before it is on the trail that somebody reads.
async fn record(
    app: &App,
    context: &Context,
    filter: &StreamFilter,
    (after, upto): (i64, i64),
) -> Result<(), Rejection<ApiError>> {
    let reading = LedgerRead {
        filters: filter.parts(),
        client: match filter.clients.as_slice() {
            [client] => Some(*client),
            _ => None,
        },
        ..LedgerRead::stretch(after, upto)
    };
    let recorded = app.operations.record_reading(context, reading).await;
    recorded.map_err(|error| {
        if let OperationError::Ledger(error) = error {
            return error.into();
        }
        tracing::error!(%error, "a reading of the ledger could not be recorded");
        Rejection::new(ApiError::ServerError, RefusalReason::UnexpectedOutcome)
    })
}

/// The reader is gone, or takes nothing.
struct Gone;

/// Why a stream ends, as its last event says.
type End = &'static str;

/// One reader's stream.
struct Feed {
    /// Given back before the reader hears that the stream has ended.
    _permit: OwnedSemaphorePermit,
    app: App,
    context: Context,
    token: BearerToken,
    filter: StreamFilter,
    sender: Sender<Bytes>,
    /// Everything up to here was sent, or filtered out.
    after: i64,
    delivered: i64,
    checkpoint: i64,
    /// The last position that the reader knows: where it would resume.
    told: i64,
    /// When the reader last got anything.
    spoke: Instant,
    /// When the token was last looked at.
    checked: Instant,
    place: Place,
}

impl Feed {
    async fn run(mut self) {
        metrics::gauge!("grantlog_event_stream_connections").increment(1);
        let end = self.send_all().await;
        // An error says that nobody is there to be told anything.
        let reason = end.as_ref().map_or("reader_gone", |end| *end);
        metrics::counter!("grantlog_event_stream_ends_total", "reason" => reason).increment(1);
        if let Ok(end) = end {
            let _ = self
                .send(frame(None, Some("end"), &format!(r#"{{"reason":"{end}"}}"#)))
                .await;
        }
        metrics::gauge!("grantlog_event_stream_connections").decrement(1);
    }

    async fn send_all(&mut self) -> Result<End, Gone> {
        // At once, so that the reader knows that it is connected.
        self.send(format!("retry: {RETRY}\n\n")).await?;
        let mut head = self.app.ledger.head();
        let mut closing = self.app.event_streams.closing.subscribe();
        let mut checkpoint_due = monotonic();
        loop {
            let (events, caught_up) = match self.page().await {
                Ok(page) => page,
                Err(end) => return Ok(end),
            };
            for event in &events {
                self.send(event_frame(event)).await?;
                self.delivered = event.position();
                self.told = event.position();
                self.place.reach(self.told);
            }
            self.place.reach(self.after);
            if checkpoint_due <= monotonic() {
                checkpoint_due = monotonic() + CHECKPOINT_EVERY;
                self.offer_checkpoint().await?;
            }
            if *closing.borrow() {
                return Ok("server_stops");
            }
            self.say_position().await?;
            if self.checked.elapsed() >= HEARTBEAT
                && let Err(end) = self.check().await
            {
                return Ok(end);
            }
            if !caught_up {
                continue;
            }
            let after = self.after;
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => {}
                _ = head.wait_for(|head| *head > after) => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Tells the reader how far it is, where nothing passed its filter: once per window of positions, so that it need not
    /// have them read again, and as a sign of life.
    async fn say_position(&mut self) -> Result<(), Gone> {
        let passed = self.after - self.told;
        if passed < read::WINDOW && self.spoke.elapsed() < HEARTBEAT {
            return Ok(());
        }
        // Without data it is no event: it only sets where a reader resumes (WHATWG HTML §9.2.6).
        let id = self.after;
        self.send(format!(": heartbeat\nid: {id}\n\n")).await?;
        self.told = id;
        Ok(())
    }

    /// What comes next, and whether that is all for now. The token was good after it was read.
    async fn page(&mut self) -> Result<(Vec<Envelope>, bool), End> {
        let pool = self.app.ledger.pool();
        let unavailable = |error: sqlx::Error| {
            tracing::warn!(%error, "a stream of events ends: the ledger could not be read");
            "temporarily_unavailable"
        };
        let head = head_position(pool).await.map_err(unavailable)?;
        let read = read::next(pool, &self.filter, (self.after, head), PAGE).await;
        let (events, window) = read.map_err(unavailable)?;
        if !events.is_empty() {
            self.check().await?;
        }
        self.after = window.upto;
        Ok((events, window.upto >= head))
    }

    /// Whether the token still opens what it opened.
    async fn check(&mut self) -> Result<(), End> {
        self.checked = monotonic();
        if self.app.evidence.fault().is_some() {
            return Err("ledger_not_whole");
        }
        if self.token.is_over(self.app.ledger.clock().now()) {
            return Err("token_expired");
        }
        let mut unit = self.app.ledger.unit_of_work(&self.context);
        let found: Result<ClientKey, Rejection<ApiError>> = rounds!(unit, round(&mut unit, &self.token));
        found.map(|_| ()).map_err(|rejection| rejection.error.code())
    }

    /// Each event is soon followed by a checkpoint that covers it.
    async fn offer_checkpoint(&mut self) -> Result<(), Gone> {
        if self.delivered <= self.checkpoint {
            return Ok(());
        }
        // The next round asks again.
        let Ok(Some(newest)) = read::checkpoint(self.app.ledger.pool()).await else {
            return Ok(());
        };
        if newest.size > self.checkpoint {
            self.checkpoint = newest.size;
            self.send(checkpoint_frame(&newest)).await?;
        }
        Ok(())
    }

    async fn send(&mut self, text: String) -> Result<(), Gone> {
        let sending = self.sender.send_data(Bytes::from(text));
        match tokio::time::timeout(STALLED, sending).await {
            Ok(Ok(())) => {
                self.spoke = monotonic();
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

/// One event of the stream. `data` is one line of JSON.
fn frame(id: Option<i64>, name: Option<&str>, data: &str) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
    format!("{id}{name}data: {data}\n\n")
}

fn event_frame(event: &Envelope) -> String {
    match event.document() {
        Ok(document) => frame(Some(event.position()), None, document.get()),
        // Every row is JSON; one that is not is damaged, which verification finds.
        Err(_) => frame(Some(event.position()), Some("unreadable"), "{}"),
    }
}

/// Without an id: a reader that comes back goes on after the last event.
fn checkpoint_frame(checkpoint: &Checkpoint) -> String {
    let data = json!({"size": checkpoint.size, "note": checkpoint.note});
    frame(None, Some("checkpoint"), &data.to_string())
}
