//! What is wrong with a stream that an administrator defines.

use url::Url;

use super::{OperationError, Operations};
use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::domain::stream::{StreamDefinition, StreamTarget};
use crate::domain::value::is_plain_text;
use crate::outbound::borrowed;
use crate::stream::nats::{self, credentials::Credentials};

impl Operations {
    /// What the domain cannot know: which URLs may be called, and which events there are.
    pub(super) fn check_stream(&self, definition: &StreamDefinition) -> Result<(), OperationError> {
        match &definition.target {
            StreamTarget::Webhook { url, .. } => {
                let checked = self.sectors.check(url);
                checked.map_err(|error| OperationError::invalid("url", error.to_string()))?;
            }
            StreamTarget::OcsfHttp { url } => {
                let checked = self.sectors.check(url);
                checked.map_err(|error| OperationError::invalid("url", error.to_string()))?;
            }
            StreamTarget::Nats { url, prefix } => {
                check_nats(url, prefix)?;
                if let Some((host, port)) = nats::host_of(url) {
                    self.check_inside(&borrowed(&host), port)?;
                }
            }
            StreamTarget::Syslog { url } => {
                let checked = crate::stream::syslog::Address::parse(url);
                let address = checked.map_err(|error| OperationError::invalid("url", error.to_string()))?;
                self.check_inside(&address.as_host(), address.port)?;
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

    /// An administrator's host may be inside, but for what is no host at all.
    fn check_inside(&self, host: &url::Host<&str>, port: u16) -> Result<(), OperationError> {
        let checked = self.sectors.check_inside(host, port);
        checked.map_err(|_| {
            OperationError::invalid(
                "url",
                "the host is a link-local, multicast, unspecified or metadata address, which outbound_allow does not name",
            )
        })
    }
}

/// Credentials that could never be sent: a stream that has them would stand still. What is wrong says nothing of them.
pub(super) fn check_secret(target: &StreamTarget, secret: Option<&[u8]>) -> Result<(), OperationError> {
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
