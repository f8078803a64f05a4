//! The command line. Each command reads its arguments, does one operation, prints what came of it; with
//! `--json`, for machines. `docs/command-line.md` is the manual.

mod alert;
mod arguments;
mod audit;
mod audit_export;
mod audit_key;
mod audit_proof;
mod audit_prove;
mod audit_search;
mod audit_verify;
mod audit_write;
mod authorization_detail_type;
mod backtest;
mod blast_radius;
mod client;
mod client_approval;
mod client_exchange;
mod client_input;
mod contain;
mod demo;
mod dev;
mod dev_files;
mod doctor;
mod grant;
mod grant_diff;
mod grant_show;
mod grant_uses;
mod import;
mod initial_access_token;
mod key;
mod missing;
mod network;
mod openapi;
mod output;
mod policy;
mod projection;
mod prompt;
mod recover;
mod replay;
mod retention;
mod scope;
mod serve;
mod session;
mod signal;
mod stream;
mod stream_dead_letters;
mod stream_shown;
mod trust;
mod user;
mod user_access;
mod user_claims;
mod user_erase;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

pub use arguments::Connection;
pub use output::Gone;

/// An event-sourced OAuth 2.0 authorization server whose ledger answers auditors.
#[derive(Parser)]
#[command(name = "grantlog", version, about, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine: an embedded Postgres, demo clients and a demo user
    Dev(dev::Arguments),
    /// Serve, with the configuration of a file and GRANTLOG_* variables
    Serve(serve::Arguments),
    /// Bring the database's schema up to date, as its owner
    Migrate(serve::MigrateArguments),
    /// Check the installation and say what to do about what is wrong
    Doctor(doctor::Arguments),
    /// Register and manage clients
    #[command(subcommand)]
    Client(client::Command),
    /// Register and manage users
    #[command(subcommand)]
    User(user::Command),
    /// Manage the keys that sign tokens
    #[command(subcommand)]
    Key(key::Command),
    /// Look at a grant's whole life, or end it
    #[command(subcommand)]
    Grant(grant::Command),
    /// Define scopes
    #[command(subcommand)]
    Scope(scope::Command),
    /// Define types of authorization details (RFC 9396)
    #[command(subcommand)]
    AuthorizationDetailType(authorization_detail_type::Command),
    /// Trust other servers' assertions
    #[command(subcommand)]
    Trust(trust::Command),
    /// Read the ledger, and prove that nobody has changed it
    #[command(subcommand)]
    Audit(audit::Command),
    /// Look at, rebuild and verify the tables that are folded from the ledger
    #[command(subcommand)]
    Projection(projection::Command),
    /// The rules that watch the ledger: set them, try them, run them over history
    #[command(subcommand)]
    Policy(policy::Command),
    /// Revoke grants by client, user, key, address or window of time
    Contain(contain::Arguments),
    /// What a token, secret, key, client, user, address or act could do between two moments, and what it did
    BlastRadius(blast_radius::Arguments),
    /// Networks that policies throttle
    #[command(subcommand)]
    Network(network::Command),
    /// What the rules found
    #[command(subcommand)]
    Alert(alert::Command),
    /// The event streams by which clients hear what befalls their users: see them, hold them
    #[command(subcommand)]
    Signal(signal::Command),
    /// Carry the ledger's events to other systems
    #[command(subcommand)]
    Stream(stream::Command),
    /// Fold the tables as they stood at a moment into a schema of their own
    Replay(replay::Arguments),
    /// How long grants and refusals are kept; take quarters that are over out of the ledger
    #[command(subcommand)]
    Retention(retention::Command),
    /// Begin a new epoch of a ledger that is older than what was signed; everything that may be alive is revoked
    Recover(recover::Arguments),
    /// Bring another server's clients, users and live refresh tokens here
    #[command(subcommand)]
    Import(import::Command),
    /// Print the OpenAPI 3.1 document of the administration API; needs no database
    Openapi(openapi::Arguments),
    /// Measure this machine: ratios to what is measured beside it in the same run
    Bench(crate::bench::Arguments),
}

/// Runs the command that the process was started with.
pub fn main() -> anyhow::Result<()> {
    let Cli { connection, command } = Cli::parse();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?
        .block_on(run(connection, command))
}

async fn run(connection: Connection, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Dev(arguments) => dev::run(&connection, arguments).await,
        Command::Serve(arguments) => serve::run(&connection, arguments).await,
        Command::Migrate(arguments) => serve::migrate(&connection, arguments).await,
        Command::Doctor(arguments) => doctor::run(&connection, arguments).await,
        Command::Client(command) => client::run(&connection, command).await,
        Command::User(command) => user::run(&connection, command).await,
        Command::Key(command) => key::run(&connection, command).await,
        Command::Grant(command) => grant::run(&connection, command).await,
        Command::Scope(command) => scope::run(&connection, command).await,
        Command::AuthorizationDetailType(command) => {
            authorization_detail_type::run(&connection, command).await
        }
        Command::Trust(command) => trust::run(&connection, command).await,
        Command::Audit(command) => audit::run(&connection, command).await,
        Command::Projection(command) => projection::run(&connection, command).await,
        Command::Policy(command) => policy::run(&connection, command).await,
        Command::Contain(arguments) => contain::run(&connection, arguments).await,
        Command::BlastRadius(arguments) => blast_radius::run(&connection, arguments).await,
        Command::Network(command) => network::run(&connection, command).await,
        Command::Alert(command) => alert::run(&connection, command).await,
        Command::Signal(command) => signal::run(&connection, command).await,
        Command::Stream(command) => stream::run(&connection, command).await,
        Command::Replay(arguments) => replay::run(&connection, arguments).await,
        Command::Retention(command) => retention::run(&connection, command).await,
        Command::Recover(arguments) => recover::run(&connection, arguments).await,
        Command::Import(command) => import::run(&connection, command).await,
        Command::Openapi(arguments) => openapi::run(&arguments),
        Command::Bench(arguments) => crate::bench::run(arguments).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One thumbprint in 64 begins with a hyphen: base64url has one.
    #[test]
    fn a_thumbprint_that_begins_with_a_hyphen_is_no_option() {
        for command in [
            "contain --by key -hV3-x --reason stolen --yes",
            "contain --by key --reason stolen -w7Qd --dry-run",
            "blast-radius --of key -w7Qd --since 2h",
            "key retire -w7Qd --reason leaked --yes",
            "audit search --key -w7Qd --json",
        ] {
            let words = std::iter::once("grantlog").chain(command.split(' '));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{command}: {error}");
            }
        }
        let unknown = "grantlog contain --by key w7Qd --reason stolen --whol";
        assert!(Cli::try_parse_from(unknown.split(' ')).is_err());
    }
}
