//! Where the tree lies: the last checkpoint, the tiles, and the ledger's rows as leaves.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, PgExecutor, PgPool};

use super::EvidenceError;
use super::leaf::{COLUMNS, Row};
use super::note::{Signature, SignedNote, VerifierKey};
use super::tile::{self, Edge, TileId, TileKind, TilePath, TileSet, WIDTH};
use super::tree::{Hash, LeafRange};
use crate::clock::Timestamp;
use crate::ledger::LANE;

/// The log as it stands in the database, beside the ledger's head.
#[derive(Clone, Debug)]
pub struct Log {
    /// How many leaves are sealed.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// The signed checkpoint; empty before the first.
    pub note: String,
    /// When it was signed.
    pub signed_at: Timestamp,
    /// The ledger's last position.
    pub head: u64,
    /// The database's clock.
    pub now: Timestamp,
}

type LogRow = (i64, Vec<u8>, String, Timestamp, i64, Timestamp);

const LOG: &str = "SELECT l.size, l.root, l.note, l.signed_at, h.position, clock_timestamp() \
    FROM grantlog.evidence_log AS l CROSS JOIN grantlog.head AS h WHERE h.lane = $1";

fn log(row: LogRow) -> Result<Log, EvidenceError> {
    let (size, root, note, signed_at, head, now) = row;
    Ok(Log {
        size: unsigned(size),
        root: root.try_into().map_err(|_| EvidenceError::Checkpoint)?,
        note,
        signed_at,
        head: unsigned(head),
        now,
    })
}

/// Positions and sizes are never negative; one that is, is as good as none.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// The other way; no ledger comes near the greatest.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads the log.
pub async fn read(executor: impl PgExecutor<'_>) -> Result<Log, EvidenceError> {
    log(sqlx::query_as(LOG).bind(LANE).fetch_one(executor).await?)
}

/// Takes the log for the length of a transaction; none where another node has it.
pub async fn hold(connection: &mut PgConnection) -> Result<Option<Log>, EvidenceError> {
    let held: Option<bool> =
        sqlx::query_scalar("SELECT true FROM grantlog.evidence_log FOR UPDATE SKIP LOCKED")
            .fetch_optional(&mut *connection)
            .await?;
    match held {
        // In a statement of its own: it must see what the last holder committed.
        Some(_) => Ok(Some(read(connection).await?)),
        None => Ok(None),
    }
}

/// Writes tiles and moves the log.
pub async fn write(
    connection: &mut PgConnection,
    tiles: &BTreeMap<TileId, Vec<u8>>,
    log: &Log,
) -> Result<(), sqlx::Error> {
    let levels: Vec<i16> = tiles.keys().map(|(level, _)| i16::from(*level)).collect();
    let indexes: Vec<i64> = tiles.keys().map(|(_, index)| signed(*index)).collect();
    let hashes: Vec<&[u8]> = tiles.values().map(Vec::as_slice).collect();
    sqlx::query(
        "INSERT INTO grantlog.evidence_tiles (level, index, hashes) SELECT * FROM unnest($1, $2, $3) \
         ON CONFLICT (level, index) DO UPDATE SET hashes = excluded.hashes",
    )
    .bind(levels)
    .bind(indexes)
    .bind(hashes)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE grantlog.evidence_log SET size = $1, root = $2, note = $3, signed_at = clock_timestamp()",
    )
    .bind(signed(log.size))
    .bind(log.root.as_slice())
    .bind(&log.note)
    .execute(&mut *connection)
    .await?;
    keep_one_an_hour(connection, log).await
}

/// A checkpoint an hour is kept: where tiles were rewritten, they narrow down where.
async fn keep_one_an_hour(connection: &mut PgConnection, log: &Log) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO grantlog.evidence_checkpoints (size, note, signed_at) SELECT $1, $2, clock_timestamp() \
         WHERE NOT EXISTS (SELECT FROM grantlog.evidence_checkpoints \
                           WHERE signed_at > clock_timestamp() - interval '1 hour') \
         ON CONFLICT DO NOTHING",
    )
    .bind(signed(log.size))
    .bind(&log.note)
    .execute(connection)
    .await
    .map(|_| ())
}

