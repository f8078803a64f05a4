//! NATS JetStream: a real server, which is skipped only where there is none and nobody insists.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, consumer, stream};
use grantlog::domain::stream::StreamTarget;

use super::{caught_up, define, definition, happen, ledger, run, until};
use crate::harness::TestServer;

/// A server of this test's own, which ends with it.
pub(super) struct Nats {
    child: Child,
    /// `nats://HOST:PORT`.
    pub(super) url: String,
    _directory: tempfile::TempDir,
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nats {
    /// One with this configuration beside the addresses and the store. None where the machine has no NATS.
    pub(super) async fn start(configuration: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let installed = ["/usr/sbin/nats-server", "/usr/local/bin/nats-server"];
        let installed = installed
            .into_iter()
            .find(|path| std::path::Path::new(path).exists());
        let file = directory.path().join("nats.conf");
        std::fs::write(&file, configuration).unwrap();
        // Debian has it where the path of an ordinary user does not look.
        let spawned = Command::new(installed.unwrap_or("nats-server"))
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", "-1"])
            .arg("--config")
            .arg(file)
            .arg("--store_dir")
            .arg(directory.path())
            .arg("--ports_file_dir")
            .arg(directory.path())
            .arg("--log")
            .arg(directory.path().join("log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) if std::env::var_os("REQUIRE_NATS").is_none() => {
                eprintln!("skipped: nats-server cannot be started ({error})");
                return None;
            }
            Err(error) => panic!("nats-server cannot be started: {error}"),
        };
        let ports = directory.path().join(format!("nats-server_{}.ports", child.id()));
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        let ports = loop {
            let written = std::fs::read_to_string(&ports).unwrap_or_default();
            if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&written) {
                break ports;
            }
            let log = std::fs::read_to_string(directory.path().join("log"));
            assert!(
                tokio::time::Instant::now() < deadline,
                "NATS does not start: {log:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let url = ports["nats"].get(0).or(ports["tls"].get(0)).unwrap();
        Some(Self {
            child,
            url: url.as_str().unwrap().to_owned(),
            _directory: directory,
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_stores_each_event_once_under_its_position_however_often_it_is_published() {
    let password = r#"authorization { user: ledger, password: "pass:word" }"#;
    let Some(nats) = Nats::start(password).await else {
        return;
    };
    let server = TestServer::start().await;
    let target = StreamTarget::Nats {
        url: nats.url.clone(),
        prefix: "grantlog".to_owned(),
    };
    define(&server, "bus", definition(target), Some(b"ledger:pass:word")).await;
    let runner = run(&server);
    // Nobody stores such subjects yet: that is no acknowledgement.
    let failing = until(&server, "bus", |status| status.error.is_some()).await;
    assert_eq!(failing.error.as_deref(), Some("no_stream_takes_the_subject"));
    assert_eq!(failing.events, 0);

    let options = async_nats::ConnectOptions::with_user_and_password("ledger".into(), "pass:word".into());
    let context = jetstream::new(options.connect(&nats.url).await.unwrap());
    let config = stream::Config {
        name: "LEDGER".to_owned(),
        subjects: vec!["grantlog.>".to_owned()],
        ..stream::Config::default()
    };
    let stored = context.create_stream(config).await.unwrap();
    caught_up(&server, "bus").await;

    // A crash before the cursor was moved: the same again, with more behind it.
    runner.stop().await;
    sqlx::query("UPDATE grantlog.stream_cursors SET position = 0")
        .execute(&server.database.owner().await)
        .await
        .unwrap();
    happen(&server, &["later"]).await;
    let runner = run(&server);
    caught_up(&server, "bus").await;
    runner.stop().await;

    let written = ledger(&server).await;
    let consumer = stored
        .create_consumer(consumer::pull::Config::default())
        .await
        .unwrap();
    let mut messages = consumer.messages().await.unwrap();
    for (position, name) in &written {
        let message = tokio_stream::StreamExt::next(&mut messages)
            .await
            .unwrap()
            .unwrap();
        let subject = message.subject.as_str();
        assert!(
            subject.starts_with("grantlog.") && subject.ends_with(name.as_str()),
            "{subject}"
        );
        let id = message.headers.as_ref().unwrap().get("Nats-Msg-Id").unwrap();
        assert_eq!(id.as_str(), position.to_string());
        let event: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(event["data"]["position"], *position);
    }
    let info = stored.get_info().await.unwrap();
    assert_eq!(usize::try_from(info.state.messages).unwrap(), written.len());
}
