//! OCSF events posted as lines of JSON (`application/x-ndjson`), through [`crate::outbound`].

use std::time::Duration;

use axum::http::{HeaderValue, header};

use super::lines;
use crate::app::App;
use crate::clock::Clock;
use crate::outbound::{Fetcher, Outgoing};
use crate::stream::StreamError;
use crate::stream::envelope::{Checkpoint, Envelope};
use crate::stream::sink::{Delivering, Delivery, Failure, Sink};
use crate::stream::webhook::refused;

/// The longest that a receiver may take over one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a request, unless one event alone has more.
const MAX_BYTES: usize = 1024 * 1024;
const MEDIA_TYPE: &str = "application/x-ndjson";

/// A collector of events.
pub struct OcsfHttp {
    fetcher: Fetcher,
    clock: Clock,
    issuer: String,
    url: String,
    authorization: Option<HeaderValue>,
}

impl OcsfHttp {
    /// The collector at a URL; the secret is the whole `Authorization` header, such as `Splunk …`.
    pub fn open(app: &App, url: &str, secret: Option<Vec<u8>>) -> Result<Self, StreamError> {
        let authorization = secret.map(|secret| HeaderValue::from_bytes(&secret)).transpose();
        let mut authorization =
            authorization.map_err(|_| StreamError::Target("its credentials are no header".to_owned()))?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self {
            fetcher: app.outbound.apart("ocsf"),
            clock: app.ledger.clock().clone(),
            issuer: app.settings.issuer.clone(),
            url: url.to_owned(),
            authorization,
        })
    }

    async fn post(&self, body: String) -> Result<(), Failure> {
        let mut request = Outgoing::post(&self.url, MEDIA_TYPE, body).timeout(TIMEOUT);
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value.clone());
        }
        let answer = self.fetcher.send(request).await;
        let answer = answer.map_err(|error| Failure::new(error.code()))?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(refused(answer.status, &answer.headers))
    }
}

impl Sink for OcsfHttp {
    fn deliver<'a>(&'a mut self, events: &'a [Envelope]) -> Delivering<'a, Delivery> {
        Box::pin(async move {
            let mut body = String::new();
            let (mut read, mut failed) = (0, None);
            for event in events {
                match lines::event(&self.issuer, event) {
                    Ok(Some(line)) => {
                        if !body.is_empty() && body.len() + line.json.len() >= MAX_BYTES {
                            break;
                        }
                        body.push_str(&line.json);
                        body.push('\n');
                        read += 1;
                    }
                    Ok(None) => read += 1,
                    Err(failure) => {
                        failed = Some(failure);
                        break;
                    }
                }
            }
            if !body.is_empty()
                && let Err(failure) = self.post(body).await
            {
                return Delivery::failed(0, failure);
            }
            Delivery {
                acknowledged: read,
                failure: failed,
            }
        })
    }

    fn checkpoint<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> Delivering<'a, Result<(), Failure>> {
        Box::pin(async move {
            let line = lines::checkpoint(&self.issuer, checkpoint, self.clock.now());
            self.post(format!("{}\n", line.json)).await
        })
    }
}
