//! OCSF in a file, over HTTP and by syslog.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use grantlog::domain::stream::{OnFailure, StreamDefinition, StreamTarget};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{caught_up, define, definition, happen, ledger, run};
use crate::harness::{TestServer, serve};

/// What came, a line each.
type Lines = Arc<Mutex<Vec<String>>>;

/// Positions in the order of their first arrival; every line is an event.
fn positions(lines: &[String]) -> Vec<i64> {
    let mut seen = BTreeSet::new();
    let mut order = Vec::new();
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(event["metadata"]["version"], "1.5.0");
        if let Some(position) = event["metadata"]["sequence"].as_i64()
            && seen.insert(position)
        {
            order.push(position);
        }
    }
    order
}

/// A receiver of syslog that hangs up on its first connection in the middle of what it is sent.
async fn syslog(lines: Lines) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("syslog+tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let mut some = [0; 100];
        first.read_exact(&mut some).await.unwrap();
        drop(first);
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            if connection.read_to_end(&mut bytes).await.is_ok() {
                lines.lock().unwrap().extend(messages(&bytes));
            }
        }
    });
    url
}

/// The messages of frames (RFC 6587 §3.4.1), their headers checked and taken off.
fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
        let (message, rest) = bytes[space + 1..].split_at(length);
        let message = std::str::from_utf8(message).unwrap();
        assert!(message.starts_with('<') && message.contains(">1 20"), "{message}");
        let (header, event) = message.split_once("] ").unwrap();
        assert!(header.contains(" 127.0.0.1 grantlog - "), "{header}");
        assert!(header.contains("[grantlog@32473 position=\""), "{header}");
        found.push(event.to_owned());
        bytes = rest;
    }
    found
}

/// A collector that is overloaded at first.
async fn collector(lines: Lines) -> String {
    async fn collect(
        State((lines, failures)): State<(Lines, Arc<Mutex<u32>>)>,
        headers: HeaderMap,
        body: String,
    ) -> StatusCode {
        assert_eq!(headers["content-type"], "application/x-ndjson");
        assert_eq!(headers["authorization"], "Splunk 0123");
        let mut failures = failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        lines.lock().unwrap().extend(body.lines().map(str::to_owned));
        StatusCode::OK
    }
    let router = Router::new()
        .route("/ocsf", post(collect))
        .with_state((lines, Arc::new(Mutex::new(1))));
    serve(|address| (format!("http://{address}/ocsf"), router)).await
}

/// The lines of a file and of those that were put aside before, in order.
fn filed(directory: &Path) -> (Vec<String>, usize) {
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // The one without a position is the last.
    paths.sort_by_key(|path| (path.extension().is_some_and(|end| end == "ndjson"), path.clone()));
    let text: String = paths
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    (text.lines().map(str::to_owned).collect(), paths.len())
}

fn siem(target: StreamTarget) -> StreamDefinition {
    StreamDefinition {
        batch: 5,
        on_failure: OnFailure::Hold,
        ..definition(target)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_reaches_a_file_a_collector_and_syslog_in_order_though_they_fail_at_first() {
    let server = TestServer::start_with(|settings| {
        settings.outbound_allow = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let (by_syslog, by_http) = (Lines::default(), Lines::default());
    let file = StreamTarget::OcsfFile {
        path: directory
            .path()
            .join("events.ndjson")
            .to_str()
            .unwrap()
            .to_owned(),
        max_bytes: 8_000,
    };
    let url = syslog(Arc::clone(&by_syslog)).await;
    let collector = StreamTarget::OcsfHttp {
        url: collector(Arc::clone(&by_http)).await,
    };
    define(&server, "file", siem(file), None).await;
    define(&server, "syslog", siem(StreamTarget::Syslog { url }), None).await;
    define(&server, "http", siem(collector), Some(b"Splunk 0123")).await;
    let runner = run(&server);
    happen(&server, &["one", "two", "three"]).await;
    server.user("alice", "correct horse battery").await;
    for name in ["file", "syslog", "http"] {
        caught_up(&server, name).await;
    }
    runner.stop().await;
    let expected: Vec<i64> = ledger(&server)
        .await
        .into_iter()
        .map(|(position, _)| position)
        .collect();
    let (lines, files) = filed(directory.path());
    assert!(files > 1, "{files}");
    assert_eq!(positions(&lines), expected);
    assert_eq!(positions(&by_syslog.lock().unwrap()), expected);
    assert_eq!(positions(&by_http.lock().unwrap()), expected);
    let all = lines.concat();
    assert!(
        !all.contains("alice") && all.contains("\"UserRegistered\""),
        "{all}"
    );
}
