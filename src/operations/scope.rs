//! Scopes are data: created, described, marked restricted, retired.

use schemars::JsonSchema;
use serde::Serialize;

use super::{OperationError, Operations, run};
use crate::domain::scope::{Definition, Scope, ScopeCommand};
use crate::ledger::{Context, LedgerError};

/// Scopes are few: all fit on one page.
const MOST: u32 = 10_000;

/// A scope as administrators are shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShownScope {
    /// Its name (RFC 6749 §3.3).
    pub name: String,
    /// What it allows, in the words of the consent page.
    pub description: String,
    /// Whether each client needs an administrator's approval to use it.
    pub restricted: bool,
    /// Whether nobody is granted it any more.
    pub retired: bool,
}

impl From<&Definition> for ShownScope {
    fn from(scope: &Definition) -> Self {
        Self {
            name: scope.name.clone(),
            description: scope.description.clone(),
            restricted: scope.restricted,
            retired: scope.retired,
        }
    }
}

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

    /// All scopes, also retired ones, in the order in which they were defined.
    pub async fn scopes(&self) -> Result<Vec<ShownScope>, LedgerError> {
        let listed = self.list::<Scope>(0, MOST).await?;
        let definitions = listed.iter().filter_map(|scope| scope.loaded.definition.as_ref());
        Ok(definitions.map(ShownScope::from).collect())
    }

    /// The scope of that name; none where it was never defined.
    pub async fn scope(&self, name: &str) -> Result<Option<ShownScope>, LedgerError> {
        let scope = self.load::<Scope>(Scope::id(name)).await?;
        Ok(scope.definition.as_ref().map(ShownScope::from))
    }
}
