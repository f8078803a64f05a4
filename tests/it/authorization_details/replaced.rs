//! Authorization details of grants that their client knows by an id (Grant Management for OAuth 2.0).

use serde_json::{Value, json};

use super::{BANK, DRIVE, Rich, files, payment};
use crate::flow::{self, with};
use crate::harness::TestServer;
use crate::token::text;

const QUERY: &str = "grant_management_query";

async fn managing() -> Rich {
    let server = TestServer::start().await;
    let (operations, context) = (&server.app.operations, TestServer::context());
    operations
        .define_scope(&context, QUERY, "See your grants", false)
        .await
        .unwrap();
    let members = json!({
        "scope": format!("view-user server-operations {QUERY}"), "audience": [server.base, BANK, DRIVE],
    });
    Rich::on(server, members).await
}

impl Rich {
    /// What the client is told of a grant.
    async fn grant(&self, id: &str) -> Value {
        let form = [("grant_type", "client_credentials"), ("scope", QUERY)];
        let (_, tokens) = self.post("/oauth/token", &form).await;
        let grant = self.browser.get(self.server.url(&format!("/oauth/grants/{id}")));
        let grant = grant
            .bearer_auth(text(&tokens, "access_token"))
            .send()
            .await
            .unwrap();
        grant.json().await.unwrap()
    }

    async fn managed(&self, query: &flow::Query) -> Value {
        let code = flow::authorize(&self.server, &self.browser, query).await["code"].clone();
        let (status, tokens) = self.redeem(&code, &[]).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }
}

#[tokio::test]
async fn who_is_asked_to_replace_a_grant_sees_what_is_lost_and_its_client_what_is_left() {
    let rich = managing().await;
    let whole = json!([payment("5.00"), files(&["read", "write"])]);
    let create = with(
        &rich.query(&whole),
        &[
            ("grant_management_action", "create"),
            ("scope", "view-user server-operations"),
        ],
    );
    let tokens = rich.managed(&create).await;
    let id = text(&tokens, "grant_id");
    assert_eq!(rich.grant(id).await["authorization_details"], whole);

    let narrow = json!([files(&["read"])]);
    let replacing = [
        ("grant_management_action", "replace"),
        ("grant_id", id),
        ("prompt", "consent"),
    ];
    let (less, same) = (with(&rich.query(&narrow), &replacing), with(&create, &replacing));
    let page = async |query| {
        let page = flow::request(&rich.server, &rich.browser, query).await;
        assert!(page.is_consent_page(), "{}", page.body);
        page.body
    };
    let body = page(&less).await;
    let (asked, lost) = body
        .split_once("This takes the place of what you allowed")
        .unwrap();
    for (words, was_asked) in [
        ("<code>server-operations</code>", false),
        ("Pay <strong><bdi>5.00</bdi></strong>", false),
        ("<dd><bdi>read, write</bdi></dd>", false),
        ("<code>view-user</code>", true),
        ("<dd><bdi>read</bdi></dd>", true),
    ] {
        assert_eq!(
            (asked.contains(words), lost.contains(words)),
            (was_asked, !was_asked),
            "{words}\n{body}"
        );
    }
    assert!(page(&same).await.contains("Nothing of that is lost."));
    let anew = with(&rich.query(&narrow), &[("prompt", "consent")]);
    assert!(!page(&anew).await.contains("takes the place"));

    let replaced = rich.managed(&less).await;
    assert_eq!(replaced["grant_id"], id);
    let grant = rich.grant(id).await;
    assert_eq!(
        (&grant["authorization_details"], &grant["scopes"][0]["scope"]),
        (&narrow, &json!("view-user"))
    );
    // What the client may no longer have is not in it.
    let details = json!({"authorization_details_types": []});
    rich.server.update_client(rich.client.key, details).await.unwrap();
    assert_eq!(rich.grant(id).await.get("authorization_details"), None);
}
