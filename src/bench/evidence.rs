//! Verifying an export, against a bare loop of SHA-256 over the same bytes; both on one core.

use std::path::Path;

use anyhow::{Result, ensure};
use uuid::Uuid;

use super::{Bench, Line, Report};
use crate::clock::monotonic;
use crate::evidence::checkpoint::Checkpoint;
use crate::evidence::leaf::Row;
use crate::evidence::tile::{self, Edge, TileId, TileKind, TilePath, WIDTH};
use crate::evidence::tree::{Hash, leaf_hash};
use crate::evidence::verify::{Anchor, Place, verify};

/// More than this says nothing new.
const MOST: u64 = 300_000;

/// A row as a token request writes it.
fn row(position: u64) -> Row {
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let id = Uuid::from_u128(u128::from(position.unsigned_abs()) << 64 | 0x7000_8000_0000_0000_0000);
    Row {
        lane: 0,
        aggregate_type: "grant".to_owned(),
        aggregate_id: id,
        sequence: 1,
        position,
        command_id: id,
        event_type: "TokenIssued".to_owned(),
        event_version: 1,
        payload: format!(
            r#"{{"client":"{id}","digest":"{position:064x}","expires_at":"2026-11-22T07:58:19Z","scope":"view-user detail-user","subject":"{id}"}}"#
        ),
        metadata: format!(
            r#"{{"actor":"client:{id}","authentication":{{"method":"client_secret_basic"}},"endpoint":"/oauth/token","network":"{position:064x}","request_id":"{id}"}}"#
        ),
        recorded_at: "2026-11-22T06:58:19.000001Z".to_owned(),
    }
}

fn write(directory: &Path, path: TilePath, bytes: &[u8]) -> Result<()> {
    let file = directory.join(path.to_string());
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    Ok(std::fs::write(file, bytes)?)
}

/// Writes an export of so many events, and gives its checkpoint and the bytes of its leaves.
fn make(directory: &Path, count: u64) -> Result<(Checkpoint, u64)> {
    let mut edge = Edge::default();
    let (mut bytes, mut full) = (0, Vec::<(TileId, Vec<Hash>)>::new());
    for path in TilePath::of_tree(TileKind::Entries, count) {
        let first = path.index * WIDTH + 1;
        let leaves: Vec<Vec<u8>> = (first..first + path.width)
            .map(|position| row(position).leaf())
            .collect();
        for leaf in &leaves {
            bytes += leaf.len() as u64;
            edge.push(leaf_hash(leaf), &mut |tile, hashes| {
                full.push((tile, hashes.to_vec()));
            });
        }
        write(directory, path, &tile::bundle(&leaves).unwrap_or_default())?;
    }
    full.extend(edge.partial().map(|(tile, hashes)| (tile, hashes.to_vec())));
    for ((level, index), hashes) in full {
        let path = TilePath {
            kind: TileKind::Hashes(level),
            index,
            width: hashes.len() as u64,
        };
        write(directory, path, &hashes.concat())?;
    }
    Ok((Checkpoint::new("bench", count, edge.root()), bytes))
}

/// Seconds that the bare loop takes: one hash for each leaf, of the leaves' mean length, and nothing else.
fn bare(count: u64, bytes: u64) -> f64 {
    let leaf = vec![b'x'; usize::try_from(bytes / count.max(1)).unwrap_or_default()];
    let begun = monotonic();
    let mut last = [0; 32];
    for _ in 0..count {
        let hash = leaf_hash(&leaf);
        last.iter_mut().zip(hash).for_each(|(last, byte)| *last ^= byte);
    }
    std::hint::black_box(last);
    begun.elapsed().as_secs_f64()
}

pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let count = bench.arguments.events.clamp(1, MOST);
    let (checkpoint, bytes) = make(directory.path(), count)?;
    let place = Place::Directory(directory.path().to_owned());
    let (mut verified, mut hashed) = (f64::MAX, f64::MAX);
    for _ in 0..bench.arguments.rounds.max(1) {
        let anchor = Anchor {
            from: "the benchmark".to_owned(),
            checkpoint: checkpoint.clone(),
        };
        let begun = monotonic();
        let outcome = verify(&place, vec![anchor], &[], &mut |_| {}).await?;
        verified = verified.min(begun.elapsed().as_secs_f64());
        ensure!(
            outcome.finding.is_none() && outcome.events == count,
            "the export does not verify"
        );
        hashed = hashed.min(bare(count, bytes));
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = |seconds: f64| count as f64 / seconds;
    report.add(Line {
        name: format!("verify export, {} B leaves", bytes / count),
        connections: 1,
        per_second: rate(verified),
        against: Some("bare SHA-256".to_owned()),
        ratio: Some(hashed / verified),
        cpu_per_thousand: None,
        cpu_ratio: None,
    });
    Ok(())
}
