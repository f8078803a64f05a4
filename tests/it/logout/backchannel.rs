//! OpenID Connect Back-Channel Logout 1.0: who is told of what, how often, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::domain::session::SessionEndRevokes;
use grantlog::ids::SessionId;
use grantlog::logout::LogoutFollower;
use grantlog::operations::account::EndedBy;
use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use super::{Desk, metadata, text};
use crate::harness::{TestServer, serve};
use crate::tokens::part;

/// Relying parties on this machine: `/NAME` is one of them. What each received, and what it answers (0: nothing).
#[derive(Clone, Default)]
struct Receiver {
    base: String,
    received: Arc<Mutex<Vec<(String, String)>>>,
    answers: Arc<Mutex<BTreeMap<String, u16>>>,
}

impl Receiver {
    async fn start() -> Self {
        serve(|address| {
            let receiver = Self {
                base: format!("http://{address}"),
                ..Self::default()
            };
            let router = Router::new()
                .route("/{name}", post(receive))
                .with_state(receiver.clone());
            (receiver, router)
        })
        .await
    }

    fn answer(&self, name: &str, status: u16) {
        self.answers.lock().unwrap().insert(name.to_owned(), status);
    }

    fn tokens(&self, name: &str) -> Vec<String> {
        let received = self.received.lock().unwrap();
        let of_name = received.iter().filter(|(to, _)| to == name);
        of_name.map(|(_, token)| token.clone()).collect()
    }

