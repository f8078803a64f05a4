//! What is refused with `invalid_authorization_details` (RFC 9396 §5, §8).

use serde_json::{Value, json};

use super::{BANK, DRIVE, FILES, INVALID, PAYMENT, Rich, error, files, payment};
use crate::flow;
use crate::private_key_jwt::Keys;

fn changed(mut detail: Value, member: &str, value: Value) -> Value {
    detail[member] = value;
    detail
}

#[tokio::test]
async fn bad_authorization_details_are_refused_at_every_endpoint() {
    let rich = Rich::with(json!({"authorization_details_types": [PAYMENT]})).await;
    let good = payment("1.00");
    let bad = [
        (good.clone(), "malformed"),
        (json!("text"), "malformed"),
        (json!([good, {"creditorName": "x"}]), "malformed"),
        // Allowed once, it is not allowed twice.
        (json!([good, good]), "malformed"),
        (json!([{"type": "unheard_of"}]), "type_unknown"),
        (
            json!([changed(good.clone(), "type", json!("Payment_initiation"))]),
            "type_unknown",
        ),
        (json!([files(&["read"])]), "type_not_allowed"),
        (json!([changed(good.clone(), "more", json!(1))]), "invalid"),
        (
            json!([good, changed(good.clone(), "creditorName", json!(""))]),
            "invalid",
        ),
        (
            json!([changed(good.clone(), "creditorName", json!(7))]),
            "invalid",
        ),
        (json!([{"type": PAYMENT, "creditorName": "x"}]), "invalid"),
        (
            json!([changed(good.clone(), "locations", json!([BANK, DRIVE]))]),
            "location_not_allowed",
        ),
        (
            json!([changed(
                good.clone(),
                "locations",
                json!(["https://elsewhere.example"])
            )]),
            "location_not_allowed",
        ),
    ];
    for (details, reason) in &bad {
        let parameters = rich.request(details).await.parameters();
        assert_eq!(parameters["error"], "invalid_authorization_details", "{details}");
        assert!(!parameters.contains_key("code") && parameters["state"] == "s t&ä");
        let pushed = rich.query(details);
        let pushed: Vec<_> = pushed
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            error(&rich.post("/oauth/par", &pushed).await),
            INVALID,
            "{details}"
        );
        let details = details.to_string();
        let form = [
            ("scope", "view-user"),
            ("authorization_details", details.as_str()),
        ];
        assert_eq!(
            error(&rich.post("/oauth/device_authorization", &form).await),
            INVALID,
            "{details}"
        );
        let form = [
            ("grant_type", "client_credentials"),
            ("authorization_details", details.as_str()),
        ];
        assert_eq!(
            error(&rich.post("/oauth/token", &form).await),
            INVALID,
            "{details}"
        );
        let kind = if *reason == "malformed" {
            "details"
        } else {
            "detail"
        };
        let reasons = rich.reasons().await;
        let reason = format!("authorization_{kind}_{reason}");
        assert_eq!(reasons[reasons.len() - 4..], [reason.as_str(); 4], "{details}");
    }
    let events: i64 =
        sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger WHERE aggregate_type = 'grant'")
            .fetch_one(rich.server.app.ledger.pool())
            .await
            .unwrap();
    assert_eq!(events, 0);
}

#[tokio::test]
async fn authorization_details_are_pushed_and_signed_as_they_are() {
    let keys = Keys::generate();
    let rich = Rich::with(json!({"jwks": keys.jwks()})).await;
    let asked = json!([files(&["read"]), payment("3.00")]);
    let query = rich.query(&asked);
    let pushed: Vec<_> = query
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let (status, pushed) = rich.post("/oauth/par", &pushed).await;
    assert_eq!(status, 201, "{pushed}");
    // In a request object they are JSON, not text (RFC 9396 §3).
    let now = rich.server.clock.now().timestamp();
    let mut claims = json!({"iss": rich.client.client_id, "aud": rich.server.base, "exp": now + 60});
    for (name, value) in flow::query(&rich.client) {
        claims[name] = value.into();
    }
    claims["authorization_details"] = asked.clone();
    let object = keys.sign(&json!({"alg": "ES256", "typ": "oauth-authz-req+jwt"}), &claims);
    for (name, value) in [
        ("request_uri", pushed["request_uri"].as_str().unwrap()),
        ("request", &object),
    ] {
        let query = vec![
            ("client_id".to_owned(), rich.client.client_id.clone()),
            (name.to_owned(), value.to_owned()),
        ];
        let parameters = flow::authorize(&rich.server, &rich.browser, &query).await;
        let (_, tokens) = rich.redeem(&parameters["code"], &[]).await;
        assert_eq!(tokens["authorization_details"], asked, "{name}: {tokens}");
    }
    assert!(asked.to_string().contains(FILES));
    // A member twice is refused there, too: a resource server could read the other one.
    let marked = claims["authorization_details"][0].take();
    let text = claims.to_string().replacen(
        "null",
        &format!("{{\"type\":\"x\",{}", &marked.to_string()[1..]),
        1,
    );
    assert!(text.contains("\"type\":\"x\",") && serde_json::from_str::<Value>(&text).is_ok());
    let object = keys.sign_text(&json!({"alg": "ES256", "typ": "oauth-authz-req+jwt"}), &text);
    let (status, refused) = rich.post("/oauth/par", &[("request", &object)]).await;
    assert_eq!(
        (status, &refused["error"]),
        (400, &json!("invalid_request_object")),
        "{refused}"
    );
}
