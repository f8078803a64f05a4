//! The page where a user answers a device.

use grantlog::domain::client::ClientCommand;
use serde_json::json;

use super::{Device, form};
use crate::flow;
use crate::harness::{TestServer, browser};
use crate::token::text;

#[tokio::test]
async fn a_code_is_entered_by_hand_however_it_is_typed() {
    let device = Device::new().await;
    let page = flow::get(&device.server, &device.browser, "/oauth/device").await;
    assert!(
        page.status == 200 && page.body.contains("name=\"user_code\""),
        "{}",
        page.body
    );
    let begun = device.begin(&[]).await;
    let user_code = text(&begun, "user_code");
    device.log_in(user_code, flow::USERNAME).await;
    let letters = user_code.replace('-', "").to_lowercase();
    for typed in [
        letters.clone(),
        format!(" {} . {}", &letters[..2], &letters[2..]),
        user_code.replace('-', "\u{2013}"),
    ] {
        let page = device.open(&typed).await;
        assert!(
            page.body.contains("on another device asks for access"),
            "{typed}: {}",
            page.body
        );
        // What is shown is the code as the device shows it.
        assert!(page.body.contains(user_code), "{typed}");
    }
    for typed in ["", "AEIO-UAEI", "BCD", "<script>alert(1)</script>", "12345678"] {
        let page = device.open(typed).await;
        assert_eq!(page.status, if typed.is_empty() { 200 } else { 400 }, "{typed}");
        assert!(!page.body.contains("<script>") && page.body.contains("name=\"user_code\""));
    }
    let doubled = "/oauth/device?user_code=BCDF-GHJK&user_code=BCDF-GHJL";
    let doubled = flow::get(&device.server, &device.browser, doubled).await;
    assert!(doubled.status == 400 && doubled.body.contains("This device link does not work"));
    for (header, wanted) in [
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
    ] {
        assert_eq!(page.headers[header], wanted);
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("form-action 'self'"));
}

