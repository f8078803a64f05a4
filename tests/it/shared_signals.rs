//! The transmitter of the OpenID Shared Signals Framework 1.0, with receivers of both kinds.

mod administered;
mod easyssf;
mod management;
mod poll;
mod push;
mod rights;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::config::Settings;
use grantlog::ids::SubjectId;
use grantlog::operations::client::CreatedClient;
use grantlog::ssf::Transmitter;
use serde_json::{Value, json};

use crate::flow;
use crate::harness::{TestServer, browser};
use crate::users::approve;

pub(crate) const SESSION_REVOKED: &str =
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const CREDENTIAL_CHANGE: &str = "https://schemas.openid.net/secevent/caep/event-type/credential-change";
pub(crate) const ACCOUNT_DISABLED: &str =
    "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
pub(crate) const ACCOUNT_ENABLED: &str =
    "https://schemas.openid.net/secevent/risc/event-type/account-enabled";
const ACCOUNT_PURGED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-purged";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
const STREAM_UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";

/// A transmitter with a user, whose browser is at hand.
pub(crate) struct Stage {
    pub(crate) server: TestServer,
    pub(crate) subject: SubjectId,
    browser: reqwest::Client,
    transmitter: Option<Transmitter>,
}

impl Stage {
    async fn new() -> Self {
        let server = TestServer::start_with(Self::settings).await;
        let mut stage = Self::on(server).await;
        stage.transmitter = Some(Transmitter::start(&stage.server.app));
        stage
    }

    pub(crate) fn settings(settings: &mut Settings) {
        settings.shared_signals = true;
        settings.outbound_allow = vec!["127.0.0.1".parse().unwrap()];
    }

    /// On a server of its own, where nothing transmits.
    pub(crate) async fn on(server: TestServer) -> Self {
        crate::openid::define_scopes(&server).await;
        for scope in ["ssf.manage", "ssf.read"] {
            let operations = &server.app.operations;
            let context = TestServer::context();
            operations
                .define_scope(&context, scope, "Shared signals", true)
                .await
                .unwrap();
        }
        let subject = server.user(flow::USERNAME, flow::PASSWORD).await;
        Self {
            server,
            subject,
            browser: browser(),
            transmitter: None,
        }
    }

    /// A client that users log in at, and that may manage streams.
    pub(crate) async fn receiver(&self, extra: Value) -> Receiver<'_> {
        let mut metadata = flow::confidential();
        metadata["grant_types"] = json!(["authorization_code", "refresh_token", "client_credentials"]);
        metadata["scope"] = json!("view-user openid ssf.manage ssf.read");
        let members = metadata.as_object_mut().unwrap();
        members.extend(extra.as_object().unwrap().clone());
        let client = self.server.client(metadata).await;
        approve(&self.server, client.key, &["ssf.manage", "ssf.read"]).await;
        let mut receiver = Receiver {
            stage: self,
            client,
            token: String::new(),
        };
        receiver.token = receiver.token_for("ssf.manage").await;
        receiver
    }

    async fn log_out(&self) {
        let page = flow::get(&self.server, &self.browser, "/logout").await;
        let token = page.hidden("form_token");
        let request = self
            .browser
            .post(self.server.url("/logout"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("step=logout&form_token={token}"));
        assert_eq!(request.send().await.unwrap().status(), 303);
    }

    /// Waits until the reader of signals has come to the ledger's end.
    async fn folded(&self) {
        let pool = self.server.app.ledger.pool();
        let head: i64 = sqlx::query_scalar("SELECT position FROM grantlog.head WHERE lane = 0")
            .fetch_one(pool)
            .await
            .unwrap();
        for _ in 0..1200 {
            let cursor: i64 = sqlx::query_scalar("SELECT position FROM grantlog.ssf_cursor")
                .fetch_one(pool)
                .await
                .unwrap();
            if cursor >= head {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the reader of signals does not come to the ledger's end");
    }

    async fn stop(mut self) {
        self.transmitter.take().unwrap().stop().await;
    }
}

/// A client that receives.
pub(crate) struct Receiver<'a> {
    stage: &'a Stage,
    client: CreatedClient,
    token: String,
}

impl Receiver<'_> {
    async fn token_for(&self, scope: &str) -> String {
        let request = reqwest::Client::new()
            .post(self.stage.server.url("/oauth/token"))
            .basic_auth(&self.client.client_id, self.client.client_secret.as_deref())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("grant_type=client_credentials&scope={scope}"));
        let tokens: Value = request.send().await.unwrap().json().await.unwrap();
        tokens["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("{tokens}"))
            .to_owned()
    }

    /// The stage's user logs in here and gives this client a grant.
    pub(crate) async fn log_in(&self) -> Value {
        let query = flow::with(&flow::query(&self.client), &[("scope", "openid view-user")]);
        let returned = flow::authorize(&self.stage.server, &self.stage.browser, &query).await;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", &returned["code"])
            .append_pair("redirect_uri", flow::REDIRECT_URI)
            .append_pair("code_verifier", flow::VERIFIER)
            .finish();
        let request = reqwest::Client::new()
            .post(self.stage.server.url("/oauth/token"))
            .basic_auth(&self.client.client_id, self.client.client_secret.as_deref())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.ask_with(&self.token, (method, path), body).await
    }

    async fn ask_with(&self, token: &str, (method, path): (&str, &str), body: Option<Value>) -> (u16, Value) {
        let mut request = reqwest::Client::new()
            .request(method.parse().unwrap(), self.stage.server.url(path))
            .bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// Creates a stream; its configuration.
    pub(crate) async fn stream(&self, body: Value) -> Value {
        let (status, configuration) = self.ask("POST", "/ssf/stream", Some(body)).await;
        assert_eq!(status, 201, "{configuration}");
        configuration
    }

    /// A token's claims, checked as a receiver must (RFC 8935 §2.2, SSF 1.0 §4.1).
    async fn claims(&self, token: &str) -> Value {
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("secevent+jwt"));
        let keys = reqwest::get(self.stage.server.url("/oauth/jwks")).await.unwrap();
        let keys: jsonwebtoken::jwk::JwkSet = keys.json().await.unwrap();
        let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        validation.set_audience(&[&self.client.client_id]);
        validation.set_issuer(&[&self.stage.server.base]);
        validation.set_required_spec_claims(&["iss", "aud"]);
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation)
            .unwrap()
            .claims;
        for missing in ["sub", "exp", "nonce"] {
            assert!(claims.get(missing).is_none(), "{claims}");
        }
        for there in ["jti", "iat", "sub_id"] {
            assert!(claims.get(there).is_some(), "{claims}");
        }
        assert_eq!(claims["events"].as_object().unwrap().len(), 1, "{claims}");
        claims
    }

    /// The `iss_sub` of a user here.
    fn names(&self, sub: &str) -> Value {
        json!({"format": "iss_sub", "iss": self.stage.server.base, "sub": sub})
    }
}

/// The event type of some claims, and what stands under it.
pub(crate) fn event(claims: &Value) -> (String, Value) {
    let events: BTreeMap<String, Value> = serde_json::from_value(claims["events"].clone()).unwrap();
    events.into_iter().next().unwrap()
}

/// What a JWT says.
pub(crate) fn claims_of(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}
