//! The integration tests: real Postgres, real HTTP, names that are claims.

mod command_line;
mod configuration;
mod cross_origin;
mod embedded_postgres;
mod harness;
