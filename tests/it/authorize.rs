//! The authorization endpoint as a browser sees it (RFC 6749 §4.1, RFC 9700, RFC 7636, RFC 9207).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like tests"
)]

mod consent;
mod denials;
mod errors;
mod login;
mod pages;

use grantlog::credential::{self, Kind};
use grantlog::domain::client::ClientCommand;
use grantlog::domain::grant::{Grant, GrantEvent};
use grantlog::ledger::recorded_event;
use serde_json::json;
use sqlx::PgPool;

use crate::flow::{self, Query, REDIRECT_URI, with};
use crate::harness::{TestServer, browser};

/// The reasons of the recorded refusals, in order.
async fn refusals(pool: &PgPool) -> Vec<(String, String)> {
    sqlx::query_as(
        "SELECT payload->>'error', payload->>'reason' FROM grantlog.ledger \
         WHERE event_type = 'RequestRefused' ORDER BY position",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

async fn event_types(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("SELECT event_type FROM grantlog.ledger ORDER BY position")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_user_who_logs_in_and_approves_gives_the_client_a_code() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let page = flow::request(&server, &browser, &query).await;
    assert!(page.status == 200 && page.is_login_page(), "{}", page.body);
    let after = flow::log_in(&server, &browser, &query, (" ALICE ", flow::PASSWORD)).await;
    assert_eq!(after.status, 303);
    let page = flow::follow(&server, &browser, &after).await;
    assert!(page.status == 200 && page.is_consent_page(), "{}", page.body);
    let answer = flow::decide(&server, &browser, &query, (&page, "approve")).await;
    assert!(
        answer
            .location()
            .unwrap()
            .starts_with("https://app.example/cb?code=glc_")
    );
    let parameters = answer.parameters();
    assert_eq!(parameters["state"], "s t&ä");
    assert_eq!(parameters["iss"], server.base);
    assert_eq!(parameters.len(), 3);

    let key = server.app.ledger.vault().master().address_key();
    let code = credential::parse(Kind::Code, key, &parameters["code"]).unwrap();
    let event = recorded_event::<Grant>(server.app.ledger.pool(), code.address.grant.0, 1)
        .await
        .unwrap();
    let Some(GrantEvent::CodeIssued(issued)) = event else {
        panic!("{event:?}")
    };
    assert_eq!((issued.client, issued.digest), (client.key, code.digest));
    assert_eq!(issued.audience, std::slice::from_ref(&server.base));
    assert!(issued.redirect_uri_required && issued.challenge.is_some() && issued.auth_time.is_some());
    let pool = server.database.owner().await;
    let types = event_types(&pool).await;
    assert_eq!(types[types.len() - 2..], ["ConsentGiven", "CodeIssued"]);
    let one_append: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT command_id) FROM grantlog.ledger WHERE event_type IN ('ConsentGiven', 'CodeIssued')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(one_append, 1, "consent and code are one append");
}

#[tokio::test]
async fn the_code_is_exchanged_for_tokens_with_verifier_and_redirect_uri() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let parameters = flow::authorize(&server, &browser, &flow::query(&client)).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &parameters["code"]),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", flow::VERIFIER),
    ];
    let response = browser
        .post(server.url("/oauth/token"))
        .basic_auth(&client.client_id, client.client_secret.as_deref())
        .form(&fields)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let tokens: serde_json::Value = response.json().await.unwrap();
    assert_eq!(tokens["scope"], "view-user");
    assert!(tokens["access_token"].is_string() && tokens["refresh_token"].is_string());
}

#[tokio::test]
async fn consent_is_asked_for_once_and_again_for_more() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    flow::authorize(&server, &browser, &query).await;
    let again = flow::request(&server, &browser, &query).await;
    assert!(again.parameters().contains_key("code"));
    let default = flow::request(&server, &browser, &with(&query, &[("scope", "")])).await;
    assert!(
        default.parameters().contains_key("code"),
        "the default scope is the same"
    );
    let more = with(&query, &[("scope", "view-user server-operations")]);
    let page = flow::request(&server, &browser, &more).await;
    assert!(page.is_consent_page() && page.body.contains("Operate servers"));
    let consents = event_types(&server.database.owner().await).await;
    let consents = consents.iter().filter(|name| *name == "ConsentGiven").count();
    assert_eq!(consents, 1);
}

