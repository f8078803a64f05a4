//! Clients that authenticate with assertions under their secret (OpenID Connect Core §9, RFC 7523).

use aws_lc_rs::hmac;
use grantlog::crypto::client_secret;
use grantlog::domain::client::ClientCommand;
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::private_key_jwt::{Keys, TYPE, base64};
use crate::token::Party;

async fn party(allowed: bool, extra: Value) -> Party {
    let server = TestServer::start_with(|settings| settings.allow_client_secret_jwt = allowed).await;
    Party::on(server, extra).await
}

fn secret_jwt() -> Value {
    json!({"token_endpoint_auth_method": "client_secret_jwt"})
}

fn claims(party: &Party) -> Value {
    let now = party.server.clock.now().timestamp();
    json!({
        "iss": party.client_id, "sub": party.client_id, "aud": party.server.base,
        "jti": uuid::Uuid::new_v4(), "exp": now + 60,
    })
}

fn sign(key: &[u8], header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    format!("{signed}.{}", base64(hmac::sign(&key, signed.as_bytes())))
}

fn assertion(party: &Party, secret: &str) -> String {
    sign(secret.as_bytes(), &json!({"alg": "HS256"}), &claims(party))
}

async fn post(party: &Party, path: &str, form: &[(&str, &str)], assertion: &str) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .append_pair("client_assertion_type", TYPE)
        .append_pair("client_assertion", assertion)
        .finish();
    let request = party
        .http
        .post(party.server.url(path))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn token(party: &Party, assertion: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    post(party, "/oauth/token", &form, assertion).await
}

async fn last_reason(party: &Party) -> String {
    sqlx::query_scalar(
        "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' \
         ORDER BY position DESC LIMIT 1",
    )
    .fetch_one(&party.server.database.owner().await)
    .await
    .unwrap()
}

async fn is_refused(party: &Party, assertion: &str, reason: &str) {
    let (status, body) = token(party, assertion).await;
    assert_eq!(
        (status, body["error"].as_str()),
        (401, Some("invalid_client")),
        "{reason}"
    );
    assert_eq!(last_reason(party).await, reason);
}

#[tokio::test]
async fn a_client_authenticates_with_its_secret_as_a_key_and_once_with_each_assertion() {
    let party = party(true, secret_jwt()).await;
    assert!(party.secret.starts_with("gls_"), "it is shown once");
    let used = assertion(&party, &party.secret);
    let (status, tokens) = token(&party, &used).await;
    assert_eq!(status, 200, "{tokens}");
    is_refused(&party, &used, "assertion_replayed").await;
    let access = [("token", tokens["access_token"].as_str().unwrap())];
    let (status, body) = post(
        &party,
        "/oauth/introspect",
        &access,
        &assertion(&party, &party.secret),
    )
    .await;
    assert_eq!((status, &body["active"]), (200, &json!(true)));
    // The secret is a key here, and is presented in no other way.
    let (status, _) = party
        .post("/oauth/token", &[("grant_type", "client_credentials")])
        .await;
    assert_eq!(
        (status, last_reason(&party).await.as_str()),
        (401, "other_authentication_method")
    );
}

#[tokio::test]
async fn an_assertion_under_another_secret_or_key_is_refused() {
    let keys = Keys::generate();
    let party = party(
        true,
        json!({"token_endpoint_auth_method": "client_secret_jwt", "jwks": keys.jwks()}),
    )
    .await;
    is_refused(&party, &assertion(&party, "gls_guess"), "assertion_signature").await;
    is_refused(&party, &assertion(&party, ""), "assertion_signature").await;
    // The public keys are no secret.
    let jwks = keys.jwks();
    for member in [
        jwks.to_string(),
        jwks["keys"][0].to_string(),
        jwks["keys"][2]["n"].as_str().unwrap().to_owned(),
    ] {
        is_refused(&party, &assertion(&party, &member), "assertion_signature").await;
    }
    // Nor does the secret stand beside the client's keys: it is registered for one method.
    let signed = keys.sign(&json!({"alg": "RS256"}), &claims(&party));
    is_refused(&party, &signed, "other_authentication_method").await;
    let long = sign(party.secret.as_bytes(), &json!({"alg": "HS512"}), &claims(&party));
    is_refused(&party, &long, "assertion_malformed").await;
    let mut elsewhere = claims(&party);
    elsewhere["aud"] = json!("https://evil.example");
    let elsewhere = sign(party.secret.as_bytes(), &json!({"alg": "HS256"}), &elsewhere);
    is_refused(&party, &elsewhere, "assertion_audience").await;
}

#[tokio::test]
async fn a_client_with_keys_is_not_authenticated_by_an_hmac_with_a_public_key() {
    let keys = Keys::generate();
    let party = party(
        true,
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": keys.jwks()}),
    )
    .await;
    for key in keys.jwks()["keys"].as_array().unwrap() {
        let modulus = key["n"].as_str().or(key["x"].as_str()).unwrap();
        for bytes in [key.to_string(), modulus.to_owned()] {
            let header = json!({"alg": "HS256", "kid": key["kid"]});
            let forged = sign(bytes.as_bytes(), &header, &claims(&party));
            is_refused(&party, &forged, "other_authentication_method").await;
        }
    }
}

