//! RFC 8936: tokens wait until they are acknowledged.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ACCOUNT_DISABLED, ACCOUNT_ENABLED, Receiver, STREAM_UPDATED, Stage, event, text};
use crate::harness::TestServer;

/// What a poll brings: the tokens' claims in the order of the ledger, and whether there is more.
pub(super) async fn poll(receiver: &Receiver<'_>, stream: &Value, mut body: Value) -> (Vec<Value>, bool) {
    body["returnImmediately"] = json!(true);
    let path = text(&stream["delivery"], "endpoint_url")
        .strip_prefix(&receiver.stage.server.base)
        .unwrap();
    let (status, answer) = receiver.ask("POST", path, Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    let mut claims = Vec::new();
    for (jti, token) in answer["sets"].as_object().unwrap() {
        let one = receiver.claims(token.as_str().unwrap()).await;
        assert_eq!(text(&one, "jti"), jti);
        claims.push(one);
    }
    (claims, answer["moreAvailable"] == true)
}

fn jtis(claims: &[Value]) -> Vec<&str> {
    claims.iter().map(|one| text(one, "jti")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn polled_signals_wait_until_they_are_acknowledged_and_name_the_user_as_the_receiver_does() {
    let stage = Stage::new().await;
    let receiver = stage.receiver(json!({"subject_type": "pairwise"})).await;
    let tokens = receiver.log_in().await;
    let sub = text(&super::claims_of(text(&tokens, "id_token")), "sub").to_owned();
    assert_ne!(sub, stage.subject.to_string());
    let wanted = json!([ACCOUNT_DISABLED, ACCOUNT_ENABLED, "https://example.com/unknown"]);
    let stream = receiver.stream(json!({"events_requested": wanted})).await;
    assert_eq!(stream["delivery"]["method"], "urn:ietf:rfc:8936");
    assert_eq!(stream["events_delivered"].as_array().unwrap().len(), 2);
    let (context, operations) = (TestServer::context(), &stage.server.app.operations);
    operations
        .disable_user(&context, stage.subject, "")
        .await
        .unwrap();
    operations.enable_user(&context, stage.subject).await.unwrap();
    stage.folded().await;

    let (first, more) = poll(&receiver, &stream, json!({"maxEvents": 1})).await;
    assert_eq!((event(&first[0]).0.as_str(), more), (ACCOUNT_DISABLED, true));
    assert_eq!(first[0]["sub_id"], receiver.names(&sub));
    // Not acknowledged, it comes again, with the same jti; acknowledged, it does not.
    let (both, more) = poll(&receiver, &stream, json!({"ack": ["nobody's"]})).await;
    assert_eq!((both.len(), more), (2, false));
    assert!(jtis(&both).contains(&jtis(&first)[0]));
    let (rest, _) = poll(&receiver, &stream, json!({"ack": jtis(&first)})).await;
    assert_eq!(event(&rest[0]).0, ACCOUNT_ENABLED);
    // One that the receiver can make nothing of waits no longer either.
    let errors = json!({"setErrs": {jtis(&rest)[0]: {"err": "invalid_request"}}, "maxEvents": 0});
    assert!(poll(&receiver, &stream, errors).await.0.is_empty());
    assert!(poll(&receiver, &stream, json!({})).await.0.is_empty());

    // Held while paused; none of whom the receiver does not want to hear; none while disabled.
    let about = json!({"stream_id": stream["stream_id"], "subject": receiver.names(&sub)});
    let status =
        |status: &str| json!({"stream_id": stream["stream_id"], "status": status, "reason": "maintenance"});
    assert_eq!(
        receiver
            .ask("POST", "/ssf/status", Some(status("paused")))
            .await
            .0,
        200
    );
    operations
        .disable_user(&context, stage.subject, "")
        .await
        .unwrap();
    stage.folded().await;
    assert!(poll(&receiver, &stream, json!({})).await.0.is_empty());
    assert_eq!(
        receiver
            .ask("POST", "/ssf/subjects:remove", Some(about.clone()))
            .await
            .0,
        204
    );
    operations.enable_user(&context, stage.subject).await.unwrap();
    assert_eq!(
        receiver
            .ask("POST", "/ssf/status", Some(status("enabled")))
            .await
            .0,
        200
    );
    stage.folded().await;
    let (held, _) = poll(&receiver, &stream, json!({})).await;
    assert_eq!(
        held.iter().map(|one| event(one).0).collect::<Vec<_>>(),
        [ACCOUNT_DISABLED]
    );
    assert_eq!(
        receiver.ask("POST", "/ssf/subjects:add", Some(about)).await.0,
        200
    );
    let (_, answer) = receiver
        .ask("POST", "/ssf/status", Some(status("disabled")))
        .await;
    assert_eq!(answer, status("disabled"));
    operations
        .disable_user(&context, stage.subject, "")
        .await
        .unwrap();
    assert_eq!(
        receiver
            .ask("POST", "/ssf/status", Some(status("enabled")))
            .await
            .0,
        200
    );
    operations.enable_user(&context, stage.subject).await.unwrap();
    stage.folded().await;
    let (after, _) = poll(&receiver, &stream, json!({})).await;
    assert_eq!(
        after.iter().map(|one| event(one).0).collect::<Vec<_>>(),
        [ACCOUNT_ENABLED]
    );

    // A receiver that acknowledges nothing for a week is told that its stream is off.
    stage.server.clock.advance(Duration::from_hours(8 * 24));
    for _ in 0..400 {
        let left = waiting(&receiver, &stream).await;
        if left == [STREAM_UPDATED] {
            stage.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the stream was not disabled");
}

/// The event types of what waits. The clock is ahead of all tokens, so that the receiver cannot ask.
async fn waiting(receiver: &Receiver<'_>, stream: &Value) -> Vec<String> {
    sqlx::query_scalar("SELECT event_type FROM grantlog.ssf_sets WHERE stream_id = $1::uuid ORDER BY number")
        .bind(text(stream, "stream_id"))
        .fetch_all(receiver.stage.server.app.ledger.pool())
        .await
        .unwrap()
}
