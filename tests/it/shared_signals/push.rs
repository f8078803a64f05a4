//! RFC 8935: tokens are sent until they are acknowledged, in order, and to nobody else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use grantlog::ssf::Transmitter;
use serde_json::{Value, json};

use super::{
    ACCOUNT_DISABLED, ACCOUNT_ENABLED, ACCOUNT_PURGED, CREDENTIAL_CHANGE, Receiver, SESSION_REVOKED, Stage,
    VERIFICATION, event, text,
};
use crate::harness::{TestServer, serve};

/// A receiver's endpoint: what came, and what it answers.
#[derive(Clone, Default)]
pub(super) struct Endpoint {
    url: String,
    pub(super) came: Arc<Mutex<Vec<(String, String)>>>,
    failures: Arc<Mutex<u32>>,
    /// It can make nothing of tokens of this event type (RFC 8935 §2.3).
    refuses: Arc<Mutex<Option<&'static str>>>,
}

impl Endpoint {
    pub(super) async fn start(failures: u32) -> Self {
        serve(|address| {
            let endpoint = Self {
                url: format!("http://{address}/events"),
                failures: Arc::new(Mutex::new(failures)),
                ..Self::default()
            };
            let router = Router::new()
                .route("/events", post(receive))
                .with_state(endpoint.clone());
            (endpoint, router)
        })
        .await
    }

