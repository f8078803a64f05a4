//! Each way to authenticate at NATS, over TLS by an authority that only a setting names.

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::domain::stream::StreamTarget;
use grantlog::stream::StreamStatus;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::nats::Nats;
use super::{caught_up, define, definition, ledger, run, until};
use crate::harness::TestServer;

/// An authority's certificate, and the NATS configuration of a server with one of this authority's.
struct Tls {
    authority: std::path::PathBuf,
    configuration: String,
    directory: tempfile::TempDir,
}

impl Tls {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let authority = parameters.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::from_params(&parameters, &authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let server = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let server = server.signed_by(&key, &issuer).unwrap();
        let write = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let certificate = write("server.pem", server.pem());
        let key = write("key.pem", key.serialize_pem());
        let configuration = format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n",
            certificate.display(),
            key.display()
        );
        Self {
            authority: write("authority.pem", authority.pem()),
            configuration,
            directory,
        }
    }

    async fn server(&self) -> TestServer {
        TestServer::start_with(|settings| settings.outbound_ca = Some(self.authority.clone())).await
    }
}

/// A server whose accounts an operator signs, and the `.creds` file of a user of one of them.
fn decentralised() -> (String, String) {
    let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
    let (account, user) = (KeyPair::new_account(), KeyPair::new_user());
    let operator_jwt = jwt(&operator, &operator, &json!({"type": "operator", "version": 2}));
    let unlimited = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
    let account_claims = json!({"type": "account", "version": 2, "limits": unlimited});
    let account_jwt = jwt(&operator, &account, &account_claims);
    let system_jwt = jwt(&operator, &system, &json!({"type": "account", "version": 2}));
    let user_claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
    let user_jwt = jwt(&account, &user, &user_claims);
    let [account, system] = [&account, &system].map(KeyPair::public_key);
    let configuration = format!(
        "operator: {operator_jwt}\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload: {{ {account}: {account_jwt}, {system}: {system_jwt} }}\n"
    );
    let creds = format!(
        "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed().unwrap()
    );
    (configuration, creds)
}

/// A JWT of NATS, version 2.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let claims = json!({"jti": uuid::Uuid::new_v4().to_string(), "iat": 1_700_000_000, "name": "test",
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": nats});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!(
        "{}.{}",
        part(&json!({"typ": "JWT", "alg": "ed25519-nkey"})),
        part(&claims)
    );
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn target(url: &str, prefix: &str) -> StreamTarget {
    StreamTarget::Nats {
        url: url.replace("nats://", "tls://"),
        prefix: prefix.to_owned(),
    }
}

/// Waits until a stream fails for this reason; on a slow machine it may have been too slow before.
async fn fails_with(server: &TestServer, name: &str, code: &str) -> StreamStatus {
    until(server, name, |status| status.error.as_deref() == Some(code)).await
}

/// Makes a stream for what is published under a prefix. Each has its own: positions are message ids, and JetStream takes
/// each id once.
async fn store(
    (nats, prefix): (&Nats, &str),
    tls: &Tls,
    options: async_nats::ConnectOptions,
) -> stream::Stream {
    let options = options
        .add_root_certificates(tls.authority.clone())
        .require_tls(true);
    let context = jetstream::new(options.connect(&nats.url).await.unwrap());
    let config = stream::Config {
        name: prefix.to_owned(),
        subjects: vec![format!("{prefix}.>")],
        ..stream::Config::default()
    };
    context.create_stream(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_is_reached_by_each_kind_of_credentials_over_tls_of_an_authority_of_ones_own() {
    let tls = Tls::new();
    let user = KeyPair::new_user();
    let users = format!(
        "authorization {{ users: [ {{ user: ledger, password: \"pass:word\" }}, {{ nkey: {} }} ] }}\n",
        user.public_key()
    );
    let Some(nats) = Nats::start(&format!("{}{users}", tls.configuration)).await else {
        return;
    };
    let (accounts, creds) = decentralised();
    let other = Nats::start(&format!("{}{accounts}", tls.configuration))
        .await
        .unwrap();
    let server = tls.server().await;
    let seed = user.seed().unwrap();
    let secret = |text: &'static str| Some(text.as_bytes());
    for (name, url, secret) in [
        ("password", &nats.url, secret("ledger:pass:word")),
        ("nkey", &nats.url, Some(seed.as_bytes())),
        ("creds", &other.url, Some(creds.as_bytes())),
        ("wrong", &nats.url, secret("ledger:another password")),
        ("nobody", &nats.url, None),
        (
            "stranger",
            &nats.url,
            Some(KeyPair::new_user().seed().unwrap().as_bytes()),
        ),
    ] {
        define(&server, name, definition(target(url, name)), secret).await;
    }
    let mut stored = Vec::new();
    for prefix in ["password", "nkey"] {
        let options = async_nats::ConnectOptions::with_user_and_password("ledger".into(), "pass:word".into());
        stored.push(store((&nats, prefix), &tls, options).await);
    }
    let options = async_nats::ConnectOptions::with_credentials(&creds).unwrap();
    stored.push(store((&other, "creds"), &tls, options).await);

    let runner = run(&server);
    for name in ["password", "nkey", "creds"] {
        caught_up(&server, name).await;
    }
    for name in ["wrong", "nobody", "stranger"] {
        assert_eq!(fails_with(&server, name, "authentication_failed").await.events, 0);
    }
    runner.stop().await;
    let written = u64::try_from(ledger(&server).await.len()).unwrap();
    for mut stream in stored {
        assert_eq!(stream.info().await.unwrap().state.messages, written);
    }

    // Who does not trust the authority says nothing.
    let stranger = TestServer::start().await;
    define(
        &stranger,
        "bus",
        definition(target(&nats.url, "x")),
        secret("ledger:pass:word"),
    )
    .await;
    let runner = run(&stranger);
    fails_with(&stranger, "bus", "tls_failed").await;
    runner.stop().await;
    drop(tls.directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_in_clear_where_the_url_says_tls_whatever_the_server_says() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tls://{}", listener.local_addr().unwrap());
    let server = TestServer::start().await;
    define(
        &server,
        "bus",
        definition(target(&url, "x")),
        Some(b"ledger:pass:word"),
    )
    .await;
    let runner = run(&server);
    let (mut stream, _) = listener.accept().await.unwrap();
    let information = json!({"server_id": "x", "version": "2.9.10", "proto": 1, "host": "127.0.0.1", "port": 4222,
        "headers": true, "max_payload": 1_048_576, "auth_required": true, "tls_required": false});
    let greeting = format!("INFO {information}\r\n");
    stream.write_all(greeting.as_bytes()).await.unwrap();
    let mut heard = [0; 6];
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut heard));
    read.await.unwrap().unwrap();
    // A TLS handshake, its version, its length, a ClientHello (RFC 8446 §4, §5.1).
    assert_eq!((heard[0], heard[1], heard[5]), (22, 3, 1), "{heard:?}");
    drop(stream);
    let failing = until(&server, "bus", |status| status.error.is_some()).await;
    assert_eq!(failing.events, 0);
    runner.stop().await;
}
