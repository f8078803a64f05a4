//! What administers is changed by whoever may do all, and by nobody else.

use super::administers;
use super::endpoint::{Call, Rejected};
use crate::domain::client::{Approval, Client};
use crate::domain::refusal::RefusalReason;
use crate::http::error::{AdminError, ApiError};
use crate::ids::ClientKey;
use crate::ledger::LedgerError;

/// Whoever has a part only would change what opens the rest.
pub(super) fn only_in_full(call: &Call) -> Rejected {
    call.refuse(
        AdminError::from(ApiError::PermissionDenied),
        RefusalReason::AdministrationOfAdministrators,
    )
}

/// Whoever may not administer everything neither becomes, by another client's secret or keys, somebody who may, nor puts
/// out of action who may.
pub(super) async fn guard(call: &Call, key: ClientKey) -> Result<(), Rejected> {
    if may_change(call, key).await? {
        return Ok(());
    }
    Err(only_in_full(call))
}

/// Whether [`guard`] lets the caller change a client.
pub(super) async fn may_change(call: &Call, key: ClientKey) -> Result<bool, LedgerError> {
    if call.administrator.is_full {
        return Ok(true);
    }
    let client = call.operations().load::<Client>(key.0).await?;
    let approvals = call.operations().approvals(&[key]).await?;
    let approved = approvals.get(&key).into_iter().flatten();
    let administers = approved
        .filter(|(_, step)| step.state == Approval::Approved)
        .any(|(scope, _)| administers(scope));
    Ok(!(client.exists() && administers))
}
