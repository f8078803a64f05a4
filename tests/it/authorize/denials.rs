//! `access_denied`: who and what denies access, and that the client hears of it with its `state` and our `iss` where
//! its redirect URI is registered, and nobody where it is not.

use grantlog::domain::client::ClientCommand;
use serde_json::json;

use super::{event_types, refusals};
use crate::flow::{self, Answer, PASSWORD, Query, REDIRECT_URI, USERNAME, with};
use crate::harness::{TestServer, browser};

/// The answer is an error for the client, whole.
fn assert_denied(server: &TestServer, answer: &Answer) {
    let location = answer.location().unwrap_or_else(|| panic!("{}", answer.body));
    assert!(location.starts_with(&format!("{REDIRECT_URI}?")), "{location}");
    let parameters = answer.parameters();
    assert_eq!(parameters["error"], "access_denied");
    assert_eq!(
        (parameters["state"].as_str(), &parameters["iss"]),
        ("s t&ä", &server.base)
    );
    assert!(!parameters.contains_key("code"));
}

/// The last refusal that was recorded.
async fn reason(server: &TestServer) -> String {
    let recorded = refusals(&server.database.owner().await).await;
    recorded.last().unwrap().1.clone()
}

/// A user at the consent page.
async fn asked(server: &TestServer, browser: &reqwest::Client, query: &Query) -> Answer {
    flow::log_in(server, browser, query, (USERNAME, PASSWORD)).await;
    let page = flow::request(server, browser, query).await;
    assert!(page.is_consent_page(), "{}", page.body);
    page
}

async fn disable(server: &TestServer, username: &str) {
    let operations = &server.app.operations;
    let subject = operations.find_user(username).await.unwrap().unwrap();
    operations
        .disable_user(
            &TestServer::context(),
            subject,
            "logins from two countries at once",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_user_disabled_before_the_answer_denies_access() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let page = asked(&server, &browser, &query).await;
    disable(&server, USERNAME).await;
    let answer = flow::decide(&server, &browser, &query, (&page, "approve")).await;
    assert_denied(&server, &answer);
    assert_eq!(reason(&server).await, "user_disabled");
    let types = event_types(&server.database.owner().await).await;
    assert!(!types.contains(&"CodeIssued".to_owned()));
}

#[tokio::test]
async fn a_disabled_user_who_knows_the_password_denies_access() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = with(&flow::query(&client), &[("prompt", "login")]);
    disable(&server, USERNAME).await;
    let answer = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    assert_denied(&server, &answer);
    assert!(!answer.headers.contains_key("set-cookie"), "nobody is logged in");
    assert_eq!(reason(&server).await, "user_disabled");
    // Who does not know it learns nothing.
    let answer = flow::log_in(&server, &browser, &query, (USERNAME, "another password")).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (403, None));
}

#[tokio::test]
async fn an_ended_session_denies_access_when_the_form_is_sent_and_asks_for_a_login_before() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let page = asked(&server, &browser, &query).await;
    server.clock.advance(std::time::Duration::from_hours(13));
    assert!(flow::request(&server, &browser, &query).await.is_login_page());
    for decision in ["approve", "deny"] {
        let answer = flow::decide(&server, &browser, &query, (&page, decision)).await;
        assert_denied(&server, &answer);
        assert_eq!(reason(&server).await, "session_expired");
    }
}

#[tokio::test]
async fn a_blocked_client_denies_access_at_every_step() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let login = flow::request(&server, &browser, &query).await;
    let page = asked(&server, &browser, &query).await;
    let suspend = ClientCommand::Suspend {
        reason: "phishing".into(),
    };
    let operations = &server.app.operations;
    operations
        .command_client(&TestServer::context(), client.key, &suspend)
        .await
        .unwrap();
    for prompt in ["", "none", "login", "consent"] {
        let query = with(&query, &[("prompt", prompt)]);
        assert_denied(&server, &flow::request(&server, &browser, &query).await);
    }
    let token = login.hidden("form_token");
    let fields = [
        ("step", "login"),
        ("form_token", token.as_str()),
        ("username", USERNAME),
        ("password", PASSWORD),
    ];
    assert_denied(&server, &flow::post(&server, &browser, &query, &fields).await);
    let answer = flow::decide(&server, &browser, &query, (&page, "approve")).await;
    assert_denied(&server, &answer);
    assert_eq!(reason(&server).await, "client_suspended");
}