/// The hashes of one tile; none where there is no such tile.
pub async fn tile(
    executor: impl PgExecutor<'_>,
    (level, index): TileId,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("SELECT hashes FROM grantlog.evidence_tiles WHERE level = $1 AND index = $2")
        .bind(i16::from(level))
        .bind(signed(index))
        .fetch_optional(executor)
        .await
}

/// Some tiles. One that is not there, or is no tile, is left out.
pub async fn tiles(executor: impl PgExecutor<'_>, wanted: &BTreeSet<TileId>) -> Result<TileSet, sqlx::Error> {
    let levels: Vec<i16> = wanted.iter().map(|(level, _)| i16::from(*level)).collect();
    let indexes: Vec<i64> = wanted.iter().map(|(_, index)| signed(*index)).collect();
    let rows: Vec<(i16, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT level, index, hashes FROM grantlog.evidence_tiles \
         JOIN unnest($1::smallint[], $2::bigint[]) AS wanted (level, index) USING (level, index)",
    )
    .bind(levels)
    .bind(indexes)
    .fetch_all(executor)
    .await?;
    let mut found = TileSet::default();
    for (level, index, hashes) in rows {
        if let (Ok(level), Some(hashes)) = (u8::try_from(level), tile::hashes(&hashes)) {
            found.insert((level, unsigned(index)), hashes);
        }
    }
    Ok(found)
}

/// The hashes of a proof; none where the tiles do not hold them.
pub async fn answer(
    executor: impl PgExecutor<'_>,
    ranges: &[LeafRange],
) -> Result<Option<Vec<Hash>>, sqlx::Error> {
    Ok(tiles(executor, &tile::needed(ranges)).await?.answer(ranges))
}

/// The root that the tree had at a size; none where the tiles do not hold it.
pub async fn root_at(executor: impl PgExecutor<'_>, size: u64) -> Result<Option<Hash>, sqlx::Error> {
    let range = [(0, size)];
    Ok(tiles(executor, &tile::needed(&range)).await?.range((0, size)))
}

/// The right edge of the tree, which has the root that was signed.
pub async fn edge(executor: impl PgExecutor<'_>, log: &Log) -> Result<Edge, EvidenceError> {
    let wanted = Edge::tiles(log.size).map(|(tile, _)| tile).collect();
    let tiles = tiles(executor, &wanted).await?;
    Edge::from_tiles(log.size, &tiles)
        .filter(|edge| edge.root() == log.root)
        .ok_or(EvidenceError::Tiles(log.size))
}

/// Rows in order of position, from one after `after` to `upto`.
pub async fn rows(
    executor: impl PgExecutor<'_>,
    (after, upto): (u64, u64),
    limit: u64,
) -> Result<Vec<Row>, sqlx::Error> {
    let query = format!(
        "SELECT {COLUMNS} FROM grantlog.ledger WHERE lane = $1 AND position > $2 AND position <= $3 \
         ORDER BY position, aggregate_id, sequence LIMIT $4"
    );
    sqlx::query_as(&query)
        .bind(LANE)
        .bind(signed(after))
        .bind(signed(upto))
        .bind(signed(limit))
        .fetch_all(executor)
        .await
}

/// The leaves of an entry tile that is sealed; none where it is not, or the ledger has not exactly those positions.
pub async fn entries(
    executor: impl PgExecutor<'_>,
    tile: TilePath,
) -> Result<Option<Vec<Vec<u8>>>, sqlx::Error> {
    let first = tile.index.saturating_mul(WIDTH);
    let rows = rows(
        executor,
        (first, first.saturating_add(tile.width)),
        tile.width + 1,
    )
    .await?;
    let in_order = (first + 1..)
        .zip(&rows)
        .all(|(position, row)| row.position == signed(position));
    let whole = rows.len() as u64 == tile.width && in_order && tile.kind == TileKind::Entries;
    Ok(whole.then(|| rows.iter().map(Row::leaf).collect()))
}

