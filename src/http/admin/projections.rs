//! `GET /admin/projections`: what `grantlog projection list` does. They are rebuilt and verified on the command line.

use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use crate::ledger::LedgerError;
use crate::projection::{ProjectionError, ProjectionStatus, status};

/// The tables that are folded from the ledger.
#[derive(Serialize, JsonSchema)]
struct Projections {
    /// In alphabetical order.
    items: Vec<ProjectionStatus>,
}

pub(super) fn operations() -> Vec<Operation> {
    let about = About::get(
        "/admin/projections",
        (
            "listProjections",
            "Show how far each table that is folded from the ledger has come",
        ),
    );
    vec![operation(about, list)]
}

async fn list(call: Call, _: Asked) -> Result<Projections, Rejected> {
    let items = status(call.app.ledger.pool())
        .await
        .map_err(|error: ProjectionError| {
            tracing::error!(%error, "the standing of projections could not be read");
            Rejected::from(LedgerError::Unavailable)
        })?;
    Ok(Projections { items })
}
