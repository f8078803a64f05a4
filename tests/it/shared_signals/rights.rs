//! Who hears of whom when what says so has just changed.

use std::time::Duration;

use grantlog::domain::client::{Approval, ClientCommand};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use super::poll::poll;
use super::push::Endpoint;
use super::{ACCOUNT_DISABLED, ACCOUNT_ENABLED, Receiver, Stage, event, text};
use crate::command_line::{finish, grantlog_on};
use crate::harness::TestServer;
use crate::users::approve;

const SCOPES: [&str; 2] = ["ssf.manage", "ssf.read"];

async fn kinds(receiver: &Receiver<'_>, stream: &Value) -> Vec<String> {
    let (claims, _) = poll(receiver, stream, json!({})).await;
    claims.iter().map(|one| event(one).0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_removed_and_added_again_is_heard_of_however_far_the_reader_of_signals_is() {
    let stage = Stage::new().await;
    let wanted = json!({"events_requested": [ACCOUNT_DISABLED]});
    let again = stage.receiver(json!({})).await;
    let never = stage.receiver(json!({})).await;
    again.log_in().await;
    let of_again = again.stream(wanted.clone()).await;
    let of_never = never.stream(wanted).await;
    stage.folded().await;
    // The reader of signals comes no further.
    let mut reader = PgConnection::connect(&stage.server.database.owner_url)
        .await
        .unwrap();
    reader.execute("BEGIN").await.unwrap();
    reader
        .execute("SELECT FROM grantlog.ssf_cursor FOR UPDATE")
        .await
        .unwrap();
    let subject = again.names(&stage.subject.to_string());
    let about = |stream: &Value| json!({"stream_id": stream["stream_id"], "subject": subject});
    let remove = "/ssf/subjects:remove";
    assert_eq!(again.ask("POST", remove, Some(about(&of_again))).await.0, 204);
    let added = again
        .ask("POST", "/ssf/subjects:add", Some(about(&of_again)))
        .await;
    assert_eq!(added.0, 200);
    // Nor has it read that this client has to do with the user.
    never.log_in().await;
    assert_eq!(never.ask("POST", remove, Some(about(&of_never))).await.0, 204);
    drop(reader);

    let operations = &stage.server.app.operations;
    operations
        .disable_user(&TestServer::context(), stage.subject, "")
        .await
        .unwrap();
    stage.folded().await;
    assert_eq!(kinds(&again, &of_again).await, [ACCOUNT_DISABLED]);
    assert!(kinds(&never, &of_never).await.is_empty());
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_to_a_receiver_whose_token_or_approvals_are_gone() {
    let stage = Stage::new().await;
    let (context, operations) = (TestServer::context(), &stage.server.app.operations);
    let receiver = stage.receiver(json!({})).await;
    receiver.log_in().await;
    let polled = receiver
        .stream(json!({"events_requested": [ACCOUNT_DISABLED]}))
        .await;
    stage.folded().await;

    // Its token is revoked while it waits for something to be told.
    let token = receiver.token_for("ssf.read").await;
    let path = text(&polled["delivery"], "endpoint_url").strip_prefix(&stage.server.base);
    let waiting = receiver.ask_with(&token, ("POST", path.unwrap()), Some(json!({})));
    let revoked = async {
        until_it_waits(&stage).await;
        let request = reqwest::Client::new()
            .post(stage.server.url("/oauth/revoke"))
            .basic_auth(
                &receiver.client.client_id,
                receiver.client.client_secret.as_deref(),
            )
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"));
        assert_eq!(request.send().await.unwrap().status(), 200);
        operations
            .disable_user(&context, stage.subject, "")
            .await
            .unwrap();
    };
    let ((status, answer), ()) = tokio::join!(waiting, revoked);
    assert_eq!((status, text(&answer, "error")), (401, "token_invalid"));
    assert_eq!(kinds(&receiver, &polled).await, [ACCOUNT_DISABLED]);

    // An administrator takes back what it was approved for.
    let endpoint = Endpoint::start(0).await;
    let wanted = json!({"delivery": endpoint.delivery(), "events_requested": [ACCOUNT_ENABLED]});
    let pushed = receiver.stream(wanted).await;
    for scope in SCOPES {
        let withdrawn = ClientCommand::Approval {
            scope: scope.to_owned(),
            step: Approval::Withdrawn,
            reason: "no longer ours".to_owned(),
        };
        operations
            .command_client(&context, receiver.client.key, &withdrawn)
            .await
            .unwrap();
    }
    operations.enable_user(&context, stage.subject).await.unwrap();
    until_in_vain(&stage, &pushed).await;
    assert!(endpoint.came.lock().unwrap().is_empty());
    let found = doctor(&stage).await;
    assert_eq!(found["verdict"], "warn", "{found}");
    assert!(
        text(&found, "found").contains(text(&pushed, "stream_id")),
        "{found}"
    );
    // Nothing is lost when it is approved again.
    approve(&stage.server, receiver.client.key, &SCOPES[..1]).await;
    let came = endpoint.wait(1).await;
    assert_eq!(event(&receiver.claims(&came[0].1).await).0, ACCOUNT_ENABLED);
    stage.stop().await;
}

/// Waits until a poll has looked in vain, and looks again.
async fn until_it_waits(stage: &Stage) {
    let pool = stage.server.app.ledger.pool();
    for _ in 0..1200 {
        let looked: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
             AND query LIKE 'SELECT t.jti%')",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if looked {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no poll waits");
}

/// Waits until a stream's next token was not sent.
async fn until_in_vain(stage: &Stage, stream: &Value) {
    for _ in 0..1200 {
        let attempts: Option<i32> =
            sqlx::query_scalar("SELECT attempts FROM grantlog.ssf_streams WHERE stream_id = $1::uuid")
                .bind(text(stream, "stream_id"))
                .fetch_optional(stage.server.app.ledger.pool())
                .await
                .unwrap();
        if attempts.is_some_and(|attempts| attempts > 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the token was sent");
}

/// What doctor says of shared signals at worst.
async fn doctor(stage: &Stage) -> Value {
    let mut command = grantlog_on(&stage.server.database);
    command
        .env("GRANTLOG_SHARED_SIGNALS", "true")
        .args(["doctor", "--json"]);
    let output = finish(command, None).await;
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut about = checks
        .into_iter()
        .filter(|check| check["name"] == "shared signals");
    let first = about.next().unwrap_or_default();
    about.find(|check| check["verdict"] != "ok").unwrap_or(first)
}
