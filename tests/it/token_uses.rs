//! How often tokens were used at this server's own endpoints.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgPool;

use crate::command_line::{finish, grantlog_on, stdout};
use crate::policies::events;
use crate::races::Node;
use crate::token::{Party, text};

/// The rows that add up: endpoint, whether it was asked about by a client, and how often.
async fn counted(pool: &PgPool) -> Vec<(String, bool, i64)> {
    sqlx::query_as(
        "SELECT endpoint, asked_by IS NOT NULL, sum(uses)::bigint FROM public.token_uses GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_counted_written_down_once_and_shown_as_last_used() {
    let party = Party::new().await;
    let server = &party.server;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let access = text(&tokens, "access_token");
    server.clock.advance(Duration::from_mins(5));
    for _ in 0..3 {
        assert_eq!(party.api("/api/user", access).await.0, 200);
    }
    assert!(party.is_active(access).await);
    assert!(party.is_active(text(&tokens, "refresh_token")).await);
    // What is refused is no use: it is on the trail itself.
    assert_eq!(party.api("/api/user/details", access).await.0, 403);
    let last = server.app.ledger.clock().now();
    for _ in 0..2 {
        server.app.uses.write_down(&server.app.ledger).await.unwrap();
    }
    let written = events(server, "TokenUseCounted").await;
    assert_eq!(written.len(), 1, "what was written down is not written again");
    let uses = written[0].1["uses"].as_array().unwrap();
    assert_eq!(uses.len(), 2, "{uses:?}");
    for one in uses {
        assert_eq!(one["client"], party.key.to_string());
        assert_eq!(one["subject"], party.subject.to_string());
    }
    // The digest is the one that the same caller's events carry.
    let network: String = sqlx::query_scalar(
        "SELECT metadata->>'network' FROM grantlog.ledger_refusal WHERE metadata->>'network' IS NOT NULL LIMIT 1",
    )
    .fetch_one(server.app.ledger.pool())
    .await
    .unwrap();
    assert!(uses.iter().all(|one| one["network"] == network));

    server.settle().await;
    let pool = server.app.ledger.pool();
    let expected = [
        ("/api/user".to_owned(), false, 3),
        ("/oauth/introspect".to_owned(), true, 2),
    ];
    assert_eq!(counted(pool).await, expected);
    let applications = server.app.operations.applications(party.subject).await.unwrap();
    let shown = applications[0].last_used.unwrap();
    assert!(
        last - shown < chrono::TimeDelta::minutes(1),
        "when it was used, not when it was issued: {shown}"
    );
    let mut command = grantlog_on(&server.database);
    command.args(["grant", "show", access, "--json"]);
    let shown: Value = serde_json::from_str(&stdout(&finish(command, None).await)).unwrap();
    let mut counts: Vec<_> = shown["uses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["count"].as_i64())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [Some(2), Some(3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_writes_its_uses_down_and_one_that_dies_loses_only_its_own() {
    let party = Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let access = text(&tokens, "access_token").to_owned();
    let (mut stops, mut dies) = tokio::join!(Node::beside(&party.server), Node::beside(&party.server));
    for (node, times) in [(&stops, 2), (&dies, 5)] {
        for _ in 0..times {
            let asked = party
                .http
                .get(format!("{}/api/user", node.base))
                .bearer_auth(&access);
            assert_eq!(asked.send().await.unwrap().status(), 200);
        }
    }
    dies.kill().await;
    stops.stop().await;
    party.server.settle().await;
    let counts = counted(party.server.app.ledger.pool()).await;
    assert_eq!(counts, [("/api/user".to_owned(), false, 2)]);
}
