//! Resource indicators over HTTP (RFC 8707).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::operations::client::CreatedClient;
use grantlog::projection::ProjectionRunner;
use serde_json::{Value, json};

use crate::flow::{self, Query, with};
use crate::harness::{TestServer, browser};

const FILES: &str = "https://files.example/v1";
const MAIL: &str = "https://mail.example";
const OTHER: &str = "https://other.example";

/// A client of two resource servers, and the browser of its user.
struct Narrowing {
    server: TestServer,
    client: CreatedClient,
    browser: reqwest::Client,
}

impl Narrowing {
    async fn new() -> Self {
        let server = TestServer::start().await;
        server.user(flow::USERNAME, flow::PASSWORD).await;
        let mut metadata = flow::confidential();
        metadata["audience"] = json!([FILES, MAIL]);
        metadata["grant_types"] = json!(["authorization_code", "refresh_token", "client_credentials"]);
        let client = server.client(metadata).await;
        Self {
            server,
            client,
            browser: browser(),
        }
    }

    fn query(&self, resources: &[&str]) -> Query {
        let mut query = flow::query(&self.client);
        query.extend(
            resources
                .iter()
                .map(|one| ("resource".to_owned(), (*one).to_owned())),
        );
        query
    }

    async fn post(&self, path: &str, form: &[(&str, &str)], resources: &[&str]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .extend_pairs(resources.iter().map(|one| ("resource", *one)))
            .finish();
        let response = self
            .browser
            .post(self.server.url(path))
            .basic_auth(&self.client.client_id, self.client.client_secret.as_deref())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Authorizes for some resources and redeems the code for others.
    async fn redeem(&self, authorized: &[&str], redeemed: &[&str]) -> (u16, Value) {
        let parameters = flow::authorize(&self.server, &self.browser, &self.query(authorized)).await;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &parameters["code"]),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code_verifier", flow::VERIFIER),
        ];
        self.post("/oauth/token", &form, redeemed).await
    }

    async fn refresh(&self, tokens: &Value, resources: &[&str]) -> (u16, Value) {
        let token = tokens["refresh_token"].as_str().unwrap();
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post("/oauth/token", &form, resources).await
    }

    async fn update(&self, patch: Value) {
        self.server.update_client(self.client.key, patch).await.unwrap();
    }

    async fn reasons(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' ORDER BY position",
        )
        .fetch_all(&self.server.database.owner().await)
        .await
        .unwrap()
    }
}

/// The audience in an access token, as resource servers read it.
fn audience((status, tokens): &(u16, Value)) -> Value {
    assert_eq!(*status, 200, "{tokens}");
    let claims = tokens["access_token"]
        .as_str()
        .unwrap()
        .split('.')
        .nth(1)
        .unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["aud"].clone()
}

fn error(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"].as_str().unwrap())
}

/// RFC 8707 §2.1: the user sees which resources it is for, so the consent is for those.
#[tokio::test]
async fn a_consent_for_one_resource_is_none_for_another() {
    let client = Narrowing::new().await;
    let (server, browser) = (&client.server, &client.browser);
    let silent = |resources: &[&str]| with(&client.query(resources), &[("prompt", "none")]);
    let asks = async |resources: &[&str]| {
        let answer = flow::request(server, browser, &silent(resources)).await;
        answer.parameters().get("error").cloned()
    };
    flow::authorize(server, browser, &client.query(&[FILES])).await;
    assert_eq!(asks(&[FILES]).await, None, "it is remembered");
    let runner = ProjectionRunner::start(&server.app.ledger);
    let applications = async || {
        runner.wait_for(*server.app.ledger.head().borrow()).await.unwrap();
        flow::get(server, browser, "/account/applications").await.body
    };
    let words = format!("This access is for: <code>{FILES}</code>");
    let page = applications().await;
    assert!(page.contains(&words), "{page}");
    for others in [&[MAIL][..], &[FILES, MAIL], &[]] {
        assert_eq!(
            asks(others).await.as_deref(),
            Some("consent_required"),
            "{others:?}"
        );
    }
    let page = flow::request(server, browser, &client.query(&[MAIL])).await;
    assert!(
        page.is_consent_page() && page.body.contains(MAIL),
        "{}",
        page.body
    );
    flow::decide(server, browser, &client.query(&[MAIL]), (&page, "approve")).await;
    assert_eq!(asks(&[FILES, MAIL]).await, None, "one after the other");
    assert_eq!(asks(&[]).await.as_deref(), Some("consent_required"));
    // Who is asked without a resource allows all that the client has, and goes on to.
    flow::authorize(server, browser, &client.query(&[])).await;
    for any in [&[][..], &[MAIL]] {
        assert_eq!(asks(any).await, None, "{any:?}");
    }
    let page = applications().await;
    assert!(!page.contains("This access is for"), "{page}");
    runner.stop().await;
}

