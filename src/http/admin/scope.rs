//! What tokens open of the administration API.

/// The scope that opens all of it, to clients that are approved for it.
pub const SCOPE: &str = "admin";

/// What a call of the administration API needs: the scope of a part of it, or [`SCOPE`], which is good for each.
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
    /// All of it, and what no part opens: whom this server trusts, and who may act for others.
    Full,
}

impl AdminScope {
    /// The parts.
    pub const PARTS: [Self; 4] = [Self::Read, Self::Operate, Self::Configure, Self::Evidence];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "admin:read",
            Self::Operate => "admin:operate",
            Self::Configure => "admin:configure",
            Self::Evidence => "admin:evidence",
            Self::Full => SCOPE,
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
            Self::Full => "All of it",
        }
    }
}

/// Whether a scope opens any part of the administration API.
#[must_use]
pub fn administers(scope: &str) -> bool {
    scope == SCOPE || AdminScope::PARTS.iter().any(|part| part.name() == scope)
}
