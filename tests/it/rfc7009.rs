//! RFC 7009, revocation: the statements that no other file is about.

use serde_json::json;

use crate::code::REDIRECT_URI;
use crate::rfc6749::post_as;
use crate::token::{Party, error, text};

/// §2.1: a hint that is wrong or unknown does not keep a token from being found.
#[tokio::test]
async fn whatever_the_hint_says_the_token_is_revoked() {
    let party = Party::new().await;
    for (member, hint) in [
        ("access_token", "refresh_token"),
        ("refresh_token", "access_token"),
        ("access_token", "unheard_of"),
        ("refresh_token", "unheard_of"),
    ] {
        let (_, tokens) = party.redeem(&party.code("view-user").await).await;
        let token = text(&tokens, member);
        assert!(party.is_active(token).await);
        let form = [("token", token), ("token_type_hint", hint)];
        let (status, body) = party.post("/oauth/revoke", &form).await;
        assert_eq!(status, 200, "{body}");
        assert!(!party.is_active(token).await, "{member} {hint}");
    }
}

/// §2.1: an access token ends alone; a refresh token takes what came of its grant with it.
#[tokio::test]
async fn an_access_token_ends_alone_and_at_once() {
    let party = Party::new().await;
    let (_, first) = party.redeem(&party.code("view-user").await).await;
    let (_, second) = party.refresh(text(&first, "refresh_token")).await;
    let (ended, other) = (text(&first, "access_token"), text(&second, "access_token"));
    assert_eq!(party.post("/oauth/revoke", &[("token", ended)]).await.0, 200);
    assert!(!party.is_active(ended).await && party.api("/api/user", ended).await.0 == 401);
    // §2.2: what is revoked already is no error.
    assert_eq!(party.post("/oauth/revoke", &[("token", ended)]).await.0, 200);
    assert!(party.is_active(other).await);
    assert_eq!(party.refresh(text(&second, "refresh_token")).await.0, 200);
}

/// §2.1, §2.2.1: who may revoke, and how it is said that somebody may not.
#[tokio::test]
async fn a_client_revokes_as_it_authenticates_elsewhere() {
    let party = Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let token = ("token", text(&tokens, "access_token"));
    let at = (&party.server, "/oauth/revoke");
    assert_eq!(error(&post_as(at, None, &[token]).await), (401, "invalid_client"));
    let named = [token, ("client_id", party.client_id.as_str())];
    assert_eq!(error(&post_as(at, None, &named).await), (401, "invalid_client"));
    let wrong = Some((party.client_id.as_str(), "wrong"));
    assert_eq!(
        error(&post_as(at, wrong, &[token]).await),
        (401, "invalid_client")
    );
    assert_eq!(
        error(&party.post("/oauth/revoke", &[]).await),
        (400, "invalid_request")
    );
    assert!(party.is_active(token.1).await);

    let public = json!({
        "client_name": "App", "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none",
        "scope": "view-user",
    });
    let public = party.server.client(public).await;
    let (_, code) = crate::code::issue(&party.server, public.key, party.subject, "view-user").await;
    let id = ("client_id", public.client_id.as_str());
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", crate::code::VERIFIER),
        id,
    ];
    let (status, its) = post_as((&party.server, "/oauth/token"), None, &form).await;
    assert_eq!(status, 200, "{its}");
    let own = ("token", text(&its, "access_token"));
    assert_eq!(
        error(&post_as(at, None, &[token, id]).await).0,
        400,
        "another's token"
    );
    assert!(party.is_active(token.1).await);
    assert_eq!(party.api("/api/user", own.1).await.0, 200);
    assert_eq!(post_as(at, None, &[own, id]).await.0, 200);
    assert_eq!(party.api("/api/user", own.1).await.0, 401);
}

/// §2, §2.2.1: only `POST`; and a server that is out of order says that it may be tried again.
#[tokio::test]
async fn a_revocation_that_could_not_be_done_is_not_said_to_be_done() {
    let party = Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let token = text(&tokens, "access_token");
    let url = party.server.url(&format!("/oauth/revoke?token={token}"));
    let get = party
        .http
        .get(url)
        .basic_auth(&party.client_id, Some(&party.secret));
    assert_eq!(get.send().await.unwrap().status(), 405);
    assert!(party.is_active(token).await);
    // A node that knows nothing yet, and has lost the database.
    let (app, base) = party.server.second_node().await;
    app.ledger.pool().close().await;
    let request = party.http.post(format!("{base}/oauth/revoke"));
    let request = request.basic_auth(&party.client_id, Some(&party.secret));
    let response = request.form(&[("token", token)]).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(party.is_active(token).await);
}
