//! Where events and hashes are read from: the database of a ledger, or the files of an export.

use std::path::{Path, PathBuf};

use sqlx::PgPool;

use super::{Damage, Finding};
use crate::evidence::EvidenceError;
use crate::evidence::bounded;
use crate::evidence::detached::{self, Partition};
use crate::evidence::store::{self, signed, unsigned};
use crate::evidence::tile::{self, TileId, TileKind, TilePath, WIDTH};
use crate::evidence::tree::Hash;
use crate::ledger::LANE;

/// More rows of a tile than this are not read: one too many is enough to see.
const MOST_ROWS: u64 = 2 * WIDTH;

/// Where events and their hashes are.
#[derive(Clone, Debug)]
pub enum Place {
    /// The ledger and the stored tiles.
    Database(PgPool),
    /// The files of an export.
    Directory(PathBuf),
}

/// An event as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it stands.
    pub position: u64,
    /// Its leaf.
    pub leaf: Vec<u8>,
}

/// The events of one tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// They are not there to be read: an export without them.
    Absent,
    /// In order of their positions.
    Events(Vec<Found>),
    /// As [`Page::Events`], and behind them is what no tree of this width has: the events that should be there, then the
    /// position of the first that should not.
    Surplus(Vec<Found>, u64),
}

impl Place {
    /// The events at the positions of a tile.
    pub async fn page(&self, index: u64, width: u64) -> Result<Page, EvidenceError> {
        let after = index * WIDTH;
        match self {
            Self::Database(pool) => {
                let rows = store::rows(pool, (after, after + width), MOST_ROWS).await?;
                let events = rows.iter().map(|row| Found {
                    position: unsigned(row.position),
                    leaf: row.leaf(),
                });
                Ok(Page::Events(events.collect()))
            }
            Self::Directory(directory) => {
                let Some((wide, bytes)) = read_tile(directory, TileKind::Entries, index)? else {
                    return Ok(Page::Absent);
                };
                let (leaves, rest) = entries(&bytes, wide);
                let events = (after + 1..).zip(leaves).map(|(position, leaf)| Found {
                    position,
                    leaf: leaf.to_vec(),
                });
                let events: Vec<Found> = events.collect();
                let is_whole = events.len() as u64 == wide;
                Ok(if rest && is_whole {
                    Page::Surplus(events, after + wide + 1)
                } else {
                    Page::Events(events)
                })
            }
        }
    }

    /// What was taken out of the ledger, as the place itself says.
    pub async fn manifest(&self) -> Result<Vec<Partition>, EvidenceError> {
        match self {
            Self::Database(pool) => Ok(detached::manifest(pool).await?),
            Self::Directory(directory) => detached::manifest_of(directory),
        }
    }

    /// The hashes of single events, as a tile says; as many as it has.
    pub async fn hashes(&self, index: u64) -> Result<Vec<Hash>, EvidenceError> {
        self.tile((0, index)).await
    }

    /// The hashes of a tile; none where there is no such tile.
    pub async fn tile(&self, tile: TileId) -> Result<Vec<Hash>, EvidenceError> {
        let bytes = match self {
            Self::Database(pool) => store::tile(pool, tile).await?,
            Self::Directory(directory) => {
                read_tile(directory, TileKind::Hashes(tile.0), tile.1)?.map(|(_, bytes)| bytes)
            }
        };
        Ok(bytes.and_then(|bytes| tile::hashes(&bytes)).unwrap_or_default())
    }

    /// Whether there is any event after a position.
    pub async fn has_events_after(&self, position: u64) -> Result<bool, EvidenceError> {
        match self {
            Self::Database(pool) => Ok(sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM grantlog.ledger WHERE lane = $1 AND position > $2)",
            )
            .bind(LANE)
            .bind(signed(position))
            .fetch_one(pool)
            .await?),
            Self::Directory(directory) => {
                let next = position / WIDTH;
                if let Page::Events(events) | Page::Surplus(events, _) =
                    Box::pin(self.page(next, WIDTH)).await?
                    && events.iter().any(|event| event.position > position)
                {
                    return Ok(true);
                }
                Ok(read_tile(directory, TileKind::Entries, next + 1)?.is_some())
            }
        }
    }

    /// A row where none can be: in a lane that is not in use.
    pub(super) async fn foreign(&self) -> Result<Option<Finding>, EvidenceError> {
        let Self::Database(pool) = self else {
            return Ok(None);
        };
        let row: Option<(i16, i64)> = sqlx::query_as(
            "SELECT lane, position FROM grantlog.ledger WHERE lane < $1 OR lane > $1 OR (lane = $1 AND position < 1) \
             ORDER BY position LIMIT 1",
        )
        .bind(LANE)
        .fetch_optional(pool)
        .await?;
        Ok(row.map(|(lane, position)| Finding {
            first_bad_position: unsigned(position),
            not_after: unsigned(position),
            problem: Damage::Inserted,
            detail: format!("there is an event at position {position} of lane {lane}, where none can be"),
        }))
    }
}

/// The leaves of a bundle that may have so many, as far as it is whole, and whether anything comes after them.
fn entries(mut bytes: &[u8], wide: u64) -> (Vec<&[u8]>, bool) {
    let mut found = Vec::new();
    while (found.len() as u64) < wide
        && let Some((length, rest)) = bytes.split_first_chunk::<2>()
        && let Some((leaf, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into())
    {
        found.push(leaf);
        bytes = rest;
    }
    (found, !bytes.is_empty())
}

/// The most bytes of a tile.
fn longest(kind: TileKind) -> usize {
    let each = match kind {
        TileKind::Hashes(_) => 32,
        TileKind::Entries => 2 + tile::MAX_ENTRY,
    };
    each.saturating_mul(usize::try_from(WIDTH).unwrap_or(usize::MAX))
}

/// A tile's width and bytes, and one byte more where there are more than it can have: the full one, else the widest
/// partial one. None where there is neither.
fn read_tile(directory: &Path, kind: TileKind, index: u64) -> Result<Option<(u64, Vec<u8>)>, EvidenceError> {
    let full = TilePath {
        kind,
        index,
        width: WIDTH,
    };
    let read = |path: PathBuf| {
        bounded::beginning(&path, longest(kind) + 1).map_err(|source| EvidenceError::File { path, source })
    };
    match read(directory.join(full.to_string())) {
        Ok(bytes) => return Ok(Some((WIDTH, bytes))),
        Err(EvidenceError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let partial = directory.join(format!("{full}.p"));
    let Ok(files) = std::fs::read_dir(&partial) else {
        return Ok(None);
    };
    let widths = files
        .filter_map(|file| file.ok()?.file_name().to_str()?.parse::<u64>().ok())
        .filter(|width| (1..WIDTH).contains(width));
    let widest = widths.max();
    widest
        .map(|width| Ok((width, read(partial.join(width.to_string()))?)))
        .transpose()
}
