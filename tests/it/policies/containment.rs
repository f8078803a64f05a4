//! `grantlog contain`.

use serde_json::Value;
use sqlx::Executor;

use super::events;
use crate::command_line::{finish, grantlog_on, stdout};
use crate::evidence::attacker::attacker;
use crate::token::{Party, text};

async fn contain(party: &Party, arguments: &[&str]) -> Value {
    let mut command = grantlog_on(&party.server.database);
    command.arg("contain").args(arguments).args(["--json", "--yes"]);
    serde_json::from_str(&stdout(&finish(command, None).await)).unwrap()
}

fn count(contained: &Value) -> usize {
    contained["grants"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containment_counts_first_and_then_revokes_with_its_cause() {
    let party = Party::new().await;
    let other = Party::on(crate::harness::TestServer::start().await, serde_json::json!({})).await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(party.redeem(&party.code("view-user").await).await.1);
    }
    party
        .post("/oauth/revoke", &[("token", text(&tokens[2], "refresh_token"))])
        .await;
    let client = party.client_id.as_str();
    let reason = ["--reason", "leaked in a repository"];
    let by_client = [&["--by", "client", client][..], &reason].concat();
    let dry = contain(&party, &[&by_client[..], &["--dry-run", "--whole"]].concat()).await;
    assert_eq!((count(&dry), &dry["client"]), (2, &serde_json::json!(party.key)));
    assert!(events(&party.server, "ContainmentApplied").await.is_empty());
    assert!(party.is_active(text(&tokens[0], "access_token")).await);

    for by in [
        vec!["--by", "user", "ada"],
        vec!["--by", "address", "127.0.0.1"],
        vec!["--by", "window", "--since", "1h"],
    ] {
        let dry = contain(&party, &[&by[..], &reason, &["--dry-run"]].concat()).await;
        assert_eq!(count(&dry), 2, "{by:?}");
    }
    for by in [
        vec!["--by", "address", "192.0.2.1"],
        vec!["--by", "key", "somebody-elses"],
        vec!["--by", "window", "--since", "2020-01-01", "--until", "2020-02-01"],
    ] {
        let dry = contain(&party, &[&by[..], &reason, &["--dry-run"]].concat()).await;
        assert_eq!(count(&dry), 0, "{by:?}");
    }
    let done = contain(&party, &by_client).await;
    assert_eq!(count(&done), 2);
    assert!(!party.is_active(text(&tokens[0], "access_token")).await);
    let records = events(&party.server, "ContainmentApplied").await;
    assert_eq!(records.len(), 1, "one append");
    assert_eq!(records[0].1["grants"].as_array().unwrap().len(), 2);
    assert_eq!(records[0].1["cause"]["administrator"]["by"], "client");
    assert_eq!(records[0].1["cause"]["administrator"]["reason"], reason[1]);
    assert_eq!(events(&other.server, "ContainmentApplied").await.len(), 0);
    // Again: nothing is left.
    assert_eq!(count(&contain(&party, &by_client).await), 0);
    assert_eq!(events(&party.server, "ContainmentApplied").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containment_of_the_whole_takes_the_client_or_the_logins_too() {
    let party = Party::new().await;
    let server = &party.server;
    let reason = ["--reason", "an incident"];
    let (_, free) = party.redeem(&party.code("view-user").await).await;
    let free = text(&free, "access_token");
    // The user's logins of before are good no more, the grants have ended.
    let whole = ["--whole"];
    let by_user = [&["--by", "user", "ada"][..], &reason, &whole].concat();
    let done = contain(&party, &by_user).await;
    assert_eq!(
        (count(&done), &done["subject"]),
        (1, &serde_json::json!(party.subject))
    );
    assert_eq!(events(server, "FreshLoginRequired").await.len(), 1);
    assert!(!party.is_active(free).await);

    // The client issues nothing more, until it is reinstated.
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let by_client = [&["--by", "client", party.client_id.as_str()][..], &reason, &whole].concat();
    let done = contain(&party, &by_client).await;
    assert_eq!(
        (count(&done), &done["client"]),
        (1, &serde_json::json!(party.key))
    );
    assert_eq!(events(server, "ClientSuspended").await.len(), 1);
    let (status, body) = party.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!((status, text(&body, "error")), (401, "invalid_client"));
    let again = contain(&party, &by_client).await;
    assert_eq!((count(&again), &again["client"]), (0, &Value::Null), "it is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_in_which_nothing_can_have_happened_is_refused() {
    let server = crate::harness::TestServer::start().await;
    for (arguments, why) in [
        (["--since", "1h", "--until", "2h"], "is not after --since"),
        (["--since", "2099-01-01", "--until", "1h"], "is in the future"),
        (["--since", "1h", "--until", "2099-01-01"], "is in the future"),
    ] {
        for command in [
            &["contain", "--by", "window", "--reason", "x", "--dry-run"][..],
            &["policy", "backtest", "scope-probing"],
        ] {
            let mut process = grantlog_on(&server.database);
            process.args(command).args(arguments);
            let refused = finish(process, None).await;
            assert!(!refused.status.success(), "{command:?} {arguments:?}");
            let told = String::from_utf8_lossy(&refused.stderr);
            assert!(told.contains(why), "{told}");
        }
    }
}

/// Whoever may write in the database puts an event where none is yet, and takes it away again.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_beyond_the_head_makes_nobody_blind() {
    let party = Party::new().await;
    let server = &party.server;
    server.settle().await;
    let mut attacker = attacker(server).await;
    attacker
        .execute(
            "INSERT INTO grantlog.ledger SELECT lane, aggregate_type, aggregate_id, sequence + 1000, 1000000, command_id, \
             event_type, event_version, payload, metadata, recorded_at FROM grantlog.ledger_client ORDER BY position LIMIT 1",
        )
        .await
        .unwrap();
    party.redeem(&party.code("view-user").await).await;
    server.settle().await;
    let furthest: i64 = sqlx::query_scalar("SELECT max(position) FROM grantlog.cursors")
        .fetch_one(server.app.ledger.pool())
        .await
        .unwrap();
    assert!(furthest < 1_000_000, "no table skips what is to come: {furthest}");
    attacker
        .execute("DELETE FROM grantlog.ledger WHERE position = 1000000")
        .await
        .unwrap();
    let by_user = ["--by", "user", "ada", "--reason", "x", "--dry-run"];
    assert_eq!(count(&contain(&party, &by_user).await), 1);

    // A cursor that was moved there by hand is not believed either.
    attacker
        .execute(
            "UPDATE grantlog.cursors SET position = 1000000 WHERE reader = 'event_postings'; \
             UPDATE grantlog.policy_cursor SET position = 1000000",
        )
        .await
        .unwrap();
    party.redeem(&party.code("view-user").await).await;
    assert_eq!(count(&contain(&party, &by_user).await), 2);
    let mut doctor = grantlog_on(&server.database);
    doctor.args(["doctor", "--json"]);
    let report = finish(doctor, None).await;
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    for found in [
        "its cursor is beyond the ledger's head",
        "the cursor of policies is at 1000000",
    ] {
        assert!(report.contains(found), "{report}");
    }
}