    /// Waits for so many transmissions.
    pub(super) async fn wait(&self, count: usize) -> Vec<(String, String)> {
        for _ in 0..1200 {
            let came = self.came.lock().unwrap().clone();
            if came.len() >= count {
                return came;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} of {count} came", self.came.lock().unwrap().len())
    }

    pub(super) fn delivery(&self) -> Value {
        json!({"method": "urn:ietf:rfc:8935", "endpoint_url": self.url, "authorization_header": "Bearer receiver"})
    }
}

async fn receive(State(endpoint): State<Endpoint>, headers: HeaderMap, body: String) -> Response {
    assert_eq!(headers["content-type"], "application/secevent+jwt");
    let kind = event(&super::claims_of(&body)).0;
    assert_eq!(headers["accept"], "application/json");
    let authorization = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    endpoint
        .came
        .lock()
        .unwrap()
        .push((authorization.unwrap_or_default(), body));
    let mut failures = endpoint.failures.lock().unwrap();
    if *failures > 0 {
        *failures -= 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if *endpoint.refuses.lock().unwrap() == Some(kind.as_str()) {
        let error = json!({"err": "invalid_request", "description": "what is that?"});
        return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
    }
    StatusCode::ACCEPTED.into_response()
}

async fn all(receiver: &Receiver<'_>, came: &[(String, String)]) -> Vec<Value> {
    let mut claims = Vec::new();
    for (_, token) in came {
        claims.push(receiver.claims(token).await);
    }
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_sent_what_befalls_its_users_until_it_acknowledges_and_nobody_elses() {
    let stage = Stage::new().await;
    let endpoint = Endpoint::start(2).await;
    let receiver = stage.receiver(json!({})).await;
    receiver.log_in().await;
    let stream = receiver.stream(json!({"delivery": endpoint.delivery()})).await;
    assert!(!stream.to_string().contains("Bearer"), "{stream}");
    let stranger = stage.server.user("mallory", "another battery staple").await;
    // A second node: each event is sent by one of them.
    let other = Transmitter::start(&stage.server.second_node().await.0);
    let (context, operations) = (TestServer::context(), &stage.server.app.operations);
    operations
        .disable_user(&context, stranger, "private words")
        .await
        .unwrap();
    operations
        .set_password(&context, stage.subject, "a new battery staple".to_owned())
        .await
        .unwrap();
    operations
        .disable_user(&context, stage.subject, "private words")
        .await
        .unwrap();
    operations.enable_user(&context, stage.subject).await.unwrap();
    operations.erase_user(&context, stage.subject).await.unwrap();
    let came = endpoint.wait(9).await;
    assert!(
        came.iter()
            .all(|(authorization, _)| authorization == "Bearer receiver")
    );
    let claims = all(&receiver, &came).await;
    let kinds: Vec<String> = claims.iter().map(|claims| event(claims).0).collect();
    // The first is sent three times, for the first two are not acknowledged.
    let expected = [
        CREDENTIAL_CHANGE,
        CREDENTIAL_CHANGE,
        CREDENTIAL_CHANGE,
        SESSION_REVOKED,
        ACCOUNT_DISABLED,
        SESSION_REVOKED,
        ACCOUNT_ENABLED,
        SESSION_REVOKED,
        ACCOUNT_PURGED,
    ];
    assert_eq!(kinds, expected);
    assert!(claims[..3].iter().all(|one| one["jti"] == claims[0]["jti"]));
    let subject = receiver.names(&stage.subject.to_string());
    assert!(claims.iter().all(|one| one["sub_id"] == subject), "{claims:?}");
    let (_, change) = event(&claims[0]);
    assert_eq!(change["credential_type"], "password");
    assert_eq!(change["change_type"], "update");
    assert_eq!(change["initiating_entity"], "admin");
    assert!(change["event_timestamp"].is_i64());
    // When it happened, whatever the event type has of its own (RFC 8417 §2.2).
    assert_eq!(claims[0]["toe"], change["event_timestamp"]);
    let disabled = claims
        .iter()
        .find(|one| event(one).0 == ACCOUNT_DISABLED)
        .unwrap();
    assert!(disabled["toe"].as_i64() >= claims[0]["toe"].as_i64());
    assert!(!text(&change["reason_admin"], "en").is_empty());
    assert!(!format!("{claims:?}").contains("private words"));
    // Of an erased user nothing more is known here, and nothing more was sent.
    stage.folded().await;
    other.stop().await;
    assert_eq!(endpoint.came.lock().unwrap().len(), 9);
    assert_eq!(header_in_the_database(&stage).await, 0);
    stage.stop().await;
}

/// In how many rows the header that the receiver gave can be read.
async fn header_in_the_database(stage: &Stage) -> i64 {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM grantlog.ssf_push_headers WHERE position('receiver'::bytea in wrapped) > 0) \
              + (SELECT count(*) FROM grantlog.ledger WHERE payload::text LIKE '%Bearer receiver%')",
    )
    .fetch_one(stage.server.app.ledger.pool())
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_one_login_names_the_user_and_the_login() {
    let stage = Stage::new().await;
    let endpoint = Endpoint::start(0).await;
    let receiver = stage.receiver(json!({})).await;
    let stream = receiver.stream(json!({"delivery": endpoint.delivery()})).await;
    let verify = json!({"stream_id": stream["stream_id"], "state": "VGhpcyBpcyBh"});
    assert_eq!(
        receiver.ask("POST", "/ssf/verify", Some(verify.clone())).await.0,
        204
    );
    assert_eq!(receiver.ask("POST", "/ssf/verify", Some(verify)).await.0, 429);
    let verification = receiver.claims(&endpoint.wait(1).await[0].1).await;
    assert_eq!(
        event(&verification),
        (VERIFICATION.to_owned(), json!({"state": "VGhpcyBpcyBh"}))
    );
    assert_eq!(
        verification["sub_id"],
        json!({"format": "opaque", "id": stream["stream_id"]})
    );
    let tokens = receiver.log_in().await;
    let id_token = super::claims_of(text(&tokens, "id_token"));
    stage.log_out().await;
    let revoked = receiver.claims(&endpoint.wait(2).await[1].1).await;
    let (kind, body) = event(&revoked);
    assert_eq!(
        (kind.as_str(), &body["initiating_entity"]),
        (SESSION_REVOKED, &json!("user"))
    );
    let session = json!({"format": "opaque", "id": id_token["sid"]});
    let user = receiver.names(&stage.subject.to_string());
    assert_eq!(
        revoked["sub_id"],
        json!({"format": "complex", "user": user, "session": session})
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_its_receiver_can_make_nothing_of_holds_up_no_other() {
    let stage = Stage::new().await;
    let endpoint = Endpoint::start(0).await;
    *endpoint.refuses.lock().unwrap() = Some(ACCOUNT_DISABLED);
    let receiver = stage.receiver(json!({})).await;
    receiver.log_in().await;
    let wanted = json!([ACCOUNT_DISABLED, ACCOUNT_ENABLED]);
    receiver
        .stream(json!({"delivery": endpoint.delivery(), "events_requested": wanted}))
        .await;
    let (context, operations) = (TestServer::context(), &stage.server.app.operations);
    operations
        .disable_user(&context, stage.subject, "")
        .await
        .unwrap();
    operations.enable_user(&context, stage.subject).await.unwrap();
    let claims = all(&receiver, &endpoint.wait(2).await).await;
    let kinds: Vec<String> = claims.iter().map(|claims| event(claims).0).collect();
    assert_eq!(kinds, [ACCOUNT_DISABLED, ACCOUNT_ENABLED]);
    stage.stop().await;
}
