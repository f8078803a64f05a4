//! Certificates, and the names in them.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use grantlog::config::CertificateFormat;
use grantlog::crypto::certificate::{ClientCertificate, Witness};
use grantlog::domain::client::{CertificateSubject, DistinguishedName};
use grantlog::http::client_certificate;
use rustls::pki_types::CertificateDer;

use super::{Read, text};

pub(super) fn certificate(bytes: &[u8]) -> Read {
    let chain = vec![CertificateDer::from(bytes.to_vec())];
    match ClientCertificate::read(chain, Witness::Handshake) {
        Some(certificate) => {
            assert_eq!(certificate.der(), bytes);
            Read::As(certificate.der().to_vec())
        }
        None => Read::Refused,
    }
}

/// In each format that a proxy may write.
pub(super) fn certificate_header(bytes: &[u8]) -> Read {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return Read::Refused;
    };
    let headers: HeaderMap = [(HeaderName::from_static("client-cert"), value)]
        .into_iter()
        .collect();
    let formats = [CertificateFormat::Rfc9440, CertificateFormat::Pem];
    let read: Vec<_> = formats
        .into_iter()
        .filter_map(|format| client_certificate::in_header(&headers, "client-cert", format))
        .collect();
    Read::when(!read.is_empty())
}

/// As each member of RFC 8705 §2.1.2.
pub(super) fn certificate_subject(bytes: &[u8]) -> Read {
    text(bytes, |value| {
        let mut read = false;
        for member in [
            "tls_client_auth_subject_dn",
            "tls_client_auth_san_dns",
            "tls_client_auth_san_uri",
            "tls_client_auth_san_ip",
            "tls_client_auth_san_email",
        ] {
            if let Ok(subject) = CertificateSubject::parse(member, value) {
                let (name, written) = subject.member();
                assert_eq!(name, member);
                let again = CertificateSubject::parse(member, &written);
                assert_eq!(again.as_ref(), Ok(&subject), "{written}");
                read = true;
            }
        }
        Read::when(read)
    })
}

pub(super) fn distinguished_name(bytes: &[u8]) -> Read {
    text(bytes, |name| Read::when(DistinguishedName::parse(name).is_ok()))
}
