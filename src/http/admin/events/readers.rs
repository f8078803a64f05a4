//! How far the readers of this node have come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The positions of readers, by a number of each one's own.
#[derive(Clone, Debug, Default)]
pub(super) struct Readers(Arc<Mutex<Positions>>);

#[derive(Debug, Default)]
struct Positions {
    next: u64,
    reached: BTreeMap<u64, i64>,
}

/// A reader's entry, which ends with it.
#[derive(Debug)]
pub(super) struct Place {
    readers: Readers,
    number: u64,
}

impl Readers {
    /// A reader begins after a position.
    pub(super) fn enter(&self, after: i64) -> Place {
        let number = self.with(|positions| {
            positions.next += 1;
            positions.reached.insert(positions.next, after);
            positions.next
        });
        Place {
            readers: self.clone(),
            number,
        }
    }

    /// Where the one is that is farthest behind; none where nobody reads.
    pub(super) fn least(&self) -> Option<i64> {
        self.with(|positions| positions.reached.values().min().copied())
    }

    fn with<T>(&self, change: impl FnOnce(&mut Positions) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Place {
    /// The reader has come to a position.
    pub(super) fn reach(&self, position: i64) {
        self.readers
            .with(|positions| positions.reached.insert(self.number, position));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.readers
            .with(|positions| positions.reached.remove(&self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_reader_is_known_until_it_leaves() {
        let readers = Readers::default();
        let (slow, fast) = (readers.enter(3), readers.enter(3));
        fast.reach(9);
        assert_eq!(readers.least(), Some(3));
        slow.reach(5);
        assert_eq!(readers.least(), Some(5));
        drop(slow);
        assert_eq!(readers.least(), Some(9));
        drop(fast);
        assert_eq!(readers.least(), None);
    }
}
