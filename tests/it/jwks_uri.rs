//! Clients that publish their keys at a `jwks_uri` (RFC 7591 §2).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::operations::client::{ClientRegistration, CreatedClient};
use serde_json::{Value, json};

use crate::flow;
use crate::harness::TestServer;
use crate::private_key_jwt::Keys;

/// What the client's server answers.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) url: String,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Published {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let published = Self {
            url: format!("http://{}/jwks", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new((200, String::new()))),
            asked: Arc::default(),
        };
        let state = published.clone();
        let answer = move || {
            let state = state.clone();
            async move {
                state.asked.fetch_add(1, Ordering::SeqCst);
                // Long enough for others to come meanwhile.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let (status, body) = state.answer.lock().unwrap().clone();
                let headers = [
                    ("content-type", "application/jwk-set+json"),
                    ("cache-control", "max-age=600"),
                ];
                (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
            }
        };
        let router = Router::new().route("/jwks", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        published
    }

    fn set(&self, status: u16, keys: &[(&str, &EcdsaKeyPair)]) {
        let keys: Vec<Value> = keys
            .iter()
            .map(|(kid, key)| {
                let point = key.public_key().as_ref();
                let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
                json!({"kty": "EC", "kid": kid, "crv": "P-256", "x": part(&point[1..33]), "y": part(&point[33..])})
            })
            // What a set may have besides.
            .chain([json!({"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}), json!({"kty": "new"})])
            .collect();
        self.publish(status, &keys);
    }

    pub(crate) fn publish(&self, status: u16, keys: &[Value]) {
        *self.answer.lock().unwrap() = (status, json!({"keys": keys}).to_string());
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

struct Publishing {
    server: TestServer,
    client: CreatedClient,
    published: Published,
}

impl Publishing {
    async fn new(allow: &[&str]) -> Self {
        let published = Published::start().await;
        // http is for hosts that are allowed.
        let url = match allow {
            [] => published.url.replace("http:", "https:"),
            [..] => published.url.clone(),
        };
        let allow = allow.iter().map(|entry| entry.parse().unwrap()).collect();
        let server = TestServer::start_with(|settings| settings.outbound_allow = allow).await;
        let client = server.client(metadata(&url)).await;
        Self {
            server,
            client,
            published,
        }
    }

    async fn token(&self, kid: &str, key: &EcdsaKeyPair) -> u16 {
        let id = &self.client.client_id;
        let now = self.server.clock.now().timestamp();
        let claims = json!({
            "iss": id, "sub": id, "aud": self.server.base, "jti": uuid::Uuid::new_v4(), "iat": now, "exp": now + 60,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "ES256", "kid": kid})), part(&claims));
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        self.authenticate(&format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(signature.as_ref())
        ))
        .await
    }

    async fn authenticate(&self, assertion: &str) -> u16 {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            )
            .append_pair("client_assertion", assertion)
            .finish();
        let request = reqwest::Client::new()
            .post(self.server.url("/oauth/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        request.send().await.unwrap().status().as_u16()
    }
}

fn metadata(url: &str) -> Value {
    let mut metadata = flow::confidential();
    metadata["grant_types"] = json!(["client_credentials"]);
    metadata["token_endpoint_auth_method"] = json!("private_key_jwt");
    metadata["jwks_uri"] = json!(url);
    metadata
}

#[tokio::test(flavor = "multi_thread")]
async fn published_keys_are_fetched_once_for_all_who_wait_and_kept() {
    let client = Publishing::new(&["127.0.0.1"]).await;
    let first = key();
    client.published.set(200, &[("1", &first)]);
    let all = tokio::join!(
        client.token("1", &first),
        client.token("1", &first),
        client.token("1", &first),
        client.token("1", &first)
    );
    assert_eq!(all, (200, 200, 200, 200));
    assert_eq!(client.token("1", &first).await, 200);
    assert_eq!(client.published.asked(), 1);
    // Past what Cache-Control had said.
    client.server.clock.advance(Duration::from_secs(601));
    assert_eq!(client.token("1", &first).await, 200);
    assert_eq!(client.published.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kid_is_asked_for_at_most_twice_a_minute() {
    let client = Publishing::new(&["127.0.0.1"]).await;
    let (first, second) = (key(), key());
    client.published.set(200, &[("1", &first)]);
    assert_eq!(client.token("1", &first).await, 200);
    client.published.set(200, &[("1", &first), ("2", &second)]);
    for _ in 0..3 {
        assert_eq!(client.token("2", &second).await, 401);
    }
    assert_eq!(client.published.asked(), 1);
    client.server.clock.advance(Duration::from_secs(31));
    assert_eq!(client.token("2", &second).await, 200);
    assert_eq!(client.published.asked(), 2);
    // A key that the client has taken back is none as soon as the set is read again.
    client.published.set(200, &[("2", &second)]);
    client.server.clock.advance(Duration::from_secs(601));
    assert_eq!(client.token("1", &first).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_replaces_another_under_its_name_is_found_within_half_a_minute() {
    let client = Publishing::new(&["127.0.0.1"]).await;
    let (first, second) = (key(), key());
    client.published.set(200, &[("1", &first)]);
    assert_eq!(client.token("1", &first).await, 200);
    client.published.set(200, &[("1", &second)]);
    // Whatever comes, it is asked for at most twice a minute.
    for _ in 0..3 {
        assert_eq!(client.token("1", &second).await, 401);
    }
    assert_eq!(client.published.asked(), 1);
    client.server.clock.advance(Duration::from_secs(31));
    let both = tokio::join!(client.token("1", &second), client.token("1", &second));
    assert_eq!(both, (200, 200));
    assert_eq!(client.published.asked(), 2);
    assert_eq!(client.token("1", &first).await, 401, "it was taken back");
    // A forgery costs a request, and changes nothing.
    client.server.clock.advance(Duration::from_secs(31));
    for _ in 0..3 {
        assert_eq!(client.token("1", &key()).await, 401);
    }
    assert_eq!(client.published.asked(), 3);
    assert_eq!(client.token("1", &second).await, 200);
}

/// FAPI 2.0 Security Profile §5.4.3: of several keys of one name, the other members tell which it is.
#[tokio::test]
async fn of_published_keys_with_one_kid_the_one_that_fits_the_signature_counts() {
    let client = Publishing::new(&["127.0.0.1"]).await;
    let (keys, strangers) = (Keys::generate(), Keys::generate());
    let mut published = keys.jwks()["keys"].as_array().unwrap().clone();
    for key in &mut published {
        key["kid"] = json!("1");
    }
    client.published.publish(200, &published);
    let (id, now) = (&client.client.client_id, client.server.clock.now().timestamp());
    for alg in ["ES256", "EdDSA", "PS256", "RS256"] {
        for (signer, status) in [(&keys, 200), (&strangers, 401)] {
            let claims = json!({
                "iss": id, "sub": id, "aud": client.server.base, "jti": uuid::Uuid::new_v4(), "exp": now + 60,
            });
            let assertion = signer.sign(&json!({"alg": alg, "kid": "1"}), &claims);
            assert_eq!(client.authenticate(&assertion).await, status, "{alg}");
        }
    }
    assert_eq!(client.published.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_outlive_an_outage_of_the_clients_server_for_some_hours() {
    let client = Publishing::new(&["127.0.0.1"]).await;
    let first = key();
    client.published.set(200, &[("1", &first)]);
    assert_eq!(client.token("1", &first).await, 200);
    client.published.set(503, &[]);
    for hours in [1, 5] {
        client
            .server
            .clock
            .advance(Duration::from_secs(3600 * hours - 1800));
        assert_eq!(client.token("1", &first).await, 200, "{hours}");
    }
    client.server.clock.advance(Duration::from_hours(3));
    assert_eq!(client.token("1", &first).await, 401);
    // Neither a redirect nor a page is a set of keys.
    client.published.set(200, &[("1", &first)]);
    client.server.clock.advance(Duration::from_secs(31));
    assert_eq!(client.token("1", &first).await, 200);
}

#[tokio::test]
async fn a_jwks_uri_inside_is_not_fetched_unless_the_operator_allows_it() {
    let client = Publishing::new(&[]).await;
    let first = key();
    client.published.set(200, &[("1", &first)]);
    assert_eq!(client.token("1", &first).await, 401);
    assert_eq!(client.published.asked(), 0);
    for member in ["jwks_uri", "backchannel_logout_uri"] {
        let patch = json!({member: client.published.url});
        let refused = client
            .server
            .update_client(client.client.key, patch)
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("outbound_allow"),
            "{member}: {refused}"
        );
    }
}

#[tokio::test]
async fn a_client_has_its_keys_here_or_elsewhere_and_not_both() {
    let server = TestServer::start().await;
    let register = async |metadata: Value| {
        let registration: ClientRegistration = serde_json::from_value(metadata).unwrap();
        let context = TestServer::context();
        server
            .app
            .operations
            .create_client(&context, registration)
            .await
            .map(|_| ())
    };
    let mut both = metadata("https://rp.example/jwks");
    register(both.clone()).await.unwrap();
    both["jwks"] = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([7; 32])}]});
    let error = register(both).await.unwrap_err().to_string();
    assert!(error.contains("exclude each other"), "{error}");
    for bad in [
        "not a url",
        "ftp://rp.example/jwks",
        "https://u:p@rp.example/",
        "https://rp.example/#x",
    ] {
        register(metadata(bad)).await.unwrap_err();
    }
}
