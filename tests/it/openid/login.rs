//! Parameters that say who has to be logged in, and how recently.

use std::time::Duration;

use super::{Provider, text};
use crate::flow::{self, PASSWORD, USERNAME};
use crate::harness::browser;

#[tokio::test]
async fn max_age_asks_for_the_password_again_once_the_login_is_older() {
    let provider = Provider::start().await;
    let (server, browser) = (&provider.server, browser());
    let query = |changes: &[(&str, &str)]| provider.query(changes);
    flow::authorize(server, &browser, &query(&[])).await;
    // Core §3.1.2.1: 0 is as prompt=login, however recent the login.
    let at_once = flow::request(server, &browser, &query(&[("max_age", "0")])).await;
    assert!(at_once.is_login_page());
    server.clock.advance(Duration::from_secs(100));
    let recent = flow::request(server, &browser, &query(&[("max_age", "1000")])).await;
    assert!(recent.parameters().contains_key("code"));
    let endless = "9".repeat(30);
    let endless = flow::request(server, &browser, &query(&[("max_age", &endless)])).await;
    assert!(endless.parameters().contains_key("code"));
    let silent = query(&[("max_age", "60"), ("prompt", "none")]);
    let silent = flow::request(server, &browser, &silent).await;
    assert_eq!(silent.parameters()["error"], "login_required");
    for max_age in ["60", "0"] {
        let before = server.clock.now().timestamp();
        let old = query(&[("max_age", max_age)]);
        assert!(flow::request(server, &browser, &old).await.is_login_page());
        let returned = flow::authorize(server, &browser, &old).await;
        let tokens = provider.redeem(&returned["code"]).await;
        let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
        assert!(claims["auth_time"].as_i64().unwrap() >= before, "{claims}");
        server.clock.advance(Duration::from_secs(100));
    }
    for malformed in ["-1", "1.5", "soon"] {
        let answer = flow::request(server, &browser, &query(&[("max_age", malformed)])).await;
        assert_eq!(answer.parameters()["error"], "invalid_request", "{malformed}");
    }
}

#[tokio::test]
async fn a_consent_that_is_given_too_late_for_max_age_asks_for_the_password_again() {
    let provider = Provider::start().await;
    let (server, browser) = (&provider.server, browser());
    flow::authorize(server, &browser, &provider.query(&[])).await;
    let query = provider.query(&[("max_age", "60"), ("prompt", "consent")]);
    let page = flow::request(server, &browser, &query).await;
    assert!(page.is_consent_page());
    server.clock.advance(Duration::from_secs(100));
    let late = flow::decide(server, &browser, &query, (&page, "approve")).await;
    assert!(flow::follow(server, &browser, &late).await.is_login_page());
}

#[tokio::test]
async fn an_id_token_hint_is_the_only_user_that_will_do() {
    let provider = Provider::start().await;
    let server = &provider.server;
    server.user("bob", PASSWORD).await;
    let tokens = provider.tokens(&[]).await;
    // An hour later it has expired, and still says who it was.
    server.clock.advance(Duration::from_hours(2));
    let hint = ("id_token_hint", text(&tokens, "id_token"));
    let (alices, bobs) = (browser(), browser());
    flow::authorize(server, &alices, &provider.query(&[])).await;
    let silent = provider.query(&[hint, ("prompt", "none")]);
    assert!(
        flow::request(server, &alices, &silent)
            .await
            .parameters()
            .contains_key("code")
    );
    let login = flow::log_in(server, &bobs, &provider.query(&[]), ("bob", PASSWORD)).await;
    assert_eq!(login.status, 303);
    let refused = flow::request(server, &bobs, &silent).await;
    assert_eq!(refused.parameters()["error"], "login_required");
    let hinted = provider.query(&[hint]);
    assert!(flow::request(server, &bobs, &hinted).await.is_login_page());
    let login = flow::log_in(server, &bobs, &hinted, (USERNAME, PASSWORD)).await;
    let answer = flow::follow(server, &bobs, &login).await;
    assert!(answer.parameters().contains_key("code"));
}

