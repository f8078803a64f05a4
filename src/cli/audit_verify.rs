//! `grantlog audit verify`: an export, the live database or a proof file, against checkpoints and keys.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::json;
use sqlx::PgPool;

use super::arguments::{Connection, Json};
use super::audit_export::database;
use super::audit_proof::{self, Against};
use super::output;
use crate::evidence::checkpoint::{self, CheckpointError};
use crate::evidence::note::{MAX_NOTE, NoteAlgorithm, VerifierKey};
use crate::evidence::verify::{Anchor, Place, Report, verify_since};
use crate::evidence::{bounded, export, store};

/// Options of `verify`.
#[derive(Args)]
pub(super) struct Verify {
    /// An export; needs neither database nor configuration
    #[arg(required_unless_present_any = ["database", "proof"], conflicts_with_all = ["database", "proof"])]
    directory: Option<PathBuf>,
    #[expect(clippy::option_option, reason = "an option whose value may be left out")]
    /// The ledger itself: of this URL, or of the configuration
    #[arg(long, value_name = "URL", num_args = 0..=1, conflicts_with = "proof")]
    database: Option<Option<String>>,
    /// A proof file of `audit prove`; of one with --from, the older checkpoint is given with --checkpoint
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// A verifier key of the log that you had before, or a file of such; with --database by default those on the ledger
    #[arg(long, value_name = "VKEY|FILE")]
    key: Vec<String>,
    /// A checkpoint that was taken before, or an older export, whose hashes also show which event is bad
    #[arg(long, value_name = "FILE|DIR")]
    checkpoint: Vec<PathBuf>,
    /// A witness (its cosignature key) whose cosignature the checkpoint must have
    #[arg(long, value_name = "VKEY")]
    witness: Vec<VerifierKey>,
    /// The export was made with the same --since: the events up to this position need no text, only their hashes
    #[arg(long, value_name = "POSITION", default_value_t = 0, conflicts_with_all = ["database", "proof"])]
    since: u64,
    #[command(flatten)]
    output: Json,
}

/// The most bytes of a file of keys.
const MAX_KEYS: usize = 1 << 20;

pub(super) async fn run(connection: &Connection, arguments: Verify) -> anyhow::Result<()> {
    let mut keys = Vec::new();
    for key in &arguments.key {
        keys.extend(verifier_keys(key)?);
    }
    require_witnesses(&arguments.witness, &keys)?;
    if let Some(file) = &arguments.proof {
        require_key(&keys)?;
        let against = Against {
            keys: &keys,
            witnesses: &arguments.witness,
            checkpoints: &arguments.checkpoint,
        };
        return audit_proof::verify(file, &against, arguments.output);
    }
    let (place, mut notes) = match (&arguments.directory, &arguments.database) {
        (Some(directory), _) => directory_of(directory)?,
        (None, Some(url)) => live(connection, url.as_deref(), &mut keys, &arguments).await?,
        (None, None) => bail!("give a directory, --database or --proof"),
    };
    require_key(&keys)?;
    require_witnesses(&arguments.witness, &keys)?;
    let own = notes.len();
    let mut others = Vec::new();
    for path in &arguments.checkpoint {
        let file = if path.is_dir() {
            others.push(Place::Directory(path.clone()));
            path.join(export::CHECKPOINT)
        } else {
            path.clone()
        };
        notes.push((file.display().to_string(), read(&file, MAX_NOTE)?));
    }
    let (anchors, unsigned) = anchors(notes, own, &keys, &arguments.witness)?;
    let size = anchors
        .iter()
        .map(|anchor| anchor.checkpoint.size)
        .max()
        .unwrap_or_default();
    let bar = output::bar(size, "events");
    let report = verify_since(arguments.since, &place, anchors, &others, &mut |done| {
        bar.set_position(done);
    })
    .await;
    bar.finish_and_clear();
    print(&report?, arguments.output)?;
    match unsigned.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The checkpoints' texts, each with where it came from.
type Notes = Vec<(String, String)>;

fn directory_of(directory: &Path) -> anyhow::Result<(Place, Notes)> {
    let file = directory.join(export::CHECKPOINT);
    let mut notes = vec![(file.display().to_string(), read(&file, MAX_NOTE)?)];
    let witnessed = directory.join(export::WITNESSED);
    if witnessed.exists() {
        notes.push((witnessed.display().to_string(), read(&witnessed, MAX_NOTE)?));
    }
    Ok((Place::Directory(directory.to_owned()), notes))
}

async fn live(
    connection: &Connection,
    url: Option<&str>,
    keys: &mut Vec<VerifierKey>,
    arguments: &Verify,
) -> anyhow::Result<(Place, Notes)> {
    let pool = match url {
        Some(url) => PgPool::connect(url)
            .await
            .context("the database cannot be reached")?,
        None => database(connection).await?,
    };
    if keys.is_empty() {
        *keys = store::verifier_keys(&pool).await?;
        output::note("the key is the ledger's own word: give --key with one that you were given before");
    }
    let log = store::read(&pool).await?;
    let mut notes: Notes = store::kept_checkpoints(&pool)
        .await?
        .into_iter()
        .map(|note| ("the database (kept)".to_owned(), note))
        .collect();
    match store::published(&pool, &log).await? {
        Some(note) => notes.push(("the database".to_owned(), note.to_string())),
        None => ensure!(
            !arguments.checkpoint.is_empty(),
            "the database has no checkpoint: give --checkpoint with one that was taken before"
        ),
    }
    Ok((Place::Database(pool), notes))
}

/// Opens each checkpoint. Of those that lie in the place itself, one that does not open says so in the end: the others
/// may show more.
fn anchors(
    notes: Notes,
    own: usize,
    keys: &[VerifierKey],
    witnesses: &[VerifierKey],
) -> anyhow::Result<(Vec<Anchor>, Vec<anyhow::Error>)> {
    let (mut anchors, mut unsigned) = (Vec::new(), Vec::new());
    let mut cosigned = Vec::new();
    for (place, (from, text)) in notes.into_iter().enumerate() {
        let (checkpoint, note) = match checkpoint::open(&text, keys) {
            Ok(opened) => opened,
            Err(error) if place < own => {
                unsigned.push(explain(&from, &error));
                continue;
            }
            Err(error) => return Err(explain(&from, &error)),
        };
        cosigned.extend(
            witnesses
                .iter()
                .filter(|witness| witness.verify(&note).is_some())
                .cloned(),
        );
        let from = if place < own {
            from
        } else {
            format!("{from} (taken before)")
        };
        anchors.push(Anchor { from, checkpoint });
    }
    let missing = witnesses.iter().find(|witness| !cosigned.contains(witness));
    if let Some(witness) = missing {
        bail!("no checkpoint has a valid cosignature of {}", witness.name);
    }
    if let (Some(first), Some(other)) = (
        anchors.first(),
        anchors
            .iter()
            .find(|anchor| Some(&anchor.checkpoint.origin) != anchors.first().map(|a| &a.checkpoint.origin)),
    ) {
        bail!(
            "{} is of {}, {} of {}",
            first.from,
            first.checkpoint.origin,
            other.from,
            other.checkpoint.origin
        );
    }
    match (anchors.is_empty(), unsigned.pop()) {
        (true, Some(error)) => Err(error),
        (_, last) => {
            unsigned.extend(last);
            Ok((anchors, unsigned))
        }
    }
}

fn explain(from: &str, error: &CheckpointError) -> anyhow::Error {
    anyhow::anyhow!(
        "{from}: {error}; whoever gave it to you did not take it from this log, or it was changed"
    )
}

pub(super) fn read(file: &Path, most: usize) -> anyhow::Result<String> {
    bounded::text(file, most).with_context(|| format!("{} cannot be read", file.display()))
}

/// A key, or the keys of a file.
fn verifier_keys(text: &str) -> anyhow::Result<Vec<VerifierKey>> {
    if let Ok(key) = text.parse() {
        return Ok(vec![key]);
    }
    let lines = read(Path::new(text), MAX_KEYS)
        .with_context(|| format!("{text} is neither a verifier key nor a file of them"))?;
    let keys = lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::parse);
    keys.collect::<Result<_, _>>().with_context(|| text.to_owned())
}

