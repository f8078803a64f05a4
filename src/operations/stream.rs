//! Streams, as an administrator defines and reads them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::{OperationError, Operations, run};
use crate::crypto::signing;
use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::domain::stream::{
    Defined, RedeliveryRequested, Stream, StreamCommand, StreamDefinition, StreamRefusal, StreamTarget,
};
use crate::domain::value::is_plain_text;
use crate::ids::KeyId;
use crate::ledger::{Context, LedgerError, head_position};
use crate::stream::nats::credentials::Credentials;
use crate::stream::standard_webhooks::SECRET_BYTES;
use crate::stream::store;

/// The most streams.
const MOST: u32 = 1_000;

/// Where a new stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the ledger's first event.
    Beginning,
    /// With the next event.
    Now,
    /// With the event at this position.
    At(i64),
}

impl Operations {
    /// Defines a stream. `secret` is what it signs or authenticates with, where it needs one.
    pub async fn define_stream(
        &self,
        context: &Context,
        (name, start): (&str, Start),
        mut definition: StreamDefinition,
        secret: Option<&[u8]>,
    ) -> Result<Defined, OperationError> {
        self.check_stream(&definition)?;
        check_secret(&definition.target, secret)?;
        let head = head_position(self.ledger.pool())
            .await
            .map_err(LedgerError::from)?;
        let after = match start {
            Start::Beginning => 0,
            Start::Now => head,
            Start::At(position) => position.saturating_sub(1).clamp(0, head),
        };
        let key = match secret {
            Some(secret) => Some(self.store_stream_secret(secret).await?),
            None => None,
        };
        definition.secrets = key.into_iter().collect();
        let command = StreamCommand::Define {
            name: name.to_owned(),
            definition: Box::new(definition),
            after,
        };
        let outcome = run!(self, context, Stream, Stream::id(name), &command).outcome;
        if let (Err(_), Some(key)) = (&outcome, key) {
            signing::forget_private(self.ledger.pool(), key).await?;
        }
        outcome?;
        self.stream(name).await
    }

    /// Sets a stream anew; its secrets stay. It goes on from where it is.
    pub async fn change_stream(
        &self,
        context: &Context,
        name: &str,
        mut definition: StreamDefinition,
    ) -> Result<Defined, OperationError> {
        self.check_stream(&definition)?;
        definition.secrets = self.stream(name).await?.definition.secrets;
        self.command_stream(context, name, &StreamCommand::Change(Box::new(definition)))
            .await?;
        self.stream(name).await
    }

    /// Lets a stream stand still.
    pub async fn pause_stream(
        &self,
        context: &Context,
        name: &str,
        reason: &str,
    ) -> Result<(), OperationError> {
        let reason = reason.to_owned();
        self.command_stream(context, name, &StreamCommand::Pause { reason })
            .await
    }

    /// Lets it go on, at once.
    pub async fn resume_stream(&self, context: &Context, name: &str) -> Result<(), OperationError> {
        // Before its event, which has a node take it.
        let hurried = store::hurry(self.ledger.pool(), Stream::id(name)).await;
        hurried.map_err(LedgerError::from)?;
        self.command_stream(context, name, &StreamCommand::Resume).await
    }

    /// Removes a stream: its secrets, its place and its dead letters are forgotten.
    pub async fn remove_stream(
        &self,
        context: &Context,
        name: &str,
        reason: &str,
    ) -> Result<(), OperationError> {
        let secrets = self.stream(name).await?.definition.secrets;
        let reason = reason.to_owned();
        self.command_stream(context, name, &StreamCommand::Remove { reason })
            .await?;
        for secret in secrets {
            signing::forget_private(self.ledger.pool(), secret).await?;
        }
        let forgotten = store::forget(self.ledger.pool(), Stream::id(name)).await;
        Ok(forgotten.map_err(LedgerError::from)?)
    }

