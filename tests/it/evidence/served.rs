//! The log over HTTP, as an auditor who has nothing but the verifier key reads it.

use grantlog::config::EvidenceEntries;
use grantlog::evidence::checkpoint::{self, Checkpoint};
use grantlog::evidence::leaf::Row;
use grantlog::evidence::note::VerifierKey;
use grantlog::evidence::proof::{ConsistencyProof, InclusionProof};
use grantlog::evidence::tile::{self, TileKind, TilePath};
use grantlog::evidence::tree::{Frontier, Hash, leaf_hash, root_of, verify_consistency, verify_inclusion};
use reqwest::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use serde_json::json;

use super::{Sealed, append};

/// What is at a path, which is there.
async fn get(sealed: &Sealed, path: &str) -> Vec<u8> {
    let answer = reqwest::get(sealed.server.url(path)).await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.bytes().await.unwrap().to_vec()
}

async fn text(sealed: &Sealed, path: &str) -> String {
    String::from_utf8(get(sealed, path).await).unwrap()
}

async fn status(sealed: &Sealed, path: &str) -> u16 {
    reqwest::get(sealed.server.url(path))
        .await
        .unwrap()
        .status()
        .as_u16()
}

async fn served(sealed: &Sealed) -> (Checkpoint, Vec<VerifierKey>) {
    let keys: Vec<VerifierKey> = text(sealed, "/evidence/keys")
        .await
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    let note = text(sealed, "/evidence/checkpoint").await;
    (checkpoint::open(&note, &keys).unwrap().0, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_served_tiles_make_up_the_tree_of_the_served_checkpoint() {
    let sealed = Sealed::start(700, |settings| {
        settings.evidence_entries = EvidenceEntries::Public;
    })
    .await;
    let (checkpoint, _) = served(&sealed).await;
    let (mut from_tiles, mut from_entries) = (Frontier::default(), Frontier::default());
    let mut upper: Vec<Hash> = Vec::new();
    let paths = |kind| TilePath::of_tree(kind, checkpoint.size).map(|path| format!("/evidence/{path}"));
    for path in paths(TileKind::Hashes(0)) {
        let hashes = tile::hashes(&get(&sealed, &path).await).unwrap();
        upper.extend((hashes.len() == 256).then(|| root_of(&hashes)));
        for hash in hashes {
            from_tiles.push(hash);
        }
    }
    for path in paths(TileKind::Hashes(1)) {
        assert_eq!(tile::hashes(&get(&sealed, &path).await).unwrap(), upper);
    }
    let mut position = 0;
    for path in paths(TileKind::Entries) {
        for leaf in tile::leaves(&get(&sealed, &path).await).unwrap() {
            position += 1;
            assert_eq!(Row::parse(leaf).unwrap().position, position);
            from_entries.push(leaf_hash(leaf));
        }
    }
    assert_eq!(from_tiles.root(), checkpoint.root);
    assert_eq!(from_entries.root(), checkpoint.root);
    assert_eq!(from_entries.size(), checkpoint.size);
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_are_kept_for_ever_checkpoints_are_asked_for_anew_and_the_rest_is_not_there() {
    let sealed = Sealed::with_events(300).await;
    let answer = async |path: &str| reqwest::get(sealed.server.url(path)).await.unwrap();
    for (path, caching, kind) in [
        (
            "/evidence/tile/0/000",
            "public, max-age=31536000, immutable",
            "application/octet-stream",
        ),
        (
            "/evidence/tile/0/001.p/3",
            "public, max-age=31536000, immutable",
            "application/octet-stream",
        ),
        ("/evidence/checkpoint", "no-cache", "text/plain; charset=utf-8"),
        ("/evidence/keys", "no-cache", "text/plain; charset=utf-8"),
    ] {
        let answer = answer(path).await;
        assert_eq!(answer.headers()[CACHE_CONTROL], caching, "{path}");
        assert_eq!(answer.headers()[CONTENT_TYPE], kind, "{path}");
    }
    // A full tile's beginning is a partial tile of every width.
    let whole = get(&sealed, "/evidence/tile/0/000").await;
    assert_eq!(get(&sealed, "/evidence/tile/0/000.p/200").await, whole[..6400]);
    for path in [
        "/evidence/tile/0/002",
        "/evidence/tile/0/001",
        "/evidence/tile/0/001.p/250",
        "/evidence/tile/1/000",
        "/evidence/tile/0/0",
        "/evidence/tile/0/x000/001",
        "/evidence/tile/9/000",
        "/evidence/tile/0/../keys",
        "/evidence/checkpoint/witnessed",
        "/evidence/",
        "/evidence/proof?position=0",
        "/evidence/proof?position=99999",
        "/evidence/proof?from=99999",
    ] {
        let answer = answer(path).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store", "{path}");
    }
    for path in [
        "/evidence/proof",
        "/evidence/proof?position=-1",
        "/evidence/proof?position=1&from=1",
        "/evidence/proof?size=1",
    ] {
        assert_eq!(answer(path).await.status(), 400, "{path}");
    }
    let refusals: i64 =
        sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger WHERE event_type = 'RequestRefused'")
            .fetch_one(sealed.server.app.ledger.pool())
            .await
            .unwrap();
    assert_eq!(refusals, 0, "what anybody may ask leaves nothing on the ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_need_a_token_with_the_scope_admin_unless_they_are_public() {
    let sealed = Sealed::with_events(300).await;
    let operations = &sealed.server.app.operations;
    let context = crate::harness::TestServer::context();
    operations
        .define_scope(&context, "admin", "Administer", true)
        .await
        .unwrap();
    let client = sealed
        .server
        .client(json!({"client_name": "Auditor", "grant_types": ["client_credentials"], "scope": "admin server-operations"}))
        .await;
    let path = "/evidence/tile/entries/000";
    assert_eq!(status(&sealed, path).await, 401);
    let token = async |scope: &str| {
        let answer = reqwest::Client::new()
            .post(sealed.server.url("/oauth/token"))
            .basic_auth(&client.client_id, client.client_secret.as_ref())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("grant_type=client_credentials&scope={scope}"))
            .send()
            .await
            .unwrap();
        let body: serde_json::Value = answer.json().await.unwrap();
        body["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("{body}"))
            .to_owned()
    };
    let with = async |token: String, path: &str| {
        let request = reqwest::Client::new().get(sealed.server.url(path));
        request
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .send()
            .await
            .unwrap()
    };
    assert_eq!(with(token("server-operations").await, path).await.status(), 403);
    crate::users::approve(&sealed.server, client.key, &["admin"]).await;
    let read = with(token("admin").await, path).await;
    assert_eq!(read.status(), 200);
    assert_eq!(
        read.headers()[CACHE_CONTROL],
        "private, max-age=31536000, immutable"
    );
    assert_eq!(tile::leaves(&read.bytes().await.unwrap()).unwrap().len(), 256);
    assert_eq!(
        with(token("admin").await, "/evidence/tile/entries/009")
            .await
            .status(),
        404
    );
    // The same right opens proofs with their events, each on the trail.
    let asked = async |path: &str| -> serde_json::Value {
        let answer = with(token("admin").await, &format!("/admin/evidence/{path}")).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    };
    let head = asked("checkpoint").await;
    let size: Checkpoint = {
        let note = head["checkpoint"].as_str().unwrap();
        note.split("\n\n").next().unwrap().to_owned() + "\n"
    }
    .parse()
    .unwrap();
    assert_eq!(head["size"], size.size);
    let proof = asked("proofs/300").await;
    let proof: InclusionProof = proof["proof"].as_str().unwrap().parse().unwrap();
    assert_eq!((proof.index, proof.leaf.is_some()), (299, true));
    assert!(asked("consistency?from=200").await["proof"].is_string());
    let read: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM grantlog.ledger WHERE event_type = 'LedgerRead' AND payload->>'upto' = '300'",
    )
    .fetch_one(sealed.server.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(read, 1);

    let off = Sealed::start(3, |settings| settings.evidence_entries = EvidenceEntries::Off).await;
    assert_eq!(status(&off, "/evidence/tile/entries/000.p/2").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn served_proofs_verify_and_hold_the_event_where_entries_are_public() {
    for entries in [EvidenceEntries::Public, EvidenceEntries::Admin] {
        let sealed = Sealed::start(400, |settings| settings.evidence_entries = entries).await;
        let (old, keys) = served(&sealed).await;
        append(&sealed.server, 100).await;
        sealed.settle().await;
        let proof: InclusionProof = text(&sealed, "/evidence/proof?position=333")
            .await
            .parse()
            .unwrap();
        assert_eq!(proof.index, 332);
        assert_eq!(proof.leaf.is_some(), entries == EvidenceEntries::Public);
        let now: Checkpoint = proof.checkpoint.text.parse().unwrap();
        let hashes = tile::hashes(&get(&sealed, "/evidence/tile/0/001.p/100").await).unwrap();
        assert!(verify_inclusion(
            (332, &hashes[332 - 256]),
            (now.size, &now.root),
            &proof.hashes
        ));
        if proof.leaf.is_some() {
            assert_eq!(proof.verify(&keys).unwrap().position, 333);
        }
        let path = format!("/evidence/proof?from={}", old.size);
        let steps: ConsistencyProof = text(&sealed, &path).await.parse().unwrap();
        assert!(verify_consistency(
            (old.size, &old.root),
            (now.size, &now.root),
            &steps.hashes
        ));
    }
}
