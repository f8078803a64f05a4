//! `grantlog contain`.

use serde_json::Value;

use super::events;
use crate::command_line::{finish, grantlog_on, stdout};
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
