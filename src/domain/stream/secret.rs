//! What becomes of a stream's secrets.

use crate::ids::KeyId;

/// A change of a stream's secrets. It is applied to those that the stream has when it is decided, so that two changes
/// at once lose neither's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretChange {
    /// They stay.
    Keep,
    /// It has none any more.
    Drop,
    /// This one and no other.
    Replace(KeyId),
    /// This one, and the newest before it until that is retired.
    Rotate(KeyId),
    /// The newest alone.
    Retire,
}

impl SecretChange {
    /// The secrets afterwards, the newest first.
    #[must_use]
    pub fn apply(self, secrets: &[KeyId]) -> Vec<KeyId> {
        let newest = secrets.first().copied();
        match self {
            Self::Keep => secrets.to_vec(),
            Self::Drop => Vec::new(),
            Self::Replace(key) => vec![key],
            Self::Rotate(key) => std::iter::once(key).chain(newest).collect(),
            Self::Retire => newest.into_iter().collect(),
        }
    }
}
