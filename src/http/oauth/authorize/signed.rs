//! A visit whose request is a signed request object: it is verified when the browser first brings it. Its time counts
//! then; the user may take longer over the pages than the object is good. So our forms carry, beside the object, when it
//! was opened, under a digest of ours.

use chrono::{DateTime, TimeDelta};
use url::form_urlencoded;

use super::error::{AuthorizeError, Failure};
use super::parameters::Parameters;
use super::request;
use super::request_object::{self, PARAMETER};
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::http::error::Rejection;
use crate::http::oauth::rounds;
use crate::http::page::PageError;
use crate::ledger::{Context, UnitOfWork};

/// What our forms carry: microseconds since 1970, and the digest.
const OPENED: &str = "request_opened";
/// How long a user who was shown a page has to answer, as for a pushed request.
const TIME_TO_ANSWER: TimeDelta = TimeDelta::minutes(30);

/// A request object that a browser has brought, verified.
pub(super) struct Signed {
    /// Its parameters, form-encoded.
    pub(super) parameters: String,
    /// When a browser first brought it.
    pub(super) opened_at: Timestamp,
}

impl Signed {
    /// Verifies the request object, where the request has one.
    pub(super) async fn open(
        app: &App,
        context: &Context,
        outer: &Parameters,
    ) -> Result<Option<Self>, Failure> {
        let Some(object) = outer.get(PARAMETER) else {
            return Ok(None);
        };
        let mut unit = app.ledger.unit_of_work(context);
        rounds!(unit, round(app, &mut unit, outer, object)).map(Some)
    }

    /// The query with the mark that it was opened.
    pub(super) fn marked(&self, app: &App, outer: &Parameters) -> String {
        let object = outer.get(PARAMETER).unwrap_or_default();
        let mark = mark(app, object, self.opened_at);
        let query = outer.without(OPENED);
        form_urlencoded::Serializer::new(query)
            .append_pair(OPENED, &mark)
            .finish()
    }
}

async fn round(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    outer: &Parameters,
    object: &str,
) -> Result<Option<Signed>, Failure> {
    let (key, registration) = request::client(app, unit, outer).await?;
    let opened_at = opened_before(app, outer, object, unit.at()).unwrap_or(unit.at());
    let verified = request_object::parameters(app, &registration, object, opened_at, |name| outer.get(name));
    let reason = match verified.await {
        Ok(parameters) => {
            return Ok(Some(Signed {
                parameters,
                opened_at,
            }));
        }
        Err(reason) => reason,
    };
    // Where it goes is known of the query alone, and only to an address that is registered and that somebody vouches for
    // (RFC 9700 §4.11.2).
    let vouched = registration.registration_access_token.is_none();
    match request::target(app, unit, outer).await {
        Ok(target) if vouched => {
            let error = AuthorizeError::InvalidRequestObject(request_object::what(reason));
            Err(Failure::redirect(
                &target.back,
                (key, None),
                Rejection::new(error, reason),
            ))
        }
        Err(rejection) if rejection.reason == RefusalReason::LedgerUnavailable => Err(rejection.into()),
        Ok(_) | Err(_) => Err(Rejection::new(PageError::RequestObjectInvalid, reason)
            .client(key)
            .into()),
    }
}

/// When one of our pages was made of it; none where that is not to be believed, or too long ago.
fn opened_before(app: &App, outer: &Parameters, object: &str, at: Timestamp) -> Option<Timestamp> {
    let said = outer.get(OPENED)?;
    let (micros, digest) = said.split_once('.')?;
    let opened_at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
    let known = Digest::from_hex(digest)?;
    let is_ours = known.matches(&digest_of(app, object, opened_at));
    (is_ours && at < opened_at + TIME_TO_ANSWER).then_some(opened_at)
}

fn mark(app: &App, object: &str, opened_at: Timestamp) -> String {
    format!(
        "{}.{}",
        opened_at.timestamp_micros(),
        digest_of(app, object, opened_at)
    )
}

fn digest_of(app: &App, object: &str, opened_at: Timestamp) -> Digest {
    let micros = opened_at.timestamp_micros().to_be_bytes();
    let master = app.ledger.vault().master();
    master.form_token(&[b"request object", &micros, object.as_bytes()])
}
