//! X.509 certificates that clients present: read, and verified against the authorities that this server trusts.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use crate::clock::Timestamp;
use crate::domain::client::{AlternativeName, CertificateKey, CertificateNames, DistinguishedName};
use crate::domain::confirmation::Thumbprint;

/// The most bytes of a certificate that are read.
const MAX_BYTES: usize = 16 * 1024;
/// `id-ecPublicKey` on `secp256r1` (RFC 5480 §2.1.1.1), and `id-Ed25519` (RFC 8410 §3).
const P256: &str = "1.2.840.10045.3.1.7";
const ED25519: &str = "1.3.101.112";

/// Who saw that the client holds the certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The TLS handshake with this server.
    Handshake,
    /// A trusted proxy, which says so in a header.
    Proxy,
}

/// A certificate whose key the client holds.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// SHA-256 of the certificate.
    pub thumbprint: Thumbprint,
    /// Who saw it.
    pub witness: Witness,
    /// Whom it is for.
    pub names: CertificateNames,
    /// Its public key.
    pub key: CertificateKey,
    not_before: Timestamp,
    not_after: Timestamp,
    /// The certificate, then what was sent along.
    chain: Vec<CertificateDer<'static>>,
}

impl ClientCertificate {
    /// Reads a certificate and the ones that came after it. Any bytes are read or refused.
    #[must_use]
    pub fn read(chain: Vec<CertificateDer<'static>>, witness: Witness) -> Option<Self> {
        let der = chain.first()?;
        if der.len() > MAX_BYTES {
            return None;
        }
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let validity = certificate.validity();
        let moment = |seconds: i64| DateTime::from_timestamp(seconds, 0);
        Some(Self {
            thumbprint: Thumbprint::of(der),
            witness,
            names: CertificateNames {
                subject: subject(certificate.subject()),
                alternative: alternative_names(&certificate)?,
            },
            key: public_key(certificate.public_key()),
            not_before: moment(validity.not_before.timestamp())?,
            not_after: moment(validity.not_after.timestamp())?,
            chain,
        })
    }

    /// Whether its time has begun and is not over (RFC 5280 §4.1.2.5: both ends included).
    #[must_use]
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        // It says whole seconds, and is good until the last of them is over.
        self.not_before <= at && at.timestamp() <= self.not_after.timestamp()
    }

    /// The certificate itself.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.chain.first().map_or(&[], |own| own.as_ref())
    }
}

/// The subject, where each value is text.
fn subject(name: &X509Name<'_>) -> Option<DistinguishedName> {
    let relative = name.iter_rdn().map(|relative| {
        let attributes = relative.iter().map(|attribute| {
            let value = attribute.as_str().ok()?;
            Some((attribute.attr_type().to_id_string(), value.to_owned()))
        });
        attributes.collect::<Option<Vec<_>>>()
    });
    Some(DistinguishedName::new(relative.collect::<Option<Vec<_>>>()?))
}

/// None where the extension is there twice or broken.
fn alternative_names(certificate: &X509Certificate<'_>) -> Option<Vec<AlternativeName>> {
    let Some(extension) = certificate.subject_alternative_name().ok()? else {
        return Some(Vec::new());
    };
    let names = extension.value.general_names.iter().filter_map(|name| {
        if let GeneralName::DNSName(name) = name {
            Some(AlternativeName::Dns((*name).to_owned()))
        } else if let GeneralName::URI(uri) = name {
            Some(AlternativeName::Uri((*uri).to_owned()))
        } else if let GeneralName::RFC822Name(address) = name {
            Some(AlternativeName::Email((*address).to_owned()))
        } else if let GeneralName::IPAddress(bytes) = name {
            address(bytes).map(AlternativeName::Ip)
        } else {
            None
        }
    });
    Some(names.collect())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn public_key(info: &SubjectPublicKeyInfo<'_>) -> CertificateKey {
    let without_zeros = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if info.algorithm.algorithm.to_id_string() == ED25519 {
        return CertificateKey::Ed25519(info.subject_public_key.data.to_vec());
    }
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => CertificateKey::Rsa {
            n: without_zeros(key.modulus),
            e: without_zeros(key.exponent),
        },
        Ok(PublicKey::EC(point)) => {
            let curve = info
                .algorithm
                .parameters
                .as_ref()
                .and_then(|curve| curve.as_oid().ok());
            if curve.is_some_and(|curve| curve.to_id_string() == P256) {
                CertificateKey::P256(point.data().to_vec())
            } else {
                CertificateKey::Other
            }
        }
        _ => CertificateKey::Other,
    }
}

