//! `/admin/streams/{name}/dead-letters`, `redeliver` and `discard`: what a stream gave up on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::body::JsonBody;
use super::super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::super::parameters::{Nothing, Page, PageQuery, Reason};
use super::super::scope::AdminScope;
use super::Named;
use crate::domain::stream::Stream;
use crate::stream::store::{self, DeadLetter};

const NONE: &str = "None of these positions is a dead letter of the stream.";

/// Which dead letters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Letters {
    /// Their positions; all where nothing is said.
    #[serde(default)]
    positions: Option<Vec<i64>>,
}

/// How many dead letters are delivered once more.
#[derive(Serialize, JsonSchema)]
struct Requested {
    /// The stream's name.
    stream: String,
    /// How many.
    requested: i64,
}

/// Which dead letters, and why.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Unwanted {
    /// Their positions; all where nothing is said.
    #[serde(default)]
    positions: Option<Vec<i64>>,
    /// Why; it is recorded.
    reason: Reason,
}

/// How many dead letters are forgotten.
#[derive(Serialize, JsonSchema)]
struct Discarded {
    /// The stream's name.
    stream: String,
    /// How many.
    discarded: i64,
}

const DEAD_LETTERS: About = About::get(
    "/admin/streams/{name}/dead-letters",
    ("listDeadLetters", "Show the events that a stream gave up on"),
);
const REDELIVER: About = About::post(
    AdminScope::Operate,
    "/admin/streams/{name}/redeliver",
    ("redeliver", "Have dead letters delivered once more"),
);
const DISCARD: About = About::post(
    AdminScope::Operate,
    "/admin/streams/{name}/discard",
    (
        "discard",
        "Forget dead letters that nobody is to be told of any more",
    ),
);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(DEAD_LETTERS, dead_letters),
        operation(REDELIVER, redeliver),
        operation(DISCARD, discard),
    ]
}

async fn dead_letters(call: Call, asked: Asked<Named, PageQuery>) -> Result<Page<DeadLetter>, Rejected> {
    let name = &asked.path.name;
    let PageQuery { after, limit } = asked.query;
    call.operations().stream(name).await?;
    let pool = call.app.ledger.pool();
    let letters = store::dead_letters(pool, Stream::id(name), (after, limit.0)).await;
    Ok(Page::new(letters.map_err(Call::failed)?, limit, |letter| {
        letter.position
    }))
}

async fn redeliver(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Letters>>,
) -> Result<Requested, Rejected> {
    let stream = asked.path.name;
    let positions = asked.body.0.positions;
    let operations = call.operations();
    let requested = operations
        .redeliver(&call.context, &stream, positions.as_deref())
        .await?;
    if requested == 0 && positions.is_some() {
        return Err(call.missing(NONE));
    }
    Ok(Requested { stream, requested })
}

async fn discard(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Unwanted>>,
) -> Result<Discarded, Rejected> {
    let stream = asked.path.name;
    let Unwanted { positions, reason } = asked.body.0;
    let which = (stream.as_str(), positions.as_deref());
    let discarded = call.operations().discard(&call.context, which, &reason.0).await?;
    if discarded == 0 && positions.is_some() {
        return Err(call.missing(NONE));
    }
    Ok(Discarded { stream, discarded })
}
