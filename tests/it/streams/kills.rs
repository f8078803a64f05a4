//! SIGKILL of the process that carries streams, in the middle of its deliveries.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use grantlog::domain::stream::StreamTarget;
use serde_json::Value;
use sqlx::Executor;

use super::{caught_up, define, definition, happen, ledger};
use crate::harness::{TestServer, serve};
use crate::races::Node;

/// How many events a delivery has at most.
const BATCH: u32 = 7;
/// After how many further events the node that sends them is killed, the last of them without an answer.
const KILLS: [usize; 6] = [1, 7, 8, 3, 20, 2];
/// Events that happen before each of them.
const HAPPEN: usize = 12;

/// A receiver that leaves the node without an answer when it is told to.
#[derive(Clone, Default)]
struct Receiver {
    url: String,
    /// Positions, as they came.
    came: Arc<Mutex<Vec<i64>>>,
    /// How many come before one gets no answer.
    stalls_at: Arc<Mutex<Option<usize>>>,
}

impl Receiver {
    async fn start() -> Self {
        serve(|address| {
            let receiver = Self {
                url: format!("http://{address}/hook"),
                ..Self::default()
            };
            let router = Router::new()
                .route("/hook", post(receive))
                .with_state(receiver.clone());
            (receiver, router)
        })
        .await
    }

    fn came(&self) -> Vec<i64> {
        self.came.lock().unwrap().clone()
    }

    fn stall_at(&self, count: Option<usize>) {
        *self.stalls_at.lock().unwrap() = count;
    }

    async fn has(&self, count: usize) {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        while self.came().len() < count {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{:?} of {count}",
                self.came()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn receive(State(receiver): State<Receiver>, body: String) -> StatusCode {
    let event: Value = serde_json::from_str(&body).unwrap();
    // Checkpoints come when they come.
    if event["type"] != "grantlog.checkpoint" {
        let position = event["data"]["position"].as_i64().unwrap();
        let count = {
            let mut came = receiver.came.lock().unwrap();
            came.push(position);
            came.len()
        };
        let stalls_at = *receiver.stalls_at.lock().unwrap();
        if stalls_at.is_some_and(|at| count >= at) {
            std::future::pending::<()>().await;
        }
    }
    StatusCode::NO_CONTENT
}

/// What came for the first time, in the order in which it came.
fn firsts(came: &[i64]) -> Vec<i64> {
    let mut seen = std::collections::BTreeSet::new();
    came.iter()
        .copied()
        .filter(|position| seen.insert(*position))
        .collect()
}

/// A node that died holds its streams for the length of a lease: that is over.
async fn let_leases_end(server: &TestServer) {
    let owner = server.database.owner().await;
    owner
        .execute("UPDATE grantlog.stream_cursors SET leased_until = 'epoch'")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_in_the_middle_of_deliveries_loses_and_reorders_no_event() {
    let server = super::webhooks::server().await;
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut hook = definition(StreamTarget::Webhook {
        url: receiver.url.clone(),
        batched: false,
    });
    hook.batch = BATCH;
    define(&server, "hook", hook, Some(&[1; 32])).await;
    let file = definition(StreamTarget::OcsfFile {
        path: path.to_str().unwrap().to_owned(),
        max_bytes: 0,
    });
    define(&server, "file", file, None).await;

    let mut restarts = Vec::new();
    for (round, further) in KILLS.into_iter().enumerate() {
        let names: Vec<String> = (0..HAPPEN).map(|n| format!("scope-{round}-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (before, during) = names.split_at(HAPPEN / 2);
        happen(&server, before).await;
        let came = receiver.came().len();
        receiver.stall_at(Some(came + further));
        let mut node = Node::beside(&server).await;
        happen(&server, during).await;
        receiver.has(came + further).await;
        node.kill().await;
        restarts.push(receiver.came().len());
        let_leases_end(&server).await;
    }
    receiver.stall_at(None);
    let mut node = Node::beside(&server).await;
    let hook = caught_up(&server, "hook").await.position;
    let file = caught_up(&server, "file").await.position;
    node.stop().await;

    let written = ledger(&server).await;
    let positions: Vec<i64> = written.iter().map(|(position, _)| *position).collect();
    let mut came = receiver.came();
    let carried = firsts(&came);
    assert_eq!(carried, positions[..carried.len()], "each, in order");
    assert!(carried.last() >= Some(&hook));
    assert!(
        came.len() >= carried.len() + KILLS.len(),
        "something was under way"
    );
    // Each node goes on in order, from what was under way when the one before it died, or from the events before that of
    // the same delivery.
    for restart in restarts.into_iter().rev() {
        let after = came.split_off(restart);
        let (last, next) = (came[restart - 1], after[0]);
        assert!(
            next <= last && next > last - i64::from(BATCH),
            "{next} after {last}"
        );
        // A machine that is slow enough lets a node try again before it is killed.
        let in_order = |pair: &[i64]| pair[1] == pair[0] + 1 || pair[1] == pair[0];
        assert!(after.windows(2).all(in_order), "{after:?}");
    }

    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let events = lines.filter(|event: &Value| event["class_uid"] != 0);
    let exported: Vec<i64> = events
        .map(|event| event["metadata"]["sequence"].as_i64().unwrap())
        .collect();
    let expected = written.iter().filter(|(_, name)| name != "TokenUseCounted");
    let expected: Vec<i64> = expected.map(|(position, _)| *position).collect();
    let found = firsts(&exported);
    assert_eq!(found, expected[..found.len()]);
    assert!(found.last() >= Some(&file));
}
