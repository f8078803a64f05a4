//! What operators see of devices: the grant on the command line, its tokens in the tables.

use serde_json::json;

use super::Device;
use crate::command_line::{finish, grantlog_on, stdout};
use crate::token::text;

async fn run(device: &Device, arguments: &[&str]) -> String {
    let mut command = grantlog_on(&device.server.database);
    command.args(arguments);
    stdout(&finish(command, None).await)
}

#[tokio::test]
async fn grant_show_says_how_far_a_device_has_come() {
    let device = Device::new().await;
    let begun = device.begin(&[]).await;
    let code = text(&begun, "device_code");
    let shown = run(&device, &["grant", "show", code]).await;
    for words in [
        "waits for an answer",
        "device code: authentic, usable",
        "DeviceAuthorizationRequested",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
    device.answer(&begun, "approve").await;
    let shown = run(&device, &["grant", "show", code]).await;
    assert!(shown.contains("approved, not redeemed"), "{shown}");
    assert!(shown.contains(&device.subject.to_string()), "{shown}");
    assert_eq!(device.poll(&begun).await.0, 200);
    let shown = run(&device, &["grant", "show", code]).await;
    assert!(
        shown.contains("device code: authentic, no longer usable"),
        "{shown}"
    );
    assert!(!shown.contains(code) && !shown.contains(text(&begun, "user_code")));
}

#[tokio::test]
async fn a_devices_tokens_are_in_the_tables_and_its_code_is_no_authorization_code() {
    let device = Device::new().await;
    let (approved, denied) = (device.approved(&[]).await, device.begin(&[]).await);
    device.answer(&denied, "deny").await;
    let (_, tokens) = device.poll(&approved).await;
    assert!(device.works(text(&tokens, "access_token")).await);
    // The replay ends the row.
    assert_eq!(device.told(&approved).await, "invalid_grant");
    device.server.settle().await;
    let pool = device.server.database.owner().await;
    let rows: Vec<(String, String, Option<String>)> =
        sqlx::query_as("SELECT grant_type, scope, revoked_reason FROM client_access_tokens")
            .fetch_all(&pool)
            .await
            .unwrap();
    let expected = (
        super::GRANT_TYPE.to_owned(),
        "view-user".to_owned(),
        Some("code_replayed".to_owned()),
    );
    assert_eq!(rows, [expected]);
    let codes: i64 = sqlx::query_scalar("SELECT count(*) FROM client_authorization_codes")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(codes, 0);
    run(&device, &["projection", "verify"]).await;
}

#[tokio::test]
async fn a_replayed_device_code_is_found_by_its_request_even_where_its_refusal_was_suppressed() {
    let device = Device::with(|settings| settings.refusals_per_minute = 0, json!({})).await;
    let approved = device.approved(&[]).await;
    assert_eq!(device.poll(&approved).await.0, 200);
    let (_, replayed) = device.poll(&approved).await;
    let found = run(
        &device,
        &["doctor", "request", text(&replayed, "request_id"), "--json"],
    )
    .await;
    assert!(found.contains("device_code_replayed"), "{found}");
}
