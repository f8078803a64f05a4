//! Grants without a login of their own: those that tokens were exchanged for (RFC 8693), and those that another
//! server's assertion was good for (RFC 7523 §2.1). What they rest on must stand whenever one of their tokens is used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AssertionAccepted;
use super::TokenExchanged;
use crate::clock::Timestamp;
use crate::domain::authorization_detail::{AskedDetails, Detail};
use crate::domain::client::{ExchangeMode, ExchangeRule};
use crate::domain::confirmation::Thumbprint;
use crate::domain::value::{Digest, ScopeSet, Sealed};
use crate::ids::{ClientKey, GrantId, IssuerKey, KeyId, SubjectId};

use super::Mint;

/// How many exchanges may follow one another.
pub const MAX_EXCHANGES: usize = 5;
/// How many actors' tokens an exchanged token may rest on.
pub const MAX_ACTORS: usize = 10;

/// A token of this server, as another grant's event names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TokenRef {
    /// Its grant.
    pub grant: GrantId,
    /// The sequence of the event that issued it.
    pub sequence: u32,
    /// The client that it was issued to.
    pub client: ClientKey,
    /// The key that signed it; none for an opaque one.
    pub key: Option<KeyId>,
}

impl TokenExchanged {
    /// All the tokens that the new one rests on, however many exchanges ago.
    pub fn rests_on(&self) -> impl Iterator<Item = &TokenRef> {
        std::iter::once(&self.subject_token)
            .chain(&self.actor_token)
            .chain(&self.earlier_subjects)
            .chain(&self.earlier_actors)
    }
}

/// Who acts (RFC 8693 §4.1), as the token says it. The outermost is the current actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The actor: a user, or a client that acts for itself.
    pub sub: String,
    /// The client that the actor uses, or is.
    pub client_id: String,
    /// Who acted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Act>>,
}

/// Who may act for the subject (RFC 8693 §4.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MayAct {
    /// The actor's subject.
    pub sub: String,
    /// The actor's client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// What a grant without a login of its own rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Tokens that were exchanged for it.
    Tokens(Lineage),
    /// The trust in the issuer of an assertion.
    Trust(IssuerKey),
}

/// The tokens that an exchanged token rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// What the exchanged token says of who acts.
    pub mode: ExchangeMode,
    /// The subject token, and what that had been exchanged for in its turn: never empty.
    pub subjects: Vec<TokenRef>,
    /// The tokens of actors, and what those rest on.
    pub actors: Vec<TokenRef>,
}

impl Lineage {
    pub(super) fn of(event: &TokenExchanged) -> Self {
        let (subject, actor) = (event.subject_token, event.actor_token);
        Self {
            mode: event.mode,
            subjects: std::iter::once(subject)
                .chain(event.earlier_subjects.clone())
                .collect(),
            actors: actor.into_iter().chain(event.earlier_actors.clone()).collect(),
        }
    }
}

/// What the answer says besides, of a token that was exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// The `sub`, where the subject is no user but another client.
    pub client_subject: Option<String>,
    /// The `act`.
    pub act: Option<Act>,
}

/// A token that was presented, signed here and active at this moment.
#[derive(Clone, Debug)]
pub struct ActiveToken {
    /// Where it was issued.
    pub token: TokenRef,
    /// Its user; none where its client acts for itself.
    pub subject: Option<SubjectId>,
    /// Its `sub`.
    pub sub: String,
    /// The name of its client.
    pub client_id: String,
    /// What of its scope may be used now.
    pub scope: ScopeSet,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Its `act`.
    pub act: Option<Act>,
    /// Its `may_act`.
    pub may_act: Option<MayAct>,
    /// What it rests on itself.
    pub lineage: Option<Lineage>,
}

/// Exchange a token (RFC 8693 §2).
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The authenticated client.
    pub client: ClientKey,
    /// Its name.
    pub client_id: String,
    /// The sequence of its last event, which the rule is as of.
    pub client_version: u64,
    /// The rule that allows it.
    pub rule: ExchangeRule,
    /// The subject token.
    pub subject: ActiveToken,
    /// The actor token.
    pub actor: Option<ActiveToken>,
    /// The `scope` parameter.
    pub scope: Option<ScopeSet>,
    /// The `resource` and `audience` parameters.
    pub audience: Option<Vec<String>>,
    /// The subject token's authorization details, and the parameter; none are asked for where it is not there.
    pub details: AskedDetails,
    /// What is asked for of them, sealed for the new grant.
    pub sealed: Option<Sealed>,
    /// The scopes of the rule that the client may have now.
    pub client_scope: ScopeSet,
    /// The audience that the client may have.
    pub client_audience: Vec<String>,
    /// How often the user's password has changed.
    pub password_generation: u32,
    /// The tokens to issue.
    pub mint: Mint,
    /// Now.
    pub at: Timestamp,
}

/// Issue tokens for another server's assertion (RFC 7523 §2.1), which was verified.
#[derive(Clone, Debug)]
pub struct AcceptAssertion {
    /// The authenticated client.
    pub client: ClientKey,
    /// On whose behalf; none where the client acts for itself.
    pub subject: Option<SubjectId>,
    /// The trust in its issuer.
    pub issuer: IssuerKey,
    /// The sequence of the trust's last event.
    pub trust_version: u64,
    /// SHA-256 of issuer and `jti`, or of what was signed where it has none.
    pub assertion: Digest,
    /// The `kid` of the issuer's key that verified it, where it has one.
    pub kid: Option<String>,
    /// That key's thumbprint.
    pub jkt: Thumbprint,
    /// The granted scope.
    pub scope: ScopeSet,
    /// The audience.
    pub audience: Vec<String>,
    /// The granted authorization details, and the same sealed.
    pub details: Option<(Vec<Detail>, Sealed)>,
    /// How often the user's password has changed.
    pub password_generation: u32,
    /// The tokens to issue.
    pub mint: Mint,
    /// Now.
    pub at: Timestamp,
}

impl AcceptAssertion {
    pub(super) fn event(&self, grant_expires_at: Timestamp) -> AssertionAccepted {
        AssertionAccepted {
            client: self.client,
            subject: self.subject,
            issuer: self.issuer,
            trust_version: self.trust_version,
            assertion: self.assertion,
            kid: self.kid.clone(),
            jkt: Some(self.jkt),
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            password_generation: self.password_generation,
            at: self.at,
            grant_expires_at,
        }
    }
}