    /// Gives a stream another secret. The one before it stays until it is retired ([`Self::retire_stream_secret`]); any
    /// older one is forgotten.
    pub async fn rotate_stream_secret(
        &self,
        context: &Context,
        name: &str,
        secret: &[u8],
    ) -> Result<(), OperationError> {
        let mut definition = self.stream(name).await?.definition;
        check_secret(&definition.target, Some(secret))?;
        let key = self.store_stream_secret(secret).await?;
        let older = definition.secrets.split_off(definition.secrets.len().min(1));
        definition.secrets.insert(0, key);
        self.command_stream(context, name, &StreamCommand::Change(Box::new(definition)))
            .await?;
        self.forget_stream_secrets(older).await
    }

    /// Forgets every secret of a stream but the newest.
    pub async fn retire_stream_secret(&self, context: &Context, name: &str) -> Result<(), OperationError> {
        let mut definition = self.stream(name).await?.definition;
        let older = definition.secrets.split_off(definition.secrets.len().min(1));
        self.command_stream(context, name, &StreamCommand::Change(Box::new(definition)))
            .await?;
        self.forget_stream_secrets(older).await
    }

    async fn forget_stream_secrets(&self, secrets: Vec<KeyId>) -> Result<(), OperationError> {
        for secret in secrets {
            signing::forget_private(self.ledger.pool(), secret).await?;
        }
        Ok(())
    }

    /// Has dead letters delivered once more: those at these positions, or all. How many there are.
    pub async fn redeliver(
        &self,
        context: &Context,
        name: &str,
        positions: Option<&[i64]>,
    ) -> Result<i64, OperationError> {
        self.stream(name).await?;
        let requested = store::request_redelivery(self.ledger.pool(), Stream::id(name), positions).await;
        let (count, first, last) = requested.map_err(LedgerError::from)?;
        let request = RedeliveryRequested { first, last, count };
        self.command_stream(context, name, &StreamCommand::Redeliver(request))
            .await?;
        Ok(count)
    }

    /// A stream.
    pub async fn stream(&self, name: &str) -> Result<Defined, OperationError> {
        let stream = self.load::<Stream>(Stream::id(name)).await?;
        Ok(stream.defined.clone().ok_or(StreamRefusal::Unknown)?)
    }

    /// All streams, in the order in which they were first defined.
    pub async fn streams(&self) -> Result<Vec<Defined>, LedgerError> {
        let listed = self.list::<Stream>(0, MOST).await?.into_iter();
        Ok(listed
            .filter_map(|stream| stream.loaded.defined.clone())
            .collect())
    }

    /// The secrets of a stream, opened, in this order.
    pub async fn stream_secrets(&self, keys: &[KeyId]) -> Result<Vec<Vec<u8>>, LedgerError> {
        let mut secrets = Vec::with_capacity(keys.len());
        for key in keys {
            let wrapped: Vec<u8> =
                sqlx::query_scalar("SELECT wrapped FROM grantlog.key_material WHERE key_id = $1")
                    .bind(key.0)
                    .fetch_one(self.ledger.pool())
                    .await?;
            let master = self.ledger.vault().master();
            secrets.push(master.unwrap(&signing::wrap_label(*key), &wrapped)?);
        }
        Ok(secrets)
    }

    /// A new secret for webhooks: the bytes, and what the receiver is told (`whsec_…`).
    pub fn webhook_secret(&self) -> Result<(Vec<u8>, String), OperationError> {
        let bytes: [u8; SECRET_BYTES] = self.ledger.random().bytes().map_err(LedgerError::from)?;
        Ok((bytes.to_vec(), format!("whsec_{}", STANDARD.encode(bytes))))
    }

    /// Before its event: a secret that nobody knows does no harm, an event without its secret would.
    async fn store_stream_secret(&self, secret: &[u8]) -> Result<KeyId, OperationError> {
        let id = KeyId(self.ledger.random().uuid().map_err(LedgerError::from)?);
        let (master, random) = (self.ledger.vault().master(), self.ledger.random());
        signing::store_private(self.ledger.pool(), master, random, id, secret).await?;
        Ok(id)
    }

    async fn command_stream(
        &self,
        context: &Context,
        name: &str,
        command: &StreamCommand,
    ) -> Result<(), OperationError> {
        Ok(run!(self, context, Stream, Stream::id(name), command).outcome?)
    }

