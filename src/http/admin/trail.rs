//! `/admin/trail` and `/admin/token-uses`: what `grantlog audit search` does. That it is read is on it before anything is shown.

use std::net::IpAddr;
use std::str::FromStr as _;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Id, Limit, Nothing, Page, Time};
use crate::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::value::Digest;
use crate::ids::{GrantId, RequestId, SessionId, SubjectId};
use crate::ledger::{Actor, Caller, LedgerError, Operator};
use crate::operations::token_use::{Used, UsesOf};
use crate::trail::as_of::{AsOf, AsOfError};
use crate::trail::bounds::{BoundsError, Names, moments};
use crate::trail::key::words;
use crate::trail::missing::{Missing, missing};
use crate::trail::search::{Filters, Search};
use crate::trail::{Order, Stretch, document};

/// A moment (RFC 3339), a day (its beginning in UTC), so long ago (`2h`, `14d`), or a position.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[serde(transparent)]
pub(super) struct Moment(#[schemars(with = "String")] pub(super) AsOf);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        AsOf::from_str(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Moment {
    fn failed(call: &Call, error: AsOfError) -> Rejected {
        match error {
            AsOfError::Future | AsOfError::Beyond(_) => call.invalid(error.to_string()),
            AsOfError::Database(error) => Call::failed(error),
        }
    }

    /// The last position that it covers.
    pub(super) async fn position(self, call: &Call) -> Result<i64, Rejected> {
        let position = self.0.position(&call.app.ledger).await;
        position.map_err(|error| Self::failed(call, error))
    }

    /// The moment, and of a position when that was recorded.
    pub(super) async fn moment(self, call: &Call) -> Result<Timestamp, Rejected> {
        let moment = self.0.moment(&call.app.ledger).await;
        moment.map_err(|error| Self::failed(call, error))
    }

    /// The last position before it begins.
    async fn before(self, call: &Call) -> Result<i64, Rejected> {
        let position = self.0.before(&call.app.ledger).await;
        position.map_err(|error| Self::failed(call, error))
    }
}

/// An event of the ledger. What checks a client's secret is withheld.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrailEvent {
    /// Its place in the ledger.
    pub(super) position: i64,
    /// When it was recorded.
    recorded_at: Timestamp,
    /// The type of its aggregate.
    aggregate_type: String,
    /// Its aggregate.
    aggregate_id: Uuid,
    /// Its place in the aggregate, from 1.
    sequence: i64,
    /// Its name.
    event_type: String,
    /// The version of its payload.
    event_version: i16,
    /// What it says.
    payload: Map<String, Value>,
    /// Which request, by whom, from where.
    metadata: Map<String, Value>,
    /// The caller's address and user agent, where they were asked for and their key is not destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Caller>")]
    caller: Option<Value>,
    /// The person at the command line, or on whose behalf the client acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Operator>")]
    operator: Option<Value>,
}

impl TrailEvent {
    /// An event as the trail documents it.
    pub(super) fn read(document: Value) -> Result<Self, LedgerError> {
        serde_json::from_value(document).map_err(|error| LedgerError::Read(sqlx::Error::Decode(error.into())))
    }
}

