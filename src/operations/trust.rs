//! Trusted issuers: other servers whose assertions are good here (RFC 7523 §2.1).

use super::{OperationError, Operations, run};
use crate::domain::trusted_issuer::{Trust, TrustedIssuer, TrustedIssuerCommand};
use crate::ledger::Context;

impl Operations {
    /// Trusts an issuer so far, whatever was said of it before. The same trust twice appends nothing.
    pub async fn trust_issuer(
        &self,
        context: &Context,
        issuer: &str,
        trust: Trust,
    ) -> Result<(), OperationError> {
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
