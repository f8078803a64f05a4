//! What rules remember: bounded, and the same for the same events.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use chrono::{Datelike as _, TimeDelta};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Timestamp;
use crate::domain::value::Digest;

/// The most keys that one rule keeps apart.
pub const MAX_KEYS: usize = 50_000;

/// A value per key, for the keys that were touched lately. Beyond [`MAX_KEYS`] those that were touched longest ago are
/// forgotten.
#[derive(Debug)]
pub struct Recent<K, V>(HashMap<K, (Timestamp, V)>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Ord + Clone, V: Default> Recent<K, V> {
    /// The value of a key, touched at `at`.
    pub fn touch(&mut self, key: K, at: Timestamp) -> &mut V {
        if self.0.len() >= MAX_KEYS && !self.0.contains_key(&key) {
            self.forget();
        }
        let (last, value) = self.0.entry(key).or_insert_with(|| (at, V::default()));
        *last = at;
        value
    }

    /// The value of a key, where there is one.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key).map(|(_, value)| value)
    }

    /// Takes the value of a key out.
    pub fn take(&mut self, key: &K) -> Option<V> {
        self.0.remove(key).map(|(_, value)| value)
    }

    /// Forgets the keys whose values are such.
    pub fn forget_where(&mut self, such: impl Fn(&V) -> bool) {
        self.0.retain(|_, (_, value)| !such(value));
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The older half goes.
    fn forget(&mut self) {
        let mut order: Vec<(Timestamp, K)> = self
            .0
            .iter()
            .map(|(key, (last, _))| (*last, key.clone()))
            .collect();
        // By key where the times are equal: nothing may depend on the order of a hash map.
        order.sort_unstable();
        metrics::counter!("grantlog_policy_keys_forgotten_total").increment(MAX_KEYS as u64 / 2);
        for (_, key) in order.into_iter().take(MAX_KEYS / 2) {
            self.0.remove(&key);
        }
    }
}

impl<K: Serialize + Ord, V: Serialize> Serialize for Recent<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<(&K, &(Timestamp, V))> = self.0.iter().collect();
        entries.sort_unstable_by_key(|(one, _)| *one);
        serializer.collect_seq(entries)
    }
}

impl<'de, K: DeserializeOwned + Hash + Eq, V: DeserializeOwned> Deserialize<'de> for Recent<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Vec::deserialize(deserializer)?.into_iter().collect()))
    }
}

/// How much is too much within which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// How much.
    pub threshold: usize,
    /// Within what time.
    pub window: TimeDelta,
}

/// Different values, of which many within a window are too many. After it fires it is silent for a window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Burst<T> {
    seen: VecDeque<(Timestamp, i64, T)>,
    silent_until: Option<Timestamp>,
}

impl<T> Default for Burst<T> {
    fn default() -> Self {
        Self {
            seen: VecDeque::new(),
            silent_until: None,
        }
    }
}

impl<T: PartialEq> Burst<T> {
    /// Counts a value, of which only the last time counts. The positions of what is within the window, where it is too
    /// much.
    pub fn add(&mut self, value: T, (at, position): (Timestamp, i64), measure: Measure) -> Option<Vec<i64>> {
        if self.silent_until.is_some_and(|until| at < until) {
            return None;
        }
        self.seen
            .retain(|(seen, _, other)| at - *seen < measure.window && *other != value);
        self.seen.push_back((at, position, value));
        if self.seen.len() < measure.threshold {
            return None;
        }
        self.silent_until = Some(at + measure.window);
        Some(self.seen.drain(..).map(|(_, position, _)| position).collect())
    }

    /// Whether it fired less than a window ago.
    #[must_use]
    pub fn is_silent(&self, at: Timestamp) -> bool {
        self.silent_until.is_some_and(|until| at < until)
    }
}

/// Counts occurrences: each is another one.
pub type Tally = Burst<i64>;

/// The number of a calendar month: digests of networks are keyed per month.
#[must_use]
pub fn calendar_month(at: Timestamp) -> i32 {
    at.year() * 12 + i32::try_from(at.month()).unwrap_or_default()
}

