//! The trail as auditors ask for it: which events concern somebody or something, found by an index instead of a reading
//! of the whole ledger.
//!
//! An event concerns what it names ([`concerns`]). The projection `event_postings` keeps that for each event, and
//! [`postings::positions`] answers from it, and from the ledger itself where the projection has not come yet.

pub mod as_of;
pub mod bounds;
pub mod columns;
pub mod concerns;
pub mod diff;
pub mod document;
pub mod history;
pub mod key;
pub mod lineage;
pub mod mentions;
pub mod missing;
pub mod origins;
pub mod pasted;
pub mod postings;
pub mod search;
pub mod when;

pub use key::Key;
pub use postings::{Found, Order, Query, Stretch, positions};
