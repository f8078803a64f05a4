//! Where a token stands in a Token Status List (draft-ietf-oauth-status-list), and the list's bytes.
//!
//! A token's place is the position of the event that issued it: unique without anybody handing out numbers, and the same
//! after every rebuild. Within a list, places are shuffled by a keyed permutation, so that neighbours in the list are not
//! neighbours in time.

/// Half of the bits of an index.
const HALF: u32 = 9;
/// The positions that one list covers: 2^18.
pub const ENTRIES: i64 = 1 << (2 * HALF);
/// Bits of one status.
pub const BITS: u8 = 2;
/// The bits of a half.
const MASK: u32 = (1 << HALF) - 1;
const ROUNDS: u8 = 6;

/// A token's status (§7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Good, or never issued.
    Valid = 0,
    /// Revoked for good.
    Invalid = 1,
    /// Not good now, and perhaps again.
    Suspended = 2,
}

/// The place of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which list.
    pub list: i64,
    /// Which of the positions that it covers.
    pub offset: u32,
}

impl Place {
    /// The place of a position of the ledger.
    #[must_use]
    pub fn of(position: i64) -> Self {
        Self {
            list: position.div_euclid(ENTRIES),
            offset: u32::try_from(position.rem_euclid(ENTRIES)).unwrap_or_default(),
        }
    }
}

/// The first position that a list covers, and the first that it does not.
#[must_use]
pub fn positions(list: i64) -> (i64, i64) {
    (
        list.saturating_mul(ENTRIES),
        list.saturating_add(1).saturating_mul(ENTRIES),
    )
}

/// The index of an offset: a Feistel permutation of all of a list, whatever `round` does.
#[must_use]
pub fn index(offset: u32, round: impl Fn(u8, u32) -> u16) -> u32 {
    let (mut left, mut right) = ((offset >> HALF) & MASK, offset & MASK);
    for number in 0..ROUNDS {
        (left, right) = (right, left ^ (u32::from(round(number, right)) & MASK));
    }
    (left << HALF) | right
}

/// The same for many offsets of one list: what `round` gives is computed once.
pub struct Permutation(Vec<u16>);

impl Permutation {
    /// Asks for all that `round` gives.
    #[must_use]
    pub fn of(round: impl Fn(u8, u32) -> u16) -> Self {
        let all = (0..ROUNDS).flat_map(|number| (0..=MASK).map(move |half| (number, half)));
        Self(all.map(|(number, half)| round(number, half)).collect())
    }

    /// The index of an offset.
    #[must_use]
    pub fn index(&self, offset: u32) -> u32 {
        index(offset, |number, half| {
            let place = u32::from(number) * (MASK + 1) + half;
            let found = usize::try_from(place).ok().and_then(|place| self.0.get(place));
            found.copied().unwrap_or_default()
        })
    }
}

/// The statuses of one list.
pub struct Statuses(Vec<u8>);

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![
            0;
            usize::try_from(ENTRIES).unwrap_or_default()
                * usize::from(BITS)
                / 8
        ])
    }
}

impl Statuses {
    /// Sets one status (§4.1: from the least significant bits of each byte on).
    pub fn set(&mut self, index: u32, status: Status) {
        let bit = index * u32::from(BITS);
        let place = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        if let Some(byte) = self.0.get_mut(place) {
            *byte &= !(0b11 << (bit % 8));
            *byte |= (status as u8) << (bit % 8);
        }
    }

    /// The bytes, not compressed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statuses_are_packed_from_the_least_significant_bits_on() {
        // draft-ietf-oauth-status-list §4.1.
        let mut statuses = Statuses::default();
        for (index, status) in [
            (0, Status::Invalid),
            (1, Status::Suspended),
            (2, Status::Valid),
            (3, Status::Suspended),
        ] {
            statuses.set(index, Status::Invalid);
            statuses.set(index, status);
        }
        assert_eq!(statuses.bytes()[0], 0b1000_1001);
        statuses.set(u32::MAX / 4, Status::Invalid);
        assert!(statuses.bytes()[1..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn every_offset_has_an_index_of_its_own() {
        let round = |number: u8, half: u32| {
            let [low, high, ..] = half
                .wrapping_mul(0x9e37_79b1)
                .rotate_left(u32::from(number))
                .to_le_bytes();
            u16::from_le_bytes([low, high])
        };
        let permutation = Permutation::of(round);
        let mut seen = vec![false; usize::try_from(ENTRIES).unwrap()];
        for offset in 0..u32::try_from(ENTRIES).unwrap() {
            let index = usize::try_from(index(offset, round)).unwrap();
            assert!(!seen[index]);
            assert_eq!(usize::try_from(permutation.index(offset)).unwrap(), index);
            seen[index] = true;
        }
    }

    proptest! {
        #[test]
        fn a_position_has_one_place(position in 0..i64::MAX / 2) {
            let place = Place::of(position);
            let (first, end) = positions(place.list);
            prop_assert!((first..end).contains(&position));
            prop_assert_eq!(first + i64::from(place.offset), position);
        }
    }
}