#[tokio::test]
async fn a_form_from_elsewhere_answers_no_device() {
    let device = Device::new().await;
    let (begun, other) = (device.begin(&[]).await, device.begin(&[]).await);
    let user_code = text(&begun, "user_code");
    let page = device.asked(&begun).await;
    let (token, session) = (page.hidden("form_token"), page.hidden("session"));
    let approve = |token: &str, session: &str| {
        [
            ("step", "answer"),
            ("form_token", token),
            ("session", session),
            ("decision", "approve"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let stranger = uuid::Uuid::new_v4().to_string();
    let none = "0".repeat(64);
    // No proof, another's session, the proof for another code.
    for (code, fields) in [
        (user_code, approve(&none, &session)),
        (user_code, approve(&token, &stranger)),
        (user_code, approve("", "")),
        (text(&other, "user_code"), approve(&token, &session)),
    ] {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let answer = device.submit(code, &fields).await;
        assert_eq!(answer.status, 403, "{}", answer.body);
        assert!(answer.body.contains("The form could not be checked"));
    }
    assert_eq!(device.reasons().await, ["form_token_wrong"; 4]);
    // The browser says that it is another site's.
    let url = device.server.url(&format!("/oauth/device?user_code={user_code}"));
    let fields = approve(&token, &session);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let request = device.browser.post(url).header("origin", "https://evil.example");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(request.body(form(&fields)).send().await.unwrap().status(), 403);
    for begun in [&begun, &other] {
        assert_eq!(device.told(begun).await, "authorization_pending");
    }
    // A login form of one code's page is bound to it and to the browser.
    let device = Device {
        browser: browser(),
        ..device
    };
    device.open(user_code).await;
    let fields = [
        ("step", "login"),
        ("form_token", none.as_str()),
        ("username", flow::USERNAME),
        ("password", flow::PASSWORD),
    ];
    let answer = device.submit(user_code, &fields).await;
    assert!(answer.status == 403 && answer.is_login_page(), "{}", answer.body);
}

#[tokio::test]
async fn a_user_may_take_another_account_or_come_back_logged_out() {
    let device = Device::new().await;
    let bob = device.server.user("bob", flow::PASSWORD).await;
    let begun = device.begin(&[]).await;
    let page = device.asked(&begun).await;
    let switched = device.decide(&begun, &page, "switch").await;
    assert_eq!(switched.status, 303);
    // The old page, whose session is over, answers nothing.
    let answer = device.decide(&begun, &page, "approve").await;
    let location = format!("device?user_code={}", text(&begun, "user_code"));
    assert_eq!(
        (answer.status.as_u16(), answer.location()),
        (303, Some(location.as_str()))
    );
    assert_eq!(device.told(&begun).await, "authorization_pending");
    device.log_in(text(&begun, "user_code"), "bob").await;
    device.answer(&begun, "approve").await;
    let subject: String = sqlx::query_scalar(
        "SELECT payload->>'subject' FROM grantlog.ledger WHERE event_type = 'DeviceAuthorizationApproved'",
    )
    .fetch_one(device.server.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(subject, bob.to_string());
}

#[tokio::test]
async fn wrong_passwords_at_the_devices_page_are_counted_as_anywhere() {
    let device = Device::with(|settings| settings.failures_per_minute = 2, json!({})).await;
    let begun = device.begin(&[]).await;
    let user_code = text(&begun, "user_code");
    let mut statuses = Vec::new();
    for password in ["wrong", "", "wrong", flow::PASSWORD] {
        let token = device.open(user_code).await.hidden("form_token");
        let fields = [
            ("step", "login"),
            ("form_token", token.as_str()),
            ("username", flow::USERNAME),
            ("password", password),
        ];
        statuses.push(device.submit(user_code, &fields).await.status.as_u16());
    }
    assert_eq!(statuses, [403, 400, 403, 429]);
    let reasons = ["wrong_password", "wrong_password", "too_many_failures"];
    assert_eq!(device.reasons().await, reasons);
}

#[tokio::test]
async fn a_device_whose_client_may_not_is_refused_to_its_user() {
    for end in ["suspended", "grant_types", "scope", "in development"] {
        let device = Device::new().await;
        let begun = device.begin(&[]).await;
        let page = device.asked(&begun).await;
        let key = device.client.key;
        match end {
            "suspended" => {
                let reason = "test".to_owned();
                let suspend = ClientCommand::Suspend { reason };
                let context = TestServer::context();
                let operations = &device.server.app.operations;
                operations.command_client(&context, key, &suspend).await.unwrap();
            }
            "grant_types" => {
                let patch = json!({"grant_types": ["refresh_token"]});
                device.server.update_client(key, patch).await.unwrap();
            }
            "scope" => {
                let patch = json!({"scope": "openid", "default_scopes": "openid"});
                device.server.update_client(key, patch).await.unwrap();
            }
            _ => {
                let patch = json!({"is_live": false});
                device.server.update_client(key, patch).await.unwrap();
            }
        }
        for answer in [
            device.open(text(&begun, "user_code")).await,
            device.decide(&begun, &page, "approve").await,
        ] {
            assert_eq!(answer.status, 400, "{end}");
            assert!(
                answer.body.contains("This device cannot be connected"),
                "{end}: {}",
                answer.body
            );
        }
        assert_eq!(device.events().await, ["DeviceAuthorizationRequested"], "{end}");
    }
}

#[tokio::test]
async fn a_consent_that_was_given_is_asked_again_and_recorded_once() {
    let device = Device::new().await;
    for _ in 0..2 {
        let begun = device.approved(&[]).await;
        assert_eq!(device.poll(&begun).await.0, 200);
    }
    let consents = device.events().await;
    assert_eq!(
        consents.iter().filter(|event| *event == "ConsentGiven").count(),
        1
    );
    // Who polled and who approved can be compared without decrypting anything.
    let networks: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT metadata->>'network' FROM grantlog.ledger WHERE event_type IN \
         ('DeviceAuthorizationRequested', 'DeviceAuthorizationApproved', 'DeviceCodeRedeemed')",
    )
    .fetch_all(device.server.app.ledger.pool())
    .await
    .unwrap();
    assert!(networks.len() == 6 && networks[0].is_some());
    assert!(networks.iter().all(|network| *network == networks[0]));
}

#[tokio::test]
async fn a_login_that_is_older_than_the_client_allows_answers_no_device() {
    let device = Device::with(|_| {}, json!({"default_max_age": 60})).await;
    let begun = device.begin(&[("scope", "openid view-user")]).await;
    let user_code = text(&begun, "user_code");
    let page = device.asked(&begun).await;
    device.wait(61);
    // Neither by the page that was shown in time, nor by one that is opened now.
    let late = device.decide(&begun, &page, "approve").await;
    assert_eq!(late.status, 303);
    assert!(device.open(user_code).await.is_login_page());
    assert_eq!(device.told(&begun).await, "authorization_pending");
    device.wait(10);
    device.answer(&begun, "approve").await;
    let (status, tokens) = device.poll(&begun).await;
    assert_eq!(status, 200, "{tokens}");
    let claims = super::claims(text(&tokens, "id_token"));
    let age = claims["iat"].as_i64().unwrap() - claims["auth_time"].as_i64().unwrap();
    assert!((0..=60).contains(&age), "{claims}");
}

#[tokio::test]
async fn a_client_that_allows_no_time_since_the_login_can_be_answered_all_the_same() {
    let device = Device::with(|_| {}, json!({"default_max_age": 0})).await;
    device.approved(&[]).await;
}