/// Which events: all that is said must agree.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Who acted: `command_line`, `system`, `policy`, `anonymous`, `client:ID` or `user:ID`.
    actor: Option<String>,
    /// The person who acted, by the name that was recorded: at the command line, or through a client (`Grantlog-Operator`).
    operator: Option<String>,
    /// What concerns a client: its id.
    client: Option<String>,
    /// What concerns a user: the subject's id.
    user: Option<Id>,
    /// What happened in a browser login, and in the grants that were given in it.
    session: Option<Id>,
    /// What concerns a grant: its id.
    grant: Option<Id>,
    /// What came from the network (/24 or /48) of an address.
    address: Option<IpAddr>,
    /// What came from a network, by the digest that events and alerts name it by.
    network: Option<Digest>,
    /// What names a public key or certificate, or was authenticated by it: its `kid` or thumbprint.
    key: Option<String>,
    /// Events of these names, with commas between them.
    #[serde(default)]
    event: Vec<String>,
    /// What a request caused.
    request: Option<Id>,
    /// Words that the reason, error code or note has, all of them.
    reason: Option<String>,
    /// From when on: a moment (RFC 3339), a day, a time ago (`14d`), or a position.
    from: Option<Moment>,
    /// Until when, that moment or position included.
    to: Option<Moment>,
    /// Go on after this position: `next` of the page before.
    after: Option<i64>,
    /// The most items.
    #[serde(default)]
    limit: Limit,
    /// Which come first.
    #[serde(default)]
    order: First,
    /// Whether to decrypt the callers' addresses and user agents.
    #[serde(default)]
    reveal: bool,
}

/// Which events come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum First {
    #[default]
    Newest,
    Oldest,
}

/// Whose uses of tokens, and when.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UsesWanted {
    /// Of a client's tokens: its id.
    client: Option<String>,
    /// Or of a user's tokens: the subject's id.
    user: Option<Id>,
    /// Or of a grant's tokens: its id.
    grant: Option<Id>,
    /// From when on; otherwise from the beginning.
    since: Option<Time>,
    /// Until when; otherwise until now.
    until: Option<Time>,
}

/// What a search found.
#[derive(Serialize, JsonSchema)]
struct FoundEvents {
    #[serde(flatten)]
    page: Page<TrailEvent>,
    /// What of the stretch could not be looked at: it has left the ledger.
    missing: Vec<Missing>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            About::get(
                "/admin/trail",
                (
                    "searchTrail",
                    "Search the ledger's events by whom and what they concern",
                ),
            ),
            search,
        ),
        operation(
            About::get(
                "/admin/token-uses",
                (
                    "listTokenUses",
                    "How often tokens were used at this server's own endpoints",
                ),
            ),
            uses,
        ),
    ]
}

/// An actor as metadata spells it. A client may go by its name.
async fn actor_named(call: &Call, actor: String) -> Result<String, Rejected> {
    const NAMELESS: [Actor; 4] = [Actor::CommandLine, Actor::System, Actor::Policy, Actor::Anonymous];
    match actor.split_once(':') {
        Some(("client", client)) => Ok(Actor::Client(call.named_client(client).await?).to_string()),
        Some(("user", user)) => Ok(Actor::User(call.named_user(user).await?).to_string()),
        None if NAMELESS.iter().any(|known| known.to_string() == actor) => Ok(actor),
        Some(_) | None => {
            Err(call.invalid("actor: it is command_line, system, policy, anonymous, client:ID or user:ID"))
        }
    }
}

impl Wanted {
    fn check(&self, call: &Call) -> Result<(), Rejected> {
        let schemas = Event::schemas();
        let known = |name: &String| schemas.iter().any(|schema| schema.event_type == name);
        if !self.event.iter().all(known) {
            return Err(call.invalid("event: it is not the name of an event"));
        }
        if self
            .reason
            .as_ref()
            .is_some_and(|reason| words(reason).is_empty())
        {
            return Err(call.invalid("reason: it has no word"));
        }
        Ok(())
    }

    /// The stretch of the ledger, as it ended when the call began, and the order.
    async fn stretch(&self, call: &Call) -> Result<(Stretch, Order), Rejected> {
        let mut stretch = Stretch {
            after: 0,
            upto: call.head,
        };
        if let Some(from) = self.from {
            stretch.after = from.before(call).await?;
        }
        if let Some(to) = self.to {
            stretch.upto = to.position(call).await?;
        }
        if stretch.after > stretch.upto {
            return Err(call.invalid("from: it comes after to"));
        }
        Ok(match (self.after, self.order) {
            (None, First::Newest) => (stretch, Order::NewestFirst),
            (None, First::Oldest) => (stretch, Order::OldestFirst),
            (Some(after), First::Oldest) => {
                stretch.after = stretch.after.max(after.min(stretch.upto));
                (stretch, Order::OldestFirst)
            }
            (Some(after), First::Newest) => {
                stretch.upto = stretch.upto.min(after.max(1) - 1);
                (stretch, Order::NewestFirst)
            }
        })
    }

