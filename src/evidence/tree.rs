//! The Merkle tree (RFC 6962 §2.1): hashes, roots, and proofs. Pure.
//!
//! A proof is first a list of ranges of leaves whose hashes it needs ([`inclusion_ranges`], [`consistency_ranges`]);
//! [`super::tile::TileSet`] answers each from tiles.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// SHA-256.
pub type Hash = [u8; 32];

/// The hash of a leaf: `SHA-256(0x00 || leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(leaf);
    array(context.finish().as_ref())
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [0; 65];
    let (tag, rest) = bytes.split_at_mut(1);
    tag.copy_from_slice(&[1]);
    let (first, second) = rest.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    array(digest(&SHA256, &bytes).as_ref())
}

/// The root of the tree without leaves.
#[must_use]
pub fn empty_root() -> Hash {
    array(digest(&SHA256, b"").as_ref())
}

fn array(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(bytes);
    hash
}

/// The root over the hashes of leaves, or of perfect subtrees of one size.
#[must_use]
pub fn root_of(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for hash in hashes {
        frontier.push(*hash);
    }
    frontier.root()
}

/// A growing tree, as the roots of its perfect subtrees, the largest first: all that its root needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Hash>,
}

impl Frontier {
    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the next leaf's hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        // Each trailing one of the size is a perfect subtree that the new leaf completes to one of twice the size.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.nodes.push(node);
        self.size += 1;
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut nodes = self.nodes.iter().rev();
        let Some(last) = nodes.next() else {
            return empty_root();
        };
        nodes.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// Leaves `start..end`.
pub type LeafRange = (u64, u64);

/// The largest power of two below `n`, which is at least 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The ranges whose roots prove that a leaf is in the tree of `size`, in the order of the proof (RFC 6962 §2.1.1); none
/// where it is not.
#[must_use]
pub fn inclusion_ranges(index: u64, size: u64) -> Option<Vec<LeafRange>> {
    if index >= size {
        return None;
    }
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((start, middle));
            start = middle;
        }
    }
    ranges.reverse();
    Some(ranges)
}

/// The ranges whose roots prove that the tree of `size` begins with that of `old` leaves, in the order of the proof
/// (RFC 6962 §2.1.2); none where `old` is greater.
#[must_use]
pub fn consistency_ranges(old: u64, size: u64) -> Option<Vec<LeafRange>> {
    if old > size {
        return None;
    }
    let mut ranges = Vec::new();
    if old == 0 || old == size {
        return Some(ranges);
    }
    let (mut start, mut end, mut whole) = (0, size, true);
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((start, middle));
            start = middle;
            whole = false;
        }
    }
    if !whole {
        ranges.push((start, end));
    }
    ranges.reverse();
    Some(ranges)
}

/// A perfect subtree: which of those with `2^level` leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subtree {
    /// The logarithm of its size.
    pub level: u32,
    /// Its place among those of its size.
    pub index: u64,
}

/// The perfect subtrees that a range of a proof consists of, the largest first.
#[must_use]
pub fn subtrees((mut start, end): LeafRange) -> Vec<Subtree> {
    let mut found = Vec::new();
    while start < end {
        let fits = (end - start).ilog2();
        let level = fits.min(start.trailing_zeros());
        found.push(Subtree {
            level,
            index: start >> level,
        });
        start += 1 << level;
    }
    found
}

/// The root over neighbouring perfect subtrees, the largest first.
#[must_use]
pub fn join(hashes: &[Hash]) -> Hash {
    let mut hashes = hashes.iter().rev();
    let Some(last) = hashes.next() else {
        return empty_root();
    };
    hashes.fold(*last, |right, left| node_hash(left, &right))
}

