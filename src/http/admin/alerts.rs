//! `/admin/alerts`: what `grantlog alert` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Id, Limit, Nothing, Page, Reason};
use super::scope::AdminScope;
use crate::domain::alert::{AlertRaised, ContainmentApplied};
use crate::operations::alert::{AlertFilter, ListedAlert};

/// Which alert.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// The alert's id.
    alert: Id,
}

/// Which alerts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Those that nobody has acknowledged.
    #[serde(default)]
    open: bool,
    /// Those of this rule.
    rule: Option<String>,
    /// Begin after this position: `next` of the page before.
    #[serde(default)]
    after: i64,
    /// The most items.
    #[serde(default)]
    limit: Limit,
}

/// What came of an alert.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Acknowledgement {
    /// What came of it; it is recorded.
    #[serde(default)]
    note: Option<Reason>,
}

/// An alert, with what it rests on and what was done.
#[derive(Serialize, JsonSchema)]
struct ShownAlert {
    /// The alert.
    alert: Uuid,
    /// What a rule found (`AlertRaised`); of a replay with both presenters side by side. Null where an administrator took
    /// access away without a rule.
    raised: Option<AlertRaised>,
    /// What was done about it (`ContainmentApplied`).
    containments: Vec<ContainmentApplied>,
    /// Whether somebody has looked at it.
    acknowledged: bool,
    /// What came of that.
    note: Option<String>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(About::get("/admin/alerts", ("listAlerts", "List alerts")), list),
        operation(
            About::get(
                "/admin/alerts/{alert}",
                (
                    "showAlert",
                    "Show an alert, with what it rests on and what was done",
                ),
            ),
            show,
        ),
        operation(
            About::post(
                AdminScope::Operate,
                "/admin/alerts/{alert}/acknowledge",
                ("acknowledgeAlert", "Note that somebody looked at an alert"),
            ),
            acknowledge,
        ),
    ]
}

async fn list(call: Call, asked: Asked<Nothing, Filter>) -> Result<Page<ListedAlert>, Rejected> {
    let Filter {
        open,
        rule,
        after,
        limit,
    } = asked.query;
    let filter = AlertFilter {
        open,
        rule: rule.as_deref(),
    };
    let alerts = call.operations().alerts(filter, (after, limit.0)).await;
    Ok(Page::new(alerts.map_err(Call::failed)?, limit, |alert| alert.id))
}

async fn shown(call: &Call, id: Uuid) -> Result<ShownAlert, Rejected> {
    let alert = call.operations().alert(id).await?;
    let alert = alert.ok_or_else(|| call.missing("There is no alert of this id."))?;
    Ok(ShownAlert {
        alert: id,
        raised: alert.raised,
        containments: alert.containments,
        acknowledged: alert.acknowledged.is_some(),
        note: alert.acknowledged.and_then(|acknowledged| acknowledged.note),
    })
}

async fn show(call: Call, asked: Asked<Named>) -> Result<ShownAlert, Rejected> {
    shown(&call, asked.path.alert.0).await
}

async fn acknowledge(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Acknowledgement>>,
) -> Result<ShownAlert, Rejected> {
    let id = asked.path.alert.0;
    let note = asked.body.0.note.map(|note| note.0);
    let operations = call.operations();
    operations.acknowledge_alert(&call.context, id, note).await?;
    shown(&call, id).await
}