/// The authorities whose certificates are trusted for `tls_client_auth`.
pub struct Authorities(Arc<dyn ClientCertVerifier>);

/// Why the authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// The file is none.
    #[error("{0} {1} cannot be read as PEM: {2}")]
    Unreadable(&'static str, String, String),
    /// A certificate in it is not one of an authority, or there is none.
    #[error("{0} {1} has no certificate that can be used: {2}")]
    Unusable(&'static str, String, String),
}

/// Reads the PEM file of certificates of authorities that a setting names.
pub fn authorities(setting: &'static str, path: &Path) -> Result<RootCertStore, AuthoritiesError> {
    let name = || path.display().to_string();
    let unreadable =
        |error: &dyn std::fmt::Display| AuthoritiesError::Unreadable(setting, name(), error.to_string());
    let unusable =
        |error: &dyn std::fmt::Display| AuthoritiesError::Unusable(setting, name(), error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"it has none"));
    }
    Ok(roots)
}

impl Authorities {
    /// Reads a PEM file of certificates of authorities.
    pub fn load(path: &Path) -> Result<Self, AuthoritiesError> {
        const SETTING: &str = "tls_client_ca";
        let roots = authorities(SETTING, path)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = verifier.map_err(|error| {
            AuthoritiesError::Unusable(SETTING, path.display().to_string(), error.to_string())
        });
        Ok(Self(verifier?))
    }

    /// Whether one of them issued the certificate, for clients, and its path is good at this moment (RFC 5280 §6).
    #[must_use]
    pub fn issued(&self, certificate: &ClientCertificate, at: Timestamp) -> bool {
        let Some((own, others)) = certificate.chain.split_first() else {
            return false;
        };
        let since_epoch = Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or_default());
        let now = UnixTime::since_unix_epoch(since_epoch);
        self.0.verify_client_cert(own, others, now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: Vec<u8>) -> Option<ClientCertificate> {
        ClientCertificate::read(vec![CertificateDer::from(bytes)], Witness::Handshake)
    }

    fn certificate() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec![
            "client.example".to_owned(),
            "192.0.2.7".to_owned(),
            "2001:db8::7".to_owned(),
        ];
        let mut parameters = rcgen::CertificateParams::new(names).unwrap();
        parameters
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, "Ex,ample");
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_whom_it_is_for_and_what_its_key_is() {
        let der = certificate();
        let read = read(der.clone()).unwrap();
        assert!(read.der() == der && read.thumbprint == Thumbprint::of(&der));
        let subject = DistinguishedName::parse(r"O=Ex\,ample,CN=rcgen self signed cert");
        assert_eq!(read.names.subject, subject.ok());
        let addresses = ["192.0.2.7", "2001:db8::7"].map(|text| AlternativeName::Ip(text.parse().unwrap()));
        assert!(
            addresses
                .iter()
                .all(|address| read.names.alternative.contains(address))
        );
        assert!(matches!(&read.key, CertificateKey::P256(point) if point.len() == 65));
    }

    #[test]
    fn a_certificate_is_good_from_its_first_second_to_its_last() {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2026, 2, 1);
        let der = parameters
            .self_signed(&rcgen::KeyPair::generate().unwrap())
            .unwrap();
        let read = read(der.der().to_vec()).unwrap();
        let at = |text: &str| read.is_valid_at(text.parse().unwrap());
        assert!(!at("2025-12-31T23:59:59.999Z") && at("2026-01-01T00:00:00Z"));
        assert!(at("2026-02-01T00:00:00.999Z") && !at("2026-02-01T00:00:01Z"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_a_certificate_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let _ = read(bytes);
            let mut der = certificate();
            for (place, byte) in changes {
                let place = place.index(der.len());
                der[place] = byte;
            }
            let _ = read(der);
        }
    }
}
