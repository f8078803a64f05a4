//! Device authorization over HTTP (RFC 8628): the device, its user's browser, and what becomes of either.

mod guesses;
mod pages;
mod polls;
mod properties;
mod races;
mod trail;

use grantlog::config::Settings;
use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::flow::{self, Answer};
use crate::harness::{TestServer, browser};
use crate::token::text;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A television with a public client, and the browser of its user.
struct Device {
    server: TestServer,
    client: CreatedClient,
    subject: grantlog::ids::SubjectId,
    http: reqwest::Client,
    browser: reqwest::Client,
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

impl Device {
    async fn new() -> Self {
        Self::with(|_| {}, json!({})).await
    }

    async fn with(change: impl FnOnce(&mut Settings), extra: Value) -> Self {
        let server = TestServer::start_with(change).await;
        let subject = server.user(flow::USERNAME, flow::PASSWORD).await;
        let operations = &server.app.operations;
        operations
            .define_scope(&TestServer::context(), "openid", "Know who you are", false)
            .await
            .unwrap();
        let mut metadata = json!({
            "client_name": "Living Room",
            "grant_types": [GRANT_TYPE, "refresh_token"],
            "token_endpoint_auth_method": "none",
            "scope": "view-user detail-user openid",
            "default_scopes": "view-user",
        });
        metadata
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let client = server.client(metadata).await;
        Self {
            server,
            client,
            subject,
            http: reqwest::Client::new(),
            browser: browser(),
        }
    }

    async fn post(&self, url: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let mut request = self.http.post(url);
        let mut fields = fields.to_vec();
        match &self.client.client_secret {
            Some(secret) => request = request.basic_auth(&self.client.client_id, Some(secret)),
            None => fields.push(("client_id", &self.client.client_id)),
        }
        let response = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form(&fields))
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Asks for authorization.
    async fn ask(&self, fields: &[(&str, &str)]) -> (u16, Value) {
        self.post(&self.server.url("/oauth/device_authorization"), fields)
            .await
    }

