//! What is in a token, who accepts it, and what the documents say of it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::code::REDIRECT_URI;
use crate::harness::{TestServer, browser};
use crate::rfc6749::post_as;
use crate::token::{Party, text};

pub(crate) fn part(token: &str, number: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(number).unwrap())
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn machine_token(party: &Party) -> String {
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let (status, body) = party.post("/oauth/token", &form).await;
    assert_eq!(status, 200, "{body}");
    text(&body, "access_token").to_owned()
}

async fn get(party: &Party, path: &str) -> Value {
    party
        .http
        .get(party.server.url(path))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap()
}

#[tokio::test]
async fn access_tokens_verify_against_the_published_keys() {
    for algorithm in ["ES256", "RS256"] {
        let party =
            Party::with(json!({"access_token_algorithm": algorithm, "audience": ["api-1", "api-2"]})).await;
        let token = machine_token(&party).await;
        let header = part(&token, 0);
        assert_eq!(
            (text(&header, "typ"), text(&header, "alg")),
            ("at+jwt", algorithm)
        );
        let keys = get(&party, "/oauth/jwks").await;
        let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys).unwrap();
        let key = keys.find(text(&header, "kid")).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
        let mut validation = jsonwebtoken::Validation::new(algorithm.parse().unwrap());
        validation.set_audience(&["api-2"]);
        validation.set_issuer(&[&party.server.base]);
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["sub"], party.client_id.as_str());
        assert_eq!(claims["client_id"], party.client_id.as_str());
        assert_eq!(claims["scope"], "server-operations");
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            3600
        );
        assert_eq!(claims["aud"], json!(["api-1", "api-2"]));
        assert!(!text(&claims, "jti").is_empty());
        let other = part(&machine_token(&party).await, 1);
        assert_ne!(claims["jti"], other["jti"]);
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let party = Party::new().await;
    let token = machine_token(&party).await;
    let (head, rest) = token.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&token, 0);
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        encode(&header)
    };
    let mut longer = part(&token, 1);
    longer["exp"] = json!(4_000_000_000_i64);
    let public_key = get(&party, "/oauth/jwks").await.to_string();
    let confused = jsonwebtoken::encode(
        &serde_json::from_value::<jsonwebtoken::Header>(
            json!({"typ": "at+jwt", "alg": "HS256", "kid": header["kid"]}),
        )
        .unwrap(),
        &part(&token, 1),
        &jsonwebtoken::EncodingKey::from_secret(public_key.as_bytes()),
    );
    let mut forged = vec![
        format!("{}.{claims}.", with("alg", json!("none"))),
        format!("{}.{claims}.{signature}", with("alg", json!("none"))),
        format!("{}.{claims}.{signature}", with("alg", json!("RS256"))),
        format!("{}.{claims}.{signature}", with("typ", json!("JWT"))),
        format!("{}.{claims}.{signature}", with("kid", json!("unknown"))),
        format!("{head}.{}.{signature}", encode(&longer)),
        format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode([0_u8; 64])),
        format!("{head}.{claims}"),
        format!("{token}.{signature}"),
        "x".repeat(20_000),
        ".".repeat(100),
        String::from("null"),
    ];
    forged.extend(confused.ok());
    assert!(party.is_active(&token).await);
    for forged in forged {
        assert!(!party.is_active(&forged).await, "{forged}");
        let (status, body) = party.api("/api/user", &forged).await;
        assert_eq!((status, text(&body, "error")), (401, "token_invalid"), "{forged}");
        let (status, _) = party.post("/oauth/revoke", &[("token", &forged)]).await;
        assert_eq!(status, 200);
    }
    assert!(party.is_active(&token).await);
}

