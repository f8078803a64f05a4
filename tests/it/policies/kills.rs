//! SIGKILL of the node that leads, at the points between which an effect could be lost or repeated.

use std::time::Duration;

use grantlog::domain::policy::Action;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

use super::{act, events, refresh_as, watch};
use crate::harness::TestServer;
use crate::ledger::assert_gapless;
use crate::races::Node;
use crate::token::{Party, text};

/// A grant that two kinds of programs use: the policy revokes it.
async fn fire(party: &Party) {
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let (_, tokens) = refresh_as(party, text(&tokens, "refresh_token"), "okhttp/4.12").await;
    assert_eq!(
        refresh_as(party, text(&tokens, "refresh_token"), "curl/8")
            .await
            .0,
        200
    );
}

/// Holds what a statement locks, until it is rolled back.
async fn hold(server: &TestServer, statement: &str) -> PgConnection {
    let mut holder = PgConnection::connect(&server.database.owner_url).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    holder.execute(statement).await.unwrap();
    holder
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !reached().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a statement that begins so waits for a lock.
async fn until_blocked(server: &TestServer, beginning: &str) {
    let owner = server.database.owner().await;
    until(beginning, async || {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event_type = 'Lock' AND strpos(query, $1) > 0)",
        )
        .bind(beginning)
        .fetch_one(&owner)
        .await
        .unwrap()
    })
    .await;
}

async fn until_acted(server: &TestServer, times: usize) {
    until("the effect", async || {
        events(server, "ContainmentApplied").await.len() >= times
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_before_between_and_after_effect_and_state_skips_and_repeats_nothing() {
    let party = Party::with(json!({"refresh_grace": 0})).await;
    let server = &party.server;
    act(server, "grant-new-agents", Action::RevokeGrant).await;
    watch(server).await;

    // Before the effect is durable: the append waits for the head's row when the node dies. Its statement may still come
    // through, like an answer that got lost.
    let leader = "SELECT pg_advisory_xact_lock(hashtext('grantlog.policies'), 0)";
    let nobody_leads = hold(server, leader).await;
    let mut node = Node::beside(server).await;
    fire(&party).await;
    let head = hold(server, "SELECT FROM grantlog.head FOR UPDATE").await;
    drop(nobody_leads);
    until_blocked(server, "grantlog.append").await;
    node.kill().await;
    drop(head);

    // Between the effect and the state: the cursor's row is held when the effect is there.
    let cursor = hold(server, "SELECT FROM grantlog.policy_cursor FOR UPDATE").await;
    node = Node::beside(server).await;
    fire(&party).await;
    until_acted(server, 2).await;
    until_blocked(server, "UPDATE grantlog.policy_cursor SET position").await;
    node.kill().await;
    drop(cursor);

    // Right after the effect, whether or not the state was saved.
    node = Node::beside(server).await;
    fire(&party).await;
    until_acted(server, 3).await;
    node.kill().await;

    for _ in 0..2 {
        watch(server).await;
        let alerts = events(server, "AlertRaised").await;
        let about: std::collections::BTreeSet<&str> = alerts
            .iter()
            .map(|(_, alert)| text(&alert["about"], "grant"))
            .collect();
        assert_eq!(
            (alerts.len(), about.len()),
            (3, 3),
            "one of each grant: {alerts:?}"
        );
        let revoked = events(server, "TokenRevoked").await;
        assert!(revoked.iter().all(|(_, event)| event["reason"] == "policy"));
        let ended: std::collections::BTreeSet<_> = revoked.iter().map(|(grant, _)| *grant).collect();
        assert_eq!((revoked.len(), ended.len()), (3, 3));
        assert_eq!(events(server, "ContainmentApplied").await.len(), 3);
    }
    assert_gapless(server).await;
}
