//! Where a stream may go and with which credentials; dead letters that are dismissed; cursors that are somewhere else.

use grantlog::domain::stream::Stream;
use grantlog::stream::store::{self, Lease};
use serde_json::{Value, json};
use sqlx::Executor;
use uuid::Uuid;

use super::ledger;
use crate::command_line::{finish, grantlog_on, stdout};
use crate::harness::TestServer;

/// Runs `grantlog`; what it says where it fails.
async fn grantlog(server: &TestServer, arguments: &[&str], stdin: Option<&str>) -> Result<Value, String> {
    let mut command = grantlog_on(&server.database);
    command.args(arguments).arg("--json");
    let output = finish(command, stdin).await;
    if output.status.success() || arguments[0] == "doctor" {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streams_credentials_stay_with_their_server_and_no_stream_leads_to_a_metadata_service() {
    let server = TestServer::start().await;
    let define = async |verb: &str, url: &str, more: &[&str], stdin: Option<&str>| {
        let arguments = ["stream", verb, "siem", "--kind", "ocsf-http", "--url", url];
        grantlog(&server, &[&arguments[..], more].concat(), stdin).await
    };
    let given = Some("Splunk 0123\n");
    let with = ["--credentials", "-"];
    let added = define("add", "https://siem.example/ocsf", &with, given)
        .await
        .unwrap();
    assert_eq!(added["secrets"], 1);
    let keys = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM grantlog.key_material")
            .fetch_one(server.app.ledger.pool())
            .await
            .unwrap()
    };
    let before = keys().await;
    let changed = define("update", "https://siem.example/v2", &[], None)
        .await
        .unwrap();
    assert_eq!(changed["secrets"], 1);
    for elsewhere in ["https://siem.example:8443/v2", "https://other.example/v2"] {
        let refused = define("update", elsewhere, &[], None).await.unwrap_err();
        assert!(refused.contains("it would go to another server"), "{refused}");
    }
    let refused = define("update", "https://other.example/", &with, Some("a\u{1}b\n")).await;
    assert!(refused.unwrap_err().contains("Authorization header"));
    let other = Some("Bearer 4567\n");
    let changed = define("update", "https://other.example/", &with, other)
        .await
        .unwrap();
    assert_eq!((&changed["secrets"], keys().await), (&json!(1), before));
    let stream = server.app.operations.stream("siem").await.unwrap();
    let secrets = server.app.operations.stream_secrets(&stream.definition.secrets);
    assert_eq!(secrets.await.unwrap(), [b"Bearer 4567"]);
    let without = define("update", "https://third.example/", &["--no-credentials"], None)
        .await
        .unwrap();
    assert_eq!((&without["secrets"], keys().await), (&json!(0), before - 1));

    for (kind, url) in [
        ("syslog", "syslog+tcp://169.254.169.254:601"),
        ("syslog", "syslog+tls://[fe80::1]"),
        ("nats", "nats://169.254.169.254"),
        ("nats", "nats://[ff02::1]:4222"),
    ] {
        let add = ["stream", "add", "other", "--kind", kind, "--url", url];
        let refused = grantlog(&server, &add, None).await.unwrap_err();
        assert!(refused.contains("metadata address"), "{url}: {refused}");
    }
    let add = [
        "stream",
        "add",
        "other",
        "--kind",
        "syslog",
        "--url",
        "syslog+tcp://10.1.2.3",
    ];
    grantlog(&server, &add, None).await.unwrap();
    let add = [
        "stream",
        "add",
        "named",
        "--kind",
        "nats",
        "--url",
        "nats://169.254.169.254",
    ];
    let mut allowed = grantlog_on(&server.database);
    allowed
        .env("GRANTLOG_OUTBOUND_ALLOW", "169.254.169.254:4222")
        .args(add);
    stdout(&finish(allowed, None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_dismissed_on_the_trail_and_a_cursor_beyond_the_ledger_is_found() {
    let server = TestServer::start().await;
    let add = [
        "stream",
        "add",
        "siem",
        "--kind",
        "ocsf-file",
        "--url",
        "/nowhere/events",
    ];
    grantlog(&server, &add, None).await.unwrap();
    let lease = Lease {
        stream: Stream::id("siem"),
        generation: 1,
        holder: Uuid::nil(),
        length: std::time::Duration::from_secs(1),
    };
    let after = ledger(&server).await.len();
    let after = i64::try_from(after).unwrap();
    store::ensure(server.app.ledger.pool(), lease, ("siem", after))
        .await
        .unwrap();
    let owner = server.database.owner().await;
    owner
        .execute(
            "INSERT INTO grantlog.stream_dead_letters (stream, position, attempts, error) \
             SELECT stream, p, 12, 'not_in_the_ledger' FROM grantlog.stream_cursors, generate_series(1, 4) AS p",
        )
        .await
        .unwrap();
    let found = async |check: &str, verdict: &str, words: &str| {
        let all = grantlog(&server, &["doctor"], None).await.unwrap();
        let all = all.as_array().unwrap();
        all.iter().any(|one| {
            let said = one["found"].as_str().unwrap().contains(words);
            one["name"] == check && one["verdict"] == verdict && said
        })
    };
    assert!(found("streams", "warn", "4 events were given up on").await);
    let discard = async |which: &[&str]| {
        let arguments = [
            "stream",
            "discard",
            "siem",
            "--reason",
            "their quarter is gone",
            "--yes",
        ];
        grantlog(&server, &[&arguments[..], which].concat(), None).await
    };
    assert_eq!(discard(&["2", "3", "9"]).await.unwrap()["discarded"], 2);
    let refused = discard(&["9"]).await.unwrap_err();
    assert!(refused.contains("none of these positions"), "{refused}");
    assert_eq!(discard(&["--all"]).await.unwrap()["discarded"], 2);
    assert_eq!(discard(&["--all"]).await.unwrap()["discarded"], 0);
    let noted: Vec<(String, String)> = sqlx::query_as(
        "SELECT concat_ws(' ', payload->>'first', payload->>'last', payload->>'count'), payload->>'reason' \
         FROM grantlog.ledger_stream WHERE event_type = 'DeadLettersDiscarded' ORDER BY position",
    )
    .fetch_all(server.app.ledger.pool())
    .await
    .unwrap();
    let reason = "their quarter is gone".to_owned();
    assert_eq!(
        noted,
        [("2 3 2".to_owned(), reason.clone()), ("1 4 2".to_owned(), reason)]
    );
    assert!(!found("streams", "warn", "given up on").await);

    assert!(found("cursors", "ok", "").await);
    owner
        .execute("UPDATE grantlog.stream_cursors SET position = 1000000")
        .await
        .unwrap();
    assert!(found("cursors", "fail", "the stream siem").await);
}
