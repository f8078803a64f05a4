//! `grantlog serve`: it starts when it may, says little, and loses nothing on the way down.

use std::path::Path;
use std::time::Duration;

use sqlx::Executor;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Running, eventually, finish, grantlog_on, stderr, terminate};
use crate::harness::TestDatabase;

struct Served {
    process: Running,
    address: String,
    directory: TempDir,
}

impl Served {
    async fn start(database: &TestDatabase, environment: &[(&str, &str)]) -> Self {
        let served = Self::spawn(database, environment);
        served.up().await;
        served
    }

    fn spawn(database: &TestDatabase, environment: &[(&str, &str)]) -> Self {
        let address = free_address();
        let directory = tempfile::tempdir().unwrap();
        let mut command = grantlog_on(database);
        command
            .args([
                "serve",
                "--listen",
                &address,
                "--issuer",
                &format!("http://{address}"),
            ])
            .envs(environment.iter().copied());
        let process = Running::spawn(command, &directory.path().join("log"));
        Self {
            process,
            address,
            directory,
        }
    }

    async fn up(&self) {
        eventually("the server is ready", || async {
            let asked = reqwest::get(self.url("/readyz")).await.ok()?;
            (asked.status() == 200).then_some(())
        })
        .await;
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn log(&self) -> String {
        log_in(self.directory.path())
    }
}

fn log_in(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("log")).unwrap()
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn it_does_not_start_on_a_schema_that_is_not_its_own() {
    let database = TestDatabase::create().await;
    let owner = database.owner().await;
    for (change, advice) in [
        (
            "DELETE FROM public._sqlx_migrations WHERE version > 2",
            "run `grantlog migrate`",
        ),
        (
            "UPDATE public._sqlx_migrations SET version = 9999 WHERE version = 2",
            "newer version",
        ),
    ] {
        owner.execute(change).await.unwrap();
        let mut command = grantlog_on(&database);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        let refused = finish(command, None).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains(advice), "{}", stderr(&refused));
    }
}

/// At an address that is none of this machine's, so that it ends there.
#[tokio::test]
async fn it_warns_of_an_address_of_the_net_without_tls() {
    let database = TestDatabase::create().await;
    for (proxies, listen, warns) in [
        ("", "192.0.2.1:8480", true),
        ("192.0.2.7", "192.0.2.1:8480", false),
    ] {
        let mut command = grantlog_on(&database);
        command.args(["serve", "--listen", listen, "--issuer", "https://id.example"]);
        command.env("GRANTLOG_TRUSTED_PROXIES", proxies);
        let ended = finish(command, None).await;
        assert_eq!(ended.status.code(), Some(1));
        let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        assert!(said.contains(listen), "{said}");
        assert_eq!(said.contains("without TLS"), warns, "{said}");
        assert_eq!(said.contains("set tls_cert and tls_key"), warns, "{said}");
    }
}

#[tokio::test]
async fn it_waits_for_a_database_that_is_not_up_yet() {
    let database = TestDatabase::create().await;
    let nobody = free_address();
    let url = format!("postgres://u@{nobody}/x");
    let mut served = Served::spawn(&database, &[("GRANTLOG_DATABASE_URL", &url)]);
    eventually("it says that it waits", || async {
        served.log().contains("not up yet; trying again").then_some(())
    })
    .await;
    terminate(served.process.0.id());
    assert_eq!(served.process.ended().await, Some(0));
}