#[tokio::test]
async fn a_token_is_for_the_resources_that_were_asked_for() {
    let client = Narrowing::new().await;
    assert_eq!(audience(&client.redeem(&[], &[]).await), json!([FILES, MAIL]));
    assert_eq!(audience(&client.redeem(&[MAIL], &[]).await), MAIL);
    assert_eq!(
        audience(&client.redeem(&[MAIL, FILES, MAIL], &[]).await),
        json!([MAIL, FILES])
    );
    let form = [("grant_type", "client_credentials")];
    assert_eq!(
        audience(&client.post("/oauth/token", &form, &[FILES]).await),
        FILES
    );
    assert_eq!(
        audience(&client.post("/oauth/token", &form, &[]).await),
        json!([FILES, MAIL])
    );
}

#[tokio::test]
async fn a_token_request_may_narrow_the_audience_and_never_widen_it() {
    let client = Narrowing::new().await;
    let first = client.redeem(&[], &[MAIL]).await;
    assert_eq!(audience(&first), MAIL);
    // The refresh token keeps all that was granted.
    let second = client.refresh(&first.1, &[]).await;
    assert_eq!(audience(&second), json!([FILES, MAIL]));
    let third = client.refresh(&second.1, &[FILES]).await;
    assert_eq!(audience(&third), FILES);
    let wider = client.refresh(&third.1, &[FILES, OTHER]).await;
    assert_eq!(error(&wider), (400, "invalid_target"));
    // A refused request has used nothing up.
    assert_eq!(audience(&client.refresh(&third.1, &[MAIL]).await), MAIL);

    let narrow = client.redeem(&[MAIL], &[]).await;
    let wider = client.refresh(&narrow.1, &[FILES]).await;
    assert_eq!(error(&wider), (400, "invalid_target"));
    assert_eq!(
        error(&client.redeem(&[MAIL], &[FILES]).await),
        (400, "invalid_target")
    );
    assert_eq!(client.reasons().await, ["resource_exceeded"; 3]);
}

#[tokio::test]
async fn a_resource_that_the_client_may_not_have_is_an_invalid_target() {
    let client = Narrowing::new().await;
    for (resource, reason) in [
        (OTHER, "resource_not_allowed"),
        ("https://mail.example/", "resource_not_allowed"),
        ("files", "resource_malformed"),
        ("https://mail.example#x", "resource_malformed"),
    ] {
        let query = client.query(&[MAIL, resource]);
        let answer = flow::request(&client.server, &client.browser, &query).await;
        assert_eq!(answer.parameters()["error"], "invalid_target", "{resource}");
        let pairs: Vec<_> = query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let pushed = client.post("/oauth/par", &pairs, &[]).await;
        assert_eq!(error(&pushed), (400, "invalid_target"), "{resource}");
        let form = [("grant_type", "client_credentials")];
        let token = client.post("/oauth/token", &form, &[resource]).await;
        assert_eq!(error(&token), (400, "invalid_target"), "{resource}");
        let reasons = client.reasons().await;
        assert_eq!(reasons[reasons.len() - 3..], [reason; 3]);
    }
}