#[tokio::test]
async fn a_denial_is_sent_nowhere_but_to_a_registered_address() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let page = asked(&server, &browser, &query).await;
    let evil = with(&query, &[("redirect_uri", "https://evil.example/cb")]);
    for decision in ["deny", "approve"] {
        let answer = flow::decide(&server, &browser, &evil, (&page, decision)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.location()),
            (400, None),
            "{decision}"
        );
    }
    disable(&server, USERNAME).await;
    let answer = flow::decide(&server, &browser, &evil, (&page, "approve")).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, None));
    assert_eq!(reason(&server).await, "redirect_uri_not_registered");
}

#[tokio::test]
async fn a_denial_without_state_has_none() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = with(&flow::query(&client), &[("state", "")]);
    let page = asked(&server, &browser, &query).await;
    let parameters = flow::decide(&server, &browser, &query, (&page, "deny"))
        .await
        .parameters();
    assert_eq!(parameters["error"], "access_denied");
    assert!(!parameters.contains_key("state") && parameters["iss"] == server.base);
}

#[tokio::test]
async fn the_consent_page_is_shown_again_where_the_client_says_so() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    assert!(
        flow::authorize(&server, &browser, &query)
            .await
            .contains_key("code")
    );
    assert!(
        flow::request(&server, &browser, &query)
            .await
            .parameters()
            .contains_key("code")
    );
    let again = with(&query, &[("prompt", "consent")]);
    let page = flow::request(&server, &browser, &again).await;
    assert!(page.is_consent_page() && page.body.contains("See your name and user name"));
    // What was given before does not answer for the user now.
    let answer = flow::decide(&server, &browser, &again, (&page, "deny")).await;
    assert_denied(&server, &answer);
}

/// A client in development that belongs to [`USERNAME`].
async fn in_development(server: &TestServer) -> grantlog::operations::client::CreatedClient {
    let owner = server.user(USERNAME, PASSWORD).await;
    server.user("bob", "bob's long password").await;
    let mut metadata = flow::confidential();
    metadata["is_live"] = json!(false);
    metadata["grant_types"] = json!([
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "password"
    ]);
    metadata["legacy"] = json!(true);
    metadata["owner"] = json!(owner);
    server.client(metadata).await
}

#[tokio::test]
async fn a_client_in_development_works_for_its_owner_only() {
    let server = TestServer::start().await;
    let client = in_development(&server).await;
    let query = flow::query(&client);
    let (alice, bob) = (browser(), browser());
    let page = asked(&server, &alice, &query).await;
    assert!(
        page.body.contains("This application is in development."),
        "{}",
        page.body
    );
    let answer = flow::decide(&server, &alice, &query, (&page, "approve")).await;
    assert!(answer.parameters().contains_key("code"));
    let after = flow::log_in(&server, &bob, &query, ("bob", "bob's long password")).await;
    let answer = flow::follow(&server, &bob, &after).await;
    assert_denied(&server, &answer);
    assert!(answer.parameters()["error_description"].contains("in development"));
    assert_eq!(reason(&server).await, "client_not_live");
    let none = with(&query, &[("prompt", "none")]);
    assert_denied(&server, &flow::request(&server, &bob, &none).await);
    let forged = [("step", "consent"), ("decision", "approve")];
    assert_denied(&server, &flow::post(&server, &bob, &query, &forged).await);
}

#[tokio::test]
async fn a_client_that_goes_back_into_development_gets_no_code_from_others() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let page = asked(&server, &browser, &query).await;
    set_live(&server, client.key, false).await;
    let answer = flow::decide(&server, &browser, &query, (&page, "approve")).await;
    assert_denied(&server, &answer);
    assert_eq!(reason(&server).await, "client_not_live", "nobody owns it");
}

