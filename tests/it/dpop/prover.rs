//! A client that proves to hold keys: key pairs, proofs, and requests with them.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::domain::value::Digest;
use grantlog::operations::client::CreatedClient;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::flow::{self, Query};
use crate::harness::{TestServer, browser};

pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `base` with some members changed.
pub(super) fn merged(base: &Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        unreachable!()
    };
    let mut merged = base.clone();
    merged.as_object_mut().unwrap().extend(changes);
    merged
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// A key pair, for one algorithm.
pub(super) struct Key {
    pair: Pair,
    alg: &'static str,
}

impl Key {
    pub(super) fn new(alg: &'static str) -> Self {
        let pair = match alg {
            "ES256" => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            _ => Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())),
        };
        Self { pair, alg }
    }

    pub(super) fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key())}),
            Pair::Rsa(pair) => {
                let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": base64(rsa.n), "e": base64(rsa.e)})
            }
        }
    }

    /// RFC 7638: members are sorted, and a public key here has no others than the required ones.
    pub(super) fn thumbprint(&self) -> String {
        let jwk = grantlog::canonical::to_string(&self.jwk()).unwrap();
        base64(Digest::of(jwk.as_bytes()).0)
    }

    pub(super) fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": self.alg, "jwk": self.jwk()})
    }

    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let (message, random) = (signed.as_bytes(), SystemRandom::new());
        let signature = match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                if self.alg == "PS256" {
                    pair.sign(&RSA_PSS_SHA256, &random, message, &mut out).unwrap();
                } else {
                    pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut out).unwrap();
                }
                out
            }
        };
        format!("{signed}.{}", base64(signature))
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Answer {
    pub(super) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Self {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    pub(super) fn error(&self) -> (u16, &str) {
        (self.status, self.body["error"].as_str().unwrap_or_default())
    }

    pub(super) fn nonce(&self) -> Option<&str> {
        Some(self.headers.get("dpop-nonce")?.to_str().unwrap())
    }

    pub(super) fn challenges(&self) -> Vec<&str> {
        let challenges = self.headers.get_all("www-authenticate").iter();
        challenges.map(|challenge| challenge.to_str().unwrap()).collect()
    }

    pub(super) fn text(&self, member: &str) -> &str {
        self.body[member]
            .as_str()
            .unwrap_or_else(|| panic!("{}: no {member} in {}", self.status, self.body))
    }

    /// The key that the access token in this answer is bound to.
    pub(super) fn confirmation(&self) -> Value {
        let claims = self.text("access_token").split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        claims["cnf"].clone()
    }
}

/// Asks for tokens with a proof of a new key, once more with the nonce that the server wants: the tokens must be bound to
/// that key (RFC 9449 §5).
pub(crate) async fn has_bound_tokens(
    server: &TestServer,
    basic: Option<(&str, &str)>,
    form: &[(&str, &str)],
) {
    let (key, url) = (Key::new("ES256"), server.url("/oauth/token"));
    let mut claims = json!({"htm": "POST", "htu": url, "iat": server.clock.now().timestamp()});
    for _ in 0..2 {
        claims["jti"] = json!(uuid::Uuid::new_v4());
        let proof = key.sign(&key.header(), &claims);
        let mut request = browser().post(&url).header("dpop", proof).form(form);
        if let Some((id, secret)) = basic {
            request = request.basic_auth(id, Some(secret));
        }
        let answer = Answer::of(request).await;
        if answer.status == 200 {
            assert_eq!(answer.body["token_type"], "DPoP", "{}", answer.body);
            assert_eq!(answer.confirmation(), json!({"jkt": key.thumbprint()}));
            return;
        }
        assert_eq!(answer.error(), (400, "use_dpop_nonce"), "{}", answer.body);
        claims["nonce"] = json!(answer.nonce().unwrap());
    }
    panic!("no tokens for the server's own nonce");
}

/// A client, its user's browser, and this server's nonce.
pub(super) struct Prover {
    pub(super) server: TestServer,
    pub(super) client: CreatedClient,
    pub(super) http: reqwest::Client,
    pub(super) nonce: Option<String>,
}

impl Prover {
    pub(super) async fn confidential() -> Self {
        Self::with(TestServer::start().await, json!({})).await
    }

    pub(super) async fn public() -> Self {
        let public = json!({
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        Self::with(TestServer::start().await, public).await
    }

    /// A client with changed metadata, that knows the server's nonce.
    pub(super) async fn with(server: TestServer, extra: Value) -> Self {
        server.user(flow::USERNAME, flow::PASSWORD).await;
        let mut metadata = flow::confidential();
        metadata["scope"] = json!("openid view-user");
        metadata["grant_types"] = json!(["authorization_code", "refresh_token", "client_credentials"]);
        let _ = server
            .app
            .operations
            .define_scope(&TestServer::context(), "openid", "Know who you are", false)
            .await;
        let client = server.client(merged(&metadata, extra)).await;
        let mut prover = Self {
            server,
            client,
            http: browser(),
            nonce: None,
        };
        prover.learn_nonce().await;
        prover
    }

    /// Asks without a nonce, and keeps the one that the answer gives.
    pub(super) async fn learn_nonce(&mut self) {
        self.nonce = None;
        let proof = self.proof(&Key::new("ES256"), json!({}));
        let answer = self
            .post("/oauth/token", &[("grant_type", "x")], Some(&proof))
            .await;
        self.nonce = answer.nonce().map(str::to_owned);
    }

    pub(super) fn now(&self) -> i64 {
        self.server.clock.now().timestamp()
    }

    pub(super) fn wait(&self, seconds: u64) {
        self.server.clock.advance(Duration::from_secs(seconds));
    }

    pub(super) fn claims(&self) -> Value {
        let mut claims = json!({
            "jti": uuid::Uuid::new_v4(), "htm": "POST", "htu": self.server.url("/oauth/token"), "iat": self.now(),
        });
        if let Some(nonce) = &self.nonce {
            claims["nonce"] = json!(nonce);
        }
        claims
    }

    /// A proof for the token endpoint, with changed claims.
    pub(super) fn proof(&self, key: &Key, changes: Value) -> String {
        key.sign(&key.header(), &merged(&self.claims(), changes))
    }

    /// A proof for a request with an access token.
    pub(super) fn proof_for(&self, key: &Key, (method, path, token): (&str, &str, &str)) -> String {
        let ath = base64(Digest::of(token.as_bytes()).0);
        self.proof(
            key,
            json!({"htm": method, "htu": self.server.url(path), "ath": ath}),
        )
    }

    pub(super) fn request(
        &self,
        url: String,
        form: &[(&str, &str)],
        proof: Option<&str>,
    ) -> reqwest::RequestBuilder {
        let mut form: Vec<_> = form.to_vec();
        let mut request = self.http.post(url);
        match &self.client.client_secret {
            Some(secret) => request = request.basic_auth(&self.client.client_id, Some(secret)),
            None => form.push(("client_id", &self.client.client_id)),
        }
        if let Some(proof) = proof {
            request = request.header("DPoP", proof);
        }
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
    }

    pub(super) async fn post(&self, path: &str, form: &[(&str, &str)], proof: Option<&str>) -> Answer {
        Answer::of(self.request(self.server.url(path), form, proof)).await
    }

    pub(super) async fn own_token(&self, proof: Option<&str>) -> Answer {
        let form = [("grant_type", "client_credentials"), ("scope", "view-user")];
        self.post("/oauth/token", &form, proof).await
    }

    pub(super) fn query(&self, changes: &[(&str, &str)]) -> Query {
        let query = flow::with(&flow::query(&self.client), &[("scope", "openid view-user")]);
        flow::with(&query, changes)
    }

    pub(super) async fn code(&self, changes: &[(&str, &str)]) -> String {
        let parameters = flow::authorize(&self.server, &self.http, &self.query(changes)).await;
        parameters["code"].clone()
    }

    pub(super) async fn redeem(&self, code: &str, key: Option<&Key>) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code_verifier", flow::VERIFIER),
        ];
        let proof = key.map(|key| self.proof(key, json!({})));
        self.post("/oauth/token", &form, proof.as_deref()).await
    }

    pub(super) async fn refresh(&self, token: &str, key: Option<&Key>) -> Answer {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let proof = key.map(|key| self.proof(key, json!({})));
        self.post("/oauth/token", &form, proof.as_deref()).await
    }

    /// Calls the API with a token in a scheme, and perhaps a proof.
    pub(super) async fn call(&self, path: &str, authorization: &str, proof: Option<&str>) -> Answer {
        let mut request = self
            .http
            .get(self.server.url(path))
            .header("authorization", authorization);
        if let Some(proof) = proof {
            request = request.header("DPoP", proof);
        }
        Answer::of(request).await
    }

    /// Calls the API as a client does.
    pub(super) async fn call_with(&self, path: &str, token: &str, key: &Key) -> Answer {
        let proof = self.proof_for(key, ("GET", path, token));
        self.call(path, &format!("DPoP {token}"), Some(&proof)).await
    }

    pub(super) async fn reasons(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' ORDER BY position",
        )
        .fetch_all(&self.server.database.owner().await)
        .await
        .unwrap()
    }

    pub(super) async fn last_reason(&self) -> String {
        self.reasons().await.pop().unwrap_or_default()
    }

    pub(super) async fn events(&self, event_type: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger WHERE event_type = $1")
            .bind(event_type)
            .fetch_one(&self.server.database.owner().await)
            .await
            .unwrap()
    }
}
