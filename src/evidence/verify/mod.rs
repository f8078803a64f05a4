//! Verification: the events against checkpoints that were taken before, and where they do not agree, which position is
//! the first bad one.
//!
//! The tree is computed anew from the events, and its root compared at the size of each checkpoint. A root says that
//! something is wrong, not where: for that the hashes of single events are needed, which stored tiles and older exports
//! have. They are believed where they lead to the checkpoint's root.

mod gone;
mod locate;
mod place;
mod surplus;

pub use place::{Found, Page, Place};

use gone::Gone;

use serde::Serialize;

use super::EvidenceError;
use super::checkpoint::Checkpoint;
use super::leaf;
use super::tile::{Edge, TileId, WIDTH};
use super::tree::{Hash, leaf_hash};

/// A checkpoint that the events must agree with.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// Where it came from, for the report.
    pub from: String,
    /// What it says.
    pub checkpoint: Checkpoint,
}

/// What was done to the events, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// The event at this position is not the one that was signed.
    Edited,
    /// The event of this position is gone, and later ones are there.
    Removed,
    /// An event stands here that was not signed.
    Inserted,
    /// The event of this position stands at another one.
    Reordered,
    /// The events end here, before what was signed.
    RolledBack,
    /// The events cannot be told from those that were signed one by one: it is somewhere in the range.
    Somewhere,
    /// The events are as they were signed, the stored hashes of them are not.
    Tiles,
    /// As it was signed, and the log should not have signed it: positions or times are out of order.
    Disorder,
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The first bad position; of a range, the first that may be.
    pub first_bad_position: u64,
    /// The last position that may be the first bad one.
    pub not_after: u64,
    /// What was done.
    pub problem: Damage,
    /// In words.
    pub detail: String,
}

/// A quarter whose events were taken out of the ledger, as an event of the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detached {
    /// Its name, `grant_2024q1`.
    pub partition: String,
    /// How many events.
    pub events: u64,
    /// Where the event `PartitionDetached` stands.
    pub position: u64,
}

/// How a verification came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Events whose text was read and hashed.
    pub events: u64,
    /// Events of which only the hash was at hand.
    pub hashes_only: u64,
    /// The checkpoints that agree, and their sizes.
    pub agreed: Vec<(String, u64)>,
    /// Quarters of which only the hashes need be there.
    pub detached: Vec<Detached>,
    /// What is wrong.
    pub finding: Option<Finding>,
}

/// The state of a run.
struct Run<'a> {
    place: &'a Place,
    edge: Edge,
    report: Report,
    last_time: String,
    disorder: Option<Finding>,
    tiles: Option<Finding>,
    gone: Gone,
    since: u64,
}

/// Verifies the events at a place against checkpoints. `others` are places whose hashes help to find a bad position;
/// `progress` is told how many events are done.
pub async fn verify(
    place: &Place,
    anchors: Vec<Anchor>,
    others: &[Place],
    progress: &mut dyn FnMut(u64),
) -> Result<Report, EvidenceError> {
    verify_since(0, place, anchors, others, progress).await
}

/// As [`verify`], of an export that was made without the bundles up to a position.
pub async fn verify_since(
    since: u64,
    place: &Place,
    mut anchors: Vec<Anchor>,
    others: &[Place],
    progress: &mut dyn FnMut(u64),
) -> Result<Report, EvidenceError> {
    anchors.sort_by_key(|anchor| anchor.checkpoint.size);
    let mut run = Run {
        place,
        edge: Edge::default(),
        report: Report {
            events: 0,
            hashes_only: 0,
            agreed: Vec::new(),
            detached: Vec::new(),
            finding: None,
        },
        last_time: String::new(),
        disorder: None,
        tiles: None,
        gone: Gone::read(place).await?,
        since,
    };
    let size = anchors.last().map_or(0, |anchor| anchor.checkpoint.size);
    if let Some(finding) = place.foreign().await? {
        run.report.finding = Some(finding);
        return Ok(run.report);
    }
    let stopped = run.through(&anchors, progress).await?;
    if let Some(stop) = stopped {
        let known_good = run.report.agreed.last().map_or(0, |(_, size)| *size);
        run.report.finding = Some(locate::first_bad((place, &run.gone), others, known_good, &stop).await?);
    } else {
        run.report.finding = run.disorder.take().or(run.tiles.take());
        if run.report.finding.is_none() {
            run.report.finding = run.gone.unfounded(place).await?;
            if run.report.finding.is_none() {
                run.report.detached = run.gone.quarters();
            }
        }
        if run.report.finding.is_none() {
            run.report.finding = surplus::find((place, &run.gone), size).await?;
        }
    }
    Ok(run.report)
}

/// Where the events and a checkpoint part.
struct Stop {
    /// The checkpoint that they do not agree with.
    checkpoint: Checkpoint,
    /// The position at which an event is missing, or is there twice.
    position: Option<u64>,
}

