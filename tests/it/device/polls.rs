//! What a device is told while it polls (RFC 8628 §3.5).

use grantlog::domain::client::ClientCommand;
use grantlog::domain::consent::{Consent, ConsentCommand};
use grantlog::http::one_time::OneTime;
use serde_json::json;

use super::Device;
use crate::harness::{TestServer, browser};
use crate::token::text;

#[tokio::test]
async fn a_device_that_polls_too_fast_is_slowed_down_and_more_each_time() {
    let device = Device::new().await;
    let begun = device.begin(&[]).await;
    for (wait, told) in [
        (0, "authorization_pending"),
        (5, "authorization_pending"),
        // The interval is 10 seconds from here on, then 15.
        (1, "slow_down"),
        (6, "slow_down"),
        (11, "slow_down"),
        (20, "authorization_pending"),
        (15, "slow_down"),
        (25, "authorization_pending"),
    ] {
        device.wait(wait);
        assert_eq!(device.told(&begun).await, told, "after {wait} s");
    }
    // None of this is on the ledger, and another device's pace is its own.
    assert_eq!(device.events().await, ["DeviceAuthorizationRequested"]);
    assert_eq!(device.reasons().await.len(), 0);
    let other = device.begin(&[]).await;
    assert_eq!(device.told(&other).await, "authorization_pending");
    // What has its answer is not slowed down.
    device.answer(&begun, "approve").await;
    assert_eq!(device.poll(&begun).await.0, 200);
}

#[tokio::test]
async fn a_device_that_is_denied_or_too_late_is_told_so() {
    let device = Device::new().await;
    let denied = device.begin(&[]).await;
    assert!(
        device
            .answer(&denied, "deny")
            .await
            .contains("The device was denied")
    );
    for _ in 0..2 {
        assert_eq!(device.told(&denied).await, "access_denied");
    }
    let pending = device.begin(&[]).await;
    let approved = device.approved(&[]).await;
    assert_eq!(device.told(&pending).await, "authorization_pending");
    device.wait(601);
    for begun in [&pending, &approved] {
        assert_eq!(device.told(begun).await, "expired_token");
    }
    assert_eq!(
        OneTime::DeviceAuthorizations
            .prune(&device.server.app)
            .await
            .unwrap(),
        3
    );
    for begun in [&pending, &approved] {
        assert_eq!(device.told(begun).await, "expired_token");
    }
    assert!(!device.events().await.contains(&"TokenIssued".to_owned()));
}

#[tokio::test]
async fn another_client_can_neither_use_nor_kill_a_device_code() {
    let device = Device::new().await;
    let begun = device.approved(&[]).await;
    let other = device
        .server
        .client(json!({
            "client_name": "Other", "grant_types": [super::GRANT_TYPE], "token_endpoint_auth_method": "none",
            "scope": "view-user", "default_scopes": "view-user",
        }))
        .await;
    let mut stranger = Device {
        http: reqwest::Client::new(),
        browser: browser(),
        ..device
    };
    let own = std::mem::replace(&mut stranger.client, other);
    assert_eq!(stranger.told(&begun).await, "invalid_grant");
    stranger.client = own;
    // A forged random part, another kind of credential, and none at all.
    let code = text(&begun, "device_code");
    let last = if code.ends_with('A') { "B" } else { "A" };
    for bad in [
        format!("{}{last}{}", &code[..60], &code[61..]),
        code.replace("gld_", "glc_"),
        "x".to_owned(),
    ] {
        let (status, body) = stranger.poll_at(&stranger.server.base, &bad).await;
        assert_eq!((status, text(&body, "error")), (400, "invalid_grant"), "{bad}");
    }
    let url = stranger.server.url("/oauth/token");
    let (status, body) = stranger.post(&url, &[("grant_type", super::GRANT_TYPE)]).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_request"));
    assert_eq!(stranger.poll(&begun).await.0, 200);
}

