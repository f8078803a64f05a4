//! `/admin/keys`: what `grantlog key` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Nothing, Reason};
use super::scope::AdminScope;
use crate::crypto::signing::PUBLISHED_AHEAD;
use crate::domain::client::TokenAlgorithm;
use crate::operations::key::ShownKey;

/// Which key.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// Its `kid`.
    kid: String,
}

/// The keys that sign tokens.
#[derive(Serialize, JsonSchema)]
struct Keys {
    /// The newest first.
    items: Vec<ShownKey>,
    /// Seconds after which a new key signs: when every copy of the JWK set has it.
    published_ahead_seconds: i64,
}

/// A new key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// For which algorithm; for each that is in use where nothing is said.
    #[serde(default)]
    algorithm: Option<TokenAlgorithm>,
    /// Why; it is recorded.
    #[serde(default)]
    reason: Option<Reason>,
}

pub(super) fn operations() -> Vec<Operation> {
    use AdminScope::Configure;
    vec![
        operation(
            About::get(
                "/admin/keys",
                ("listKeys", "List the keys that sign tokens, newest first"),
            ),
            list,
        ),
        operation(
            About::post(
                Configure,
                "/admin/keys/rotate",
                (
                    "rotateKeys",
                    "Make a new key; what the old ones signed is still accepted",
                ),
            ),
            rotate,
        ),
        operation(
            About::post(
                Configure,
                "/admin/keys/{kid}/retire",
                (
                    "retireKey",
                    "Withdraw a key: every token that it signed is refused from now on",
                ),
            ),
            retire,
        ),
    ]
}

async fn keys(call: &Call) -> Result<Keys, Rejected> {
    let keys = call.operations().signing_keys().await?;
    Ok(Keys {
        items: keys.iter().map(ShownKey::from).collect(),
        published_ahead_seconds: PUBLISHED_AHEAD.num_seconds(),
    })
}

async fn list(call: Call, _: Asked) -> Result<Keys, Rejected> {
    keys(&call).await
}

async fn rotate(call: Call, asked: Asked<Nothing, Nothing, JsonBody<Rotation>>) -> Result<Keys, Rejected> {
    let Rotation { algorithm, reason } = asked.body.0;
    let context = call.because(reason.map(|reason| reason.0));
    let operations = call.operations();
    let algorithms = match &algorithm {
        Some(algorithm) => std::slice::from_ref(algorithm),
        None => operations.token_algorithms(),
    };
    for algorithm in algorithms {
        operations.rotate_signing_key(&context, *algorithm).await?;
    }
    keys(&call).await
}

async fn retire(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<Keys, Rejected> {
    let known = call.operations().signing_keys().await?;
    let key = known.iter().find(|key| key.kid == asked.path.kid);
    let key = key.ok_or_else(|| call.missing("There is no key of this kid."))?;
    let context = call.because(Some(asked.body.0.reason.0));
    call.operations().retire_signing_key(&context, key.id).await?;
    keys(&call).await
}
