//! What a client's access tokens look like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The form of a client's access tokens (member `access_token_format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenFormat {
    /// A signed JWT (RFC 9068): resource servers can read it by themselves.
    #[default]
    Jwt,
    /// `gla_…`, which says nothing: resource servers ask for its meaning (RFC 7662), each time.
    Opaque,
}
