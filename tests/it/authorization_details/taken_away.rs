//! What becomes of tokens when a type, or a client's leave to use it, is gone.

use grantlog::domain::authorization_detail::AuthorizationDetailTypeCommand;
use serde_json::{Value, json};

use super::{FILES, INVALID, PAYMENT, Rich, claimed, define, error, files, payment};
use crate::harness::TestServer;
use crate::token::text;

#[tokio::test]
async fn a_type_that_is_taken_away_is_in_no_token_any_more() {
    let rich = Rich::new().await;
    let asked = json!([payment("2.00"), files(&["read"])]);
    let left = json!([asked[1]]);
    let tokens = rich.tokens(&asked).await;
    let code = rich.code(&asked).await;
    let access = text(&tokens, "access_token");
    let operations = &rich.server.app.operations;
    operations
        .command_authorization_detail_type(
            &TestServer::context(),
            PAYMENT,
            &AuthorizationDetailTypeCommand::Retire,
        )
        .await
        .unwrap();
    // At once, also of tokens that were issued before.
    assert_eq!(rich.introspected(&rich.client, access).await, left);
    let (_, redeemed) = rich.redeem(&code, &[]).await;
    assert_eq!(redeemed["authorization_details"], left);
    let (_, tokens) = rich.refresh(&tokens, &[]).await;
    assert_eq!(claimed(&tokens), left);
    let named = json!([asked[0]]).to_string();
    assert_eq!(
        error(&rich.refresh(&tokens, &[("authorization_details", &named)]).await),
        INVALID
    );
    assert_eq!(rich.reasons().await, ["authorization_details_no_longer_allowed"]);
    assert_eq!(
        rich.request(&asked).await.parameters()["error"],
        "invalid_authorization_details"
    );
    // Defined anew, it is the grant's again; so is what the client gets back.
    define(&rich.server).await;
    let (_, tokens) = rich.refresh(&tokens, &[]).await;
    assert_eq!(claimed(&tokens), asked);
    let update = |types: Value| {
        rich.server
            .update_client(rich.client.key, json!({"authorization_details_types": types}))
    };
    update(json!([PAYMENT])).await.unwrap();
    assert_eq!(
        rich.introspected(&rich.client, text(&tokens, "access_token"))
            .await,
        json!([asked[0]])
    );
    assert_eq!(
        rich.introspected(&rich.drive, text(&tokens, "access_token"))
            .await,
        Value::Null
    );
    update(json!([PAYMENT, FILES])).await.unwrap();
    assert_eq!(
        rich.introspected(&rich.client, text(&tokens, "access_token"))
            .await,
        asked
    );
}

#[tokio::test]
async fn a_consent_to_details_alone_can_be_taken_back_and_ends_its_tokens() {
    let rich = Rich::with(json!({"default_scopes": null, "scope": ""})).await;
    let asked = json!([files(&["read"])]);
    let query = crate::flow::with(&rich.query(&asked), &[("scope", "")]);
    let code = crate::flow::authorize(&rich.server, &rich.browser, &query).await["code"].clone();
    let (_, tokens) = rich.redeem(&code, &[]).await;
    rich.server.settle().await;
    let page = crate::flow::get(&rich.server, &rich.browser, "/account/applications").await;
    assert!(page.body.contains("<dt><bdi>actions</bdi></dt>"), "{}", page.body);
    let runner = grantlog::projection::ProjectionRunner::start(&rich.server.app.ledger);
    let body = format!(
        "step=remove&form_token={}&client={}",
        page.hidden("form_token"),
        page.hidden("client")
    );
    let remove = rich
        .browser
        .post(rich.server.url("/account/applications"))
        .body(body);
    let remove = remove.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(remove.send().await.unwrap().status(), 303);
    runner.stop().await;
    let (_, body) = rich
        .post("/oauth/introspect", &[("token", text(&tokens, "access_token"))])
        .await;
    assert_eq!(body, json!({"active": false}));
    assert_eq!(error(&rich.refresh(&tokens, &[]).await), (400, "invalid_grant"));
    // Nothing of it is remembered.
    let answer = crate::flow::request(&rich.server, &rich.browser, &query).await;
    assert!(answer.is_consent_page(), "{}", answer.body);
}
