//! TLS: to whom, and to whom not.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A receiver with a certificate for `localhost`: its port, what it read, and who trusts it.
async fn receiver() -> (u16, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>, RootCertStore) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (came, reads) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut bytes = Vec::new();
            if stream.read_to_end(&mut bytes).await.is_ok() {
                came.send(bytes).unwrap();
            }
            let _ = stream.shutdown().await;
        }
    });
    (port, reads, roots)
}

fn sender(host: &str, port: u16, roots: RootCertStore) -> Syslog {
    Syslog {
        clock: Clock::default(),
        issuer: "https://id.example".to_owned(),
        host: "id.example".to_owned(),
        address: Address::parse(&format!("syslog+tls://{host}:{port}")).unwrap(),
        tls: crate::outbound::connector(roots).unwrap(),
        outbound: Fetcher::new(Vec::new(), None).unwrap(),
    }
}

#[tokio::test]
async fn messages_go_over_tls_to_a_receiver_that_proves_its_name_and_to_no_other() {
    let (port, mut reads, roots) = receiver().await;
    sender("localhost", port, roots.clone())
        .send(b"5 <83>1")
        .await
        .unwrap();
    assert_eq!(reads.recv().await.unwrap(), b"5 <83>1");
    // Another name, and an authority that nobody trusts.
    for (host, roots) in [("127.0.0.1", roots), ("localhost", RootCertStore::empty())] {
        let refused = sender(host, port, roots).send(b"5 <83>1").await;
        assert_eq!(refused, Err(Failure::new("tls_failed")), "{host}");
    }
    assert!(reads.try_recv().is_err());
    // Nobody is there.
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let failed = sender("localhost", closed, RootCertStore::empty())
        .send(b"")
        .await;
    assert_eq!(failed, Err(Failure::new("connection_failed")));
}
