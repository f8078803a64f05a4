//! Races between two server processes on one database.

use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::process::{Child, Command};

use crate::code::{REDIRECT_URI, VERIFIER};
use crate::harness::TestServer;
use crate::token::{Party, text};

/// A server process on a database, besides the one in the test's process.
pub(crate) struct Node {
    child: Child,
    pub(crate) base: String,
}

impl Node {
    /// Starts one that shares the test server's database, key and issuer.
    pub(crate) async fn beside(server: &TestServer) -> Self {
        Self::start(&server.database.app_url, &server.base).await
    }

    /// Starts one and waits until it is ready.
    pub(crate) async fn start(database_url: &str, issuer: &str) -> Self {
        Self::start_with((database_url, issuer), &[]).await
    }

    /// As [`Self::beside`], with further variables.
    pub(crate) async fn beside_with(server: &TestServer, environment: &[(&str, &str)]) -> Self {
        Self::start_with((&server.database.app_url, &server.base), environment).await
    }

    async fn start_with((database_url, issuer): (&str, &str), environment: &[(&str, &str)]) -> Self {
        let address = address();
        let mut node = Self {
            child: Self::spawn((database_url, issuer), &address.to_string(), environment),
            base: format!("http://{address}"),
        };
        node.wait_until_ready().await;
        node
    }