impl Run<'_> {
    /// Goes through all events up to the largest checkpoint.
    async fn through(
        &mut self,
        anchors: &[Anchor],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<Stop>, EvidenceError> {
        let size = anchors.last().map_or(0, |anchor| anchor.checkpoint.size);
        let mut waiting = anchors.iter().peekable();
        let stop_at = |anchor: &Anchor, position| Stop {
            checkpoint: anchor.checkpoint.clone(),
            position,
        };
        while let Some(anchor) = waiting.next_if(|anchor| anchor.checkpoint.size == 0) {
            self.report.agreed.push((anchor.from.clone(), 0));
        }
        for index in 0..size.div_ceil(WIDTH) {
            let after = index * WIDTH;
            let upto = size.min(after + WIDTH);
            let hashes = self.hashes(index, upto - after).await?;
            for hash in &hashes {
                self.push(*hash).await?;
                let size = self.edge.size();
                while let Some(anchor) = waiting.next_if(|anchor| anchor.checkpoint.size == size) {
                    if self.edge.root() != anchor.checkpoint.root {
                        return Ok(Some(stop_at(anchor, None)));
                    }
                    self.report
                        .agreed
                        .push((anchor.from.clone(), anchor.checkpoint.size));
                }
            }
            progress(self.edge.size());
            if let Some(anchor) = waiting.peek().filter(|_| self.edge.size() < upto) {
                return Ok(Some(stop_at(anchor, Some(self.edge.size() + 1))));
            }
        }
        self.check_partial_tiles().await?;
        Ok(None)
    }

    /// The hashes of the events of one tile, up to the first that is missing or there twice.
    async fn hashes(&mut self, index: u64, width: u64) -> Result<Vec<Hash>, EvidenceError> {
        let mut hashes = Vec::new();
        match self.place.page(index, width).await? {
            Page::Absent => {
                let position = index * WIDTH + 1;
                let left_out = index * WIDTH + width <= self.since;
                if !(left_out || self.gone.has(position)) {
                    self.disorder.get_or_insert(Finding {
                        first_bad_position: position,
                        not_after: position,
                        problem: Damage::Removed,
                        detail: "the text of this event is gone, only its hash is there; an export that was made with \
                                 --since is verified with the same"
                            .to_owned(),
                    });
                }
                let stored = self.place.hashes(index).await?;
                hashes.extend(stored.into_iter().take(usize::try_from(width).unwrap_or(0)));
                self.report.hashes_only += hashes.len() as u64;
            }
            Page::Events(events) => hashes = self.events(index, width, &events).await?,
            Page::Surplus(events, position) => {
                hashes = self.events(index, width, &events).await?;
                self.disorder.get_or_insert(Finding {
                    first_bad_position: position,
                    not_after: position,
                    problem: Damage::Inserted,
                    detail: "behind the events of its bundle there is something that was not signed"
                        .to_owned(),
                });
            }
        }
        Ok(hashes)
    }

    /// Hashes the events of one tile, up to the first that is missing or there twice.
    async fn events(&mut self, index: u64, width: u64, events: &[Found]) -> Result<Vec<Hash>, EvidenceError> {
        let mut hashes = Vec::new();
        let mut events = events.iter().peekable();
        let mut stored: Option<Vec<Hash>> = None;
        for position in index * WIDTH + 1..=index * WIDTH + width {
            if let Some(event) = events.next_if(|event| event.position == position) {
                let doubled = events.peek().is_some_and(|next| next.position == position);
                if doubled {
                    break;
                }
                self.check_order(position, &event.leaf);
                hashes.push(leaf_hash(&event.leaf));
                self.report.events += 1;
                continue;
            }
            if !self.gone.has(position) {
                break;
            }
            let tile = match &mut stored {
                Some(tile) => tile,
                none @ None => none.insert(self.place.hashes(index).await?),
            };
            let Some(hash) = tile.get(hashes.len()) else {
                break;
            };
            hashes.push(*hash);
            self.report.hashes_only += 1;
        }
        Ok(hashes)
    }

    /// What the log itself should not have signed.
    fn check_order(&mut self, position: u64, leaf: &[u8]) {
        let mut disorder = |detail: String| {
            self.disorder.get_or_insert(Finding {
                first_bad_position: position,
                not_after: position,
                problem: Damage::Disorder,
                detail,
            });
        };
        match leaf::place(leaf) {
            None => disorder("the entry is no event".to_owned()),
            Some((said, _)) if u64::try_from(said) != Ok(position) => {
                disorder(format!("the event says that its position is {said}"));
            }
            Some((_, time)) if time < self.last_time => {
                disorder(format!(
                    "the event is of {time}, the one before it of {}",
                    self.last_time
                ));
            }
            Some((_, time)) => self.last_time = time,
        }
    }

    async fn push(&mut self, hash: Hash) -> Result<(), EvidenceError> {
        let mut full: Vec<(TileId, Vec<Hash>)> = Vec::new();
        self.edge
            .push(hash, &mut |tile, hashes| full.push((tile, hashes.to_vec())));
        for (tile, hashes) in full {
            self.check_tile(tile, &hashes).await?;
        }
        Ok(())
    }

    /// Compares a tile as computed with the one that is stored.
    async fn check_tile(&mut self, tile: TileId, computed: &[Hash]) -> Result<(), EvidenceError> {
        if self.tiles.is_some() {
            return Ok(());
        }
        let stored = self.place.tile(tile).await?;
        if stored.get(..computed.len()) == Some(computed) {
            return Ok(());
        }
        let (level, index) = tile;
        let differs = computed.iter().zip(0_u64..).find(|(hash, place)| {
            let place = usize::try_from(*place).unwrap_or(usize::MAX);
            stored.get(place) != Some(hash)
        });
        let place = index * WIDTH + differs.map_or(0, |(_, place)| place);
        let leaves = 1_u64 << (8 * u32::from(level));
        let first = place * leaves + 1;
        self.tiles = Some(Finding {
            first_bad_position: first,
            not_after: first + leaves - 1,
            problem: Damage::Tiles,
            detail: format!(
                "the events agree with the checkpoint; tile {index} of level {level} is missing or is not theirs"
            ),
        });
        Ok(())
    }

    async fn check_partial_tiles(&mut self) -> Result<(), EvidenceError> {
        let partial: Vec<(TileId, Vec<Hash>)> = self
            .edge
            .partial()
            .map(|(tile, hashes)| (tile, hashes.to_vec()))
            .collect();
        for (tile, hashes) in partial {
            self.check_tile(tile, &hashes).await?;
        }
        Ok(())
    }
}
