//! An approval is of what the consent page showed, and a request is answered by its own method only.

use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use crate::flow::{self, Answer, PASSWORD, Query, USERNAME, with};
use crate::harness::{TestServer, browser};

/// A user who is looking at the consent page.
struct Reading {
    server: TestServer,
    client: CreatedClient,
    browser: reqwest::Client,
    query: Query,
    page: Answer,
}

impl Reading {
    /// Of a client that asks for what it is registered for by default.
    async fn new() -> Self {
        let server = TestServer::start().await;
        let client = flow::client_and_user(&server).await;
        let defaults = [("scope", ""), ("redirect_uri", ""), ("prompt", "consent")];
        let (browser, query) = (browser(), with(&flow::query(&client), &defaults));
        flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
        let page = flow::request(&server, &browser, &query).await;
        assert!(page.is_consent_page(), "{}", page.body);
        Self {
            server,
            client,
            browser,
            query,
            page,
        }
    }

    async fn press(&self, page: &Answer, decision: &str) -> Answer {
        flow::decide(&self.server, &self.browser, &self.query, (page, decision)).await
    }

    async fn update(&self, patch: Value) {
        let updated = self.server.update_client(self.client.key, patch);
        updated.await.unwrap();
    }

    async fn recorded(&self, event_type: &str) -> Vec<Value> {
        let payloads: Vec<String> = sqlx::query_scalar(
            "SELECT payload::text FROM grantlog.ledger WHERE event_type = $1 ORDER BY position",
        )
        .bind(event_type)
        .fetch_all(&self.server.database.owner().await)
        .await
        .unwrap();
        payloads
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn what_changed_after_the_consent_page_was_shown_is_not_approved_with_it() {
    let patches = [
        json!({"default_scopes": "view-user server-operations"}),
        json!({"redirect_uris": ["https://app.example/elsewhere"]}),
        json!({"audience": ["https://files.example"]}),
        json!({"client_name": "Another name"}),
    ];
    for patch in patches {
        let reading = Reading::new().await;
        reading.update(patch.clone()).await;
        let again = reading.press(&reading.page, "approve").await;
        assert_eq!((again.status.as_u16(), again.location()), (409, None), "{patch}");
        assert!(
            again.is_consent_page() && again.body.contains("has changed"),
            "{patch}"
        );
        assert!(reading.recorded("CodeIssued").await.is_empty(), "{patch}");
        assert!(reading.recorded("ConsentGiven").await.is_empty(), "{patch}");
        let refused = reading.recorded("RequestRefused").await;
        assert_eq!(refused[0]["reason"], "consent_outdated", "{patch}");
        // What is shown now can be approved.
        let approved = reading.press(&again, "approve").await;
        assert!(approved.parameters().contains_key("code"), "{patch}");
    }
}

#[tokio::test]
async fn a_scope_that_was_described_anew_is_shown_again_before_it_is_granted() {
    let reading = Reading::new().await;
    let operations = &reading.server.app.operations;
    let context = TestServer::context();
    let changed = operations.define_scope(&context, "view-user", "See and change everything", false);
    changed.await.unwrap();
    let again = reading.press(&reading.page, "approve").await;
    assert_eq!(again.status, 409);
    assert!(again.body.contains("See and change everything"));
    assert!(reading.recorded("CodeIssued").await.is_empty());
    assert!(
        reading
            .press(&again, "approve")
            .await
            .parameters()
            .contains_key("code")
    );
}

#[tokio::test]
async fn an_outdated_page_can_still_be_denied() {
    let reading = Reading::new().await;
    reading
        .update(json!({"default_scopes": "view-user server-operations"}))
        .await;
    let denied = reading.press(&reading.page, "deny").await;
    assert_eq!(denied.parameters()["error"], "access_denied");
}

#[tokio::test]
async fn a_form_cannot_say_that_its_page_showed_something_else() {
    let reading = Reading::new().await;
    reading
        .update(json!({"default_scopes": "view-user server-operations"}))
        .await;
    let now = flow::request(&reading.server, &reading.browser, &reading.query).await;
    let (old, new) = (reading.page.hidden("form_token"), now.hidden("form_token"));
    let (token, _) = old.split_once('.').unwrap();
    let (_, shown) = new.split_once('.').unwrap();
    let (session, forged) = (now.hidden("session"), format!("{token}.{shown}"));
    let fields = [
        ("step", "consent"),
        ("session", session.as_str()),
        ("form_token", forged.as_str()),
        ("decision", "approve"),
    ];
    let answer = flow::post(&reading.server, &reading.browser, &reading.query, &fields).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (403, None));
    assert!(reading.recorded("CodeIssued").await.is_empty());
}

#[tokio::test]
async fn head_does_nothing() {
    let reading = Reading::new().await;
    let approved = reading.press(&reading.page, "approve").await;
    assert!(approved.parameters().contains_key("code"));
    let query = with(&reading.query, &[("prompt", "")]);
    let url = reading
        .server
        .url(&format!("/oauth/authorize?{}", flow::encode(&query)));
    let answer = reading.browser.head(url).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "GET, POST");
    assert_eq!(reading.recorded("CodeIssued").await.len(), 1);
}
