//! Where a syslog receiver is.

use rustls::pki_types::ServerName;
use url::{Host, Url};

/// The port of syslog over TLS (RFC 5425 §4.1).
const TLS_PORT: u16 = 6514;
/// The port of syslog over TCP that receivers use by default (RFC 6587 §3).
const TCP_PORT: u16 = 601;

/// `syslog+tcp://HOST[:PORT]` or `syslog+tls://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: Host<String>,
    /// The port.
    pub port: u16,
    tls: bool,
}

/// The text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not an address such as syslog+tls://siem.example:6514 or syslog+tcp://127.0.0.1:601")]
pub struct NotSyslog;

impl Address {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, NotSyslog> {
        let url = Url::parse(text).map_err(|_| NotSyslog)?;
        let tls = match url.scheme() {
            "syslog+tls" => true,
            "syslog+tcp" => false,
            _ => return Err(NotSyslog),
        };
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(NotSyslog);
        }
        // Of a scheme that is not the web's, the parser takes any text for a name.
        let host = Host::parse(url.host_str().ok_or(NotSyslog)?).map_err(|_| NotSyslog)?;
        let port = url.port().unwrap_or(if tls { TLS_PORT } else { TCP_PORT });
        let address = Self { host, port, tls };
        // Without a name to prove there would be no TLS.
        if tls && address.server_name().is_none() {
            return Err(NotSyslog);
        }
        Ok(address)
    }

    /// The host, as the system resolves it.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    /// The same, as it was read.
    #[must_use]
    pub fn as_host(&self) -> Host<&str> {
        crate::outbound::borrowed(&self.host)
    }

    /// What the receiver's certificate must name; none without TLS.
    #[must_use]
    pub fn server_name(&self) -> Option<ServerName<'static>> {
        self.tls.then(|| ServerName::try_from(self.host()).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_has_a_host_a_port_and_says_whether_it_is_tls() {
        let tls = Address::parse("syslog+tls://siem.example").unwrap();
        assert_eq!((tls.host().as_str(), tls.port), ("siem.example", 6514));
        assert!(tls.server_name().is_some());
        let tcp = Address::parse("syslog+tcp://[::1]:5514/").unwrap();
        assert_eq!((tcp.host().as_str(), tcp.port), ("::1", 5514));
        assert!(tcp.server_name().is_none());
        for bad in [
            "",
            "siem.example",
            "syslog://h",
            "https://h",
            "syslog+tcp:",
            "syslog+tcp://",
            "syslog+tcp://h/path",
            "syslog+tls://u:p@h",
            "syslog+tcp://h?x",
            "syslog+tls://a b",
        ] {
            assert_eq!(Address::parse(bad), Err(NotSyslog), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in "(syslog\\+tls://)?\\PC{0,60}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert!(!address.host().is_empty());
                let _ = address.server_name();
            }
        }
    }
}
