//! `GET /admin/grants/{id}` and `POST /admin/grants/lookup`: a grant's whole life, by its id or by a credential of it.
//! That it is read is on the trail before anything is shown.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;

use super::super::api::bearer::BearerToken;
use super::super::api::{respond, uuid_in};
use super::super::context::Origin;
use super::super::error::{ApiError, Rejection};
use super::super::form::{self, Form, FormError};
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::trail::LedgerRead;
use crate::http::oauth::{answer, rounds};
use crate::ids::{ClientKey, GrantId};
use crate::ledger::{Actor, LedgerError, UnitOfWork, head_position};
use crate::trail::history::History;
use crate::trail::pasted::{Pasted, PastedError};

const BY_ID: &str = "/admin/grants/{id}";
const LOOKUP: &str = "/admin/grants/lookup";
const NOT_FOUND: &str = "There is no grant with this id, or the credential is none of this server.";

/// A grant, by its id.
pub async fn grant(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let found = async {
        let client = administrator(&app, &origin, &headers, BY_ID).await?;
        let pasted = Pasted::named(GrantId(uuid_in(id)?));
        let query = Form::parse(query.as_deref().unwrap_or_default()).map_err(|_| malformed_query())?;
        history(&app, &origin, (BY_ID, client), (pasted, reveals(&query)?)).await
    };
    let found = found.await;
    answer(&app, &origin, BY_ID, found.map(respond)).await
}

/// A grant, by a credential of it (or by its id), in a form: `credential`. It is digested and forgotten.
pub async fn lookup(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let found = async {
        let client = administrator(&app, &origin, &headers, LOOKUP).await?;
        let form = read(&headers, body)?;
        let missing = || {
            Rejection::new(
                ApiError::ValidationError("The form has no parameter credential."),
                RefusalReason::ParameterMissing,
            )
        };
        let credential = form.get("credential").ok_or_else(missing)?;
        let pasted = Pasted::find(&app.operations, credential)
            .await
            .map_err(not_found)?;
        history(&app, &origin, (LOOKUP, client), (pasted, reveals(&form)?)).await
    };
    let found = found.await;
    answer(&app, &origin, LOOKUP, found.map(respond)).await
}

/// The administrator's client. Nobody else learns whether an id is a grant's.
async fn administrator(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    endpoint: &'static str,
) -> Result<ClientKey, Rejection<ApiError>> {
    let token = BearerToken::read(app, origin, headers).await?;
    let context = origin.context(endpoint, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    rounds!(unit, round(&mut unit, &token))
}

async fn round(
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
) -> Result<Option<ClientKey>, Rejection<ApiError>> {
    let active = super::require(unit, token).await?;
    Ok(unit.confirm().await?.then_some(active.client()))
}

fn read(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Form, Rejection<ApiError>> {
    let malformed = |what, reason| Rejection::new(ApiError::ValidationError(what), reason);
    let wrong = |error| match error {
        FormError::ContentType | FormError::Charset => malformed(
            "The content type is not application/x-www-form-urlencoded in UTF-8.",
            RefusalReason::WrongContentType,
        ),
        FormError::Duplicate(_)
        | FormError::NotUtf8
        | FormError::Nul
        | FormError::TooMany
        | FormError::NotFlatJson => malformed(
            "The body is not a form in UTF-8 with each parameter once.",
            RefusalReason::MalformedBody,
        ),
    };
    form::check_content_type(headers).map_err(wrong)?;
    let body = body.map_err(|_| malformed("The body could not be read.", RefusalReason::UnreadableBody))?;
    Form::parse_bytes(&body).map_err(wrong)
}

fn malformed_query() -> Rejection<ApiError> {
    Rejection::new(
        ApiError::ValidationError("The query is malformed; it may have reveal=true or reveal=false."),
        RefusalReason::MalformedQuery,
    )
}

/// Whether callers' addresses and agents are to be decrypted.
fn reveals(form: &Form) -> Result<bool, Rejection<ApiError>> {
    match form.get("reveal") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(malformed_query()),
    }
}

fn not_found(error: PastedError) -> Rejection<ApiError> {
    match error {
        PastedError::Unknown | PastedError::NoPassportKey | PastedError::OtherPassportKey => missing(),
        PastedError::Ledger(error) => error.into(),
        PastedError::Password(_) => LedgerError::Unavailable.into(),
    }
}

fn missing() -> Rejection<ApiError> {
    Rejection::new(ApiError::ResourceNotFound(NOT_FOUND), RefusalReason::NoSuchGrant)
}

/// The grant's history, once it is recorded that it is read.
async fn history(
    app: &App,
    origin: &Origin,
    (endpoint, client): (&'static str, ClientKey),
    (pasted, revealed): (Pasted, bool),
) -> Result<Value, Rejection<ApiError>> {
    let head = head_position(app.ledger.pool())
        .await
        .map_err(LedgerError::from)?;
    let reading = LedgerRead {
        grant: Some(pasted.grant),
        after: 0,
        upto: head,
        filters: Vec::new(),
        revealed,
    };
    let context = origin.context(endpoint, Actor::Client(client));
    let recorded = app.operations.record_reading(&context, reading).await;
    recorded.map_err(super::unrecorded)?;
    let events = app.operations.grant_events(pasted.grant).await?;
    let history = History::read(&app.operations, (&pasted, events), i64::MAX).await?;
    let history = history.ok_or_else(missing)?;
    Ok(history.document(&app.ledger, revealed).await?)
}
