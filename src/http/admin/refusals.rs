//! `GET /admin/refusals/{request_id}`: why a request was refused, and what helps. Its caller was told only the
//! error code and the request's id.

use schemars::JsonSchema;
use serde::Deserialize;

use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::Id;
use crate::domain::refusal::RefusalReason;
use crate::http::error::AdminError;
use crate::ids::RequestId;
use crate::operations::refusal::{ExplainedRefusal, NOT_FOUND};

/// Which request.
#[derive(Deserialize, JsonSchema)]
struct Request {
    /// The request's id, as its answer gave it.
    request_id: Id,
}

pub(super) fn operations() -> Vec<Operation> {
    let about = About::get(
        "/admin/refusals/{request_id}",
        ("explainRefusal", "Why a request was refused, and what helps"),
    );
    vec![operation(about, explain)]
}

async fn explain(call: Call, asked: Asked<Request>) -> Result<ExplainedRefusal, Rejected> {
    let request = RequestId(asked.path.request_id.0);
    let found = call.operations().find_refusal(request).await?;
    found.ok_or_else(|| call.refuse(AdminError::missing(NOT_FOUND), RefusalReason::NoSuchRefusal))
}
