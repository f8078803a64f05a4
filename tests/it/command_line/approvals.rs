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
        assert!(chrono::DateTime::parse_from_rfc3339(text(approval, "at")).is_ok());
    }
    let printed = stdout(&run(database, &["client", "show", "shop"]).await);
    assert!(
        printed.contains("detail-user withdrawn by command_line at ") && printed.contains(": page is gone"),
        "{printed}"
    );
    let listed = json(&run(database, &["client", "list", "--json"]).await);
    assert_eq!(listed[0]["approvals"]["detail-user"]["state"], "withdrawn");
    let approved = step("approve-scope", &[]).await;
    assert!(approved.status.success(), "an approval may go without a reason");
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
