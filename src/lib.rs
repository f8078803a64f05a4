//! Grantlog: an event-sourced OAuth 2.0 authorization server.
//!
//! A request is a command on a grant; the grant's past events decide; the answer is new events, appended to
//! the [`ledger`] in one durable, gapless order. Tables are projections of it. `docs/architecture.md`
//! shows how the parts fit together.

#[macro_use]
mod event_macro;

pub mod app;
pub mod bench;
pub mod blast_radius;
pub mod canonical;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod crypto;
mod doctor;
pub mod domain;
pub mod evidence;
pub mod http;
pub mod ids;
pub mod import;
pub mod ledger;
pub mod logout;
pub mod operations;
pub mod outbound;
pub mod policy;
pub mod postgres;
pub mod projection;
pub mod server;
pub mod ssf;
pub mod standing;
pub mod stream;
pub mod telemetry;
pub mod trail;
pub mod unique_json;
