//! Scopes that the other server's tokens have and that are not defined here.

use super::{Import, ImportError};
use crate::domain::scope::Scope;
use crate::domain::value::ScopeSet;

impl Import {
    /// Defines what is not defined, without a restriction, as it was there. What is defined stays as it is.
    pub(super) async fn define_scopes(&mut self, scopes: &ScopeSet) -> Result<(), ImportError> {
        for name in scopes.iter() {
            let mut unit = self.operations.ledger.unit_of_work(&self.context);
            if unit.load::<Scope>(Scope::id(name)).await?.definition.is_some() {
                continue;
            }
            if !self.options.dry_run {
                self.operations
                    .define_scope(&self.context, name, name, false)
                    .await?;
            }
            self.report.scopes.push(name.to_owned());
        }
        Ok(())
    }
}
