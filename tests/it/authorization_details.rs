//! Rich authorization requests over HTTP (RFC 9396).

mod administration;
mod other_grants;
mod refusals;
mod replaced;
mod taken_away;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::domain::authorization_detail::{AuthorizationDetailTypeCommand, DetailTypeTerms};
use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use crate::flow::{self, Answer, Query, with};
use crate::harness::{TestServer, browser};
use crate::token::text;

const PAYMENT: &str = "payment_initiation";
const FILES: &str = "https://schemas.example/files";
/// Two resource servers.
const BANK: &str = "https://bank.example/api";
const DRIVE: &str = "https://drive.example/";

/// A payment, as RFC 9396 §2 has one.
fn payment(amount: &str) -> Value {
    json!({
        "type": PAYMENT, "locations": [BANK],
        "instructedAmount": {"currency": "EUR", "amount": amount},
        "creditorName": "Merchant <A> & Sons",
        "creditorAccount": {"iban": "DE02100100109307118603"},
    })
}

fn files(actions: &[&str]) -> Value {
    json!({"type": FILES, "actions": actions, "paths": ["/photos", "/music"]})
}

fn payment_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "type": {"const": PAYMENT},
            "locations": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "instructedAmount": {"$ref": "#/$defs/amount"},
            "creditorName": {"type": "string", "minLength": 1, "maxLength": 70},
            "creditorAccount": {
                "type": "object", "properties": {"iban": {"type": "string", "pattern": "^[A-Z]{2}[0-9A-Z]{13,32}$"}},
                "required": ["iban"], "additionalProperties": false,
            },
        },
        "required": ["type", "instructedAmount", "creditorName"],
        "additionalProperties": false,
        "$defs": {"amount": {
            "type": "object",
            "properties": {"currency": {"enum": ["EUR", "USD"]}, "amount": {"type": "string"}},
            "required": ["currency", "amount"], "additionalProperties": false,
        }},
    })
}

fn files_schema() -> Value {
    json!({
        "properties": {
            "type": {"const": FILES},
            "actions": {"type": "array", "items": {"enum": ["read", "write", "delete"]}, "minItems": 1},
            "paths": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["type", "actions", "paths"],
        "unevaluatedProperties": false,
    })
}

fn terms(schema: &Value, template: Option<&str>, resources: &[&str]) -> DetailTypeTerms {
    DetailTypeTerms {
        schema: schema.to_string(),
        template: template.map(str::to_owned),
        resources: resources.iter().map(|one| (*one).to_owned()).collect(),
        asked_each_time: false,
    }
}

/// A server with both types, a client of both resource servers, a resource server, and the browser of a user.
struct Rich {
    server: TestServer,
    client: CreatedClient,
    /// The resource server of the files.
    drive: CreatedClient,
    browser: reqwest::Client,
}

impl Rich {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(extra: Value) -> Self {
        Self::on(TestServer::start().await, extra).await
    }

    async fn on(server: TestServer, extra: Value) -> Self {
        server.user(flow::USERNAME, flow::PASSWORD).await;
        define(&server).await;
        let mut metadata = flow::confidential();
        let members = metadata.as_object_mut().unwrap();
        members.extend(
            json!({
                "audience": [BANK, DRIVE],
                "grant_types": [
                    "authorization_code", "refresh_token", "client_credentials",
                    "urn:ietf:params:oauth:grant-type:device_code",
                ],
                "authorization_details_types": [PAYMENT, FILES],
            })
            .as_object()
            .unwrap()
            .clone(),
        );
        members.extend(extra.as_object().unwrap().clone());
        let client = server.client(metadata).await;
        let drive = server
            .client(json!({
                "client_name": "Drive", "grant_types": ["client_credentials"], "scope": "server-operations",
                "introspects": [DRIVE],
            }))
            .await;
        Self {
            server,
            client,
            drive,
            browser: browser(),
        }
    }

    fn query(&self, details: &Value) -> Query {
        with(
            &flow::query(&self.client),
            &[("authorization_details", &details.to_string())],
        )
    }

    async fn request(&self, details: &Value) -> Answer {
        flow::request(&self.server, &self.browser, &self.query(details)).await
    }

    async fn post_as(&self, client: &CreatedClient, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let response = self
            .browser
            .post(self.server.url(path))
            .basic_auth(&client.client_id, client.client_secret.as_deref())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        self.post_as(&self.client, path, form).await
    }

    async fn code(&self, details: &Value) -> String {
        flow::authorize(&self.server, &self.browser, &self.query(details)).await["code"].clone()
    }

    async fn redeem(&self, code: &str, extra: &[(&str, &str)]) -> (u16, Value) {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code_verifier", flow::VERIFIER),
        ];
        form.extend(extra);
        self.post("/oauth/token", &form).await
    }

    /// The tokens of a new grant.
    async fn tokens(&self, details: &Value) -> Value {
        let (status, tokens) = self.redeem(&self.code(details).await, &[]).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    async fn refresh(&self, tokens: &Value, extra: &[(&str, &str)]) -> (u16, Value) {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", text(tokens, "refresh_token")),
        ];
        form.extend(extra);
        self.post("/oauth/token", &form).await
    }

    /// The details that a client is told of a token.
    async fn introspected(&self, client: &CreatedClient, token: &str) -> Value {
        let (status, body) = self
            .post_as(client, "/oauth/introspect", &[("token", token)])
            .await;
        assert_eq!((status, &body["active"]), (200, &json!(true)), "{body}");
        body["authorization_details"].clone()
    }

    async fn reasons(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' ORDER BY position",
        )
        .fetch_all(self.server.app.ledger.pool())
        .await
        .unwrap()
    }
}

