//! One way for all calls of the administration API: who calls is known first, then what is asked, then it is on the trail,
//! then it is done. What describes a call ([`About`], and the types that it takes and answers) is both its route and its
//! part of the OpenAPI document, so that they cannot differ.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, RawPathParamsRejection};
use axum::extract::{RawPathParams, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::api::bearer::BearerToken;
use super::super::api::respond;
use super::super::context::Origin;
use super::super::error::{AdminError, Rejection};
use super::super::form::Form;
use super::body::{NoBody, RequestBody};
use super::looked::{self, Looked};
use super::openapi::{self, Generators};
use super::parameters::{self, Id, Nothing, Parameters};
use super::scope::AdminScope;
use super::{Administrator, require};
use crate::app::App;
use crate::domain::refusal::RefusalReason;
use crate::domain::trail::LedgerRead;
use crate::domain::user::User;
use crate::http::oauth::{answer, rounds};
use crate::ids::{ClientKey, SubjectId};
use crate::ledger::{Actor, Context, LedgerError, UnitOfWork, head_position};
use crate::operations::Operations;

/// Why a call is refused.
pub(in crate::http) type Rejected = Rejection<AdminError>;

/// The methods of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::http) enum Verb {
    Get,
    Post,
    Patch,
    Put,
}

impl Verb {
    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Put => MethodFilter::PUT,
        }
    }

    /// As OpenAPI spells it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Patch => "patch",
            Self::Put => "put",
        }
    }
}

/// What a call is.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct About {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    /// The `operationId`.
    pub(super) id: &'static str,
    /// What it does, in a line.
    pub(super) summary: &'static str,
    pub(super) scope: AdminScope,
    pub(super) status: StatusCode,
}

impl About {
    const fn new(verb: Verb, path: &'static str, (id, summary): (&'static str, &'static str)) -> Self {
        Self {
            verb,
            path,
            id,
            summary,
            scope: AdminScope::Read,
            status: StatusCode::OK,
        }
    }

    /// A call that shows something.
    pub(in crate::http) const fn get(path: &'static str, what: (&'static str, &'static str)) -> Self {
        Self::new(Verb::Get, path, what)
    }

    /// A call that does something.
    pub(in crate::http) const fn post(
        scope: AdminScope,
        path: &'static str,
        what: (&'static str, &'static str),
    ) -> Self {
        let mut about = Self::new(Verb::Post, path, what);
        about.scope = scope;
        about
    }

    /// A call that changes members of something.
    pub(in crate::http) const fn patch(path: &'static str, what: (&'static str, &'static str)) -> Self {
        let mut about = Self::new(Verb::Patch, path, what);
        about.scope = AdminScope::Configure;
        about
    }

    /// A call that sets something as a whole.
    pub(in crate::http) const fn put(path: &'static str, what: (&'static str, &'static str)) -> Self {
        let mut about = Self::new(Verb::Put, path, what);
        about.scope = AdminScope::Configure;
        about
    }

    /// With another scope.
    pub(in crate::http) const fn scope(mut self, scope: AdminScope) -> Self {
        self.scope = scope;
        self
    }

    /// Its answer says that something was created (201).
    pub(in crate::http) const fn creates(mut self) -> Self {
        self.status = StatusCode::CREATED;
        self
    }
}

/// What is asked.
pub(in crate::http) struct Asked<P = Nothing, Q = Nothing, B = NoBody> {
    pub(in crate::http) path: P,
    pub(in crate::http) query: Q,
    pub(in crate::http) body: B,
}

/// A call of somebody who may.
#[derive(Clone)]
pub(in crate::http) struct Call {
    pub(in crate::http) app: App,
    pub(in crate::http) context: Context,
    pub(in crate::http) administrator: Administrator,
    /// Where the ledger ended when it began.
    pub(in crate::http) head: i64,
    /// What it looks at.
    pub(in crate::http) looked: Looked,
}

impl Call {
    pub(in crate::http) fn operations(&self) -> &Operations {
        &self.app.operations
    }

    /// The context with an administrator's reason, which is recorded too where nothing is to be done.
    pub(in crate::http) fn because(&self, reason: Option<String>) -> Context {
        self.looked.because(reason.clone());
        Context {
            note: reason,
            ..self.context.clone()
        }
    }

