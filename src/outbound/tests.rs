//! The fetcher against listeners on this machine, with a resolver that lies as it is told.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers each look-up with the next of its answers, the last one again and again.
#[derive(Clone, Default)]
struct Scripted {
    answers: Arc<Mutex<Vec<Vec<IpAddr>>>>,
    asked: Arc<AtomicUsize>,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| answer.iter().map(|one| one.parse().unwrap()).collect();
        Self {
            answers: Arc::new(Mutex::new(answers.iter().map(parse).collect())),
            asked: Arc::default(),
        }
    }
}

impl Resolve for Scripted {
    fn resolve(&self, _name: &str) -> Lookup {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 {
            answers.remove(0)
        } else {
            answers[0].clone()
        };
        Box::pin(async move { Ok(answer) })
    }
}

fn no_roots() -> TlsConnector {
    connector(RootCertStore::empty()).unwrap()
}

fn fetcher(allow: &[&str], resolver: Scripted) -> Fetcher {
    let allow = allow.iter().map(|entry| entry.parse().unwrap()).collect();
    Fetcher::with(allow, Box::new(resolver), no_roots())
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Accepts connections, counts them, and writes the same bytes to each without closing.
async fn talk(bytes: Vec<u8>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&bytes).await;
                std::future::pending::<()>().await;
            });
        }
    });
    (address, accepted)
}

