//! Witnesses: others who look at each checkpoint, see that it follows from the last that they saw, and cosign it
//! (C2SP tlog-witness, tlog-cosignature). With their word nobody, not even this server, can show two trees.

use std::str::FromStr;

use axum::http::StatusCode;

use super::checkpoint::Checkpoint;
use super::note::{NoteAlgorithm, SignedNote, VerifierKey};
use super::store::{self, Log};
use super::{EvidenceError, checkpoint, prove};
use crate::app::App;
use crate::outbound::{OutboundError, Outgoing};

/// A witness: whose cosignatures are taken, and where checkpoints are sent, unless it fetches them itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its key.
    pub key: VerifierKey,
    /// Its submission prefix.
    pub url: Option<String>,
}

/// Not a witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it needs a cosignature key (witness.example+0a1b2c3d+BA…), and behind a space the URL to send checkpoints to, if any"
)]
pub struct NoWitness;

impl FromStr for Witness {
    type Err = NoWitness;

    fn from_str(text: &str) -> Result<Self, NoWitness> {
        let mut parts = text.split_whitespace();
        let key: VerifierKey = parts.next().and_then(|key| key.parse().ok()).ok_or(NoWitness)?;
        let url = parts.next().map(|url| url.trim_end_matches('/').to_owned());
        let is_url = url.as_ref().is_none_or(|url| url::Url::parse(url).is_ok());
        if parts.next().is_some() || !is_url || key.algorithm != NoteAlgorithm::Cosignature {
            return Err(NoWitness);
        }
        Ok(Self { key, url })
    }
}

/// The witnesses of a configuration, which has been checked.
#[must_use]
pub fn configured(settings: &[String]) -> Vec<Witness> {
    settings.iter().filter_map(|text| text.parse().ok()).collect()
}

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
enum WitnessError {
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    #[error("it could not be reached: {0}")]
    Outbound(#[from] OutboundError),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer holds no cosignature of its key")]
    NoCosignature,
    #[error("it has seen a tree of {seen} events, this log has {size}: the ledger may have been rolled back")]
    Ahead { seen: u64, size: u64 },
}

/// Sends the last checkpoint to each witness that has not cosigned it.
pub async fn ask_all(app: &App) {
    for witness in configured(&app.settings.evidence_witnesses) {
        let Some(url) = &witness.url else { continue };
        let outcome = match ask(app, &witness.key, url).await {
            Ok(true) => "cosigned",
            Ok(false) => continue,
            Err(error) => {
                tracing::warn!(witness = witness.key.name, %error, "a witness did not cosign the checkpoint");
                "failed"
            }
        };
        metrics::counter!("grantlog_evidence_witness_requests_total", "witness" => witness.key.name.clone(), "outcome" => outcome)
            .increment(1);
    }
}

/// True where it cosigned; false where there was nothing to cosign.
async fn ask(app: &App, key: &VerifierKey, url: &str) -> Result<bool, WitnessError> {
    let pool = app.ledger.pool();
    let log = store::read(pool).await?;
    let mut old = store::cosigned_size(pool, key)
        .await
        .map_err(EvidenceError::from)?;
    if log.size == 0 || old >= log.size || app.evidence.fault().is_some() {
        return Ok(false);
    }
    // The witness may have seen more than its cosignature told us: it then says what, once.
    for _ in 0..2 {
        let proof = prove::consistency(pool, &log, old)
            .await?
            .ok_or(EvidenceError::Checkpoint)?;
        let address = format!("{url}/add-checkpoint");
        let body = proof.to_string();
        let answer = app.witnesses.send(Outgoing::post_text(&address, body)).await?;
        let text = String::from_utf8_lossy(&answer.body);
        match answer.status {
            StatusCode::OK => return keep(app, key, &log, &text).await.map(|()| true),
            StatusCode::CONFLICT => {
                let seen: u64 = text
                    .trim()
                    .parse()
                    .map_err(|_| WitnessError::Status(answer.status))?;
                if seen > log.size {
                    return Err(WitnessError::Ahead { seen, size: log.size });
                }
                old = seen;
            }
            status => return Err(WitnessError::Status(status)),
        }
    }
    Err(WitnessError::Status(StatusCode::CONFLICT))
}

async fn keep(app: &App, key: &VerifierKey, log: &Log, answer: &str) -> Result<(), WitnessError> {
    let note: SignedNote = log.note.parse().map_err(|_| EvidenceError::Checkpoint)?;
    let mut lines = answer.lines().filter_map(super::note::Signature::parse);
    let line = lines.find(|line| key.verify_line(&note.text, line).is_some());
    let line = line.ok_or(WitnessError::NoCosignature)?;
    let kept = store::keep_cosignature(app.ledger.pool(), (log.size, &log.note), key, &line).await;
    Ok(kept.map_err(EvidenceError::from)?)
}

/// Why cosignatures that were brought are not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The evidence could not be read or written.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// Not a checkpoint that a key of this log signed.
    #[error("this is not a checkpoint that this log has signed")]
    NotOurs,
    /// No cosignature of a configured witness.
    #[error("there is no valid cosignature of a witness that is configured here")]
    NoWitness,
}

