//! OpenID Connect RP-Initiated Logout 1.0.

use serde_json::json;

use super::{BACK, Desk, metadata, path, text};
use crate::flow;
use crate::harness::browser;

#[tokio::test]
async fn a_hint_of_the_browsers_login_ends_it_and_goes_back_with_state() {
    let desk = Desk::new().await;
    let tokens = desk.tokens(&desk.client, "openid").await;
    // Expired: it still says which login is meant (§2).
    desk.server.clock.advance(std::time::Duration::from_hours(2));
    let parameters = [
        ("id_token_hint", text(&tokens, "id_token")),
        ("client_id", &desk.client.client_id),
        ("post_logout_redirect_uri", "https://app.example/bye?x=1"),
        ("state", "s t&ä"),
        ("logout_hint", "alice"),
        ("ui_locales", "de"),
    ];
    let answer = desk.ask(&parameters).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(
        answer.location(),
        Some("https://app.example/bye?x=1&state=s+t%26%C3%A4")
    );
    assert!(
        answer.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert!(!desk.is_logged_in().await);
    let ended = desk.events("SessionEnded").await;
    assert_eq!(
        (ended.len(), &ended[0]["reason"], &ended[0]["revokes"]),
        (1, &json!("rp_logout"), &json!("online"))
    );
    // Once more: nobody is logged in, so there is nothing to ask.
    let answer = desk.ask(&parameters[..3]).await;
    assert_eq!(answer.location(), Some("https://app.example/bye?x=1"));
    // Without a place to return to, a page says so.
    let answer = desk.ask(&parameters[..1]).await;
    assert!(
        answer.status == 200 && answer.body.contains("You are logged out"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn without_a_hint_of_this_login_the_user_is_asked_first() {
    let desk = Desk::new().await;
    let tokens = desk.tokens(&desk.client, "openid").await;
    // The same user's login in another browser.
    let other = Desk {
        browser: browser(),
        ..desk
    };
    other.tokens(&other.client, "openid").await;
    let hint = text(&tokens, "id_token");
    let client_id = other.client.client_id.as_str();
    let back = ("post_logout_redirect_uri", BACK);
    for parameters in [
        &[][..],
        &[("client_id", client_id), back, ("state", "x")],
        &[("id_token_hint", hint), back, ("state", "x")],
    ] {
        let asked = other.ask(parameters).await;
        assert!(
            asked.status == 200 && asked.body.contains("Log out?"),
            "{}",
            asked.body
        );
        assert_eq!(asked.body.contains("Example App"), !parameters.is_empty());
        assert!(other.is_logged_in().await, "{parameters:?}");
        // A token of the page for another request, or for the server's own page, is none.
        let own = flow::get(&other.server, &other.browser, "/logout").await;
        if !parameters.is_empty() {
            let (status, _) = other.submit(&path(parameters), &own.hidden("form_token")).await;
            assert_eq!(status, 403);
        }
        assert!(other.is_logged_in().await);
        let to = if parameters.is_empty() {
            "/oauth/logout".to_owned()
        } else {
            path(parameters)
        };
        let (status, location) = other.submit(&to, &asked.hidden("form_token")).await;
        if parameters.is_empty() {
            assert_eq!((status, location), (200, None));
        } else {
            assert_eq!(
                (status, location.as_deref()),
                (303, Some("https://app.example/bye?state=x"))
            );
        }
        assert!(!other.is_logged_in().await);
        other.tokens(&other.client, "openid").await;
    }
}

#[tokio::test]
async fn a_logout_request_that_is_not_good_ends_nothing_and_leads_nowhere() {
    let desk = Desk::new().await;
    let tokens = desk.tokens(&desk.client, "openid").await;
    let stranger = desk
        .server
        .client(metadata(&json!({"client_name": "Stranger"})))
        .await;
    let hint = text(&tokens, "id_token");
    let (client_id, unknown) = (desk.client.client_id.as_str(), uuid::Uuid::new_v4().to_string());
    let forged = format!("{}x", hint.rsplit_once('.').unwrap().0);
    for (parameters, reason) in [
        (
            &[
                ("id_token_hint", hint),
                ("post_logout_redirect_uri", "https://evil.example/"),
            ][..],
            "post_logout_redirect_uri_not_registered",
        ),
        (
            &[
                ("id_token_hint", hint),
                ("post_logout_redirect_uri", "https://app.example/bye/"),
            ],
            "post_logout_redirect_uri_not_registered",
        ),
        (
            &[
                ("id_token_hint", hint),
                ("post_logout_redirect_uri", "https://app.example/bye?x=2"),
            ],
            "post_logout_redirect_uri_not_registered",
        ),
        (
            &[
                ("id_token_hint", hint),
                ("post_logout_redirect_uri", flow::REDIRECT_URI),
            ],
            "post_logout_redirect_uri_not_registered",
        ),
        (
            &[("post_logout_redirect_uri", BACK)],
            "post_logout_redirect_uri_not_registered",
        ),
        (
            &[
                ("id_token_hint", hint),
                ("client_id", stranger.client_id.as_str()),
            ],
            "id_token_hint_invalid",
        ),
        (
            &[
                ("id_token_hint", text(&tokens, "access_token")),
                ("client_id", client_id),
            ],
            "id_token_hint_invalid",
        ),
        (&[("id_token_hint", forged.as_str())], "id_token_hint_invalid"),
        (&[("id_token_hint", "x")], "id_token_hint_invalid"),
        (&[("client_id", unknown.as_str())], "unknown_client"),
        (
            &[("id_token_hint", hint), ("state", "a"), ("state", "b")],
            "malformed_query",
        ),
    ] {
        let answer = desk.ask(parameters).await;
        assert_eq!(
            (answer.status.as_u16(), answer.location()),
            (400, None),
            "{parameters:?}"
        );
        assert!(
            answer.body.contains("This logout link does not work"),
            "{}",
            answer.body
        );
        assert!(desk.is_logged_in().await, "{parameters:?}");
        let refused = desk.events("RequestRefused").await;
        let last = refused.last().unwrap();
        assert_eq!(
            (text(last, "reason"), text(last, "endpoint")),
            (reason, "/oauth/logout"),
            "{parameters:?}"
        );
    }
    assert!(desk.events("SessionEnded").await.is_empty());
}

#[tokio::test]
async fn a_posted_logout_request_is_answered_like_a_link() {
    let desk = Desk::new().await;
    let tokens = desk.tokens(&desk.client, "openid").await;
    let (_, query) = path(&[
        ("id_token_hint", text(&tokens, "id_token")),
        ("post_logout_redirect_uri", BACK),
    ])
    .split_once('?')
    .map(|(path, query)| (path.to_owned(), query.to_owned()))
    .unwrap();
    // As a form on the application's page posts it: from another site, and so without our cookie.
    let posted = browser()
        .post(desk.server.url("/oauth/logout"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", "https://app.example")
        .header("sec-fetch-site", "cross-site")
        .body(query)
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), 303);
    let location = posted.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("logout?"), "{location}");
    let answer = flow::get(&desk.server, &desk.browser, &format!("/oauth/{location}")).await;
    assert_eq!(answer.location(), Some(BACK));
    assert!(!desk.is_logged_in().await);
}

#[tokio::test]
async fn discovery_names_the_end_session_endpoint_and_back_channel_logout() {
    let desk = Desk::new().await;
    let url = desk.server.url("/.well-known/openid-configuration");
    let document: serde_json::Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    assert_eq!(document["end_session_endpoint"], desk.server.url("/oauth/logout"));
    assert_eq!(document["backchannel_logout_supported"], true);
    assert_eq!(document["backchannel_logout_session_supported"], true);
}
