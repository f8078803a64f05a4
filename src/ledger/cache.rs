//! Hot aggregates in memory. What is cached is always a true prefix of the aggregate's events, since events
//! never change; whether it is the whole is for an append, or the freshness check, to find out. Personal data
//! in it is sealed.

use std::any::Any;
use std::sync::Arc;

use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::domain::{AggregateType, LedgerAggregate};

#[derive(Clone)]
struct Entry {
    sequence: i64,
    state: Arc<dyn Any + Send + Sync>,
}

/// A bounded cache of aggregates of all types.
pub(super) struct AggregateCache(Cache<(AggregateType, Uuid), Entry>);

impl AggregateCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    pub(super) fn get<A: LedgerAggregate>(&self, id: Uuid) -> Option<(i64, Arc<A>)> {
        let Entry { sequence, state } = self.0.get(&(A::KIND, id))?;
        Some((sequence, state.downcast().ok()?))
    }

    /// Keeps a state, unless a later one is there.
    pub(super) fn put<A: LedgerAggregate>(&self, id: Uuid, sequence: i64, state: Arc<A>) {
        let key = (A::KIND, id);
        if self.0.peek(&key).is_none_or(|entry| entry.sequence < sequence) {
            self.0.insert(key, Entry { sequence, state });
        }
    }
}
