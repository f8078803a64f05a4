//! An attacker who may do everything in the database, triggers or not.

use std::path::Path;

use grantlog::evidence::verify::{Anchor, Damage, Finding, Place, verify};
use grantlog::evidence::{Sealer, export, store};
use sqlx::{Connection, Executor, PgConnection};

use super::Sealed;
use crate::harness::TestServer;

/// The event that is attacked, in the middle of the second tile.
const P: u64 = 400;

/// Superuser, with every trigger off.
pub(crate) async fn attacker(server: &TestServer) -> PgConnection {
    let mut connection = PgConnection::connect(&server.database.owner_url).await.unwrap();
    connection
        .execute("SET session_replication_role = replica")
        .await
        .unwrap();
    connection
}

pub(crate) const BACKUP: &str = "CREATE TABLE backup_ledger AS SELECT * FROM grantlog.ledger; \
    CREATE TABLE backup_tiles AS SELECT * FROM grantlog.evidence_tiles; \
    CREATE TABLE backup_log AS SELECT * FROM grantlog.evidence_log; \
    CREATE TABLE backup_checkpoints AS SELECT * FROM grantlog.evidence_checkpoints; \
    CREATE TABLE backup_head AS SELECT * FROM grantlog.head;";
pub(crate) const RESTORE: &str = "DELETE FROM grantlog.ledger; INSERT INTO grantlog.ledger SELECT * FROM backup_ledger; \
    DELETE FROM grantlog.evidence_tiles; INSERT INTO grantlog.evidence_tiles SELECT * FROM backup_tiles; \
    DELETE FROM grantlog.evidence_log; INSERT INTO grantlog.evidence_log SELECT * FROM backup_log; \
    DELETE FROM grantlog.evidence_checkpoints; INSERT INTO grantlog.evidence_checkpoints SELECT * FROM backup_checkpoints; \
    DELETE FROM grantlog.head; INSERT INTO grantlog.head SELECT * FROM backup_head;";

/// What is done, at which position it shows first, and as what.
const ATTACKS: &[(&str, &str, u64, Damage)] = &[
    (
        "a payload is edited",
        "UPDATE grantlog.ledger SET payload = '{\"count\":2}' WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "a payload is spelled otherwise",
        "UPDATE grantlog.ledger SET payload = (payload::text || ' ')::json WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "metadata is edited",
        "UPDATE grantlog.ledger SET metadata = '{\"actor\":\"nobody\"}' WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "a time is moved",
        "UPDATE grantlog.ledger SET recorded_at = recorded_at + interval '1 microsecond' WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "a time is moved beyond all spelling",
        "UPDATE grantlog.ledger SET recorded_at = '-infinity' WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "a time is moved before Christ",
        "UPDATE grantlog.ledger SET recorded_at = recorded_at - interval '4052 years' WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "an event is renamed",
        "UPDATE grantlog.ledger SET event_type = 'RequestRefused' WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "a version is changed",
        "UPDATE grantlog.ledger SET event_version = 2 WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "a command is changed",
        "UPDATE grantlog.ledger SET command_id = gen_random_uuid() WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "a sequence is changed",
        "UPDATE grantlog.ledger SET sequence = sequence + 1000 WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "an event is given to another aggregate",
        "UPDATE grantlog.ledger SET sequence = 9999, aggregate_id = (SELECT aggregate_id FROM grantlog.ledger WHERE position = 600) WHERE position = 400",
        P,
        Damage::Edited,
    ),
    (
        "two payloads are swapped",
        "UPDATE grantlog.ledger SET payload = CASE position WHEN 400 THEN (SELECT payload::text FROM grantlog.ledger WHERE position = 2) ELSE (SELECT payload::text FROM grantlog.ledger WHERE position = 400) END::json WHERE position IN (400, 2)",
        2,
        Damage::Edited,
    ),
    (
        "an event is removed",
        "DELETE FROM grantlog.ledger WHERE position = 400",
        P,
        Damage::Removed,
    ),
    (
        "an event is removed and the others close up",
        "DELETE FROM grantlog.ledger WHERE position = 400; UPDATE grantlog.ledger SET position = position - 1 WHERE position > 400; UPDATE grantlog.head SET position = position - 1",
        P,
        Damage::Removed,
    ),
    (
        "an event is put in beside another",
        "INSERT INTO grantlog.ledger SELECT lane, aggregate_type, aggregate_id, sequence + 1000, position, command_id, event_type, event_version, payload, metadata, recorded_at FROM grantlog.ledger WHERE position = 400",
        P,
        Damage::Inserted,
    ),
    (
        "an event is put in and the others make room",
        "UPDATE grantlog.ledger SET position = position + 1 WHERE position >= 400; INSERT INTO grantlog.ledger SELECT lane, aggregate_type, aggregate_id, sequence + 1000, 400, command_id, event_type, event_version, payload, metadata, recorded_at FROM grantlog.ledger WHERE position = 401; UPDATE grantlog.head SET position = position + 1",
        P,
        Damage::Inserted,
    ),
    (
        "an event is put in a lane of its own",
        "INSERT INTO grantlog.ledger SELECT 1, aggregate_type, aggregate_id, sequence, position, command_id, event_type, event_version, payload, metadata, recorded_at FROM grantlog.ledger WHERE position = 400",
        P,
        Damage::Inserted,
    ),
    (
        "two events change places",
        "UPDATE grantlog.ledger SET position = 850 - position WHERE position IN (400, 450)",
        P,
        Damage::Reordered,
    ),
    (
        "two neighbours change places",
        "UPDATE grantlog.ledger SET position = 801 - position WHERE position IN (400, 401)",
        P,
        Damage::Reordered,
    ),
    (
        "an event is moved to the end",
        "UPDATE grantlog.ledger SET position = 1000000 WHERE position = 400",
        P,
        Damage::Removed,
    ),
    (
        "the tail is cut off",
        "DELETE FROM grantlog.ledger WHERE position >= 400; UPDATE grantlog.head SET position = 399",
        P,
        Damage::RolledBack,
    ),
    (
        "the ledger is emptied",
        "DELETE FROM grantlog.ledger; UPDATE grantlog.head SET position = 0",
        1,
        Damage::RolledBack,
    ),
    (
        "the tail is cut off and the tiles with it",
        "DELETE FROM grantlog.ledger WHERE position >= 400; UPDATE grantlog.head SET position = 399; DELETE FROM grantlog.evidence_tiles WHERE level > 0 OR index > 0; UPDATE grantlog.evidence_log SET size = 256; DELETE FROM grantlog.evidence_checkpoints",
        P,
        Damage::RolledBack,
    ),
    (
        "everything signed in the database is removed",
        "UPDATE grantlog.ledger SET payload = '{\"count\":2}' WHERE position = 400; UPDATE grantlog.evidence_log SET note = ''; DELETE FROM grantlog.evidence_checkpoints",
        P,
        Damage::Edited,
    ),
    (
        "an event is put in far beyond the head, where nobody comes for long",
        "INSERT INTO grantlog.ledger SELECT lane, aggregate_type, aggregate_id, sequence + 1000, 1000000, command_id, event_type, event_version, payload, metadata, recorded_at FROM grantlog.ledger WHERE position = 400",
        1_000_000,
        Damage::Inserted,
    ),
    (
        "a tile is rewritten",
        "UPDATE grantlog.evidence_tiles SET hashes = overlay(hashes placing sha256('x') from 1 + 32 * 143) WHERE level = 0 AND index = 1",
        P,
        Damage::Tiles,
    ),
    (
        "a tile is removed",
        "DELETE FROM grantlog.evidence_tiles WHERE level = 0 AND index = 1",
        257,
        Damage::Tiles,
    ),
];

