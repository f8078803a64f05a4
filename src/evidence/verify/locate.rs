//! Which position is the first bad one, and what was done there.

use std::collections::HashMap;

use super::gone::Gone;
use super::place::{Found, Page, Place};
use super::{Damage, Finding, Stop};
use crate::evidence::EvidenceError;
use crate::evidence::leaf::Row;
use crate::evidence::tile::WIDTH;
use crate::evidence::tree::{Frontier, Hash, leaf_hash};

/// Tiles around the first bad position in which its event is looked for.
const NEAR: u64 = 4;

/// Finds it. `known_good` is the size of the last checkpoint that agreed.
pub(super) async fn first_bad(
    (place, gone): (&Place, &Gone),
    others: &[Place],
    known_good: u64,
    stop: &Stop,
) -> Result<Finding, EvidenceError> {
    for hashes in std::iter::once(place).chain(others) {
        if is_trusted(hashes, stop).await?
            && let Some(finding) = compare((place, gone), hashes, known_good, stop.checkpoint.size).await?
        {
            return Ok(finding);
        }
    }
    if let Some(position) = stop.position {
        let (problem, detail) = missing(place, position).await?;
        return Ok(Finding {
            first_bad_position: position,
            not_after: position,
            problem,
            detail: format!("{detail}; earlier ones could not be compared one by one"),
        });
    }
    Ok(Finding {
        first_bad_position: known_good + 1,
        not_after: stop.checkpoint.size,
        problem: Damage::Somewhere,
        detail:
            "the events do not agree with the checkpoint, and neither do the stored hashes: give an older \
                 export, whose hashes show which one it is"
                .to_owned(),
    })
}

/// Whether the hashes at a place are those that the checkpoint was signed over.
async fn is_trusted(hashes: &Place, stop: &Stop) -> Result<bool, EvidenceError> {
    let mut tree = Frontier::default();
    let size = stop.checkpoint.size;
    for index in 0..size.div_ceil(WIDTH) {
        let upto = size.min((index + 1) * WIDTH);
        for hash in hashes.hashes(index).await? {
            if tree.size() < upto {
                tree.push(hash);
            }
        }
        if tree.size() < upto {
            return Ok(false);
        }
    }
    Ok(tree.root() == stop.checkpoint.root)
}

/// Compares event by event with trusted hashes.
async fn compare(
    (place, gone): (&Place, &Gone),
    hashes: &Place,
    known_good: u64,
    size: u64,
) -> Result<Option<Finding>, EvidenceError> {
    for index in known_good / WIDTH..size.div_ceil(WIDTH) {
        let width = WIDTH.min(size - index * WIDTH);
        let signed = hashes.hashes(index).await?;
        let (Page::Events(events) | Page::Surplus(events, _)) = place.page(index, width).await? else {
            continue;
        };
        for (position, hash) in (index * WIDTH + 1..=index * WIDTH + width).zip(&signed) {
            let here: Vec<&Found> = events.iter().filter(|event| event.position == position).collect();
            let same = match here.as_slice() {
                [] => gone.has(position),
                [one] => leaf_hash(&one.leaf) == *hash,
                [_, ..] => false,
            };
            if !same {
                return classify(place, hashes, (position, &here)).await.map(Some);
            }
        }
    }
    Ok(None)
}

/// What was done at a position whose event is not the one that was signed.
async fn classify(
    place: &Place,
    hashes: &Place,
    (position, here): (u64, &[&Found]),
) -> Result<Finding, EvidenceError> {
    let near = Near::read(place, hashes, position).await?;
    let moved_to = near
        .signed_at(position)
        .and_then(|hash| near.stands_at(position, hash));
    let (problem, detail) = match here {
        [] => match moved_to {
            Some(other) => (
                Damage::Reordered,
                format!("the event of position {position} stands at {other}"),
            ),
            None => missing(place, position).await?,
        },
        [one] => {
            let came_from = Row::parse(&one.leaf).and_then(|row| near.was_signed_at(&row));
            match (moved_to, came_from) {
                (Some(other), Some(_)) => (
                    Damage::Reordered,
                    format!("the event of position {position} stands at {other}"),
                ),
                (Some(other), None) => (
                    Damage::Inserted,
                    format!("the event at position {position} was never signed; its own stands at {other}"),
                ),
                (None, Some(other)) => (
                    Damage::Removed,
                    format!("the event of position {position} is gone; that of {other} has taken its place"),
                ),
                (None, None) => (
                    Damage::Edited,
                    format!("the event at position {position} is not the one that was signed"),
                ),
            }
        }
        [_, ..] => (
            Damage::Inserted,
            format!("there are {} events at position {position}", here.len()),
        ),
    };
    Ok(Finding {
        first_bad_position: position,
        not_after: position,
        problem,
        detail,
    })
}

async fn missing(place: &Place, position: u64) -> Result<(Damage, String), EvidenceError> {
    if let Page::Events(events) | Page::Surplus(events, _) = place.page((position - 1) / WIDTH, WIDTH).await?
        && events.iter().filter(|event| event.position == position).count() > 1
    {
        return Ok((
            Damage::Inserted,
            format!("there is more than one event at position {position}"),
        ));
    }
    Ok(if place.has_events_after(position).await? {
        (
            Damage::Removed,
            format!("the event of position {position} is gone"),
        )
    } else {
        let last = position - 1;
        (
            Damage::RolledBack,
            format!("the events end at position {last}, before what the checkpoint covers"),
        )
    })
}

/// The events and the signed hashes around a position.
struct Near {
    rows: Vec<(u64, Row)>,
    signed: HashMap<u64, Hash>,
}

impl Near {
    async fn read(place: &Place, hashes: &Place, position: u64) -> Result<Self, EvidenceError> {
        let (mut rows, mut signed) = (Vec::new(), HashMap::new());
        let first = (position - 1) / WIDTH;
        for index in first..first + NEAR {
            if let Page::Events(events) | Page::Surplus(events, _) = place.page(index, WIDTH).await? {
                let parsed = events
                    .iter()
                    .filter_map(|event| Some((event.position, Row::parse(&event.leaf)?)));
                rows.extend(parsed);
            }
            signed.extend((index * WIDTH + 1..).zip(hashes.hashes(index).await?));
        }
        Ok(Self { rows, signed })
    }

    fn signed_at(&self, position: u64) -> Option<Hash> {
        self.signed.get(&position).copied()
    }

    /// Where the event stands that was signed at a position.
    fn stands_at(&self, position: u64, hash: Hash) -> Option<u64> {
        let at = i64::try_from(position).ok()?;
        let found = self
            .rows
            .iter()
            .find(|(place, row)| *place != position && row.hash_at(at) == hash);
        found.map(|(place, _)| *place)
    }

    /// At which other position an event was signed.
    fn was_signed_at(&self, row: &Row) -> Option<u64> {
        let found = self.signed.iter().find(|(position, hash)| {
            i64::try_from(**position).is_ok_and(|at| at != row.position && row.hash_at(at) == **hash)
        });
        found.map(|(position, _)| *position)
    }
}
