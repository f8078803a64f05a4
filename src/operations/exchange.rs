//! Token exchange: whose tokens a client may exchange (RFC 8693).

use super::{OperationError, Operations};
use crate::domain::client::{ClientCommand, ExchangeRule};
use crate::domain::scope::Scope;
use crate::ids::ClientKey;
use crate::ledger::Context;

impl Operations {
    /// Lets a client exchange tokens of another. The same rule twice appends nothing.
    pub async fn allow_exchange(
        &self,
        context: &Context,
        client: ClientKey,
        rule: ExchangeRule,
    ) -> Result<(), OperationError> {
        self.check_defined("scope", rule.scope.iter()).await?;
        self.command_client(context, client, &ClientCommand::AllowExchange(rule))
            .await
    }

    /// Whether these scopes exist.
    pub(super) async fn check_defined(
        &self,
        field: &'static str,
        scopes: impl Iterator<Item = &str>,
    ) -> Result<(), OperationError> {
        for scope in scopes {
            if self.load::<Scope>(Scope::id(scope)).await?.grantable().is_none() {
                let problem = format!("the scope {scope} is not defined");
                return Err(OperationError::invalid(field, problem));
            }
        }
        Ok(())
    }
}
