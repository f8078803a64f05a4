//! Hosts inside that an operator lets clients name all the same (the setting `outbound_allow`).

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use url::Host;

/// One entry: a host name, an address or a range of addresses, the first two perhaps with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    what: What,
    /// None: every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// As a URL parser writes it.
    Name(String),
    Range(IpNet),
}

/// An entry of `outbound_allow` cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry must be a host name, host:port, an address or a range such as 10.1.0.0/16")]
pub struct NotAllowable;

impl FromStr for Allowed {
    type Err = NotAllowable;

    fn from_str(text: &str) -> Result<Self, NotAllowable> {
        if let Ok(range) = text.parse::<IpNet>() {
            let (what, port) = (What::Range(range.trunc()), None);
            return Ok(Self { what, port });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let (what, port) = (What::Range(address.into()), None);
            return Ok(Self { what, port });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| NotAllowable)?)),
            None => (text, None),
        };
        let what = match Host::parse(host).map_err(|_| NotAllowable)? {
            Host::Domain(name) => What::Name(name),
            Host::Ipv4(address) => What::Range(IpAddr::V4(address).into()),
            Host::Ipv6(address) => What::Range(IpAddr::V6(address).into()),
        };
        Ok(Self { what, port })
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Allowed {
    /// Whether this entry names the host of a URL itself.
    pub(super) fn names(&self, host: &Host<&str>, port: u16) -> bool {
        let same = match (&self.what, host) {
            (What::Name(name), Host::Domain(host)) => name == host,
            (What::Range(range), Host::Ipv4(address)) => range.contains(&IpAddr::V4(*address)),
            (What::Range(range), Host::Ipv6(address)) => range.contains(&IpAddr::V6(*address)),
            (What::Name(_), Host::Ipv4(_) | Host::Ipv6(_)) | (What::Range(_), Host::Domain(_)) => false,
        };
        same && self.port.is_none_or(|only| only == port)
    }

    /// Whether this entry lets an address be reached, whatever name led to it.
    pub(super) fn reaches(&self, address: IpAddr, port: u16) -> bool {
        match &self.what {
            What::Range(range) => range.contains(&address) && self.port.is_none_or(|only| only == port),
            What::Name(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_is_a_name_or_addresses_with_or_without_a_port() {
        let allowed = |text: &str| text.parse::<Allowed>().unwrap();
        let domain = Host::Domain("hooks.internal");
        assert!(allowed("Hooks.Internal").names(&domain, 443));
        assert!(allowed("hooks.internal:8443").names(&domain, 8443));
        assert!(!allowed("hooks.internal:8443").names(&domain, 443));
        assert!(!allowed("internal").names(&domain, 443));
        assert!(allowed("10.0.0.0/8").reaches("10.9.9.9".parse().unwrap(), 1));
        assert!(!allowed("10.0.0.0/8").reaches("11.0.0.0".parse().unwrap(), 1));
        assert!(allowed("[::1]:8443").reaches("::1".parse().unwrap(), 8443));
        assert!(!allowed("[::1]:8443").reaches("::1".parse().unwrap(), 443));
        assert!(allowed("::1").reaches("::1".parse().unwrap(), 443));
        assert!(!allowed("127.0.0.1").names(&Host::Domain("localhost"), 80));
        for bad in [
            "",
            "a b",
            "host:",
            "host:x",
            "10.0.0.0/33",
            "host:65536",
            "https://host",
        ] {
            assert_eq!(bad.parse::<Allowed>(), Err(NotAllowable), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_entry_or_refused(text in "\\PC{0,60}") {
            let _ = text.parse::<Allowed>();
        }
    }
}