/// Takes the cosignatures of configured witnesses from a checkpoint of this log. Returns how many there were.
pub async fn take(app: &App, note: &str) -> Result<usize, NotTaken> {
    let pool = app.ledger.pool();
    let keys = store::verifier_keys(pool).await.map_err(EvidenceError::from)?;
    let (checkpoint, note) = checkpoint::open(note, &keys).map_err(|_| NotTaken::NotOurs)?;
    if !is_ours(app, &checkpoint).await? {
        return Err(NotTaken::NotOurs);
    }
    let ours = |name: &str| keys.iter().any(|key| key.name == name);
    let mut bare = note.clone();
    bare.signatures.retain(|line| ours(&line.name));
    let mut taken = 0;
    for witness in configured(&app.settings.evidence_witnesses) {
        let lines = note.signatures.iter();
        let line = lines
            .clone()
            .find(|line| witness.key.verify_line(&note.text, line).is_some());
        if let Some(line) = line {
            let kept =
                store::keep_cosignature(pool, (checkpoint.size, &bare.to_string()), &witness.key, line).await;
            kept.map_err(EvidenceError::from)?;
            taken += 1;
        }
    }
    if taken == 0 {
        Err(NotTaken::NoWitness)
    } else {
        Ok(taken)
    }
}

/// Whether the tree of this log has that root at that size.
async fn is_ours(app: &App, checkpoint: &Checkpoint) -> Result<bool, EvidenceError> {
    let pool = app.ledger.pool();
    let log = store::read(pool).await?;
    if checkpoint.size == 0 || checkpoint.size > log.size {
        return Ok(false);
    }
    Ok(store::root_at(pool, checkpoint.size).await? == Some(checkpoint.root))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::note::NoteSigner;
    use proptest::prelude::*;

    #[test]
    fn a_witness_is_a_cosignature_key_and_perhaps_a_url() {
        let key = |algorithm| {
            let private = NoteSigner::generate().unwrap();
            NoteSigner::from_pkcs8("witness.example/w1", algorithm, &private)
                .unwrap()
                .verifier
        };
        let (good, log) = (key(NoteAlgorithm::Cosignature), key(NoteAlgorithm::Ed25519));
        let alone: Witness = good.to_string().parse().unwrap();
        assert_eq!(
            alone,
            Witness {
                key: good.clone(),
                url: None
            }
        );
        let with_url: Witness = format!("{good} https://witness.example/w1/").parse().unwrap();
        assert_eq!(with_url.url.as_deref(), Some("https://witness.example/w1"));
        for bad in [
            log.to_string(),
            format!("{good} nowhere"),
            format!("{good} https://a.example b"),
            String::new(),
        ] {
            assert_eq!(bad.parse::<Witness>(), Err(NoWitness), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_witness_or_none(text in "\\PC{0,60}") {
            let _ = text.parse::<Witness>();
        }
    }
}