#[tokio::test]
async fn prompt_none_shows_no_page() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let none = with(&query, &[("prompt", "none")]);
    let answer = flow::request(&server, &browser, &none).await.parameters();
    assert_eq!(
        (answer["error"].as_str(), answer["state"].as_str()),
        ("login_required", "s t&ä")
    );
    flow::log_in(&server, &browser, &query, (flow::USERNAME, flow::PASSWORD)).await;
    let answer = flow::request(&server, &browser, &none).await.parameters();
    assert_eq!(answer["error"], "consent_required");
    flow::authorize(&server, &browser, &query).await;
    let answer = flow::request(&server, &browser, &none).await.parameters();
    assert!(answer.contains_key("code"));
    let recorded = refusals(&server.database.owner().await).await;
    assert_eq!(recorded[0].1, "login_required");
    assert_eq!(recorded[1].1, "consent_required");
}

#[tokio::test]
async fn prompt_login_and_prompt_consent_ask_again() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    flow::authorize(&server, &browser, &query).await;
    let consent = with(&query, &[("prompt", "consent")]);
    let page = flow::request(&server, &browser, &consent).await;
    assert!(page.is_consent_page());
    let answer = flow::decide(&server, &browser, &consent, (&page, "approve")).await;
    assert!(answer.parameters().contains_key("code"));
    let both = with(&query, &[("prompt", "login consent")]);
    assert!(flow::request(&server, &browser, &both).await.is_login_page());
    let around = [("step", "consent"), ("decision", "approve")];
    let page = flow::post(&server, &browser, &both, &around).await;
    assert!(
        page.status == 403 && page.is_login_page(),
        "no way around the password"
    );
    let after = flow::log_in(&server, &browser, &both, (flow::USERNAME, flow::PASSWORD)).await;
    assert!(after.location().unwrap().ends_with("&prompt=consent"));
    assert!(flow::follow(&server, &browser, &after).await.is_consent_page());
    let types = event_types(&server.database.owner().await).await;
    let count = |name: &str| types.iter().filter(|found| *found == name).count();
    assert_eq!((count("ConsentGiven"), count("SessionReauthenticated")), (2, 1));
}

#[tokio::test]
async fn a_user_who_denies_sends_the_client_access_denied() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    flow::log_in(&server, &browser, &query, (flow::USERNAME, flow::PASSWORD)).await;
    let page = flow::request(&server, &browser, &query).await;
    let answer = flow::decide(&server, &browser, &query, (&page, "deny"))
        .await
        .parameters();
    assert_eq!(answer["error"], "access_denied");
    assert_eq!(
        (answer["state"].as_str(), &answer["iss"]),
        ("s t&ä", &server.base)
    );
    assert!(!answer.contains_key("code"));
    let pool = server.database.owner().await;
    assert_eq!(
        refusals(&pool).await,
        [("access_denied".to_owned(), "user_denied".to_owned())]
    );
    assert!(!event_types(&pool).await.contains(&"CodeIssued".to_owned()));
}

#[tokio::test]
async fn a_session_that_ends_before_the_answer_denies_access() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    flow::log_in(&server, &browser, &query, (flow::USERNAME, flow::PASSWORD)).await;
    let page = flow::request(&server, &browser, &query).await;
    server.clock.advance(std::time::Duration::from_hours(13));
    let answer = flow::decide(&server, &browser, &query, (&page, "approve"))
        .await
        .parameters();
    assert_eq!(answer["error"], "access_denied");
    let recorded = refusals(&server.database.owner().await).await;
    assert_eq!(recorded[0].1, "session_expired");
    // Logged out in another window: the cookie is gone, the page is still there.
    let answer = flow::decide(&server, &crate::harness::browser(), &query, (&page, "approve")).await;
    assert_eq!(answer.parameters()["error"], "access_denied");
}

