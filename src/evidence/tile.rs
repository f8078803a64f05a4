//! Tiles (C2SP tlog-tiles): the tree's hashes and the leaves themselves in files of 256, at paths that say where they
//! are. A full tile never changes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::tree::{Hash, LeafRange, Subtree, join, root_of, subtrees};

/// Hashes or entries in a full tile.
pub const WIDTH: u64 = 256;
/// The tree levels that one level of tiles spans.
const HEIGHT: u32 = 8;
/// The highest level of tiles that a tree of 2^63 leaves has.
const MAX_LEVEL: u8 = 7;
/// The most bytes of an entry.
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of perfect subtrees with 256^level leaves.
    Hashes(u8),
    /// The leaves.
    Entries,
}

/// A tile's address: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TilePath {
    /// What it holds.
    pub kind: TileKind,
    /// Which of its level.
    pub index: u64,
    /// How many hashes or entries, 1 to 256.
    pub width: u64,
}

impl TilePath {
    /// Reads a path, without a leading slash. None where it is not spelled exactly so.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("tile/")?;
        let (kind, rest) = rest.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(number(level, 2).and_then(|level| u8::try_from(level).ok())?),
        };
        if matches!(kind, TileKind::Hashes(level) if level > MAX_LEVEL) {
            return None;
        }
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (
                index,
                number(width, 3).filter(|width| (1..WIDTH).contains(width))?,
            ),
            None => (rest, WIDTH),
        };
        let path = Self {
            kind,
            index: index_of(index)?,
            width,
        };
        Some(path)
    }

    /// The tiles that a tree of `size` consists of, of one kind: full ones, then the partial one.
    pub fn of_tree(kind: TileKind, size: u64) -> impl Iterator<Item = Self> {
        let hashes = match kind {
            TileKind::Entries => size,
            TileKind::Hashes(level) => size >> (HEIGHT * u32::from(level)),
        };
        (0..hashes.div_ceil(WIDTH)).map(move |index| Self {
            kind,
            index,
            width: (hashes - index * WIDTH).min(WIDTH),
        })
    }
}

/// The levels of tiles of a tree.
pub fn levels(size: u64) -> impl Iterator<Item = u8> {
    (0..=MAX_LEVEL).take_while(move |level| size >> (HEIGHT * u32::from(*level)) > 0)
}

/// A decimal number without leading zeros.
fn number(text: &str, digits: usize) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= digits && text.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

/// `x001/x234/067` is 1234067.
fn index_of(text: &str) -> Option<u64> {
    let mut index: u64 = 0;
    let groups: Vec<&str> = text.split('/').collect();
    let (last, before) = groups.split_last()?;
    let digits = before.iter().map(|group| group.strip_prefix('x'));
    for group in digits.chain([Some(*last)]) {
        let group =
            group.filter(|group| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit()))?;
        index = index.checked_mul(1000)?.checked_add(group.parse().ok()?)?;
    }
    // No group of zeros in front.
    let shortest = before.first().is_none_or(|first| *first != "x000");
    (shortest && i64::try_from(index).is_ok()).then_some(index)
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("tile/entries")?,
            TileKind::Hashes(level) => write!(f, "tile/{level}")?,
        }
        let mut groups = vec![format!("{:03}", self.index % 1000)];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        for group in groups.iter().rev() {
            write!(f, "/{group}")?;
        }
        if self.width < WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// The hashes of a tile's bytes; none where they are no whole number of hashes, or more than a tile has.
#[must_use]
pub fn hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() <= 256).then(|| hashes.to_vec())
}

