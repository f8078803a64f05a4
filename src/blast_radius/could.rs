//! What it could do: tokens that were good within the window, what their clients may do, and who could exchange them.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::concern::{Concern, client_at, found_noting};
use super::sessions::{ReachedSession, sessions};
use super::{BlastRadiusError, MOST, Window};
use crate::clock::Timestamp;
use crate::domain::client::{ExchangeMode, Standing};
use crate::domain::scope::Scope;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{LANE, recorded_at};
use crate::operations::Operations;
use crate::projection::prune;
use crate::trail::{Key, Order, Query, Stretch, positions};

/// What it could do.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Could {
    /// What its clients were allowed at the end of the window.
    pub clients: Vec<ClientPower>,
    /// The scopes of its tokens.
    pub scopes: BTreeSet<String>,
    /// The audiences of its tokens: the resources that took them.
    pub audiences: BTreeSet<String>,
    /// Codes that could be redeemed at some time of the window.
    pub codes: Vec<ReachedToken>,
    /// Access tokens that were good at some time of the window.
    pub access_tokens: Vec<ReachedToken>,
    /// Refresh tokens that could be used at some time of the window.
    pub refresh_tokens: Vec<ReachedToken>,
    /// Browser logins that were good at some time of the window: of a user the user's own, of an address those that were begun,
    /// renewed or used for a grant from there. Each could give any number of grants.
    pub sessions: Vec<ReachedSession>,
    /// Who could exchange its tokens at the end of the window, and into what (RFC 8693).
    pub exchanges: Vec<ExchangePower>,
}

/// What a client was allowed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ClientPower {
    /// The client.
    pub client: ClientKey,
    /// Its name on the wire.
    pub client_id: String,
    /// Whether it might act.
    pub standing: Standing,
    /// The ways in which it gets tokens.
    pub grant_types: Vec<&'static str>,
    /// The scopes that it might ask for; of restricted ones those that were approved.
    pub scope: Vec<String>,
    /// The audiences of its tokens; empty means the issuer alone.
    pub audience: Vec<String>,
    /// The audiences whose tokens it could ask about (RFC 7662).
    pub introspects: Vec<String>,
    /// Clients whose tokens it could exchange.
    pub exchanges_tokens_of: Vec<ClientKey>,
}

/// A code or token that was good within the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReachedToken {
    /// The position of the event that issued it.
    pub position: i64,
    /// Its grant.
    pub grant: GrantId,
    /// Its number in the grant, of a refresh token.
    pub generation: Option<i32>,
    /// The client that it was issued to.
    pub client: Option<ClientKey>,
    /// The user that it stands for.
    pub subject: Option<SubjectId>,
    /// Its scope.
    pub scope: String,
    /// Its audience.
    pub audience: String,
    /// When it was issued.
    pub good_from: Timestamp,
    /// When it expired, was used up or ended, whichever came first.
    pub good_until: Timestamp,
    /// Why it ended before its time.
    pub ended_by: Option<String>,
    /// Whether it was still good when the window ended.
    pub good_at_end: bool,
}

/// A client that could exchange tokens of another for its own.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ExchangePower {
    /// Who could.
    pub client: ClientKey,
    /// Whose tokens.
    pub tokens_of: ClientKey,
    /// What the new token says of who acts.
    pub mode: ExchangeMode,
    /// Into which scope at the most.
    pub scope: String,
    /// Into which audiences at the most.
    pub audience: Vec<String>,
}

/// The tables, and what is special about each: what else ends a row, its number, its scope and audience as text.
struct Table {
    name: &'static str,
    used_up: &'static str,
    generation: &'static str,
    sequence: &'static str,
    scope: &'static str,
    audience: &'static str,
}

const ACCESS: Table = Table {
    name: "client_access_tokens",
    used_up: "NULL::timestamptz",
    generation: "NULL::int",
    sequence: "t.sequence",
    scope: "t.scope",
    audience: "t.audience",
};
const REFRESH: Table = Table {
    name: "client_refresh_tokens",
    used_up: "t.used_at",
    generation: "t.generation",
    sequence: "t.sequence",
    ..ACCESS
};
const CODES: Table = Table {
    name: "client_authorization_codes",
    used_up: "t.used_at",
    // A code is the first that a grant issues.
    sequence: "1",
    scope: "array_to_string(t.scope, ' ')",
    audience: "''",
    ..ACCESS
};

