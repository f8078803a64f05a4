//! `POST /admin/contain`: what `grantlog contain` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::guard::guard;
use super::parameters::{Nothing, Reason, Time};
use super::policies::failed;
use super::scope::AdminScope;
use super::trail::between;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::policy::contain::{By, Containment};

/// What to take away.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// By what.
    by: ByName,
    /// Which client (its id), user (login name or id), key (thumbprint or `kid`) or address; none for a window.
    #[serde(default)]
    value: Option<String>,
    /// What was issued or used from then on. A window needs it.
    #[serde(default)]
    since: Option<Time>,
    /// Until when.
    #[serde(default)]
    until: Option<Time>,
    /// By client: whether to suspend the client, too; by user: whether no login of before is good any more, too.
    #[serde(default)]
    whole: bool,
    /// Why; it is recorded.
    reason: Reason,
    /// Whether only to count.
    dry_run: bool,
}

/// By what grants are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ByName {
    Client,
    User,
    Key,
    Address,
    Window,
}

/// What was taken away, or would be.
#[derive(Serialize, JsonSchema)]
struct Contained {
    /// Whether nothing was done.
    dry_run: bool,
    /// Grants that were not over.
    grants: Vec<GrantId>,
    /// The client, where it goes too and was active.
    client: Option<ClientKey>,
    /// The user, whose logins go too.
    subject: Option<SubjectId>,
    /// The records of it: one for each append.
    records: Vec<Uuid>,
}

pub(super) fn operations() -> Vec<Operation> {
    let about = About::post(
        AdminScope::Operate,
        "/admin/contain",
        (
            "contain",
            "Revoke grants by client, user, key, address or window of time",
        ),
    );
    vec![operation(about, contain)]
}

async fn chosen(call: &Call, wanted: &Wanted) -> Result<By, Rejected> {
    if wanted.whole && !matches!(wanted.by, ByName::Client | ByName::User) {
        return Err(call.invalid("whole: it goes with client or user"));
    }
    let value = || {
        wanted
            .value
            .as_deref()
            .ok_or_else(|| call.invalid("value: say which one"))
    };
    Ok(match wanted.by {
        ByName::Client => By::Client(call.named_client(value()?).await?),
        ByName::User => By::User(call.named_user(value()?).await?),
        ByName::Key => By::Key(value()?.to_owned()),
        ByName::Address => {
            let address = value()?.parse();
            By::Address(address.map_err(|_| call.invalid("value: it is not an IP address"))?)
        }
        ByName::Window if wanted.value.is_some() => {
            return Err(call.invalid("value: a window has since and until, and no value"));
        }
        ByName::Window if wanted.since.is_none() => return Err(call.invalid("since: a window needs it")),
        ByName::Window => By::Window,
    })
}

async fn contain(
    call: Call,
    asked: Asked<Nothing, Nothing, JsonBody<Wanted>>,
) -> Result<Contained, Rejected> {
    let wanted = asked.body.0;
    let (since, until) = between(&call, (wanted.since, wanted.until))?;
    let containment = Containment {
        by: chosen(&call, &wanted).await?,
        since,
        until,
        whole: wanted.whole,
        reason: wanted.reason.0,
    };
    if let (By::Client(client), true) = (&containment.by, containment.whole) {
        guard(&call, *client).await?;
    }
    // Recorded where nothing is found, too.
    call.looked
        .at(|reading| *reading = containment.by.reading(reading.clone()));
    call.looked.because(Some(containment.reason.clone()));
    let operations = call.operations();
    let found = containment.find(operations).await;
    let found = found.map_err(|error| failed(&call, error))?;
    let done = if wanted.dry_run {
        found
    } else {
        containment.apply(operations, (&call.context, found)).await?
    };
    Ok(Contained {
        dry_run: wanted.dry_run,
        grants: done.grants,
        client: done.client,
        subject: done.subject,
        records: done.records,
    })
}
