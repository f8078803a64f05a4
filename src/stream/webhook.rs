//! Webhooks: CloudEvents 1.0, signed as Standard Webhooks has it, posted through [`crate::outbound`].

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use chrono::DateTime;

use super::cloud_event::{BATCH_MEDIA_TYPE, CloudEvent, MEDIA_TYPE};
use super::envelope::{Checkpoint, Envelope};
use super::sink::{Delivering, Delivery, Failure, Limits, Sink};
use super::standard_webhooks::{ID, SIGNATURE, SigningKeys, TIMESTAMP};
use crate::app::App;
use crate::clock::{Clock, monotonic};
use crate::outbound::{Fetcher, Outgoing};

/// The most bytes of a batch, unless one event alone has more.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// A receiver of webhooks.
pub struct Webhook {
    fetcher: Fetcher,
    clock: Clock,
    issuer: String,
    url: String,
    batched: bool,
    keys: SigningKeys,
    limits: Limits,
}

impl Webhook {
    /// The receiver at a URL; each request is signed with each secret.
    #[must_use]
    pub fn open(app: &App, (url, batched): (&str, bool), secrets: &[Vec<u8>], limits: Limits) -> Self {
        Self {
            fetcher: app.outbound.apart("webhook"),
            clock: app.ledger.clock().clone(),
            issuer: app.settings.issuer.clone(),
            url: url.to_owned(),
            batched,
            keys: SigningKeys::new(secrets),
            limits,
        }
    }

    /// One request each, until one fails or the turn is over.
    async fn one_by_one(&self, events: &[Envelope]) -> Delivery {
        let began = monotonic();
        for (sent, event) in events.iter().enumerate() {
            if sent > 0 && began.elapsed() >= self.limits.turn {
                return Delivery::of(sent);
            }
            let posted = match json(&self.issuer, event) {
                Ok(body) => {
                    self.post(&format!("evt_{}", event.position()), MEDIA_TYPE, body)
                        .await
                }
                Err(failure) => Err(failure),
            };
            if let Err(failure) = posted {
                return Delivery::failed(sent, failure);
            }
        }
        Delivery::of(events.len())
    }

    /// As many in one request as fit.
    async fn together(&self, events: &[Envelope]) -> Delivery {
        let mut body = String::from("[");
        let mut taken = 0;
        let (mut first, mut last) = (0, 0);
        for event in events {
            let event_json = match json(&self.issuer, event) {
                Ok(text) => text,
                Err(failure) if taken == 0 => return Delivery::failed(0, failure),
                Err(_) => break,
            };
            if taken > 0 && body.len() + event_json.len() > MAX_BATCH_BYTES {
                break;
            }
            if taken > 0 {
                body.push(',');
            } else {
                first = event.position();
            }
            body.push_str(&event_json);
            last = event.position();
            taken += 1;
        }
        body.push(']');
        match self
            .post(&format!("evt_{first}_{last}"), BATCH_MEDIA_TYPE, body)
            .await
        {
            Ok(()) => Delivery::of(taken),
            Err(failure) => Delivery::failed(0, failure),
        }
    }

    async fn post(&self, id: &str, media_type: &'static str, body: String) -> Result<(), Failure> {
        let timestamp = self.clock.now().timestamp();
        let signature = self.keys.sign(id, timestamp, body.as_bytes());
        let (Some(signature), Ok(name)) = (signature, id.parse()) else {
            return Err(Failure::new("not_signed"));
        };
        let request = Outgoing::post(&self.url, media_type, body)
            .header(ID, name)
            .header(TIMESTAMP, timestamp.into())
            .header(SIGNATURE, signature)
            .timeout(self.limits.request);
        let answer = self.fetcher.send(request).await;
        let answer = answer.map_err(|error| Failure::new(error.code()))?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(refused(answer.status, &answer.headers))
    }
}

fn json(issuer: &str, event: &Envelope) -> Result<String, Failure> {
    let text = CloudEvent::of(issuer, event).and_then(|event| event.to_json());
    text.map_err(|_| Failure::new("not_json"))
}

/// What an answer that is no success means.
pub(super) fn refused(status: StatusCode, headers: &HeaderMap) -> Failure {
    Failure {
        code: format!("status_{}", status.as_u16()),
        retry_after: retry_after(headers),
        gone: status == StatusCode::GONE,
    }
}

/// `Retry-After` as seconds, or as a date, which is compared with the answer's own (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let after = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| DateTime::parse_from_rfc2822(text).ok();
    let wait = date(after)? - date(text(header::DATE)?)?;
    wait.to_std().ok()
}

impl Sink for Webhook {
    fn deliver<'a>(&'a mut self, events: &'a [Envelope]) -> Delivering<'a, Delivery> {
        Box::pin(async move {
            if self.batched {
                self.together(events).await
            } else {
                self.one_by_one(events).await
            }
        })
    }

    fn checkpoint<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> Delivering<'a, Result<(), Failure>> {
        Box::pin(async move {
            let event = CloudEvent::checkpoint(&self.issuer, checkpoint).and_then(|event| event.to_json());
            let event = event.map_err(|_| Failure::new("not_json"))?;
            let (media_type, body) = if self.batched {
                (BATCH_MEDIA_TYPE, format!("[{event}]"))
            } else {
                (MEDIA_TYPE, event)
            };
            self.post(&format!("checkpoint_{}", checkpoint.size), media_type, body)
                .await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_receivers_own_clock() {
        let wait = |after: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, after.parse().unwrap());
            if let Some(date) = date {
                headers.insert(header::DATE, date.parse().unwrap());
            }
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let (date, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:51:07 GMT");
        assert_eq!(wait(" 120 ", None), Some(120));
        assert_eq!(wait(later, Some(date)), Some(90));
        for nothing in [
            wait(later, None),
            wait(date, Some(later)),
            wait("soon", Some(date)),
            wait("-1", None),
        ] {
            assert_eq!(nothing, None);
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
