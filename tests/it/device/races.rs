//! Races of polls and answers between server processes.

use std::sync::Arc;

use super::Device;
use crate::flow::Answer;
use crate::races::Node;
use crate::token::text;

async fn count(device: &Device, event_type: &str) -> usize {
    let events = device.events().await;
    events.iter().filter(|event| *event == event_type).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_polls_after_the_approval_on_two_nodes_one_succeeds_and_the_family_dies() {
    let device = Device::new().await;
    let nodes = [
        Node::beside(&device.server).await,
        Node::beside(&device.server).await,
    ];
    let begun = device.approved(&[]).await;
    let device = Arc::new(device);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..64_usize {
        let (device, base) = (Arc::clone(&device), nodes[number % 2].base.clone());
        let code = text(&begun, "device_code").to_owned();
        all.spawn(async move { device.poll_at(&base, &code).await });
    }
    let answers = all.join_all().await;
    let given: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
    assert_eq!(given.len(), 1);
    for (status, body) in answers.iter().filter(|(status, _)| *status != 200) {
        assert_eq!((*status, text(body, "error")), (400, "invalid_grant"));
    }
    assert!(!device.works(text(&given[0].1, "access_token")).await);
    for event in [
        "DeviceCodeRedeemed",
        "TokenIssued",
        "DeviceCodeReplayed",
        "TokenRevoked",
    ] {
        assert_eq!(count(&device, event).await, 1, "{event}");
    }
    crate::ledger::assert_gapless(&device.server).await;
}

/// Posts an answer to a node, with the browser's session.
async fn answer_at(device: &Device, base: &str, (begun, page): (&str, &Answer), decision: &str) -> u16 {
    let (token, session) = (page.hidden("form_token"), page.hidden("session"));
    let fields = super::form(&[
        ("step", "answer"),
        ("form_token", &token),
        ("session", &session),
        ("decision", decision),
    ]);
    let request = device
        .browser
        .post(format!("{base}/oauth/device?user_code={begun}"));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(fields).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_answers_on_two_nodes_the_first_alone_counts() {
    let device = Device::new().await;
    let nodes = [
        Node::beside(&device.server).await,
        Node::beside(&device.server).await,
    ];
    let begun = device.begin(&[]).await;
    let page = device.asked(&begun).await;
    let user_code = text(&begun, "user_code").to_owned();
    let (device, page) = (Arc::new(device), Arc::new(page));
    let mut all = tokio::task::JoinSet::new();
    for number in 0..16_usize {
        let (device, page, code) = (Arc::clone(&device), Arc::clone(&page), user_code.clone());
        let base = nodes[number % 2].base.clone();
        let decision = if number % 4 < 2 { "approve" } else { "deny" };
        all.spawn(async move { answer_at(&device, &base, (&code, &page), decision).await });
    }
    let answers = all.join_all().await;
    assert_eq!(
        answers.iter().filter(|status| **status == 303).count(),
        1,
        "{answers:?}"
    );
    assert!(
        answers.iter().all(|status| matches!(status, 303 | 400)),
        "{answers:?}"
    );
    let (approved, denied) = (
        count(&device, "DeviceAuthorizationApproved").await,
        count(&device, "DeviceAuthorizationDenied").await,
    );
    assert_eq!(approved + denied, 1);
    assert_eq!(count(&device, "ConsentGiven").await, approved);
    let (status, body) = device.poll(&begun).await;
    if approved == 1 {
        assert_eq!(status, 200, "{body}");
    } else {
        assert_eq!((status, text(&body, "error")), (400, "access_denied"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_polls_several_nodes_at_once_is_slowed_down_by_all() {
    let device = Device::new().await;
    let nodes = [
        Node::beside(&device.server).await,
        Node::beside(&device.server).await,
    ];
    let begun = device.begin(&[]).await;
    let device = Arc::new(device);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..10_usize {
        let (device, base) = (Arc::clone(&device), nodes[number % 2].base.clone());
        let code = text(&begun, "device_code").to_owned();
        all.spawn(async move { text(&device.poll_at(&base, &code).await.1, "error").to_owned() });
    }
    let told = all.join_all().await;
    let slowed = told.iter().filter(|error| *error == "slow_down").count();
    let pending = told
        .iter()
        .filter(|error| *error == "authorization_pending")
        .count();
    assert_eq!((pending, slowed), (1, 9), "{told:?}");
    let interval: i32 = sqlx::query_scalar("SELECT poll_interval FROM grantlog.device_authorizations")
        .fetch_one(device.server.app.ledger.pool())
        .await
        .unwrap();
    assert_eq!(interval, 5 + 9 * 5);
}
