//! `grant_management_action` and `grant_id` of an authorization request (Grant Management for OAuth 2.0 §5).

use super::error::{AuthorizeError, invalid_request};
use super::parameters::Parameters;
use crate::app::App;
use crate::domain::grant::Management;
use crate::domain::refusal::RefusalReason;
use crate::http::error::Rejection;
use crate::http::oauth::grant_management::Managed;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::UnitOfWork;

/// What is to become of the grant; and whose it is, where it is there already.
pub(super) async fn read(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    parameters: &Parameters,
    client: ClientKey,
) -> Result<(Option<Management>, Option<SubjectId>), Rejection<AuthorizeError>> {
    let invalid = |what| Err(invalid_request(what, RefusalReason::GrantActionInvalid));
    match (
        parameters.get("grant_management_action"),
        parameters.get("grant_id"),
    ) {
        (None, None) if app.settings.grant_management_action_required => {
            let what = "The grant_management_action is missing, which this server requires.";
            Err(invalid_request(what, RefusalReason::GrantActionMissing))
        }
        (None, None) => Ok((None, None)),
        (None, Some(_)) => invalid("There is a grant_id without a grant_management_action."),
        (Some("create"), None) => Ok((Some(Management::Create), None)),
        (Some("create"), Some(_)) => invalid("A grant that is created has no grant_id yet."),
        (Some("replace"), None) => invalid("The grant_id of the grant that is to be replaced is missing."),
        (Some("replace"), Some(text)) => {
            let id = GrantId::parse(text).ok_or_else(invalid_grant_id)?;
            let managed = Managed::load(unit, id).await?;
            let managed = managed.filter(|managed| managed.client() == Some(client));
            let owner = match managed {
                Some(managed) => managed.live(unit).await?.and_then(|family| family.subject),
                None => None,
            };
            let owner = owner.ok_or_else(invalid_grant_id)?;
            Ok((Some(Management::Replace { grant: id }), Some(owner)))
        }
        (Some(_), _) => invalid("The grant_management_action is neither create nor replace."),
    }
}

fn invalid_grant_id() -> Rejection<AuthorizeError> {
    Rejection::new(AuthorizeError::InvalidGrantId, RefusalReason::GrantIdInvalid)
}
