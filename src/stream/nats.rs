//! NATS JetStream: each event is published with its position as message id, and counts once the server has stored it.

pub(crate) mod credentials;

use std::sync::Arc;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectError, ConnectErrorKind, HeaderMap, header};

use url::{Host, Url};

use self::credentials::Credentials;
use super::StreamError;
use super::cloud_event::{CloudEvent, MEDIA_TYPE};
use super::envelope::{Checkpoint, Envelope};
use super::sink::{Delivering, Delivery, Failure, Limits, Sink};
use crate::app::App;
use crate::clock::monotonic;
use crate::domain::stream::NATS_PORT;
use crate::outbound::{Fetcher, borrowed};

/// A JetStream server.
pub struct JetStream {
    issuer: String,
    url: String,
    prefix: String,
    credentials: Credentials,
    tls: Arc<rustls::ClientConfig>,
    outbound: Fetcher,
    context: Option<Context>,
    limits: Limits,
}

impl JetStream {
    /// The server at a URL; the connection is made by the first delivery.
    pub fn open(
        app: &App,
        (url, prefix): (&str, &str),
        secret: Option<&[u8]>,
        limits: Limits,
    ) -> Result<Self, StreamError> {
        let credentials = secret.map_or(Ok(Credentials::Nothing), Credentials::parse);
        Ok(Self {
            issuer: app.settings.issuer.clone(),
            url: url.to_owned(),
            prefix: prefix.to_owned(),
            credentials: credentials.map_err(|error| StreamError::Target(error.to_string()))?,
            tls: Arc::clone(app.outbound.tls().config()),
            outbound: app.outbound.clone(),
            context: None,
            limits,
        })
    }

    /// The connection, which mends itself once it was there.
    async fn connected(&mut self) -> Result<&Context, Failure> {
        if self.context.is_none() {
            self.check_host().await?;
            let options = self.credentials.options();
            let options = options.map_err(|_| Failure::new("authentication_failed"))?;
            // A cluster's servers name one another without a scheme: none of them is to be told anything in clear.
            let options = options
                .require_tls(self.url.starts_with("tls:"))
                .tls_client_config(rustls::ClientConfig::clone(&self.tls))
                .name("grantlog")
                .connection_timeout(self.limits.request);
            let client = options.connect(&self.url).await;
            let client = client.map_err(|error| {
                tracing::debug!(%error, "NATS cannot be reached");
                unconnected(&error)
            })?;
            let mut context = jetstream::new(client);
            context.set_timeout(self.limits.request);
            self.context = Some(context);
        }
        self.context
            .as_ref()
            .ok_or_else(|| Failure::new("connection_failed"))
    }

    /// The library looks the name up by itself.
    async fn check_host(&self) -> Result<(), Failure> {
        let (host, port) = host_of(&self.url).ok_or_else(|| Failure::new("url_invalid"))?;
        let host = borrowed(&host);
        let found = self.outbound.inside(&host, port);
        let found = tokio::time::timeout(self.limits.request, found).await;
        let found = found.map_err(|_| Failure::new("timeout"))?;
        found.map(|_| ()).map_err(|error| Failure::new(error.code()))
    }

    async fn publish(&mut self, subject: String, id: String, body: String) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, id);
        headers.insert("Content-Type", MEDIA_TYPE);
        let context = self.connected().await?;
        let published = async {
            let acknowledged = context
                .publish_with_headers(subject, headers, body.into())
                .await?;
            acknowledged.await.map(|_| ())
        };
        published.await.map_err(|error: PublishError| failure(&error))
    }

    async fn publish_event(&mut self, event: &Envelope) -> Result<(), Failure> {
        let row = &event.row;
        let subject = format!("{}.{}.{}", self.prefix, row.aggregate_type, row.event_type);
        let body = CloudEvent::of(&self.issuer, event).and_then(|event| event.to_json());
        let body = body.map_err(|_| Failure::new("not_json"))?;
        self.publish(subject, row.position.to_string(), body).await
    }
}

/// The host and the port of a URL of NATS.
pub(crate) fn host_of(url: &str) -> Option<(Host<String>, u16)> {
    let url = Url::parse(url).ok()?;
    // Of a scheme that is not the web's, the parser takes any text for a name.
    let host = Host::parse(url.host_str()?).ok()?;
    Some((host, url.port().unwrap_or(NATS_PORT)))
}

fn unconnected(error: &ConnectError) -> Failure {
    Failure::new(match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            "authentication_failed"
        }
        ConnectErrorKind::TimedOut => "timeout",
        ConnectErrorKind::Tls => "tls_failed",
        ConnectErrorKind::Io if is_of_tls(error) => "tls_failed",
        ConnectErrorKind::Io
        | ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::MaxReconnects => "connection_failed",
    })
}

/// Whether a handshake failed, which is told as an error of the connection.
fn is_of_tls(error: &ConnectError) -> bool {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    let inner = io.and_then(std::io::Error::get_ref);
    inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

fn failure(error: &PublishError) -> Failure {
    Failure::new(match error.kind() {
        PublishErrorKind::StreamNotFound => "no_stream_takes_the_subject",
        PublishErrorKind::TimedOut => "timeout",
        PublishErrorKind::BrokenPipe => "connection_failed",
        PublishErrorKind::MaxPayloadExceeded => "too_large_for_the_server",
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::Other => "not_stored",
    })
}

impl Sink for JetStream {
    fn deliver<'a>(&'a mut self, events: &'a [Envelope]) -> Delivering<'a, Delivery> {
        Box::pin(async move {
            let began = monotonic();
            // One after the other: of two under way the first could fail, and would then come after the second.
            for (sent, event) in events.iter().enumerate() {
                if sent > 0 && began.elapsed() >= self.limits.turn {
                    return Delivery::of(sent);
                }
                if let Err(failure) = self.publish_event(event).await {
                    return Delivery::failed(sent, failure);
                }
            }
            Delivery::of(events.len())
        })
    }

    fn checkpoint<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> Delivering<'a, Result<(), Failure>> {
        Box::pin(async move {
            let body = CloudEvent::checkpoint(&self.issuer, checkpoint).and_then(|event| event.to_json());
            let body = body.map_err(|_| Failure::new("not_json"))?;
            let id = format!("checkpoint-{}", checkpoint.size);
            self.publish(format!("{}.checkpoint", self.prefix), id, body)
                .await
        })
    }
}
