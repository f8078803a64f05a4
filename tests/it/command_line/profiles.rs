//! Security profiles on the command line.

use serde_json::json;

use super::{finish, grantlog_on, json, stderr, stdout};
use crate::harness::{TestDatabase, TestServer};
use crate::private_key_jwt::Keys;

async fn run(database: &TestDatabase, arguments: &[&str], stdin: Option<&str>) -> std::process::Output {
    let mut command = grantlog_on(database);
    command.args(arguments);
    finish(command, stdin).await
}

#[tokio::test]
async fn client_show_prints_the_profile_and_warns_of_what_is_weak() {
    let server = TestServer::start().await;
    let database = &server.database;
    let weak = json!({
        "client_name": "Old", "client_id": "old", "redirect_uris": ["http://127.0.0.1/cb"], "legacy": true,
        "token_endpoint_auth_method": "any",
    });
    let create = ["client", "create", "--json", "-"];
    run(database, &create, Some(&weak.to_string())).await;
    let shown = stdout(&run(database, &["client", "show", "old"], None).await);
    let profile = shown.lines().find(|line| line.starts_with("profile ")).unwrap();
    assert!(profile.ends_with(" legacy"), "{profile}");
    for section in ["RFC 9700 §2.1.1", "RFC 9700 §2.6", "RFC 9700 §2.5"] {
        let warned = |line: &str| line.starts_with("warning ") && line.contains(section);
        assert!(shown.lines().any(warned), "{section}: {shown}");
    }
    let shown = json(&run(database, &["client", "show", "old", "--json"], None).await);
    assert_eq!(shown["profile"], "legacy");
    assert_eq!(shown["warnings"].as_array().unwrap().len(), 3);
    assert_eq!(shown["warnings"][0]["member"], "legacy");
    assert_eq!(shown["warnings"][0]["section"], "RFC 9700 §2.1.1");
}

#[tokio::test]
async fn a_profile_is_a_flag_and_what_contradicts_it_is_named() {
    let server = TestServer::start().await;
    let database = &server.database;
    let bank = json!({
        "client_name": "Bank", "client_id": "bank", "redirect_uris": ["https://bank.example/cb"],
        "token_endpoint_auth_method": "private_key_jwt", "jwks": Keys::generate().jwks(),
    });
    let create = [
        "client",
        "create",
        "--json",
        "-",
        "--profile",
        "fapi2-message-signing",
    ];
    let created = json(&run(database, &create, Some(&bank.to_string())).await);
    assert_eq!(created["profile"], "fapi2-message-signing");
    assert_eq!(created["require_signed_request_object"], true);
    let shown = json(&run(database, &["client", "show", "bank", "--json"], None).await);
    assert_eq!(shown["warnings"], json!([]));
    let weaken = ["client", "update", "bank", "--auth-method", "client_secret_basic"];
    let refused = run(database, &weaken, None).await;
    assert!(!refused.status.success());
    let why = stderr(&refused);
    assert!(
        why.contains("token_endpoint_auth_method") && why.contains("fapi2-message-signing"),
        "{why}"
    );
    let update = ["client", "update", "bank", "--profile", "oauth21", "--json"];
    assert_eq!(json(&run(database, &update, None).await)["profile"], "oauth21");
}
