//! The integration tests: real Postgres, real HTTP, names that are claims.

mod authorize;
mod flow;
mod harness;