#[tokio::test]
async fn where_the_server_does_not_allow_it_nobody_is_registered_for_it_or_authenticates_so() {
    let off = party(false, json!({})).await;
    let changed = off.server.update_client(off.key, secret_jwt()).await;
    let problem = changed.unwrap_err().to_string();
    assert!(problem.contains("allow_client_secret_jwt"), "{problem}");

    let party = party(true, secret_jwt()).await;
    // Another node on the same ledger, without the setting.
    let node = crate::races::Node::beside(&party.server).await;
    let request = party.http.post(format!("{}/oauth/token", node.base)).form(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", TYPE),
        ("client_assertion", &assertion(&party, &party.secret)),
    ]);
    assert_eq!(request.send().await.unwrap().status(), 401);
    assert_eq!(last_reason(&party).await, "client_secret_jwt_not_allowed");
}

#[tokio::test]
async fn a_secret_that_is_a_key_is_made_here_wrapped_and_rotated_with_overlap() {
    let party = party(true, secret_jwt()).await;
    let operations = &party.server.app.operations;
    let context = TestServer::context();
    let newer = operations
        .rotate_client_secret(&context, party.key, 60)
        .await
        .unwrap();
    for (number, secret) in [(1, &party.secret), (2, &newer)] {
        let (status, body) = token(&party, &assertion(&party, secret)).await;
        assert_eq!(status, 200, "{body}");
        let how: Value = sqlx::query_scalar(
            "SELECT metadata->'authentication' FROM grantlog.ledger WHERE event_type = 'TokenIssued' \
             ORDER BY position DESC LIMIT 1",
        )
        .fetch_one(&party.server.database.owner().await)
        .await
        .unwrap();
        assert_eq!(how, json!({"method": "client_secret_jwt", "secret": number}));
    }
    party.server.clock.advance(std::time::Duration::from_secs(61));
    is_refused(&party, &assertion(&party, &party.secret), "assertion_signature").await;
    assert_eq!(token(&party, &assertion(&party, &newer)).await.0, 200);
    // What lies in the database opens with the master key only.
    let stored: Vec<Vec<u8>> = sqlx::query_scalar("SELECT wrapped FROM grantlog.key_material")
        .fetch_all(&party.server.database.owner().await)
        .await
        .unwrap();
    let contains = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(
        stored.iter().all(|bytes| !contains(bytes, b"gls_")),
        "a secret lies there in clear"
    );
    let chosen = json!({
        "client_name": "x", "grant_types": ["client_credentials"], "client_secret": "chosen",
        "token_endpoint_auth_method": "client_secret_jwt",
    });
    let refused = operations
        .create_client(&context, serde_json::from_value(chosen).unwrap())
        .await;
    assert!(refused.unwrap_err().to_string().contains("generated here"));
}

/// How many keys of clients lie in the database.
async fn kept(party: &Party) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM grantlog.key_material WHERE key_id NOT IN ( \
             SELECT aggregate_id FROM grantlog.ledger WHERE event_type = 'KeyGenerated')",
    )
    .fetch_one(&party.server.database.owner().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_secret_that_is_over_is_deleted_and_one_that_is_not_stays() {
    let party = party(true, secret_jwt()).await;
    let (app, context) = (&party.server.app, TestServer::context());
    let second = app
        .operations
        .rotate_client_secret(&context, party.key, 60)
        .await
        .unwrap();
    client_secret::prune(&app.ledger).await.unwrap();
    assert_eq!(kept(&party).await, 2);
    assert_eq!(token(&party, &assertion(&party, &party.secret)).await.0, 200);
    party.server.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(client_secret::prune(&app.ledger).await.unwrap(), 1);
    assert_eq!(kept(&party).await, 1);
    assert_eq!(token(&party, &assertion(&party, &second)).await.0, 200);
    // The one before the last ends at once with the next rotation.
    for _ in 0..2 {
        app.operations
            .rotate_client_secret(&context, party.key, 3600)
            .await
            .unwrap();
    }
    assert_eq!(client_secret::prune(&app.ledger).await.unwrap(), 1);
    assert_eq!(kept(&party).await, 2);
    let revoke = ClientCommand::Revoke {
        reason: "over".to_owned(),
    };
    app.operations
        .command_client(&context, party.key, &revoke)
        .await
        .unwrap();
    assert_eq!(client_secret::prune(&app.ledger).await.unwrap(), 2);
    assert_eq!(
        (
            kept(&party).await,
            client_secret::prune(&app.ledger).await.unwrap()
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn a_secret_that_came_to_no_use_is_not_kept() {
    let party = party(true, secret_jwt()).await;
    let (operations, context) = (&party.server.app.operations, TestServer::context());
    assert_eq!(kept(&party).await, 1);
    let metadata = json!({
        "client_id": party.client_id, "client_name": "again", "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "client_secret_jwt",
    });
    let refused = operations
        .create_client(&context, serde_json::from_value(metadata).unwrap())
        .await;
    assert!(refused.is_err());
    let revoke = ClientCommand::Revoke {
        reason: "over".to_owned(),
    };
    operations
        .command_client(&context, party.key, &revoke)
        .await
        .unwrap();
    let refused = operations.rotate_client_secret(&context, party.key, 60).await;
    assert!(refused.is_err());
    assert_eq!(kept(&party).await, 1);
}
