//! What a receiver says of its stream, read and checked.

use axum::http::HeaderValue;
use serde_json::Value;
use uuid::Uuid;

use super::super::super::error::{ApiError, Rejection};
use super::super::body::Body;
use super::super::metadata::{POLL, PUSH};
use super::super::{invalid, poll};
use crate::app::App;
use crate::domain::ssf_stream::{SignalType, StreamDelivery, StreamSettings};
use crate::ssf::header::MAX_BYTES;

/// The longest address of a receiver.
const MAX_URL: usize = 2048;
/// The most event types that are read.
const MAX_EVENTS: usize = 100;

/// What a request says; none of what it does not mention.
#[derive(Debug)]
pub(super) struct Requested {
    events: Option<Vec<SignalType>>,
    delivery: Option<RequestedDelivery>,
    /// Whether it says something of the description, be it that there is none.
    describes: bool,
    description: Option<String>,
}

#[derive(Debug)]
enum RequestedDelivery {
    Poll,
    Push {
        endpoint_url: String,
        header: Option<String>,
    },
}

impl Requested {
    /// Reads the members that a receiver supplies; of a stream that is there, its poll endpoint may be repeated.
    pub(super) fn read(app: &App, body: &Body, stream: Option<Uuid>) -> Result<Self, Rejection<ApiError>> {
        let description = body.words(
            "description",
            "The description needs at most 200 characters of plain text.",
        )?;
        Ok(Self {
            events: events(body.get("events_requested"))?,
            delivery: match body.get("delivery") {
                None => None,
                Some(delivery) => Some(read_delivery(app, delivery, stream)?),
            },
            describes: body.has("description"),
            description,
        })
    }

    /// The header that goes with each push.
    pub(super) fn header(&self) -> Option<&str> {
        match &self.delivery {
            Some(RequestedDelivery::Push { header, .. }) => header.as_deref(),
            Some(RequestedDelivery::Poll) | None => None,
        }
    }

    /// The settings that come of it: what it does not mention stays, or is as for a new stream.
    pub(super) fn settings(&self, before: Option<&StreamSettings>) -> StreamSettings {
        let delivery = match &self.delivery {
            Some(RequestedDelivery::Push { endpoint_url, header }) => StreamDelivery::Push {
                endpoint_url: endpoint_url.clone(),
                authorized: header.is_some(),
            },
            Some(RequestedDelivery::Poll) => StreamDelivery::Poll,
            // §8.1.1.1: without, it is poll.
            None => before.map_or(StreamDelivery::Poll, |before| before.delivery.clone()),
        };
        let events = self
            .events
            .as_ref()
            .map(|events| events.iter().copied().collect());
        StreamSettings {
            delivery,
            events: events.or_else(|| before.and_then(|before| before.events.clone())),
            description: if self.describes {
                self.description.clone()
            } else {
                before.and_then(|before| before.description.clone())
            },
        }
    }
}

/// Event types; what is not known here is passed over (§8.1.1).
fn events(value: Option<&Value>) -> Result<Option<Vec<SignalType>>, Rejection<ApiError>> {
    const PROBLEM: &str = "The events_requested are not a list of at most 100 URIs.";
    let Some(value) = value else { return Ok(None) };
    let list = value.as_array().filter(|list| list.len() <= MAX_EVENTS);
    let uris: Option<Vec<&str>> = list.and_then(|list| list.iter().map(Value::as_str).collect());
    let uris = uris.ok_or_else(|| invalid(PROBLEM))?;
    Ok(Some(uris.into_iter().filter_map(SignalType::named).collect()))
}

fn read_delivery(
    app: &App,
    delivery: &Value,
    stream: Option<Uuid>,
) -> Result<RequestedDelivery, Rejection<ApiError>> {
    let member = |name: &str| match delivery.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(invalid("A member of delivery is not a string.")),
    };
    let url = member("endpoint_url")?;
    match member("method")? {
        Some(POLL) => match (url, stream) {
            // A new stream's is supplied here, whatever the receiver thinks.
            (None, _) | (Some(_), None) => Ok(RequestedDelivery::Poll),
            (Some(url), Some(id)) if url == poll::url(&app.settings.issuer, id) => {
                Ok(RequestedDelivery::Poll)
            }
            (Some(_), Some(_)) => Err(invalid(
                "The endpoint_url of a poll is the transmitter's to choose.",
            )),
        },
        Some(PUSH) => {
            let url = url.ok_or_else(|| invalid("The endpoint_url of the delivery is missing."))?;
            if url.len() > MAX_URL || app.outbound.check(url).is_err() {
                return Err(invalid(
                    "The endpoint_url is not an https URL of at most 2048 characters at a public address.",
                ));
            }
            Ok(RequestedDelivery::Push {
                endpoint_url: url.to_owned(),
                header: header(member("authorization_header")?)?,
            })
        }
        Some(_) | None => Err(invalid(
            "The delivery method is neither urn:ietf:rfc:8935 nor urn:ietf:rfc:8936.",
        )),
    }
}

fn header(text: Option<&str>) -> Result<Option<String>, Rejection<ApiError>> {
    let Some(text) = text else { return Ok(None) };
    if text.is_empty() || text.len() > MAX_BYTES || !text.is_ascii() || HeaderValue::from_str(text).is_err() {
        return Err(invalid("The authorization_header cannot be sent as a header."));
    }
    Ok(Some(text.to_owned()))
}
