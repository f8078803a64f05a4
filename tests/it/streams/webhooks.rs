//! Webhooks, whatever their receiver does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grantlog::domain::stream::StreamTarget;
use grantlog::evidence::{Sealer, checkpoint, store as evidence};
use grantlog::stream::Timing;
use serde_json::{Value, json};
use sqlx::Executor;

use super::{FAST, caught_up, definition, happen, ledger, run, until};
use crate::command_line::{finish, grantlog_on, stdout};
use crate::harness::{TestServer, serve};

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer(u16),
    /// Reads it, and never answers.
    Hang,
    /// Reads it, and breaks the connection.
    Break,
}

/// A request that came, and what was done with it.
#[derive(Clone, Debug)]
struct Got {
    headers: HeaderMap,
    body: String,
    taken: bool,
}

impl Got {
    fn document(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn position(&self) -> Option<i64> {
        self.document()["id"].as_str()?.parse().ok()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// As a receiver verifies it: whether one of the signatures is by this secret.
    fn is_signed_by(&self, secret: &[u8]) -> bool {
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signed = hmac::sign(&key, format!("{id}.{timestamp}.{}", self.body).as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(signed));
        let mut signatures = self.header("webhook-signature").split(' ');
        signatures.any(|signature| signature == expected)
    }
}

#[derive(Clone, Default)]
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
    /// What is done with the next requests; those after them are taken.
    script: Arc<Mutex<VecDeque<Does>>>,
    /// Events of this type are refused.
    refuses: Arc<Mutex<Option<(&'static str, u16)>>>,
}

impl Receiver {
    async fn start(script: &[Does]) -> Self {
        serve(|address| {
            let receiver = Self {
                url: format!("http://{address}/hook"),
                script: Arc::new(Mutex::new(script.iter().copied().collect())),
                ..Self::default()
            };
            let router = Router::new()
                .route("/hook", post(receive))
                .with_state(receiver.clone());
            (receiver, router)
        })
        .await
    }

    fn all(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// The events that were taken, checkpoints apart.
    fn taken(&self) -> Vec<Got> {
        let all = self.all().into_iter();
        all.filter(|got| got.taken && got.position().is_some()).collect()
    }

    fn positions(&self) -> Vec<i64> {
        self.taken().iter().filter_map(Got::position).collect()
    }

    fn refuse(&self, refused: Option<(&'static str, u16)>) {
        *self.refuses.lock().unwrap() = refused;
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> StatusCode {
    let refused = *receiver.refuses.lock().unwrap();
    let refused = refused.filter(|(name, _)| body.contains(&format!("\"event_type\":\"{name}\"")));
    let does = match refused {
        Some((_, status)) => Does::Answer(status),
        // Checkpoints come when they come.
        None if body.contains("grantlog.checkpoint") => Does::Answer(204),
        None => {
            let next = receiver.script.lock().unwrap().pop_front();
            next.unwrap_or(Does::Answer(204))
        }
    };
    let taken = matches!(does, Does::Answer(200..=299));
    let got = Got { headers, body, taken };
    receiver.got.lock().unwrap().push(got);
    match does {
        Does::Answer(status) => StatusCode::from_u16(status).unwrap(),
        Does::Hang => std::future::pending().await,
        Does::Break => panic!("the receiver breaks the connection, as the test asks"),
    }
}

fn webhook(receiver: &Receiver, batched: bool) -> StreamTarget {
    StreamTarget::Webhook {
        url: receiver.url.clone(),
        batched,
    }
}

pub(super) async fn server() -> TestServer {
    TestServer::start_with(|settings| settings.outbound_allow = vec!["127.0.0.1".parse().unwrap()]).await
}

/// Lets events happen until one arrives that is signed as it should be.
async fn signed_so(
    server: &TestServer,
    receiver: &Receiver,
    name: &str,
    wanted: impl Fn(&Got) -> bool,
) -> Got {
    for number in 0..200 {
        let scope = format!("{name}-{number}");
        happen(server, &[scope.as_str()]).await;
        caught_up(server, "siem").await;
        let last = receiver.taken().pop().unwrap();
        if wanted(&last) {
            return last;
        }
    }
    panic!("no event is signed so")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_every_event_in_order_signed_and_followed_by_a_checkpoint_whatever_its_receiver_does()
{
    let server = server().await;
    let sealer = Sealer::start(&server.app);
    let ok = Does::Answer(200);
    let receiver = Receiver::start(&[ok, Does::Answer(503), ok, Does::Hang, ok, Does::Break]).await;
    let (old, new) = (vec![1; 32], vec![2; 32]);
    // So that a timeout takes nothing else with it.
    let mut one_at_a_time = definition(webhook(&receiver, false));
    one_at_a_time.batch = 1;
    super::define(&server, "siem", one_at_a_time, Some(&old)).await;
    let runner = run(&server);
    caught_up(&server, "siem").await;

    let all = receiver.all();
    let events: Vec<&Got> = all.iter().filter(|got| got.position().is_some()).collect();
    assert!(events.iter().all(|got| got.is_signed_by(&old)));
    assert!(!events.iter().any(|got| got.is_signed_by(&new)));
    let written = ledger(&server).await;
    for (got, (position, name)) in receiver.taken().iter().zip(&written) {
        let event = got.document();
        assert_eq!(
            got.header("content-type"),
            "application/cloudevents+json; charset=utf-8"
        );
        assert_eq!(got.header("webhook-id"), format!("evt_{position}"));
        assert_eq!(event["data"]["position"], *position);
        assert_eq!(event["data"]["event_type"], **name);
        assert_eq!(event["source"], server.base);
    }
    let positions: Vec<i64> = written.iter().map(|(position, _)| *position).collect();
    assert_eq!(receiver.positions(), positions, "each once, in order");
    // What was not acknowledged came again, and nothing else did.
    let attempts: Vec<i64> = events.iter().filter_map(|got| got.position()).collect();
    let repeats = attempts.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!((attempts.len() - positions.len(), repeats), (3, 3));
    assert!(attempts.is_sorted());

    // While a secret is changed, both sign: from when the node that carries the stream has heard of it.
    let operations = &server.app.operations;
    let context = TestServer::context();
    operations
        .rotate_stream_secret(&context, "siem", &new)
        .await
        .unwrap();
    let last = signed_so(&server, &receiver, "both", |got| got.is_signed_by(&new)).await;
    assert!(last.is_signed_by(&old));
    operations.retire_stream_secret(&context, "siem").await.unwrap();
    let last = signed_so(&server, &receiver, "one", |got| !got.is_signed_by(&old)).await;
    assert!(last.is_signed_by(&new));
    let status = caught_up(&server, "siem").await;
    let head = status.position;
    assert_eq!((status.failures, status.error, status.dead_letters), (3, None, 0));

    // A checkpoint that covers the last event follows, and opens with the log's key.
    until(&server, "siem", |status| status.checkpoint >= head).await;
    let all = receiver.all();
    let mut carried = all.iter().rev().map(Got::document);
    let carried = carried.find(|event| event["type"] == "grantlog.checkpoint");
    let note = carried.unwrap()["data"]["note"].as_str().unwrap().to_owned();
    let keys = evidence::verifier_keys(server.app.ledger.pool()).await.unwrap();
    let (opened, _) = checkpoint::open(&note, &keys).unwrap();
    assert!(opened.size >= u64::try_from(head).unwrap());
    runner.stop().await;
    sealer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_refused_becomes_a_dead_letter_and_a_receiver_that_is_gone_pauses_the_stream() {
    let server = server().await;
    let receiver = Receiver::start(&[]).await;
    let grantlog = async |arguments: &[&str]| {
        let mut command = grantlog_on(&server.database);
        command
            .env("GRANTLOG_OUTBOUND_ALLOW", "127.0.0.1")
            .args(arguments);
        finish(command, None).await
    };
    let json = async |arguments: &[&str]| -> Value {
        let output = grantlog(arguments).await;
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    receiver.refuse(Some(("KeyGenerated", 400)));
    let add = [
        "stream",
        "add",
        "siem",
        "--kind",
        "webhook",
        "--url",
        &receiver.url,
        "--from",
        "beginning",
        "--batched",
        "--attempts",
        "1",
        "--aggregate",
        "scope",
        "--aggregate",
        "signing_key",
        "--json",
    ];
    let added = json(&add).await;
    assert!(added["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(added["state"], "waiting for a server");
    let runner = run(&server);
    let status = caught_up(&server, "siem").await;
    let written = ledger(&server).await;
    let of = |name: &str| written.iter().filter(|(_, event)| event == name).count();
    assert_eq!(usize::try_from(status.dead_letters).unwrap(), of("KeyGenerated"));
    assert_eq!(status.error, None, "the stream went on");
    let letters = json(&["stream", "dead-letters", "siem", "--json"]).await;
    assert_eq!(letters[0]["error"], "status_400");
    let position = letters[0]["position"].as_i64().unwrap();

    // It does not take them the second time either: what is new comes after the first of them.
    runner.stop().await;
    let before = receiver.all().len();
    json(&["stream", "redeliver", "siem", "--all", "--json"]).await;
    happen(&server, &["meanwhile"]).await;
    let runner = run(&server);
    let refused = usize::try_from(status.dead_letters).unwrap();
    until(&server, "siem", |_| receiver.all().len() > before + refused).await;
    let next = receiver.all().split_off(before);
    assert!(!next[0].taken && next[1].body.contains("meanwhile"), "{next:?}");

    // The receiver is mended.
    receiver.refuse(None);
    let again = json(&["stream", "redeliver", "siem", "--all", "--json"]).await;
    assert_eq!(again["requested"], status.dead_letters);
    until(&server, "siem", |status| status.dead_letters == 0).await;
    let all = receiver.all();
    let got = all.iter().rev().filter(|got| got.taken).map(Got::document);
    let redelivered: Vec<Value> = got.flat_map(|batch| batch.as_array().unwrap().clone()).collect();
    assert!(
        redelivered
            .iter()
            .any(|event| event["data"]["position"] == position)
    );

    // 410: it wants nothing any more, and that is on the ledger.
    receiver.refuse(Some(("ScopeDefined", 410)));
    happen(&server, &["unwanted"]).await;
    until(&server, "siem", |status| {
        status.error.as_deref() == Some("status_410")
    })
    .await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let shown = loop {
        let shown = json(&["stream", "show", "siem", "--json"]).await;
        if shown["state"] == "paused" {
            break shown;
        }
        assert!(tokio::time::Instant::now() < deadline, "{shown}");
    };
    assert_eq!(shown["paused"], "gone");
    assert!(shown.get("secret").is_none(), "{shown}");
    receiver.refuse(None);
    // Whoever resumes it says that the receiver is mended, however long that had asked to be left alone.
    let asked = "UPDATE grantlog.stream_cursors SET due_at = clock_timestamp() + interval '1 hour'";
    server.database.owner().await.execute(asked).await.unwrap();
    json(&["stream", "resume", "siem", "--json"]).await;
    let head = ledger(&server).await.len();
    until(&server, "siem", |status| {
        status.position >= i64::try_from(head).unwrap()
    })
    .await;
    let last = receiver.all().pop().unwrap();
    assert!(last.taken && last.body.contains("unwanted"), "{last:?}");

    let doctor: Value = serde_json::from_slice(&grantlog(&["doctor", "--json"]).await.stdout).unwrap();
    let found = doctor
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["name"] == "streams");
    assert_eq!(found.unwrap()["verdict"], "ok", "{doctor}");
    for (arguments, words) in [
        (
            [
                "stream",
                "add",
                "x",
                "--kind",
                "webhook",
                "--url",
                "http://siem.example/",
            ],
            "it must be an https URL",
        ),
        (
            [
                "stream",
                "add",
                "x",
                "--kind",
                "webhook",
                "--url",
                "https://10.0.0.1/",
            ],
            "not public",
        ),
        (
            [
                "stream",
                "add",
                "siem",
                "--kind",
                "webhook",
                "--url",
                "https://siem.example/",
            ],
            "there is a stream",
        ),
        (
            ["stream", "redeliver", "siem", "7", "--json", "--operator", "ada"],
            "none of these positions",
        ),
    ] {
        let refused = grantlog(&arguments).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(words), "{said}");
    }
    json(&["stream", "remove", "siem", "--reason", "done", "--yes", "--json"]).await;
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM grantlog.stream_cursors")
        .fetch_one(server.app.ledger.pool())
        .await
        .unwrap();
    assert_eq!(kept, 0);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_one_delivers_and_when_it_dies_the_other_repeats_only_what_was_under_way() {
    let server = server().await;
    let ok = Does::Answer(200);
    // The third request is under way when its node dies.
    let receiver = Receiver::start(&[ok, ok, Does::Hang]).await;
    let mut one_at_a_time = definition(webhook(&receiver, false));
    one_at_a_time.batch = 1;
    super::define(&server, "siem", one_at_a_time, Some(&[1; 32])).await;
    let patient = Timing {
        lease: Duration::from_secs(2),
        ..FAST
    };
    let first = grantlog::stream::StreamRunner::start_with(&server.app, patient);
    until(&server, "siem", |status| status.held).await;
    let second = run(&server);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while receiver.all().len() < 3 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.abort();
    happen(&server, &["after"]).await;
    caught_up(&server, "siem").await;
    second.stop().await;
    let written: Vec<i64> = ledger(&server)
        .await
        .iter()
        .map(|(position, _)| *position)
        .collect();
    assert_eq!(receiver.positions(), written, "each is taken once, in order");
    let attempts: Vec<i64> = receiver.all().iter().filter_map(Got::position).collect();
    assert_eq!(attempts.len(), written.len() + 1, "{attempts:?}");
    assert_eq!(
        attempts
            .iter()
            .filter(|position| **position == written[2])
            .count(),
        2
    );
    let document = json!(receiver.all()[0].document());
    assert_eq!(document["specversion"], "1.0");
}