async fn define_type(server: &TestServer, name: &str, terms: DetailTypeTerms) {
    let command = AuthorizationDetailTypeCommand::Define {
        name: name.to_owned(),
        terms,
    };
    server
        .app
        .operations
        .command_authorization_detail_type(&TestServer::context(), name, &command)
        .await
        .unwrap();
}

async fn define(server: &TestServer) {
    let sentence = "Pay {instructedAmount.amount} {instructedAmount.currency} to {creditorName}";
    define_type(server, PAYMENT, terms(&payment_schema(), Some(sentence), &[BANK])).await;
    define_type(server, FILES, terms(&files_schema(), None, &[DRIVE])).await;
}

/// The details in a JWT.
fn claimed(tokens: &Value) -> Value {
    let claims = text(tokens, "access_token").split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["authorization_details"].clone()
}

fn error(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, text(&answer.1, "error"))
}

const INVALID: (u16, &str) = (400, "invalid_authorization_details");

#[tokio::test]
async fn details_are_consented_to_in_words_and_are_in_the_tokens_and_what_explains_them() {
    let rich = Rich::new().await;
    let asked = json!([payment("123.50"), files(&["read", "write"])]);
    let page = rich.request(&asked).await;
    let after = flow::log_in(
        &rich.server,
        &rich.browser,
        &rich.query(&asked),
        (flow::USERNAME, flow::PASSWORD),
    )
    .await;
    assert!(page.is_login_page() && after.status == 303);
    let page = rich.request(&asked).await;
    for shown in [
        "Pay <strong><bdi>123.50</bdi></strong> <strong><bdi>EUR</bdi></strong> to <strong><bdi>Merchant &lt;A&gt; &amp; Sons</bdi></strong>",
        "<dt><bdi>creditorAccount.iban</bdi></dt><dd><bdi>DE02100100109307118603</bdi></dd>",
        "<dt><bdi>actions</bdi></dt><dd><bdi>read, write</bdi></dd>",
        // RFC 9396 §3.1: and the scope, on the same page.
        "See your name and user name",
    ] {
        assert!(page.body.contains(shown), "{shown}\n{}", page.body);
    }
    let tokens = rich.tokens(&asked).await;
    assert_eq!(tokens["authorization_details"], asked);
    assert_eq!(claimed(&tokens), asked);
    let access = text(&tokens, "access_token");
    assert_eq!(rich.introspected(&rich.client, access).await, asked);
    assert_eq!(
        rich.introspected(&rich.client, text(&tokens, "refresh_token"))
            .await,
        asked
    );
    // RFC 9396 §9.2: a resource server sees what is for it.
    assert_eq!(rich.introspected(&rich.drive, access).await, json!([asked[1]]));
    // What was allowed is remembered, and less of it; another payment is not.
    for (details, is_asked) in [
        (&asked, false),
        (&json!([files(&["write"])]), false),
        (&json!([payment("123.51")]), true),
        (&json!([files(&["read", "delete"])]), true),
    ] {
        assert_eq!(
            rich.request(details).await.is_consent_page(),
            is_asked,
            "{details}"
        );
    }
    let silent = with(&rich.query(&json!([payment("0.01")])), &[("prompt", "none")]);
    let answer = flow::request(&rich.server, &rich.browser, &silent).await;
    assert_eq!(answer.parameters()["error"], "consent_required");
    rich.server.settle().await;
    let page = flow::get(&rich.server, &rich.browser, "/account/applications").await;
    assert!(
        page.body.contains("<strong><bdi>123.50</bdi></strong>"),
        "{}",
        page.body
    );
    // Nothing of it is in clear on the ledger.
    let clear: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM grantlog.ledger WHERE payload::text LIKE '%DE0210%' OR payload::text LIKE '%Merchant%'",
    )
    .fetch_one(rich.server.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(clear, 0);
}