/// The most networks that are kept of one client.
const MAX_NETWORKS: usize = 64;

/// The networks that a client came from. Digests of networks are keyed per month, so what was seen in the month before
/// cannot be recognised: in a new month as many networks as there were are learnt anew, without a word.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Networks {
    month: i32,
    seen: Vec<(Digest, Timestamp)>,
    to_learn: usize,
    met: bool,
}

impl Networks {
    /// Whether the client ever came from one.
    #[must_use]
    pub fn has_met(&self) -> bool {
        self.met
    }

    /// Whether the network is a new one: none of those that were seen within `memory`. The very first is not.
    pub fn is_new(&mut self, network: Digest, at: Timestamp, memory: TimeDelta) -> bool {
        let month = calendar_month(at);
        self.seen.retain(|(_, last)| at - *last < memory);
        if month != self.month {
            self.to_learn = self.seen.len();
            self.month = month;
            self.seen.clear();
        }
        if let Some((_, last)) = self.seen.iter_mut().find(|(seen, _)| *seen == network) {
            *last = at;
            return false;
        }
        if self.seen.len() >= MAX_NETWORKS {
            self.seen.remove(0);
        }
        self.seen.push((network, at));
        let first = !std::mem::replace(&mut self.met, true);
        if self.to_learn > 0 {
            self.to_learn -= 1;
            return false;
        }
        !first
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    const MEASURE: Measure = Measure {
        threshold: 3,
        window: TimeDelta::seconds(60),
    };

    #[test]
    fn a_burst_fires_once_within_its_window_and_again_after_it() {
        let mut burst = Tally::default();
        let mut fired = Vec::new();
        for second in [0, 59, 61, 62, 63, 64, 65, 122, 123, 124] {
            if let Some(evidence) = burst.add(second, (at(second), second), MEASURE) {
                fired.push((second, evidence));
            }
        }
        assert_eq!(fired, [(62, vec![59, 61, 62]), (124, vec![122, 123, 124])]);
    }

    #[test]
    fn one_value_counts_once() {
        let mut burst = Burst::default();
        for second in 0..20 {
            assert_eq!(burst.add("same", (at(second), second), MEASURE), None);
        }
    }

    #[test]
    fn the_keys_that_were_touched_longest_ago_are_forgotten() {
        let mut recent: Recent<usize, u8> = Recent::default();
        for key in 0..=MAX_KEYS {
            *recent.touch(key, at(i64::try_from(key).unwrap())) = 1;
        }
        assert!(recent.len() <= MAX_KEYS);
        assert!(recent.get(&0).is_none() && recent.get(&MAX_KEYS).is_some());
        let saved = serde_json::to_string(&recent).unwrap();
        let mut loaded: Recent<usize, u8> = serde_json::from_str(&saved).unwrap();
        assert_eq!(loaded.get(&MAX_KEYS), Some(&mut 1));
        assert_eq!(serde_json::to_string(&loaded).unwrap(), saved);
    }

    #[test]
    fn a_new_month_is_not_a_new_network() {
        let day = |month, day| {
            format!("2026-{month:02}-{day:02}T00:00:00Z")
                .parse::<Timestamp>()
                .unwrap()
        };
        let memory = TimeDelta::days(14);
        let mut networks = Networks::default();
        let [home, office, elsewhere] = [b"h", b"o", b"e"].map(|name| Digest::of(name));
        assert!(!networks.is_new(home, day(10, 20), memory), "the first");
        assert!(networks.is_new(office, day(10, 21), memory));
        assert!(!networks.is_new(home, day(10, 22), memory));
        // The same two under the next month's key.
        let [home, office] = [b"H", b"O"].map(|name| Digest::of(name));
        assert!(!networks.is_new(home, day(11, 1), memory));
        assert!(!networks.is_new(office, day(11, 2), memory));
        assert!(networks.is_new(elsewhere, day(11, 3), memory));
        assert!(networks.is_new(home, day(11, 20), memory), "unseen for 19 days");
    }
}
