//! Policies over real requests: what fires, what is done, and that it is done once.

mod backtests;
mod command_line;
mod containment;
mod engine;
mod faults;
mod kills;
mod networks;
mod places;
mod reach;

use std::time::Duration;

use grantlog::domain::client::ClientCommand;
use grantlog::domain::policy::{Action, PolicySettings};
use grantlog::policy::PolicyEngine;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::TestServer;
use crate::token::{Party, text};

/// Lets the engine deal with everything that is on the ledger, and saves.
pub(crate) async fn watch(server: &TestServer) {
    let engine = PolicyEngine::start(&server.app, server.app.geoip.clone());
    reached(server, &engine).await;
    engine.stop().await;
}

/// Waits until an engine has dealt with what is on the ledger now.
pub(crate) async fn reached(server: &TestServer, engine: &PolicyEngine) {
    let head: i64 = sqlx::query_scalar("SELECT position FROM grantlog.head")
        .fetch_one(server.app.ledger.pool())
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_mins(1), engine.wait_for(head))
        .await
        .unwrap();
}

/// The events of a type, with the ids of their aggregates.
pub(crate) async fn events(server: &TestServer, event_type: &str) -> Vec<(Uuid, Value)> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT aggregate_id, payload::text FROM grantlog.ledger WHERE event_type = $1 ORDER BY position",
    )
    .bind(event_type)
    .fetch_all(server.app.ledger.pool())
    .await
    .unwrap();
    rows.into_iter()
        .map(|(id, payload)| (id, serde_json::from_str(&payload).unwrap()))
        .collect()
}

/// The alerts of a rule.
pub(crate) async fn alerts(server: &TestServer, rule: &str) -> Vec<(Uuid, Value)> {
    let mut alerts = events(server, "AlertRaised").await;
    alerts.retain(|(_, alert)| alert["rule"] == rule);
    alerts
}

/// Sets a rule's action.
pub(crate) async fn act(server: &TestServer, rule: &str, action: Action) {
    let settings = PolicySettings {
        action,
        ..PolicySettings::default()
    };
    set(server, rule, settings).await;
}

pub(crate) async fn set(server: &TestServer, rule: &str, settings: PolicySettings) {
    let operations = &server.app.operations;
    operations
        .enable_policy(&TestServer::context(), rule, settings)
        .await
        .unwrap();
}

/// A refresh as a program of that name does it.
async fn refresh_as(party: &Party, token: &str, agent: &str) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("grant_type", "refresh_token"), ("refresh_token", token)])
        .finish();
    let response = party
        .http
        .post(party.server.url("/oauth/token"))
        .basic_auth(&party.client_id, Some(&party.secret))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("user-agent", agent)
        .body(body)
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// A refresh token that is used, and used again by another program after its grace period.
pub(crate) async fn replay(party: &Party, thief: &str) {
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let token = text(&tokens, "refresh_token").to_owned();
    assert_eq!(refresh_as(party, &token, "okhttp/4.12").await.0, 200);
    party.server.clock.advance(Duration::from_mins(1));
    assert_eq!(refresh_as(party, &token, thief).await.0, 400);
}

