//! Rules of token exchange, and trusted issuers, from the command line.

use serde_json::json;

use super::{finish, grantlog_on, json, stderr, stdout};
use crate::harness::TestDatabase;
use crate::private_key_jwt::Keys;
use crate::token::{Party, text};

async fn run(database: &TestDatabase, arguments: &[&str], stdin: Option<&str>) -> std::process::Output {
    let mut command = grantlog_on(database);
    command.args(arguments);
    finish(command, stdin).await
}

#[tokio::test]
async fn a_rule_for_exchanges_is_set_shown_and_taken_back() {
    let party = Party::with(json!({"client_id": "shop"})).await;
    let database = &party.server.database;
    party
        .server
        .client(json!({"client_id": "service", "client_name": "s", "grant_types": ["client_credentials"]}))
        .await;
    let allow = async |extra: &[&str]| {
        let rule = [
            "client",
            "allow-exchange",
            "service",
            "--subject-client",
            "shop",
            "--mode",
            "delegation",
        ];
        run(database, &[&rule, extra].concat(), None).await
    };
    let unbounded = allow(&["--scope", "view-user"]).await;
    assert_eq!(unbounded.status.code(), Some(2), "an audience is required");
    let undefined = allow(&["--scope", "nothing", "--audience", "urn:api"]).await;
    assert!(
        stderr(&undefined).contains("the scope nothing is not defined"),
        "{}",
        stderr(&undefined)
    );
    let shown = json(&allow(&["--scope", "view-user", "--audience", "urn:api", "--json"]).await);
    assert_eq!(
        shown["exchanges"],
        json!([{"subject_client": "shop", "mode": "delegation", "scope": "view-user", "audience": ["urn:api"]}])
    );
    let printed = stdout(&run(database, &["client", "show", "service"], None).await);
    assert!(
        printed.contains("tokens of shop, delegation: scope view-user, audience urn:api"),
        "{printed}"
    );
    let back = [
        "client",
        "disallow-exchange",
        "service",
        "--subject-client",
        "shop",
        "--mode",
        "delegation",
    ];
    let unexplained = run(database, &back, None).await;
    assert_eq!(unexplained.status.code(), Some(2), "a reason is required");
    let back = [&back[..], &["--reason", "over", "--json"]].concat();
    let shown = json(&run(database, &back, None).await);
    assert_eq!(shown["exchanges"], json!([]));
    let again = run(database, &back, None).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("nothing to take back"),
        "{}",
        stderr(&again)
    );
}

#[tokio::test]
async fn an_issuer_is_trusted_shown_listed_and_trusted_no_more() {
    let party = Party::with(json!({"client_id": "deploy"})).await;
    let database = &party.server.database;
    let keys = Keys::generate();
    let add = async |extra: &[&str], jwks: &str| {
        let trust = [
            "trust",
            "add",
            "https://ci.example",
            "--jwks",
            "-",
            "--client",
            "deploy",
            "--scope",
            "view-user",
        ];
        run(database, &[&trust, extra].concat(), Some(jwks)).await
    };
    let jwks = keys.jwks().to_string();
    let unnamed = add(&["--subject-is", "client"], &jwks).await;
    assert!(
        stderr(&unnamed).contains("needs 1 to 200 subjects"),
        "{}",
        stderr(&unnamed)
    );
    let symmetric = r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#;
    let symmetric = add(&["--subject-is", "user-id"], symmetric).await;
    assert!(stderr(&symmetric).contains("symmetric"), "{}", stderr(&symmetric));
    let shown = json(
        &add(
            &["--subject-is", "client", "--subject", "repo:shop", "--json"],
            &jwks,
        )
        .await,
    );
    assert_eq!(
        (&shown["trusted"], &shown["clients"]),
        (&json!(true), &json!(["deploy"]))
    );
    assert_eq!(
        (text(&shown, "subject_is"), &shown["max_lifetime"]),
        ("client", &json!(3600))
    );
    let printed = stdout(&run(database, &["trust", "list"], None).await);
    assert!(printed.contains("https://ci.example"), "{printed}");
    let remove = [
        "trust",
        "remove",
        "https://ci.example",
        "--reason",
        "moved",
        "--yes",
        "--json",
    ];
    assert_eq!(json(&run(database, &remove, None).await)["trusted"], false);
    let again = run(database, &remove, None).await;
    assert!(stderr(&again).contains("not trusted"), "{}", stderr(&again));
    let listed = json(&run(database, &["trust", "list", "--json"], None).await);
    assert_eq!(listed[0]["trusted"], false);
    let unknown = run(database, &["trust", "show", "https://never.example"], None).await;
    assert_eq!(unknown.status.code(), Some(1));
}