#[tokio::test]
async fn what_ends_between_approval_and_poll_ends_the_approval() {
    let context = TestServer::context();
    for (end, status, error) in [
        ("suspended", 401, "invalid_client"),
        ("disabled", 400, "invalid_grant"),
        ("password", 400, "invalid_grant"),
        ("withdrawn", 400, "invalid_grant"),
        ("scope", 400, "invalid_scope"),
        ("revoked", 400, "invalid_grant"),
    ] {
        let device = Device::new().await;
        let begun = device.approved(&[]).await;
        let operations = &device.server.app.operations;
        let reason = "test".to_owned();
        match end {
            "suspended" => {
                let suspend = ClientCommand::Suspend { reason };
                operations
                    .command_client(&context, device.client.key, &suspend)
                    .await
                    .unwrap();
            }
            "disabled" => operations
                .disable_user(&context, device.subject, "test")
                .await
                .unwrap(),
            "password" => {
                let password = "another password".to_owned();
                operations
                    .set_password(&context, device.subject, password)
                    .await
                    .unwrap();
            }
            "scope" => {
                let patch = json!({"scope": "openid", "default_scopes": "openid"});
                device
                    .server
                    .update_client(device.client.key, patch)
                    .await
                    .unwrap();
            }
            "revoked" => {
                let id: uuid::Uuid =
                    sqlx::query_scalar("SELECT grant_id FROM grantlog.device_authorizations")
                        .fetch_one(device.server.app.ledger.pool())
                        .await
                        .unwrap();
                operations
                    .revoke_grant(&context, grantlog::ids::GrantId(id))
                    .await
                    .unwrap();
            }
            _ => withdraw(&device).await,
        }
        let (found, body) = device.poll(&begun).await;
        assert_eq!((found, text(&body, "error")), (status, error), "{end}: {body}");
        assert!(
            !device.events().await.contains(&"TokenIssued".to_owned()),
            "{end}"
        );
    }
}

async fn withdraw(device: &Device) {
    let context = TestServer::context();
    let mut unit = device.server.app.ledger.unit_of_work(&context);
    let id = Consent::id(device.subject, device.client.key);
    let consent = unit.load::<Consent>(id).await.unwrap();
    let command = ConsentCommand::Withdraw { at: unit.at() };
    let concluded = unit.conclude(&consent, consent.decide(&command)).await.unwrap();
    concluded.unwrap().outcome.unwrap();
}

#[tokio::test]
async fn what_a_device_was_given_ends_as_every_grant_does() {
    for end in ["withdrawn", "password"] {
        let device = Device::new().await;
        let begun = device.approved(&[]).await;
        let (_, tokens) = device.poll(&begun).await;
        assert!(device.works(text(&tokens, "access_token")).await);
        if end == "withdrawn" {
            withdraw(&device).await;
        } else {
            let operations = &device.server.app.operations;
            let context = TestServer::context();
            let password = "another password".to_owned();
            operations
                .set_password(&context, device.subject, password)
                .await
                .unwrap();
        }
        assert!(!device.works(text(&tokens, "access_token")).await, "{end}");
        let refresh = [
            ("grant_type", "refresh_token"),
            ("refresh_token", text(&tokens, "refresh_token")),
        ];
        let (status, body) = device.post(&device.server.url("/oauth/token"), &refresh).await;
        assert_eq!((status, text(&body, "error")), (400, "invalid_grant"), "{end}");
    }
}

#[tokio::test]
async fn a_devices_tokens_are_for_the_resources_that_it_asked_for() {
    let audience = json!({"audience": ["urn:example:a", "urn:example:b", "urn:example:c"]});
    let device = Device::with(|_| {}, audience).await;
    let begun = device
        .approved(&[("resource", "urn:example:a"), ("resource", "urn:example:b")])
        .await;
    let url = device.server.url("/oauth/token");
    let poll = [
        ("grant_type", super::GRANT_TYPE),
        ("device_code", text(&begun, "device_code")),
    ];
    let with = |resource| [poll[0], poll[1], ("resource", resource)];
    let (status, body) = device.post(&url, &with("urn:example:c")).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_target"));
    let (status, body) = device.post(&url, &with("urn:example:b")).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(super::claims(text(&body, "access_token"))["aud"], "urn:example:b");
}
