//! Scopes are data: created, described, marked restricted.

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
        Ok(run!(self, context, Scope, Scope::id(name), &command).outcome?)
    }
}