    async fn wait_for(&self, name: &str, count: usize) -> Vec<String> {
        for _ in 0..1200 {
            if self.tokens(name).len() >= count {
                return self.tokens(name);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{name} received {}", self.tokens(name).len())
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    (Path(name), RawQuery(query)): (Path<String>, RawQuery),
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    // §2.2: a query is kept as it is registered.
    assert_eq!(query.as_deref(), Some("rp=%31&x"));
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    assert_eq!(form.len(), 1, "{form:?}");
    let token = form["logout_token"].clone();
    let status = receiver
        .answers
        .lock()
        .unwrap()
        .get(&name)
        .copied()
        .unwrap_or(200);
    receiver.received.lock().unwrap().push((name, token));
    if status == 0 {
        std::future::pending::<()>().await;
    }
    StatusCode::from_u16(status).unwrap()
}

async fn client(desk: &Desk, receiver: &Receiver, name: &str, extra: Value) -> CreatedClient {
    let mut members = json!({
        "backchannel_logout_uri": format!("{}/{name}?rp=%31&x", receiver.base),
        "backchannel_logout_session_required": true,
    });
    members
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    desk.server.client(metadata(&members)).await
}

/// The claims, checked as a relying party must (§2.6).
async fn claims(desk: &Desk, token: &str, client: &CreatedClient, algorithm: &str) -> Value {
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("logout+jwt"));
    let keys = reqwest::get(desk.server.url("/oauth/jwks")).await.unwrap();
    let keys: jsonwebtoken::jwk::JwkSet = keys.json().await.unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    let mut validation = jsonwebtoken::Validation::new(algorithm.parse().unwrap());
    validation.set_audience(&[&client.client_id]);
    validation.set_issuer(&[&desk.server.base]);
    validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    jsonwebtoken::decode::<Value>(token, &key, &validation)
        .unwrap()
        .claims
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_with_an_id_token_is_told_once_though_two_nodes_follow() {
    let (desk, receiver) = (Desk::new().await, Receiver::start().await);
    let other = desk.server.second_node().await.0;
    let followers = [
        LogoutFollower::start(&desk.server.app),
        LogoutFollower::start(&other),
    ];
    let rs256 = client(&desk, &receiver, "rs256", json!({})).await;
    let es256 = client(
        &desk,
        &receiver,
        "es256",
        json!({"id_token_signed_response_alg": "ES256"}),
    )
    .await;
    let plain = client(&desk, &receiver, "plain", json!({})).await;
    let unredeemed = client(&desk, &receiver, "unredeemed", json!({})).await;
    let mut sids = Vec::new();
    for (client, algorithm, name) in [(&rs256, "RS256", "rs256"), (&es256, "ES256", "es256")] {
        let tokens = desk.tokens(client, "openid").await;
        // Twice in one login is still one client.
        desk.tokens(client, "openid offline_access").await;
        let id_token = text(&tokens, "id_token").split('.').nth(1).unwrap().to_owned();
        sids.push((client, algorithm, name, id_token));
    }
    desk.tokens(&plain, "view-user").await;
    desk.code(&unredeemed, "openid").await;
    desk.log_out().await;
    let mut jtis = Vec::new();
    for (client, algorithm, name, id_token) in sids {
        let token = receiver.wait_for(name, 1).await.remove(0);
        let claims = claims(&desk, &token, client, algorithm).await;
        let id_token = URL_SAFE_NO_PAD.decode(id_token).unwrap();
        let id_token: Value = serde_json::from_slice(&id_token).unwrap();
        assert_eq!(
            (&claims["sid"], &claims["sub"]),
            (&id_token["sid"], &id_token["sub"])
        );
        assert_eq!(
            claims["events"],
            json!({"http://schemas.openid.net/event/backchannel-logout": {}})
        );
        assert!(claims.get("nonce").is_none());
        let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert!(exp - iat <= 120, "{claims}");
        jtis.push(text(&claims, "jti").to_owned());
    }
    assert_ne!(jtis[0], jtis[1]);
    let delivered = desk.wait_for("BackchannelLogoutDelivered", 2).await;
    assert!(
        delivered.iter().all(|event| event["attempts"] == 1),
        "{delivered:?}"
    );
    // Everything that was to be done is done: nobody is told again, and nobody else.
    for follower in followers {
        follower.stop().await;
    }
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM grantlog.logout_tasks WHERE kind = 'tell'")
        .fetch_one(desk.server.app.ledger.pool())
        .await
        .unwrap();
    let told = receiver.received.lock().unwrap().len();
    assert_eq!(
        (left, told, desk.events("BackchannelLogoutDelivered").await.len()),
        (0, 2, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_down_is_told_after_the_server_was_restarted() {
    let (desk, receiver) = (Desk::new().await, Receiver::start().await);
    let client = client(&desk, &receiver, "rp", json!({})).await;
    receiver.answer("rp", 400);
    desk.tokens(&client, "openid").await;
    desk.log_out().await;
    let follower = LogoutFollower::start(&desk.server.app);
    receiver.wait_for("rp", 1).await;
    follower.stop().await;
    assert!(desk.events("BackchannelLogoutDelivered").await.is_empty());
    receiver.answer("rp", 204);
    // Whatever the stopped node had taken is free again after its time.
    desk.server.clock.advance(Duration::from_mins(2));
    let restarted = desk.server.second_node().await.0;
    let before = receiver.tokens("rp").len();
    let follower = LogoutFollower::start(&restarted);
    receiver.wait_for("rp", before + 1).await;
    let delivered = desk.wait_for("BackchannelLogoutDelivered", 1).await;
    follower.stop().await;
    assert!(delivered[0]["attempts"].as_u64().unwrap() >= 2, "{delivered:?}");
    assert_eq!(text(&delivered[0], "client"), client.key.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_client_holds_up_no_other_and_is_given_up_in_the_end() {
    let desk = Desk::with(json!({}), |settings| {
        settings.backchannel_logout_retry_seconds = 1;
    })
    .await;
    let receiver = Receiver::start().await;
    // On a host of its own: of one host only a few calls are made at once.
    let pit = Receiver::start().await;
    let dead = client(&desk, &pit, "dead", json!({})).await;
    let broken = client(&desk, &receiver, "broken", json!({})).await;
    let alive = client(&desk, &receiver, "alive", json!({})).await;
    pit.answer("dead", 0);
    receiver.answer("broken", 500);
    for _ in 0..6 {
        for client in [&dead, &broken, &alive] {
            desk.tokens(client, "openid").await;
        }
        desk.log_out().await;
    }
    let follower = LogoutFollower::start(&desk.server.app);
    // All of them while the dead client's first calls still wait.
    receiver.wait_for("alive", 6).await;
    assert_eq!(
        desk.events("BackchannelLogoutAbandoned")
            .await
            .iter()
            .filter(|event| text(event, "client") == dead.key.to_string())
            .count(),
        0
    );
    desk.wait_for("BackchannelLogoutDelivered", 6).await;
    let abandoned = desk.wait_for("BackchannelLogoutAbandoned", 6).await;
    assert!(
        abandoned.iter().any(|event| text(event, "error") == "status_500"),
        "{abandoned:?}"
    );
    follower.stop().await;
    assert!(pit.tokens("dead").len() <= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_which_a_login_ends_is_told() {
    let (desk, receiver) = (Desk::new().await, Receiver::start().await);
    let client = client(&desk, &receiver, "rp", json!({})).await;
    let follower = LogoutFollower::start(&desk.server.app);
    let operations = &desk.server.app.operations;
    let context = TestServer::context();
    desk.tokens(&client, "openid").await;
    // There and back, since the test logs in with the one password that it knows.
    for password in ["another horse battery", crate::flow::PASSWORD] {
        operations
            .set_password(&context, desk.subject, password.to_owned())
            .await
            .unwrap();
    }
    receiver.wait_for("rp", 1).await;
    desk.tokens(&client, "openid").await;
    operations
        .disable_user(&context, desk.subject, "test")
        .await
        .unwrap();
    receiver.wait_for("rp", 2).await;
    operations.enable_user(&context, desk.subject).await.unwrap();
    for (by, told) in [(EndedBy::User, 3), (EndedBy::Administrator, 4)] {
        let tokens = desk.tokens(&client, "openid").await;
        let session = part(text(&tokens, "id_token"), 1);
        let session = SessionId(text(&session, "sid").parse().unwrap());
        let how = (SessionEndRevokes::Online, by);
        let ended = operations.end_session(&context, desk.subject, session, how);
        assert!(ended.await.unwrap());
        receiver.wait_for("rp", told).await;
    }
    // The client that asks for the logout is told, too (RP-Initiated Logout §2).
    let tokens = desk.tokens(&client, "openid").await;
    desk.ask(&[("id_token_hint", text(&tokens, "id_token"))]).await;
    receiver.wait_for("rp", 5).await;
    desk.tokens(&client, "openid").await;
    operations.erase_user(&context, desk.subject).await.unwrap();
    receiver.wait_for("rp", 6).await;
    desk.wait_for("BackchannelLogoutDelivered", 6).await;
    follower.stop().await;
    let ended = desk.events("SessionEnded").await;
    let reasons: Vec<&str> = ended.iter().map(|event| text(event, "reason")).collect();
    assert_eq!(
        reasons,
        [
            "password_changed",
            "user_disabled",
            "user",
            "administrator",
            "rp_logout",
            "user_erased"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_uri_inside_is_not_called_unless_the_operator_allows_it() {
    let desk = Desk::with(json!({}), |settings| {
        settings.outbound_allow.clear();
        settings.backchannel_logout_retry_seconds = 0;
    })
    .await;
    let receiver = Receiver::start().await;
    let inside = client(
        &desk,
        &receiver,
        "inside",
        json!({"backchannel_logout_uri": format!("{}/inside", receiver.base.replace("http:", "https:"))}),
    )
    .await;
    desk.tokens(&inside, "openid").await;
    desk.log_out().await;
    let follower = LogoutFollower::start(&desk.server.app);
    let abandoned = desk.wait_for("BackchannelLogoutAbandoned", 1).await;
    follower.stop().await;
    assert_eq!(text(&abandoned[0], "error"), "address_refused");
    assert!(receiver.tokens("inside").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_token_that_cannot_be_signed_is_given_up_like_any_other() {
    let desk = Desk::with(json!({}), |settings| {
        settings.backchannel_logout_retry_seconds = 1;
    })
    .await;
    let receiver = Receiver::start().await;
    let unsigned = json!({"id_token_signed_response_alg": "EdDSA"});
    let client = client(&desk, &receiver, "rp", unsigned).await;
    desk.tokens(&client, "openid").await;
    desk.log_out().await;
    // The private key is lost.
    sqlx::query(
        "DELETE FROM grantlog.key_material WHERE key_id IN ( \
             SELECT aggregate_id FROM grantlog.ledger WHERE event_type = 'KeyGenerated' \
             AND payload->>'algorithm' = 'EdDSA')",
    )
    .execute(&desk.server.database.owner().await)
    .await
    .unwrap();
    desk.server.app.keys.reload().await.unwrap();
    let follower = LogoutFollower::start(&desk.server.app);
    let abandoned = desk.wait_for("BackchannelLogoutAbandoned", 1).await;
    follower.stop().await;
    assert_eq!(text(&abandoned[0], "error"), "not_signed");
    assert_eq!(text(&abandoned[0], "client"), client.key.to_string());
    assert!(receiver.tokens("rp").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_login_that_a_ledger_says_is_over_which_is_not_the_signed_one_nobody_is_told() {
    let (desk, receiver) = (Desk::new().await, Receiver::start().await);
    let app = client(&desk, &receiver, "app", json!({})).await;
    desk.tokens(&app, "openid view-user").await;
    desk.server
        .app
        .evidence
        .set_fault(&grantlog::evidence::Fault::Changed(1));
    let follower = LogoutFollower::start(&desk.server.app);
    // Several times as long as it takes otherwise; it can only fail where something was done.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let position: i64 = sqlx::query_scalar("SELECT position FROM grantlog.logout_cursor")
        .fetch_one(desk.server.app.ledger.pool())
        .await
        .unwrap();
    assert_eq!(position, 0, "nothing was read");
    // What had been read before is not told either.
    let task = "INSERT INTO grantlog.logout_tasks (kind, session_id, target, subject, since, due_at) \
                VALUES ('tell', gen_random_uuid(), $1, $2, now(), 'epoch')";
    sqlx::query(task)
        .bind(app.key.0)
        .bind(desk.subject.0)
        .execute(desk.server.app.ledger.pool())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    follower.stop().await;
    assert!(receiver.tokens("app").is_empty());
}
