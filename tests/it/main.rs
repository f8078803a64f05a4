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

mod account;
mod approvals;
mod authorize;
mod client_metadata;
mod client_secrets;
mod code;
mod command_line;
mod configuration;
mod crashes;
mod cross_origin;
mod documents;
mod embedded_postgres;
mod errors;
mod faults;
mod flow;
mod grant_properties;
mod guessing;
mod harness;
mod hs256;
mod import;
mod json_requests;
mod ledger;
mod legacy_clients;
mod openid;
mod par;
mod private_key_jwt;
mod projection;
mod races;
mod refusals;
mod resource;
mod secrets;
mod stock_client;
mod tables;
mod token;
mod token_requests;
mod tokens;
mod users;
