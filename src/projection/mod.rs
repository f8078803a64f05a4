//! Projections: tables folded from the ledger. They are disposable: each can be dropped and built again, and
//! then holds the same rows.
//!
//! A [`Projection`] is pure. It takes events and gives rows ([`cell::Cell`]) and changes of rows written before
//! ([`cell::Change`]); reading and writing is left to the [`runner`] (live, by position) and to [`rebuild`]
//! (in bulk, aggregate by aggregate). Changes carry the position of the event that made them and are applied
//! only where that event comes first, so both ways come to the same rows.

mod alerts;
pub mod bench;
pub mod cell;
mod client_access_tokens;
mod client_authorization_codes;
mod client_refresh_tokens;
mod clients;
mod consents;
mod error;
mod event_postings;
mod fold;
mod install;
mod known;
pub mod prune;
mod read;
pub mod rebuild;
mod recorded;
pub mod replay;
mod revocation;
pub mod runner;
mod schema;
mod sessions;
mod status;
mod token_uses;
mod users;
pub mod verify;

pub use error::ProjectionError;
pub(crate) use event_postings::postings_cursor;
pub use known::Known;
pub use rebuild::{Progress, rebuild};
pub use recorded::Recorded;
pub use replay::{AsOfSchema, Replayed, replay};
pub use runner::ProjectionRunner;
pub use schema::Schema;
pub use status::{ProjectionStatus, status};
pub use verify::{Difference, Verification, verify};

use crate::domain::AggregateType;
use cell::{Change, Mismatch, RowSink};

/// A fold from events to the rows of one table.
pub trait Projection: Send {
    /// Its table and version.
    fn schema(&self) -> &'static Schema;

    /// The aggregate type whose rows are folded whole, one aggregate one row, each time an aggregate changes.
    /// None: rows are written once and changed by what comes later; the type is then the grant.
    fn whole(&self) -> Option<AggregateType>;

    /// Whether it takes the events of every aggregate, each on its own and with its metadata.
    fn takes_all(&self) -> bool {
        false
    }

    /// Takes the next event: by position, or in the order of its aggregate.
    fn fold(&mut self, recorded: &Recorded, known: &Known);

    /// The aggregate's events are all in: what they change among its own rows is applied here, in memory.
    fn settle(&mut self);

    /// Hands over the rows folded since the last call.
    fn rows(&mut self, sink: &mut dyn RowSink) -> Result<(), Mismatch>;

    /// Hands over the changes of rows that were handed over before, and of those.
    fn changes(&mut self) -> Result<Vec<Change>, Mismatch>;
}

/// The names of all projections, in alphabetical order.
pub const NAMES: [&str; 10] = [
    alerts::SCHEMA.name,
    client_access_tokens::SCHEMA.name,
    client_authorization_codes::SCHEMA.name,
    client_refresh_tokens::SCHEMA.name,
    clients::SCHEMA.name,
    consents::SCHEMA.name,
    event_postings::SCHEMA.name,
    sessions::SCHEMA.name,
    token_uses::SCHEMA.name,
    users::SCHEMA.name,
];

/// Fresh folds of all projections, in the order of [`NAMES`].
#[must_use]
pub fn all() -> Vec<Box<dyn Projection>> {
    vec![
        Box::<alerts::Alerts>::default(),
        Box::<client_access_tokens::AccessTokens>::default(),
        Box::<client_authorization_codes::Codes>::default(),
        Box::<client_refresh_tokens::RefreshTokens>::default(),
        Box::<clients::Clients>::default(),
        Box::<consents::Consents>::default(),
        Box::<event_postings::EventPostings>::default(),
        Box::<sessions::Sessions>::default(),
        Box::<token_uses::Uses>::default(),
        Box::<users::Users>::default(),
    ]
}

/// A fresh fold of the projection of that name.
#[must_use]
pub fn named(name: &str) -> Option<Box<dyn Projection>> {
    all()
        .into_iter()
        .find(|projection| projection.schema().name == name)
}
