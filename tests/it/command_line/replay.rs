//! Tables and grants as they stood.

use std::process::Output;

use serde_json::Value;
use sqlx::PgPool;

use super::{finish, grantlog_on};
use crate::flow;
use crate::harness::{TestServer, browser};

async fn run(server: &TestServer, arguments: &[&str]) -> Output {
    let mut command = grantlog_on(&server.database);
    command.args(arguments);
    finish(command, None).await
}

async fn json(server: &TestServer, arguments: &[&str]) -> Value {
    let output = run(server, arguments).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A user's grant: its code's redemption, and its refresh token.
async fn grant(server: &TestServer) -> (String, Value) {
    let client = flow::client_and_user(server).await;
    let issued = flow::authorize(server, &browser(), &flow::query(&client)).await;
    let answer = browser()
        .post(server.url("/oauth/token"))
        .basic_auth(&client.client_id, client.client_secret.as_ref())
        .form(&[
            ("grant_type", "authorization_code"),
            ("code", &issued["code"]),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code_verifier", flow::VERIFIER),
        ])
        .send()
        .await
        .unwrap();
    let tokens: Value = answer.json().await.unwrap();
    let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    let shown = json(server, &["grant", "show", &refresh, "--json"]).await;
    (refresh, shown)
}

async fn readings(pool: &PgPool) -> Vec<(String, Value)> {
    sqlx::query_as(
        "SELECT metadata->>'endpoint', payload::jsonb FROM grantlog.ledger WHERE event_type = 'LedgerRead' \
         ORDER BY position",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_valid_at_a_moment_is_told_by_tables_and_grants_alike() {
    let server = TestServer::start().await;
    let (refresh, shown) = grant(&server).await;
    let id = shown["grant"].as_str().unwrap();
    let before = shown["events"].as_array().unwrap().last().unwrap()["position"]
        .as_i64()
        .unwrap();
    let revoked = run(&server, &["grant", "revoke", id, "--reason", "leaked", "--yes"]).await;
    assert!(revoked.status.success());

    let then = json(
        &server,
        &["grant", "show", &refresh, "--at", &before.to_string(), "--json"],
    )
    .await;
    assert_eq!(then["state"], shown["state"]);
    assert_eq!(then["credential"]["usable_unless_expired"], true);
    let now = json(&server, &["grant", "show", &refresh, "--json"]).await;
    assert_eq!(now["credential"]["usable_unless_expired"], false);

    let diff = json(
        &server,
        &["grant", "diff", id, "--from", &before.to_string(), "--json"],
    )
    .await;
    assert_eq!(diff["changed"][0]["path"], "revoked", "{diff}");
    assert_eq!(diff["changed"].as_array().unwrap().len(), 1, "{diff}");
    assert_eq!(diff["events"][0]["event_type"], "TokenRevoked");
    let ended = diff["events"][0]["position"].to_string();
    let nothing = run(&server, &["grant", "diff", id, "--from", &ended]).await;
    assert!(String::from_utf8_lossy(&nothing.stdout).contains("nothing changed"));

    let at = shown["events"].as_array().unwrap().last().unwrap()["recorded_at"]
        .as_str()
        .unwrap();
    let replayed = json(&server, &["replay", "--at", at, "--into", "asof", "--json"]).await;
    assert_eq!(replayed["position"], before);
    let owner = server.database.owner().await;
    server.settle().await;
    for (schema, expected) in [("asof", 0), ("public", 1)] {
        let ended: i64 = sqlx::query_scalar(&format!(
            "SELECT count(*) FROM {schema}.client_refresh_tokens WHERE family = $1::uuid AND revoked_at IS NOT NULL"
        ))
        .bind(id)
        .fetch_one(&owner)
        .await
        .unwrap();
        assert_eq!(ended, expected, "{schema}");
    }
    let again = run(&server, &["replay", "--at", at, "--into", "asof"]).await;
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is a schema asof already"));
    assert!(
        run(&server, &["replay", "--at", at, "--into", "asof", "--replace"])
            .await
            .status
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_the_trail_is_on_the_trail() {
    let server = TestServer::start().await;
    let (_, shown) = grant(&server).await;
    let tailed = run(&server, &["audit", "tail", "--lines", "1", "--json", "--reveal"]).await;
    let last: Value = serde_json::from_slice(&tailed.stdout).unwrap();
    // The last event of those before, which was a reading too; not this reading itself.
    assert_eq!(last["event_type"], "LedgerRead");
    let owner = server.database.owner().await;
    let readings = readings(&owner).await;
    let commands: Vec<&str> = readings.iter().map(|(command, _)| command.as_str()).collect();
    assert_eq!(commands, ["grant show", "audit tail"]);
    assert_eq!(readings[0].1["grant"], shown["grant"]);
    assert_eq!(readings[1].1["revealed"], true);
    assert_eq!(readings[1].1["upto"], last["position"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_that_has_not_come_is_refused() {
    let server = TestServer::start().await;
    for at in ["2999-01-01T00:00:00Z", "999999", "yesterday", "0"] {
        let refused = run(&server, &["replay", "--at", at, "--into", "asof"]).await;
        assert!(!refused.status.success(), "{at}");
    }
    for schema in ["public", "Grantlog", "a;drop"] {
        let refused = run(&server, &["replay", "--at", "1", "--into", schema]).await;
        assert!(!refused.status.success(), "{schema}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("a schema to replay into"));
    }
    assert!(readings(&server.database.owner().await).await.is_empty());
}
