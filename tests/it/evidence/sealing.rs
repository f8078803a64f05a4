//! The sealer: it resumes, it never signs two trees of one size, and it notices an older ledger.

use std::sync::Arc;
use std::time::Duration;

use grantlog::app::StartError;
use grantlog::evidence::tree::{Frontier, Hash};
use grantlog::evidence::{EvidenceError, Fault, Sealer, Standing, store};
use sqlx::{Executor, PgPool};

use super::{Sealed, append, reopen};
use crate::harness::TestServer;
use crate::races::Node;

/// Every tree that was ever signed is written down by the database itself.
const WITNESS_ALL: &str = "CREATE TABLE public.signed (size bigint, root bytea); \
    CREATE FUNCTION public.note_signed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS \
    'BEGIN INSERT INTO public.signed VALUES (NEW.size, NEW.root); RETURN NEW; END'; \
    CREATE TRIGGER noted AFTER UPDATE ON grantlog.evidence_log FOR EACH ROW EXECUTE FUNCTION public.note_signed()";

/// The tree as the rows make it, leaf by leaf.
async fn roots(pool: &PgPool, size: u64) -> Vec<Hash> {
    let mut tree = Frontier::default();
    let mut roots = vec![tree.root()];
    for row in store::rows(pool, (0, size), size).await.unwrap() {
        tree.push(row.hash());
        roots.push(tree.root());
    }
    roots
}

