//! Clients that authenticate with a key of their own, over HTTP (RFC 7523 §3, OpenID Connect Core §9).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::http::one_time::OneTime;
use grantlog::operations::client::{ClientRegistration, CreatedClient};
use serde_json::{Value, json};

use crate::flow;
use crate::harness::{TestServer, browser};
use crate::races::Node;

pub(crate) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A client's private keys, one of each type.
pub(crate) struct Keys {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

impl Keys {
    pub(crate) fn generate() -> Self {
        Self {
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    pub(crate) fn jwks(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        json!({"keys": [
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": base64(self.ed.public_key())},
            {"kty": "RSA", "kid": "rsa", "n": base64(rsa.n), "e": base64(rsa.e), "use": "sig"},
        ]})
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(header, &claims.to_string())
    }

    /// Signs claims as they are spelled.
    pub(crate) fn sign_text(&self, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", base64(header.to_string()), base64(claims));
        let (message, random) = (signed.as_bytes(), SystemRandom::new());
        let mut rsa = vec![0; self.rsa.public_modulus_len()];
        let signature = match header["alg"].as_str().unwrap() {
            "ES256" => self.ec.sign(&random, message).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            "RS256" => {
                self.rsa
                    .sign(&RSA_PKCS1_SHA256, &random, message, &mut rsa)
                    .unwrap();
                rsa
            }
            "PS256" => {
                self.rsa
                    .sign(&RSA_PSS_SHA256, &random, message, &mut rsa)
                    .unwrap();
                rsa
            }
            _ => Vec::new(),
        };
        format!("{signed}.{}", base64(signature))
    }
}

fn metadata(keys: &Keys) -> Value {
    let mut metadata = flow::confidential();
    metadata["grant_types"] = json!(["authorization_code", "refresh_token", "client_credentials"]);
    metadata["token_endpoint_auth_method"] = json!("private_key_jwt");
    metadata["jwks"] = keys.jwks();
    metadata
}

/// A client with keys.
pub(crate) struct Signing {
    pub(crate) server: TestServer,
    pub(crate) client: CreatedClient,
    keys: Keys,
    http: reqwest::Client,
}

impl Signing {
    pub(crate) async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(extra: Value) -> Self {
        Self::on(TestServer::start().await, extra).await
    }

    async fn on(server: TestServer, extra: Value) -> Self {
        let keys = Keys::generate();
        let mut metadata = metadata(&keys);
        metadata
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let client = server.client(metadata).await;
        assert!(client.client_secret.is_none());
        Self {
            server,
            client,
            keys,
            http: browser(),
        }
    }

    fn now(&self) -> i64 {
        self.server.clock.now().timestamp()
    }

    /// Another client with the same keys.
    pub(crate) async fn twin(&self) -> CreatedClient {
        self.server.client(metadata(&self.keys)).await
    }

    fn claims(&self) -> Value {
        self.claims_of(&self.client)
    }

    fn claims_of(&self, client: &CreatedClient) -> Value {
        json!({
            "iss": client.client_id, "sub": client.client_id, "aud": self.server.base,
            "jti": uuid::Uuid::new_v4(), "iat": self.now(), "exp": self.now() + 60,
        })
    }

    fn claims_with(&self, changes: &Value) -> Value {
        let mut claims = self.claims();
        claims
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        claims
    }

    pub(crate) fn assertion(&self) -> String {
        self.assertion_of(&self.client)
    }

    pub(crate) fn assertion_of(&self, client: &CreatedClient) -> String {
        self.keys.sign(&json!({"alg": "ES256"}), &self.claims_of(client))
    }

    async fn post(&self, url: String, form: &[(&str, &str)], assertion: &str) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .append_pair("client_assertion_type", TYPE)
            .append_pair("client_assertion", assertion)
            .finish();
        let request = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Asks for a token of the client's own.
    pub(crate) async fn token(&self, assertion: &str) -> (u16, Value) {
        let form = [("grant_type", "client_credentials")];
        self.post(self.server.url("/oauth/token"), &form, assertion).await
    }

    async fn reasons(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' ORDER BY position",
        )
        .fetch_all(&self.server.database.owner().await)
        .await
        .unwrap()
    }

    async fn is_refused(&self, assertion: &str, reason: &str) {
        let (status, body) = self.token(assertion).await;
        assert_eq!(
            (status, body["error"].as_str()),
            (401, Some("invalid_client")),
            "{reason}"
        );
        assert_eq!(self.reasons().await.last().map(String::as_str), Some(reason));
    }
}

#[tokio::test]
async fn a_client_authenticates_with_each_type_of_key_at_each_endpoint() {
    let client = Signing::new().await;
    for (alg, kid) in [
        ("ES256", "ec"),
        ("EdDSA", "ed"),
        ("RS256", "rsa"),
        ("PS256", "rsa"),
    ] {
        for header in [json!({"alg": alg}), json!({"alg": alg, "kid": kid, "typ": "JWT"})] {
            let assertion = client.keys.sign(&header, &client.claims());
            let (status, body) = client.token(&assertion).await;
            assert_eq!(status, 200, "{header}: {body}");
        }
    }
    let (_, tokens) = client.token(&client.assertion()).await;
    let token = [("token", tokens["access_token"].as_str().unwrap())];
    let introspect = client.server.url("/oauth/introspect");
    let (status, body) = client.post(introspect.clone(), &token, &client.assertion()).await;
    assert_eq!((status, &body["active"]), (200, &json!(true)));
    let revoke = client.server.url("/oauth/revoke");
    assert_eq!(client.post(revoke, &token, &client.assertion()).await.0, 200);
    let (_, body) = client.post(introspect, &token, &client.assertion()).await;
    assert_eq!(body["active"], false);
    let query = flow::query(&client.client);
    let pairs: Vec<_> = query
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let par = client.server.url("/oauth/par");
    let (status, body) = client.post(par, &pairs, &client.assertion()).await;
    assert_eq!(status, 201, "{body}");
}

#[tokio::test]
async fn an_assertion_that_is_not_the_clients_own_is_refused() {
    let client = Signing::new().await;
    let claims = |changes: Value| client.claims_with(&changes);
    let es256 = json!({"alg": "ES256"});
    let stranger = Keys::generate();
    let cases = [
        ("assertion_signature", stranger.sign(&es256, &client.claims())),
        (
            "assertion_signature",
            client
                .keys
                .sign(&json!({"alg": "ES256", "kid": "ed"}), &client.claims()),
        ),
        (
            "assertion_signature",
            client
                .keys
                .sign(&json!({"alg": "ES256", "kid": "gone"}), &client.claims()),
        ),
        (
            "assertion_malformed",
            client.keys.sign(&json!({"alg": "none"}), &client.claims()),
        ),
        (
            "assertion_malformed",
            client.keys.sign(&json!({"alg": "HS512"}), &client.claims()),
        ),
        (
            "assertion_malformed",
            client
                .keys
                .sign(&json!({"alg": "ES256", "crit": null}), &client.claims()),
        ),
        (
            "assertion_subject",
            client.keys.sign(&es256, &claims(json!({"iss": "another"}))),
        ),
        (
            "assertion_audience",
            client
                .keys
                .sign(&es256, &claims(json!({"aud": "https://evil.example"}))),
        ),
        (
            "assertion_audience",
            client.keys.sign(
                &es256,
                &claims(json!({"aud": [client.server.base, "https://evil.example"]})),
            ),
        ),
        (
            "assertion_audience",
            client
                .keys
                .sign(&es256, &claims(json!({"aud": client.server.url("/oauth/par")}))),
        ),
        (
            "assertion_time",
            client
                .keys
                .sign(&es256, &claims(json!({"exp": client.now() - 1}))),
        ),
        (
            "assertion_time",
            client
                .keys
                .sign(&es256, &claims(json!({"exp": client.now() + 3700}))),
        ),
        (
            "assertion_time",
            client
                .keys
                .sign(&es256, &claims(json!({"nbf": client.now() + 120}))),
        ),
        (
            "assertion_malformed",
            client.keys.sign(&es256, &claims(json!({"jti": null}))),
        ),
        ("assertion_malformed", "not.a.jwt".to_owned()),
    ];
    for (reason, assertion) in cases {
        client.is_refused(&assertion, reason).await;
    }
    let tampered = client.assertion();
    let (signed, signature) = tampered.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let other = base64(client.claims().to_string());
    client
        .is_refused(&format!("{header}.{other}.{signature}"), "assertion_signature")
        .await;
    let none = format!("{}.{other}.", base64(r#"{"alg":"none"}"#));
    client.is_refused(&none, "assertion_malformed").await;
    // OpenID Connect Core §9: the subject is the client, and the assertion is of the one type.
    let of_another = client.keys.sign(&es256, &claims(json!({"sub": "another"})));
    client.is_refused(&of_another, "unknown_client").await;
    let form = [
        ("grant_type", "client_credentials"),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        ),
        ("client_assertion", &client.assertion()),
    ];
    let answer = crate::rfc6749::post_as((&client.server, "/oauth/token"), None, &form).await;
    assert_eq!(crate::token::error(&answer), (401, "invalid_client"));
    let (status, _) = client.token(&client.assertion()).await;
    assert_eq!(status, 200, "what strangers try does not block the client's own");
}

#[tokio::test]
async fn what_stock_clients_sign_by_default_is_accepted() {
    let client = Signing::new().await;
    let (issuer, token) = (client.server.base.as_str(), client.server.url("/oauth/token"));
    let hour = client.now() + 3600;
    for aud in [
        json!(token),
        json!([token]),
        json!([issuer, token]),
        json!([issuer]),
    ] {
        let claims = client.claims_with(&json!({"aud": aud, "exp": hour}));
        let assertion = client.keys.sign(&json!({"alg": "RS256"}), &claims);
        let (status, body) = client.token(&assertion).await;
        assert_eq!(status, 200, "{aud}: {body}");
        client.is_refused(&assertion, "assertion_replayed").await;
    }
    // At another endpoint that one's address will do, and the token endpoint's.
    let par = client.server.url("/oauth/par");
    let query = flow::query(&client.client);
    let pairs: Vec<_> = query
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    for aud in [&par, &token] {
        let claims = client.claims_with(&json!({"aud": aud}));
        let assertion = client.keys.sign(&json!({"alg": "EdDSA"}), &claims);
        let (status, body) = client.post(par.clone(), &pairs, &assertion).await;
        assert_eq!(status, 201, "{aud}: {body}");
    }
    // For as long as it could come again, its jti is remembered.
    client.server.clock.advance(std::time::Duration::from_secs(3500));
    OneTime::ClientAssertions.prune(&client.server.app).await.unwrap();
    let owner = client.server.database.owner().await;
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM grantlog.client_assertions")
        .fetch_one(&owner)
        .await
        .unwrap();
    assert_eq!(kept, 4);
}

#[tokio::test]
async fn a_server_that_is_told_so_takes_the_issuer_alone_as_the_audience() {
    for (legacy, expected) in [(false, 401), (true, 200)] {
        let server = TestServer::start_with(|settings| {
            settings.assertion_audience = grantlog::config::AssertionAudience::Issuer;
        });
        let client = Signing::on(server.await, json!({"legacy": legacy})).await;
        for aud in [
            json!(client.server.url("/oauth/token")),
            json!([client.server.base]),
        ] {
            let claims = client.claims_with(&json!({"aud": aud}));
            let (status, _) = client
                .token(&client.keys.sign(&json!({"alg": "EdDSA"}), &claims))
                .await;
            assert_eq!(status, expected, "{aud}");
        }
        assert_eq!(client.token(&client.assertion()).await.0, 200);
    }
}

#[tokio::test]
async fn one_request_authenticates_in_one_way() {
    let client = Signing::new().await;
    let url = client.server.url("/oauth/token");
    let form = [("grant_type", "client_credentials"), ("client_secret", "x")];
    let (status, body) = client.post(url.clone(), &form, &client.assertion()).await;
    assert_eq!((status, body["error"].as_str()), (400, Some("invalid_request")));
    let form = [("grant_type", "client_credentials"), ("client_id", "another")];
    let (status, body) = client.post(url.clone(), &form, &client.assertion()).await;
    assert_eq!((status, body["error"].as_str()), (400, Some("invalid_request")));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &client.client.client_id),
    ];
    assert_eq!(client.post(url.clone(), &form, &client.assertion()).await.0, 200);
    let unsigned = client
        .http
        .post(url)
        .basic_auth(&client.client.client_id, Some("gls_guess"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials");
    assert_eq!(unsigned.send().await.unwrap().status(), 401);
    assert_eq!(
        client.reasons().await,
        [
            "two_authentication_methods",
            "two_client_ids",
            "other_authentication_method"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_uses_of_one_assertion_on_two_nodes_one_succeeds() {
    let client = Signing::new().await;
    let other = Node::beside(&client.server).await;
    let assertion = client.assertion();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_assertion_type", TYPE)
        .append_pair("client_assertion", &assertion)
        .finish();
    let uses: Vec<_> = (0..32)
        .map(|number| {
            let base = [&client.server.base, &other.base][number % 2];
            let request = client
                .http
                .post(format!("{base}/oauth/token"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone());
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        })
        .collect();
    let mut succeeded = 0;
    for status in uses {
        let status = status.await.unwrap();
        assert!(status == 200 || status == 401, "{status}");
        succeeded += u32::from(status == 200);
    }
    assert_eq!(succeeded, 1);
    let reasons = client.reasons().await;
    assert!(
        !reasons.is_empty() && reasons.iter().all(|reason| reason == "assertion_replayed"),
        "{reasons:?}"
    );
    // Kept for as long as it could be repeated, and as a digest only.
    let owner = client.server.database.owner().await;
    let kept = async || {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM grantlog.client_assertions")
            .fetch_one(&owner)
            .await
            .unwrap()
    };
    let prune = || OneTime::ClientAssertions.prune(&client.server.app);
    assert_eq!((prune().await.unwrap(), kept().await), (0, 1));
    client.server.clock.advance(std::time::Duration::from_secs(121));
    assert_eq!((prune().await.unwrap(), kept().await), (1, 0));
    client.is_refused(&assertion, "assertion_time").await;
}

#[tokio::test]
async fn keys_are_registered_public_and_replaced_with_an_update() {
    let client = Signing::new().await;
    let register = async |jwks: Value| {
        let metadata = json!({
            "client_name": "x", "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks,
        });
        let registration: ClientRegistration = serde_json::from_value(metadata).unwrap();
        let operations = &client.server.app.operations;
        operations
            .create_client(&TestServer::context(), registration)
            .await
    };
    let mut private = client.keys.jwks();
    private["keys"][0]["d"] = json!("AQAB");
    let symmetric = json!({"keys": [{"kty": "oct", "k": "AQAB"}]});
    for (jwks, problem) in [
        (private, "private member d"),
        (symmetric, "symmetric"),
        (Value::Null, "needs the client's public keys"),
    ] {
        let error = register(jwks).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
        assert!(!error.contains("AQAB"), "{error}");
    }
    let context = TestServer::context();
    let rotated = client
        .server
        .app
        .operations
        .rotate_client_secret(&context, client.client.key, 0)
        .await;
    assert!(rotated.unwrap_err().to_string().contains("private_key_jwt"));

    let newer = Keys::generate();
    let patch = json!({"jwks": newer.jwks()});
    client
        .server
        .update_client(client.client.key, patch)
        .await
        .unwrap();
    client
        .is_refused(&client.assertion(), "assertion_signature")
        .await;
    let assertion = newer.sign(&json!({"alg": "PS256"}), &client.claims());
    assert_eq!(client.token(&assertion).await.0, 200);
}

#[tokio::test]
async fn an_assertion_may_name_the_alias_of_the_endpoint_for_clients_with_certificates() {
    let server = TestServer::start_with(|settings| {
        settings.mtls_url = Some("https://mtls.id.example".to_owned());
    })
    .await;
    let client = Signing::on(server, json!({})).await;
    let sign = |audience: Value| {
        let claims = client.claims_with(&json!({ "aud": audience }));
        client.keys.sign(&json!({"alg": "ES256"}), &claims)
    };
    for ours in [
        json!("https://mtls.id.example/oauth/token"),
        json!([client.server.base, "https://mtls.id.example/oauth/token"]),
    ] {
        let (status, body) = client.token(&sign(ours)).await;
        assert_eq!(status, 200, "{body}");
    }
    for other in ["https://mtls.id.example", "https://mtls.id.example/oauth/revoke"] {
        client.is_refused(&sign(json!(other)), "assertion_audience").await;
    }
}

/// OpenID Connect Dynamic Client Registration §2.
#[tokio::test]
async fn a_client_that_registered_one_algorithm_authenticates_with_no_other() {
    let signing = Signing::with(json!({"token_endpoint_auth_signing_alg": "PS256"})).await;
    let signed = |alg: &str| signing.keys.sign(&json!({ "alg": alg }), &signing.claims());
    for (alg, status) in [("PS256", 200), ("RS256", 401), ("ES256", 401), ("EdDSA", 401)] {
        assert_eq!(signing.token(&signed(alg)).await.0, status, "{alg}");
    }
    let update = async |alg: Value| {
        let patch = json!({"token_endpoint_auth_signing_alg": alg});
        let updated = signing.server.update_client(signing.client.key, patch).await;
        updated.map_err(|error| error.to_string())
    };
    for (alg, problem) in [
        (json!("HS256"), "no assertion of private_key_jwt"),
        (json!("none"), "RS256, PS256"),
        (json!(["PS256"]), "RS256, PS256"),
    ] {
        let refused = update(alg.clone()).await.unwrap_err();
        let names = refused.contains("token_endpoint_auth_signing_alg") && refused.contains(problem);
        assert!(names, "{alg}: {refused}");
    }
    update(Value::Null).await.unwrap();
    assert_eq!(signing.token(&signed("ES256")).await.0, 200);
}
