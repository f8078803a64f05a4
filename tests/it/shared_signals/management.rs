//! SSF 1.0 §7 and §8: metadata, and streams that only their own receiver sees and changes.

use serde_json::{Value, json};

use super::{ACCOUNT_PURGED, SESSION_REVOKED, Stage, text};
use crate::harness::TestServer;

#[tokio::test]
async fn the_transmitters_metadata_name_what_is_there_and_nothing_is_there_where_it_is_off() {
    let stage = Stage::new().await;
    let url = stage.server.url("/.well-known/ssf-configuration");
    let document: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
    assert_eq!(document["issuer"], stage.server.base);
    assert_eq!(document["spec_version"], "1_0");
    assert_eq!(
        document["delivery_methods_supported"],
        json!(["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"])
    );
    assert_eq!(
        document["authorization_schemes"],
        json!([{"spec_urn": "urn:ietf:rfc:6749"}])
    );
    let endpoints = [
        "configuration_endpoint",
        "status_endpoint",
        "add_subject_endpoint",
        "remove_subject_endpoint",
        "verification_endpoint",
    ];
    for endpoint in endpoints {
        let url = text(&document, endpoint);
        let answer = reqwest::Client::new()
            .post(url)
            .json(&json!({}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401, "{url}");
        assert!(answer.headers().contains_key("www-authenticate"));
    }
    assert_eq!(
        reqwest::get(text(&document, "jwks_uri")).await.unwrap().status(),
        200
    );
    stage.stop().await;
    let off = TestServer::start().await;
    for path in ["/.well-known/ssf-configuration", "/ssf/stream"] {
        assert_eq!(reqwest::get(off.url(path)).await.unwrap().status(), 404);
    }
}

#[tokio::test]
async fn a_stream_is_changed_as_its_receiver_says_and_by_nobody_else() {
    let stage = Stage::new().await;
    let (receiver, other) = (stage.receiver(json!({})).await, stage.receiver(json!({})).await);
    let push = |url: &str| json!({"method": "urn:ietf:rfc:8935", "endpoint_url": url});
    let stream = receiver
        .stream(json!({"description": "Sign-outs", "delivery": push("https://receiver.example/e"), "iss": "ignored"}))
        .await;
    let id = text(&stream, "stream_id").to_owned();
    assert_eq!(
        (&stream["iss"], &stream["aud"]),
        (&json!(stage.server.base), &json!(receiver.client.client_id))
    );
    let path = format!("/ssf/stream?stream_id={id}");
    let read = receiver.token_for("ssf.read").await;
    assert_eq!(
        receiver.ask_with(&read, ("GET", &path), None).await,
        (200, stream.clone())
    );
    assert_eq!(
        receiver.ask("GET", "/ssf/stream", None).await,
        (200, json!([stream]))
    );
    assert_eq!(other.ask("GET", "/ssf/stream", None).await, (200, json!([])));

    // PATCH changes what it names; PUT everything; what the transmitter says must be repeated rightly or not at all.
    let change = json!({"stream_id": id, "events_requested": [SESSION_REVOKED], "events_delivered": stream["events_delivered"]});
    let (status, patched) = receiver.ask("PATCH", "/ssf/stream", Some(change)).await;
    assert_eq!(
        (status, &patched["events_delivered"]),
        (200, &json!([SESSION_REVOKED]))
    );
    assert_eq!(
        (&patched["description"], &patched["delivery"]),
        (&stream["description"], &stream["delivery"])
    );
    let wrong = json!({"stream_id": id, "events_requested": [ACCOUNT_PURGED], "aud": "somebody"});
    assert_eq!(receiver.ask("PATCH", "/ssf/stream", Some(wrong)).await.0, 400);
    let put = json!({"stream_id": id, "delivery": push("https://receiver.example/f")});
    let (status, replaced) = receiver.ask("PUT", "/ssf/stream", Some(put)).await;
    assert_eq!(
        (
            status,
            replaced.get("description"),
            replaced.get("events_requested")
        ),
        (200, None, None)
    );
    assert_eq!(replaced["delivery"]["endpoint_url"], "https://receiver.example/f");
    assert_eq!(replaced["events_delivered"], replaced["events_supported"]);

    // Another receiver's stream is none; a token that only reads changes nothing.
    let status = format!("/ssf/status?stream_id={id}");
    let body = json!({"stream_id": id, "status": "disabled"});
    for (method, path, body) in [
        ("GET", path.as_str(), None),
        ("PATCH", "/ssf/stream", Some(json!({"stream_id": id}))),
        ("PUT", "/ssf/stream", Some(json!({"stream_id": id}))),
        ("DELETE", path.as_str(), None),
        ("GET", status.as_str(), None),
        ("POST", "/ssf/status", Some(body.clone())),
        ("POST", "/ssf/verify", Some(json!({"stream_id": id}))),
        (
            "POST",
            "/ssf/subjects:add",
            Some(json!({"stream_id": id, "subject": other.names("x")})),
        ),
        ("POST", &format!("/ssf/poll/{id}"), Some(json!({}))),
    ] {
        let (code, answer) = other.ask(method, path, body).await;
        assert_eq!(
            (code, &answer["error"]),
            (404, &json!("resource_not_found")),
            "{method} {path}"
        );
    }
    for (method, path) in [
        ("POST", "/ssf/stream"),
        ("POST", "/ssf/status"),
        ("DELETE", path.as_str()),
    ] {
        let asked = (method == "POST").then(|| body.clone());
        let (code, answer) = receiver.ask_with(&read, (method, path), asked).await;
        assert_eq!(
            (code, &answer["error"]),
            (403, &json!("insufficient_scope")),
            "{method} {path}"
        );
    }
    let found = receiver.ask("GET", &status, None).await;
    assert_eq!(found, (200, json!({"stream_id": id, "status": "enabled"})));

    assert_eq!(receiver.ask("DELETE", &path, None).await.0, 204);
    assert_eq!(receiver.ask("GET", &path, None).await.0, 404);
    stage.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_stream_is_refused_with_what_is_wrong() {
    let stage = Stage::new().await;
    let receiver = stage.receiver(json!({})).await;
    let push = |url: &str| json!({"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": url}});
    for body in [
        json!([]),
        json!({"delivery": {"method": "urn:other"}}),
        json!({"delivery": {"method": "urn:ietf:rfc:8935"}}),
        push("http://receiver.example/e"),
        push("https://10.0.0.1/e"),
        push("not a url"),
        json!({"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://r.example/", "authorization_header": "a\nb"}}),
        json!({"events_requested": "all"}),
        json!({"description": "x".repeat(201)}),
    ] {
        let (status, answer) = receiver.ask("POST", "/ssf/stream", Some(body.clone())).await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("validation_error")),
            "{body}"
        );
    }
    let stream = receiver.stream(json!({})).await;
    let id = &stream["stream_id"];
    for (path, body) in [
        ("/ssf/status", json!({"stream_id": id, "status": "off"})),
        (
            "/ssf/subjects:add",
            json!({"stream_id": id, "subject": {"format": "email", "email": "a@example.com"}}),
        ),
        (
            "/ssf/subjects:add",
            json!({"stream_id": id, "subject": {"format": "iss_sub", "iss": "https://other.example", "sub": "x"}}),
        ),
        ("/ssf/verify", json!({"stream_id": id, "state": "x".repeat(1025)})),
        ("/ssf/verify", json!({})),
    ] {
        assert_eq!(
            receiver.ask("POST", path, Some(body.clone())).await.0,
            400,
            "{path} {body}"
        );
    }
    // Whether there is such a user is not told.
    let nobody = json!({"stream_id": id, "subject": receiver.names(&uuid::Uuid::new_v4().to_string())});
    assert_eq!(
        receiver
            .ask("POST", "/ssf/subjects:add", Some(nobody.clone()))
            .await
            .0,
        200
    );
    assert_eq!(
        receiver.ask("POST", "/ssf/subjects:remove", Some(nobody)).await.0,
        204
    );
    for _ in 1..10 {
        receiver.stream(json!({})).await;
    }
    let (status, answer) = receiver.ask("POST", "/ssf/stream", Some(json!({}))).await;
    assert_eq!((status, &answer["error"]), (409, &json!("conflict")));
    stage.stop().await;
}