/// Finds what it could do in the window.
pub(super) async fn could(
    operations: &Operations,
    concern: &Concern,
    window: &Window,
    truncated: &mut BTreeSet<&'static str>,
) -> Result<Could, BlastRadiusError> {
    let mut could = Could::default();
    for (table, into) in [
        (&ACCESS, &mut could.access_tokens),
        (&REFRESH, &mut could.refresh_tokens),
        (&CODES, &mut could.codes),
    ] {
        *into = tokens(operations, (concern, window), table).await?;
        if into.len() > MOST {
            into.truncate(MOST);
            truncated.insert(table.name);
        }
    }
    let all = could.access_tokens.iter().chain(&could.refresh_tokens);
    let mut holders = concern.acts_as.clone();
    for token in all.chain(&could.codes) {
        could.scopes.extend(words(&token.scope));
        could.audiences.extend(words(&token.audience));
        holders.extend(token.client);
    }
    let upto = window.stretch.upto;
    for client in &concern.acts_as {
        could.clients.extend(power(operations, *client, upto).await?);
    }
    could.sessions = sessions(operations, concern, window).await?;
    could.exchanges = exchanges(operations, &holders, (upto, truncated)).await?;
    Ok(could)
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_ascii_whitespace().map(str::to_owned)
}

type Row = (
    i64,
    Uuid,
    i32,
    Option<i32>,
    Option<Uuid>,
    Option<Uuid>,
    String,
    String,
    Timestamp,
    Timestamp,
    Option<String>,
);

/// Its tokens in a table that were good at some time of the window.
async fn tokens(
    operations: &Operations,
    (concern, window): (&Concern, &Window),
    table: &Table,
) -> Result<Vec<ReachedToken>, BlastRadiusError> {
    let Table {
        name,
        used_up,
        generation,
        sequence,
        scope,
        audience,
    } = table;
    let statement = format!(
        "SELECT t.id, t.family, {sequence}, {generation}, c.client_key, u.subject, {scope}, {audience}, t.issued_at, \
                least(t.expired_at, t.revoked_at, {used_up}), t.revoked_reason \
         FROM public.{name} AS t LEFT JOIN public.clients AS c ON c.id = t.client_id \
              LEFT JOIN public.users AS u ON u.id = t.user_id \
         WHERE (t.client_id = ANY (ARRAY(SELECT id FROM public.clients WHERE client_key = ANY ($1))) \
                OR t.user_id = ANY (ARRAY(SELECT id FROM public.users WHERE subject = ANY ($2))) \
                OR t.family = ANY ($3)) \
           AND t.issued_at < $5 AND least(t.expired_at, t.revoked_at, {used_up}) > $4 \
         ORDER BY t.id LIMIT $6"
    );
    let grants = concern.grants.iter().chain(&concern.exchanged);
    let clients: Vec<Uuid> = concern.clients.iter().map(|client| client.0).collect();
    let subjects: Vec<Uuid> = concern.subjects.iter().map(|subject| subject.0).collect();
    let rows: Vec<Row> = sqlx::query_as(&statement)
        .bind(clients)
        .bind(subjects)
        .bind(grants.map(|grant| grant.0).collect::<Vec<Uuid>>())
        .bind(window.begins())
        .bind(window.until)
        .bind(i64::try_from(MOST + 1).unwrap_or(i64::MAX))
        .fetch_all(operations.ledger.pool())
        .await?;
    let is_own = |row: &Row| {
        let one = concern.token.filter(|one| one.grant.0 == row.1);
        one.is_none_or(|one| one.led_to(row.2) && (!one.access || table.name == ACCESS.name))
    };
    Ok(rows
        .into_iter()
        .filter(is_own)
        .map(|row| reached(row, window.until))
        .collect())
}

fn reached(row: Row, until: Timestamp) -> ReachedToken {
    let (position, grant, _, generation, client, subject, scope, audience, good_from, good_until, ended_by) =
        row;
    ReachedToken {
        position,
        grant: GrantId(grant),
        generation,
        client: client.map(ClientKey),
        subject: subject.map(SubjectId),
        scope,
        audience,
        good_from,
        good_until,
        ended_by,
        good_at_end: good_until > until,
    }
}

