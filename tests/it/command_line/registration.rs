//! Initial access tokens, registration access tokens and pairwise subjects, from the command line.

use grantlog::config::RegistrationMode;
use serde_json::{Value, json};

use super::{finish, grantlog_on, json, stderr, stdout};
use crate::flow;
use crate::harness::{TestDatabase, TestServer};
use crate::registration::{register, registering, send};
use crate::token::text;

async fn run(database: &TestDatabase, arguments: &[&str]) -> std::process::Output {
    let mut command = grantlog_on(database);
    command.args(arguments);
    finish(command, None).await
}

fn metadata() -> Value {
    json!({"redirect_uris": [flow::REDIRECT_URI], "subject_type": "pairwise"})
}

async fn server() -> TestServer {
    registering(RegistrationMode::InitialAccessToken, |_| {}).await
}

#[tokio::test]
async fn initial_access_tokens_are_created_listed_and_revoked() {
    let server = server().await;
    let database = &server.database;
    let of = async |arguments: &[&str]| {
        run(
            database,
            &[&["client", "initial-access-token"], arguments].concat(),
        )
        .await
    };
    let created = json(
        &of(&[
            "create",
            "--label",
            "partners",
            "--uses",
            "2",
            "--expires-in",
            "60",
            "--scope",
            "openid",
            "--json",
        ])
        .await,
    );
    let token = text(&created, "initial_access_token");
    let answer = register(&server, Some(token), &metadata()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let listed = json(&of(&["list", "--json"]).await);
    assert_eq!(
        (
            &listed[0]["label"],
            &listed[0]["uses_left"],
            &listed[0]["standing"]
        ),
        (&json!("partners"), &json!(1), &json!("usable"))
    );
    assert!(!listed.to_string().contains(&token[4..]), "shown once");
    let printed = stdout(&of(&["list"]).await);
    assert!(
        printed.contains("partners") && printed.contains("usable"),
        "{printed}"
    );
    let id = text(&created, "id");
    assert!(of(&["revoke", id, "--reason", "leaked"]).await.status.success());
    let listed = json(&of(&["list", "--json"]).await);
    assert_eq!(listed[0]["standing"], "revoked");
    assert_eq!(register(&server, Some(token), &metadata()).await.status, 401);
    for wrong in [
        &["create", "--uses", "0"][..],
        &["create", "--expires-in", "0"],
        &["create", "--grant-type", "password"],
        &["create", "--grant-type", "magic"],
        &["create", "--scope", "a  b"],
        &["revoke", "00000000-0000-4000-8000-000000000000", "--reason", "x"],
    ] {
        let output = of(wrong).await;
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert!(!stderr(&output).is_empty());
    }
}

#[tokio::test]
async fn an_administrator_finds_the_user_behind_a_pairwise_subject() {
    let server = server().await;
    let database = &server.database;
    let subject = server.user(flow::USERNAME, flow::PASSWORD).await;
    server.user("bob", flow::PASSWORD).await;
    let client = server
        .client(json!({
            "client_name": "App", "client_id": "app", "redirect_uris": [flow::REDIRECT_URI], "subject_type": "pairwise",
        }))
        .await;
    let show = async |user: &str| {
        json(
            &run(
                database,
                &["user", "show", user, "--client", &client.client_id, "--json"],
            )
            .await,
        )
    };
    let shown = show(flow::USERNAME).await;
    let sub = text(&shown, "client_sub").to_owned();
    assert_eq!(
        (text(&shown, "sub"), sub.len()),
        (subject.to_string().as_str(), 43)
    );
    assert_eq!(text(&show(&sub).await, "username"), flow::USERNAME);
    // An erased user is found too.
    server
        .app
        .operations
        .erase_user(&TestServer::context(), subject)
        .await
        .unwrap();
    assert_eq!(text(&show(&sub).await, "state"), "erased");
    let nobody = "A".repeat(43);
    let output = run(database, &["user", "show", &nobody, "--client", "app"]).await;
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_client_registered_by_hand_is_given_a_token_for_its_registration() {
    let server = server().await;
    let metadata = json!({
        "client_name": "App", "client_id": "my app/1", "redirect_uris": [flow::REDIRECT_URI],
    });
    server.client(metadata).await;
    let issued = run(
        &server.database,
        &["client", "registration-token", "my app/1", "--json"],
    )
    .await;
    let issued = json(&issued);
    let url = server.url("/oauth/register/my%20app%2F1");
    let answer = send(
        ("GET", &url),
        Some(text(&issued, "registration_access_token")),
        None,
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["registration_client_uri"], url.as_str());
}