#[tokio::test]
async fn a_hint_that_is_no_id_token_of_the_client_is_refused() {
    let provider = Provider::start().await;
    let server = &provider.server;
    let tokens = provider.tokens(&[]).await;
    let id_token = text(&tokens, "id_token");
    let (signed, signature) = id_token.rsplit_once('.').unwrap();
    let other = server.client(flow::confidential()).await;
    let mut of_another = provider.query(&[("id_token_hint", id_token), ("scope", "view-user")]);
    of_another.retain(|(name, _)| name != "client_id");
    of_another.push(("client_id".to_owned(), other.client_id));
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let hints = [forged.as_str(), text(&tokens, "access_token"), "x", signed];
    let mut queries: Vec<_> = hints
        .iter()
        .map(|hint| provider.query(&[("id_token_hint", hint)]))
        .collect();
    queries.push(of_another);
    for query in queries {
        let answer = flow::request(server, &browser(), &query).await;
        assert_eq!(answer.parameters()["error"], "invalid_request", "{query:?}");
    }
}

#[tokio::test]
async fn a_user_who_logs_in_with_another_account_than_was_asked_for_is_told_so() {
    let provider = Provider::start().await;
    let server = &provider.server;
    server.user("bob", PASSWORD).await;
    let tokens = provider.tokens(&[]).await;
    let alice = format!(r#"{{"id_token":{{"sub":{{"value":"{}"}}}}}}"#, provider.subject);
    for asked in [
        ("id_token_hint", text(&tokens, "id_token")),
        ("claims", alice.as_str()),
    ] {
        let (browser, query) = (browser(), provider.query(&[asked]));
        let page = flow::request(server, &browser, &query).await;
        assert!(page.is_login_page() && !page.body.contains("another of your accounts"));
        let login = flow::log_in(server, &browser, &query, ("bob", PASSWORD)).await;
        let page = flow::follow(server, &browser, &login).await;
        assert!(page.is_login_page() && page.status == 200, "{}", page.status);
        assert!(page.body.contains("another of your accounts"), "{}", page.body);
        let login = flow::log_in(server, &browser, &query, (USERNAME, PASSWORD)).await;
        let answer = flow::follow(server, &browser, &login).await;
        assert!(answer.parameters().contains_key("code"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_of_a_retired_key_is_refused_at_once_on_every_node() {
    let provider = Provider::start().await;
    let server = &provider.server;
    let node = crate::races::Node::beside(server).await;
    let tokens = provider.tokens(&[]).await;
    let id_token = text(&tokens, "id_token");
    let query = provider.query(&[("id_token_hint", id_token), ("prompt", "none")]);
    let ask = async |base: &str| {
        let url = format!("{base}/oauth/authorize?{}", flow::encode(&query));
        let answer = browser().get(url).send().await.unwrap();
        answer.headers()["location"].to_str().unwrap().to_owned()
    };
    for base in [&server.base, &node.base] {
        assert!(ask(base).await.contains("error=login_required"));
    }
    let operations = &server.app.operations;
    let algorithm = grantlog::domain::client::TokenAlgorithm::RS256;
    let kid = jsonwebtoken::decode_header(id_token).unwrap().kid.unwrap();
    let keys = server.app.keys.accepted();
    let old = keys.iter().find(|key| key.kid == kid).unwrap().id;
    let context = crate::harness::TestServer::context();
    operations.rotate_signing_key(&context, algorithm).await.unwrap();
    operations.retire_signing_key(&context, old).await.unwrap();
    for base in [&server.base, &node.base] {
        let location = ask(base).await;
        assert!(location.contains("error=invalid_request"), "{location}");
    }
}

#[tokio::test]
async fn a_login_hint_is_put_into_the_form_and_is_no_more_than_that() {
    let provider = Provider::start().await;
    let hinted = |hint: &str| {
        let query = provider.query(&[("login_hint", hint)]);
        let server = &provider.server;
        async move { flow::request(server, &browser(), &query).await.body }
    };
    assert!(hinted("alice").await.contains("value=\"alice\""));
    let escaped = hinted("\"><script>").await;
    assert!(
        escaped.contains("value=\"&quot;&gt;&lt;script&gt;\""),
        "{escaped}"
    );
    for unfit in ["x".repeat(257), "a\u{202e}b".to_owned()] {
        assert!(
            hinted(&unfit)
                .await
                .contains("name=\"username\" type=\"text\" value=\"\"")
        );
    }
}

#[tokio::test]
async fn prompt_select_account_lets_the_user_take_another_account() {
    let provider = Provider::start().await;
    let (server, browser) = (&provider.server, browser());
    let bob = server.user("bob", PASSWORD).await;
    flow::authorize(server, &browser, &provider.query(&[])).await;
    let query = provider.query(&[("prompt", "select_account")]);
    let page = flow::request(server, &browser, &query).await;
    assert!(page.is_consent_page() && page.body.contains("Use another account"));
    let switched = flow::decide(server, &browser, &query, (&page, "switch")).await;
    assert!(flow::follow(server, &browser, &switched).await.is_login_page());
    let login = flow::log_in(server, &browser, &query, ("bob", PASSWORD)).await;
    let consent = flow::follow(server, &browser, &login).await;
    let plain = provider.query(&[]);
    let returned = flow::decide(server, &browser, &plain, (&consent, "approve")).await;
    let tokens = provider.redeem(&returned.parameters()["code"]).await;
    let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
    assert_eq!(claims["sub"], bob.to_string());
    // The account is chosen: the consent is not asked for once more.
    let again = flow::log_in(
        server,
        &browser,
        &provider.query(&[("prompt", "login select_account")]),
        ("bob", PASSWORD),
    )
    .await;
    let answer = flow::follow(server, &browser, &again).await;
    assert!(answer.parameters().contains_key("code"));
    let silent = provider.query(&[("prompt", "none select_account")]);
    let answer = flow::request(server, &browser, &silent).await;
    assert_eq!(answer.parameters()["error"], "invalid_request");
}

#[tokio::test]
async fn parameters_that_change_nothing_are_accepted() {
    let provider = Provider::start().await;
    let tokens = provider
        .tokens(&[
            // Of these two, no value is an error.
            ("display", "kiosk"),
            ("ui_locales", "tlh x- \u{e9}"),
            ("claims_locales", "fr"),
            ("acr_values", "urn:mace:incommon:iap:silver"),
        ])
        .await;
    let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
    assert_eq!(claims["sub"], provider.subject.to_string());
}

#[tokio::test]
async fn an_authentication_request_may_be_posted_from_any_site() {
    let provider = Provider::start().await;
    let (server, browser) = (&provider.server, browser());
    flow::authorize(server, &browser, &provider.query(&[])).await;
    let post = |body: String| {
        browser
            .post(server.url("/oauth/authorize"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", "https://app.example")
            .header("sec-fetch-site", "cross-site")
            .body(body)
            .send()
    };
    let query = provider.query(&[]);
    let response = post(flow::encode(&query)).await.unwrap();
    assert_eq!(response.status(), 303);
    let location = response.headers()["location"].to_str().unwrap();
    assert_eq!(location, format!("authorize?{}", flow::encode(&query)));
    let answer = flow::get(server, &browser, &format!("/oauth/{location}")).await;
    assert!(answer.parameters().contains_key("code"));
    for malformed in ["client_id=a b", "client_id=\u{e4}", "a=b\r\nset-cookie: x"] {
        let response = post(malformed.to_owned()).await.unwrap();
        assert_eq!(response.status(), 400, "{malformed:?}");
        assert!(!response.headers().contains_key("location"));
    }
}
