//! `POST /admin/contain`: what `grantlog contain` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::guard::{guard, may_change};
use super::parameters::{Nothing, Reason, Time};
use super::scope::AdminScope;
use super::trail::between;
use crate::ids::{ClientKey, GrantId, SessionId, SubjectId};
use crate::policy::contain::{By, Containment};
use crate::trail::missing::Missing;

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
    /// Whether to take away what new grants would come from, too: by client, the client, which is suspended; by user, all logins
    /// of before; by key, the clients that authenticated with it; by address or window, the logins that were begun or used
    /// there, with all that was given in them.
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
    /// By client: the client, where it goes too and was active.
    client: Option<ClientKey>,
    /// All clients that go too and were active.
    clients: Vec<ClientKey>,
    /// Clients that would go too, were found only while it was done, and may be suspended with `admin` alone: they were not.
    spared: Vec<ClientKey>,
    /// The user, whose logins go too.
    subject: Option<SubjectId>,
    /// Logins that go too and were not over.
    sessions: Vec<SessionId>,
    /// What could not be looked at: it has left the ledger.
    missing: Vec<Missing>,
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
    // Recorded where nothing is found, too.
    call.looked
        .at(|reading| *reading = containment.by.reading(reading.clone()));
    call.looked.because(Some(containment.reason.clone()));
    let operations = call.operations();
    let found = containment.find(operations).await?;
    for client in &found.clients {
        guard(&call, *client).await?;
    }
    let done = if wanted.dry_run {
        found
    } else {
        let may_stop = |client| may_change(&call, client);
        containment
            .apply(operations, (&call.context, found), may_stop)
            .await?
    };
    Ok(Contained {
        dry_run: wanted.dry_run,
        client: done.client(&containment.by),
        grants: done.grants,
        clients: done.clients,
        spared: done.spared,
        subject: done.subject,
        sessions: done.sessions,
        missing: done.missing,
        records: done.records,
    })
}