    async fn filters(self, call: &Call) -> Result<Filters, Rejected> {
        Ok(Filters {
            actor: match self.actor {
                Some(actor) => Some(actor_named(call, actor).await?),
                None => None,
            },
            operator: self.operator,
            client: match self.client {
                Some(client) => Some(call.named_client(&client).await?),
                None => None,
            },
            subject: self.user.map(|user| SubjectId(user.0)),
            session: self.session.map(|session| SessionId(session.0)),
            grant: self.grant.map(|grant| GrantId(grant.0)),
            address: self.address,
            network: self.network,
            public_key: self.key,
            events: self.event,
            request: self.request.map(|request| RequestId(request.0)),
            reason: self.reason,
        })
    }
}

async fn search(call: Call, asked: Asked<Nothing, Wanted>) -> Result<FoundEvents, Rejected> {
    let wanted = asked.query;
    wanted.check(&call)?;
    let (stretch, order) = wanted.stretch(&call).await?;
    let (limit, revealed) = (wanted.limit, wanted.reveal);
    let filters = wanted.filters(&call).await?;
    call.record(filters.reading(stretch, revealed)).await?;
    let ledger = &call.app.ledger;
    let mut search = Search::begin(ledger, &filters, (stretch, order)).await?;
    let most = usize::try_from(limit.0).unwrap_or(usize::MAX);
    let mut items = Vec::new();
    for event in search.next(call.operations(), most).await? {
        items.push(TrailEvent::read(
            document::with_people(ledger, &event, revealed).await?,
        )?);
    }
    Ok(FoundEvents {
        page: Page::new(items, limit, |event| event.position),
        missing: missing(ledger.pool(), stretch).await.map_err(Call::failed)?,
    })
}

/// The moments between which something is looked at.
pub(super) fn between(
    call: &Call,
    (since, until): (Option<Time>, Option<Time>),
) -> Result<(Option<Timestamp>, Option<Timestamp>), Rejected> {
    let asked = (since.map(|since| since.0), until.map(|until| until.0));
    let now = call.app.ledger.clock().now();
    moments(Names::MEMBERS, asked, now).map_err(|error| out_of_bounds(call, error))
}

/// There is nothing between those bounds.
pub(super) fn out_of_bounds(call: &Call, error: BoundsError) -> Rejected {
    match error {
        BoundsError::Place(error) => Moment::failed(call, error),
        BoundsError::Database(error) => Call::failed(error),
        error @ (BoundsError::Future { .. }
        | BoundsError::Empty { .. }
        | BoundsError::NoPosition(_)
        | BoundsError::Gone(_)) => call.invalid(error.to_string()),
    }
}

async fn uses(call: Call, asked: Asked<Nothing, UsesWanted>) -> Result<Used, Rejected> {
    let UsesWanted {
        client,
        user,
        grant,
        since,
        until,
    } = asked.query;
    let (since, until) = between(&call, (since, until))?;
    let mut of = UsesOf::default();
    match (client, user, grant) {
        (Some(client), None, None) => of.clients.push(call.named_client(&client).await?.0),
        (None, Some(user), None) => of.subjects.push(call.looks_at_user(SubjectId(user.0)).0),
        (None, None, Some(grant)) => {
            call.looked.at(|reading| reading.grant = Some(GrantId(grant.0)));
            of.grants.push(grant.0);
        }
        _ => return Err(call.invalid("Give one of client, user and grant.")),
    }
    let until = until.unwrap_or_else(|| call.app.ledger.clock().now());
    let since = since.unwrap_or(chrono::DateTime::UNIX_EPOCH);
    Ok(call.operations().uses(&of, (since, until)).await?)
}
