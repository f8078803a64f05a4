//! TLS on the server's own socket. The certificate is read again on SIGHUP, so that renewing it needs no restart.

use axum_server::tls_rustls::RustlsConfig;
use tokio::signal::unix::{SignalKind, signal};

use super::ServeError;
use crate::config::Settings;

/// The certificate and its key; none where TLS is not ours to do.
pub(super) async fn load(settings: &Settings) -> Result<Option<RustlsConfig>, ServeError> {
    let (Some(certificate), Some(key)) = (&settings.tls_cert, &settings.tls_key) else {
        return Ok(None);
    };
    // An error says that a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = RustlsConfig::from_pem_file(certificate, key).await;
    config.map(Some).map_err(|source| ServeError::Tls {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
        source,
    })
}

/// Reads both files again on each SIGHUP; a pair that cannot be used changes nothing.
pub(super) fn reload_on_hangup(config: RustlsConfig, settings: &Settings) -> Result<(), std::io::Error> {
    let (Some(certificate), Some(key)) = (settings.tls_cert.clone(), settings.tls_key.clone()) else {
        return Ok(());
    };
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match config.reload_from_pem_file(&certificate, &key).await {
                Ok(()) => tracing::info!("the TLS certificate was read again"),
                Err(error) => tracing::error!(%error, "the TLS certificate was not read again"),
            }
        }
    });
    Ok(())
}
