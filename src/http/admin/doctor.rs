//! `GET /admin/doctor`: what `grantlog doctor` finds, but for what reads the whole ledger.

use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use crate::doctor::{Check, Findings, Verdict};

/// What the node that answers finds.
#[derive(Serialize, JsonSchema)]
struct Report {
    /// The worst of them.
    verdict: Verdict,
    /// Settings first, then the database, the ledger and what reads it, the keys and the tables.
    items: Vec<Check>,
}

pub(super) fn operations() -> Vec<Operation> {
    let about = About::get(
        "/admin/doctor",
        (
            "checkInstallation",
            "Check the settings of the server that answers, and how ledger, readers and keys stand",
        ),
    );
    vec![operation(about, check)]
}

async fn check(call: Call, _: Asked) -> Result<Report, Rejected> {
    let Findings(items) = Findings::of_server(&call.app).await.map_err(Call::failed)?;
    let worst = items.iter().map(|check| check.verdict).max();
    Ok(Report {
        verdict: worst.unwrap_or(Verdict::Ok),
        items,
    })
}
