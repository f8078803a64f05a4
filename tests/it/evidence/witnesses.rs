//! Witnesses: one that is sent checkpoints, and one that brings its cosignature.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use grantlog::evidence::checkpoint::{self, Checkpoint};
use grantlog::evidence::note::{NoteAlgorithm, NoteSigner, SignedNote, VerifierKey};
use grantlog::evidence::proof::ConsistencyProof;
use grantlog::evidence::tree::{Hash, empty_root, verify_consistency};
use grantlog::evidence::witness;

use super::{Sealed, append};
use crate::harness::serve;

/// A witness as C2SP tlog-witness describes it.
struct Witness {
    signer: NoteSigner,
    /// Set once the log's key is known.
    log: Mutex<Vec<VerifierKey>>,
    seen: Mutex<(u64, Hash)>,
    asked: Mutex<Vec<u16>>,
}

fn signer() -> NoteSigner {
    let private = NoteSigner::generate().unwrap();
    NoteSigner::from_pkcs8("witness.example/w1", NoteAlgorithm::Cosignature, &private).unwrap()
}

async fn add(State(witness): State<Arc<Witness>>, body: String) -> (StatusCode, String) {
    let answer = judge(&witness, &body);
    witness.asked.lock().unwrap().push(answer.0.as_u16());
    answer
}

fn judge(witness: &Witness, body: &str) -> (StatusCode, String) {
    let Ok(proof) = body.parse::<ConsistencyProof>() else {
        return (StatusCode::BAD_REQUEST, String::new());
    };
    let note = proof.checkpoint.to_string();
    let Ok((checkpoint, _)) = checkpoint::open(&note, &witness.log.lock().unwrap()) else {
        return (StatusCode::FORBIDDEN, String::new());
    };
    let mut seen = witness.seen.lock().unwrap();
    if proof.old != seen.0 {
        return (StatusCode::CONFLICT, format!("{}\n", seen.0));
    }
    let new = (checkpoint.size, &checkpoint.root);
    if !verify_consistency((seen.0, &seen.1), new, &proof.hashes) {
        return (StatusCode::UNPROCESSABLE_ENTITY, String::new());
    }
    *seen = (checkpoint.size, checkpoint.root);
    (
        StatusCode::OK,
        format!("{}\n", witness.signer.sign(&proof.checkpoint.text, 1_790_000_000)),
    )
}

async fn start() -> (Arc<Witness>, SocketAddr) {
    let witness = Arc::new(Witness {
        signer: signer(),
        log: Mutex::default(),
        seen: Mutex::new((0, empty_root())),
        asked: Mutex::default(),
    });
    let router = Router::new()
        .route("/w1/add-checkpoint", post(add))
        .with_state(Arc::clone(&witness));
    serve(|address| ((witness, address), router)).await
}

async fn witnessed(sealed: &Sealed) -> (u16, String) {
    let answer = reqwest::get(sealed.server.url("/evidence/checkpoint/witnessed"))
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_is_sent_each_checkpoint_and_its_cosignature_is_served() {
    let (witness, address) = start().await;
    let configured = format!("{} http://{address}/w1", witness.signer.verifier);
    let sealed = Sealed::start(300, move |settings| {
        settings.evidence_witnesses = vec![configured];
        settings.outbound_allow = vec![address.to_string().parse().unwrap()];
    })
    .await;
    let app = &sealed.server.app;
    // It does not know the log yet.
    witness::ask_all(app).await;
    assert_eq!(witnessed(&sealed).await.0, 404);
    *witness.log.lock().unwrap() = sealed.keys().await;
    for round in 0..3 {
        witness::ask_all(app).await;
        let (status, note) = witnessed(&sealed).await;
        assert_eq!(status, 200);
        let note: SignedNote = note.parse().unwrap();
        assert_eq!(
            witness.signer.verifier.verify(&note).unwrap().time,
            Some(1_790_000_000)
        );
        let seen = witness.seen.lock().unwrap().0;
        assert_eq!(note.text.parse::<Checkpoint>().unwrap().size, seen);
        assert_eq!(seen, sealed.checkpoint().await.size);
        let published: SignedNote = sealed.note().await.parse().unwrap();
        assert_eq!(published, note, "the same checkpoint carries it, too");
        if round == 1 {
            // It has seen more than its answer told: another node asked, say.
            sqlx::query("DELETE FROM grantlog.evidence_cosignatures")
                .execute(&sealed.server.database.owner().await)
                .await
                .unwrap();
        }
        append(&sealed.server, 100).await;
        sealed.settle().await;
    }
    assert_eq!(*witness.asked.lock().unwrap(), [403, 200, 200, 409, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cosignature_is_taken_from_configured_witnesses_and_for_our_own_checkpoints_only() {
    let (known, stranger) = (signer(), signer());
    let key = known.verifier.to_string();
    let sealed = Sealed::start(50, move |settings| settings.evidence_witnesses = vec![key]).await;
    let bring = async |note: String| {
        let request = reqwest::Client::new()
            .post(sealed.server.url("/evidence/cosignature"))
            .body(note);
        let response = request.send().await.unwrap();
        let challenge = response.headers().get("www-authenticate");
        assert_eq!(challenge, None, "no token would help");
        response.status().as_u16()
    };
    let note: SignedNote = sealed.note().await.parse().unwrap();
    let with = |signer: &NoteSigner, note: &SignedNote| {
        let mut note = note.clone();
        note.signatures.push(signer.sign(&note.text, 5));
        note.to_string()
    };
    assert_eq!(bring(with(&stranger, &note)).await, 403);
    assert_eq!(bring(note.to_string()).await, 403);
    let mut other = note.clone();
    other.text = other
        .text
        .replacen(&sealed.checkpoint().await.size.to_string(), "7", 1);
    assert_eq!(bring(with(&known, &other)).await, 400);
    let log = NoteSigner::from_pkcs8(
        &sealed.keys().await[0].name,
        NoteAlgorithm::Ed25519,
        &NoteSigner::generate().unwrap(),
    )
    .unwrap();
    let forged = Checkpoint::new(&log.verifier.name, 3, [1; 32]).sign([&log]);
    assert_eq!(bring(with(&known, &forged)).await, 400);
    assert_eq!(bring("\u{0}".to_owned()).await, 400);
    assert_eq!(witnessed(&sealed).await.0, 404);
    assert_eq!(bring(with(&known, &note)).await, 204);
    let (_, served) = witnessed(&sealed).await;
    assert!(known.verifier.verify(&served.parse().unwrap()).is_some());
    assert!(stranger.verifier.verify(&served.parse().unwrap()).is_none());
}