/// Requests of scopes that the client may not have.
pub(crate) async fn probe(party: &Party, times: usize) {
    for _ in 0..times {
        let form = [("grant_type", "client_credentials"), ("scope", "no-such-scope")];
        let (status, body) = party.post("/oauth/token", &form).await;
        assert_eq!((status, text(&body, "error")), (400, "invalid_scope"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_replay_raises_an_alert_with_both_presenters() {
    let party = Party::with(json!({"refresh_grace": 0})).await;
    replay(&party, "curl/8").await;
    replay(&party, "okhttp/5.0").await;
    watch(&party.server).await;
    let alerts = alerts(&party.server, "refresh-replay").await;
    assert_eq!(alerts.len(), 2);
    let alert = &alerts[0].1;
    assert_eq!(alert["severity"], "high");
    assert_eq!(alert["about"]["client"], party.key.to_string());
    assert_eq!(alert["about"]["subject"], party.subject.to_string());
    let dossier = &alert["dossier"];
    assert_eq!(dossier["holder"]["agent"], "java");
    assert_eq!(dossier["presenter"]["agent"], "curl");
    assert_eq!(dossier["holder"]["network"], dossier["presenter"]["network"]);
    assert_eq!(
        dossier["verdict"], "unclear",
        "one network, two programs: {dossier}"
    );
    assert_eq!(dossier["killed_generation"], 2);
    assert_eq!(dossier["killed_access_tokens"], 2);
    // The same program at the same place: the client itself.
    assert_eq!(alerts[1].1["dossier"]["verdict"], "retry");
    assert_ne!(alerts[0].1["position"], alerts[1].1["position"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_replay_and_probed_scopes_raise_alerts_and_good_requests_none() {
    let party = Party::new().await;
    let code = party.code("view-user").await;
    assert_eq!(party.redeem(&code).await.0, 200);
    probe(&party, 4).await;
    watch(&party.server).await;
    assert!(events(&party.server, "AlertRaised").await.is_empty());
    assert_eq!(party.redeem(&code).await.0, 400);
    probe(&party, 1).await;
    watch(&party.server).await;
    let replays = alerts(&party.server, "code-replay").await;
    assert_eq!(replays.len(), 1);
    assert_eq!(replays[0].1["dossier"]["verdict"], "retry");
    // What was counted before the engine stopped counts afterwards.
    let probes = alerts(&party.server, "scope-probing").await;
    assert_eq!(probes.len(), 1);
    assert_eq!(probes[0].1["count"], 5);
    assert_eq!(probes[0].1["evidence"].as_array().unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_suspends_a_client_in_the_append_of_its_alert() {
    let party = Party::new().await;
    act(&party.server, "scope-probing", Action::SuspendClient).await;
    probe(&party, 5).await;
    watch(&party.server).await;
    let (alert, _) = alerts(&party.server, "scope-probing").await.remove(0);
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let (status, body) = party.post("/oauth/token", &form).await;
    assert_eq!((status, text(&body, "error")), (401, "invalid_client"));
    let containments = events(&party.server, "ContainmentApplied").await;
    assert_eq!(containments.len(), 1);
    assert_eq!(containments[0].0, alert);
    assert_eq!(containments[0].1["action"], "suspend_client");
    assert_eq!(containments[0].1["clients"][0], party.key.to_string());
    assert_eq!(containments[0].1["cause"]["policy"]["rule"], "scope-probing");
    // One command: alert, containment and suspension, by the policy, with the alert as their cause.
    let rows: Vec<(String, Uuid, String)> = sqlx::query_as(
        "SELECT event_type, command_id, metadata::text FROM grantlog.ledger \
         WHERE event_type IN ('AlertRaised', 'ContainmentApplied', 'ClientSuspended') ORDER BY position",
    )
    .fetch_all(party.server.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(rows.len(), 3);
    for (_, command, metadata) in &rows {
        assert_eq!(command, &rows[0].1);
        let metadata: Value = serde_json::from_str(metadata).unwrap();
        assert_eq!(metadata["actor"], "policy");
        assert!(metadata["note"].as_str().unwrap().contains(&alert.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_revokes_a_grant() {
    let party = Party::with(json!({"refresh_grace": 0})).await;
    act(&party.server, "grant-new-agents", Action::RevokeGrant).await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let (_, tokens) = refresh_as(&party, text(&tokens, "refresh_token"), "okhttp/4.12").await;
    let (_, tokens) = refresh_as(&party, text(&tokens, "refresh_token"), "curl/8").await;
    assert!(party.is_active(text(&tokens, "access_token")).await);
    watch(&party.server).await;
    assert!(!party.is_active(text(&tokens, "access_token")).await);
    assert_eq!(party.refresh(text(&tokens, "refresh_token")).await.0, 400);
    let revoked = events(&party.server, "TokenRevoked").await;
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].1["reason"], "policy");
    // The revocation, and what is refused because of it, raise no further alert.
    watch(&party.server).await;
    assert_eq!(events(&party.server, "AlertRaised").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_client_gets_few_tokens_a_minute_and_all_of_them_afterwards() {
    let party = Party::new().await;
    act(&party.server, "scope-probing", Action::Throttle).await;
    probe(&party, 5).await;
    watch(&party.server).await;
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(party.post("/oauth/token", &form).await.0);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
    party.server.clock.advance(Duration::from_secs(61));
    assert_eq!(party.post("/oauth/token", &form).await.0, 200);
    let operations = &party.server.app.operations;
    let key = operations.known_client(&party.client_id).await.unwrap().unwrap();
    let shown = || async { operations.shown_client(key).await.unwrap().unwrap() };
    assert_eq!(shown().await.throttled.unwrap().per_minute, 5);
    party.server.clock.advance(Duration::from_hours(1));
    assert_eq!(shown().await.throttled, None);
    for _ in 0..7 {
        assert_eq!(party.post("/oauth/token", &form).await.0, 200);
    }
    // Another time an administrator does not wait.
    let context = TestServer::context();
    let throttle = ClientCommand::Throttle {
        per_minute: 1,
        until: party.server.clock.now() + chrono::TimeDelta::hours(1),
        reason: "a test".to_owned(),
    };
    operations.command_client(&context, key, &throttle).await.unwrap();
    assert_eq!(shown().await.throttled.unwrap().per_minute, 1);
    let (status, last) = party.post("/oauth/token", &form).await;
    assert_eq!(status, 200);
    assert_eq!(party.post("/oauth/token", &form).await.0, 429);
    // What it has it may give back.
    let token = text(&last, "access_token");
    assert_eq!(party.post("/oauth/revoke", &[("token", token)]).await.0, 200);
    assert!(!party.is_active(token).await);
    let done = operations
        .command_client(&context, key, &ClientCommand::Reinstate)
        .await;
    done.unwrap();
    assert_eq!(shown().await.throttled, None);
    for _ in 0..7 {
        assert_eq!(party.post("/oauth/token", &form).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_must_log_in_afresh_is_asked_to_and_then_is_not() {
    use crate::flow;
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    act(&server, "password-guessing", Action::RequireFreshLogin).await;
    let browser = crate::harness::browser();
    let query = flow::query(&client);
    flow::authorize(&server, &browser, &query).await;
    assert!(!flow::request(&server, &browser, &query).await.is_login_page());
    let guesser = crate::harness::browser();
    for _ in 0..5 {
        flow::log_in(&server, &guesser, &query, (flow::USERNAME, "wrong")).await;
    }
    watch(&server).await;
    assert_eq!(alerts(&server, "password-guessing").await.len(), 1);
    assert_eq!(events(&server, "FreshLoginRequired").await.len(), 1);
    assert!(flow::request(&server, &browser, &query).await.is_login_page());
    flow::authorize(&server, &browser, &query).await;
    assert!(!flow::request(&server, &browser, &query).await.is_login_page());
}