/// The bytes of an entry bundle: each leaf with its length before it, 16 bits, big-endian. None where a leaf is longer.
#[must_use]
pub fn bundle<L: AsRef<[u8]>>(leaves: &[L]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(leaves.iter().map(|leaf| leaf.as_ref().len() + 2).sum());
    for leaf in leaves {
        let leaf = leaf.as_ref();
        bytes.extend_from_slice(&u16::try_from(leaf.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(leaf);
    }
    Some(bytes)
}

/// The leaves of an entry bundle; none where it ends inside of one or has more than 256.
#[must_use]
pub fn leaves(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (leaf, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        found.push(leaf);
        bytes = rest;
    }
    (bytes.is_empty() && found.len() <= 256).then_some(found)
}

/// A tile of hashes: its level and index.
pub type TileId = (u8, u64);

/// Some tiles of a tree, in memory.
#[derive(Clone, Debug, Default)]
pub struct TileSet(HashMap<TileId, Vec<Hash>>);

impl TileSet {
    /// Adds a tile.
    pub fn insert(&mut self, tile: TileId, hashes: Vec<Hash>) {
        self.0.insert(tile, hashes);
    }

    /// The root over a range of leaves; none where a tile is missing or too short.
    #[must_use]
    pub fn range(&self, range: LeafRange) -> Option<Hash> {
        let hashes: Option<Vec<Hash>> = subtrees(range).iter().map(|tree| self.subtree(*tree)).collect();
        Some(join(&hashes?))
    }

    /// The hashes of a proof.
    #[must_use]
    pub fn answer(&self, ranges: &[LeafRange]) -> Option<Vec<Hash>> {
        ranges.iter().map(|range| self.range(*range)).collect()
    }

    fn subtree(&self, tree: Subtree) -> Option<Hash> {
        let (tile, start, count) = place(tree);
        let start = usize::try_from(start).ok()?;
        let hashes = self.0.get(&tile)?.get(start..start + count)?;
        Some(root_of(hashes))
    }
}

/// Where the hashes of a perfect subtree are: the tile, the first of them there, and how many.
fn place(tree: Subtree) -> (TileId, u64, usize) {
    let (level, inner) = (tree.level / HEIGHT, tree.level % HEIGHT);
    let first = tree.index << inner;
    let level = u8::try_from(level).unwrap_or(u8::MAX);
    ((level, first / WIDTH), first % WIDTH, 1 << inner)
}

/// The tiles that the ranges of a proof need.
#[must_use]
pub fn needed(ranges: &[LeafRange]) -> BTreeSet<TileId> {
    let trees = ranges.iter().flat_map(|range| subtrees(*range));
    trees.map(|tree| place(tree).0).collect()
}

/// The right edge of a growing tree: of each level the tile that is not full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The tiles that the edge of a tree consists of, with their widths.
    pub fn tiles(size: u64) -> impl Iterator<Item = (TileId, u64)> {
        levels(size).filter_map(move |level| {
            let hashes = size >> (HEIGHT * u32::from(level));
            let width = hashes % WIDTH;
            (width > 0).then_some(((level, hashes / WIDTH), width))
        })
    }

    /// The edge of a tree whose tiles are at hand; none where one is missing or too short.
    #[must_use]
    pub fn from_tiles(size: u64, tiles: &TileSet) -> Option<Self> {
        let mut edge = Self {
            size,
            levels: levels(size).map(|_| Vec::new()).collect(),
        };
        for (tile, width) in Self::tiles(size) {
            let hashes = tiles.0.get(&tile)?.get(..usize::try_from(width).ok()?)?;
            *edge.levels.get_mut(usize::from(tile.0))? = hashes.to_vec();
        }
        Some(edge)
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf's hash, and hands over each tile that it fills.
    pub fn push(&mut self, leaf: Hash, filled: &mut impl FnMut(TileId, &[Hash])) {
        self.size += 1;
        let (mut hash, mut level) = (leaf, 0_u8);
        loop {
            let place = usize::from(level);
            if self.levels.len() <= place {
                self.levels.push(Vec::new());
            }
            let Some(tile) = self.levels.get_mut(place) else {
                return;
            };
            tile.push(hash);
            if tile.len() < 256 {
                return;
            }
            let hashes = std::mem::take(tile);
            let index = (self.size >> (HEIGHT * (u32::from(level) + 1))) - 1;
            filled((level, index), &hashes);
            hash = root_of(&hashes);
            level += 1;
        }
    }

    /// The tiles that are not full.
    pub fn partial(&self) -> impl Iterator<Item = (TileId, &[Hash])> {
        self.levels.iter().zip(0_u8..).filter_map(|(hashes, level)| {
            let index = self.size >> (HEIGHT * (u32::from(level) + 1));
            (!hashes.is_empty()).then_some(((level, index), hashes.as_slice()))
        })
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut nodes = Vec::new();
        for hashes in self.levels.iter().rev() {
            let width = hashes.len() as u64;
            for tree in subtrees((0, width)) {
                let first = usize::try_from(tree.index << tree.level).unwrap_or(usize::MAX);
                let inside = hashes.get(first..first.saturating_add(1 << tree.level));
                nodes.extend(inside.map(root_of));
            }
        }
        join(&nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::tree::{
        Frontier, consistency_ranges, inclusion_ranges, leaf_hash, verify_consistency, verify_inclusion,
    };
    use proptest::prelude::*;

    fn path(kind: TileKind, index: u64, width: u64) -> TilePath {
        TilePath { kind, index, width }
    }

    #[test]
    fn paths_are_spelled_as_the_specification_says() {
        for (text, tile) in [
            ("tile/0/000", path(TileKind::Hashes(0), 0, 256)),
            ("tile/3/x001/x234/067", path(TileKind::Hashes(3), 1_234_067, 256)),
            ("tile/entries/x001/000.p/7", path(TileKind::Entries, 1000, 7)),
        ] {
            assert_eq!(TilePath::parse(text), Some(tile), "{text}");
            assert_eq!(tile.to_string(), text);
        }
        for bad in [
            "tile/8/000",
            "tile/00/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001/x002",
            "tile/data/000",
            "tile/0/000/",
            "/tile/0/000",
            "tile/-1/000",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TilePath::parse(bad), None, "{bad}");
        }
    }

    fn grown(size: u64) -> (Edge, TileSet, Frontier) {
        let (mut edge, mut tiles, mut frontier) = (Edge::default(), TileSet::default(), Frontier::default());
        for n in 0..size {
            let hash = leaf_hash(&n.to_be_bytes());
            frontier.push(hash);
            edge.push(hash, &mut |tile, hashes| tiles.insert(tile, hashes.to_vec()));
        }
        for (tile, hashes) in edge.partial() {
            tiles.insert(tile, hashes.to_vec());
        }
        (edge, tiles, frontier)
    }

    #[test]
    fn an_edge_read_back_from_its_tiles_is_the_same_and_has_the_trees_root() {
        for size in [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 66_000] {
            let (edge, tiles, frontier) = grown(size);
            assert_eq!(edge.root(), frontier.root(), "{size}");
            let read = Edge::from_tiles(size, &tiles).unwrap();
            assert_eq!((read.root(), read.size()), (edge.root(), size));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn proofs_from_tiles_verify(size in 1_u64..70_000, a: u64, b: u64) {
            let (_, tiles, frontier) = grown(size);
            let (index, old) = (a % size, 1 + b % size);
            let root = frontier.root();
            let proof = tiles.answer(&inclusion_ranges(index, size).unwrap()).unwrap();
            prop_assert!(verify_inclusion((index, &leaf_hash(&index.to_be_bytes())), (size, &root), &proof));
            let steps = tiles.answer(&consistency_ranges(old, size).unwrap()).unwrap();
            let old_root = tiles.range((0, old)).unwrap();
            prop_assert_eq!(old_root, grown(old).2.root());
            prop_assert!(verify_consistency((old, &old_root), (size, &root), &steps));
        }
    }

    proptest! {
        #[test]
        fn any_path_is_a_tile_or_none_and_is_spelled_one_way(text in "(tile/)?(entries|[0-9x]{1,2})/[x0-9/.p]{0,20}", any in "\\PC{0,40}") {
            for text in [text, any] {
                if let Some(tile) = TilePath::parse(&text) {
                    prop_assert_eq!(tile.to_string(), text);
                }
            }
        }

        #[test]
        fn any_bytes_are_a_bundle_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300), entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..256)) {
            let _ = leaves(&bytes);
            let _ = hashes(&bytes);
            let bundled = bundle(&entries).unwrap();
            let read: Vec<Vec<u8>> = leaves(&bundled).unwrap().into_iter().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(read, entries);
        }
    }
}
