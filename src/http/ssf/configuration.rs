//! `/ssf/stream`: streams created, read, updated, replaced and deleted by their receiver (SSF 1.0 §8.1.1).

mod requested;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use self::requested::Requested;
use super::super::api::bearer::BearerToken;
use super::super::api::respond;
use super::super::context::Origin;
use super::super::error::{ApiError, Rejection};
use super::super::oauth::{answer, rounds};
use super::body::{Body, stream_in};
use super::metadata::{POLL, PUSH};
use super::{MANAGE, READ, Receiver, acting, invalid, no_stream, poll};
use crate::app::App;
use crate::domain::client::Registration;
use crate::domain::refusal::RefusalReason;
use crate::domain::ssf_stream::{
    OpenStream, SignalType, SsfStream, SsfStreamCommand, SsfStreamCreated, StreamDelivery, StreamStatus,
};
use crate::ids::ClientKey;
use crate::ledger::{Actor, LANE, LedgerError, UnitOfWork, retrying};
use crate::ssf::{VERIFICATION_SECONDS, header};

pub(super) const PATH: &str = "/ssf/stream";
/// The most streams of one receiver.
const MOST_STREAMS: usize = 10;

/// `POST` (§8.1.1.1).
pub(super) async fn create(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = created(&app, &origin, &headers, body).await;
    let result = result.map(|configuration| (StatusCode::CREATED, respond(configuration)).into_response());
    answer(&app, &origin, PATH, result).await
}

async fn created(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Value, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let body = Body::read(headers, body)?;
    let requested = Requested::read(app, &body, None)?;
    let id = app.ledger.random().uuid().map_err(LedgerError::from)?;
    let context = acting(app, (origin, PATH), &token).await?;
    let mut unit = app.ledger.unit_of_work(&context);
    rounds!(unit, create_round(app, &mut unit, (&token, id), &requested))
}

async fn create_round(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    (token, id): (&BearerToken, Uuid),
    requested: &Requested,
) -> Result<Option<Value>, Rejection<ApiError>> {
    let receiver = Receiver::require(unit, token, MANAGE).await?;
    if streams_of(app, receiver.client).await?.len() >= MOST_STREAMS {
        let error = ApiError::Conflict("This client has as many event streams as it may have.");
        return Err(Rejection::new(error, RefusalReason::TooManyStreams).client(receiver.client));
    }
    if let Some(secret) = requested.header() {
        header::store(&app.ledger, id, secret).await?;
    }
    let stream = unit.create::<SsfStream>(id);
    let settings = requested.settings(None);
    let command = SsfStreamCommand::Create(SsfStreamCreated {
        client: receiver.client,
        settings: settings.clone(),
    });
    let open = OpenStream {
        held: false,
        client: receiver.client,
        settings,
        status: StreamStatus::Enabled,
        reason: None,
    };
    let concluded = unit.conclude(&stream, stream.decide(&command)).await?;
    Ok(concluded.map(|_| representation(app, &receiver.registration, (id, &open))))
}

/// `GET` (§8.1.1.2): one, or all of the receiver's.
pub(super) async fn read(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let result = found(&app, &origin, &headers, query.as_deref()).await;
    answer(&app, &origin, PATH, result.map(respond)).await
}

async fn found(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Value, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let id = stream_in(query)?;
    let context = origin.context(PATH, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    rounds!(unit, read_round(app, &mut unit, (&token, id)))
}

async fn read_round(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    (token, id): (&BearerToken, Option<Uuid>),
) -> Result<Option<Value>, Rejection<ApiError>> {
    let receiver = Receiver::require(unit, token, READ).await?;
    let found = if let Some(id) = id {
        let (_, open) = receiver.stream(unit, id).await?;
        representation(app, &receiver.registration, (id, &open))
    } else {
        let mut all = Vec::new();
        for id in streams_of(app, receiver.client).await? {
            let loaded = unit.load::<SsfStream>(id).await?;
            if let Some(open) = loaded.of(receiver.client) {
                all.push(representation(app, &receiver.registration, (id, open)));
            }
        }
        all.into()
    };
    Ok(unit.confirm().await?.then_some(found))
}

/// `PATCH` (§8.1.1.3).
pub(super) async fn update(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = changed(&app, &origin, (&headers, body), false).await;
    answer(&app, &origin, PATH, result.map(respond)).await
}

/// `PUT` (§8.1.1.4).
pub(super) async fn replace(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let result = changed(&app, &origin, (&headers, body), true).await;
    answer(&app, &origin, PATH, result.map(respond)).await
}

async fn changed(
    app: &App,
    origin: &Origin,
    (headers, body): (&HeaderMap, Result<Bytes, BytesRejection>),
    whole: bool,
) -> Result<Value, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let body = Body::read(headers, body)?;
    let id = body.stream_id()?;
    let requested = Requested::read(app, &body, Some(id))?;
    let context = acting(app, (origin, PATH), &token).await?;
    let mut unit = app.ledger.unit_of_work(&context);
    rounds!(
        unit,
        change_round(app, &mut unit, (&token, id, whole), (&body, &requested))
    )
}

