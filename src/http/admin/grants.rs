//! `/admin/grants`: what `grantlog grant` does. That a grant is read is on the trail before anything is shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{FormBody, JsonBody};
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Id, Limit, Nothing, Page};
use super::scope::AdminScope;
use super::trail::{Moment, TrailEvent};
use crate::clock::Timestamp;
use crate::domain::refusal::RefusalReason;
use crate::http::error::AdminError;
use crate::ids::GrantId;
use crate::ledger::{LedgerError, StoredEvent};
use crate::operations::grant_list::{GrantFilter, ListedGrant};
use crate::standing::GrantState;
use crate::trail::diff::{self, Change};
use crate::trail::document;
use crate::trail::history::History;
use crate::trail::pasted::{Pasted, PastedError};

const NOT_FOUND: &str = "There is no grant with this id, or the credential is none of this server.";

/// Which grant.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// The grant's id.
    id: Id,
}

/// Which grants.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Those of a client: its id.
    client: Option<String>,
    /// Those of a user: the subject's id.
    user: Option<Id>,
    /// Those that stand so now.
    state: Option<GrantState>,
    /// Go on after this position: `next` of the page before.
    after: Option<i64>,
    /// The most items.
    #[serde(default)]
    limit: Limit,
}

/// How a grant is shown.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shown {
    /// As it was then: a moment (RFC 3339), a day, a time ago (`14d`), or a position.
    at: Option<Moment>,
    /// Whether to decrypt the callers' addresses and user agents.
    #[serde(default)]
    reveal: bool,
}

/// A credential of a grant. It is digested and forgotten.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lookup {
    /// An authorization code, device code, refresh token or access token, or the grant's id.
    credential: String,
    /// Whether to decrypt the callers' addresses and user agents.
    #[serde(default)]
    reveal: bool,
}

/// Between which moments.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Between {
    /// The earlier moment (RFC 3339), day or time ago (`14d`), or a position.
    from: Moment,
    /// The later one; now where nothing is said.
    to: Option<Moment>,
}

/// Everything about one grant.
#[derive(Serialize, JsonSchema)]
struct ShownGrant {
    #[serde(flatten)]
    history: History,
    /// Its events.
    events: Vec<TrailEvent>,
}

/// What changed in a grant between two moments.
#[derive(Serialize, JsonSchema)]
struct Difference {
    /// The grant.
    grant: GrantId,
    /// What differs in its state.
    changed: Vec<Change>,
    /// The events that made it.
    events: Vec<TrailEvent>,
}

/// A grant that was ended.
#[derive(Serialize, JsonSchema)]
struct Ended {
    /// The grant.
    grant: GrantId,
    /// How it stands now.
    state: GrantState,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            About::get("/admin/grants", ("listGrants", "List grants, the newest first")),
            list,
        ),
        operation(
            About::get(
                "/admin/grants/{id}",
                ("showGrant", "How a grant came about, and what came of it"),
            ),
            show,
        ),
        operation(
            About::get(
                "/admin/grants/{id}/diff",
                ("diffGrant", "What changed in a grant between two moments"),
            ),
            difference,
        ),
        operation(
            About::post(
                AdminScope::Read,
                "/admin/grants/lookup",
                (
                    "lookupGrant",
                    "A grant, by a credential of it, which is digested and forgotten",
                ),
            ),
            lookup,
        ),
        operation(
            About::post(
                AdminScope::Operate,
                "/admin/grants/{id}/revoke",
                ("revokeGrant", "End a grant and everything that came of it"),
            ),
            revoke,
        ),
    ]
}

async fn list(call: Call, asked: Asked<Nothing, Filter>) -> Result<Page<ListedGrant>, Rejected> {
    let Filter {
        client,
        user,
        state,
        after,
        limit,
    } = asked.query;
    let filter = GrantFilter {
        client: match client {
            Some(client) => Some(call.named_client(&client).await?),
            None => None,
        },
        subject: match user {
            Some(user) => Some(call.named_user(&user.0.to_string()).await?),
            None => None,
        },
        state,
    };
    let upto = after.map_or(call.head, |after| after.saturating_sub(1));
    let (items, next) = call.operations().list_grants(&filter, upto, limit.0).await?;
    Ok(Page { items, next })
}

