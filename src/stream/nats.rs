//! NATS JetStream: each event is published with its position as message id, and counts once the server has stored it.

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, HeaderMap, header};

use super::StreamError;
use super::cloud_event::{CloudEvent, MEDIA_TYPE};
use super::envelope::{Checkpoint, Envelope};
use super::sink::{Delivering, Delivery, Failure, Limits, Sink};
use crate::app::App;
use crate::clock::monotonic;

/// A JetStream server.
pub struct JetStream {
    issuer: String,
    url: String,
    prefix: String,
    options: Credentials,
    context: Option<Context>,
    limits: Limits,
}

/// How the connection authenticates.
enum Credentials {
    Nothing,
    Token(String),
    User(String, String),
}

impl Credentials {
    /// `user:password`, or a token.
    fn parse(secret: Option<Vec<u8>>) -> Result<Self, StreamError> {
        let Some(secret) = secret else {
            return Ok(Self::Nothing);
        };
        let text = String::from_utf8(secret);
        let text = text.map_err(|_| StreamError::Target("its credentials are no text".to_owned()))?;
        Ok(match text.trim().split_once(':') {
            Some((user, password)) => Self::User(user.to_owned(), password.to_owned()),
            None => Self::Token(text.trim().to_owned()),
        })
    }

    fn options(&self) -> ConnectOptions {
        match self {
            Self::Nothing => ConnectOptions::new(),
            Self::Token(token) => ConnectOptions::with_token(token.clone()),
            Self::User(user, password) => {
                ConnectOptions::with_user_and_password(user.clone(), password.clone())
            }
        }
    }
}

impl JetStream {
    /// The server at a URL; the connection is made by the first delivery.
    pub fn open(
        app: &App,
        (url, prefix): (&str, &str),
        secret: Option<Vec<u8>>,
        limits: Limits,
    ) -> Result<Self, StreamError> {
        Ok(Self {
            issuer: app.settings.issuer.clone(),
            url: url.to_owned(),
            prefix: prefix.to_owned(),
            options: Credentials::parse(secret)?,
            context: None,
            limits,
        })
    }

    /// The connection, which mends itself once it was there.
    async fn connected(&mut self) -> Result<&Context, Failure> {
        if self.context.is_none() {
            let options = self
                .options
                .options()
                .name("grantlog")
                .connection_timeout(self.limits.request);
            let client = options.connect(&self.url).await;
            let client = client.map_err(|error| {
                tracing::debug!(%error, "NATS cannot be reached");
                Failure::new("connection_failed")
            })?;
            let mut context = jetstream::new(client);
            context.set_timeout(self.limits.request);
            self.context = Some(context);
        }
        self.context
            .as_ref()
            .ok_or_else(|| Failure::new("connection_failed"))
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
