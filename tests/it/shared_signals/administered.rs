//! What administrators do to users, as receivers hear of it, and to event streams; and what is told when nothing should be.

use std::time::Duration;

use grantlog::evidence::Fault;
use grantlog::ssf::Transmitter;
use serde_json::{Value, json};
use sqlx::Executor;

use super::{ACCOUNT_DISABLED, Receiver, SESSION_REVOKED, STREAM_UPDATED, Stage, claims_of, event, text};
use crate::command_line::{finish, grantlog_on, stdout};
use crate::harness::TestServer;
use crate::users::approve;

/// A client that receives, and that administers, too.
async fn administrator(stage: &Stage) -> (Receiver<'_>, String) {
    let operations = &stage.server.app.operations;
    operations
        .define_scope(&TestServer::context(), "admin", "Administer", true)
        .await
        .unwrap();
    let scope = "view-user openid ssf.manage ssf.read admin";
    let receiver = stage.receiver(json!({"scope": scope})).await;
    approve(&stage.server, receiver.client.key, &["admin"]).await;
    receiver.log_in().await;
    let token = receiver.token_for("admin").await;
    (receiver, token)
}

/// What waits for a stream that is polled: event types, and what stands under them. Nothing of it is acknowledged.
async fn polled(receiver: &Receiver<'_>, stream: &str) -> Vec<(String, Value)> {
    receiver.stage.folded().await;
    let body = json!({"returnImmediately": true});
    let (status, answer) = receiver
        .ask("POST", &format!("/ssf/poll/{stream}"), Some(body))
        .await;
    assert_eq!(status, 200, "{answer}");
    let sets = answer["sets"].as_object().unwrap().values();
    sets.map(|set| event(&claims_of(set.as_str().unwrap()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_over_the_api_is_told_as_one_and_holds_streams_that_no_receiver_frees() {
    let stage = Stage::new().await;
    let (receiver, admin) = administrator(&stage).await;
    let created = receiver.stream(json!({})).await;
    let stream = text(&created, "stream_id").to_owned();
    let administer = async |method: &str, path: &str, body: Option<Value>| {
        receiver.ask_with(&admin, (method, path), body).await
    };
    let because = || Some(json!({"reason": "private words"}));

    let disable = format!("/admin/users/{}/disable", stage.subject);
    assert_eq!(administer("POST", &disable, because()).await.0, 200);
    let told = polled(&receiver, &stream).await;
    let (_, revoked) = told.iter().find(|(kind, _)| kind == SESSION_REVOKED).unwrap();
    assert_eq!(revoked["initiating_entity"], "admin", "{told:?}");
    assert!(told.iter().any(|(kind, _)| kind == ACCOUNT_DISABLED));

    // Who administers sees what waits, and stops it.
    let (status, listed) = administer("GET", "/admin/signals", None).await;
    assert_eq!(status, 200, "{listed}");
    let one = &listed["items"][0];
    assert_eq!(
        (&one["waiting"], &one["held"]),
        (&json!(2), &json!(false)),
        "{one}"
    );
    assert_eq!(one["client_id"], *receiver.client.client_id);
    let path = format!("/admin/signals/{stream}");
    let (status, paused) = administer("POST", &format!("{path}/pause"), because()).await;
    assert_eq!(
        (status, &paused["status"], &paused["held"]),
        (200, &json!("paused"), &json!(true)),
        "{paused}"
    );
    let told = polled(&receiver, &stream).await;
    assert_eq!(told.len(), 1, "only that it is paused: {told:?}");
    assert_eq!(
        (told[0].0.as_str(), &told[0].1["status"]),
        (STREAM_UPDATED, &json!("paused"))
    );
    assert!(!format!("{told:?}").contains("private words"));
    let enable = json!({"stream_id": stream, "status": "enabled"});
    let (status, refused) = receiver.ask("POST", "/ssf/status", Some(enable.clone())).await;
    assert_eq!(
        (status, &refused["error"]),
        (403, &json!("permission_denied")),
        "{refused}"
    );

    // On the command line, too; who did it and why is on the trail.
    let signal = async |arguments: &[&str]| -> Value {
        let mut command = grantlog_on(&stage.server.database);
        command.arg("signal").args(arguments).arg("--json");
        serde_json::from_str(&stdout(&finish(command, None).await)).unwrap()
    };
    let shown = signal(&["enable", &stream, "--reason", "it was a drill"]).await;
    assert_eq!(
        (&shown["status"], &shown["held"]),
        (&json!("enabled"), &json!(false))
    );
    assert_eq!(receiver.ask("POST", "/ssf/status", Some(enable)).await.0, 200);
    let disabled = signal(&["disable", &stream, "--reason", "an incident"]).await;
    assert_eq!(disabled["status"], "disabled");
    let client = receiver.client.client_id.as_str();
    let listed = signal(&["list", "--client", client]).await;
    let shown = signal(&["show", &stream]).await;
    // What waits is dropped soon after: it may differ.
    for member in ["stream_id", "client_id", "status", "held"] {
        assert_eq!(listed[0][member], shown[member], "{listed}");
    }
    let told = polled(&receiver, &stream).await;
    let still: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(still, [STREAM_UPDATED], "what waited is dropped");
    let noted: Vec<(String, String)> = sqlx::query_as(
        "SELECT metadata->>'actor', metadata->>'note' FROM grantlog.ledger_ssf_stream \
         WHERE payload->>'by_operator' = 'true' ORDER BY position",
    )
    .fetch_all(stage.server.app.ledger.pool())
    .await
    .unwrap();
    let reasons: Vec<&str> = noted.iter().map(|(_, note)| note.as_str()).collect();
    assert_eq!(reasons, ["private words", "it was a drill", "an incident"]);
    assert_eq!(noted[0].0, format!("client:{}", receiver.client.key));
    stage.stop().await;
}

async fn status_of(receiver: &Receiver<'_>, stream: &str) -> String {
    let path = format!("/ssf/status?stream_id={stream}");
    let (_, answer) = receiver.ask("GET", &path, None).await;
    text(&answer, "status").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn time_without_a_transmitter_is_no_neglect_of_the_receivers_and_other_time_is() {
    let mut stage = Stage::new().await;
    let owner = stage.server.database.owner().await;
    let transmitter = stage.transmitter.take().unwrap();
    let receiver = stage.receiver(json!({})).await;
    receiver.log_in().await;
    let created = receiver.stream(json!({})).await;
    let stream = text(&created, "stream_id").to_owned();
    let operations = &stage.server.app.operations;
    operations
        .disable_user(&TestServer::context(), stage.subject, "a case")
        .await
        .unwrap();
    assert_eq!(polled(&receiver, &stream).await.len(), 2);
    transmitter.stop().await;

    // As if shared signals had been off since then, for eight days.
    for table in [
        "grantlog.ssf_sets SET waits_since = waits_since - interval '8 days', made_at = made_at - interval '8 days'",
        "grantlog.ssf_tending SET at = clock_timestamp() - interval '8 days'",
    ] {
        owner.execute(format!("UPDATE {table}").as_str()).await.unwrap();
    }
    let transmitter = Transmitter::start(&stage.server.app);
    let until = async |wanted: &str| {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        loop {
            let is_so: bool = sqlx::query_scalar(&format!("SELECT {wanted}"))
                .fetch_one(&owner)
                .await
                .unwrap();
            if is_so {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until("(SELECT at FROM grantlog.ssf_tending) > now() - interval '1 day'").await;
    // It looks for neglect after that: once more for certain.
    owner
        .execute("UPDATE grantlog.ssf_tending SET at = at - interval '1 minute'")
        .await
        .unwrap();
    until("(SELECT at FROM grantlog.ssf_tending) > now() - interval '30 seconds'").await;
    assert_eq!(status_of(&receiver, &stream).await, "enabled");
    assert_eq!(polled(&receiver, &stream).await.len(), 2);

    owner
        .execute("UPDATE grantlog.ssf_sets SET waits_since = waits_since - interval '8 days'")
        .await
        .unwrap();
    until("(SELECT status FROM grantlog.ssf_streams) = 'disabled'").await;
    assert_eq!(status_of(&receiver, &stream).await, "disabled");
    transmitter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_ledger_that_is_not_the_signed_one_no_receiver_is_told_anything() {
    let stage = Stage::new().await;
    let receiver = stage.receiver(json!({})).await;
    receiver.log_in().await;
    receiver.stream(json!({})).await;
    stage.folded().await;
    let app = &stage.server.app;
    app.evidence.set_fault(&Fault::Changed(1));
    app.operations
        .disable_user(&TestServer::context(), stage.subject, "forged")
        .await
        .unwrap();
    // Several times as long as it takes otherwise; it can only fail where something was told.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM grantlog.ssf_sets")
        .fetch_one(app.ledger.pool())
        .await
        .unwrap();
    assert_eq!(waiting, 0);
    stage.stop().await;
}
