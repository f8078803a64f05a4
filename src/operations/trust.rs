//! Trusted issuers: other servers whose assertions are good here (RFC 7523 §2.1).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{OperationError, Operations, run, urls};
use crate::domain::client::{Client, PublicJwks};
use crate::domain::trusted_issuer::{IssuerKeys, SubjectMapping, Trust, TrustedIssuer, TrustedIssuerCommand};
use crate::ledger::{Context, LedgerError};

/// Trusted issuers are few: all are read at once.
const MOST: u32 = 10_000;

/// How far an issuer is trusted, as administrators are shown it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownTrust {
    /// The `iss` of its assertions.
    pub issuer: Option<String>,
    /// Whether it is trusted now.
    pub trusted: bool,
    /// How far; absent where it is not.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub terms: Option<ShownTrustTerms>,
}

/// How far an issuer is trusted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownTrustTerms {
    /// Whom the subject of an assertion is here.
    pub subject_is: SubjectMapping,
    /// The only `sub` values that are taken; empty means any.
    pub subjects: Vec<String>,
    /// The ids of the clients that may use its assertions.
    pub clients: Vec<String>,
    /// The widest scope of the tokens.
    pub scope: String,
    /// The types of authorization details that the tokens may have (RFC 9396).
    pub authorization_details_types: Vec<String>,
    /// Seconds that an access token lives at most.
    pub max_lifetime: u32,
    /// Whether an assertion may have no `jti`.
    pub jti_optional: bool,
    /// Its public keys (RFC 7517 §5); absent where it publishes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub jwks: Option<PublicJwks>,
    /// Where it publishes them instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
}

impl Operations {
    /// All issuers that are or were trusted, in the order in which they first were.
    pub async fn shown_trusts(&self) -> Result<Vec<ShownTrust>, LedgerError> {
        let issuers = self.list::<TrustedIssuer>(0, MOST).await?;
        let mut shown = Vec::with_capacity(issuers.len());
        for listed in &issuers {
            shown.push(self.show_trust(&listed.loaded).await?);
        }
        Ok(shown)
    }

    /// How far an issuer is trusted; none where it never was.
    pub async fn shown_trust(&self, issuer: &str) -> Result<Option<ShownTrust>, LedgerError> {
        let id = TrustedIssuer::id(issuer);
        let known = self.load::<TrustedIssuer>(id.0).await?;
        if !known.exists() {
            return Ok(None);
        }
        Ok(Some(self.show_trust(&known).await?))
    }

    async fn show_trust(&self, known: &TrustedIssuer) -> Result<ShownTrust, LedgerError> {
        let issuer = known.issuer.clone();
        let Some(trust) = &known.trust else {
            return Ok(ShownTrust {
                issuer,
                trusted: false,
                terms: None,
            });
        };
        let (jwks, jwks_uri) = match trust.keys.clone() {
            IssuerKeys::Given(jwks) => (Some(jwks), None),
            IssuerKeys::Published(uri) => (None, Some(uri)),
        };
        let mut clients = Vec::new();
        for client in &trust.clients {
            let client = self.load::<Client>(client.0).await?;
            let registration = client.registration.as_ref();
            clients.extend(registration.map(|client| client.client_id.clone()));
        }
        Ok(ShownTrust {
            issuer,
            trusted: true,
            terms: Some(ShownTrustTerms {
                subject_is: trust.subject_is,
                subjects: trust.subjects.clone(),
                clients,
                scope: trust.scope.to_string(),
                authorization_details_types: trust.authorization_details_types.clone(),
                max_lifetime: trust.max_lifetime,
                jti_optional: trust.jti_optional,
                jwks,
                jwks_uri,
            }),
        })
    }

    /// Trusts an issuer so far, whatever was said of it before. The same trust twice appends nothing.
    pub async fn trust_issuer(
        &self,
        context: &Context,
        issuer: &str,
        trust: Trust,
    ) -> Result<(), OperationError> {
        if let IssuerKeys::Published(uri) = &trust.keys {
            urls::check_called("jwks_uri", uri, &self.sectors)?;
        }
        self.check_defined("scope", trust.scope.iter()).await?;
        self.check_detail_types(&trust.authorization_details_types)
            .await?;
        let command = TrustedIssuerCommand::Trust {
            issuer: issuer.to_owned(),
            trust: Box::new(trust),
        };
        self.command_issuer(context, issuer, &command).await
    }

    /// Trusts an issuer no more: what came of its assertions ends at once.
    pub async fn distrust_issuer(
        &self,
        context: &Context,
        issuer: &str,
        reason: &str,
    ) -> Result<(), OperationError> {
        let command = TrustedIssuerCommand::Distrust {
            reason: reason.to_owned(),
        };
        self.command_issuer(context, issuer, &command).await
    }

    async fn command_issuer(
        &self,
        context: &Context,
        issuer: &str,
        command: &TrustedIssuerCommand,
    ) -> Result<(), OperationError> {
        Ok(run!(self, context, TrustedIssuer, TrustedIssuer::id(issuer).0, command).outcome?)
    }
}
