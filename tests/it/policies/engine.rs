//! The engine: once, whatever dies when, and on however many nodes.

use grantlog::domain::policy::{Action, PolicySettings};
use grantlog::evidence::Fault;
use grantlog::policy::PolicyEngine;
use serde_json::json;

use super::{act, alerts, events, probe, reached, replay, set, watch};
use crate::harness::TestServer;
use crate::ledger::assert_gapless;
use crate::races::Node;
use crate::token::Party;

async fn cursor(server: &TestServer) -> i64 {
    sqlx::query_scalar("SELECT position FROM grantlog.policy_cursor")
        .fetch_one(server.app.ledger.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_before_it_saves_acts_once() {
    let party = Party::new().await;
    act(&party.server, "scope-probing", Action::Throttle).await;
    watch(&party.server).await;
    let before = cursor(&party.server).await;
    probe(&party, 5).await;
    let engine = PolicyEngine::start(&party.server.app, None);
    reached(&party.server, &engine).await;
    engine.abort();
    assert_eq!(alerts(&party.server, "scope-probing").await.len(), 1);
    assert_eq!(events(&party.server, "ClientThrottled").await.len(), 1);
    // It had acted; it had not saved, unless two seconds had gone by.
    let after = cursor(&party.server).await;
    sqlx::query("UPDATE grantlog.policy_cursor SET position = $1")
        .bind(before)
        .execute(&party.server.database.owner().await)
        .await
        .unwrap();
    if after != before {
        // What the rules remembered then is gone, too: they learn anew.
        sqlx::query("DELETE FROM grantlog.policy_states")
            .execute(&party.server.database.owner().await)
            .await
            .unwrap();
    }
    watch(&party.server).await;
    assert!(cursor(&party.server).await > before);
    assert_eq!(alerts(&party.server, "scope-probing").await.len(), 1);
    assert_eq!(events(&party.server, "ClientThrottled").await.len(), 1);
    assert_eq!(events(&party.server, "ContainmentApplied").await.len(), 1);
    assert_gapless(&party.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_one_leads_and_when_it_dies_the_other_misses_nothing() {
    let party = Party::with(json!({"refresh_grace": 0})).await;
    let mut node = Node::beside(&party.server).await;
    let other = Node::beside(&party.server).await;
    for _ in 0..3 {
        replay(&party, "curl/8").await;
    }
    node.kill().await;
    for _ in 0..3 {
        replay(&party, "curl/8").await;
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
    while alerts(&party.server, "refresh-replay").await.len() < 6 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the other node takes over"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    drop(other);
    // A third one starts from wherever the second had saved.
    watch_until_it_leads(&party.server).await;
    let raised = alerts(&party.server, "refresh-replay").await;
    let positions: std::collections::BTreeSet<i64> = raised
        .iter()
        .map(|(_, alert)| alert["position"].as_i64().unwrap())
        .collect();
    assert_eq!((raised.len(), positions.len()), (6, 6));
    let replays: Vec<i64> = sqlx::query_scalar(
        "SELECT position FROM grantlog.ledger WHERE event_type = 'RefreshReplayed' ORDER BY position",
    )
    .fetch_all(party.server.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(positions.into_iter().collect::<Vec<_>>(), replays);
    assert_gapless(&party.server).await;
}

async fn watch_until_it_leads(server: &TestServer) {
    watch(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_at_once_raise_each_alert_once() {
    let party = Party::new().await;
    let engines = [(); 3].map(|()| PolicyEngine::start(&party.server.app, None));
    for _ in 0..3 {
        let code = party.code("view-user").await;
        party.redeem(&code).await;
        party.redeem(&code).await;
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
    while alerts(&party.server, "code-replay").await.len() < 3 {
        assert!(tokio::time::Instant::now() < deadline, "one of them leads");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for engine in engines {
        engine.stop().await;
    }
    watch(&party.server).await;
    assert_eq!(alerts(&party.server, "code-replay").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_rule_is_silent_and_an_enabled_one_learns_what_was_before() {
    let party = Party::new().await;
    let operations = &party.server.app.operations;
    let context = TestServer::context();
    operations
        .disable_policy(&context, "scope-probing", "noise")
        .await
        .unwrap();
    probe(&party, 6).await;
    watch(&party.server).await;
    assert!(alerts(&party.server, "scope-probing").await.is_empty());
    set(
        &party.server,
        "scope-probing",
        PolicySettings {
            threshold: Some(8),
            ..PolicySettings::default()
        },
    )
    .await;
    probe(&party, 2).await;
    watch(&party.server).await;
    let raised = alerts(&party.server, "scope-probing").await;
    assert_eq!(raised.len(), 1, "six before, two after");
    assert_eq!(raised[0].1["count"], 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_alerts_is_the_fold_of_their_events() {
    let party = Party::with(json!({"refresh_grace": 0})).await;
    replay(&party, "curl/8").await;
    watch(&party.server).await;
    let (alert, _) = alerts(&party.server, "refresh-replay").await.remove(0);
    let operations = &party.server.app.operations;
    let note = Some("a test".to_owned());
    let context = TestServer::context();
    operations.acknowledge_alert(&context, alert, note).await.unwrap();
    let again = operations.acknowledge_alert(&context, alert, None).await;
    assert!(again.is_err(), "once");
    party.server.settle().await;
    let ledger = &party.server.app.ledger;
    let live = row(ledger.pool()).await;
    let expected = ("refresh-replay", "high", "unclear", Some("a test"), true);
    let (rule, severity, verdict, note, acknowledged) = &live;
    let found = (
        rule.as_str(),
        severity.as_str(),
        verdict.as_str(),
        note.as_deref(),
        *acknowledged,
    );
    assert_eq!(found, expected);
    let rebuilt = grantlog::projection::rebuild(ledger.pool(), ledger.vault(), &["alerts"], &|_| {}).await;
    rebuilt.unwrap();
    assert_eq!(row(ledger.pool()).await, live, "rebuilt as it was");
}

type Row = (String, String, String, Option<String>, bool);

async fn row(pool: &sqlx::PgPool) -> Row {
    sqlx::query_as(
        "SELECT rule, severity, verdict, acknowledged_note, acknowledged_at IS NOT NULL FROM public.alerts",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_acts_upon_nothing_that_a_ledger_says_which_is_not_the_signed_one() {
    let party = Party::new().await;
    act(&party.server, "scope-probing", Action::Throttle).await;
    watch(&party.server).await;
    probe(&party, 5).await;
    party.server.app.evidence.set_fault(&Fault::Changed(1));
    let engine = PolicyEngine::start(&party.server.app, None);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
    let error = loop {
        let error: Option<String> = sqlx::query_scalar("SELECT error FROM grantlog.policy_cursor")
            .fetch_one(party.server.app.ledger.pool())
            .await
            .unwrap();
        if let Some(error) = error {
            break error;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert!(error.contains("not the one that was signed"), "{error}");
    engine.stop().await;
    assert!(alerts(&party.server, "scope-probing").await.is_empty());
    assert!(events(&party.server, "ClientThrottled").await.is_empty());
}
