//! RFC 7662, introspection: the statements that no other file is about.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rfc6749::post_as;
use crate::token::{Party, error, text};

/// §2.1: a hint that is wrong or unknown does not keep a token from being found.
#[tokio::test]
async fn whatever_the_hint_says_the_token_is_looked_for_among_all() {
    let party = Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    for member in ["access_token", "refresh_token"] {
        for hint in ["access_token", "refresh_token", "unheard_of"] {
            let form = [("token", text(&tokens, member)), ("token_type_hint", hint)];
            let (status, body) = party.post("/oauth/introspect", &form).await;
            assert_eq!((status, &body["active"]), (200, &json!(true)), "{member} {hint}");
        }
    }
}

/// §2.2, §2.3: whatever the reason, nothing else is said.
#[tokio::test]
async fn of_a_token_that_is_not_active_nothing_else_is_said() {
    let party = Party::with(json!({"access_token_lifetime": 60})).await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let (_, revoked) = party.redeem(&party.code("view-user").await).await;
    let (_, rotated) = party.redeem(&party.code("view-user").await).await;
    party.refresh(text(&rotated, "refresh_token")).await;
    let revoke = [("token", text(&revoked, "refresh_token"))];
    assert_eq!(party.post("/oauth/revoke", &revoke).await.0, 200);
    party.server.clock.advance(Duration::from_secs(61));
    for (what, token) in [
        ("unknown", "nonsense"),
        ("another's form", "glr_nonsense"),
        ("expired", text(&tokens, "access_token")),
        ("revoked", text(&revoked, "access_token")),
        ("revoked", text(&revoked, "refresh_token")),
        ("used", text(&rotated, "refresh_token")),
    ] {
        let (status, body) = party.post("/oauth/introspect", &[("token", token)]).await;
        assert_eq!((status, body), (200, json!({"active": false})), "{what}");
    }
}

/// §2.2: the members of an active token's answer.
#[tokio::test]
async fn an_active_token_is_told_of_as_it_was_issued() {
    let party = Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let (_, body) = party
        .post("/oauth/introspect", &[("token", text(&tokens, "access_token"))])
        .await;
    let claims = crate::tokens::part(text(&tokens, "access_token"), 1);
    for same in ["iss", "sub", "aud", "client_id", "exp", "iat", "jti", "scope"] {
        assert_eq!(body[same], claims[same], "{same}");
    }
    assert_eq!(
        (&body["active"], &body["token_type"]),
        (&json!(true), &json!("Bearer"))
    );
    assert!(body["exp"].is_i64() && body["iat"].is_i64());
}

/// §2.1, §2.3: who may ask.
#[tokio::test]
async fn nobody_asks_about_a_token_without_authentication() {
    let party = Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let token = text(&tokens, "access_token");
    let at = (&party.server, "/oauth/introspect");
    let form = [("token", token)];
    assert_eq!(error(&post_as(at, None, &form).await), (401, "invalid_client"));
    let wrong = Some((party.client_id.as_str(), "wrong"));
    assert_eq!(error(&post_as(at, wrong, &form).await), (401, "invalid_client"));
    assert_eq!(
        error(&party.post("/oauth/introspect", &[]).await),
        (400, "invalid_request")
    );
    // The token itself opens nothing here, and no token comes in an address, where logs would keep it.
    let bearer = party.http.post(party.server.url("/oauth/introspect"));
    let bearer = bearer.bearer_auth(token).form(&form).send().await.unwrap();
    assert_eq!(bearer.status(), 401);
    let address = party.server.url(&format!("/oauth/introspect?token={token}"));
    let get = party
        .http
        .get(&address)
        .basic_auth(&party.client_id, Some(&party.secret));
    assert_eq!(get.send().await.unwrap().status(), 405);
    let post = party
        .http
        .post(&address)
        .basic_auth(&party.client_id, Some(&party.secret));
    let post = post.form(&[("x", "y")]).send().await.unwrap();
    assert_eq!(post.status(), 400);
    assert_eq!(post.json::<Value>().await.unwrap()["error"], "invalid_request");
}
