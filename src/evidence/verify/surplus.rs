//! What is there and was never signed: behind the last event that the checkpoints cover, or beside it.

use std::path::Path;

use sqlx::PgPool;

use super::gone::Gone;
use super::{Damage, Finding, Place};
use crate::evidence::EvidenceError;
use crate::evidence::store::{signed, unsigned};
use crate::evidence::tile::{TileKind, TilePath, WIDTH};
use crate::ledger::LANE;

/// The first of it; none where there is nothing.
pub(super) async fn find(
    (place, gone): (&Place, &Gone),
    size: u64,
) -> Result<Option<Finding>, EvidenceError> {
    match place {
        Place::Database(pool) => tail(pool, size).await,
        Place::Directory(directory) => files(directory, &|name| {
            judge(name, size, &|position| gone.has(position))
        }),
    }
}

fn at(position: u64, problem: Damage, detail: String) -> Finding {
    Finding {
        first_bad_position: position,
        not_after: position,
        problem,
        detail,
    }
}

/// The events that are not sealed yet: nothing but their positions can be told, which go on to the head without a gap.
async fn tail(pool: &PgPool, size: u64) -> Result<Option<Finding>, EvidenceError> {
    // One statement, and so one snapshot: an append moves the head with its events.
    let (head, count, bad): (i64, i64, Option<Vec<i64>>) = sqlx::query_as(
        "WITH tail AS (SELECT l.position, $2 + row_number() OVER (ORDER BY l.position) AS due \
                       FROM grantlog.ledger AS l WHERE l.lane = $1 AND l.position > $2) \
         SELECT h.position, (SELECT count(*) FROM tail), \
                (SELECT ARRAY[t.position, t.due] FROM tail AS t \
                 WHERE t.position <> t.due OR t.position > h.position ORDER BY t.due LIMIT 1) \
         FROM grantlog.head AS h WHERE h.lane = $1",
    )
    .bind(LANE)
    .bind(signed(size))
    .fetch_one(pool)
    .await?;
    let found = match bad.as_deref() {
        Some([position, due]) if *due > head || position < due => {
            let position = unsigned(*position);
            let detail = format!("there is an event at position {position}, where none can be");
            Some(at(position, Damage::Inserted, detail))
        }
        Some([_, due]) => {
            let detail = format!("the event of position {due} is gone; it was not sealed yet");
            Some(at(unsigned(*due), Damage::Removed, detail))
        }
        Some(_) | None if signed(size).saturating_add(count) < head => {
            let last = size.saturating_add(unsigned(count));
            let detail = format!("the events end at position {last}, before the ledger's head, {head}");
            Some(at(last + 1, Damage::RolledBack, detail))
        }
        Some(_) | None => None,
    };
    Ok(found)
}

/// Bundles of an export that are not of the tree of the last checkpoint.
fn files(
    directory: &Path,
    judge: &dyn Fn(&str) -> Option<Finding>,
) -> Result<Option<Finding>, EvidenceError> {
    let mut waiting = vec!["tile/entries".to_owned()];
    let mut first: Option<Finding> = None;
    while let Some(name) = waiting.pop() {
        let path = directory.join(&name);
        let unreadable = |source| EvidenceError::File {
            path: path.clone(),
            source,
        };
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let own = entry.file_name().to_string_lossy().into_owned();
            let name = format!("{name}/{own}");
            if entry.file_type().map_err(unreadable)?.is_dir() {
                waiting.push(name);
            } else if let Some(finding) = judge(&name)
                && first
                    .as_ref()
                    .is_none_or(|first| finding.first_bad_position < first.first_bad_position)
            {
                first = Some(finding);
            }
        }
    }
    Ok(first)
}

/// What is wrong with a file of that name under `tile/entries`.
fn judge(name: &str, size: u64, is_gone: &dyn Fn(u64) -> bool) -> Option<Finding> {
    let own = name.rsplit('/').next().unwrap_or(name);
    // What nobody reads as a bundle: files of the system, and one that an export had not finished.
    if own.starts_with('.') || own.strip_suffix(".new").is_some() {
        return None;
    }
    let shown: String = name.chars().flat_map(char::escape_default).collect();
    let Some(path) = TilePath::parse(name).filter(|path| path.kind == TileKind::Entries) else {
        let detail = format!("{shown} is no file of an export");
        return Some(at(size.saturating_add(1), Damage::Inserted, detail));
    };
    let first = path.index.saturating_mul(WIDTH);
    let width = size.saturating_sub(first).min(WIDTH);
    // A bundle stays as it was where the rest of it was detached before it was exported.
    let cut_short = path.width < width && is_gone(first.saturating_add(1));
    if path.width == width || cut_short {
        return None;
    }
    let position = if path.width > width {
        first.max(size).saturating_add(1)
    } else {
        first.saturating_add(1)
    };
    let detail = format!(
        "{shown} is not of the {size} events that a checkpoint covers: something was put in, or the export was broken \
         off and is to be carried on"
    );
    Some(at(position, Damage::Inserted, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_of_another_width_or_behind_the_last_event_is_surplus() {
        let found = |name: &str| {
            judge(name, 634, &|position| position == 257).map(|finding| finding.first_bad_position)
        };
        for good in [
            "tile/entries/000",
            "tile/entries/002.p/122",
            "tile/entries/.DS_Store",
            "tile/entries/002.p/122.new",
            "tile/entries/001.p/7",
        ] {
            assert_eq!(found(good), None, "{good}");
        }
        for (bad, position) in [
            ("tile/entries/002.p/123", 635),
            ("tile/entries/002.p/121", 513),
            ("tile/entries/002", 635),
            ("tile/entries/003", 769),
            ("tile/entries/003.p/1", 769),
            ("tile/entries/000.p/255", 1),
            ("tile/entries/000.p/300", 635),
            ("tile/entries/other", 635),
        ] {
            assert_eq!(found(bad), Some(position), "{bad}");
        }
    }
}
