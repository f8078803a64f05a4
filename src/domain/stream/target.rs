//! Where streams go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// The port of NATS, where a URL names none.
pub const NATS_PORT: u16 = 4222;

/// The kinds of targets, with what each needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StreamTarget {
    /// Standard Webhooks with CloudEvents 1.0.
    Webhook {
        /// Where to post.
        url: String,
        /// Whether a request carries many events (`application/cloudevents-batch+json`).
        batched: bool,
    },
    /// NATS JetStream.
    Nats {
        /// The server.
        url: String,
        /// The first word of the subjects.
        prefix: String,
    },
    /// OCSF events, one per line, in a file of each node's.
    OcsfFile {
        /// Where it is.
        path: String,
        /// Once it has so many bytes it is put aside; 0: never.
        max_bytes: u64,
    },
    /// OCSF events, posted as lines of JSON.
    OcsfHttp {
        /// Where to post.
        url: String,
    },
    /// OCSF events as syslog messages over TCP.
    Syslog {
        /// The receiver.
        url: String,
    },
}

impl StreamTarget {
    /// The kind's name, as on the command line.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Nats { .. } => "nats",
            Self::OcsfFile { .. } => "ocsf-file",
            Self::OcsfHttp { .. } => "ocsf-http",
            Self::Syslog { .. } => "syslog",
        }
    }

    /// Whether it is inside: in the server's file system, or at an address of the server's own network.
    #[must_use]
    pub fn reaches_inside(&self) -> bool {
        match self {
            Self::Nats { .. } | Self::OcsfFile { .. } | Self::Syslog { .. } => true,
            Self::Webhook { .. } | Self::OcsfHttp { .. } => false,
        }
    }

    /// Whether it goes to a SIEM, where a hole in the record is worse than a delay.
    #[must_use]
    pub fn is_siem(&self) -> bool {
        matches!(
            self,
            Self::OcsfFile { .. } | Self::OcsfHttp { .. } | Self::Syslog { .. }
        )
    }

    /// The server that credentials of the stream are shown to: scheme, host and port; none where it has none.
    #[must_use]
    pub fn shown_to(&self) -> Option<(String, String, Option<u16>)> {
        let (Self::Nats { url, .. } | Self::OcsfHttp { url }) = self else {
            return None;
        };
        let url = Url::parse(url).ok()?;
        let usual = (url.scheme() == "nats" || url.scheme() == "tls").then_some(NATS_PORT);
        let port = url.port_or_known_default().or(usual);
        Some((
            url.scheme().to_owned(),
            url.host_str()?.to_ascii_lowercase(),
            port,
        ))
    }

    /// Where to, for people.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Webhook { url, .. }
            | Self::Nats { url, .. }
            | Self::OcsfHttp { url }
            | Self::Syslog { url } => url,
            Self::OcsfFile { path, .. } => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_shown_to_a_scheme_a_host_and_a_port() {
        let http = |url: &str| StreamTarget::OcsfHttp { url: url.into() }.shown_to();
        let nats = |url: &str| {
            let prefix = "grantlog".into();
            StreamTarget::Nats {
                url: url.into(),
                prefix,
            }
            .shown_to()
        };
        assert_eq!(http("https://siem.example/a"), http("https://SIEM.example:443/b"));
        assert_eq!(nats("nats://bus.internal"), nats("nats://bus.internal:4222"));
        for other in [
            "http://siem.example",
            "https://siem.example:8443",
            "https://example",
        ] {
            assert_ne!(http("https://siem.example/a"), http(other), "{other}");
        }
        assert_ne!(nats("nats://bus.internal"), nats("tls://bus.internal"));
        let hook = StreamTarget::Webhook {
            url: "https://siem.example".into(),
            batched: false,
        };
        assert_eq!(hook.shown_to(), None);
    }
}