#[tokio::test]
async fn a_token_request_narrows_authorization_details_and_never_widens_them() {
    let rich = Rich::with(json!({"default_scopes": null, "scope": ""})).await;
    let whole = json!([payment("5.00"), files(&["read", "write"])]);
    // Without any scope (RFC 9396 §3.1).
    let query = with(&rich.query(&whole), &[("scope", "")]);
    let mut code = flow::authorize(&rich.server, &rich.browser, &query).await["code"].clone();
    let narrow = json!([files(&["read"])]);
    for wider in [
        json!([files(&["read", "delete"])]),
        json!([payment("5.01")]),
        json!([{"type": FILES, "actions": ["read"]}]),
    ] {
        let refused = rich
            .redeem(&code, &[("authorization_details", &wider.to_string())])
            .await;
        assert_eq!(error(&refused), INVALID, "{wider}");
    }
    assert_eq!(rich.reasons().await, ["authorization_details_exceeded"; 3]);
    let (status, tokens) = rich
        .redeem(&code, &[("authorization_details", &narrow.to_string())])
        .await;
    assert_eq!(
        (status, &tokens["authorization_details"]),
        (200, &narrow),
        "{tokens}"
    );
    // RFC 6749 §3.3: a scope has a name in it.
    assert_eq!((claimed(&tokens), tokens.get("scope")), (narrow.clone(), None));
    // The grant has kept all.
    let (_, all) = rich.refresh(&tokens, &[]).await;
    assert_eq!(all["authorization_details"], whole);
    let (_, again) = rich
        .refresh(&all, &[("authorization_details", &narrow.to_string())])
        .await;
    assert_eq!(claimed(&again), narrow);
    let wider = json!([files(&["read", "write", "delete"])]).to_string();
    assert_eq!(
        error(&rich.refresh(&again, &[("authorization_details", &wider)]).await),
        INVALID
    );
    // A token for one resource server has what is for that one (RFC 9396 §9.1); one for nothing is not issued.
    let (_, drive) = rich.refresh(&again, &[("resource", DRIVE)]).await;
    assert_eq!(claimed(&drive), json!([whole[1]]));
    let payment_alone = json!([whole[0]]).to_string();
    let elsewhere = [
        ("resource", DRIVE),
        ("authorization_details", payment_alone.as_str()),
    ];
    assert_eq!(error(&rich.refresh(&drive, &elsewhere).await), INVALID);
    assert_eq!(
        error(&rich.refresh(&drive, &[("authorization_details", "[]")]).await),
        INVALID
    );
    // A client's own tokens.
    let narrow_text = narrow.to_string();
    let form = [
        ("grant_type", "client_credentials"),
        ("authorization_details", narrow_text.as_str()),
    ];
    let (status, own) = rich.post("/oauth/token", &form).await;
    assert_eq!((status, claimed(&own)), (200, narrow.clone()), "{own}");
    assert_eq!(
        rich.introspected(&rich.drive, text(&own, "access_token")).await,
        narrow
    );
    code = flow::authorize(&rich.server, &rich.browser, &query).await["code"].clone();
    assert_eq!(rich.redeem(&code, &[]).await.1["authorization_details"], whole);
}

