//! Client authentication with a certificate (RFC 8705 §2), and where the certificate comes from: this server's own TLS
//! handshake, or a header of a trusted proxy.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::app::App;
use crate::clock::Timestamp;
use crate::config::{CertificateFormat, Settings};
use crate::crypto::certificate::{ClientCertificate, Witness};
use crate::domain::client::{AuthMethod, PublicJwk, PublicJwks, Registration};
use crate::domain::refusal::RefusalReason;
use crate::ledger::ClientAuthentication;

/// The certificate of a connection's client, where the handshake had one: an extension of each of its requests.
#[derive(Clone, Debug)]
pub struct PeerCertificate(pub Option<Arc<ClientCertificate>>);

/// The certificate that a request came with. The header is for the trusted proxies alone: whoever sends it, nothing
/// behind this reads it.
pub(super) fn take(
    settings: &Settings,
    peer: Option<IpAddr>,
    request: &mut Request,
) -> Option<Arc<ClientCertificate>> {
    if let Some(name) = &settings.client_certificate_header {
        let of_proxy = peer.is_some_and(|peer| settings.trusted_proxies.contains(&peer.to_canonical()));
        let said = of_proxy.then(|| in_header(request.headers(), name, settings.client_certificate_format));
        request.headers_mut().remove(name.as_str());
        // A proxy's own certificate, which it may have shown in its handshake with us, is not its client's.
        if let Some(said) = said {
            return said.map(Arc::new);
        }
    }
    let peer = request.extensions().get::<PeerCertificate>();
    peer.and_then(|peer| peer.0.clone())
}

/// None where there is no header, or more than one, or what it says is no certificate.
#[must_use]
pub fn in_header(headers: &HeaderMap, name: &str, format: CertificateFormat) -> Option<ClientCertificate> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else {
        tracing::warn!("a proxy sent more than one client certificate header");
        return None;
    };
    // Proxies send an empty header where the client has no certificate.
    if value.is_empty() {
        return None;
    }
    let certificate =
        chain(value.as_bytes(), format).and_then(|chain| ClientCertificate::read(chain, Witness::Proxy));
    if certificate.is_none() {
        tracing::warn!(
            "a proxy sent a client certificate header that is no certificate: check client_certificate_format"
        );
    }
    certificate
}

fn chain(value: &[u8], format: CertificateFormat) -> Option<Vec<CertificateDer<'static>>> {
    match format {
        CertificateFormat::Rfc9440 => {
            let encoded = value.strip_prefix(b":")?.strip_suffix(b":")?;
            Some(vec![STANDARD.decode(encoded).ok()?.into()])
        }
        CertificateFormat::Pem => {
            // Not a form's encoding: a plus is a plus.
            let text: Vec<u8> = percent_decode(value).collect();
            let certificates = CertificateDer::pem_slice_iter(&text);
            certificates.collect::<Result<Vec<_>, _>>().ok()
        }
    }
}

/// Authenticates a client that named itself and presents nothing but, perhaps, a certificate.
pub(super) async fn authenticate(
    app: &App,
    client: &Registration,
    certificate: Option<&ClientCertificate>,
    at: Timestamp,
) -> Result<ClientAuthentication, RefusalReason> {
    let metadata = &client.metadata;
    let method = metadata.token_endpoint_auth_method;
    let (by_authority, by_key) = (
        method == AuthMethod::TlsClientAuth,
        method == AuthMethod::SelfSignedTlsClientAuth,
    );
    if !by_authority && !by_key {
        return Ok(ClientAuthentication::of(method));
    }
    let certificate = certificate.ok_or(RefusalReason::CertificateMissing)?;
    if !certificate.is_valid_at(at) {
        return Err(RefusalReason::CertificateTime);
    }
    let mut how = ClientAuthentication::of(method);
    how.certificate = Some(certificate.thumbprint);
    if by_key {
        let registered = |jwks: &PublicJwks| {
            let key = jwks.of_certificate(certificate.der(), &certificate.key);
            key.map(PublicJwk::name)
        };
        let kid = app
            .client_keys
            .find(metadata.keys(), (None, at), registered)
            .await;
        how.kid = Some(kid.ok_or(RefusalReason::CertificateUnknown)?);
        return Ok(how);
    }
    let trusted = match &app.authorities {
        Some(authorities) => authorities.issued(certificate, at),
        // Without authorities of our own the proxy's word is enough: it is trusted to have verified the chain.
        None => certificate.witness == Witness::Proxy,
    };
    if !trusted {
        return Err(RefusalReason::CertificateUntrusted);
    }
    let registered = metadata.tls_client_auth.as_ref();
    if !registered.is_some_and(|name| name.is_of(&certificate.names)) {
        return Err(RefusalReason::CertificateSubject);
    }
    Ok(how)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_certificate_is_read_from_each_format_of_header() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let pem = certificate.pem();
        let escaped = percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC);
        let binary = format!(":{}:", STANDARD.encode(certificate.der()));
        let read = |value: &str, format| {
            let mut headers = HeaderMap::new();
            headers.insert("client-cert", value.parse().unwrap());
            in_header(&headers, "Client-Cert", format)
                .is_some_and(|read| read.der() == certificate.der().as_ref())
        };
        assert!(read(&escaped.to_string(), CertificateFormat::Pem));
        assert!(read(&binary, CertificateFormat::Rfc9440));
        assert!(!read(&binary, CertificateFormat::Pem));
        assert!(!read(&escaped.to_string(), CertificateFormat::Rfc9440));
        assert!(!read("", CertificateFormat::Pem) && !read("::", CertificateFormat::Rfc9440));
        let mut twice = HeaderMap::new();
        twice.append("client-cert", binary.parse().unwrap());
        twice.append("client-cert", binary.parse().unwrap());
        assert!(in_header(&twice, "client-cert", CertificateFormat::Rfc9440).is_none());
    }

    proptest! {
        #[test]
        fn any_header_is_read_as_certificates_or_refused(
            text in r"(:|%0A|-----BEGIN CERTIFICATE-----|-----END CERTIFICATE-----|[A-Za-z0-9+/=%\n]{0,8}){0,8}",
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            for format in [CertificateFormat::Rfc9440, CertificateFormat::Pem] {
                for value in [text.as_bytes(), &bytes] {
                    let _ = chain(value, format).map(|chain| ClientCertificate::read(chain, Witness::Proxy));
                }
            }
        }
    }
}
