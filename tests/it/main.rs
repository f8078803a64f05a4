//! The integration tests: real Postgres, real HTTP, names that are claims.

mod code;
mod harness;
mod token;
