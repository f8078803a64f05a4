//! Faults at random points of the way of streams and shared signals: whatever breaks when, their receivers get everything,
//! in order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use grantlog::domain::stream::StreamTarget;
use grantlog::ssf::Transmitter;
use grantlog::stream::StreamRunner;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::{define, definition, happen, ledger, run};
use crate::faults::injected::{Fault, Injected, cases, fault, owner, refresh_pool};
use crate::harness::TestServer;
use crate::ledger::assert_gapless;
use crate::shared_signals::{ACCOUNT_DISABLED, ACCOUNT_ENABLED, SESSION_REVOKED, Stage, claims_of, event};

/// What streams and signals lock.
const LOCKS: &str = "grantlog.stream_cursors, grantlog.ssf_cursor, grantlog.ssf_streams";

/// What somebody does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// A scope is defined, which a webhook tells.
    Scope,
    /// The user is disabled, or enabled again, which signals tell, too.
    Switch,
}

/// Both receivers, one beside the other.
#[derive(Clone, Default)]
struct Receivers {
    base: String,
    /// Positions, as they came.
    events: Arc<Mutex<Vec<i64>>>,
    /// Tokens' ids and event types, as they came.
    signals: Arc<Mutex<Vec<(String, String)>>>,
    /// So many requests are refused first.
    failures: Arc<AtomicU32>,
}

impl Receivers {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receivers = Self {
            base: format!("http://{}", listener.local_addr().unwrap()),
            ..Self::default()
        };
        let router = Router::new()
            .route("/hook", post(hook))
            .route("/signals", post(signals))
            .with_state(receivers.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receivers
    }

    fn answer(&self) -> StatusCode {
        let fewer = |failures: u32| failures.checked_sub(1);
        match self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer)
        {
            Ok(_) => StatusCode::SERVICE_UNAVAILABLE,
            Err(_) => StatusCode::ACCEPTED,
        }
    }
}

async fn hook(State(receivers): State<Receivers>, body: String) -> StatusCode {
    let event: Value = serde_json::from_str(&body).unwrap();
    if let Some(position) = event["data"]["position"].as_i64() {
        receivers.events.lock().unwrap().push(position);
    }
    receivers.answer()
}

async fn signals(State(receivers): State<Receivers>, body: String) -> StatusCode {
    let claims = claims_of(&body);
    let jti = claims["jti"].as_str().unwrap().to_owned();
    let came = (jti, event(&claims).0);
    receivers.signals.lock().unwrap().push(came);
    receivers.answer()
}

/// What came for the first time, in the order in which it came.
fn firsts<T: Clone + Ord>(came: &[T]) -> Vec<T> {
    let mut seen = BTreeSet::new();
    let came = came.iter().filter(|one| seen.insert((*one).clone()));
    came.cloned().collect()
}

/// A node that streams and transmits; one that is dropped ends where it is.
struct Node(Option<(StreamRunner, Transmitter)>);

impl Node {
    fn start(server: &TestServer) -> Self {
        Self(Some((run(server), Transmitter::start(&server.app))))
    }

    async fn stop(mut self) {
        let (streams, signals) = self.0.take().unwrap();
        streams.stop().await;
        signals.stop().await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some((streams, signals)) = self.0.take() {
            streams.abort();
            signals.abort();
        }
    }
}

struct World {
    stage: Stage,
    injected: Injected,
    receivers: Receivers,
    is_disabled: AtomicBool,
    scopes: AtomicU32,
    /// Of all signals, in order.
    expected: Mutex<Vec<&'static str>>,
}

impl World {
    async fn new() -> Self {
        let receivers = Receivers::start().await;
        let (injected, server) = Injected::start(Stage::settings).await;
        let stage = Stage::on(server).await;
        let receiver = stage.receiver(json!({})).await;
        receiver.log_in().await;
        let delivery =
            json!({"method": "urn:ietf:rfc:8935", "endpoint_url": format!("{}/signals", receivers.base)});
        receiver.stream(json!({"delivery": delivery})).await;
        let mut hook = definition(StreamTarget::Webhook {
            url: format!("{}/hook", receivers.base),
            batched: false,
        });
        hook.batch = 3;
        hook.attempts = 100;
        define(&stage.server, "hook", hook, Some(&[1; 32])).await;
        Self {
            stage,
            injected,
            receivers,
            is_disabled: AtomicBool::default(),
            scopes: AtomicU32::default(),
            expected: Mutex::default(),
        }
    }