#[tokio::test]
async fn resources_may_be_pushed_and_no_other_parameter_may_be_repeated() {
    let client = Narrowing::new().await;
    let query = client.query(&[FILES, MAIL]);
    let pairs: Vec<_> = query
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let (status, pushed) = client.post("/oauth/par", &pairs, &[]).await;
    assert_eq!(status, 201, "{pushed}");
    let named = vec![
        ("client_id".to_owned(), client.client.client_id.clone()),
        (
            "request_uri".to_owned(),
            pushed["request_uri"].as_str().unwrap().to_owned(),
        ),
    ];
    let parameters = flow::authorize(&client.server, &client.browser, &named).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &parameters["code"]),
        ("redirect_uri", flow::REDIRECT_URI),
        ("code_verifier", flow::VERIFIER),
    ];
    let twice = [
        form[0],
        form[1],
        form[2],
        form[3],
        ("audience", "a"),
        ("audience", "b"),
    ];
    assert_eq!(
        error(&client.post("/oauth/token", &twice, &[]).await),
        (400, "invalid_request")
    );
    assert_eq!(
        audience(&client.post("/oauth/token", &form, &[]).await),
        json!([FILES, MAIL])
    );
}

#[tokio::test]
async fn a_client_without_an_audience_may_name_the_issuer_alone() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let other = flow::request(&server, &browser, &with(&query, &[("resource", MAIL)])).await;
    assert_eq!(other.parameters()["error"], "invalid_target");
    let issuer = with(&query, &[("resource", &server.base)]);
    assert!(
        flow::authorize(&server, &browser, &issuer)
            .await
            .contains_key("code")
    );
}

#[tokio::test]
async fn a_resource_that_was_taken_from_the_client_is_in_no_token_any_more() {
    let client = Narrowing::new().await;
    let tokens = client.redeem(&[], &[]).await;
    assert_eq!(audience(&tokens), json!([FILES, MAIL]));
    let parameters = flow::authorize(&client.server, &client.browser, &client.query(&[])).await;
    let code = [
        ("grant_type", "authorization_code"),
        ("code", parameters["code"].as_str()),
        ("redirect_uri", flow::REDIRECT_URI),
        ("code_verifier", flow::VERIFIER),
    ];
    client.update(json!({"audience": [MAIL, OTHER]})).await;
    let lost = client.refresh(&tokens.1, &[FILES]).await;
    assert_eq!(error(&lost), (400, "invalid_target"));
    let lost = client.post("/oauth/token", &code, &[FILES]).await;
    assert_eq!(error(&lost), (400, "invalid_target"));
    // What the grant had is cut, and what the client got since is not added.
    assert_eq!(audience(&client.post("/oauth/token", &code, &[]).await), MAIL);
    let tokens = client.refresh(&tokens.1, &[]).await;
    assert_eq!(audience(&tokens), MAIL);
    client.update(json!({"audience": [OTHER]})).await;
    assert_eq!(
        error(&client.refresh(&tokens.1, &[]).await),
        (400, "invalid_target")
    );
    assert_eq!(client.reasons().await, ["resource_no_longer_allowed"; 3]);
    // Given back, it is the grant's again.
    client.update(json!({"audience": [FILES, MAIL]})).await;
    assert_eq!(
        audience(&client.refresh(&tokens.1, &[]).await),
        json!([FILES, MAIL])
    );
}

#[tokio::test]
async fn a_code_for_a_redirect_uri_that_was_removed_is_not_exchanged() {
    let client = Narrowing::new().await;
    let parameters = flow::authorize(&client.server, &client.browser, &client.query(&[])).await;
    client
        .update(json!({"redirect_uris": ["https://app.example/new"]}))
        .await;
    let code = [
        ("grant_type", "authorization_code"),
        ("code", parameters["code"].as_str()),
        ("redirect_uri", flow::REDIRECT_URI),
        ("code_verifier", flow::VERIFIER),
    ];
    let refused = client.post("/oauth/token", &code, &[]).await;
    assert_eq!(error(&refused), (400, "invalid_grant"));
    assert_eq!(client.reasons().await, ["redirect_uri_not_registered"]);
}
