//! Software statements (RFC 7591 §2.3).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::config::RegistrationMode;
use serde_json::{Value, json};

use super::{register, registering, send};
use crate::flow::REDIRECT_URI;
use crate::harness::TestServer;

const PUBLISHER: &str = "https://publisher.example";

/// Somebody who signs statements.
struct Publisher {
    key: EcdsaKeyPair,
    file: tempfile::NamedTempFile,
}

impl Publisher {
    fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = key.public_key().as_ref();
        let coordinate = |from: usize| URL_SAFE_NO_PAD.encode(&point[from..from + 32]);
        let jwk =
            json!({"kty": "EC", "crv": "P-256", "x": coordinate(1), "y": coordinate(33), "alg": "ES256"});
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json!({ "keys": [jwk] }).to_string()).unwrap();
        Self { key, file }
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "ES256"})), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    async fn server(&self, required: bool) -> TestServer {
        let entry = format!("{PUBLISHER}={}", self.file.path().display());
        registering(RegistrationMode::Open, |settings| {
            settings.software_statement_issuers = vec![entry];
            settings.registration_requires_software_statement = required;
        })
        .await
    }
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": PUBLISHER, "software_id": "4NRB1-0XZABZI9E6-5SM3R", "software_version": "7",
        "client_name": "Signed App", "redirect_uris": [REDIRECT_URI],
    });
    let Value::Object(changes) = changes else {
        unreachable!()
    };
    claims.as_object_mut().unwrap().extend(changes);
    claims
}

#[tokio::test]
async fn what_a_software_statement_says_takes_precedence_and_is_recorded() {
    let publisher = Publisher::new();
    let server = publisher.server(false).await;
    let statement = publisher.sign(&claims(json!({"exp": 4_000_000_000_u64, "aud": [server.base]})));
    let metadata = json!({
        "client_name": "Another name", "redirect_uris": ["https://evil.example/cb"], "contacts": ["a@app.example"],
        "software_statement": statement,
    });
    let answer = register(&server, None, &metadata).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["client_name"], "Signed App");
    assert_eq!(answer.body["redirect_uris"], json!([REDIRECT_URI]));
    assert_eq!(answer.body["contacts"], json!(["a@app.example"]));
    assert_eq!(
        answer.body["software_statement"],
        statement.as_str(),
        "as it came"
    );
    let event: String = sqlx::query_scalar(
        "SELECT payload::text FROM grantlog.ledger WHERE event_type = 'SoftwareStatementAccepted'",
    )
    .fetch_one(server.app.ledger.pool())
    .await
    .unwrap();
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(event["issuer"], PUBLISHER);
    assert_eq!(event["software_id"], "4NRB1-0XZABZI9E6-5SM3R");
    assert_eq!(
        event["digest"],
        grantlog::domain::value::Digest::of(statement.as_bytes()).to_string()
    );

    // What it was registered under, it is replaced under.
    let url = answer.body["registration_client_uri"].as_str().unwrap();
    let token = answer.body["registration_access_token"].as_str();
    let mut body = json!({
        "client_id": answer.body["client_id"], "redirect_uris": ["https://evil.example/cb"],
    });
    let without = send(("PUT", url), token, Some(&body)).await;
    assert_eq!(without.body["error"], "unapproved_software_statement");
    body["software_statement"] = json!(statement);
    let with = send(("PUT", url), token, Some(&body)).await;
    assert_eq!(
        (with.status, &with.body["redirect_uris"]),
        (200, &json!([REDIRECT_URI]))
    );
}

#[tokio::test]
async fn a_software_statement_that_is_not_good_is_refused() {
    let (publisher, stranger) = (Publisher::new(), Publisher::new());
    let server = publisher.server(true).await;
    let good = publisher.sign(&claims(json!({})));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none"}).to_string());
    let body = head.split_once('.').unwrap().1;
    for (statement, code) in [
        (stranger.sign(&claims(json!({}))), "invalid_software_statement"),
        (
            publisher.sign(&claims(json!({"exp": 1}))),
            "invalid_software_statement",
        ),
        (
            publisher.sign(&claims(json!({"aud": "https://other.example"}))),
            "invalid_software_statement",
        ),
        (
            publisher.sign(&claims(json!({"iss": null}))),
            "invalid_software_statement",
        ),
        (format!("{none}.{body}."), "invalid_software_statement"),
        (format!("{none}.{body}.{signature}"), "invalid_software_statement"),
        (
            publisher.sign(&claims(json!({"iss": "https://stranger.example"}))),
            "unapproved_software_statement",
        ),
    ] {
        let metadata = json!({ "software_statement": statement });
        let answer = register(&server, None, &metadata).await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (400, &json!(code)),
            "{statement}"
        );
    }
    let missing = register(&server, None, &json!({"redirect_uris": [REDIRECT_URI]})).await;
    assert_eq!(missing.body["error"], "unapproved_software_statement");
    let metadata = json!({ "software_statement": good });
    assert_eq!(register(&server, None, &metadata).await.status, 201);
}