#[tokio::test]
async fn another_account_can_be_used() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    server.user("bob", "bob's long password").await;
    let query = flow::query(&client);
    flow::log_in(&server, &browser, &query, (flow::USERNAME, flow::PASSWORD)).await;
    let page = flow::request(&server, &browser, &query).await;
    assert!(page.body.contains("<strong><bdi>alice</bdi></strong>"));
    let answer = flow::decide(&server, &browser, &query, (&page, "switch")).await;
    assert!(flow::follow(&server, &browser, &answer).await.is_login_page());
    flow::log_in(&server, &browser, &query, ("bob", "bob's long password")).await;
    let page = flow::request(&server, &browser, &query).await;
    assert!(page.body.contains("<strong><bdi>bob</bdi></strong>"));
    let types = event_types(&server.database.owner().await).await;
    assert!(types.contains(&"SessionEnded".to_owned()));
}

#[tokio::test]
async fn a_native_app_may_use_any_loopback_port_and_its_user_is_always_asked() {
    let server = TestServer::start().await;
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let client = server
        .client(json!({
            "client_name": "Native", "redirect_uris": ["http://127.0.0.1/cb"], "scope": "view-user",
            "token_endpoint_auth_method": "none",
        }))
        .await;
    let browser = browser();
    let query = with(
        &flow::query(&client),
        &[("redirect_uri", "http://127.0.0.1:49152/cb")],
    );
    flow::authorize(&server, &browser, &query).await;
    let page = flow::request(&server, &browser, &query).await;
    assert!(page.is_consent_page(), "another program could pretend to be it");
    let answer = flow::decide(&server, &browser, &query, (&page, "approve")).await;
    assert!(
        answer
            .location()
            .unwrap()
            .starts_with("http://127.0.0.1:49152/cb?code=")
    );
    let none = with(&query, &[("prompt", "none")]);
    let answer = flow::request(&server, &browser, &none).await.parameters();
    assert_eq!(answer["error"], "consent_required");
    let absent = with(&query, &[("redirect_uri", "")]);
    assert_eq!(
        flow::request(&server, &browser, &absent).await.status,
        400,
        "the port is not known"
    );
    let types = event_types(&server.database.owner().await).await;
    assert_eq!(
        types.iter().filter(|name| *name == "ConsentGiven").count(),
        1,
        "nothing new was given"
    );
}

#[tokio::test]
async fn the_only_redirect_uri_need_not_be_named_and_its_query_is_kept() {
    let server = TestServer::start().await;
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let mut metadata = flow::confidential();
    metadata["redirect_uris"] = json!(["https://app.example/cb?tenant=7"]);
    metadata["audience"] = json!(["https://api.example"]);
    let client = server.client(metadata).await;
    let (browser, query) = (browser(), with(&flow::query(&client), &[("redirect_uri", "")]));
    let parameters = flow::authorize(&server, &browser, &query).await;
    assert_eq!(parameters["tenant"], "7");
    let key = server.app.ledger.vault().master().address_key();
    let code = credential::parse(Kind::Code, key, &parameters["code"]).unwrap();
    let event = recorded_event::<Grant>(server.app.ledger.pool(), code.address.grant.0, 1)
        .await
        .unwrap();
    let Some(GrantEvent::CodeIssued(issued)) = event else {
        panic!("{event:?}")
    };
    assert!(!issued.redirect_uri_required);
    assert_eq!(issued.audience, ["https://api.example"]);
}

#[tokio::test]
async fn a_client_suspended_after_the_consent_page_gets_no_code() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    flow::log_in(&server, &browser, &query, (flow::USERNAME, flow::PASSWORD)).await;
    let page = flow::request(&server, &browser, &query).await;
    let suspend = ClientCommand::Suspend {
        reason: "test".into(),
    };
    let operations = &server.app.operations;
    operations
        .command_client(&TestServer::context(), client.key, &suspend)
        .await
        .unwrap();
    let answer = flow::decide(&server, &browser, &query, (&page, "approve")).await;
    assert!(answer.location().unwrap().starts_with(REDIRECT_URI));
    assert_eq!(answer.parameters()["error"], "access_denied");
}

/// The error that a request is sent back with.
async fn error_of(server: &TestServer, browser: &reqwest::Client, query: &Query) -> String {
    let answer = flow::request(server, browser, query).await;
    let location = answer
        .location()
        .unwrap_or_else(|| panic!("{}: {}", answer.status, answer.body));
    assert!(
        location.starts_with("https://app.example/cb?error="),
        "{location}"
    );
    let parameters = answer.parameters();
    assert_eq!(parameters["iss"], server.base);
    assert!(!parameters["error_description"].is_empty());
    parameters["error"].clone()
}