async fn power(
    operations: &Operations,
    client: ClientKey,
    upto: i64,
) -> Result<Option<ClientPower>, BlastRadiusError> {
    let Some(known) = client_at(operations, client, upto).await? else {
        return Ok(None);
    };
    let mut scope = Vec::new();
    for name in known.metadata.scope.iter() {
        let definition = operations.load::<Scope>(Scope::id(name)).await?;
        let allowed = definition
            .grantable()
            .is_some_and(|definition| !definition.restricted || known.is_approved(name));
        scope.extend(allowed.then(|| name.to_owned()));
    }
    let mut exchanges_tokens_of: Vec<ClientKey> =
        known.exchanges.iter().map(|rule| rule.subject_client).collect();
    exchanges_tokens_of.dedup();
    Ok(Some(ClientPower {
        client,
        standing: known.standing,
        grant_types: known.metadata.grant_types.iter().map(|one| one.name()).collect(),
        scope,
        audience: known.metadata.audience.clone(),
        introspects: known.metadata.introspects.clone(),
        exchanges_tokens_of,
        client_id: known.client_id,
    }))
}

/// The clients that were allowed to exchange tokens of these, at a position.
async fn exchanges(
    operations: &Operations,
    holders: &BTreeSet<ClientKey>,
    (upto, truncated): (i64, &mut BTreeSet<&'static str>),
) -> Result<Vec<ExchangePower>, BlastRadiusError> {
    let query = Query::of(&Key::EventType("ExchangeAllowed".to_owned()));
    let stretch = Stretch { after: 0, upto };
    let noted = (truncated, "exchange_rules");
    let events = found_noting(operations, (&query, stretch), noted).await?;
    let allowed: BTreeSet<ClientKey> = events.iter().map(|event| ClientKey(event.aggregate_id)).collect();
    let mut powers = Vec::new();
    for client in allowed {
        let Some(known) = client_at(operations, client, upto).await? else {
            continue;
        };
        let rules = known
            .exchanges
            .iter()
            .filter(|rule| holders.contains(&rule.subject_client));
        powers.extend(rules.map(|rule| ExchangePower {
            client,
            tokens_of: rule.subject_client,
            mode: rule.mode,
            scope: rule.scope.to_string(),
            audience: rule.audience.clone(),
        }));
    }
    Ok(powers)
}

/// The events by which codes and tokens come about.
const ISSUING: [&str; 6] = [
    "CodeIssued",
    "TokenIssued",
    "GrantImported",
    "RefreshRotated",
    "RefreshRetried",
    "AccessTokenRefreshed",
];

/// The tables keep codes and tokens for so long after they expired: what expired before this moment, and was good within
/// the window, is not among what it could use. None where nothing of its own is as old.
pub(super) async fn forgotten_before(
    operations: &Operations,
    concern: &Concern,
    window: &Window,
) -> Result<Option<Timestamp>, BlastRadiusError> {
    let pool = operations.ledger.pool();
    let last: Option<Timestamp> = sqlx::query_scalar(
        "SELECT recorded_at FROM grantlog.ledger WHERE lane = $1 ORDER BY position DESC LIMIT 1",
    )
    .bind(LANE)
    .fetch_optional(pool)
    .await?;
    let Some(bound) = last
        .map(|at| prune::bound(at, prune::KEPT_DAYS))
        .filter(|bound| window.begins() < *bound)
    else {
        return Ok(None);
    };
    let grants = concern.grants.iter().copied().map(Key::Grant);
    let query = Query::new()
        .and_any(ISSUING.map(|name| Key::EventType(name.to_owned())))
        .and_any(concern.keys.iter().cloned().chain(grants));
    let mut connection = pool.acquire().await?;
    let upto = Stretch {
        after: 0,
        upto: window.stretch.upto,
    };
    let oldest = positions(&mut connection, &query, upto, (Order::OldestFirst, 1)).await?;
    drop(connection);
    let issued_at = match oldest.positions.first() {
        Some(position) => recorded_at(pool, *position).await?,
        None => None,
    };
    Ok(Some(bound).filter(|bound| issued_at.is_some_and(|issued_at| issued_at < *bound)))
}