/// Whether a proof shows that the leaf is in the tree (RFC 9162 §2.1.3.2).
#[must_use]
pub fn verify_inclusion((index, leaf): (u64, &Hash), (size, root): (u64, &Hash), proof: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut fn_, mut sn, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if sn == 0 {
            return false;
        }
        if fn_ & 1 == 1 || fn_ == sn {
            hash = node_hash(sibling, &hash);
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    sn == 0 && hash == *root
}

/// Whether a proof shows that the tree of `new` begins with that of `old` (RFC 9162 §2.1.4.2).
#[must_use]
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> bool {
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    if old > new {
        return false;
    }
    // A tree that is perfect stands for itself.
    let first = old.is_power_of_two().then_some(old_root);
    let mut steps = first.into_iter().chain(proof);
    let Some(start) = steps.next() else { return false };
    let (mut fn_, mut sn) = (old - 1, new - 1);
    while fn_ & 1 == 1 {
        fn_ >>= 1;
        sn >>= 1;
    }
    let (mut from_old, mut from_new) = (*start, *start);
    for sibling in steps {
        if sn == 0 {
            return false;
        }
        if fn_ & 1 == 1 || fn_ == sn {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    sn == 0 && from_old == *old_root && from_new == *new_root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn half(leaves: &[Hash]) -> usize {
        usize::try_from(split(leaves.len() as u64)).unwrap()
    }

    /// RFC 6962 §2.1, as it is written.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            more => {
                let k = half(more);
                node_hash(&naive_root(&more[..k]), &naive_root(&more[k..]))
            }
        }
    }

    fn naive_path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = half(leaves);
        if m < k {
            [naive_path(m, &leaves[..k]), vec![naive_root(&leaves[k..])]].concat()
        } else {
            [naive_path(m - k, &leaves[k..]), vec![naive_root(&leaves[..k])]].concat()
        }
    }

    fn naive_subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if whole {
                Vec::new()
            } else {
                vec![naive_root(leaves)]
            };
        }
        let k = half(leaves);
        if m <= k {
            [
                naive_subproof(m, &leaves[..k], whole),
                vec![naive_root(&leaves[k..])],
            ]
            .concat()
        } else {
            [
                naive_subproof(m - k, &leaves[k..], false),
                vec![naive_root(&leaves[..k])],
            ]
            .concat()
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    fn answer(leaves: &[Hash], ranges: &[LeafRange]) -> Vec<Hash> {
        let of = |(start, end): LeafRange| {
            let hashes: Vec<Hash> = subtrees((start, end))
                .iter()
                .map(|tree| {
                    let first = usize::try_from(tree.index << tree.level).unwrap();
                    naive_root(&leaves[first..first + (1 << tree.level)])
                })
                .collect();
            join(&hashes)
        };
        ranges.iter().map(|range| of(*range)).collect()
    }

    #[test]
    fn the_empty_tree_and_one_leaf_are_as_the_rfc_says() {
        let hex = |hash: Hash| crate::domain::value::Digest(hash).to_string();
        assert_eq!(
            hex(Frontier::default().root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            hex(leaf_hash(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    proptest! {
        #[test]
        fn roots_and_proofs_are_those_of_the_rfc(count in 1_usize..200, a in 0_usize..200, b in 0_usize..200) {
            let all = leaves(count);
            let root = naive_root(&all);
            prop_assert_eq!(root_of(&all), root);
            let (index, old) = (a % count, b % (count + 1));
            let proof = answer(&all, &inclusion_ranges(index as u64, count as u64).unwrap());
            prop_assert_eq!(&proof, &naive_path(index, &all));
            let size = count as u64;
            prop_assert!(verify_inclusion((index as u64, &all[index]), (size, &root), &proof));
            let steps = answer(&all, &consistency_ranges(old as u64, size).unwrap());
            if old > 0 {
                prop_assert_eq!(&steps, &naive_subproof(old, &all, true));
            }
            let old_root = naive_root(&all[..old]);
            prop_assert!(verify_consistency((old as u64, &old_root), (size, &root), &steps));
        }

        #[test]
        fn a_proof_of_anything_else_fails(count in 2_usize..120, a in 0_usize..120, change in 0_usize..400) {
            let all = leaves(count);
            let (root, size, index) = (naive_root(&all), count as u64, a % count);
            let mut proof = naive_path(index, &all);
            prop_assert!(!verify_inclusion((index as u64, &leaf_hash(b"other")), (size, &root), &proof));
            prop_assert!(!verify_inclusion((((index + 1) % count) as u64, &all[index]), (size, &root), &proof));
            let place = change % proof.len();
            proof[place][change % 32] ^= 1;
            prop_assert!(!verify_inclusion((index as u64, &all[index]), (size, &root), &proof));
            proof.pop();
            prop_assert!(!verify_inclusion((index as u64, &all[index]), (size, &root), &proof));
            let old = 1 + change % (count - 1);
            let old_root = naive_root(&all[..old]);
            let mut steps = naive_subproof(old, &all, true);
            prop_assert!(!verify_consistency((old as u64, &leaf_hash(b"x")), (size, &root), &steps));
            let place = change % steps.len();
            steps[place][change % 32] ^= 1;
            prop_assert!(!verify_consistency((old as u64, &old_root), (size, &root), &steps));
        }

        #[test]
        fn verification_of_anything_ends(index: u64, size: u64, old: u64, proof in proptest::collection::vec(any::<[u8; 32]>(), 0..70)) {
            let hash = [7; 32];
            let _ = verify_inclusion((index, &hash), (size, &hash), &proof);
            let _ = verify_consistency((old, &hash), (size, &hash), &proof);
            let _ = inclusion_ranges(index, size).map(|ranges| ranges.into_iter().map(subtrees).collect::<Vec<_>>());
            let _ = consistency_ranges(old, size).map(|ranges| ranges.into_iter().map(subtrees).collect::<Vec<_>>());
        }
    }
}
