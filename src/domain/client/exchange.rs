//! Whose tokens a client may exchange, and into what (RFC 8693): nobody's, unless an operator allows it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientEvent, ClientRefusal, ExchangeAllowed, ExchangeDisallowed, Registration};
use crate::domain::value::ScopeSet;
use crate::ids::ClientKey;

/// The most rules that one client has.
const MAX_RULES: usize = 100;

/// What an exchanged token says of who acts (RFC 8693 §1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeMode {
    /// Nothing: it is the subject's token as any other. The ledger knows who exchanged it.
    Impersonation,
    /// Its `act` claim names the actor beside the subject.
    Delegation,
}

impl ExchangeMode {
    /// The word in the ledger and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Impersonation => "impersonation",
            Self::Delegation => "delegation",
        }
    }
}

/// Tokens of one client may be exchanged, in one mode, for tokens within these limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeRule {
    /// The client that the subject token was issued to.
    pub subject_client: ClientKey,
    /// What the exchanged token says of who acts.
    pub mode: ExchangeMode,
    /// The widest scope of an exchanged token.
    pub scope: ScopeSet,
    /// The widest audience.
    pub audience: Vec<String>,
}

impl Registration {
    /// The rule for tokens of a client, if there is one.
    #[must_use]
    pub fn exchange_rule(&self, subject_client: ClientKey, mode: ExchangeMode) -> Option<&ExchangeRule> {
        self.exchanges
            .iter()
            .find(|rule| rule.subject_client == subject_client && rule.mode == mode)
    }

    pub(super) fn allow_exchange(&self, rule: &ExchangeRule) -> Result<Option<ClientEvent>, ClientRefusal> {
        if self.metadata.is_public() {
            return Err(ClientRefusal::PublicExchange);
        }
        if rule.audience.is_empty() {
            return Err(ClientRefusal::ExchangeAudienceMissing);
        }
        let stands = self.exchange_rule(rule.subject_client, rule.mode);
        if stands.is_none() && self.exchanges.len() >= MAX_RULES {
            return Err(ClientRefusal::TooManyExchangeRules);
        }
        let event = ExchangeAllowed { rule: rule.clone() };
        Ok((stands != Some(rule)).then(|| event.into()))
    }

    pub(super) fn disallow_exchange(
        &self,
        subject_client: ClientKey,
        mode: ExchangeMode,
        reason: &str,
    ) -> Result<ClientEvent, ClientRefusal> {
        if self.exchange_rule(subject_client, mode).is_none() {
            return Err(ClientRefusal::ExchangeNotAllowed);
        }
        let reason = reason.to_owned();
        Ok(ExchangeDisallowed {
            subject_client,
            mode,
            reason,
        }
        .into())
    }

    /// Replaces the rule of that client and mode.
    pub(super) fn set_exchange_rule(&mut self, rule: ExchangeRule) {
        self.drop_exchange_rule(rule.subject_client, rule.mode);
        self.exchanges.push(rule);
        self.exchanges
            .sort_by_key(|rule| (rule.subject_client, rule.mode));
    }

    pub(super) fn drop_exchange_rule(&mut self, subject_client: ClientKey, mode: ExchangeMode) {
        self.exchanges
            .retain(|rule| rule.subject_client != subject_client || rule.mode != mode);
    }
}