/// The last checkpoint with what witnesses have said of it; none before the first.
pub async fn published(pool: &PgPool, log: &Log) -> Result<Option<SignedNote>, EvidenceError> {
    if log.note.is_empty() {
        return Ok(None);
    }
    with_cosignatures(pool, log.size, &log.note).await.map(Some)
}

/// The newest checkpoint that a witness has cosigned.
pub async fn witnessed(pool: &PgPool) -> Result<Option<SignedNote>, EvidenceError> {
    let newest: Option<(i64, String)> = sqlx::query_as(
        "SELECT size, note FROM grantlog.evidence_checkpoints \
         JOIN grantlog.evidence_cosignatures USING (size) ORDER BY size DESC LIMIT 1",
    )
    .fetch_optional(pool)
    .await?;
    match newest {
        Some((size, note)) => with_cosignatures(pool, unsigned(size), &note).await.map(Some),
        None => Ok(None),
    }
}

/// The signed checkpoints that were kept, oldest first.
pub async fn kept_checkpoints(pool: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT note FROM grantlog.evidence_checkpoints ORDER BY size")
        .fetch_all(pool)
        .await
}

async fn with_cosignatures(pool: &PgPool, size: u64, note: &str) -> Result<SignedNote, EvidenceError> {
    let mut note: SignedNote = note.parse().map_err(|_| EvidenceError::Checkpoint)?;
    let lines: Vec<String> = sqlx::query_scalar(
        "SELECT line FROM grantlog.evidence_cosignatures WHERE size = $1 ORDER BY witness",
    )
    .bind(signed(size))
    .fetch_all(pool)
    .await?;
    note.signatures
        .extend(lines.iter().filter_map(|line| Signature::parse(line)));
    Ok(note)
}

/// The largest tree that a witness has cosigned; 0 where it has none.
pub async fn cosigned_size(pool: &PgPool, witness: &VerifierKey) -> Result<u64, sqlx::Error> {
    let size: Option<i64> =
        sqlx::query_scalar("SELECT max(size) FROM grantlog.evidence_cosignatures WHERE witness = $1")
            .bind(witness.to_string())
            .fetch_one(pool)
            .await?;
    Ok(unsigned(size.unwrap_or_default()))
}

/// Keeps what a witness said of a checkpoint.
pub async fn keep_cosignature(
    pool: &PgPool,
    (size, note): (u64, &str),
    witness: &VerifierKey,
    line: &Signature,
) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "INSERT INTO grantlog.evidence_checkpoints (size, note, signed_at) VALUES ($1, $2, clock_timestamp()) \
         ON CONFLICT DO NOTHING",
    )
    .bind(signed(size))
    .bind(note)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "INSERT INTO grantlog.evidence_cosignatures (witness, size, line, signed_at) \
         VALUES ($1, $2, $3, clock_timestamp()) ON CONFLICT DO NOTHING",
    )
    .bind(witness.to_string())
    .bind(signed(size))
    .bind(line.to_string())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// The verifier keys of the log, oldest first, retired ones too: from the ledger itself.
pub async fn verifier_keys(pool: &PgPool) -> Result<Vec<VerifierKey>, sqlx::Error> {
    let keys: Vec<String> = sqlx::query_scalar(
        "SELECT payload->>'verifier_key' FROM grantlog.ledger_trail \
         WHERE event_type = 'LogKeyGenerated' ORDER BY position",
    )
    .fetch_all(pool)
    .await?;
    Ok(keys.iter().filter_map(|key| key.parse().ok()).collect())
}