async fn find(server: &TestServer, anchor: &Anchor) -> Option<Finding> {
    let place = Place::Database(server.database.owner().await);
    verify(&place, vec![anchor.clone()], &[], &mut |_| {})
        .await
        .unwrap()
        .finding
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attacker_with_every_right_in_the_database_changes_nothing_unseen() {
    let sealed = Sealed::with_events(900).await;
    let anchor = sealed.anchor().await;
    let Sealed { server, sealer } = sealed;
    // It would notice some of it by itself: here it is to be found by who verifies.
    sealer.stop().await;
    let mut attacker = attacker(&server).await;
    attacker.execute(BACKUP).await.unwrap();
    assert_eq!(find(&server, &anchor).await, None);
    for (what, sql, position, problem) in ATTACKS {
        attacker.execute(*sql).await.unwrap();
        let finding = find(&server, &anchor)
            .await
            .unwrap_or_else(|| panic!("unseen: {what}"));
        let found = (finding.first_bad_position, finding.not_after, finding.problem);
        assert_eq!(
            found,
            (*position, *position, *problem),
            "{what}: {}",
            finding.detail
        );
        attacker.execute(RESTORE).await.unwrap();
    }
    assert_eq!(find(&server, &anchor).await, None);
}

/// Rows and tiles are rewritten so that they agree: the attacker has the server sign its own forgery.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_tree_is_found_and_an_older_export_names_the_position() {
    let sealed = Sealed::with_events(900).await;
    let anchor = sealed.anchor().await;
    let before = tempfile::tempdir().unwrap();
    let pool = sealed.server.app.ledger.pool().clone();
    export::export(&pool, before.path(), u64::MAX, &mut |_, _| {})
        .await
        .unwrap();
    let Sealed {
        server,
        sealer: running,
    } = sealed;
    running.stop().await;
    attacker(&server)
        .await
        .execute(
            "UPDATE grantlog.ledger SET metadata = '{}' , payload = '{\"count\":7}' WHERE position = 400; \
             DELETE FROM grantlog.evidence_tiles; DELETE FROM grantlog.evidence_checkpoints; \
             UPDATE grantlog.evidence_log SET size = 0, root = sha256(''), note = ''",
        )
        .await
        .unwrap();
    // A server that remembers nothing seals what it finds, with the log's own key.
    let fresh = super::reopen(&server, None).await.unwrap();
    let again = Sealer::start(&fresh);
    assert!(again.wait_for(store::read(&pool).await.unwrap().head).await);
    again.stop().await;
    let place = Place::Database(server.database.owner().await);
    // By itself the forgery is whole …
    let log = store::read(&pool).await.unwrap();
    let forged = store::published(&pool, &log).await.unwrap().unwrap();
    let forged = Anchor {
        from: "forged".to_owned(),
        checkpoint: forged.text.parse().unwrap(),
    };
    let report = verify(&place, vec![forged], &[], &mut |_| {}).await.unwrap();
    assert_eq!(report.finding, None);
    // … the checkpoint of before says that it is one …
    let report = verify(&place, vec![anchor.clone()], &[], &mut |_| {})
        .await
        .unwrap();
    let finding = report.finding.unwrap();
    assert_eq!(
        (finding.first_bad_position, finding.problem),
        (1, Damage::Somewhere)
    );
    assert_eq!(finding.not_after, anchor.checkpoint.size);
    // … and the hashes of before say where.
    let older = [Place::Directory(before.path().to_owned())];
    let report = verify(&place, vec![anchor], &older, &mut |_| {}).await.unwrap();
    let finding = report.finding.unwrap();
    assert_eq!(
        (finding.first_bad_position, finding.not_after, finding.problem),
        (P, P, Damage::Edited)
    );
}

