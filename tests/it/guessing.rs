//! Guessing passwords: many at once, and hanging up before the answer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::flow;
use crate::harness::{TestServer, browser};

const LIMIT: u32 = 3;
const PASSWORD: &str = "a long enough password";

struct Guessed {
    server: TestServer,
    http: reqwest::Client,
    client_id: String,
}

impl Guessed {
    async fn new() -> Self {
        let server = TestServer::start_with(|settings| {
            settings.allow_password_grant = true;
            settings.failures_per_minute = LIMIT;
        })
        .await;
        server.user("alice", PASSWORD).await;
        let client = server
            .client(json!({
                "client_name": "Old", "legacy": true, "grant_types": ["password"], "token_endpoint_auth_method": "none",
                "scope": "view-user", "default_scopes": "view-user",
            }))
            .await;
        Self {
            server,
            http: reqwest::Client::new(),
            client_id: client.client_id,
        }
    }

    async fn guess(&self, password: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "password"),
            ("client_id", &self.client_id),
            ("username", "alice"),
            ("password", password),
        ];
        let answer = self.http.post(self.server.url("/oauth/token")).form(&form);
        let answer = answer.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Sends a guess and hangs up before it is answered: whether it was read by then is for the server to say. (A hash takes longer than this.)
    async fn guess_and_hang_up(&self) {
        let body = format!(
            "grant_type=password&client_id={}&username=alice&password=wrong",
            self.client_id
        );
        let address = self.server.base.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST /oauth/token HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(stream);
    }

    async fn refusals(&self, reason: &str) -> u32 {
        let owner = self.server.database.owner().await;
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM grantlog.ledger WHERE event_type = 'RequestRefused' AND payload->>'reason' = $1",
        )
        .bind(reason)
        .fetch_one(&owner)
        .await
        .unwrap();
        u32::try_from(count).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_made_at_once_do_not_pass_the_limit() {
    let guessed = Guessed::new().await;
    let guessed = Arc::new(guessed);
    let mut all = JoinSet::new();
    for _ in 0..24 {
        let guessed = Arc::clone(&guessed);
        all.spawn(async move { guessed.guess("wrong").await.0 });
    }
    let answers = all.join_all().await;
    assert!(answers.iter().all(|status| matches!(status, 400 | 429)));
    // As many as are compared at the same time may be one too many each.
    let at_once = u32::try_from(guessed.server.app.settings.hashing_threads).unwrap();
    let compared = guessed.refusals("wrong_password").await;
    assert!((LIMIT..LIMIT + at_once).contains(&compared), "{compared} guesses");
    assert_eq!(guessed.guess(PASSWORD).await.0, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guess_whose_caller_hangs_up_is_counted_and_recorded() {
    let guessed = Guessed::new().await;
    let recorded = async {
        while guessed.refusals("wrong_password").await < LIMIT {
            guessed.guess_and_hang_up().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), recorded)
        .await
        .unwrap();
    assert_eq!(guessed.guess(PASSWORD).await.0, 429);
}

/// What the token endpoint answers to a secret.
async fn authenticate(server: &TestServer, client_id: &str, secret: &str) -> u16 {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_secret", secret),
    ];
    let answer = reqwest::Client::new()
        .post(server.url("/oauth/token"))
        .form(&form)
        .send();
    answer.await.unwrap().status().as_u16()
}

const CHOSEN: &str = "a secret that somebody chose";

/// A machine; with a chosen secret where one is given.
async fn machine(server: &TestServer, client_id: &str, secret: Option<&str>) -> Option<String> {
    let mut metadata = json!({
        "client_name": "Machine", "client_id": client_id, "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "client_secret_post", "scope": "server-operations",
        "default_scopes": "server-operations",
    });
    if let Some(secret) = secret {
        metadata["client_secret"] = json!(secret);
    }
    server.client(metadata).await.client_secret
}

#[tokio::test(flavor = "multi_thread")]
async fn client_secrets_guessed_at_once_do_not_pass_the_limit() {
    let server = TestServer::start_with(|settings| settings.failures_per_minute = LIMIT).await;
    let server = Arc::new(server);
    machine(&server, "chosen", Some(CHOSEN)).await;
    let mut all = JoinSet::new();
    for number in 0..40 {
        let server = Arc::clone(&server);
        all.spawn(async move { authenticate(&server, "chosen", &format!("guess number {number}")).await });
    }
    let answers = all.join_all().await;
    assert!(
        answers.iter().all(|status| matches!(status, 401 | 429)),
        "{answers:?}"
    );
    let compared = u32::try_from(answers.iter().filter(|status| **status == 401).count()).unwrap();
    let at_once = u32::try_from(server.app.settings.hashing_threads).unwrap();
    assert!((LIMIT..LIMIT + at_once).contains(&compared), "{compared} guesses");
    assert_eq!(authenticate(&server, "chosen", CHOSEN).await, 429);
    server.clock.advance(Duration::from_mins(1));
    assert_eq!(authenticate(&server, "chosen", CHOSEN).await, 200);
}

/// RFC 7009 §5.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_guessed_at_the_revocation_endpoint_no_more_often_than_elsewhere() {
    let server = TestServer::start_with(|settings| settings.failures_per_minute = LIMIT).await;
    machine(&server, "chosen", Some(CHOSEN)).await;
    let mut answers = Vec::new();
    for number in 0..=LIMIT {
        let form = [
            ("token", "x".to_owned()),
            ("client_id", "chosen".to_owned()),
            ("client_secret", format!("guess number {number}")),
        ];
        let answer = reqwest::Client::new()
            .post(server.url("/oauth/revoke"))
            .form(&form);
        answers.push(answer.send().await.unwrap().status().as_u16());
    }
    assert_eq!(answers, [401, 401, 401, 429]);
    assert_eq!(authenticate(&server, "chosen", CHOSEN).await, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_clients_that_are_made_up_are_limited_by_their_address() {
    let server = TestServer::start_with(|settings| settings.failures_per_minute = 1).await;
    let generated = machine(&server, "generated", None).await.unwrap();
    for number in 0..10 {
        assert_eq!(
            authenticate(&server, &format!("nobody-{number}"), "wrong").await,
            401
        );
    }
    assert_eq!(authenticate(&server, "nobody-10", "wrong").await, 429);
    // What needs no hash is not held up by it.
    assert_eq!(authenticate(&server, "generated", &generated).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_costs_a_hash_whatever_the_client_and_a_right_generated_one_none() {
    let server = TestServer::start().await;
    let server = Arc::new(server);
    machine(&server, "chosen", Some(CHOSEN)).await;
    let generated = machine(&server, "generated", None).await.unwrap();
    // All slots of the hasher are taken until told otherwise.
    let (free, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let slots = server.app.settings.hashing_threads;
    let mut busy = JoinSet::new();
    let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..slots {
        let (hasher, held, taken) = (
            server.app.operations.hasher.clone(),
            Arc::clone(&held),
            Arc::clone(&taken),
        );
        busy.spawn(async move {
            let wait = move || {
                taken.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let _ = held.lock().unwrap().recv();
            };
            hasher.run(wait).await.unwrap();
        });
    }
    while taken.load(std::sync::atomic::Ordering::SeqCst) < slots {
        tokio::task::yield_now().await;
    }
    let mut wrong = JoinSet::new();
    for client_id in ["chosen", "generated", "nobody"] {
        let server = Arc::clone(&server);
        wrong.spawn(async move { authenticate(&server, client_id, "a wrong secret").await });
    }
    for _ in 0..3 {
        assert_eq!(authenticate(&server, "generated", &generated).await, 200);
    }
    let early = tokio::time::timeout(Duration::from_millis(300), wrong.join_next()).await;
    assert!(early.is_err(), "answered without a hash: {early:?}");
    drop(free);
    assert_eq!(wrong.join_all().await, [401, 401, 401]);
    busy.join_all().await;
}

#[tokio::test]
async fn a_chosen_secret_that_could_be_guessed_is_refused() {
    let server = TestServer::start().await;
    for (secret, problem) in [
        ("x", "it has 1 characters; a chosen secret needs 16 to 1024"),
        ("fifteen letters", "it has 15 characters"),
        ("sixteen letters\u{e9}", "other than printable ASCII"),
    ] {
        let registration = serde_json::from_value(json!({
            "client_name": "Mover", "client_id": "mover", "client_secret": secret,
            "grant_types": ["client_credentials"],
        }));
        let operations = &server.app.operations;
        let refused = operations
            .create_client(&TestServer::context(), registration.unwrap())
            .await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("client_secret") && refused.contains(problem),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_is_never_called_wrong_while_guesses_wait() {
    let guessed = Arc::new(Guessed::new().await);
    let client = guessed.server.client(flow::confidential()).await;
    let query = flow::query(&client);
    let mut all = JoinSet::new();
    for number in 0..24 {
        let (guessed, query) = (Arc::clone(&guessed), query.clone());
        // Each from a browser of its own.
        all.spawn(async move {
            let password = if number % 2 == 0 {
                "a wrong password"
            } else {
                PASSWORD
            };
            let answer = flow::log_in(&guessed.server, &browser(), &query, ("alice", password)).await;
            (password == PASSWORD, answer)
        });
    }
    for (right, answer) in all.join_all().await {
        let status = answer.status.as_u16();
        if right {
            assert!(matches!(status, 303 | 429), "{status}: {}", answer.body);
        }
        if status == 429 {
            let seconds: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds) && answer.is_login_page());
            assert!(!answer.body.contains("do not match"), "{}", answer.body);
        }
    }
    // What was not looked at is recorded as that.
    let recorded = guessed.refusals("too_many_failures").await + guessed.refusals("wrong_password").await;
    assert!(recorded >= 12, "{recorded}");
    let errors: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT payload->>'error' FROM grantlog.ledger \
         WHERE event_type = 'RequestRefused' AND payload->>'reason' = 'too_many_failures'",
    )
    .fetch_all(&guessed.server.database.owner().await)
    .await
    .unwrap();
    assert!(errors.iter().all(|error| error == "access_denied"), "{errors:?}");
}
