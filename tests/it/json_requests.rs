//! JSON bodies, from clients that may send them and from all others.

use serde_json::{Value, json};

use crate::code::{REDIRECT_URI, VERIFIER};
use crate::legacy_clients::legacy;
use crate::token::{Party, error, text};

/// Posts a body as it is; without credentials, without an Authorization header.
async fn post_json(
    party: &Party,
    path: &str,
    credentials: Option<(&str, &str)>,
    body: impl Into<String>,
) -> (u16, Value) {
    let mut request = party
        .http
        .post(party.server.url(path))
        .header("content-type", "application/json; charset=utf-8")
        .body(body.into());
    if let Some((id, secret)) = credentials {
        request = request.basic_auth(id, Some(secret));
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_client_that_is_marked_for_it_may_send_json() {
    let party = legacy(json!({"json_requests": true, "token_endpoint_auth_method": "any"})).await;
    let own = Some((party.client_id.as_str(), party.secret.as_str()));
    let token = async |body: Value| post_json(&party, "/oauth/token", own, body.to_string()).await;
    let code = party.code("view-user").await;
    let (status, tokens) = token(json!({
        "grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER,
        "scope": "",
    }))
    .await;
    assert_eq!(status, 200, "{tokens}");
    let (status, tokens) = token(json!({
        "grant_type": "refresh_token", "refresh_token": text(&tokens, "refresh_token"),
    }))
    .await;
    assert_eq!(status, 200, "{tokens}");
    let (status, body) =
        token(json!({"grant_type": "password", "username": "ada", "password": "correct horse battery"}))
            .await;
    assert_eq!(status, 200, "{body}");
    let in_body = json!({
        "grant_type": "client_credentials", "client_id": party.client_id, "client_secret": party.secret,
    });
    let answer = post_json(&party, "/oauth/token", None, in_body.to_string()).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    // A form goes on being one.
    assert_eq!(
        party
            .post("/oauth/token", &[("grant_type", "client_credentials")])
            .await
            .0,
        200
    );

    let access = json!({"token": text(&tokens, "access_token")}).to_string();
    let (_, state) = post_json(&party, "/oauth/introspect", own, access.clone()).await;
    assert_eq!(state["active"], true);
    assert_eq!(
        post_json(&party, "/oauth/revoke", own, access.clone()).await.0,
        200
    );
    let (_, state) = post_json(&party, "/oauth/introspect", own, access).await;
    assert_eq!(state["active"], false);

    let wrong = Some((party.client_id.as_str(), "wrong"));
    let machine = json!({"grant_type": "client_credentials"}).to_string();
    let answer = post_json(&party, "/oauth/token", wrong, machine.clone()).await;
    assert_eq!(error(&answer), (401, "invalid_client"));
    for body in [
        String::new(),
        "grant_type=client_credentials".to_owned(),
        json!(["grant_type", "client_credentials"]).to_string(),
        json!({"grant_type": ""}).to_string(),
        json!({"grant_type": "client_credentials", "scope": ["view-user"]}).to_string(),
        json!({"grant_type": "client_credentials", "scope": null}).to_string(),
        r#"{"grant_type": "client_credentials", "grant_type": "client_credentials"}"#.to_owned(),
        r#"{"grant_type": "client_credentials", "scope": "a\u0000"}"#.to_owned(),
        format!("{machine} "),
    ] {
        let answer = post_json(&party, "/oauth/token", own, body.clone()).await;
        if body.ends_with("} ") {
            assert_eq!(answer.0, 200, "white space around is JSON's own");
        } else {
            assert_eq!(error(&answer), (400, "invalid_request"), "{body}");
        }
    }
    let large = json!({"grant_type": "client_credentials", "padding": "x".repeat(70_000)}).to_string();
    assert_eq!(post_json(&party, "/oauth/token", own, large).await.0, 413);
}

#[tokio::test]
async fn to_any_other_client_json_is_a_wrong_content_type_whatever_it_says() {
    let party = legacy(json!({})).await;
    let own = (party.client_id.as_str(), party.secret.as_str());
    let of_wrong_type = party
        .http
        .post(party.server.url("/oauth/token"))
        .basic_auth(own.0, Some(own.1))
        .header("content-type", "text/plain")
        .body("grant_type=client_credentials")
        .send()
        .await
        .unwrap();
    assert_eq!(of_wrong_type.status(), 400);
    // Which request it was is all that may differ.
    let but_for_its_id = |mut answer: Value| {
        answer.as_object_mut().unwrap().remove("request_id").unwrap();
        answer
    };
    let expected = but_for_its_id(of_wrong_type.json().await.unwrap());
    assert_eq!(text(&expected, "error"), "invalid_request");
    for credentials in [
        own,
        (own.0, "wrong"),
        ("no such client", "x"),
        (&uuid::Uuid::new_v4().to_string(), "x"),
    ] {
        for body in [
            json!({"grant_type": "client_credentials"}),
            json!({"grant_type": "unknown"}),
            json!({"grant_type": "refresh_token", "refresh_token": "glr_x"}),
            json!({"grant_type": "client_credentials", "scope": "unknown"}),
        ] {
            let (status, answer) =
                post_json(&party, "/oauth/token", Some(credentials), body.to_string()).await;
            let answer = (status, but_for_its_id(answer));
            assert_eq!(answer, (400, expected.clone()), "{credentials:?} {body}");
        }
    }
    // It holds at once when it is allowed, and when it is not any more.
    let machine = json!({"grant_type": "client_credentials"}).to_string();
    for (allowed, status) in [(true, 200), (false, 400)] {
        let patch = json!({"json_requests": allowed});
        party.server.update_client(party.key, patch).await.unwrap();
        let answer = post_json(&party, "/oauth/token", Some(own), machine.clone()).await;
        assert_eq!(answer.0, status, "{}", answer.1);
    }
}