fn flip(directory: &Path, file: &str, at: usize) {
    let path = directory.join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_changed_file_of_an_export_is_found() {
    let sealed = Sealed::with_events(600).await;
    let anchor = sealed.anchor().await;
    let pool = sealed.server.app.ledger.pool().clone();
    let place = |directory: &Path| Place::Directory(directory.to_owned());
    let made = tempfile::tempdir().unwrap();
    export::export(&pool, made.path(), 0, &mut |_, _| {})
        .await
        .unwrap();
    let check = async |directory: &Path| {
        let report = verify(&place(directory), vec![anchor.clone()], &[], &mut |_| {})
            .await
            .unwrap();
        report
            .finding
            .map(|finding| (finding.first_bad_position, finding.problem))
    };
    assert_eq!(check(made.path()).await, None);
    // The first leaf of the second bundle, behind its length.
    flip(made.path(), "tile/entries/001", 200);
    assert_eq!(check(made.path()).await, Some((257, Damage::Edited)));
    flip(made.path(), "tile/entries/001", 200);
    flip(made.path(), "tile/0/000", 32 * 9);
    assert_eq!(check(made.path()).await, Some((10, Damage::Tiles)));
    flip(made.path(), "tile/0/000", 32 * 9);
    let last = std::fs::read_dir(made.path().join("tile/entries/002.p"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let whole = std::fs::read(last.path()).unwrap();
    std::fs::write(last.path(), &whole[..whole.len() - 1]).unwrap();
    let size = anchor.checkpoint.size;
    assert_eq!(check(made.path()).await, Some((size, Damage::RolledBack)));
    // What was never signed, behind what was: an event, and bytes that are none.
    let event = whole[..2 + usize::from(u16::from_be_bytes([whole[0], whole[1]]))].to_vec();
    for more in [&event[..], b"\0\0", b"\0\x05hello", b"x"] {
        std::fs::write(last.path(), [&whole[..], more].concat()).unwrap();
        assert_eq!(check(made.path()).await, Some((size + 1, Damage::Inserted)));
    }
    std::fs::write(last.path(), &whole).unwrap();
    let full = made.path().join("tile/entries/001");
    let signed = std::fs::read(&full).unwrap();
    std::fs::write(&full, [&signed[..], &event[..]].concat()).unwrap();
    assert_eq!(check(made.path()).await, Some((513, Damage::Inserted)));
    std::fs::write(&full, &signed).unwrap();
    // Bundles that no checkpoint covers, under every name that somebody may read them by.
    let width = size - 512;
    for (name, position) in [
        (format!("002.p/{}", width + 1), size + 1),
        ("002".to_owned(), size + 1),
        ("003".to_owned(), 769),
        ("000.p/255".to_owned(), 1),
        ("001.p/300".to_owned(), size + 1),
    ] {
        let path = made.path().join("tile/entries").join(&name);
        let beside = path.parent().unwrap();
        let made_for_it = !beside.exists();
        std::fs::create_dir_all(beside).unwrap();
        std::fs::write(&path, [&whole[..], &event[..]].concat()).unwrap();
        let found = check(made.path()).await;
        assert_eq!(found, Some((position, Damage::Inserted)), "{name}");
        std::fs::remove_file(&path).unwrap();
        if made_for_it {
            std::fs::remove_dir(beside).unwrap();
        }
    }
    assert_eq!(check(made.path()).await, None);
    // A bundle that is gone, where those before it are there.
    std::fs::remove_file(&full).unwrap();
    assert_eq!(check(made.path()).await, Some((257, Damage::Removed)));
    std::fs::write(&full, &signed).unwrap();
    assert_eq!(check(made.path()).await, None);
}
