//! Guessing user codes (RFC 8628 §5.1), and sending one's own to others (§5.4).

use serde_json::json;

use super::Device;
use crate::flow::{self, Answer};
use crate::harness::browser;
use crate::token::text;

const UNKNOWN: &str = "No device is waiting under this code";

fn is_unknown(page: &Answer) -> bool {
    page.status == 400 && page.body.contains(UNKNOWN)
}

#[tokio::test]
async fn wrong_user_codes_are_limited_per_user_and_per_address() {
    let device = Device::with(|settings| settings.failures_per_minute = 3, json!({})).await;
    device.server.user("bob", flow::PASSWORD).await;
    let begun = device.begin(&[]).await;
    let user_code = text(&begun, "user_code");
    // Right ones count for nothing.
    for _ in 0..5 {
        device.asked(&begun).await;
    }
    for wrong in ["BBBB-BBBB", "cccc cccc", "DDDDDDDD"] {
        assert!(is_unknown(&device.open(wrong).await), "{wrong}");
    }
    for code in ["FFFF-FFFF", user_code] {
        let page = device.open(code).await;
        assert_eq!(page.status, 429, "{}", page.body);
        assert!(page.headers.contains_key("retry-after") && page.body.contains("too many failed attempts"));
    }
    // From the same place, as somebody else; and nothing can be answered either.
    let device = Device {
        browser: browser(),
        ..device
    };
    device.log_in(user_code, "bob").await;
    assert_eq!(device.open(user_code).await.status, 429);
    let mut reasons = vec!["user_code_unknown"; 3];
    reasons.extend(["too_many_user_codes"; 3]);
    assert_eq!(device.reasons().await, reasons);
    device.wait(61);
    device.answer(&begun, "approve").await;
    assert_eq!(device.poll(&begun).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_guessed_at_once_do_not_pass_the_limit() {
    let device = Device::with(|settings| settings.failures_per_minute = 3, json!({})).await;
    let begun = device.begin(&[]).await;
    device.asked(&begun).await;
    let device = std::sync::Arc::new(device);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..24_usize {
        let device = std::sync::Arc::clone(&device);
        let letters = ["BCDFGHJ", "KLMNPQR"][number % 2];
        let code = format!("{letters}{}", char::from(b"BCDFGHJKLMNPQRSTVWXZ"[number % 20]));
        all.spawn(async move { device.open(&code).await.status.as_u16() });
    }
    let answers = all.join_all().await;
    assert_eq!(answers.len(), 24);
    assert!(
        answers.iter().all(|status| matches!(status, 400 | 429)),
        "{answers:?}"
    );
    // Two that are counted at the very same instant may count as one.
    let looked_up = answers.iter().filter(|status| **status == 400).count();
    assert!((3..=5).contains(&looked_up), "{looked_up} were looked up");
}

#[tokio::test]
async fn a_code_is_not_looked_up_before_somebody_is_logged_in() {
    let device = Device::new().await;
    let begun = device.begin(&[]).await;
    for code in [text(&begun, "user_code"), "BBBB-BBBB"] {
        let page = device.open(code).await;
        assert!(page.status == 200 && page.is_login_page(), "{}", page.body);
    }
    let lookups: i32 = sqlx::query_scalar("SELECT lookups FROM grantlog.device_authorizations")
        .fetch_one(device.server.app.ledger.pool())
        .await
        .unwrap();
    assert_eq!((lookups, device.reasons().await.len()), (0, 0));
}

#[tokio::test]
async fn a_code_that_is_over_looks_like_one_that_never_was() {
    let device = Device::new().await;
    let (approved, denied) = (device.approved(&[]).await, device.begin(&[]).await);
    device.answer(&denied, "deny").await;
    let (expired, opened) = (device.begin(&[]).await, device.begin(&[]).await);
    let page = device.asked(&opened).await;
    device.wait(601);
    let never = device.open("BBBB-BBBB").await;
    assert!(is_unknown(&never));
    for begun in [&approved, &denied, &expired] {
        let code = text(begun, "user_code");
        let page = device.open(code).await;
        assert_eq!(page.status, 400);
        assert_eq!(page.body.replace(code, "BBBB-BBBB"), never.body);
    }
    // Too late to answer, too.
    assert!(is_unknown(&device.decide(&opened, &page, "approve").await));
    let late: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM grantlog.ledger WHERE event_type = 'DeviceAuthorizationApproved'",
    )
    .fetch_one(device.server.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(late, 1);
}

#[tokio::test]
async fn a_code_that_is_opened_again_and_again_is_over() {
    let device = Device::new().await;
    let begun = device.begin(&[]).await;
    for _ in 0..20 {
        device.asked(&begun).await;
    }
    assert!(is_unknown(&device.open(text(&begun, "user_code")).await));
    assert_eq!(device.reasons().await, ["user_code_overused"]);
    assert_eq!(device.told(&begun).await, "authorization_pending");
}

#[tokio::test]
async fn a_device_is_answered_once() {
    let device = Device::new().await;
    let begun = device.begin(&[]).await;
    let page = device.asked(&begun).await;
    device.decide(&begun, &page, "deny").await;
    assert!(is_unknown(&device.decide(&begun, &page, "approve").await));
    assert_eq!(device.reasons().await, ["user_code_answered"]);
    assert_eq!(device.told(&begun).await, "access_denied");
}
