//! Access tokens under HS256: for legacy clients, where the server allows it, under a key that nobody else has.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::crypto::signing;
use grantlog::domain::client::TokenAlgorithm;
use grantlog::operations::OperationError;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::races::Node;
use crate::token::{Party, text};
use crate::tokens::part;

async fn allowing() -> TestServer {
    TestServer::start_with(|settings| settings.allow_hs256_access_tokens = true).await
}

fn hs256() -> Value {
    json!({"legacy": true, "access_token_algorithm": "HS256"})
}

async fn jwks(server: &TestServer) -> Vec<Value> {
    let set: Value = reqwest::get(server.url("/oauth/jwks"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    set["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_hs256_token_works_and_its_key_is_published_nowhere() {
    let party = Party::on(allowing().await, hs256()).await;
    let (status, tokens) = party.redeem(&party.code("view-user").await).await;
    assert_eq!(status, 200, "{tokens}");
    let access = text(&tokens, "access_token");
    let header = part(access, 0);
    assert_eq!((text(&header, "alg"), text(&header, "typ")), ("HS256", "at+jwt"));
    assert!(party.is_active(access).await);
    assert_eq!(party.api("/api/user", access).await.0, 200);

    let published = jwks(&party.server).await;
    assert_eq!(published.len(), TokenAlgorithm::ASYMMETRIC.len());
    assert!(
        published
            .iter()
            .all(|key| key["kty"] != "oct" && key["kid"] != header["kid"] && key.get("k").is_none())
    );
    // The key is wrapped, and in no event; it is not the client's secret either.
    let (id, payload, wrapped): (uuid::Uuid, String, Vec<u8>) = sqlx::query_as(
        "SELECT g.aggregate_id, g.payload::text, m.wrapped FROM grantlog.ledger_signing_key g \
         JOIN grantlog.key_material m ON m.key_id = g.aggregate_id WHERE g.payload->>'kid' = $1",
    )
    .bind(text(&header, "kid"))
    .fetch_one(party.server.app.ledger.pool())
    .await
    .unwrap();
    let label = signing::wrap_label(grantlog::ids::KeyId(id));
    let key = party
        .server
        .app
        .ledger
        .vault()
        .master()
        .unwrap(&label, &wrapped)
        .unwrap();
    assert_eq!(key.len(), 32);
    assert!(!wrapped.windows(32).any(|window| *window == key[..]));
    assert!(!payload.contains("jwk") && !payload.contains(&URL_SAFE_NO_PAD.encode(&key)));
    assert_ne!(&key[..], party.secret.as_bytes());

    let (status, _) = party
        .post("/oauth/revoke", &[("token", text(&tokens, "refresh_token"))])
        .await;
    assert_eq!(status, 200);
    assert!(!party.is_active(access).await);
}

#[tokio::test]
async fn the_key_decides_the_algorithm_whatever_the_header_says() {
    let party = Party::on(allowing().await, hs256()).await;
    let machine = [("grant_type", "client_credentials"), ("scope", "view-user")];
    let token = text(&party.post("/oauth/token", &machine).await.1, "access_token").to_owned();
    assert!(party.is_active(&token).await);
    let symmetric = text(&part(&token, 0), "kid").to_owned();
    let claims = part(&token, 1);
    let header = |alg: &str, kid: &str| -> Header {
        serde_json::from_value(json!({"typ": "at+jwt", "alg": alg, "kid": kid})).unwrap()
    };
    let mut forged = vec![
        // Under the client's own secret, as servers do that have no key of their own.
        jsonwebtoken::encode(
            &header("HS256", &symmetric),
            &claims,
            &EncodingKey::from_secret(party.secret.as_bytes()),
        )
        .unwrap(),
        jsonwebtoken::encode(
            &header("HS256", &symmetric),
            &claims,
            &EncodingKey::from_secret(b""),
        )
        .unwrap(),
    ];
    // A public key taken for a secret one, in each form that somebody may have it in.
    for key in party.server.app.keys.accepted() {
        let Some(jwk) = &key.jwk else { continue };
        let mut spellings = vec![jwk.to_string().into_bytes()];
        for member in ["n", "x", "y"] {
            if let Some(value) = jwk[member].as_str() {
                spellings.push(value.as_bytes().to_vec());
                spellings.push(URL_SAFE_NO_PAD.decode(value).unwrap());
            }
        }
        for secret in spellings {
            let secret = EncodingKey::from_secret(&secret);
            forged.push(jsonwebtoken::encode(&header("HS256", &key.kid), &claims, &secret).unwrap());
            forged.push(jsonwebtoken::encode(&header("HS256", &symmetric), &claims, &secret).unwrap());
        }
        // The right signature of another key, and the right key under another name.
        let (_, rest) = token.split_once('.').unwrap();
        for alg in ["HS256", "RS256", "ES256", "none"] {
            for kid in [key.kid.as_str(), symmetric.as_str()] {
                if (alg, kid) != ("HS256", symmetric.as_str()) {
                    let head = json!({"typ": "at+jwt", "alg": alg, "kid": kid}).to_string();
                    forged.push(format!("{}.{rest}", URL_SAFE_NO_PAD.encode(head)));
                }
            }
        }
    }
    assert!(forged.len() > 20);
    for forged in forged {
        assert!(!party.is_active(&forged).await, "{forged}");
        assert_eq!(party.api("/api/user", &forged).await.0, 401, "{forged}");
    }
}

#[tokio::test]
async fn hs256_is_for_legacy_clients_where_the_server_allows_it() {
    let problem = |error: OperationError| error.to_string();
    let off =
        "access_token_algorithm: HS256 access tokens are off on this server (allow_hs256_access_tokens)";
    let register = async |server: &TestServer, mut metadata: Value| {
        metadata["client_name"] = json!("Mover");
        metadata["grant_types"] = json!(["client_credentials"]);
        let registration = serde_json::from_value(metadata).unwrap();
        let operations = &server.app.operations;
        operations
            .create_client(&TestServer::context(), registration)
            .await
    };
    let server = TestServer::start().await;
    assert_eq!(problem(register(&server, hs256()).await.unwrap_err()), off);
    let created = register(&server, json!({"legacy": true})).await.unwrap();
    assert_eq!(
        problem(server.update_client(created.key, hs256()).await.unwrap_err()),
        off
    );
    let context = TestServer::context();
    let rotated = server
        .app
        .operations
        .rotate_signing_key(&context, TokenAlgorithm::HS256)
        .await;
    assert!(problem(rotated.unwrap_err()).contains("allow_hs256_access_tokens"));
    let keys = server.app.operations.signing_keys().await.unwrap();
    assert!(
        keys.iter().all(|key| key.algorithm != "HS256"),
        "a key was made for nothing"
    );

    let server = allowing().await;
    let modern = register(&server, json!({"access_token_algorithm": "HS256"})).await;
    assert_eq!(
        problem(modern.unwrap_err()),
        "access_token_algorithm: HS256 is for a client with legacy: true only"
    );
    let created = register(&server, json!({"legacy": true})).await.unwrap();
    server.update_client(created.key, hs256()).await.unwrap();
    let unmarked = server.update_client(created.key, json!({"legacy": false})).await;
    assert!(problem(unmarked.unwrap_err()).starts_with("access_token_algorithm: "));
}

#[tokio::test]
async fn where_the_setting_is_off_nothing_is_issued_or_accepted_under_hs256() {
    let party = Party::on(allowing().await, hs256()).await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let access = text(&tokens, "access_token");
    assert!(party.is_active(access).await);
    // Another node on the same ledger, without the setting.
    let node = Node::beside(&party.server).await;
    let post = async |path: &str, form: &[(&str, &str)]| {
        let response = party
            .http
            .post(format!("{}{path}", node.base))
            .basic_auth(&party.client_id, Some(&party.secret))
            .form(form)
            .send()
            .await
            .unwrap();
        (
            response.status().as_u16(),
            response.json::<Value>().await.unwrap(),
        )
    };
    assert_eq!(
        post("/oauth/introspect", &[("token", access)]).await.1,
        json!({"active": false})
    );
    let api = party
        .http
        .get(format!("{}/api/user", node.base))
        .bearer_auth(access);
    assert_eq!(api.send().await.unwrap().status(), 401);
    let code = party.code("view-user").await;
    for form in [
        vec![("grant_type", "client_credentials")],
        vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", text(&tokens, "refresh_token")),
        ],
        vec![("grant_type", "authorization_code"), ("code", &code)],
    ] {
        let (status, body) = post("/oauth/token", &form).await;
        assert_eq!(
            (status, text(&body, "error")),
            (400, "unauthorized_client"),
            "{form:?}"
        );
    }
    // Nothing was used up.
    assert_eq!(party.redeem(&code).await.0, 200);
    assert_eq!(party.refresh(text(&tokens, "refresh_token")).await.0, 200);
}

#[tokio::test]
async fn hs256_keys_are_rotated_and_retired_like_the_others() {
    let party = Party::on(allowing().await, hs256()).await;
    let machine = [("grant_type", "client_credentials")];
    let issue = async || text(&party.post("/oauth/token", &machine).await.1, "access_token").to_owned();
    let before = issue().await;
    let context = TestServer::context();
    let operations = &party.server.app.operations;
    operations
        .rotate_signing_key(&context, TokenAlgorithm::HS256)
        .await
        .unwrap();
    party.server.app.keys.reload().await.unwrap();
    let after = issue().await;
    assert_ne!(part(&before, 0)["kid"], part(&after, 0)["kid"]);
    assert!(party.is_active(&before).await && party.is_active(&after).await);
    let old = part(&before, 0)["kid"].clone();
    let keys = operations.signing_keys().await.unwrap();
    let old = keys.iter().find(|key| old == key.kid.as_str()).unwrap();
    operations.retire_signing_key(&context, old.id).await.unwrap();
    assert!(!party.is_active(&before).await && party.is_active(&after).await);
}
