//! The integration tests: real Postgres, real HTTP, names that are claims.

mod authorize;
mod code;
mod flow;
mod harness;
mod token;