#[tokio::test]
async fn readiness_follows_the_database_and_liveness_does_not() {
    let database = TestDatabase::create().await;
    let served = Served::start(&database, &[]).await;
    let ready: serde_json::Value = reqwest::get(served.url("/readyz"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(ready["status"], "ready");
    database
        .owner()
        .await
        .execute("DELETE FROM public._sqlx_migrations WHERE version > 2")
        .await
        .unwrap();
    let not_ready = reqwest::get(served.url("/readyz")).await.unwrap();
    assert_eq!(not_ready.status(), 503);
    let not_ready: serde_json::Value = not_ready.json().await.unwrap();
    assert_eq!(not_ready["reason"], "migrations_missing");
    assert_eq!(reqwest::get(served.url("/healthz")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_request_that_was_accepted_is_answered_after_sigterm() {
    let database = TestDatabase::create().await;
    let mut served = Served::start(&database, &[]).await;
    // One that the database keeps waiting …
    let owner = database.owner().await;
    let mut lock = owner.begin().await.unwrap();
    lock.execute("LOCK TABLE public._sqlx_migrations").await.unwrap();
    let waiting = tokio::spawn(reqwest::get(served.url("/readyz")));
    // … and one whose head is half here, on a connection of its own.
    let mut half = TcpStream::connect(&served.address).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    terminate(served.process.0.id());
    eventually("nothing more is accepted", || async {
        TcpStream::connect(&served.address).await.is_err().then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    lock.rollback().await.unwrap();
    half.write_all(b"\r\n").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    let mut answer = String::new();
    half.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(served.process.ended().await, Some(0));
}

#[tokio::test]
async fn what_arrives_at_the_very_moment_of_sigterm_is_answered() {
    let database = TestDatabase::create().await;
    let mut served = Served::start(&database, &[]).await;
    let mut connections = Vec::new();
    for _ in 0..50 {
        connections.push(TcpStream::connect(&served.address).await.unwrap());
    }
    terminate(served.process.0.id());
    for connection in &mut connections {
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        connection.write_all(request).await.unwrap();
    }
    for connection in &mut connections {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
    assert_eq!(served.process.ended().await, Some(0));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_like_any_other_error() {
    let database = TestDatabase::create().await;
    let served = Served::start(&database, &[]).await;
    let client = reqwest::Client::new();
    let many = (0..101).fold(client.get(served.url("/healthz")), |request, number| {
        request.header(format!("x-{number}"), "1")
    });
    let long = client.get(served.url("/healthz")).header("x", "y".repeat(65_536));
    for request in [many, long] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 431);
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(
            (&body["error"], &body["request_id"]),
            (&"head_too_large".into(), &id.into())
        );
    }
    let good = client.get(served.url("/healthz")).header("x", "y".repeat(60_000));
    assert_eq!(good.send().await.unwrap().status(), 200);
    let address = format!("/healthz?x={}", "y".repeat(60_000));
    assert_eq!(
        client.get(served.url(&address)).send().await.unwrap().status(),
        200
    );
}

/// A client of its own: its id, its secret, and a token that it was given over HTTP.
async fn machine_token(database: &TestDatabase, served: &Served) -> (String, String, String) {
    let metadata = serde_json::json!({
        "client_name": "Machine", "grant_types": ["client_credentials"], "scope": "server-operations",
        "default_scopes": "server-operations",
    });
    let mut define = grantlog_on(database);
    define.args([
        "scope",
        "define",
        "server-operations",
        "--description",
        "Run servers",
    ]);
    assert!(finish(define, None).await.status.success());
    let mut command = grantlog_on(database);
    command.args(["client", "create", "--json", "-"]);
    let created = super::json(&finish(command, Some(&metadata.to_string())).await);
    let text = |member: &str| created[member].as_str().unwrap().to_owned();
    let (id, secret) = (text("client_id"), text("client_secret"));
    let request = reqwest::Client::new().post(served.url("/oauth/token"));
    let request = request.basic_auth(&id, Some(&secret));
    let form = [("grant_type", "client_credentials")];
    let tokens: serde_json::Value = request.form(&form).send().await.unwrap().json().await.unwrap();
    let token = tokens["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{tokens}"));
    (id, secret, token.to_owned())
}

#[tokio::test]
async fn logs_hold_no_secrets() {
    for format in ["text", "json"] {
        let database = TestDatabase::create().await;
        let environment = [("GRANTLOG_LOG_FORMAT", format), ("GRANTLOG_LOG_FILTER", "debug")];
        let mut served = Served::start(&database, &environment).await;
        let client = reqwest::Client::new();
        let secret = "s3cr3t";
        for request in [
            client.get(served.url("/healthz?code=s3cr3t")),
            client.get(served.url("/s3cr3t")),
            client.get(served.url("/api/user")).bearer_auth(secret),
            client
                .get(served.url("/healthz"))
                .header("x-forwarded-for", "198.51.100.7")
                .header("user-agent", secret),
            client.get(served.url("/oauth/authorize?client_id=s3cr3t&state=s3cr3t&login_hint=s3cr3t")),
            client
                .post(served.url("/oauth/token"))
                .basic_auth(secret, Some(secret))
                .body("grant_type=password&username=s3cr3t&password=s3cr3t"),
            client.post(served.url("/oauth/revoke")).body("token=s3cr3t"),
            client.request(
                reqwest::Method::from_bytes(b"S3CR3T").unwrap(),
                served.url("/healthz"),
            ),
        ] {
            request.send().await.unwrap();
        }
        // Real ones, which work.
        let (id, client_secret, token) = machine_token(&database, &served).await;
        for path in ["/oauth/introspect", "/oauth/revoke"] {
            let request = client
                .post(served.url(path))
                .basic_auth(&id, Some(&client_secret));
            let answer = request.form(&[("token", &token)]).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
        }
        terminate(served.process.0.id());
        served.process.ended().await;
        let log = served.log();
        for real in [&client_secret, &token, token.rsplit('.').next().unwrap()] {
            assert!(!log.contains(real), "{log}");
        }
        assert!(log.contains("/healthz") && log.contains("unmatched"), "{log}");
        assert!(!log.to_lowercase().contains(secret), "{log}");
        for private in ["198.51.100.7", "127.0.0.1:8480/", super::MASTER_KEY] {
            assert!(!log.contains(private), "{private}: {log}");
        }
        if format == "json" {
            let lines = log.lines().map(serde_json::from_str::<serde_json::Value>);
            assert!(
                lines
                    .map(Result::unwrap)
                    .any(|line| line["path"] == "/healthz" && line["status"] == 200)
            );
        }
    }
}

#[tokio::test]
async fn metrics_have_a_listener_of_their_own() {
    let database = TestDatabase::create().await;
    let metrics = free_address();
    let served = Served::start(&database, &[("GRANTLOG_METRICS_LISTEN", &metrics)]).await;
    reqwest::get(served.url("/s3cr3t")).await.unwrap();
    assert_eq!(reqwest::get(served.url("/metrics")).await.unwrap().status(), 404);
    let text = reqwest::get(format!("http://{metrics}/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for expected in [
        "grantlog_http_requests_total{path=\"/readyz\",method=\"GET\",status=\"200\"}",
        "grantlog_http_requests_total{path=\"unmatched\"",
        "grantlog_http_request_duration_seconds_bucket",
        "grantlog_ledger_head_position",
        "grantlog_database_up 1",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("s3cr3t"));
}
