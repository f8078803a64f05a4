//! Back-tests find what the live engine finds, and act on nothing.

use grantlog::domain::policy::{Action, PolicySettings};
use grantlog::policy::backtest::{self, Report, Stretch};
use serde_json::json;

use super::{act, alerts, events, probe, refresh_as, replay, set, watch};
use crate::token::{Party, text};

async fn backtest(party: &Party, rules: &[&str], action: Action, stretch: Stretch) -> Vec<Report> {
    let settings = PolicySettings {
        action,
        ..PolicySettings::default()
    };
    let rules: Vec<_> = rules
        .iter()
        .map(|rule| ((*rule).to_owned(), settings.clone()))
        .collect();
    backtest::run(&party.server.app.ledger, &rules, (stretch, None), &|_, _| {})
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_finds_the_alerts_of_the_live_engine_and_acts_on_nothing() {
    let party = Party::with(json!({"refresh_grace": 0})).await;
    replay(&party, "curl/8").await;
    replay(&party, "curl/8").await;
    probe(&party, 12).await;
    let rules = ["refresh-replay", "scope-probing", "code-replay"];
    let reports = backtest(&party, &rules, Action::SuspendClient, Stretch::default()).await;
    assert!(events(&party.server, "AlertRaised").await.is_empty());
    assert_eq!(events(&party.server, "ContainmentApplied").await.len(), 0);
    assert_eq!(
        reports.iter().map(|report| report.fired).collect::<Vec<_>>(),
        [2, 1, 0]
    );
    assert_eq!(reports[0].clients.get(&party.key), Some(&2));
    assert_eq!(reports[0].client_ids.get(&party.key), Some(&party.client_id));
    assert_eq!(reports[0].would.suspend_clients.len(), 1);
    let bars: u64 = reports[0].histogram.bars.values().sum();
    assert_eq!(bars, 2);
    watch(&party.server).await;
    for (rule, report) in rules.iter().zip(&reports) {
        let live: Vec<_> = alerts(&party.server, rule)
            .await
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        let found: Vec<_> = report.alerts.iter().map(|listed| listed.alert).collect();
        assert_eq!(live, found, "{rule}");
    }
    // Of the same stretch it says the same, byte for byte, though the ledger went on.
    let now: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(party.server.app.ledger.pool())
        .await
        .unwrap();
    let until = Stretch {
        until: Some(now),
        ..Stretch::default()
    };
    let rows: Vec<String> = [backtest(&party, &rules, Action::Alert, until).await, {
        replay(&party, "curl/8").await;
        backtest(&party, &rules, Action::Alert, until).await
    }]
    .iter()
    .map(|reports| serde_json::to_string(reports).unwrap())
    .collect();
    assert_eq!(rows[0], rows[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_of_a_stretch_knows_what_was_before_it() {
    let party = Party::new().await;
    probe(&party, 3).await;
    let since: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(party.server.app.ledger.pool())
        .await
        .unwrap();
    probe(&party, 2).await;
    let stretch = Stretch {
        since: Some(since),
        ..Stretch::default()
    };
    let reports = backtest(&party, &["scope-probing"], Action::Alert, stretch).await;
    assert_eq!(reports[0].fired, 1);
    let first: i64 = sqlx::query_scalar("SELECT min(position) FROM grantlog.ledger WHERE recorded_at >= $1")
        .bind(since)
        .fetch_one(party.server.app.ledger.pool())
        .await
        .unwrap();
    assert_eq!(reports[0].first_position, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_counts_what_its_action_would_change_and_says_on_whom() {
    let party = Party::with(json!({"refresh_grace": 0})).await;
    let rules = ["refresh-replay", "grant-new-agents"];
    for rule in rules {
        act(&party.server, rule, Action::RevokeGrant).await;
    }
    replay(&party, "curl/8").await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let (_, tokens) = refresh_as(&party, text(&tokens, "refresh_token"), "okhttp/4.12").await;
    assert_eq!(
        refresh_as(&party, text(&tokens, "refresh_token"), "curl/8")
            .await
            .0,
        200
    );
    let reports = backtest(&party, &rules, Action::RevokeGrant, Stretch::default()).await;
    // A replay ends its family itself: there is nothing left to revoke.
    assert_eq!((reports[0].fired, reports[0].would.revoke_grants.len()), (1, 0));
    assert_eq!(reports[1].would.revoke_grants.len(), 1);
    assert_eq!(reports[1].subjects.keys().next(), Some(&party.subject));
    watch(&party.server).await;
    assert_eq!(
        events(&party.server, "ContainmentApplied").await.len(),
        1,
        "as it was said"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_that_would_read_too_much_or_cannot_be_set_so_is_refused() {
    let party = Party::new().await;
    probe(&party, 3).await;
    let ledger = &party.server.app.ledger;
    let run = async |rule: &str, most: Option<i64>, settings: PolicySettings| {
        let head: i64 = sqlx::query_scalar("SELECT position FROM grantlog.head")
            .fetch_one(ledger.pool())
            .await
            .unwrap();
        let last = sqlx::query_scalar("SELECT recorded_at FROM grantlog.ledger WHERE position = $1")
            .bind(head)
            .fetch_one(ledger.pool())
            .await
            .unwrap();
        // One event, and for what the rule has to know all those before it.
        let stretch = Stretch {
            since: Some(last),
            until: None,
            most,
        };
        let rules = [(rule.to_owned(), settings)];
        let ran = backtest::run(ledger, &rules, (stretch, None), &|_, _| {}).await;
        ran.map(|reports| reports[0].last_position - reports[0].first_position + 1)
            .map_err(|error| error.to_string())
    };
    let unset = PolicySettings::default;
    assert_eq!(run("scope-probing", None, unset()).await, Ok(1));
    let refused = run("scope-probing", Some(5), unset()).await.unwrap_err();
    assert!(refused.contains("at most 5 may be"), "{refused}");
    let threshold = PolicySettings {
        threshold: Some(0),
        ..unset()
    };
    assert!(run("scope-probing", None, threshold).await.is_err());
    let suspend = PolicySettings {
        action: Action::SuspendClient,
        ..unset()
    };
    let refused = run("password-spray", None, suspend).await.unwrap_err();
    assert_eq!(refused, "password-spray can do alert, throttle_network");
}

const SIGMA: &str = r"
title: Client credentials
name: machine_token
logsource: {product: grantlog}
detection:
    issued:
        event_type: TokenIssued
        payload.flow: client_credentials
    condition: issued
---
title: Three machine tokens of one client within a minute
correlation:
    type: event_count
    rules: [machine_token]
    group-by: [client]
    timespan: 1m
    condition: {gte: 3}
level: high
tags: [attack.t1528]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_sigma_correlation_fires_live_and_in_a_backtest() {
    let party = Party::new().await;
    let settings = PolicySettings {
        action: Action::SuspendClient,
        sigma: Some(SIGMA.to_owned()),
        ..PolicySettings::default()
    };
    set(&party.server, "machine-burst", settings.clone()).await;
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    for _ in 0..2 {
        assert_eq!(party.post("/oauth/token", &form).await.0, 200);
    }
    // Across a restart of the engine.
    watch(&party.server).await;
    assert!(alerts(&party.server, "machine-burst").await.is_empty());
    assert_eq!(party.post("/oauth/token", &form).await.0, 200);
    watch(&party.server).await;
    let raised = alerts(&party.server, "machine-burst").await;
    assert_eq!(raised.len(), 1);
    assert_eq!(raised[0].1["severity"], "high");
    assert_eq!(raised[0].1["technique"], "T1528");
    assert_eq!(raised[0].1["about"]["client"], party.key.to_string());
    assert_eq!(raised[0].1["count"], 3);
    assert_eq!(party.post("/oauth/token", &form).await.0, 401, "it is suspended");
    let rules = [("machine-burst".to_owned(), settings)];
    let reports = backtest::run(
        &party.server.app.ledger,
        &rules,
        (Stretch::default(), None),
        &|_, _| {},
    )
    .await
    .unwrap();
    assert_eq!(reports[0].fired, 1);
    assert_eq!(reports[0].alerts[0].alert, raised[0].0);
    assert_eq!(reports[0].would.suspend_clients.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sigma_detection_raises_an_alert_for_each_event_that_matches() {
    let party = Party::new().await;
    let settings = PolicySettings {
        sigma: SIGMA.split("---").next().map(str::to_owned),
        ..PolicySettings::default()
    };
    set(&party.server, "machine-token", settings).await;
    for (grant_type, scope) in [
        ("client_credentials", "server-operations"),
        ("client_credentials", "server-operations"),
        ("client_credentials", "no-such-scope"),
    ] {
        let form = [("grant_type", grant_type), ("scope", scope)];
        party.post("/oauth/token", &form).await;
    }
    watch(&party.server).await;
    let raised = alerts(&party.server, "machine-token").await;
    assert_eq!(raised.len(), 2);
    for (_, alert) in raised {
        assert_eq!(alert["about"]["client"], party.key.to_string());
        assert_eq!(alert["severity"], "medium");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sigma_or_cannot_be_done_is_refused() {
    let party = Party::new().await;
    let operations = &party.server.app.operations;
    let context = crate::harness::TestServer::context();
    let sigma = |text: &str| PolicySettings {
        sigma: Some(text.to_owned()),
        ..PolicySettings::default()
    };
    let suspend = PolicySettings {
        action: Action::SuspendClient,
        ..PolicySettings::default()
    };
    for (rule, settings) in [
        ("theirs", sigma("not: sigma")),
        ("theirs", sigma("")),
        ("theirs", sigma("title: [")),
        (
            "theirs",
            sigma(&SIGMA.replace(
                "condition: issued",
                &format!("condition: {}issued", "not ".repeat(301)),
            )),
        ),
        (
            "theirs",
            sigma(&SIGMA.replace(
                "condition: issued",
                &format!("condition: {}issued{}", "(".repeat(301), ")".repeat(301)),
            )),
        ),
        ("theirs", sigma(&format!("{SIGMA}\n# {}", "a".repeat(1001)))),
        ("refresh-replay", sigma(SIGMA)),
        ("Their Rule", sigma(SIGMA)),
        ("no-such-rule", PolicySettings::default()),
        ("password-spray", suspend),
    ] {
        let refused = operations.enable_policy(&context, rule, settings).await;
        assert!(refused.is_err(), "{rule}");
    }
    assert!(events(&party.server, "PolicyEnabled").await.is_empty());
}
