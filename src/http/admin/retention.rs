//! `/admin/retention`: what `grantlog retention show` and `set` do. Quarters are taken out on the command line.

use schemars::JsonSchema;
use serde::Deserialize;

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Nothing, Reason};
use crate::domain::retention::RetentionClass;
use crate::operations::retention::ShownRetention;

/// What is kept.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// The class.
    class: RetentionClass,
}

/// How long to keep it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keep {
    /// Days after the end of its quarter, or of its month, 30 to 36500; null for good. What addresses this leaves no time
    /// are destroyed within the hour, for good.
    #[serde(deserialize_with = "said")]
    keep_days: Option<u32>,
    /// Why; it is recorded.
    reason: Reason,
}

/// Null is an answer; leaving it out is none.
fn said<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Option::deserialize(deserializer)
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            About::get(
                "/admin/retention",
                (
                    "showRetention",
                    "Show how long events and addresses are kept, and which quarters and months there are",
                ),
            ),
            show,
        ),
        operation(
            About::put(
                "/admin/retention/{class}",
                (
                    "setRetention",
                    "Set how long events of a class, or addresses, are kept",
                ),
            ),
            set,
        ),
    ]
}

async fn show(call: Call, _: Asked) -> Result<ShownRetention, Rejected> {
    Ok(call.operations().shown_retention().await?)
}

async fn set(call: Call, asked: Asked<Named, Nothing, JsonBody<Keep>>) -> Result<ShownRetention, Rejected> {
    let Keep { keep_days, reason } = asked.body.0;
    let context = call.because(Some(reason.0));
    let operations = call.operations();
    operations
        .set_retention(&context, asked.path.class, keep_days)
        .await?;
    Ok(operations.shown_retention().await?)
}