async fn code(fetcher: &Fetcher, request: Outgoing<'_>) -> &'static str {
    match fetcher.send(request).await {
        Ok(answer) => panic!("answered: {}", answer.status),
        Err(error) => error.code(),
    }
}

#[tokio::test]
async fn a_literal_private_address_is_refused_however_it_is_spelled() {
    let fetcher = fetcher(&[], Scripted::new(&[&[]]));
    for url in [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://0/",
        "https://%31%32%37.0.0.1/",
        "https://127。0。0。1/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1:8443/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[64:ff9b::a00:1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
    ] {
        assert!(matches!(fetcher.check(url), Err(OutboundError::Address)), "{url}");
        assert_eq!(
            code(&fetcher, Outgoing::get(url)).await,
            "address_refused",
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_name_with_any_private_address_is_refused_and_nothing_is_connected() {
    let (address, accepted) = talk(Vec::new()).await;
    let url = format!("https://rp.example:{}/", address.port());
    for answer in [
        &["127.0.0.1"][..],
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
        &["10.0.0.1"],
        &["::ffff:127.0.0.1"],
        &["169.254.169.254"],
        &["100.64.0.1"],
    ] {
        let fetcher = fetcher(&[], Scripted::new(&[answer]));
        assert_eq!(
            code(&fetcher, Outgoing::get(&url)).await,
            "address_refused",
            "{answer:?}"
        );
    }
    let nowhere = fetcher(&[], Scripted::new(&[&[]]));
    assert_eq!(code(&nowhere, Outgoing::get(&url)).await, "name_unresolved");
    assert_eq!(accepted.load(Ordering::SeqCst), 0);
}

/// The classical attack: the check sees a public address, the connection would be made to a private one.
#[tokio::test]
async fn an_administrators_host_may_be_inside_and_no_metadata_service_whatever_its_name() {
    let host = Host::Domain("siem.internal");
    for (answer, found) in [
        (&["10.1.2.3"][..], true),
        (&["10.1.2.3", "169.254.169.254"][..], false),
        (&["fe80::1"][..], false),
        (&["::ffff:169.254.169.254"][..], false),
    ] {
        let fetcher = fetcher(&[], Scripted::new(&[answer]));
        assert_eq!(fetcher.inside(&host, 601).await.is_ok(), found, "{answer:?}");
    }
    let named = fetcher(&["siem.internal:601"], Scripted::new(&[&["169.254.1.1"]]));
    assert!(named.inside(&host, 601).await.is_ok());
    let literal = Host::Ipv4("169.254.169.254".parse().unwrap());
    let strict = fetcher(&[], Scripted::new(&[]));
    assert!(strict.check_inside(&literal, 601).is_err());
    let lenient = fetcher(&["169.254.169.254"], Scripted::new(&[]));
    assert!(lenient.check_inside(&literal, 601).is_ok());
}

#[tokio::test]
async fn a_name_is_looked_up_once_so_that_it_cannot_change_between_check_and_connection() {
    let (address, accepted) = talk(Vec::new()).await;
    // 192.0.0.1 stands for "public": allowed, and nobody is there.
    let resolver = Scripted::new(&[&["240.0.0.1"], &["127.0.0.1"]]);
    let fetcher = fetcher(&["240.0.0.0/8"], resolver.clone());
    let url = format!("https://rp.example:{}/", address.port());
    let request = Outgoing::get(&url).timeout(Duration::from_secs(1));
    assert!(["connection_failed", "timeout"].contains(&code(&fetcher, request).await));
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 1, "looked up again");
    assert_eq!(code(&fetcher, Outgoing::get(&url)).await, "address_refused");
    assert_eq!(accepted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn http_is_for_hosts_that_the_allow_list_names_only() {
    let router = Router::new().route("/", get(|| async { "here" }));
    let port = serve(router).await.port();
    let resolver = || Scripted::new(&[&["127.0.0.1"]]);
    let by_name = format!("http://rp.internal:{port}/");
    let by_address = format!("http://127.0.0.1:{port}/");
    for (allow, url, expected) in [
        (vec![], &by_name, "scheme_refused"),
        (vec![], &by_address, "scheme_refused"),
        // The address is allowed; that the name leads to it does not make http good enough.
        (vec!["127.0.0.0/8".to_owned()], &by_name, "scheme_refused"),
        (vec!["rp.internal:1".to_owned()], &by_name, "scheme_refused"),
        (vec!["rp.internal".to_owned()], &by_name, "answered"),
        (vec![format!("rp.internal:{port}")], &by_name, "answered"),
        (vec!["127.0.0.0/8".to_owned()], &by_address, "answered"),
        (vec![format!("127.0.0.1:{port}")], &by_address, "answered"),
    ] {
        let allow: Vec<&str> = allow.iter().map(String::as_str).collect();
        let answer = fetcher(&allow, resolver()).send(Outgoing::get(url)).await;
        let outcome = answer.as_ref().map_or_else(OutboundError::code, |_| "answered");
        assert_eq!(outcome, expected, "{allow:?} {url}");
        if let Ok(answer) = answer {
            assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"here"[..]));
        }
    }
    for url in [
        "ftp://rp.internal/",
        "file:///etc/passwd",
        "gopher://rp.internal/",
    ] {
        let outcome = code(&fetcher(&["rp.internal"], resolver()), Outgoing::get(url)).await;
        assert!(
            ["scheme_refused", "url_invalid"].contains(&outcome),
            "{url} {outcome}"
        );
    }
    for url in [
        "https://user:pw@rp.internal/",
        "https://user@rp.internal/",
        "/relative",
        "https://",
        "",
    ] {
        assert_eq!(
            code(&fetcher(&["rp.internal"], resolver()), Outgoing::get(url)).await,
            "url_invalid",
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&hits);
    let router = Router::new()
        .route("/", get(|| async { Redirect::temporary("/inside") }))
        .route(
            "/inside",
            get(move || async move { counter.fetch_add(1, Ordering::SeqCst).to_string() }),
        );
    let address = serve(router).await;
    let fetcher = fetcher(&["127.0.0.1"], Scripted::default());
    let answer = fetcher
        .send(Outgoing::get(&format!("http://{address}/")))
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_answer_ends_at_its_greatest_length_and_its_greatest_time() {
    let router = Router::new().route("/", get(|| async { "x".repeat(1001) }));
    let address = serve(router).await;
    let fetcher = fetcher(&["127.0.0.1"], Scripted::default());
    let url = format!("http://{address}/");
    assert_eq!(
        code(&fetcher, Outgoing::get(&url).max_bytes(1000)).await,
        "answer_too_large"
    );
    assert_eq!(
        fetcher
            .send(Outgoing::get(&url).max_bytes(1001))
            .await
            .unwrap()
            .body
            .len(),
        1001
    );

    let soon = Duration::from_millis(300);
    let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec();
    for bytes in [Vec::new(), b"HTTP/1.1 200 OK\r\n".to_vec(), endless] {
        let (address, _) = talk(bytes).await;
        let url = format!("http://{address}/");
        assert_eq!(code(&fetcher, Outgoing::get(&url).timeout(soon)).await, "timeout");
    }
    for bytes in [
        b"SSH-2.0-OpenSSH\r\n".to_vec(),
        [
            b"HTTP/1.1 200 OK\r\nX: ".to_vec(),
            vec![b'x'; 64 * 1024],
            b"\r\n\r\n".to_vec(),
        ]
        .concat(),
    ] {
        let (address, _) = talk(bytes).await;
        assert_eq!(
            code(&fetcher, Outgoing::get(&format!("http://{address}/"))).await,
            "answer_broken"
        );
    }
}

#[tokio::test]
async fn a_form_is_posted_with_nothing_of_ours_but_the_agent() {
    let router = Router::new().route(
        "/in",
        post(|headers: HeaderMap, body: String| async move {
            let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
            names.sort();
            format!("{} {} {body}", headers["host"].to_str().unwrap(), names.join(","))
        }),
    );
    let address = serve(router).await;
    let fetcher = fetcher(&["127.0.0.1"], Scripted::default());
    let url = format!("http://{address}/in?x=1#fragment");
    let answer = fetcher
        .send(Outgoing::post_form(&url, "a=b".to_owned()))
        .await
        .unwrap();
    let expected = format!("{address} connection,content-length,content-type,host,user-agent a=b");
    assert_eq!(String::from_utf8_lossy(&answer.body), expected);
}

#[tokio::test]
async fn a_dead_host_takes_a_few_turns_and_leaves_the_others_to_others() {
    let (dead, accepted) = talk(Vec::new()).await;
    let router = Router::new().route("/", get(|| async { "here" }));
    let alive = serve(router).await;
    let fetcher = fetcher(&["127.0.0.1"], Scripted::default());
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let (fetcher, url) = (fetcher.clone(), format!("http://{dead}/"));
        let request =
            async move { code(&fetcher, Outgoing::get(&url).timeout(Duration::from_mins(1))).await };
        waiting.push(tokio::spawn(request));
    }
    while accepted.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let answer = fetcher
        .send(Outgoing::get(&format!("http://{alive}/")))
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    // None of them is over yet: the fifth still waits for its turn.
    assert!(accepted.load(Ordering::SeqCst) <= 4, "{accepted:?}");
    for request in waiting {
        request.abort();
    }
}

#[tokio::test]
async fn a_server_without_a_good_certificate_is_not_spoken_to() {
    // Its answer to the greeting is no TLS.
    let (address, _) = talk(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await;
    let fetcher = fetcher(&["127.0.0.1"], Scripted::default());
    assert_eq!(
        code(&fetcher, Outgoing::get(&format!("https://{address}/"))).await,
        "tls_failed"
    );
}

/// A server with a certificate of its own authority for a name: where it is, and the authority.
async fn serve_tls(name: &str) -> (SocketAddr, RootCertStore) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut greeting = [0; 1024];
                let _ = stream.read(&mut greeting).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                    .await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (address, roots)
}

/// OpenID Connect Core §16.17.
#[tokio::test]
async fn a_certificate_of_nobody_known_or_for_another_name_is_refused() {
    let (address, roots) = serve_tls("rp.example").await;
    let port = address.port();
    let trusting = |roots| {
        let resolver = Scripted::new(&[&["127.0.0.1"]]);
        let allow = vec!["127.0.0.1".parse().unwrap()];
        Fetcher::with(allow, Box::new(resolver), connector(roots).unwrap())
    };
    let (known, unknown) = (trusting(roots), trusting(RootCertStore::empty()));
    let right = format!("https://rp.example:{port}/");
    let answer = known.send(Outgoing::get(&right)).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, &b"ok"[..]));
    assert_eq!(code(&unknown, Outgoing::get(&right)).await, "tls_failed");
    let wrong = format!("https://other.example:{port}/");
    assert_eq!(code(&known, Outgoing::get(&wrong)).await, "tls_failed");
}

#[test]
fn json_is_known_by_its_media_type() {
    let is_json = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
        Answer {
            status: StatusCode::OK,
            headers,
            body: Bytes::new(),
        }
        .is_json()
    };
    for json in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/jwk-set+json",
    ] {
        assert!(is_json(json), "{json}");
    }
    for other in ["text/html", "text/json", "application/jsonx", "", "application/"] {
        assert!(!is_json(other), "{other}");
    }
}
