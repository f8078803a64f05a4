//! What a client that authenticates with a certificate registers of it (RFC 8705 §2.1.2), and what a certificate says.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::distinguished_name::DistinguishedName;

/// The one name by which a client's certificates are known (RFC 8705 §2.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateSubject {
    /// The subject's distinguished name, as it was registered (RFC 4514).
    SubjectDn(String),
    /// A `dNSName` among the alternative names.
    SanDns(String),
    /// A `uniformResourceIdentifier` among them.
    SanUri(String),
    /// An `iPAddress` among them.
    SanIp(IpAddr),
    /// An `rfc822Name` among them.
    SanEmail(String),
}

/// What a certificate says of whom it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// Its subject; none where that has a value that is no text.
    pub subject: Option<DistinguishedName>,
    /// Its alternative names (RFC 5280 §4.2.1.6) of the types that can be registered.
    pub alternative: Vec<AlternativeName>,
}

/// An alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// `dNSName`.
    Dns(String),
    /// `uniformResourceIdentifier`.
    Uri(String),
    /// `iPAddress`.
    Ip(IpAddr),
    /// `rfc822Name`.
    Email(String),
}

/// A certificate's public key, as far as it can be registered as a JWK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateKey {
    /// RSA: modulus and exponent without leading zeros.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
    /// P-256: the uncompressed point.
    P256(Vec<u8>),
    /// Ed25519.
    Ed25519(Vec<u8>),
    /// Another.
    Other,
}

impl CertificateSubject {
    /// The members of RFC 8705 §2.1.2, with the value that a registration gave.
    pub fn parse(member: &str, value: &str) -> Result<Self, String> {
        let text = || {
            let fits =
                !value.is_empty() && value.len() <= 2000 && value.bytes().all(|byte| byte.is_ascii_graphic());
            fits.then(|| value.to_owned())
                .ok_or("it needs 1 to 2000 printable ASCII characters")
        };
        Ok(match member {
            "tls_client_auth_subject_dn" => {
                DistinguishedName::parse(value)?;
                Self::SubjectDn(value.to_owned())
            }
            "tls_client_auth_san_dns" => Self::SanDns(text()?),
            "tls_client_auth_san_uri" => Self::SanUri(text()?),
            "tls_client_auth_san_ip" => Self::SanIp(value.parse().map_err(|_| "it is not an IP address")?),
            "tls_client_auth_san_email" => Self::SanEmail(text()?),
            _ => return Err("there is no such member".to_owned()),
        })
    }

    /// The member of RFC 8705 §2.1.2, and its value.
    #[must_use]
    pub fn member(&self) -> (&'static str, String) {
        match self {
            Self::SubjectDn(name) => ("tls_client_auth_subject_dn", name.clone()),
            Self::SanDns(name) => ("tls_client_auth_san_dns", name.clone()),
            Self::SanUri(uri) => ("tls_client_auth_san_uri", uri.clone()),
            Self::SanIp(address) => ("tls_client_auth_san_ip", address.to_string()),
            Self::SanEmail(address) => ("tls_client_auth_san_email", address.clone()),
        }
    }

    /// Whether a certificate is for this name.
    #[must_use]
    pub fn is_of(&self, certificate: &CertificateNames) -> bool {
        let any = |is: &dyn Fn(&AlternativeName) -> bool| certificate.alternative.iter().any(is);
        match self {
            Self::SubjectDn(name) => {
                DistinguishedName::parse(name).is_ok_and(|name| certificate.subject.as_ref() == Some(&name))
            }
            Self::SanDns(name) => {
                any(&|known| matches!(known, AlternativeName::Dns(known) if known.eq_ignore_ascii_case(name)))
            }
            Self::SanUri(uri) => any(&|known| matches!(known, AlternativeName::Uri(known) if known == uri)),
            Self::SanIp(address) => any(&|known| *known == AlternativeName::Ip(*address)),
            Self::SanEmail(address) => any(
                &|known| matches!(known, AlternativeName::Email(known) if is_same_mailbox(known, address)),
            ),
        }
    }
}

/// RFC 5280 §7.5: the local part exactly, the host without regard to case.
fn is_same_mailbox(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local, host)), Some((other, other_host))) => {
            local == other && host.eq_ignore_ascii_case(other_host)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_the_registered_name_and_no_other() {
        let certificate = CertificateNames {
            subject: DistinguishedName::parse("CN=client,O=Example").ok(),
            alternative: vec![
                AlternativeName::Dns("Client.example".to_owned()),
                AlternativeName::Uri("spiffe://example/client".to_owned()),
                AlternativeName::Ip("192.0.2.7".parse().unwrap()),
                AlternativeName::Email("Client@Example.com".to_owned()),
            ],
        };
        let is_of = |member: &str, value: &str| {
            let name = CertificateSubject::parse(&format!("tls_client_auth_{member}"), value).unwrap();
            assert_eq!(
                CertificateSubject::parse(name.member().0, &name.member().1).as_ref(),
                Ok(&name)
            );
            name.is_of(&certificate)
        };
        for (member, good, bad) in [
            ("subject_dn", "cn=Client, o=example", "CN=client"),
            ("san_dns", "client.EXAMPLE", "*.example"),
            ("san_uri", "spiffe://example/client", "spiffe://example/Client"),
            ("san_ip", "192.0.2.7", "192.0.2.8"),
            ("san_email", "Client@example.COM", "client@example.com"),
        ] {
            assert!(is_of(member, good), "{member} {good}");
            assert!(!is_of(member, bad), "{member} {bad}");
        }
        // One kind of name is not taken for another.
        assert!(!is_of("san_uri", "client.example") && !is_of("san_dns", "192.0.2.7"));
        for (member, value) in [
            ("san_ip", "client.example"),
            ("san_dns", ""),
            ("subject_dn", "client"),
        ] {
            assert!(CertificateSubject::parse(&format!("tls_client_auth_{member}"), value).is_err());
        }
    }
}
