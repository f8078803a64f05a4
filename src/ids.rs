//! Typed identifiers. Grants and refusals are `UUIDv7` (their birth time places them in a partition of the
//! ledger); subjects, clients and sessions are random, so that they say nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }
    )*};
}

ids! {
    /// A grant: one authorization and everything that descends from it. `UUIDv7`.
    GrantId,
    /// The aggregate id of a client. Its wire name, `client_id`, may be another string that it chose.
    ClientKey,
    /// The aggregate id of the trust in an issuer of assertions: a digest of its name.
    IssuerKey,
    /// A resource owner; the `sub` of its tokens. Random.
    SubjectId,
    /// A browser login; the `sid`. Random.
    SessionId,
    /// A signing key's aggregate id. Random.
    KeyId,
    /// One HTTP request or command-line call; what a refused caller can quote. Random.
    RequestId,
}

impl GrantId {
    /// A grant's id in its one usual spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = Uuid::try_parse(text).ok()?;
        (id.to_string() == text).then_some(Self(id))
    }
}
