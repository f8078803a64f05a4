//! What a manifest says was taken out, and whether the log bears it out.

use super::{Damage, Detached, Finding, Place};
use crate::domain::trail::PartitionDetached;
use crate::domain::value::Digest;
use crate::evidence::EvidenceError;
use crate::evidence::detached::{LeavesDigest, Partition, Positions, detachment};
use crate::evidence::store::unsigned;
use crate::evidence::tile::WIDTH;
use crate::evidence::tree::{Hash, leaf_hash};

/// The positions whose events need not be at a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    partitions: Vec<Partition>,
    ranges: Vec<Positions>,
    /// Whether what shares a bundle with one of them is not there either, as in an export.
    whole_bundles: bool,
}

impl Gone {
    pub(super) async fn read(place: &Place) -> Result<Self, EvidenceError> {
        let partitions = place.manifest().await?;
        let mut ranges: Vec<Positions> = partitions
            .iter()
            .flat_map(|partition| partition.ranges.iter().copied())
            .collect();
        ranges.sort_unstable();
        Ok(Self {
            partitions,
            ranges,
            whole_bundles: matches!(place, Place::Directory(_)),
        })
    }

    /// The quarters that were taken out, as the manifest says.
    pub(super) fn quarters(&self) -> Vec<Detached> {
        let quarters = self.partitions.iter().map(|partition| Detached {
            partition: partition.partition.clone(),
            events: Stretch::of(partition).0,
            position: partition.position,
        });
        quarters.collect()
    }

    /// Whether an event need not be there.
    pub(super) fn has(&self, position: u64) -> bool {
        if !self.whole_bundles {
            return self.overlaps((position, position));
        }
        let first = position.saturating_sub(1) / WIDTH * WIDTH + 1;
        self.overlaps((first, first + WIDTH - 1))
    }

    fn overlaps(&self, (first, last): Positions) -> bool {
        let after = self.ranges.partition_point(|(_, end)| *end < first);
        self.ranges.get(after).is_some_and(|(begin, _)| *begin <= last)
    }

    /// A quarter of the manifest that no event of the log bears out: whoever removes events may write a manifest, too.
    pub(super) async fn unfounded(&self, place: &Place) -> Result<Option<Finding>, EvidenceError> {
        for partition in &self.partitions {
            if !is_borne_out(place, partition).await? {
                let first = partition.ranges.first().map_or(0, |(first, _)| *first);
                return Ok(Some(Finding {
                    first_bad_position: first,
                    not_after: partition.ranges.last().map_or(first, |(_, last)| *last),
                    problem: Damage::Removed,
                    detail: format!(
                        "the manifest says that these events were detached with the quarter {}; no event of the log says \
                         so of exactly these",
                        partition.partition
                    ),
                }));
            }
        }
        Ok(None)
    }
}

/// Whether the event is in the log, and says what the manifest says.
async fn is_borne_out(place: &Place, partition: &Partition) -> Result<bool, EvidenceError> {
    let leaf = partition.leaf.as_bytes();
    let named = |event: &PartitionDetached| event.partition == partition.partition;
    let Some(event) = detachment(leaf).filter(named) else {
        return Ok(false);
    };
    if Stretch::of(partition) != Stretch::said(&event) {
        return Ok(false);
    }
    let index = partition.position.saturating_sub(1) / WIDTH;
    let sealed = place.hashes(index).await?;
    let is_sealed = sealed.get(offset_in_tile(partition.position)) == Some(&leaf_hash(leaf));
    Ok(is_sealed && digest(place, partition).await? == Some(event.leaves))
}

/// How many events, from where to where.
#[derive(PartialEq, Eq)]
struct Stretch(u64, u64, u64);

impl Stretch {
    fn of(partition: &Partition) -> Self {
        let counted = partition.ranges.iter().map(|(first, last)| {
            let behind = last.checked_sub(*first).unwrap_or_default();
            behind.saturating_add(1)
        });
        Self(
            counted.fold(0, u64::saturating_add),
            partition.ranges.first().map_or(0, |(first, _)| *first),
            partition.ranges.last().map_or(0, |(_, last)| *last),
        )
    }

    fn said(event: &PartitionDetached) -> Self {
        Self(
            unsigned(event.events),
            unsigned(event.first),
            unsigned(event.last),
        )
    }
}

fn offset_in_tile(position: u64) -> usize {
    usize::try_from(position.saturating_sub(1) % WIDTH).unwrap_or(usize::MAX)
}

/// The digest of the hashes at a quarter's positions; none where one is missing.
async fn digest(place: &Place, partition: &Partition) -> Result<Option<Digest>, EvidenceError> {
    let mut digest = LeavesDigest::default();
    let mut tile: (Option<u64>, Vec<Hash>) = (None, Vec::new());
    for (first, last) in &partition.ranges {
        for position in *first..=*last {
            let index = position.saturating_sub(1) / WIDTH;
            if tile.0 != Some(index) {
                tile = (Some(index), place.hashes(index).await?);
            }
            let Some(hash) = tile.1.get(offset_in_tile(position)) else {
                return Ok(None);
            };
            digest.add(hash);
        }
    }
    Ok(Some(digest.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_export_a_bundle_with_a_detached_event_is_gone_as_a_whole() {
        let gone = |whole_bundles| Gone {
            partitions: Vec::new(),
            ranges: vec![(3, 5), (300, 300)],
            whole_bundles,
        };
        let rows = gone(false);
        assert!(
            rows.has(3) && rows.has(5) && rows.has(300) && !rows.has(6) && !rows.has(301) && !rows.has(2)
        );
        let files = gone(true);
        assert!(files.has(1) && files.has(256) && files.has(257) && !files.has(513));
    }
}