    async fn begin(&self, fields: &[(&str, &str)]) -> Value {
        let (status, body) = self.ask(fields).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn poll_at(&self, base: &str, device_code: &str) -> (u16, Value) {
        let fields = [("grant_type", GRANT_TYPE), ("device_code", device_code)];
        self.post(&format!("{base}/oauth/token"), &fields).await
    }

    async fn poll(&self, begun: &Value) -> (u16, Value) {
        self.poll_at(&self.server.base, text(begun, "device_code")).await
    }

    /// The error that a poll is told.
    async fn told(&self, begun: &Value) -> String {
        let (status, body) = self.poll(begun).await;
        assert_eq!(status, 400, "{body}");
        assert!(body["error_description"].is_string() && body["request_id"].is_string());
        text(&body, "error").to_owned()
    }

    /// Posts a form of the page of a user code.
    async fn submit(&self, user_code: &str, fields: &[(&str, &str)]) -> Answer {
        let url = self
            .server
            .url(&format!("/oauth/device?{}", form(&[("user_code", user_code)])));
        let request = self
            .browser
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(form(fields)).send().await.unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    async fn open(&self, user_code: &str) -> Answer {
        let path = format!("/oauth/device?{}", form(&[("user_code", user_code)]));
        flow::get(&self.server, &self.browser, &path).await
    }

    /// Logs the browser's user in at the page of a user code.
    async fn log_in(&self, user_code: &str, username: &str) {
        let page = self.open(user_code).await;
        assert!(page.is_login_page(), "{}", page.body);
        let token = page.hidden("form_token");
        let fields = [
            ("step", "login"),
            ("form_token", token.as_str()),
            ("username", username),
            ("password", flow::PASSWORD),
        ];
        let answer = self.submit(user_code, &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
    }

    /// The page that asks, for a user who is logged in by then.
    async fn asked(&self, begun: &Value) -> Answer {
        let user_code = text(begun, "user_code");
        let mut page = self.open(user_code).await;
        if page.is_login_page() {
            self.log_in(user_code, flow::USERNAME).await;
            page = self.open(user_code).await;
        }
        assert!(
            page.body.contains("on another device asks for access"),
            "{}",
            page.body
        );
        page
    }

    async fn decide(&self, begun: &Value, page: &Answer, decision: &str) -> Answer {
        let (token, session) = (page.hidden("form_token"), page.hidden("session"));
        let fields = [
            ("step", "answer"),
            ("form_token", token.as_str()),
            ("session", session.as_str()),
            ("decision", decision),
        ];
        self.submit(text(begun, "user_code"), &fields).await
    }

    /// Approves or denies, and sees the page that says so.
    async fn answer(&self, begun: &Value, decision: &str) -> String {
        let page = self.asked(begun).await;
        let answer = self.decide(begun, &page, decision).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        flow::follow(&self.server, &self.browser, &answer).await.body
    }

    async fn approved(&self, fields: &[(&str, &str)]) -> Value {
        let begun = self.begin(fields).await;
        let page = self.answer(&begun, "approve").await;
        assert!(page.contains("The device is connected"), "{page}");
        begun
    }

    /// The types of a ledger's events of grants and consents, in order.
    async fn events(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT event_type FROM grantlog.ledger WHERE aggregate_type IN ('grant', 'consent') ORDER BY position",
        )
        .fetch_all(self.server.app.ledger.pool())
        .await
        .unwrap()
    }

    /// The reasons of the recorded refusals, in order.
    async fn reasons(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' ORDER BY position",
        )
        .fetch_all(self.server.app.ledger.pool())
        .await
        .unwrap()
    }

    async fn works(&self, access_token: &str) -> bool {
        let request = self.http.get(self.server.url("/api/user"));
        request.bearer_auth(access_token).send().await.unwrap().status() == 200
    }

    fn wait(&self, seconds: u64) {
        self.server.clock.advance(std::time::Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn a_device_is_approved_in_a_browser_and_redeems_its_code_once() {
    let device = Device::new().await;
    let begun = device.begin(&[]).await;
    assert_eq!(begun.as_object().unwrap().len(), 6, "{begun}");
    assert_eq!(
        (&begun["expires_in"], &begun["interval"]),
        (&json!(600), &json!(5))
    );
    let (device_code, user_code) = (text(&begun, "device_code"), text(&begun, "user_code"));
    assert!(device_code.starts_with("gld_") && user_code.len() == 9, "{begun}");
    let uri = device.server.url("/oauth/device");
    assert_eq!(text(&begun, "verification_uri"), uri);
    assert_eq!(
        text(&begun, "verification_uri_complete"),
        format!("{uri}?user_code={user_code}")
    );
    assert_eq!(device.told(&begun).await, "authorization_pending");

    let page = device.asked(&begun).await;
    for shown in [
        "Living Room",
        user_code,
        "See your name and user name",
        flow::USERNAME,
        "If somebody sent you",
    ] {
        assert!(page.body.contains(shown), "no {shown} in {}", page.body);
    }
    let answer = device.decide(&begun, &page, "approve").await;
    assert_eq!(
        (answer.status.as_u16(), answer.location()),
        (303, Some("device/approved"))
    );

    let (status, tokens) = device.poll(&begun).await;
    assert_eq!((status, text(&tokens, "scope")), (200, "view-user"), "{tokens}");
    assert!(device.works(text(&tokens, "access_token")).await);
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&tokens, "refresh_token")),
    ];
    let (status, refreshed) = device.post(&device.server.url("/oauth/token"), &refresh).await;
    assert_eq!(status, 200, "{refreshed}");
    assert_eq!(
        device.events().await,
        [
            "DeviceAuthorizationRequested",
            "ConsentGiven",
            "DeviceAuthorizationApproved",
            "DeviceCodeRedeemed",
            "TokenIssued",
            "RefreshRotated"
        ]
    );
    // The second use of an authentic code ends all that came of the first.
    assert_eq!(device.told(&begun).await, "invalid_grant");
    assert_eq!(device.told(&begun).await, "invalid_grant");
    assert!(!device.works(text(&tokens, "access_token")).await);
    assert!(!device.works(text(&refreshed, "access_token")).await);
    assert_eq!(device.events().await[6..], ["DeviceCodeReplayed", "TokenRevoked"]);
    let shown = serde_json::to_string(&device.stored().await).unwrap();
    for secret in [
        &device_code[device_code.len() - 20..],
        user_code,
        &user_code.replace('-', ""),
    ] {
        assert!(!shown.contains(secret), "a code is on the ledger");
    }
    crate::ledger::assert_gapless(&device.server).await;
}

impl Device {
    /// Everything that is stored of grants and of codes that wait.
    async fn stored(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT payload::text || metadata::text FROM grantlog.ledger UNION ALL \
             SELECT d::text FROM grantlog.device_authorizations d",
        )
        .fetch_all(self.server.app.ledger.pool())
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn an_id_token_for_a_device_speaks_of_the_approvers_login() {
    let device = Device::new().await;
    let begun = device.approved(&[("scope", "openid view-user")]).await;
    device.wait(30);
    let (status, tokens) = device.poll(&begun).await;
    assert_eq!(status, 200, "{tokens}");
    let claims = claims(text(&tokens, "id_token"));
    assert_eq!(claims["sub"], device.subject.to_string());
    assert_eq!(claims["aud"], device.client.client_id.as_str());
    assert_eq!(claims["amr"], json!(["pwd"]));
    assert_eq!(
        claims["acr"],
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
    );
    assert!(claims.get("nonce").is_none());
    let (session, auth_time): (uuid::Uuid, i64) = sqlx::query_as(
        "SELECT aggregate_id, floor(extract(epoch FROM recorded_at))::bigint FROM grantlog.ledger \
         WHERE event_type = 'SessionStarted'",
    )
    .fetch_one(device.server.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(claims["sid"], session.to_string());
    let said = claims["auth_time"].as_i64().unwrap();
    assert!((said - auth_time).abs() <= 1 && said <= claims["iat"].as_i64().unwrap() - 29);
}

fn claims(jwt: &str) -> Value {
    use base64::Engine;
    let payload = jwt.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_device_authorization_is_asked_for_as_tokens_are() {
    let device = Device::with(
        |_| {},
        json!({"token_endpoint_auth_method": "client_secret_basic"}),
    )
    .await;
    for (fields, error, reason) in [
        (
            &[("scope", "server-operations")][..],
            "invalid_scope",
            "scope_not_allowed",
        ),
        (&[("scope", "detail-user")], "invalid_scope", "scope_not_approved"),
        (&[("scope", "a  b")], "invalid_scope", "scope_malformed"),
        (
            &[("resource", "https://other.example")],
            "invalid_target",
            "resource_not_allowed",
        ),
        (
            &[("scope", "view-user"), ("scope", "view-user")],
            "invalid_request",
            "parameter_doubled",
        ),
        (
            &[("grant_management_action", "create")],
            "invalid_request",
            "grant_management_action_invalid",
        ),
    ] {
        let (status, body) = device.ask(fields).await;
        assert_eq!((status, text(&body, "error")), (400, error), "{body}");
        assert_eq!(device.reasons().await.last().unwrap(), reason);
    }
    // RFC 8628 §3.1: what is empty counts as absent, what nobody knows is ignored.
    let fields = [("scope", "view-user"), ("resource", ""), ("unheard_of", "x")];
    assert_eq!(device.begin(&fields).await["interval"], 5);
    let mut stranger = Device {
        http: reqwest::Client::new(),
        browser: browser(),
        ..device
    };
    let secret = stranger.client.client_secret.replace("wrong".into());
    let (status, body) = stranger.ask(&[]).await;
    assert_eq!((status, text(&body, "error")), (401, "invalid_client"));
    stranger.client.client_secret = secret;
    let patch = json!({"grant_types": ["client_credentials"]});
    stranger
        .server
        .update_client(stranger.client.key, patch)
        .await
        .unwrap();
    let (status, body) = stranger.ask(&[]).await;
    assert_eq!((status, text(&body, "error")), (400, "unauthorized_client"));
    assert_eq!(stranger.events().await, ["DeviceAuthorizationRequested"]);
}

#[tokio::test]
async fn a_devices_tokens_are_bound_to_the_key_that_it_proves() {
    let device = Device::new().await;
    let begun = device.approved(&[("scope", "view-user")]).await;
    let form = [
        ("grant_type", GRANT_TYPE),
        ("device_code", text(&begun, "device_code")),
        ("client_id", &device.client.client_id),
    ];
    crate::dpop::prover::has_bound_tokens(&device.server, None, &form).await;
}

#[tokio::test]
async fn what_public_clients_begin_is_limited_by_address() {
    let device = Device::with(|settings| settings.device_requests_per_minute = 2, json!({})).await;
    device.begin(&[]).await;
    device.begin(&[]).await;
    let (status, body) = device.ask(&[]).await;
    assert_eq!((status, text(&body, "error")), (429, "temporarily_unavailable"));
    assert_eq!(device.reasons().await, ["too_many_device_requests"]);
    device.wait(61);
    device.begin(&[]).await;
}

#[tokio::test]
async fn the_metadata_names_the_device_authorization_endpoint() {
    let device = Device::new().await;
    let url = device.server.url("/.well-known/oauth-authorization-server");
    let document: Value = device.http.get(url).send().await.unwrap().json().await.unwrap();
    let endpoint = document["device_authorization_endpoint"].as_str().unwrap();
    assert_eq!(device.post(endpoint, &[]).await.0, 200);
    let grant_types = document["grant_types_supported"].as_array().unwrap();
    assert!(grant_types.contains(&json!(GRANT_TYPE)), "{document}");
}
