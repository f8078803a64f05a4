//! The integration tests: real Postgres, real HTTP, names that are claims.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "helpers of tests"
)]

mod authorize;
mod code;
mod command_line;
mod configuration;
mod crashes;
mod cross_origin;
mod documents;
mod embedded_postgres;
mod faults;
mod flow;
mod grant_properties;
mod harness;
mod import;
mod ledger;
mod projection;
mod races;
mod secrets;
mod stock_client;
mod token;
mod tokens;
