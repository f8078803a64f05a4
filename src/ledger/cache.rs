//! Hot aggregates in memory. What is cached is always a true prefix of the aggregate's events, since events
//! never change; whether it is the whole is for an append, or the freshness check, to find out. Personal data
//! in it is sealed.

use std::any::Any;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};
use uuid::Uuid;

use crate::domain::{AggregateType, LedgerAggregate};

/// The part that aggregates asked for again may fill. The rest is for those that came last: a grant is mostly
/// used once more, seconds after its code was issued, and a busy server must still have it then.
const HOT: f64 = 0.5;

#[derive(Clone)]
struct Entry {
    sequence: i64,
    state: Arc<dyn Any + Send + Sync>,
}

/// A bounded cache of aggregates of all types.
pub(super) struct AggregateCache(Cache<(AggregateType, Uuid), Entry>);

impl AggregateCache {
    pub(super) fn new(capacity: usize) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(capacity)
            .weight_capacity(u64::try_from(capacity).unwrap_or(u64::MAX))
            .hot_allocation(HOT)
            .build();
        Self(options.map_or_else(
            |_| Cache::new(capacity),
            |options| {
                Cache::with_options(
                    options,
                    UnitWeighter,
                    DefaultHashBuilder::default(),
                    DefaultLifecycle::default(),
                )
            },
        ))
    }

    pub(super) fn get<A: LedgerAggregate>(&self, id: Uuid) -> Option<(i64, Arc<A>)> {
        let Entry { sequence, state } = self.0.get(&(A::KIND, id))?;
        Some((sequence, state.downcast().ok()?))
    }

    /// Forgets an aggregate.
    pub(super) fn forget(&self, kind: AggregateType, id: Uuid) {
        self.0.remove(&(kind, id));
    }

    /// Keeps a state, unless a later one is there.
    pub(super) fn put<A: LedgerAggregate>(&self, id: Uuid, sequence: i64, state: Arc<A>) {
        let key = (A::KIND, id);
        if self.0.peek(&key).is_none_or(|entry| entry.sequence < sequence) {
            self.0.insert(key, Entry { sequence, state });
        }
    }
}
