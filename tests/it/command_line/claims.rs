//! A user's claims and a client's token format, from the command line.

use serde_json::{Value, json};

use super::{finish, grantlog_on, json, stderr};
use crate::harness::{TestDatabase, TestServer};
use crate::token::{Party, text};

async fn run(database: &TestDatabase, arguments: &[&str], stdin: Option<&str>) -> std::process::Output {
    let mut command = grantlog_on(database);
    command.args(arguments);
    finish(command, stdin).await
}

#[tokio::test]
async fn a_users_claims_are_set_changed_and_removed_from_the_command_line() {
    let server = TestServer::start().await;
    let database = &server.database;
    let create = [
        "user",
        "create",
        "ada",
        "--email",
        "ada@example.com",
        "--claim",
        "given_name=Ada",
        "--claim",
        "email_verified=true",
        "--claim",
        "nickname=A=B",
        "--no-password",
        "--json",
    ];
    let created = json(&run(database, &create, None).await);
    let expected = json!({"given_name": "Ada", "email_verified": true, "nickname": "A=B"});
    assert_eq!(created["claims"], expected);
    let patch = json!({"address": {"country": "GB"}, "nickname": null, "name": "Ada L."}).to_string();
    let update = [
        "user",
        "update",
        "ada",
        "--claims",
        "-",
        "--claim",
        "locale=en-GB",
        "--json",
    ];
    let updated: Value = json(&run(database, &update, Some(&patch)).await);
    let expected = json!({
        "given_name": "Ada", "email_verified": true, "address": {"country": "GB"}, "locale": "en-GB",
    });
    assert_eq!(
        (&updated["claims"], &updated["name"]),
        (&expected, &json!("Ada L."))
    );
    assert!(updated["updated_at"].is_string());
    let update = [
        "user",
        "update",
        "ada",
        "--email",
        "new@example.com",
        "--claim",
        "locale=",
        "--json",
    ];
    let updated = json(&run(database, &update, None).await);
    assert_eq!(updated["email"], "new@example.com");
    assert_eq!(
        updated["claims"],
        json!({"given_name": "Ada", "address": {"country": "GB"}})
    );
    for (arguments, words) in [
        (&["--claim", "birthdate=today"][..], "birthdate: it is not a date"),
        (&["--claim", "shoe_size=43"], "shoe_size is none of"),
        (&["--claim", "address=London"], "--claims FILE"),
        (&["--claim", "given_name"], "NAME=VALUE"),
        (&["--email", "nobody"], "email: it is not an e-mail address"),
        (&[], "nothing is to be changed"),
    ] {
        let refused = run(
            database,
            &[&["user", "update", "ada"][..], arguments].concat(),
            None,
        )
        .await;
        assert!(!refused.status.success());
        assert!(stderr(&refused).contains(words), "{}", stderr(&refused));
    }
    let nobody = run(database, &["user", "update", "bob", "--name", "Bob"], None).await;
    assert!(
        stderr(&nobody).contains("there is no user bob"),
        "{}",
        stderr(&nobody)
    );
}

#[tokio::test]
async fn an_opaque_token_shows_its_grant_on_the_command_line() {
    let party = Party::new().await;
    let database = &party.server.database;
    let update = [
        "client",
        "update",
        &party.client_id,
        "--access-token-format",
        "opaque",
        "--json",
    ];
    let updated = json(&run(database, &update, None).await);
    assert_eq!(updated["access_token_format"], "opaque");
    let wrong = run(
        database,
        &[
            "client",
            "update",
            &party.client_id,
            "--access-token-format",
            "xml",
        ],
        None,
    )
    .await;
    assert!(
        stderr(&wrong).contains("access_token_format"),
        "{}",
        stderr(&wrong)
    );
    let (status, tokens) = party.redeem(&party.code("view-user").await).await;
    assert_eq!(status, 200, "{tokens}");
    let token = text(&tokens, "access_token");
    let shown = json(&run(database, &["grant", "show", "-", "--json"], Some(token)).await);
    let credential = &shown["credential"];
    assert_eq!(
        (&credential["kind"], &credential["issued_at_sequence"]),
        (&json!("access token"), &json!(3))
    );
    assert_eq!(
        (&credential["authentic"], &credential["usable"]),
        (&json!(true), &json!(true))
    );
    assert!(credential["expires_at"].is_string() && credential.get("failed").is_none_or(Value::is_null));
}
