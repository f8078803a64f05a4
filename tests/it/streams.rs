//! The ledger on its way to other systems: webhooks, NATS JetStream, Server-Sent Events.

mod events;
mod faults;
mod guarded;
mod kills;
mod nats;
mod nats_credentials;
mod siem;
mod webhooks;

use std::time::Duration;

use grantlog::domain::stream::{OnFailure, StreamDefinition, StreamFilter, StreamTarget};
use grantlog::operations::stream::Start;
use grantlog::stream::{StreamRunner, StreamStatus, Timing, status};

use crate::harness::TestServer;

/// A pace at which nobody waits for long; a delivery may take 0.6 seconds.
const FAST: Timing = Timing {
    poll: Duration::from_millis(20),
    stand_by: Duration::from_millis(50),
    lease: Duration::from_millis(1_200),
};

fn run(server: &TestServer) -> StreamRunner {
    StreamRunner::start_with(&server.app, FAST)
}

fn definition(target: StreamTarget) -> StreamDefinition {
    StreamDefinition {
        target,
        filter: StreamFilter::default(),
        batch: 100,
        attempts: 12,
        on_failure: OnFailure::DeadLetter,
        secrets: Vec::new(),
    }
}

async fn define(server: &TestServer, name: &str, definition: StreamDefinition, secret: Option<&[u8]>) {
    let place = (name, Start::Beginning);
    let operations = &server.app.operations;
    operations
        .define_stream(&TestServer::context(), place, definition, secret)
        .await
        .unwrap();
}

/// Events to carry: a scope each.
async fn happen(server: &TestServer, names: &[&str]) {
    for name in names {
        let operations = &server.app.operations;
        operations
            .define_scope(&TestServer::context(), name, "Something", false)
            .await
            .unwrap();
    }
}

async fn standing(server: &TestServer, name: &str) -> Option<StreamStatus> {
    let all = status(server.app.ledger.pool()).await.unwrap();
    all.into_iter().find(|status| status.name == name)
}

/// Waits until a stream stands as it should.
async fn until(server: &TestServer, name: &str, wanted: impl Fn(&StreamStatus) -> bool) -> StreamStatus {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let found = standing(server, name).await;
        match found {
            Some(status) if wanted(&status) => return status,
            found => assert!(tokio::time::Instant::now() < deadline, "{found:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until everything was dealt with.
async fn caught_up(server: &TestServer, name: &str) -> StreamStatus {
    until(server, name, |status| status.lag() == 0).await
}

/// The ledger's positions and events.
async fn ledger(server: &TestServer) -> Vec<(i64, String)> {
    sqlx::query_as("SELECT position, event_type FROM grantlog.ledger ORDER BY position")
        .fetch_all(server.app.ledger.pool())
        .await
        .unwrap()
}