#[tokio::test]
async fn an_expired_token_is_said_to_be_expired_and_is_not_active() {
    let party = Party::with(json!({"access_token_lifetime": 60})).await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let access = text(&tokens, "access_token");
    assert_eq!(party.api("/api/user", access).await.0, 200);
    party.server.clock.advance(std::time::Duration::from_secs(61));
    let (status, body) = party.api("/api/user", access).await;
    assert_eq!((status, text(&body, "error")), (401, "token_expired"));
    assert!(!party.is_active(access).await);
    let response = party
        .http
        .get(party.server.url("/api/user"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        response.headers()["www-authenticate"],
        r#"Bearer realm="grantlog""#
    );
    assert_eq!(text(&response.json().await.unwrap(), "error"), "unauthenticated");
}

#[tokio::test]
async fn a_resource_server_may_ask_about_its_audience_and_a_stranger_about_nothing() {
    let party = Party::with(json!({"audience": ["api-1"]})).await;
    let token = machine_token(&party).await;
    let ask = |id: String, secret: String| {
        let request = party
            .http
            .post(party.server.url("/oauth/introspect"))
            .basic_auth(id, Some(secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"));
        async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    for (introspects, active) in [
        (json!(["api-1"]), true),
        (json!(["api-2"]), false),
        (json!([]), false),
    ] {
        let metadata =
            json!({"client_name": "RS", "grant_types": ["client_credentials"], "introspects": introspects});
        let server = party.server.client(metadata).await;
        let answer = ask(server.client_id, server.client_secret.unwrap()).await;
        assert_eq!(answer["active"], active);
        assert!(active || answer == json!({"active": false}), "{answer}");
    }
    // RFC 7662 §4: nor of its own token for another, which that one could bring back to it.
    let service = json!({"client_name": "RS", "grant_types": ["client_credentials"], "scope": "server-operations",
        "audience": ["api-1"], "introspects": ["api-2"]});
    let service = party.server.client(service).await;
    let basic = (
        service.client_id.as_str(),
        service.client_secret.as_deref().unwrap(),
    );
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let (_, own) = post_as((&party.server, "/oauth/token"), Some(basic), &form).await;
    let form = [("token", text(&own, "access_token"))];
    let answer = post_as((&party.server, "/oauth/introspect"), Some(basic), &form).await;
    assert_eq!(answer, (200, json!({"active": false})));
    let public =
        json!({"client_name": "App", "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none"});
    let public = party.server.client(public).await;
    let response = browser()
        .post(party.server.url("/oauth/introspect"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("client_id={}&token={token}", public.client_id))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn the_password_grant_needs_server_and_client() {
    let form = |password: &'static str| {
        [
            ("grant_type", "password"),
            ("username", "Ada"),
            ("password", password),
        ]
    };
    let good = "correct horse battery";
    let off = Party::with(json!({"grant_types": ["password"], "legacy": true})).await;
    let (status, body) = off.post("/oauth/token", &form(good)).await;
    assert_eq!((status, text(&body, "error")), (400, "unsupported_grant_type"));
    let server = || TestServer::start_with(|settings| settings.allow_password_grant = true);
    let not_allowed = Party::on(server().await, json!({})).await;
    let (status, body) = not_allowed.post("/oauth/token", &form(good)).await;
    assert_eq!((status, text(&body, "error")), (400, "unauthorized_client"));
    let party = Party::on(
        server().await,
        json!({"grant_types": ["password", "refresh_token"], "legacy": true}),
    )
    .await;
    let (status, body) = party.post("/oauth/token", &form("wrong password")).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_grant"));
    let (status, tokens) = party.post("/oauth/token", &form(good)).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(party.api("/api/user", text(&tokens, "access_token")).await.0, 200);
    assert_eq!(party.refresh(text(&tokens, "refresh_token")).await.0, 200);
}

#[tokio::test]
async fn too_many_failures_are_slowed_down_and_others_are_not() {
    let server = TestServer::start_with(|settings| settings.failures_per_minute = 3).await;
    let party = Party::on(server, json!({})).await;
    let other = party.server.client(json!({"client_name": "Other", "redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code"]})).await;
    let post = |id: String, secret: String| {
        let request = party
            .http
            .post(party.server.url("/oauth/token"))
            .basic_auth(id, Some(secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials&scope=server-operations");
        async move { request.send().await.unwrap() }
    };
    for _ in 0..3 {
        assert_eq!(post(party.client_id.clone(), "wrong".into()).await.status(), 401);
    }
    let slowed = post(party.client_id.clone(), party.secret.clone()).await;
    assert_eq!(slowed.status(), 429);
    let wait: u32 = slowed.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    // Another client at the same address goes on: unauthorized for this grant type, but not slowed.
    assert_eq!(
        post(other.client_id, other.client_secret.unwrap()).await.status(),
        400
    );
    party.server.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(
        post(party.client_id.clone(), party.secret.clone()).await.status(),
        200
    );
}

#[tokio::test]
async fn an_approval_that_is_withdrawn_is_seen_at_once_on_tokens_issued_before() {
    use grantlog::domain::client::{Approval, ClientCommand};
    let party = Party::new().await;
    let approve = |step: Approval| ClientCommand::Approval {
        scope: "detail-user".into(),
        step,
        reason: "test".into(),
    };
    let context = TestServer::context();
    let operations = &party.server.app.operations;
    operations
        .command_client(&context, party.key, &approve(Approval::Approved))
        .await
        .unwrap();
    let (_, tokens) = party.redeem(&party.code("view-user detail-user").await).await;
    let access = text(&tokens, "access_token");
    let (status, body) = party.api("/api/user/details", access).await;
    assert_eq!((status, text(&body, "email")), (200, "ada@example.com"));
    operations
        .command_client(&context, party.key, &approve(Approval::Withdrawn))
        .await
        .unwrap();
    let (status, body) = party.api("/api/user/details", access).await;
    assert_eq!((status, text(&body, "error")), (403, "unapproved_scope"));
    let (_, refreshed) = party.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!(refreshed["scope"], "view-user");
    // Asked for by name it is refused, not left out unsaid; and the token is not used up by that.
    let token = text(&refreshed, "refresh_token");
    let named = |scope| {
        [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("scope", scope),
        ]
    };
    for scope in ["detail-user", "view-user detail-user"] {
        let (status, refused) = party.post("/oauth/token", &named(scope)).await;
        assert_eq!(
            (status, text(&refused, "error")),
            (400, "invalid_scope"),
            "{scope}"
        );
    }
    let (_, refreshed) = party.post("/oauth/token", &named("view-user")).await;
    assert_eq!(refreshed["scope"], "view-user");
}

#[tokio::test]
async fn rotated_keys_overlap_until_the_old_one_is_retired() {
    let party = Party::new().await;
    let before = machine_token(&party).await;
    let context = TestServer::context();
    let operations = &party.server.app.operations;
    let algorithm = grantlog::domain::client::TokenAlgorithm::ES256;
    let new = operations.rotate_signing_key(&context, algorithm).await.unwrap();
    party.server.app.keys.reload().await.unwrap();
    // Published before it signs: by then every copy of the JWK set, and every node, has it.
    let published = reqwest::get(party.server.url("/oauth/jwks")).await.unwrap();
    assert_eq!(published.headers()["cache-control"], "public, max-age=60");
    assert!(published.text().await.unwrap().contains(&new));
    party.server.clock.advance(std::time::Duration::from_secs(64));
    party.server.app.keys.reload().await.unwrap();
    assert_eq!(
        part(&machine_token(&party).await, 0)["kid"],
        part(&before, 0)["kid"]
    );
    party.server.clock.advance(std::time::Duration::from_secs(7));
    let after = machine_token(&party).await;
    assert_eq!(part(&after, 0)["kid"], new.as_str());
    assert_ne!(part(&before, 0)["kid"], part(&after, 0)["kid"]);
    assert!(party.is_active(&before).await && party.is_active(&after).await);
    let old = part(&before, 0)["kid"].as_str().unwrap().to_owned();
    let id = party
        .server
        .app
        .keys
        .accepted()
        .iter()
        .find(|key| key.kid == old)
        .unwrap()
        .id;
    operations.retire_signing_key(&context, id).await.unwrap();
    // At once: this node has not even read its keys again.
    assert!(!party.is_active(&before).await && party.is_active(&after).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_key_signs_nothing_on_a_node_that_has_not_read_its_keys_again() {
    let party = Party::new().await;
    let node = crate::races::Node::beside(&party.server).await;
    let token = async || {
        let request = party
            .http
            .post(format!("{}/oauth/token", node.base))
            .basic_auth(&party.client_id, Some(&party.secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials&scope=server-operations");
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        text(&body, "access_token").to_owned()
    };
    let context = TestServer::context();
    let operations = &party.server.app.operations;
    let algorithm = grantlog::domain::client::TokenAlgorithm::ES256;
    for _ in 0..3 {
        // The node knows its keys, and signs with the newest of them.
        let kid = part(&token().await, 0)["kid"].as_str().unwrap().to_owned();
        operations.rotate_signing_key(&context, algorithm).await.unwrap();
        party.server.app.keys.reload().await.unwrap();
        let keys = party.server.app.keys.accepted();
        let old = keys.iter().find(|key| key.kid == kid).unwrap().id;
        operations.retire_signing_key(&context, old).await.unwrap();
        let after = token().await;
        assert_ne!(part(&after, 0)["kid"], kid);
        assert!(party.is_active(&after).await);
    }
}

#[tokio::test]
async fn a_new_key_signs_at_once_where_the_old_one_is_retired() {
    let party = Party::new().await;
    let context = TestServer::context();
    let (operations, keys) = (&party.server.app.operations, &party.server.app.keys);
    let algorithm = grantlog::domain::client::TokenAlgorithm::ES256;
    let old = part(&machine_token(&party).await, 0)["kid"].clone();
    let new = operations.rotate_signing_key(&context, algorithm).await.unwrap();
    keys.reload().await.unwrap();
    let leaked = keys
        .accepted()
        .into_iter()
        .find(|key| old == key.kid.as_str())
        .unwrap();
    operations.retire_signing_key(&context, leaked.id).await.unwrap();
    keys.reload().await.unwrap();
    assert_eq!(part(&machine_token(&party).await, 0)["kid"], new.as_str());
}

#[tokio::test]
async fn rotated_client_secrets_overlap() {
    let mut party = Party::new().await;
    let context = TestServer::context();
    let new = party
        .server
        .app
        .operations
        .rotate_client_secret(&context, party.key, 60)
        .await
        .unwrap();
    machine_token(&party).await;
    let old = std::mem::replace(&mut party.secret, new);
    machine_token(&party).await;
    party.server.clock.advance(std::time::Duration::from_secs(61));
    machine_token(&party).await;
    party.secret = old;
    let (status, _) = party
        .post("/oauth/token", &[("grant_type", "client_credentials")])
        .await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn a_client_may_bring_its_own_id_and_secret() {
    let server = TestServer::start().await;
    let (id, secret) = ("my client:1/é".replace('é', "e"), "p%40ss+word & more: \"x\"");
    let metadata = json!({
        "client_name": "Mover", "client_id": id, "client_secret": secret, "scope": "server-operations",
        "grant_types": ["client_credentials"], "token_endpoint_auth_method": "any", "legacy": true,
    });
    let created = server.client(metadata).await;
    assert_eq!(
        (created.client_id.as_str(), created.client_secret),
        (id.as_str(), None)
    );
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let form = "grant_type=client_credentials&scope=server-operations";
    let request = || {
        browser()
            .post(server.url("/oauth/token"))
            .header("content-type", "application/x-www-form-urlencoded")
    };
    // As RFC 6749 says, and in the body.
    let basic = request()
        .basic_auth(encode(&id), Some(encode(secret)))
        .body(form)
        .send()
        .await
        .unwrap();
    assert_eq!(basic.status(), 200);
    let body = format!(
        "{form}&client_id={}&client_secret={}",
        encode(&id),
        encode(secret)
    );
    assert_eq!(request().body(body).send().await.unwrap().status(), 200);
    let taken: grantlog::operations::client::ClientRegistration = serde_json::from_value(
        json!({"client_name": "Other", "client_id": id, "grant_types": ["client_credentials"]}),
    )
    .unwrap();
    assert!(
        server
            .app
            .operations
            .create_client(&TestServer::context(), taken)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_flood_of_refusals_is_counted_and_not_recorded_one_by_one() {
    let server = TestServer::start_with(|settings| settings.refusals_per_minute = 3).await;
    let party = Party::on(server, json!({})).await;
    for _ in 0..8 {
        let (status, _) = party.refresh("glr_nonsense").await;
        assert_eq!(status, 400);
    }
    let count = |event: &'static str| {
        let pool = party.server.app.ledger.pool();
        async move {
            let query = "SELECT count(*), max((payload->>'count')::bigint) FROM grantlog.ledger_refusal WHERE event_type = $1";
            sqlx::query_as::<_, (i64, Option<i64>)>(query)
                .bind(event)
                .fetch_one(pool)
                .await
                .unwrap()
        }
    };
    assert_eq!(count("RequestRefused").await.0, 3);
    // What anybody can make up in a client's name does not hide guesses at its secret.
    let form = [("grant_type", "client_credentials")];
    let guess = party.http.post(party.server.url("/oauth/token")).form(&form);
    let guess = guess.basic_auth(&party.client_id, Some("wrong"));
    assert_eq!(guess.send().await.unwrap().status(), 401);
    assert_eq!(count("RequestRefused").await.0, 4);
    party.server.clock.advance(std::time::Duration::from_secs(61));
    party
        .server
        .app
        .ledger
        .record_suppressed(&TestServer::context(), false)
        .await;
    assert_eq!(count("RefusalsSuppressed").await, (1, Some(5)));
    // Whose they were.
    let (suppressed, network): (String, String) = sqlx::query_as(
        "SELECT (SELECT payload::text FROM grantlog.ledger_refusal WHERE event_type = 'RefusalsSuppressed'), \
                (SELECT max(metadata->>'network') FROM grantlog.ledger_refusal WHERE event_type = 'RequestRefused')",
    )
    .fetch_one(party.server.app.ledger.pool())
    .await
    .unwrap();
    let suppressed: Value = serde_json::from_str(&suppressed).unwrap();
    assert_eq!(suppressed["client"], party.key.to_string());
    assert_eq!(suppressed["network"], network);
    assert_eq!(suppressed["class"], "other");
    // The window is over: the next one is recorded again.
    party.refresh("glr_nonsense").await;
    assert_eq!(count("RequestRefused").await.0, 5);
}