    /// Nothing is shown before it is on the trail that somebody reads.
    pub(in crate::http) async fn record(&self, reading: LedgerRead) -> Result<(), Rejected> {
        Ok(self.operations().record_reading(&self.context, reading).await?)
    }

    /// Before its answer leaves, each call is on the trail: one that appended nothing as a reading.
    async fn conclude(&self) -> Result<(), Rejected> {
        if self.context.has_appended() {
            return Ok(());
        }
        let (reading, note) = self.looked.reading();
        let context = Context {
            note,
            ..self.context.clone()
        };
        Ok(self.operations().record_reading(&context, reading).await?)
    }

    /// Says whom it looks at.
    pub(in crate::http) fn looks_at_user(&self, subject: SubjectId) -> SubjectId {
        self.looked.at(|reading| reading.subject = Some(subject));
        subject
    }

    /// Says at which client it looks.
    pub(in crate::http) fn looks_at_client(&self, client: ClientKey) -> ClientKey {
        self.looked.at(|reading| reading.client = Some(client));
        client
    }

    /// Names the caller in a refusal.
    pub(in crate::http) fn refuse(&self, error: AdminError, reason: RefusalReason) -> Rejected {
        Rejection::new(error, reason).client(self.administrator.client)
    }

    /// What is asked for is not there.
    pub(in crate::http) fn missing(&self, detail: impl Into<String>) -> Rejected {
        self.refuse(AdminError::missing(detail), RefusalReason::NoSuchResource)
    }

    /// What is asked for is not acceptable.
    pub(in crate::http) fn invalid(&self, detail: impl Into<String>) -> Rejected {
        self.refuse(AdminError::invalid(detail), RefusalReason::AdministrationInvalid)
    }

    /// The client of that name, which must exist.
    pub(in crate::http) async fn client(&self, client_id: &str) -> Result<ClientKey, Rejected> {
        let known = self.operations().known_client(client_id).await?;
        let known = known.ok_or_else(|| self.missing("There is no client of this id."))?;
        Ok(self.looks_at_client(known))
    }

    /// The user of that id, who must exist, or have been erased.
    pub(in crate::http) async fn user(&self, id: Id) -> Result<SubjectId, Rejected> {
        let exists = self.operations().load::<User>(id.0).await?.exists();
        let known = exists.then_some(SubjectId(id.0));
        let known = known.ok_or_else(|| self.missing("There is no user of this id."))?;
        Ok(self.looks_at_user(known))
    }

    /// As [`Self::client`], for a filter or a selector: where there is no such client the request is wrong, not its path.
    pub(in crate::http) async fn named_client(&self, client_id: &str) -> Result<ClientKey, Rejected> {
        let known = self.operations().known_client(client_id).await?;
        let known = known.ok_or_else(|| self.invalid("client: there is no client of this id."))?;
        Ok(self.looks_at_client(known))
    }

    /// As [`Self::user`], for a filter or a selector.
    pub(in crate::http) async fn named_user(&self, user: &str) -> Result<SubjectId, Rejected> {
        let known = self.operations().known_user(user).await?;
        let known = known.ok_or_else(|| self.invalid("user: there is no user of this name or id."))?;
        Ok(self.looks_at_user(known))
    }

    /// The database failed.
    pub(in crate::http) fn failed(error: sqlx::Error) -> Rejected {
        LedgerError::from(error).into()
    }
}

/// A call with its route and its part of the document.
pub(in crate::http) struct Operation {
    pub(super) about: About,
    pub(super) route: MethodRouter<App>,
    pub(super) describe: Box<dyn Fn(&mut Generators) -> serde_json::Value>,
}

