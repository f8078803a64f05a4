//! A quarter waits for everybody that follows the ledger.

use chrono::TimeDelta;
use grantlog::domain::stream::{OnFailure, StreamDefinition, StreamFilter, StreamTarget};
use grantlog::domain::trail::Class;
use grantlog::domain::value::Digest;
use grantlog::operations::stream::Start;
use grantlog::stream::store::{self, Lease};
use serde_json::json;
use sqlx::Executor;
use uuid::Uuid;

use super::{desk, document, issue, quarter_of, retention};
use crate::evidence::Sealed;
use crate::harness::TestServer;

async fn define(sealed: &Sealed, name: &str) {
    let definition = StreamDefinition {
        target: StreamTarget::OcsfFile {
            path: format!("/nowhere/{name}"),
            max_bytes: 0,
        },
        filter: StreamFilter::default(),
        batch: 100,
        attempts: 12,
        on_failure: OnFailure::Hold,
        secrets: Vec::new(),
    };
    let operations = &sealed.server.app.operations;
    operations
        .define_stream(&TestServer::context(), (name, Start::Beginning), definition, None)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarter_that_a_reader_has_not_carried_stays_unless_the_reader_is_named() {
    let (sealed, client, subject) = desk().await;
    let server = &sealed.server;
    let now = server.clock.now();
    let born = now - TimeDelta::days(3 * 365);
    let name = format!("grant_{}", quarter_of(server, born).await);
    issue(server, (client, subject), born, now - TimeDelta::hours(1)).await;
    let operations = &server.app.operations;
    let context = TestServer::context();
    operations
        .set_retention(&context, Class::Grant.into(), Some(400))
        .await
        .unwrap();
    // No server has begun with the one; the other stands still, as a paused one or one whose receiver is down.
    for stream in ["later", "siem"] {
        define(&sealed, stream).await;
    }
    let lease = Lease {
        stream: grantlog::domain::stream::Stream::id("siem"),
        generation: 1,
        holder: Uuid::nil(),
        length: std::time::Duration::from_secs(1),
    };
    let pool = server.app.ledger.pool();
    store::ensure(pool, lease, ("siem", 0)).await.unwrap();
    let owner = server.database.owner().await;
    owner
        .execute("UPDATE grantlog.policy_cursor SET position = 1")
        .await
        .unwrap();
    sealed.settle().await;

    let made = tempfile::tempdir().unwrap();
    let archive = made.path().to_str().unwrap();
    let detach = async |more: &[&str]| {
        let arguments = [
            "detach", &name, "--export", archive, "--reason", "over", "--yes", "--json",
        ];
        retention(&sealed, true, &[&arguments[..], more].concat()).await
    };
    let stays = async |more: &[&str], reader: &str| {
        let refused = detach(more).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let expected = format!("{reader} has not carried it yet");
        assert!(!refused.status.success() && said.contains(&expected), "{said}");
    };
    stays(&[], "policies").await;
    owner
        .execute("UPDATE grantlog.policy_cursor SET position = (SELECT position FROM grantlog.head)")
        .await
        .unwrap();
    stays(&[], "stream:later").await;
    stays(&["--despite", "stream:later"], "stream:siem").await;

    // The owner's function looks for itself, whatever an event leaves out.
    let quarters = operations.quarters().await.unwrap();
    let quarter = quarters.iter().find(|quarter| quarter.partition == name).unwrap();
    let facts = operations.quarter_facts(quarter).await.unwrap();
    assert_eq!(facts.unread, ["stream:later", "stream:siem"]);
    let event = quarter.detachment(&facts, &["stream:later".to_owned()], Digest::of(b"made up"));
    let position = operations.record_detachment(&context, event).await.unwrap();
    sealed.settle().await;
    let refused = sqlx::query("SELECT grantlog.detach_partition($1)")
        .bind(i64::try_from(position).unwrap())
        .execute(&owner)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("stream:siem has not carried"), "{refused}");

    // One catches up, the other is left behind by name, which is on the trail.
    owner
        .execute("UPDATE grantlog.stream_cursors SET position = (SELECT position FROM grantlog.head)")
        .await
        .unwrap();
    let done = document(&detach(&["--despite", "stream:later"]).await);
    assert_eq!(done["detached"][0]["quarter"]["partition"], *name, "{done}");
    let despite: String = sqlx::query_scalar(
        "SELECT payload->>'despite' FROM grantlog.ledger_trail \
         WHERE event_type = 'PartitionDetached' ORDER BY position DESC LIMIT 1",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(despite, json!(["stream:later"]).to_string());
}
