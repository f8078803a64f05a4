//! What a browser does at the authorization endpoint, for every test that needs a code.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like tests"
)]

use std::collections::HashMap;

use grantlog::operations::client::CreatedClient;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::json;
use url::form_urlencoded;

use crate::harness::TestServer;

pub(crate) const USERNAME: &str = "alice";
pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const REDIRECT_URI: &str = "https://app.example/cb";
/// The example of RFC 7636 appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The parameters of an authorization request.
pub(crate) type Query = Vec<(String, String)>;

/// An answer of the authorization endpoint.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    /// Where it redirects to.
    pub(crate) fn location(&self) -> Option<&str> {
        self.headers
            .get("location")
            .map(|location| location.to_str().unwrap())
    }

    /// The parameters of a redirect to a client.
    pub(crate) fn parameters(&self) -> HashMap<String, String> {
        assert_eq!(self.status, 303, "{}", self.body);
        let (_, query) = self.location().unwrap().split_once('?').unwrap();
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// The value of a hidden field.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let marker = format!("name=\"{name}\" value=\"");
        let (_, rest) = self
            .body
            .split_once(&marker)
            .unwrap_or_else(|| panic!("{}: no {name} in {}", self.status, self.body));
        rest.split_once('"').unwrap().0.to_owned()
    }

    pub(crate) fn is_login_page(&self) -> bool {
        self.body.contains("<h1>Log in</h1>")
    }

    pub(crate) fn is_consent_page(&self) -> bool {
        self.body.contains("asks for access")
    }
}

/// A confidential client, and the user that [`authorize`] logs in.
pub(crate) async fn client_and_user(server: &TestServer) -> CreatedClient {
    server.user(USERNAME, PASSWORD).await;
    server.client(confidential()).await
}

/// Metadata of a confidential client.
pub(crate) fn confidential() -> serde_json::Value {
    json!({
        "client_name": "Example App",
        "redirect_uris": [REDIRECT_URI],
        "scope": "view-user detail-user server-operations",
        "default_scopes": "view-user",
    })
}

/// A good request of that client.
pub(crate) fn query(client: &CreatedClient) -> Query {
    let pairs = [
        ("response_type", "code"),
        ("client_id", &client.client_id),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "view-user"),
        ("state", "s t&ä"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The request with some parameters changed; an empty value leaves one out.
pub(crate) fn with(query: &Query, changes: &[(&str, &str)]) -> Query {
    let mut query = query.clone();
    for (name, value) in changes {
        query.retain(|(known, _)| known != name);
        if !value.is_empty() {
            query.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    query
}

pub(crate) fn encode(query: &Query) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish()
}

/// Sends an authorization request.
pub(crate) async fn request(server: &TestServer, browser: &reqwest::Client, query: &Query) -> Answer {
    let url = server.url(&format!("/oauth/authorize?{}", encode(query)));
    Answer::of(browser.get(url)).await
}

/// Posts a form of the page that the request `query` led to.
pub(crate) async fn post(
    server: &TestServer,
    browser: &reqwest::Client,
    query: &Query,
    fields: &[(&str, &str)],
) -> Answer {
    let url = server.url(&format!("/oauth/authorize?{}", encode(query)));
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = browser
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    Answer::of(request).await
}

/// Any other page.
pub(crate) async fn get(server: &TestServer, browser: &reqwest::Client, path: &str) -> Answer {
    Answer::of(browser.get(server.url(path))).await
}

/// Follows a redirect to this server.
pub(crate) async fn follow(server: &TestServer, browser: &reqwest::Client, answer: &Answer) -> Answer {
    let base = url::Url::parse(&server.url("/oauth/authorize")).unwrap();
    let target = base.join(answer.location().unwrap()).unwrap();
    assert!(target.as_str().starts_with(&server.base), "{target}");
    Answer::of(browser.get(target)).await
}

/// Fills in the login form.
pub(crate) async fn log_in(
    server: &TestServer,
    browser: &reqwest::Client,
    query: &Query,
    (username, password): (&str, &str),
) -> Answer {
    let page = request(server, browser, query).await;
    let token = page.hidden("form_token");
    let fields = [
        ("step", "login"),
        ("form_token", token.as_str()),
        ("username", username),
        ("password", password),
    ];
    post(server, browser, query, &fields).await
}

/// Presses a button of the consent page.
pub(crate) async fn decide(
    server: &TestServer,
    browser: &reqwest::Client,
    query: &Query,
    (page, decision): (&Answer, &str),
) -> Answer {
    let (token, session) = (page.hidden("form_token"), page.hidden("session"));
    let fields = [
        ("step", "consent"),
        ("form_token", token.as_str()),
        ("session", session.as_str()),
        ("decision", decision),
    ];
    post(server, browser, query, &fields).await
}

/// Logs [`USERNAME`] in where need be, approves where asked, and returns what the redirect to the client says.
pub(crate) async fn authorize(
    server: &TestServer,
    browser: &reqwest::Client,
    query: &Query,
) -> HashMap<String, String> {
    let mut answer = request(server, browser, query).await;
    if answer.is_login_page() {
        let after = log_in(server, browser, query, (USERNAME, PASSWORD)).await;
        assert_eq!(after.status, 303, "{}", after.body);
        answer = follow(server, browser, &after).await;
    }
    if answer.is_consent_page() {
        answer = decide(server, browser, query, (&answer, "approve")).await;
    }
    answer.parameters()
}
