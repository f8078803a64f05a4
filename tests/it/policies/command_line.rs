//! `grantlog policy` and `grantlog alert`.

use serde_json::{Value, json};

use super::{replay, watch};
use crate::command_line::{finish, grantlog_on, stdout};
use crate::token::Party;

async fn run(party: &Party, arguments: &[&str]) -> String {
    let mut command = grantlog_on(&party.server.database);
    command.args(arguments);
    stdout(&finish(command, None).await)
}

async fn document(party: &Party, arguments: &[&str]) -> Value {
    serde_json::from_str(&run(party, arguments).await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_listed_set_tried_and_their_alerts_shown() {
    let party = Party::with(json!({"refresh_grace": 0})).await;
    let listed = document(&party, &["policy", "list", "--json"]).await;
    let rules = listed.as_array().unwrap();
    assert_eq!(rules.len(), 19);
    assert!(
        rules
            .iter()
            .all(|rule| rule["enabled"] == true && rule["action"] == "alert")
    );
    run(
        &party,
        &[
            "policy",
            "disable",
            "dormant-client",
            "--reason",
            "noise",
            "--yes",
        ],
    )
    .await;
    let enabled = [
        "policy",
        "enable",
        "refresh-replay",
        "--action",
        "require_fresh_login",
        "--json",
    ];
    assert_eq!(document(&party, &enabled).await["action"], "require_fresh_login");
    let shown = document(&party, &["policy", "show", "dormant-client", "--json"]).await;
    assert_eq!(shown["enabled"], false);

    replay(&party, "curl/8").await;
    let backtest = ["policy", "backtest", "refresh-replay", "--since", "1h", "--json"];
    let report = document(&party, &backtest).await;
    assert_eq!(report[0]["fired"], 1);
    assert_eq!(report[0]["would"]["fresh_logins"][0], party.subject.to_string());
    let printed = run(&party, &["policy", "backtest", "refresh-replay"]).await;
    let user = format!("1  user {}", party.subject);
    let client = format!("1  client {} ({})", party.client_id, party.key);
    for part in ["fired 1 times", "█", &user, &client] {
        assert!(printed.contains(part), "{part}: {printed}");
    }

    watch(&party.server).await;
    party.server.settle().await;
    let alerts = document(&party, &["alert", "list", "--open", "--json"]).await;
    let id = alerts[0]["alert"].as_str().unwrap().to_owned();
    assert_eq!(alerts[0]["action"], "require_fresh_login");
    let shown = run(&party, &["alert", "show", &id]).await;
    for part in [
        "FIRST USE",
        "REPLAY",
        "verdict",
        "java",
        "curl",
        "nobody has acknowledged it",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    run(&party, &["alert", "acknowledge", &id, "--note", "seen"]).await;
    let shown = document(&party, &["alert", "show", &id, "--json"]).await;
    assert_eq!(
        (&shown["acknowledged"], &shown["note"]),
        (&json!(true), &json!("seen"))
    );
    party.server.settle().await;
    let open = document(&party, &["alert", "list", "--open", "--json"]).await;
    assert_eq!(open, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_tried_over_a_file_of_events() {
    let party = Party::with(json!({"refresh_grace": 0})).await;
    replay(&party, "curl/8").await;
    let events = run(&party, &["audit", "tail", "--from", "1", "--json"]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.jsonl");
    std::fs::write(&file, events).unwrap();
    let file = file.to_str().unwrap();
    let test = [
        "policy",
        "test",
        "refresh-replay",
        "--events",
        file,
        "--expect",
        "1",
        "--json",
    ];
    assert_eq!(document(&party, &test).await["fired"], 1);
    let mut wrong = grantlog_on(&party.server.database);
    wrong.args(["policy", "test", "code-replay", "--events", file, "--expect", "1"]);
    assert_eq!(finish(wrong, None).await.status.code(), Some(1));
}
