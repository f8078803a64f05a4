//! The integration tests: real Postgres, real HTTP, names that are claims.

mod code;
mod faults;
mod grant_properties;
mod harness;
mod ledger;
mod projection;
mod token;
