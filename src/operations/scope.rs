//! Scopes are data: created, described, marked restricted, retired.

use super::{OperationError, Operations, run};
use crate::domain::scope::{Scope, ScopeCommand};
use crate::ledger::Context;

impl Operations {
    /// Defines a scope, or changes it where it exists. The same definition twice appends nothing.
    pub async fn define_scope(
        &self,
        context: &Context,
        name: &str,
        description: &str,
        restricted: bool,
    ) -> Result<(), OperationError> {
        let command = ScopeCommand::Define {
            name: name.to_owned(),
            description: description.to_owned(),
            restricted,
        };
        self.command_scope(context, name, &command).await
    }

    /// Defines, changes or retires a scope.
    pub async fn command_scope(
        &self,
        context: &Context,
        name: &str,
        command: &ScopeCommand,
    ) -> Result<(), OperationError> {
        Ok(run!(self, context, Scope, Scope::id(name), command).outcome?)
    }
}