async fn set_live(server: &TestServer, client: grantlog::ids::ClientKey, is_live: bool) {
    use grantlog::domain::client::Client;
    let operations = &server.app.operations;
    let loaded = operations.load::<Client>(client.0).await.unwrap();
    let mut metadata = loaded.registration.as_ref().unwrap().metadata.clone();
    metadata.is_live = is_live;
    operations
        .update_client(&TestServer::context(), client, metadata)
        .await
        .unwrap();
}

#[tokio::test]
async fn tokens_of_others_rest_while_their_client_is_in_development() {
    let party = crate::token::Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let (access, refresh) = (
        tokens["access_token"].as_str().unwrap(),
        tokens["refresh_token"].as_str().unwrap(),
    );
    let waiting = party.code("view-user").await;
    set_live(&party.server, party.key, false).await;
    assert!(!party.is_active(access).await && !party.is_active(refresh).await);
    assert_eq!(party.api("/api/user", access).await.0, 401);
    for (status, body) in [party.refresh(refresh).await, party.redeem(&waiting).await] {
        assert_eq!((status, body["error"].as_str()), (400, Some("invalid_grant")));
        assert_eq!(reason(&party.server).await, "client_not_live");
    }
    let machine = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let (status, own) = party.post("/oauth/token", &machine).await;
    assert_eq!(status, 200, "no user is involved: {own}");
    assert!(party.is_active(own["access_token"].as_str().unwrap()).await);
    // Nothing was ended: live again, all of it works again.
    set_live(&party.server, party.key, true).await;
    assert!(party.is_active(access).await);
    assert_eq!(party.refresh(refresh).await.0, 200);
    assert_eq!(party.redeem(&waiting).await.0, 200);
}

#[tokio::test]
async fn the_password_grant_of_a_client_in_development_is_for_its_owner() {
    let server = TestServer::start_with(|settings| settings.allow_password_grant = true).await;
    let client = in_development(&server).await;
    for (username, password, status) in [(USERNAME, PASSWORD, 200), ("bob", "bob's long password", 400)] {
        let form = [
            ("grant_type", "password"),
            ("username", username),
            ("password", password),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = browser()
            .post(server.url("/oauth/token"))
            .basic_auth(&client.client_id, client.client_secret.as_deref())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        assert_eq!(request.send().await.unwrap().status(), status, "{username}");
    }
    assert_eq!(reason(&server).await, "client_not_live");
}

#[tokio::test]
async fn a_client_is_live_unless_it_says_otherwise() {
    use grantlog::domain::client::Client;
    let server = TestServer::start().await;
    for (said, is_live) in [(None, true), (Some(true), true), (Some(false), false)] {
        let mut metadata = flow::confidential();
        if let Some(said) = said {
            metadata["is_live"] = json!(said);
        }
        let client = server.client(metadata).await;
        let loaded = server.app.operations.load::<Client>(client.key.0).await.unwrap();
        assert_eq!(loaded.registration.as_ref().unwrap().metadata.is_live, is_live);
    }
}

#[tokio::test]
async fn an_ended_session_at_the_page_of_a_client_that_nobody_vouches_for_leads_to_a_login() {
    let server = crate::registration::open().await;
    server.user(USERNAME, PASSWORD).await;
    let (_, query) = crate::rfc9700::self_registered(&server).await;
    let browser = browser();
    let page = asked(&server, &browser, &query).await;
    server.clock.advance(std::time::Duration::from_hours(13));
    let answer = flow::decide(&server, &browser, &query, (&page, "approve")).await;
    assert_eq!(reason(&server).await, "session_expired");
    assert!(answer.parameters().is_empty() || !answer.parameters().contains_key("error"));
    let login = flow::follow(&server, &browser, &answer).await;
    assert!(login.is_login_page(), "{}", login.body);
    flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    let page = flow::request(&server, &browser, &query).await;
    let answer = flow::decide(&server, &browser, &query, (&page, "approve")).await;
    assert!(answer.parameters().contains_key("code"), "asked anew");
}
