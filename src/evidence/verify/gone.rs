//! What a manifest says was taken out, and whether the log bears it out.

use super::{Damage, Finding, Place};
use crate::domain::trail::PartitionDetached;
use crate::evidence::EvidenceError;
use crate::evidence::detached::{LeavesDigest, Partition, Positions};
use crate::evidence::tile::WIDTH;
use crate::evidence::tree::Hash;

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
    pub(super) async fn unfounded(
        &self,
        place: &Place,
        detachments: &[PartitionDetached],
    ) -> Result<Option<Finding>, EvidenceError> {
        for partition in &self.partitions {
            let leaves = digest(place, partition).await?;
            let borne_out = detachments
                .iter()
                .any(|event| event.partition == partition.partition && Some(event.leaves) == leaves);
            if !borne_out {
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

/// The digest of the hashes at a quarter's positions; none where one is missing.
async fn digest(
    place: &Place,
    partition: &Partition,
) -> Result<Option<crate::domain::value::Digest>, EvidenceError> {
    let mut digest = LeavesDigest::default();
    let mut tile: (Option<u64>, Vec<Hash>) = (None, Vec::new());
    for (first, last) in &partition.ranges {
        for position in *first..=*last {
            let index = position.saturating_sub(1) / WIDTH;
            if tile.0 != Some(index) {
                tile = (Some(index), place.hashes(index).await?);
            }
            let offset = usize::try_from(position.saturating_sub(1) % WIDTH).unwrap_or(usize::MAX);
            let Some(hash) = tile.1.get(offset) else {
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