    /// What the domain cannot know: which URLs may be called, and which events there are.
    fn check_stream(&self, definition: &StreamDefinition) -> Result<(), OperationError> {
        match &definition.target {
            StreamTarget::Webhook { url, .. } => {
                let checked = self.sectors.check(url);
                checked.map_err(|error| OperationError::invalid("url", error.to_string()))?;
            }
            StreamTarget::OcsfHttp { url } => {
                let checked = self.sectors.check(url);
                checked.map_err(|error| OperationError::invalid("url", error.to_string()))?;
            }
            StreamTarget::Nats { url, prefix } => check_nats(url, prefix)?,
            StreamTarget::Syslog { url } => {
                let checked = crate::stream::syslog::Address::parse(url);
                checked.map_err(|error| OperationError::invalid("url", error.to_string()))?;
            }
            StreamTarget::OcsfFile { path, .. } => check_path(path)?,
        }
        let schemas = Event::schemas();
        let known = |name: &String| schemas.iter().any(|schema| schema.event_type == name);
        let filter = &definition.filter;
        if let Some(unknown) = filter.types.iter().find(|name| !known(name)) {
            return Err(OperationError::invalid(
                "type",
                format!("there is no event {unknown}"),
            ));
        }
        let known = |name: &String| AggregateType::parse(name).is_some();
        if let Some(unknown) = filter.aggregates.iter().find(|name| !known(name)) {
            return Err(OperationError::invalid(
                "aggregate",
                format!("there is no aggregate {unknown}"),
            ));
        }
        Ok(())
    }
}

/// Credentials that could never be sent: a stream that has them would stand still. What is wrong says nothing of them.
fn check_secret(target: &StreamTarget, secret: Option<&[u8]>) -> Result<(), OperationError> {
    match (target, secret) {
        (StreamTarget::Nats { .. }, Some(secret)) => match Credentials::parse(secret) {
            Ok(_) => Ok(()),
            Err(error) => Err(OperationError::invalid("credentials", error.to_string())),
        },
        (StreamTarget::OcsfHttp { .. }, Some(secret)) => match axum::http::HeaderValue::from_bytes(secret) {
            Ok(value) if !value.is_empty() => Ok(()),
            Ok(_) | Err(_) => Err(OperationError::invalid(
                "credentials",
                "they are not the value of one Authorization header, such as Splunk 0123",
            )),
        },
        _ => Ok(()),
    }
}

/// The servers' working directory is nobody's business.
fn check_path(path: &str) -> Result<(), OperationError> {
    let absolute = std::path::Path::new(path);
    if absolute.is_absolute() && absolute.file_name().is_some() && path.len() <= 1024 && is_plain_text(path) {
        return Ok(());
    }
    let problem = "it is not the absolute path of a file, such as /var/log/grantlog/events.ndjson";
    Err(OperationError::invalid("url", problem))
}

/// An administrator names this server; it is usually one inside. Its credentials do not belong into the URL.
fn check_nats(url: &str, prefix: &str) -> Result<(), OperationError> {
    let parsed = Url::parse(url).ok();
    let parsed = parsed.filter(|url| matches!(url.scheme(), "nats" | "tls") && url.has_host());
    let Some(parsed) = parsed else {
        let problem = "it is not a URL such as nats://nats.internal:4222 or tls://nats.internal";
        return Err(OperationError::invalid("url", problem));
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let problem = "credentials do not belong into the URL: give them by --credentials";
        return Err(OperationError::invalid("url", problem));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let token = |token: &str| !token.is_empty() && token.bytes().all(plain);
    if prefix.len() > 100 || !prefix.split('.').all(token) {
        let problem = "a subject's prefix is words of letters, digits, - and _, with dots between them";
        return Err(OperationError::invalid("prefix", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_are_no_header_are_refused_and_begin_no_other() {
        let url = "https://collector.example/".to_owned();
        let target = StreamTarget::OcsfHttp { url };
        assert!(check_secret(&target, Some(b"Splunk 0123")).is_ok());
        assert!(check_secret(&target, None).is_ok());
        for bad in [b"Splunk 0123\r\nX-Other: 1".as_slice(), b"a\nb", b"\0", b""] {
            assert!(check_secret(&target, Some(bad)).is_err(), "{bad:?}");
        }
    }
}
