//! What the end of a login does: to the browser (OpenID Connect RP-Initiated Logout 1.0), to grants, and to clients that
//! are told (Back-Channel Logout 1.0).

mod backchannel;
mod grants;
mod rp_initiated;

pub(crate) use grants::all_of;

use grantlog::config::Settings;
use grantlog::ids::SubjectId;
use grantlog::operations::client::CreatedClient;
use reqwest::header;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::flow::{self, Answer};
use crate::harness::{TestServer, browser};
use crate::openid::define_scopes;

const BACK: &str = "https://app.example/bye";

/// An OpenID provider, a client with a place to return to, a user, and the user's browser.
struct Desk {
    server: TestServer,
    client: CreatedClient,
    subject: SubjectId,
    browser: reqwest::Client,
}

impl Desk {
    async fn new() -> Self {
        Self::with(json!({}), |_| {}).await
    }

    async fn with(extra: Value, change: impl FnOnce(&mut Settings)) -> Self {
        let server = TestServer::start_with(|settings| {
            settings.outbound_allow = vec!["127.0.0.1".parse().unwrap()];
            change(settings);
        })
        .await;
        define_scopes(&server).await;
        let subject = server.user(flow::USERNAME, flow::PASSWORD).await;
        let client = server.client(metadata(&extra)).await;
        Self {
            server,
            client,
            subject,
            browser: browser(),
        }
    }

    /// Logs in where need be, and gives the client its tokens.
    async fn tokens(&self, client: &CreatedClient, scope: &str) -> Value {
        let code = self.code(client, scope).await;
        let (status, tokens) = self.redeem(client, &code).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    async fn code(&self, client: &CreatedClient, scope: &str) -> String {
        let query = flow::with(&flow::query(client), &[("scope", scope)]);
        let returned = flow::authorize(&self.server, &self.browser, &query).await;
        returned["code"].clone()
    }

    async fn redeem(&self, client: &CreatedClient, code: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code_verifier", flow::VERIFIER),
        ];
        self.post(&self.server.base, client, ("/oauth/token", &form))
            .await
    }

    async fn refresh(&self, client: &CreatedClient, tokens: &Value) -> (u16, Value) {
        let token = text(tokens, "refresh_token");
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post(&self.server.base, client, ("/oauth/token", &form))
            .await
    }

    async fn is_active(&self, client: &CreatedClient, token: &str) -> bool {
        let form = [("token", token)];
        let (_, body) = self
            .post(&self.server.base, client, ("/oauth/introspect", &form))
            .await;
        body["active"] == true
    }

    async fn post(
        &self,
        base: &str,
        client: &CreatedClient,
        (path, form): (&str, &[(&str, &str)]),
    ) -> (u16, Value) {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = reqwest::Client::new()
            .post(format!("{base}{path}"))
            .basic_auth(&client.client_id, client.client_secret.as_deref())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// What the browser gets for a logout request.
    async fn ask(&self, parameters: &[(&str, &str)]) -> Answer {
        flow::get(&self.server, &self.browser, &path(parameters)).await
    }

    /// Logs out at the server's own page.
    async fn log_out(&self) {
        let page = flow::get(&self.server, &self.browser, "/logout").await;
        let answer = self.submit("/logout", &page.hidden("form_token")).await;
        assert_eq!(answer.0, 303);
    }

    /// Posts the confirmation form; status and where it leads.
    async fn submit(&self, path: &str, token: &str) -> (u16, Option<String>) {
        let request = self
            .browser
            .post(self.server.url(path))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("step=logout&form_token={token}"));
        let response = request.send().await.unwrap();
        let location = response.headers().get(header::LOCATION);
        let location = location.map(|location| location.to_str().unwrap().to_owned());
        (response.status().as_u16(), location)
    }

    /// Whether the browser is logged in.
    async fn is_logged_in(&self) -> bool {
        let page = flow::get(&self.server, &self.browser, "/logout").await;
        page.body.contains("You are logged in as")
    }

    /// What of these events the ledger has, in order.
    async fn events(&self, event_type: &str) -> Vec<Value> {
        let payloads: Vec<String> = sqlx::query_scalar(
            "SELECT payload::text FROM grantlog.ledger WHERE event_type = $1 ORDER BY position",
        )
        .bind(event_type)
        .fetch_all(self.server.app.ledger.pool())
        .await
        .unwrap();
        payloads
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }

    /// Waits until there are so many of them.
    async fn wait_for(&self, event_type: &str, count: usize) -> Vec<Value> {
        for _ in 0..1200 {
            let events = self.events(event_type).await;
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("{event_type}: {:?}", self.events(event_type).await)
    }
}

fn metadata(extra: &Value) -> Value {
    let mut metadata = flow::confidential();
    metadata["scope"] = json!("view-user openid profile email offline_access");
    metadata["post_logout_redirect_uris"] = json!([BACK, "https://app.example/bye?x=1"]);
    let members = metadata.as_object_mut().unwrap();
    members.extend(extra.as_object().unwrap().clone());
    metadata
}

fn path(parameters: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    format!("/oauth/logout?{query}")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}