/// A call, by the function that does it.
pub(in crate::http) fn operation<P, Q, B, A, F, Answered>(about: About, handler: F) -> Operation
where
    P: Parameters,
    Q: Parameters,
    B: RequestBody,
    A: Serialize + JsonSchema + Send + 'static,
    F: Fn(Call, Asked<P, Q, B>) -> Answered + Copy + Send + Sync + 'static,
    Answered: Future<Output = Result<A, Rejected>> + Send + 'static,
{
    let serve = move |State(app): State<App>,
                      Extension(origin): Extension<Origin>,
                      path: Result<RawPathParams, RawPathParamsRejection>,
                      RawQuery(query): RawQuery,
                      headers: HeaderMap,
                      body: Result<Bytes, BytesRejection>| async move {
        let result = async {
            let call = admitted(&app, &origin, &headers, about).await?;
            let asked = read(&call.looked, (path, query.as_deref()), (&headers, body));
            let asked = asked.map_err(|rejection| rejection.client(call.administrator.client))?;
            let answered = handler(call.clone(), asked).await?;
            call.conclude().await?;
            Ok(answered)
        };
        let result: Result<A, Rejected> = result.await;
        answer(
            &app,
            &origin,
            about.path,
            result.map(|body| answered(about.status, body)),
        )
        .await
    };
    Operation {
        about,
        route: on(about.verb.filter(), serve),
        describe: Box::new(move |generators| openapi::operation::<P, Q, B, A>(about, generators)),
    }
}

fn answered<A: Serialize>(status: StatusCode, body: A) -> Response {
    let mut response = respond(body);
    *response.status_mut() = status;
    response
}

/// The caller, where it may.
async fn admitted(app: &App, origin: &Origin, headers: &HeaderMap, about: About) -> Result<Call, Rejected> {
    let token = BearerToken::read(app, origin, headers).await?;
    let mut context = origin.context(about.path, Actor::Anonymous);
    let mut unit = app.ledger.unit_of_work(&context);
    let found: Result<Administrator, Rejection<super::super::error::ApiError>> =
        rounds!(unit, round(&mut unit, &token, about.scope));
    let administrator = found?;
    context.actor = Actor::Client(administrator.client);
    context.operator = looked::operator(headers).map_err(|what| {
        Rejection::new(AdminError::invalid(what), RefusalReason::AdministrationInvalid)
            .client(administrator.client)
    })?;
    let head = head_position(app.ledger.pool())
        .await
        .map_err(LedgerError::from)?;
    Ok(Call {
        app: app.clone(),
        context,
        administrator,
        head,
        looked: Looked::new(head),
    })
}

async fn round(
    unit: &mut UnitOfWork<'_>,
    token: &BearerToken,
    scope: AdminScope,
) -> Result<Option<Administrator>, Rejection<super::super::error::ApiError>> {
    let administrator = require(unit, token, scope).await?;
    Ok(unit.confirm().await?.then_some(administrator))
}

/// Parameters of a path that say at which user or client a call looks, once it is known that there is one.
const RESOLVED: [&str; 2] = ["sub", "client_id"];

/// Reads what is asked. What else the path names is recorded as it is: where it is nothing, the call is refused.
fn read<P: Parameters, Q: Parameters, B: RequestBody>(
    looked: &Looked,
    (path, query): (Result<RawPathParams, RawPathParamsRejection>, Option<&str>),
    (headers, body): (&HeaderMap, Result<Bytes, BytesRejection>),
) -> Result<Asked<P, Q, B>, Rejected> {
    let invalid = |what: String, reason| Rejection::new(AdminError::invalid(what), reason);
    let malformed = || {
        invalid(
            "The path has an id that is not UTF-8.".to_owned(),
            RefusalReason::MalformedId,
        )
    };
    let path = path.map_err(|_| malformed())?;
    let resource = path.iter().find(|(name, _)| !RESOLVED.contains(name));
    looked.at(|reading| reading.resource = resource.map(|(_, value)| value.to_owned()));
    let path = parameters::read(path.iter()).map_err(|what| invalid(what, RefusalReason::MalformedId))?;
    let query = Form::parse(query.unwrap_or_default())
        .map_err(|error| invalid(error.to_string(), RefusalReason::MalformedQuery))?;
    looked.at(|reading| reading.filters = query.iter().map(|(name, _)| name.to_owned()).collect());
    let query =
        parameters::read(query.iter()).map_err(|what| invalid(what, RefusalReason::MalformedQuery))?;
    let body = body.map_err(|rejection| {
        let what = rejection.into_response().status();
        let (what, reason) = match what {
            StatusCode::PAYLOAD_TOO_LARGE => ("The body is too large.", RefusalReason::BodyTooLarge),
            _ => ("The body could not be read.", RefusalReason::UnreadableBody),
        };
        invalid(what.to_owned(), reason)
    })?;
    let body = B::read(headers, &body)?;
    Ok(Asked { path, query, body })
}