#[tokio::test]
async fn opaque_tokens_and_the_answers_of_devices_have_authorization_details_too() {
    let rich = Rich::with(json!({"access_token_format": "opaque"})).await;
    let asked = json!([payment("7.00"), files(&["read", "write"])]);
    let tokens = rich.tokens(&asked).await;
    let access = text(&tokens, "access_token");
    assert!(access.starts_with("gla_"));
    assert_eq!(rich.introspected(&rich.client, access).await, asked);
    let narrow = json!([files(&["write"])]);
    let (_, tokens) = rich
        .refresh(&tokens, &[("authorization_details", &narrow.to_string())])
        .await;
    assert_eq!(
        rich.introspected(&rich.drive, text(&tokens, "access_token"))
            .await,
        narrow
    );

    let details = json!([payment("8.88")]).to_string();
    let form = [
        ("scope", "view-user"),
        ("resource", BANK),
        ("authorization_details", details.as_str()),
    ];
    let (status, begun) = rich.post("/oauth/device_authorization", &form).await;
    assert_eq!(status, 200, "{begun}");
    let path = format!("/oauth/device?user_code={}", text(&begun, "user_code"));
    let page = flow::get(&rich.server, &rich.browser, &path).await;
    for shown in ["<strong><bdi>8.88</bdi></strong>", "This access is for:", BANK] {
        assert!(page.body.contains(shown), "{shown}\n{}", page.body);
    }
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("step", "answer")
        .append_pair("form_token", &page.hidden("form_token"))
        .append_pair("session", &page.hidden("session"))
        .append_pair("decision", "approve")
        .finish();
    let approve = rich.browser.post(rich.server.url(&path)).body(body);
    let approve = approve.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(approve.send().await.unwrap().status(), 303);
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", text(&begun, "device_code")),
    ];
    let (status, tokens) = rich.post("/oauth/token", &form).await;
    assert_eq!(
        (status, &tokens["authorization_details"]),
        (200, &json!([payment("8.88")]))
    );
    let (_, tokens) = rich.refresh(&tokens, &[]).await;
    assert_eq!(tokens["authorization_details"], json!([payment("8.88")]));
    // An approval at a device is a consent.
    assert!(!rich.request(&json!([payment("8.88")])).await.is_consent_page());
}

/// A payment is made once: who allowed one has not allowed the next.
#[tokio::test]
async fn a_detail_that_is_asked_each_time_is_never_given_in_silence() {
    let rich = Rich::new().await;
    let each_time = DetailTypeTerms {
        asked_each_time: true,
        ..terms(&payment_schema(), None, &[BANK])
    };
    define_type(&rich.server, PAYMENT, each_time).await;
    let (payment, files) = (json!([payment("1.00")]), json!([files(&["read"])]));
    for _ in 0..2 {
        let query = rich.query(&payment);
        flow::log_in(
            &rich.server,
            &rich.browser,
            &query,
            (flow::USERNAME, flow::PASSWORD),
        )
        .await;
        let page = rich.request(&payment).await;
        assert!(page.is_consent_page(), "{}", page.body);
        let answer = flow::decide(&rich.server, &rich.browser, &query, (&page, "approve")).await;
        assert!(answer.parameters().contains_key("code"));
    }
    let silent = with(&rich.query(&payment), &[("prompt", "none")]);
    let answer = flow::request(&rich.server, &rich.browser, &silent).await;
    assert_eq!(answer.parameters()["error"], "consent_required");
    flow::authorize(&rich.server, &rich.browser, &rich.query(&files)).await;
    assert!(!rich.request(&files).await.is_consent_page(), "of another type");
}
