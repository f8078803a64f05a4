//! What can be kept for a time, and when that is over.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::trail::Class;
use crate::clock::Timestamp;

/// What a retention is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetentionClass {
    /// Events of grants, which leave the ledger by quarters.
    Grant,
    /// Events of refused requests, likewise.
    Refusal,
    /// Callers' addresses and user agents, and operators' names: the keys to them are destroyed by months.
    Address,
}

impl RetentionClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Grant, Self::Refusal, Self::Address];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grant => Class::Grant.name(),
            Self::Refusal => Class::Refusal.name(),
            Self::Address => "address",
        }
    }

    /// The act on the ledger that says how long it is kept.
    #[must_use]
    pub const fn act(self) -> Uuid {
        match self {
            Self::Grant => Uuid::from_u128(0x7265_7465_6e74_896f_ae00_6772_616e_7400),
            Self::Refusal => Uuid::from_u128(0x7265_7465_6e74_896f_ae72_6566_7573_616c),
            Self::Address => Uuid::from_u128(0x7265_7465_6e74_896f_ae61_6464_7265_7373),
        }
    }
}

impl From<Class> for RetentionClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Grant => Self::Grant,
            Class::Refusal => Self::Refusal,
        }
    }
}

/// A month, as the keys to addresses have it: `2026-11`. Months compare like their texts.
#[must_use]
pub fn month(at: Timestamp) -> String {
    at.format("%Y-%m").to_string()
}

/// The first month that is still kept, where each is kept for so many days after its end.
#[must_use]
pub fn first_kept(keep_days: u32, now: Timestamp) -> String {
    // A month has ended so long ago if and only if the moment so long ago is in a later one.
    let kept_since = now.checked_sub_signed(TimeDelta::days(keep_days.into()));
    month(kept_since.unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_kept_so_many_days_after_its_end() {
        let first = |keep, now: &str| first_kept(keep, now.parse().unwrap());
        assert_eq!(first(30, "2026-10-30T23:59:59Z"), "2026-09");
        assert_eq!(first(30, "2026-10-31T00:00:00Z"), "2026-10");
        assert_eq!(first(400, "2026-11-22T10:00:00Z"), "2025-10");
        assert_eq!(first(u32::MAX, "2026-11-22T10:00:00Z"), "1970-01");
    }

    #[test]
    fn each_class_has_an_act_of_its_own() {
        let mut acts = RetentionClass::ALL.map(RetentionClass::act).to_vec();
        acts.dedup();
        assert_eq!(acts.len(), RetentionClass::ALL.len());
    }
}