    async fn happens(&self, deed: Deed) {
        let (server, context) = (&self.stage.server, TestServer::context());
        let operations = &server.app.operations;
        match deed {
            Deed::Scope => {
                let number = self.scopes.fetch_add(1, Ordering::SeqCst);
                happen(server, &[format!("scope-{number}").as_str()]).await;
            }
            Deed::Switch if self.is_disabled.fetch_xor(true, Ordering::SeqCst) => {
                operations
                    .enable_user(&context, self.stage.subject)
                    .await
                    .unwrap();
                self.expected.lock().unwrap().push(ACCOUNT_ENABLED);
            }
            Deed::Switch => {
                let disabled = operations.disable_user(&context, self.stage.subject, "a case");
                disabled.await.unwrap();
                let told = [ACCOUNT_DISABLED, SESSION_REVOKED];
                self.expected.lock().unwrap().extend(told);
            }
        }
    }

    /// Lets what was done be told while faults strike, and then compares.
    async fn follow(&self, faults: Vec<(u32, Fault)>, failures: u32) {
        let (server, left) = (&self.stage.server, faults.len());
        self.receivers.failures.store(failures, Ordering::SeqCst);
        self.injected.plan(faults);
        let mut node = Node::start(server);
        for _ in 0..left {
            if self.injected.strike(server, LOCKS).await == Fault::Crash {
                drop(node);
                node = Node::start(server);
            }
        }
        self.until_told().await;
        node.stop().await;
        refresh_pool(server).await;
        self.compare().await;
    }

    async fn until_told(&self) {
        let server = &self.stage.server;
        let deadline = tokio::time::Instant::now() + Duration::from_mins(2);
        loop {
            let mut owner = owner(server).await;
            // A node that died, or lost its database amid a call, had the stream to itself for some minutes: they are over.
            let hurried = sqlx::query("UPDATE grantlog.ssf_streams SET due_at = 'epoch'");
            hurried.execute(&mut owner).await.unwrap();
            let left: (i64, i64, i64) = sqlx::query_as(
                "SELECT h.position - c.position, h.position - s.position, (SELECT count(*) FROM grantlog.ssf_sets) \
                 FROM grantlog.head AS h, grantlog.stream_cursors AS c, grantlog.ssf_cursor AS s",
            )
            .fetch_one(&mut owner)
            .await
            .unwrap_or((1, 1, 1));
            if left == (0, 0, 0) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "left: {left:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn compare(&self) {
        let server = &self.stage.server;
        let written = ledger(server).await;
        let positions: Vec<i64> = written.iter().map(|(position, _)| *position).collect();
        let events = self.receivers.events.lock().unwrap().clone();
        assert_eq!(firsts(&events), positions, "each event, in order");
        let signals = firsts(&self.receivers.signals.lock().unwrap());
        let kinds: Vec<&str> = signals.iter().map(|(_, kind)| kind.as_str()).collect();
        assert_eq!(
            kinds,
            *self.expected.lock().unwrap(),
            "each signal, in order, under one id"
        );
        assert_gapless(server).await;
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![2 => Just(Deed::Scope), 3 => Just(Deed::Switch)]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_when_streams_and_signals_lose_and_reorder_nothing() {
    let world = World::new().await;
    let deeds = prop::collection::vec(deed(), 2..10);
    let faults = prop::collection::vec((1_u32..60, fault()), 1..5);
    let mut runner = TestRunner::new(Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 10,
        ..Config::default()
    });
    let runtime = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&(deeds, faults, 0_u32..3), |(deeds, faults, failures)| {
            runtime.block_on(async {
                for deed in deeds {
                    world.happens(deed).await;
                }
                world.follow(faults, failures).await;
            });
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert!(
        !world.expected.lock().unwrap().is_empty(),
        "something was to be told"
    );
    world.injected.postgres.stop().await.unwrap();
}
