//! The integration tests: real Postgres, real HTTP, names that are claims.

mod authorize;
mod code;
mod faults;
mod flow;
mod grant_properties;
mod harness;
mod ledger;
mod projection;
mod token;