async fn assert_one_tree(server: &TestServer) {
    let owner = server.database.owner().await;
    let log = store::read(&owner).await.unwrap();
    let roots = roots(&owner, log.size).await;
    let signed: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT DISTINCT size, root FROM public.signed")
        .fetch_all(&owner)
        .await
        .unwrap();
    assert!(signed.len() > 3, "{} trees were signed", signed.len());
    for (size, root) in signed {
        assert_eq!(
            root,
            roots[usize::try_from(size).unwrap()],
            "the tree of {size} events"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_and_a_killed_sealer_sign_one_tree() {
    let server = TestServer::start().await;
    server.database.owner().await.execute(WITNESS_ALL).await.unwrap();
    let sealer = Sealer::start(&server.app);
    let mut nodes = [Node::beside(&server).await, Node::beside(&server).await];
    for round in 0..6 {
        append(&server, 700).await;
        nodes[round % 2].kill().await;
        nodes[round % 2] = Node::beside(&server).await;
    }
    let head = store::read(server.app.ledger.pool()).await.unwrap().head;
    assert!(sealer.wait_for(head).await);
    assert_one_tree(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_ledger_is_sealed_in_batches_and_a_stopped_sealer_goes_on_where_it_was() {
    let sealed = Sealed::with_events(2600).await;
    let first = sealed.checkpoint().await;
    assert!(first.size > 2600);
    let Sealed { server, sealer } = sealed;
    sealer.stop().await;
    append(&server, 300).await;
    let sealed = Sealed {
        sealer: Sealer::start(&server.app),
        server,
    };
    sealed.settle().await;
    let pool = sealed.server.app.ledger.pool();
    let last = sealed.checkpoint().await;
    assert_eq!(last.size, first.size + 300);
    let roots = roots(pool, last.size).await;
    assert_eq!(last.root, roots[usize::try_from(last.size).unwrap()]);
    assert_eq!(first.root, roots[usize::try_from(first.size).unwrap()]);
    assert_eq!(store::root_at(pool, first.size).await.unwrap(), Some(first.root));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_cannot_make_the_tree_another() {
    let sealed = Sealed::with_events(300).await;
    let pool = sealed.server.app.ledger.pool();
    for sql in [
        "UPDATE grantlog.evidence_log SET size = size - 1",
        "UPDATE grantlog.evidence_log SET root = sha256('x')",
        "UPDATE grantlog.evidence_tiles SET hashes = overlay(hashes placing sha256('x') from 1)",
        "UPDATE grantlog.evidence_tiles SET hashes = substring(hashes FOR 32) WHERE level = 0",
        "DELETE FROM grantlog.evidence_tiles",
        "DELETE FROM grantlog.evidence_log",
        "UPDATE grantlog.evidence_checkpoints SET note = ''",
    ] {
        let refused = pool.execute(sql).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{sql}");
    }
}

/// The rows are gone, and the counter says that they are there.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_once_a_signed_event_is_found_missing() {
    let sealed = Sealed::with_events(300).await;
    let size = sealed.checkpoint().await.size;
    sealed
        .server
        .database
        .owner()
        .await
        .execute(
            format!(
                "SET session_replication_role = replica; DELETE FROM grantlog.ledger WHERE position > {}; \
                 UPDATE grantlog.head SET position = {}",
                size - 2,
                size + 5
            )
            .as_str(),
        )
        .await
        .unwrap();
    let noticed = async {
        while sealed.server.app.evidence.fault().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noticed)
        .await
        .unwrap();
    let fault = sealed.server.app.evidence.fault();
    assert!(
        matches!(fault, Some(Fault::Changed(position)) if position > size - 2),
        "{fault:?}"
    );
    let answer = reqwest::get(sealed.server.url("/oauth/jwks")).await.unwrap();
    assert_eq!(answer.status(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_on_a_ledger_that_is_shorter_than_what_was_signed() {
    let sealed = Sealed::with_events(300).await;
    let size = sealed.checkpoint().await.size;
    let url = |path: &str| sealed.server.url(path);
    assert_eq!(reqwest::get(url("/readyz")).await.unwrap().status(), 200);
    let owner = sealed.server.database.owner().await;
    // A failover that lost the end of the ledger.
    owner
        .execute("UPDATE grantlog.head SET position = 200")
        .await
        .unwrap();
    let fault = Fault::RolledBack {
        ledger: 200,
        signed: size,
    };
    let noticed = async {
        while sealed.server.app.evidence.fault().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noticed)
        .await
        .unwrap();
    assert_eq!(sealed.server.app.evidence.fault(), Some(fault.clone()));
    for path in [
        "/oauth/jwks",
        "/.well-known/openid-configuration",
        "/oauth/authorize",
    ] {
        let answer = reqwest::get(url(path)).await.unwrap();
        assert_eq!(answer.status(), 503, "{path}");
        let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(body["error"], "temporarily_unavailable");
    }
    let ready = reqwest::get(url("/readyz")).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("ledger_not_the_signed_one"));
    assert_eq!(reqwest::get(url("/healthz")).await.unwrap().status(), 200);
    // The evidence itself can be had.
    assert_eq!(
        reqwest::get(url("/evidence/checkpoint")).await.unwrap().status(),
        200
    );
    // And no other node starts on it.
    match reopen(&sealed.server, None).await {
        Err(StartError::Evidence(EvidenceError::Fault(found))) => assert_eq!(found, fault),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_to_an_older_state_is_noticed_by_the_file_outside_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("checkpoint");
    let kept = file.clone();
    let sealed = Sealed::start(300, move |settings| {
        settings.evidence_checkpoint_file = Some(kept);
    })
    .await;
    let size = sealed.checkpoint().await.size;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), sealed.note().await);
    let Sealed { server, sealer } = sealed;
    sealer.stop().await;
    reopen(&server, Some(file.clone())).await.map(|_| ()).unwrap();
    // Ledger and evidence are older together, and agree with one another.
    let owner = server.database.owner().await;
    for sql in [
        "ALTER TABLE grantlog.evidence_log DISABLE TRIGGER grows_only",
        "UPDATE grantlog.head SET position = 0",
        "UPDATE grantlog.evidence_log SET size = 0, root = sha256(''), note = ''",
    ] {
        owner.execute(sql).await.unwrap();
    }
    reopen(&server, None).await.map(|_| ()).unwrap();
    match reopen(&server, Some(file)).await {
        Err(StartError::Evidence(EvidenceError::Fault(found))) => {
            assert!(
                matches!(found, Fault::RolledBack { signed, .. } if signed == size),
                "{found}"
            );
        }
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_notices_that_another_has_signed_another_tree() {
    let sealed = Sealed::with_events(300).await;
    let pool = sealed.server.app.ledger.pool().clone();
    let standing = Arc::new(Standing::open(None).unwrap());
    let mut log = store::read(&pool).await.unwrap();
    standing.observe(&pool, &log).await.unwrap();
    append(&sealed.server, 40).await;
    sealed.settle().await;
    let grown = store::read(&pool).await.unwrap();
    standing.observe(&pool, &grown).await.unwrap();
    // One that saw another tree of the same size before.
    let other = Standing::open(None).unwrap();
    log.root = [9; 32];
    other.observe(&pool, &log).await.unwrap();
    let fault = other.observe(&pool, &grown).await.unwrap_err();
    assert!(matches!(fault, EvidenceError::Fault(Fault::OtherTree(size)) if size == log.size));
    assert_eq!(other.fault(), Some(Fault::OtherTree(log.size)));
}
