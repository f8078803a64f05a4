//! `grantlog key`.

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};

use super::arguments::{Confirmation, Connection, Json};
use super::session::Session;
use super::{output, prompt};
use crate::crypto::signing::PUBLISHED_AHEAD;
use crate::domain::client::TokenAlgorithm;
use crate::operations::key::ShownKey;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the keys that sign tokens, newest first
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Make a new key, published now, that signs in 70 seconds; what the old ones signed is still accepted
    Rotate {
        /// For which algorithm
        #[arg(long, value_enum, default_value_t = Algorithm::All)]
        algorithm: Algorithm,
        /// Why; it is recorded
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        output: Json,
    },
    /// Withdraw a key: every token that it signed is refused from now on
    Retire {
        /// The key id
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        output: Json,
    },
}

/// An algorithm, or all.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Algorithm {
    /// ES256
    #[value(name = "ES256", alias = "es256")]
    Es256,
    /// RS256
    #[value(name = "RS256", alias = "rs256")]
    Rs256,
    /// PS256
    #[value(name = "PS256", alias = "ps256")]
    Ps256,
    /// `EdDSA` (Ed25519)
    #[value(name = "EdDSA", alias = "eddsa")]
    EdDsa,
    /// HS256, where the server allows it
    #[value(name = "HS256", alias = "hs256")]
    Hs256,
    /// Each algorithm in use
    All,
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    match command {
        Command::List { output } => list(&session, output).await?,
        Command::Rotate {
            algorithm,
            reason,
            output,
        } => {
            rotate(&session, algorithm, reason.as_deref(), output).await?;
        }
        Command::Retire {
            kid,
            reason,
            confirmation,
            output,
        } => {
            let keys = session.operations.signing_keys().await?;
            let key = keys.iter().find(|key| key.kid == kid);
            let key = key.with_context(|| format!("there is no key {kid}"))?;
            prompt::confirm(confirmation, "Refuse every token that this key signed?")?;
            let context = session.context_with("key retire", Some(&reason))?;
            session.operations.retire_signing_key(&context, key.id).await?;
            list(&session, output).await?;
        }
    }
    session.close().await;
    Ok(())
}

async fn rotate(
    session: &Session,
    algorithm: Algorithm,
    reason: Option<&str>,
    output: Json,
) -> anyhow::Result<()> {
    let algorithms: &[TokenAlgorithm] = match algorithm {
        Algorithm::Es256 => &[TokenAlgorithm::ES256],
        Algorithm::Rs256 => &[TokenAlgorithm::RS256],
        Algorithm::Ps256 => &[TokenAlgorithm::PS256],
        Algorithm::EdDsa => &[TokenAlgorithm::EdDSA],
        Algorithm::Hs256 => &[TokenAlgorithm::HS256],
        Algorithm::All => session.operations.token_algorithms(),
    };
    let context = session.context_with("key rotate", reason)?;
    for algorithm in algorithms {
        session
            .operations
            .rotate_signing_key(&context, *algorithm)
            .await?;
    }
    output::note(&format!(
        "a new key signs in {} seconds, when every copy of /oauth/jwks has it; if the old one has leaked, retire it, \
         and the new one signs at once",
        PUBLISHED_AHEAD.num_seconds()
    ));
    list(session, output).await
}

async fn list(session: &Session, output: Json) -> anyhow::Result<()> {
    let keys = session.operations.signing_keys().await?;
    if output.json {
        return output::json(&keys.iter().map(ShownKey::from).collect::<Vec<_>>());
    }
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            [
                key.kid.clone(),
                key.algorithm.clone(),
                key.state().name().to_owned(),
                output::moment(key.generated_at),
            ]
        })
        .collect();
    output::table(["KID", "ALGORITHM", "STATE", "GENERATED"], &rows)
}
