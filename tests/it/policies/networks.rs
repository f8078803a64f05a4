//! Networks that policies throttle.

use std::time::Duration;

use grantlog::domain::policy::{Action, PolicySettings};
use serde_json::{Value, json};

use super::{act, alerts, events, watch};
use crate::command_line::{finish, grantlog_on, stdout};
use crate::flow;
use crate::harness::{TestServer, browser};

const ELSEWHERE: &str = "198.51.100.7";

async fn token(server: &TestServer, client: (&str, &str), from: Option<&str>) -> (u16, Value) {
    let mut request = reqwest::Client::new()
        .post(server.url("/oauth/token"))
        .basic_auth(client.0, Some(client.1))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials&scope=server-operations");
    if let Some(from) = from {
        request = request.header("x-forwarded-for", from);
    }
    let response = request.send().await.unwrap();
    let retry = response.headers().contains_key("retry-after");
    let status = response.status().as_u16();
    assert_eq!(status == 429, retry);
    (status, response.json().await.unwrap())
}

/// Guesses at the passwords of ten users, whom there are not, until the policies have seen it and acted.
async fn spray(server: &TestServer, browser: &reqwest::Client, query: &flow::Query) {
    for number in 0..10 {
        let guess = (format!("nobody-{number}"), "wrong");
        flow::log_in(server, browser, query, (&guess.0, guess.1)).await;
    }
    watch(server).await;
    watch(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_sprays_passwords_gets_few_answers_and_others_get_all() {
    let server = TestServer::start_with(|settings| {
        settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let mut metadata = flow::confidential();
    metadata["grant_types"] = json!(["authorization_code", "client_credentials"]);
    let client = server.client(metadata).await;
    let credentials = (
        client.client_id.as_str(),
        client.client_secret.as_deref().unwrap(),
    );
    act(&server, "password-spray", Action::ThrottleNetwork).await;
    act(&server, "device-code-guessing", Action::ThrottleNetwork).await;
    let operations = &server.app.operations;
    let settings = PolicySettings {
        action: Action::ThrottleNetwork,
        ..PolicySettings::default()
    };
    let refused = operations
        .enable_policy(&TestServer::context(), "password-guessing", settings)
        .await;
    assert!(refused.is_err(), "one user is tried from anywhere: no network");

    let (browser, query) = (browser(), flow::query(&client));
    spray(&server, &browser, &query).await;
    let throttled = events(&server, "NetworkThrottled").await;
    assert_eq!(throttled.len(), 1);
    let contained = events(&server, "ContainmentApplied").await;
    assert_eq!(contained[0].1["action"], "throttle_network");
    assert_eq!(contained[0].1["networks"][0], throttled[0].1["network"]);
    // A node that has not heard of it yet; a moment later it has.
    assert_eq!(token(&server, credentials, None).await.0, 200);
    server.app.throttles.follow(&server.app.ledger).await.unwrap();

    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(token(&server, credentials, None).await.0);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    for path in ["/oauth/par", "/oauth/device_authorization"] {
        let request = reqwest::Client::new().post(server.url(path));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let asked = request.body(format!("client_id={}", client.client_id));
        assert_eq!(asked.send().await.unwrap().status(), 429, "{path}");
    }
    // What is there may still be revoked.
    let revoke = reqwest::Client::new().post(server.url("/oauth/revoke"));
    let revoke = revoke.basic_auth(credentials.0, Some(credentials.1));
    let revoked = revoke.form(&[("token", "gla_nonsense")]).send().await.unwrap();
    assert_eq!(revoked.status(), 200);
    let right = (flow::USERNAME, flow::PASSWORD);
    let page = flow::log_in(&server, &browser, &query, right).await;
    assert_eq!(page.status, 429, "{}", page.body);
    assert_eq!(token(&server, credentials, Some(ELSEWHERE)).await.0, 200);
    let reasons: Vec<String> = sqlx::query_scalar(
        "SELECT payload->>'endpoint' FROM grantlog.ledger_refusal WHERE payload->>'reason' = 'network_throttled' \
         ORDER BY position",
    )
    .fetch_all(server.app.ledger.pool())
    .await
    .unwrap();
    let endpoints = [
        "/oauth/token",
        "/oauth/par",
        "/oauth/device_authorization",
        "/oauth/authorize",
    ];
    assert_eq!(reasons, endpoints);

    server.clock.advance(Duration::from_secs(61));
    assert_eq!(flow::log_in(&server, &browser, &query, right).await.status, 303);
    // The device page looks a code up for whoever is logged in; the same five are for all of it.
    for _ in 0..4 {
        flow::get(&server, &browser, "/oauth/device?user_code=BBBB-BBBB").await;
    }
    let page = flow::get(&server, &browser, "/oauth/device?user_code=BBBB-BBBB").await;
    assert_eq!(page.status, 429, "{}", page.body);
    // Guessing goes on at five a minute, and is seen although the network is throttled.
    for times in [5, 1] {
        server.clock.advance(Duration::from_secs(61));
        for _ in 0..times {
            let page = flow::get(&server, &browser, "/oauth/device?user_code=BBBB-BBBB").await;
            assert_ne!(page.status, 429, "{}", page.body);
        }
    }
    watch(&server).await;
    assert_eq!(alerts(&server, "device-code-guessing").await.len(), 1);
    assert_eq!(
        events(&server, "NetworkThrottled").await.len(),
        2,
        "it is prolonged"
    );
    server.app.throttles.follow(&server.app.ledger).await.unwrap();
    server.clock.advance(Duration::from_hours(1));
    for _ in 0..7 {
        assert_eq!(token(&server, credentials, None).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_lets_go_of_a_throttled_network_before_its_time() {
    let server = TestServer::start().await;
    let mut metadata = flow::confidential();
    metadata["grant_types"] = json!(["authorization_code", "client_credentials"]);
    let client = server.client(metadata).await;
    let id = client.client_id.as_str();
    let credentials = (id, client.client_secret.as_deref().unwrap());
    act(&server, "password-spray", Action::ThrottleNetwork).await;
    let (browser, query) = (browser(), flow::query(&client));
    spray(&server, &browser, &query).await;
    let throttled = events(&server, "NetworkThrottled").await;
    assert_eq!(throttled.len(), 1);
    server.app.throttles.follow(&server.app.ledger).await.unwrap();
    server.clock.advance(Duration::from_secs(61));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(token(&server, credentials, None).await.0);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);

    let network = async |arguments: &[&str]| {
        let mut command = grantlog_on(&server.database);
        command.arg("network").args(arguments).arg("--json");
        finish(command, None).await
    };
    let listed: Value = serde_json::from_str(&stdout(&network(&["list"]).await)).unwrap();
    assert_eq!(listed[0]["network"], throttled[0].1["network"]);
    let release =
        async |address: &str| network(&["release", "--address", address, "--reason", "a school"]).await;
    let other = release(ELSEWHERE).await;
    assert!(String::from_utf8_lossy(&other.stderr).contains("not throttled"));
    // Any address of the network.
    let released: Value = serde_json::from_str(&stdout(&release("127.0.0.9").await)).unwrap();
    assert_eq!(released["released"][0], throttled[0].1["network"]);
    assert!(!release("127.0.0.9").await.status.success());
    let listed: Value = serde_json::from_str(&stdout(&network(&["list"]).await)).unwrap();
    assert_eq!(listed, json!([]));
    server.app.throttles.follow(&server.app.ledger).await.unwrap();
    for _ in 0..7 {
        assert_eq!(token(&server, credentials, None).await.0, 200);
    }
    let ended = events(&server, "NetworkThrottleLifted").await;
    assert_eq!((ended.len(), &ended[0].1["reason"]), (1, &json!("a school")));
}
