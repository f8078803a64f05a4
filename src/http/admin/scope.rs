//! What tokens open of the administration API.

/// The scope that opens all of it, to clients that are approved for it.
pub const SCOPE: &str = "admin";

/// A part of the administration API, which has a scope of its own beside [`SCOPE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdminScope {
    /// To look.
    Read,
    /// To answer an incident: revoke, suspend, contain, acknowledge.
    Operate,
    /// To set how this server works: clients, users, scopes, keys, policies, streams.
    Configure,
    /// To prove what happened, and say what must be kept.
    Evidence,
}

impl AdminScope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Operate, Self::Configure, Self::Evidence];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "admin:read",
            Self::Operate => "admin:operate",
            Self::Configure => "admin:configure",
            Self::Evidence => "admin:evidence",
        }
    }

    /// What it opens, in a sentence.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Read => "Look at clients, users, grants, the trail, rules and alerts",
            Self::Operate => "Revoke, suspend, contain and acknowledge",
            Self::Configure => "Change clients, users, scopes, keys, rules, streams and retention",
            Self::Evidence => "Read proofs and checkpoints, and place legal holds",
        }
    }
}

/// Whether a scope opens any part of the administration API.
#[must_use]
pub fn administers(scope: &str) -> bool {
    scope == SCOPE || AdminScope::ALL.iter().any(|part| part.name() == scope)
}