async fn change_round(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    (token, id, whole): (&BearerToken, Uuid, bool),
    (body, requested): (&Body, &Requested),
) -> Result<Option<Value>, Rejection<ApiError>> {
    let receiver = Receiver::require(unit, token, MANAGE).await?;
    let (stream, mut open) = receiver.stream(unit, id).await?;
    // What this server says of the stream, if repeated, must be so before anything changes.
    let now = representation(app, &receiver.registration, (id, &open));
    let ours = [
        "iss",
        "aud",
        "events_supported",
        "events_delivered",
        "min_verification_interval",
    ];
    if ours
        .iter()
        .any(|name| body.has(name) && !now.get(*name).is_some_and(|ours| is_same(ours, body.get(name))))
    {
        let wrong = invalid("A property that the transmitter supplies is not as it is.");
        return Err(wrong.client(receiver.client));
    }
    if let Some(secret) = requested.header() {
        header::store(&app.ledger, id, secret).await?;
    }
    open.settings = requested.settings((!whole).then_some(&open.settings));
    let command = SsfStreamCommand::Configure(open.settings.clone());
    if unit.conclude(&stream, stream.decide(&command)).await?.is_none() {
        return Ok(None);
    }
    if !matches!(
        open.settings.delivery,
        StreamDelivery::Push { authorized: true, .. }
    ) {
        header::forget(&app.ledger, id).await?;
    }
    Ok(Some(representation(app, &receiver.registration, (id, &open))))
}

/// Lists are sets here.
fn is_same(ours: &Value, theirs: Option<&Value>) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Some(Value::Array(theirs))) => {
            ours.len() == theirs.len() && ours.iter().all(|one| theirs.contains(one))
        }
        (ours, Some(theirs)) => ours == theirs,
        (_, None) => false,
    }
}

/// `DELETE` (§8.1.1.5).
pub(super) async fn delete(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let result = deleted(&app, &origin, &headers, query.as_deref()).await;
    let result = result.map(|()| StatusCode::NO_CONTENT.into_response());
    answer(&app, &origin, PATH, result).await
}

async fn deleted(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<(), Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let id = stream_in(query)?.ok_or_else(|| invalid("The stream_id is missing."))?;
    let context = acting(app, (origin, PATH), &token).await?;
    let mut unit = app.ledger.unit_of_work(&context);
    rounds!(unit, delete_round(&mut unit, (&token, id)))?;
    Ok(header::forget(&app.ledger, id).await?)
}

async fn delete_round(
    unit: &mut UnitOfWork<'_>,
    (token, id): (&BearerToken, Uuid),
) -> Result<Option<()>, Rejection<ApiError>> {
    let receiver = Receiver::require(unit, token, MANAGE).await?;
    let (stream, _) = receiver.stream(unit, id).await?;
    let concluded = unit
        .conclude(&stream, stream.decide(&SsfStreamCommand::Delete))
        .await?;
    match concluded.map(|concluded| concluded.outcome) {
        None => Ok(None),
        Some(Ok(())) => Ok(Some(())),
        Some(Err(_)) => Err(no_stream()),
    }
}

/// The receiver's streams, the oldest first, as the ledger has them now.
async fn streams_of(app: &App, client: ClientKey) -> Result<Vec<Uuid>, LedgerError> {
    let found = retrying(|| async {
        sqlx::query_scalar(
            "SELECT c.aggregate_id FROM grantlog.ledger_ssf_stream AS c \
             WHERE c.lane = $1 AND c.event_type = 'SsfStreamCreated' AND c.payload->>'client' = $2 AND NOT EXISTS ( \
                 SELECT FROM grantlog.ledger_ssf_stream AS d WHERE d.lane = c.lane \
                 AND d.aggregate_type = c.aggregate_type AND d.aggregate_id = c.aggregate_id \
                 AND d.event_type = 'SsfStreamDeleted') ORDER BY c.position",
        )
        .bind(LANE)
        .bind(client.to_string())
        .fetch_all(app.ledger.pool())
        .await
    });
    Ok(found.await?)
}

/// A stream's configuration (§8.1.1). The header of a push is not told: it is the receiver's secret.
fn representation(app: &App, registration: &Registration, (id, open): (Uuid, &OpenStream)) -> Value {
    let issuer = &app.settings.issuer;
    let delivery = match &open.settings.delivery {
        StreamDelivery::Poll => json!({
            "method": POLL,
            "endpoint_url": poll::url(issuer, id),
        }),
        StreamDelivery::Push { endpoint_url, .. } => json!({
            "method": PUSH,
            "endpoint_url": endpoint_url,
        }),
    };
    let uris = |kinds: &mut dyn Iterator<Item = SignalType>| kinds.map(SignalType::uri).collect::<Vec<_>>();
    let mut configuration = json!({
        "stream_id": id,
        "iss": issuer,
        "aud": registration.client_id,
        "events_supported": uris(&mut SignalType::ALL.iter().copied()),
        "events_delivered": uris(&mut open.settings.delivered().into_iter()),
        "delivery": delivery,
        "min_verification_interval": VERIFICATION_SECONDS,
    });
    if let Some(members) = configuration.as_object_mut() {
        if let Some(events) = &open.settings.events {
            members.insert(
                "events_requested".to_owned(),
                uris(&mut events.iter().copied()).into(),
            );
        }
        if let Some(description) = &open.settings.description {
            members.insert("description".to_owned(), description.as_str().into());
        }
    }
    configuration
}