    fn spawn((database_url, issuer): (&str, &str), listen: &str, environment: &[(&str, &str)]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_grantlog"))
            .arg("serve")
            .env("GRANTLOG_DATABASE_URL", database_url)
            .env("GRANTLOG_ISSUER", issuer)
            .env("GRANTLOG_LISTEN", listen)
            // The test server's master key: 32 times 42.
            .env("GRANTLOG_MASTER_KEY", "2a".repeat(32))
            .env("GRANTLOG_FAILURES_PER_MINUTE", "100000")
            .env("GRANTLOG_OUTBOUND_ALLOW", "127.0.0.1")
            .env("GRANTLOG_LOG_FILTER", "warn")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn wait_until_ready(&mut self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let ready = reqwest::get(format!("{}/readyz", self.base)).await;
            if ready.is_ok_and(|response| response.status() == 200) {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the server ended");
            assert!(
                tokio::time::Instant::now() < deadline,
                "the server is not ready after 30 s"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM; returns once the process has ended.
    pub(crate) async fn stop(&mut self) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(sent.success());
        assert!(self.child.wait().await.unwrap().success());
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// An address that nobody listens at. The system gives these ports to nobody, so none is taken between now and then.
fn address() -> std::net::SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side begin elsewhere.
    let first = u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if let Ok(listener) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// Posts the same form `times` times at once, alternating between the nodes; the statuses and bodies.
async fn stampede(
    party: &Party,
    nodes: &[&str],
    form: &[(&str, &str)],
    times: usize,
) -> Vec<(u16, serde_json::Value)> {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let tasks: Vec<_> = (0..times)
        .map(|number| {
            let request = party
                .http
                .post(format!("{}/oauth/token", nodes[number % nodes.len()]))
                .basic_auth(&party.client_id, Some(&party.secret))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone());
            tokio::spawn(async move {
                let response = request.send().await.unwrap();
                (response.status().as_u16(), response.json().await.unwrap())
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

fn successes(answers: &[(u16, serde_json::Value)]) -> Vec<&serde_json::Value> {
    for (status, body) in answers.iter().filter(|(status, _)| *status != 200) {
        assert_eq!((*status, text(body, "error")), (400, "invalid_grant"));
    }
    answers
        .iter()
        .filter(|(status, _)| *status == 200)
        .map(|(_, body)| body)
        .collect()
}

async fn events(party: &Party, event_type: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger WHERE event_type = $1")
        .bind(event_type)
        .fetch_one(party.server.app.ledger.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_redemptions_of_one_code_on_two_nodes_one_succeeds_and_the_family_dies() {
    let party = Party::new().await;
    let other = Node::beside(&party.server).await;
    let third = Node::beside(&party.server).await;
    let code = party.code("view-user").await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let answers = stampede(&party, &[&other.base, &third.base], &form, 64).await;
    let [tokens] = successes(&answers)[..] else {
        panic!("{} succeeded", successes(&answers).len())
    };
    for member in ["access_token", "refresh_token"] {
        assert!(!party.is_active(text(tokens, member)).await, "{member} is active");
    }
    let (status, _) = party.refresh(text(tokens, "refresh_token")).await;
    assert_eq!(status, 400);
    for (event, times) in [
        ("CodeRedeemed", 1),
        ("TokenIssued", 1),
        ("CodeReplayed", 1),
        ("TokenRevoked", 1),
    ] {
        assert_eq!(events(&party, event).await, times, "{event}");
    }
    // Each of the 63 refusals left its trace, within the budget of its source.
    let (refused, suppressed) = (events(&party, "RequestRefused").await, 64);
    assert!((1..=suppressed).contains(&refused), "{refused}");
    crate::ledger::assert_gapless(&party.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_uses_of_one_refresh_token_without_grace_one_succeeds_and_the_family_dies() {
    let party = Party::with(json!({"refresh_grace": 0})).await;
    let other = Node::beside(&party.server).await;
    let third = Node::beside(&party.server).await;
    let (_, first) = party.redeem(&party.code("view-user").await).await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&first, "refresh_token")),
    ];
    let answers = stampede(&party, &[&other.base, &third.base], &form, 64).await;
    let [tokens] = successes(&answers)[..] else {
        panic!("{} succeeded", successes(&answers).len())
    };
    assert!(!party.is_active(text(tokens, "refresh_token")).await);
    for (event, times) in [
        ("RefreshRotated", 1),
        ("RefreshReplayed", 1),
        ("RefreshRetried", 0),
        ("TokenRevoked", 1),
    ] {
        assert_eq!(events(&party, event).await, times, "{event}");
    }
    crate::ledger::assert_gapless(&party.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uses_within_the_grace_period_both_succeed_and_one_generation_lives() {
    let party = Party::new().await;
    let other = Node::beside(&party.server).await;
    let (_, first) = party.redeem(&party.code("view-user").await).await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&first, "refresh_token")),
    ];
    let answers = stampede(&party, &[&party.server.base, &other.base], &form, 2).await;
    let tokens = successes(&answers);
    assert_eq!(tokens.len(), 2);
    let mut live = 0;
    for body in tokens {
        live += usize::from(party.is_active(text(body, "refresh_token")).await);
    }
    assert_eq!(live, 1);
    assert_eq!(
        (
            events(&party, "RefreshRotated").await,
            events(&party, "RefreshRetried").await
        ),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_revokes_no_node_calls_active() {
    let party = Party::new().await;
    let other = Node::beside(&party.server).await;
    let post = |base: String, path: &'static str, form: String| {
        let request = party
            .http
            .post(format!("{base}{path}"))
            .basic_auth(&party.client_id, Some(&party.secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        async move {
            request
                .send()
                .await
                .unwrap()
                .json::<serde_json::Value>()
                .await
                .unwrap_or_default()
        }
    };
    for revoker in [&party.server.base, &other.base] {
        let (_, tokens) = party.redeem(&party.code("view-user").await).await;
        let access = text(&tokens, "access_token");
        for base in [&party.server.base, &other.base] {
            let body = post(base.clone(), "/oauth/introspect", format!("token={access}")).await;
            assert_eq!(body["active"], true);
        }
        post(
            revoker.clone(),
            "/oauth/revoke",
            format!("token={}", text(&tokens, "refresh_token")),
        )
        .await;
        for base in [&party.server.base, &other.base] {
            let body = post(base.clone(), "/oauth/introspect", format!("token={access}")).await;
            assert_eq!(body["active"], false);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_suspended_on_one_node_gets_nothing_on_another() {
    let party = Party::new().await;
    let other = Node::beside(&party.server).await;
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let answers = stampede(&party, &[&other.base], &form, 1).await;
    assert_eq!(answers[0].0, 200);
    let access = text(&answers[0].1, "access_token").to_owned();
    let suspend = grantlog::domain::client::ClientCommand::Suspend {
        reason: "test".into(),
    };
    let context = TestServer::context();
    party
        .server
        .app
        .operations
        .command_client(&context, party.key, &suspend)
        .await
        .unwrap();
    let answers = stampede(&party, &[&other.base], &form, 4).await;
    for (status, body) in answers {
        assert_eq!((status, text(&body, "error")), (401, "invalid_client"));
    }
    let response = party
        .http
        .get(format!("{}/api/user", other.base))
        .bearer_auth(access)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
}
