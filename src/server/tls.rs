//! TLS on the server's own socket. The certificate is read again on SIGHUP, so that renewing it needs no restart.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CipherSuite, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tower_layer::Layer;

use super::ServeError;
use crate::config::Settings;
use crate::crypto::certificate::{ClientCertificate, Witness};
use crate::http::client_certificate::PeerCertificate;

/// RFC 9325 §4.2.
const RECOMMENDED: [CipherSuite; 4] = [
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
];

/// The certificate and its key; none where TLS is not ours to do.
pub(super) async fn load(settings: &Settings) -> Result<Option<RustlsConfig>, ServeError> {
    let (Some(certificate), Some(key)) = (&settings.tls_cert, &settings.tls_key) else {
        return Ok(None);
    };
    let config = read(certificate, key, settings.tls_client_certificates).await;
    config
        .map(|config| Some(RustlsConfig::from_config(config)))
        .map_err(|source| ServeError::Tls {
            certificate: certificate.display().to_string(),
            key: key.display().to_string(),
            source,
        })
}

/// Reads both files again on each SIGHUP; a pair that cannot be used changes nothing.
pub(super) fn reload_on_hangup(config: RustlsConfig, settings: &Settings) -> Result<(), io::Error> {
    let (Some(certificate), Some(key)) = (settings.tls_cert.clone(), settings.tls_key.clone()) else {
        return Ok(());
    };
    let asks_clients = settings.tls_client_certificates;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match read(&certificate, &key, asks_clients).await {
                Ok(read) => {
                    config.reload_from_config(read);
                    tracing::info!("the TLS certificate was read again");
                }
                Err(error) => tracing::error!(%error, "the TLS certificate was not read again"),
            }
        }
    });
    Ok(())
}

async fn read(certificate: &Path, key: &Path, asks_clients: bool) -> io::Result<Arc<ServerConfig>> {
    let (certificate, key) = (tokio::fs::read(certificate).await?, tokio::fs::read(key).await?);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
    let chain = chain.map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(io::Error::other)?;
    let provider = Arc::new(recommended());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = if asks_clients {
        builder.with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(chain, key).map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What TLS is made of here: under TLS 1.2 the suites that BCP 195 recommends (RFC 9325 §4.2) and no others, as FAPI 2.0
/// Security Profile §5.2.2 has it; under TLS 1.3 all of them.
fn recommended() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|suite| suite.tls13().is_some() || RECOMMENDED.contains(&suite.suite()));
    provider
}

/// Asks for a certificate, takes none, and believes of one no more than that the client holds its key: whose it is,
/// and who issued it, is asked per client (RFC 8705 §2), of whom the handshake knows nothing.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Hands the certificate of a connection's client to its requests.
#[derive(Clone)]
pub(super) struct WithPeerCertificate(pub(super) RustlsAcceptor);

impl<S: Send + 'static> Accept<TcpStream, S> for WithPeerCertificate {
    type Stream = <RustlsAcceptor as Accept<TcpStream, S>>::Stream;
    type Service = AddExtension<S, PeerCertificate>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepting = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let owned = chain.iter().map(|one| one.clone().into_owned()).collect();
            let certificate = ClientCertificate::read(owned, Witness::Handshake).map(Arc::new);
            Ok((stream, Extension(PeerCertificate(certificate)).layer(service)))
        })
    }
}