fn require_key(keys: &[VerifierKey]) -> anyhow::Result<()> {
    let signs = |key: &VerifierKey| key.algorithm == NoteAlgorithm::Ed25519;
    ensure!(
        keys.iter().any(signs),
        "give --key with the log's verifier key, from a source that you trust (`grantlog audit key list`, /evidence/keys)"
    );
    Ok(())
}

/// A witness's word is worth something only where the log could not say it itself.
fn require_witnesses(witnesses: &[VerifierKey], keys: &[VerifierKey]) -> anyhow::Result<()> {
    for witness in witnesses {
        ensure!(
            witness.algorithm == NoteAlgorithm::Cosignature && !keys.iter().any(|key| key.is_key_of(witness)),
            "--witness {}: this is a key that signs logs; it needs the cosignature key of somebody else \
             (witness.example+0a1b2c3d+BA…)",
            witness.name
        );
    }
    Ok(())
}

fn print(report: &Report, json: Json) -> anyhow::Result<()> {
    if json.json {
        let agreed: Vec<_> = report
            .agreed
            .iter()
            .map(|(from, size)| json!({"from": from, "size": size}))
            .collect();
        output::json(&json!({
            "verified": report.finding.is_none(), "events": report.events, "hashes_only": report.hashes_only,
            "agreed": agreed, "detached": report.detached, "finding": report.finding,
        }))?;
    } else {
        for (from, size) in &report.agreed {
            output::line(&format!(
                "ok    {size} events agree with the checkpoint in {from}"
            ))?;
        }
        for quarter in &report.detached {
            output::line(&format!(
                "note  {}: {} events were taken out of the ledger, as the event at position {} says",
                output::visible(&quarter.partition),
                quarter.events,
                quarter.position
            ))?;
        }
        if report.hashes_only > 0 {
            output::line(&format!(
                "note  of {} events only the hashes are here: their text was not verified",
                report.hashes_only
            ))?;
        }
    }
    let Some(finding) = &report.finding else {
        return if json.json {
            Ok(())
        } else {
            output::line(&format!("verified: {} events", report.events))
        };
    };
    if finding.first_bad_position == finding.not_after {
        bail!(
            "first bad position {}: {}",
            finding.first_bad_position,
            finding.detail
        );
    }
    bail!(
        "first bad position between {} and {}: {}",
        finding.first_bad_position,
        finding.not_after,
        finding.detail
    );
}
