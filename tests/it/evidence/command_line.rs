//! `grantlog audit`: export, verify, prove, key.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::{Sealed, append};
use crate::command_line::{finish, grantlog, grantlog_on, stdout};

async fn audit(sealed: &Sealed, arguments: &[&str]) -> Output {
    let mut command = grantlog_on(&sealed.server.database);
    command.arg("audit").args(arguments);
    finish(command, None).await
}

/// Without any configuration, in an empty directory: what an auditor has.
async fn alone(arguments: &[&str]) -> (i32, String) {
    let empty = tempfile::tempdir().unwrap();
    let mut command = grantlog();
    command.arg("audit").args(arguments).current_dir(empty.path());
    let output = finish(command, None).await;
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_verifies_offline_with_the_key_alone_and_a_changed_byte_is_named() {
    let sealed = Sealed::with_events(700).await;
    let key = sealed.keys().await[0].to_string();
    let made = tempfile::tempdir().unwrap();
    let directory = path(made.path());
    let old = made.path().join("old-checkpoint");
    stdout(&audit(&sealed, &["checkpoint", "--out", path(&old)]).await);
    let first: Value =
        serde_json::from_str(&stdout(&audit(&sealed, &["export", directory, "--json"]).await)).unwrap();
    append(&sealed.server, 300).await;
    sealed.settle().await;
    let covered = sealed.checkpoint().await.size;
    // Carried on: full tiles are not written again.
    let second: Value =
        serde_json::from_str(&stdout(&audit(&sealed, &["export", directory, "--json"]).await)).unwrap();
    assert!(second["size"].as_u64().unwrap() >= covered, "{second}");
    assert_eq!(
        (first["kept"].as_u64(), second["kept"].as_u64()),
        (Some(0), Some(4))
    );

    let (code, text) = alone(&["verify", directory, "--key", &key, "--checkpoint", path(&old)]).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains(&format!("verified: {} events", second["size"])),
        "{text}"
    );
    let (code, text) = alone(&["verify", directory]).await;
    assert!(code == 1 && text.contains("give --key"), "{text}");
    // The log is no witness of itself, however its key is spelled.
    let (code, text) = alone(&["verify", directory, "--key", &key, "--witness", &key]).await;
    assert!(
        code == 1 && text.contains("cosignature key of somebody else"),
        "{text}"
    );
    // Nothing is read without end.
    let (code, text) = alone(&["verify", directory, "--key", &key, "--checkpoint", "/dev/zero"]).await;
    assert!(code == 1 && text.contains("it is longer than"), "{text}");
    let stranger = grantlog::evidence::note::VerifierKey::new(
        &sealed.keys().await[0].name,
        grantlog::evidence::note::NoteAlgorithm::Ed25519,
        [3; 32],
    );
    let (code, text) = alone(&["verify", directory, "--key", &stranger.to_string()]).await;
    assert!(code == 1 && text.contains("no valid signature"), "{text}");

    let bundle = made.path().join("tile/entries/001");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let (code, text) = alone(&["verify", directory, "--key", &key, "--json"]).await;
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&text[..=text.rfind('}').unwrap()]).unwrap();
    assert_eq!(report["verified"], false);
    assert_eq!(report["finding"]["first_bad_position"], 257);
    assert_eq!(report["finding"]["problem"], "edited");
    assert!(text.contains("first bad position 257"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_without_old_entries_verifies_by_their_hashes() {
    let sealed = Sealed::with_events(600).await;
    let key = sealed.keys().await[0].to_string();
    let made = tempfile::tempdir().unwrap();
    let directory = path(made.path());
    stdout(&audit(&sealed, &["export", directory, "--since", "512"]).await);
    assert!(!made.path().join("tile/entries/000").exists());
    let verify = ["verify", directory, "--key", &key];
    let (code, text) = alone(&[&verify[..], &["--since", "512"]].concat()).await;
    assert!(
        code == 0 && text.contains("of 512 events only the hashes are here"),
        "{text}"
    );
    // Nobody is told that all is well where text is gone that he did not leave out himself.
    for since in ["0", "255", "511"] {
        let (code, text) = alone(&[&verify[..], &["--since", since]].concat()).await;
        let first = if since == "511" { 257 } else { 1 };
        assert!(
            code == 1
                && text.contains(&format!(
                    "first bad position {first}: the text of this event is gone"
                )),
            "{since}: {text}"
        );
    }
    std::fs::remove_dir_all(made.path().join("tile/entries")).unwrap();
    let (code, text) = alone(&verify).await;
    assert!(code == 1 && text.contains("first bad position 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_ledger_verifies_and_a_change_by_its_owner_is_named() {
    let sealed = Sealed::with_events(300).await;
    let key = sealed.keys().await[0].to_string();
    let taken = tempfile::NamedTempFile::new().unwrap();
    let before = path(taken.path()).to_owned();
    stdout(&audit(&sealed, &["checkpoint", "--out", &before]).await);
    let verify = ["verify", "--database", "--key", &key, "--checkpoint", &before];
    let text = stdout(&audit(&sealed, &verify).await);
    assert!(text.contains("verified: "), "{text}");
    let url = sealed.server.database.app_url.clone();
    let (code, text) = alone(&["verify", "--database", &url]).await;
    assert!(code == 0 && text.contains("the ledger's own word"), "{text}");
    let owner = sealed.server.database.owner().await;
    let mut transaction = owner.begin().await.unwrap();
    for sql in [
        "SET LOCAL session_replication_role = replica",
        "UPDATE grantlog.ledger SET metadata = '{}', event_version = 9 WHERE position = 123",
    ] {
        sqlx::query(sql).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let failed = audit(&sealed, &verify).await;
    assert_eq!(failed.status.code(), Some(1));
    let text = String::from_utf8(failed.stderr).unwrap();
    assert!(text.contains("first bad position 123"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_file_proves_its_event_and_no_other() {
    let sealed = Sealed::with_events(300).await;
    let key = sealed.keys().await[0].to_string();
    let made = tempfile::tempdir().unwrap();
    let file = made.path().join("123.proof");
    stdout(&audit(&sealed, &["prove", "123", "--out", path(&file)]).await);
    let (code, text) = alone(&["verify", "--proof", path(&file), "--key", &key]).await;
    assert!(code == 0 && text.contains("verified: position 123"), "{text}");
    let proof = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, proof.replace("index 122", "index 121")).unwrap();
    let (code, text) = alone(&["verify", "--proof", path(&file), "--key", &key]).await;
    assert!(
        code == 1 && text.contains("the event says that its position is 123"),
        "{text}"
    );

    // All events of an aggregate: one of the fifty that one command appended.
    let id: uuid::Uuid = sqlx::query_scalar("SELECT aggregate_id FROM grantlog.ledger WHERE position = 123")
        .fetch_one(sealed.server.app.ledger.pool())
        .await
        .unwrap();
    let all = made.path().join("all");
    stdout(&audit(&sealed, &["prove", &id.to_string(), "--out", path(&all)]).await);
    assert_eq!(std::fs::read_dir(&all).unwrap().count(), 50);
    for file in std::fs::read_dir(&all).unwrap().take(3) {
        let (code, text) = alone(&["verify", "--proof", path(&file.unwrap().path()), "--key", &key]).await;
        assert_eq!(code, 0, "{text}");
    }
    let missing = audit(&sealed, &["prove", "999999"]).await;
    assert_eq!(missing.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_file_proves_that_the_log_begins_with_an_older_checkpoint() {
    let sealed = Sealed::with_events(100).await;
    let key = sealed.keys().await[0].to_string();
    let made = tempfile::tempdir().unwrap();
    let [old, file, other] = ["old", "from.proof", "other"].map(|name| made.path().join(name));
    stdout(&audit(&sealed, &["checkpoint", "--out", path(&old)]).await);
    append(&sealed.server, 200).await;
    sealed.settle().await;
    stdout(&audit(&sealed, &["prove", "--from", path(&old), "--out", path(&file)]).await);
    let verify = ["verify", "--proof", path(&file), "--key", &key];
    let with = |checkpoint| [&verify[..], &["--checkpoint", checkpoint]].concat();
    let (code, text) = alone(&with(path(&old))).await;
    assert!(
        code == 0 && text.contains("of the checkpoint that was taken before"),
        "{text}"
    );
    // By its size alone it is the same proof.
    let size = std::fs::read_to_string(&old)
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .to_owned();
    let printed = stdout(&audit(&sealed, &["prove", "--from", &size]).await);
    assert!(printed.starts_with(&format!("old {size}\n")), "{printed}");
    let (code, text) = alone(&verify).await;
    assert!(
        code == 1 && text.contains("give that one with --checkpoint"),
        "{text}"
    );
    stdout(&audit(&sealed, &["checkpoint", "--out", path(&other)]).await);
    let (code, text) = alone(&with(path(&other))).await;
    assert!(
        code == 1 && text.contains("the proof begins at the checkpoint of"),
        "{text}"
    );
    // Another hash, as where an event was changed in between.
    let proof = std::fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = proof.split('\n').collect();
    lines.swap(1, 2);
    std::fs::write(&file, lines.join("\n")).unwrap();
    let (code, text) = alone(&with(path(&old))).await;
    assert!(code == 1 && text.contains("does not begin with"), "{text}");
    // Nor is one made from a checkpoint of no such log.
    std::fs::write(
        &other,
        "elsewhere.example\n3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n",
    )
    .unwrap();
    let refused = audit(&sealed, &["prove", "--from", path(&other)]).await;
    assert_eq!(refused.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_keys_are_rotated_from_the_command_line_and_both_are_printed() {
    let sealed = Sealed::with_events(10).await;
    let old = sealed.keys().await[0].to_string();
    let listed: Value =
        serde_json::from_str(&stdout(&audit(&sealed, &["key", "rotate", "--json"]).await)).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["verifier_key"], old.as_str());
    let digits = old.split('+').nth(1).unwrap();
    let retired = audit(
        &sealed,
        &["key", "retire", digits, "--reason", "rotated", "--yes", "--json"],
    )
    .await;
    let listed: Value = serde_json::from_str(&stdout(&retired)).unwrap();
    assert_eq!(
        (listed[0]["state"].as_str(), listed[1]["state"].as_str()),
        (Some("retired"), Some("signs"))
    );
    append(&sealed.server, 1).await;
    sealed.settle().await;
    let note = sealed.note().await;
    assert!(
        note.contains(&sealed.checkpoint().await.origin) && note.matches('\u{2014}').count() == 1,
        "{note}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_given_events_is_on_the_trail_before() {
    let sealed = Sealed::with_events(20).await;
    let made = tempfile::tempdir().unwrap();
    let readings = async || -> Vec<(i64, i64)> {
        sqlx::query_as(
            "SELECT (payload->>'after')::bigint, (payload->>'upto')::bigint FROM grantlog.ledger_trail \
             WHERE event_type = 'LedgerRead' ORDER BY position",
        )
        .fetch_all(sealed.server.app.ledger.pool())
        .await
        .unwrap()
    };
    let size = i64::try_from(sealed.checkpoint().await.size).unwrap();
    stdout(&audit(&sealed, &["export", path(made.path())]).await);
    stdout(&audit(&sealed, &["prove", "7"]).await);
    assert_eq!(readings().await, [(0, size), (6, 7)]);
    // Hashes and checkpoints give out nothing.
    let hashes = made.path().join("hashes");
    stdout(&audit(&sealed, &["export", path(&hashes), "--since", "999999"]).await);
    stdout(&audit(&sealed, &["checkpoint"]).await);
    stdout(&audit(&sealed, &["verify", "--database"]).await);
    assert_eq!(readings().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_compares_the_last_events_with_what_was_sealed() {
    let sealed = Sealed::with_events(300).await;
    let evidence = async || -> (bool, Value) {
        let mut command = grantlog_on(&sealed.server.database);
        command.args(["doctor", "--json"]);
        let output = finish(command, None).await;
        let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let check = checks.into_iter().find(|check| check["name"] == "evidence");
        (output.status.success(), check.unwrap())
    };
    let (_, check) = evidence().await;
    assert_eq!(check["verdict"], "ok", "{check}");
    let owner = sealed.server.database.owner().await;
    let mut transaction = owner.begin().await.unwrap();
    for sql in [
        "SET LOCAL session_replication_role = replica",
        "UPDATE grantlog.ledger SET event_version = 9 WHERE position = 290",
    ] {
        sqlx::query(sql).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let (success, check) = evidence().await;
    assert_eq!((success, check["verdict"].as_str()), (false, Some("fail")));
    assert!(
        check["found"].as_str().unwrap().contains("position 290"),
        "{check}"
    );
}