async fn show(call: Call, asked: Asked<Named, Shown>) -> Result<ShownGrant, Rejected> {
    let Shown { at, reveal } = asked.query;
    let then = match at {
        Some(at) => (at.position(&call).await?, at.moment(&call).await?),
        None => now(&call),
    };
    history(&call, Pasted::named(GrantId(asked.path.id.0)), then, reveal).await
}

async fn lookup(
    call: Call,
    asked: Asked<Nothing, Nothing, FormBody<Lookup>>,
) -> Result<ShownGrant, Rejected> {
    let Lookup { credential, reveal } = asked.body.0;
    let pasted = Pasted::find(call.operations(), &credential).await;
    let pasted = pasted.map_err(|error| not_found(&call, error))?;
    history(&call, pasted, now(&call), reveal).await
}

fn missing(call: &Call) -> Rejected {
    call.refuse(AdminError::missing(NOT_FOUND), RefusalReason::NoSuchGrant)
}

fn not_found(call: &Call, error: PastedError) -> Rejected {
    match error {
        PastedError::Unknown | PastedError::NoPassportKey | PastedError::OtherPassportKey => missing(call),
        PastedError::Ledger(error) => error.into(),
        PastedError::Password(_) => LedgerError::Unavailable.into(),
    }
}

/// The grant's events up to a position, once it is recorded that they are read.
async fn read(
    call: &Call,
    grant: GrantId,
    (upto, revealed): (i64, bool),
) -> Result<Vec<StoredEvent>, Rejected> {
    call.operations()
        .record_reading_of_grant(&call.context, grant, (upto.min(call.head), revealed))
        .await?;
    let mut events = call.operations().grant_events(grant).await?;
    events.retain(|event| event.position <= upto);
    Ok(events)
}

/// All of the ledger, at this moment.
fn now(call: &Call) -> (i64, Timestamp) {
    (i64::MAX, call.app.ledger.clock().now())
}

async fn history(
    call: &Call,
    pasted: Pasted,
    then: (i64, Timestamp),
    revealed: bool,
) -> Result<ShownGrant, Rejected> {
    let events = read(call, pasted.grant, (then.0, revealed)).await?;
    let history = History::read(call.operations(), (&pasted, events), then).await?;
    let history = history.ok_or_else(|| missing(call))?;
    let mut events = Vec::with_capacity(history.events.len());
    for event in &history.events {
        let event = document::with_people(&call.app.ledger, event, revealed).await?;
        events.push(TrailEvent::read(event)?);
    }
    Ok(ShownGrant { history, events })
}

async fn difference(call: Call, asked: Asked<Named, Between>) -> Result<Difference, Rejected> {
    let grant = GrantId(asked.path.id.0);
    let Between { from, to } = asked.query;
    let from = from.position(&call).await?;
    let to = match to {
        Some(to) => to.position(&call).await?,
        None => i64::MAX,
    };
    if from > to {
        return Err(call.invalid("from: it comes after to."));
    }
    let events = read(&call, grant, (to, false)).await?;
    if events.is_empty() {
        return Err(missing(&call));
    }
    let since = events.iter().filter(|event| event.position > from);
    let shown = since.map(|event| TrailEvent::read(document::of(event)?));
    Ok(Difference {
        grant,
        changed: diff::changes(&events, from)?,
        events: shown.collect::<Result<_, LedgerError>>()?,
    })
}

async fn revoke(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<Ended, Rejected> {
    let grant = GrantId(asked.path.id.0);
    call.looked.at(|reading| reading.grant = Some(grant));
    let context = call.because(Some(asked.body.0.reason.0));
    call.operations().revoke_grant(&context, grant).await?;
    let state = GrantState::Revoked;
    Ok(Ended { grant, state })
}
