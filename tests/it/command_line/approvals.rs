//! Approvals and refused requests, from the command line.

use serde_json::json;

use super::{finish, grantlog_on, json, stderr, stdout};
use crate::harness::TestDatabase;
use crate::token::{Party, text};

async fn run(database: &TestDatabase, arguments: &[&str]) -> std::process::Output {
    let mut command = grantlog_on(database);
    command.args(arguments);
    finish(command, None).await
}

#[tokio::test]
async fn an_approval_is_asked_for_decided_and_shown_with_who_when_and_why() {
    let party = Party::with(json!({"client_id": "shop"})).await;
    let database = &party.server.database;
    let step = async |command: &str, extra: &[&str]| {
        run(
            database,
            &[&["client", command, "shop", "detail-user"], extra].concat(),
        )
        .await
    };
    let nothing = step("reject-scope", &["--reason", "no"]).await;
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        stderr(&nothing).contains("nothing to reject"),
        "{}",
        stderr(&nothing)
    );
    let unexplained = step("withdraw-scope", &[]).await;
    assert_eq!(unexplained.status.code(), Some(2), "a reason is required");

    for (command, reason, state) in [
        ("request-scope", "profile page", "requested"),
        ("reject-scope", "say more", "rejected"),
        ("request-scope", "profile page shows the address", "requested"),
        ("approve-scope", "fine", "approved"),
        ("withdraw-scope", "page is gone", "withdrawn"),
    ] {
        let shown = json(&step(command, &["--reason", reason, "--json"]).await);
        let approval = &shown["approvals"]["detail-user"];
        assert_eq!(text(approval, "state"), state);
        assert_eq!(text(approval, "reason"), reason);
        assert_eq!(text(approval, "actor"), "command_line");
        assert!(approval["operator"]["name"].is_string(), "{approval}");
        assert!(chrono::DateTime::parse_from_rfc3339(text(approval, "at")).is_ok());
    }
    let printed = stdout(&run(database, &["client", "show", "shop"]).await);
    assert!(
        printed.contains("detail-user withdrawn by command_line (") && printed.contains(": page is gone"),
        "{printed}"
    );
    let listed = json(&run(database, &["client", "list", "--json"]).await);
    assert_eq!(listed[0]["approvals"]["detail-user"]["state"], "withdrawn");
    let approved = step("approve-scope", &[]).await;
    // What became of the approval, not of the client.
    let approved = stdout(&approved);
    assert!(
        approved.starts_with("shop: detail-user approved by command_line ("),
        "{approved}"
    );
}

#[tokio::test]
async fn who_administers_is_recorded_encrypted_shown_and_erased_with_the_months_key() {
    let party = Party::with(json!({"client_id": "shop"})).await;
    let database = &party.server.database;
    let owner = database.owner().await;
    let approve = [
        "--operator",
        "Ada Lovelace",
        "client",
        "approve-scope",
        "shop",
        "detail-user",
        "--reason",
        "fine",
    ];
    let printed = stdout(&run(database, &approve).await);
    assert!(
        printed.contains("approved by command_line (Ada Lovelace) at "),
        "{printed}"
    );
    let mut command = grantlog_on(database);
    command
        .env("GRANTLOG_OPERATOR", "Grace Hopper")
        .args(["client", "suspend", "shop", "--reason", "a test"]);
    stdout(&finish(command, None).await);
    let mut command = grantlog_on(database);
    command
        .env("SUDO_USER", "jean")
        .args(["client", "reinstate", "shop"]);
    stdout(&finish(command, None).await);

    let clear: i64 =
        sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger l WHERE l::text ~ 'Lovelace|Hopper|jean'")
            .fetch_one(&owner)
            .await
            .unwrap();
    assert_eq!(clear, 0, "a name stands in clear in the ledger");
    let tail = stdout(&run(database, &["audit", "tail"]).await);
    for who in ["(Ada Lovelace)", "(Grace Hopper)", "(jean)"] {
        assert!(tail.contains(&format!("command_line {who}")), "{tail}");
    }
    let shown = json(&run(database, &["client", "show", "shop", "--json"]).await);
    assert_eq!(
        shown["approvals"]["detail-user"]["operator"],
        json!({"name": "Ada Lovelace"})
    );

    sqlx::query("DELETE FROM grantlog.data_keys WHERE owner = $1")
        .bind(uuid::Uuid::nil())
        .execute(&owner)
        .await
        .unwrap();
    let printed = stdout(&run(database, &["client", "show", "shop"]).await);
    assert!(
        printed.contains("approved by command_line (erased) at "),
        "{printed}"
    );
    let shown = json(&run(database, &["client", "list", "--json"]).await);
    assert_eq!(shown[0]["approvals"]["detail-user"]["operator"], "erased");
    let nobody = run(database, &["--operator", " ", "client", "list"]).await;
    assert_eq!(nobody.status.code(), Some(2));
}

#[tokio::test]
async fn doctor_explains_a_refused_request() {
    let party = Party::new().await;
    let database = &party.server.database;
    let form = [("grant_type", "client_credentials"), ("scope", "detail-user")];
    let (_, refused) = party.post("/oauth/token", &form).await;
    let id = text(&refused, "request_id");
    let printed = stdout(&run(database, &["doctor", "request", id]).await);
    for expected in [
        id,
        "scope_not_approved",
        "The check that failed",
        "Likely causes",
        "What to do",
        "request-scope",
        "How to prevent it",
        party.client_id.as_str(),
    ] {
        assert!(printed.contains(expected), "no {expected} in {printed}");
    }
    let found = json(&run(database, &["doctor", "request", id, "--json"]).await);
    assert_eq!(text(&found, "error"), "invalid_scope");
    let unknown = uuid::Uuid::new_v4().to_string();
    let missing = run(database, &["doctor", "request", &unknown]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        stderr(&missing).contains("suppressed under load"),
        "{}",
        stderr(&missing)
    );
    assert_eq!(
        run(database, &["doctor", "request", "42"]).await.status.code(),
        Some(2)
    );
}
