//! How often a grant's tokens were used at this server's own endpoints.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Operations;
use crate::clock::Timestamp;
use crate::ids::{ClientKey, GrantId};
use crate::ledger::migrate::is_undefined_table;
use crate::ledger::{LedgerError, retrying};

/// Uses of a grant's tokens at one endpoint, from one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GrantUses {
    /// The endpoint.
    pub endpoint: String,
    /// The network, as a digest keyed per month.
    pub network: Option<String>,
    /// The client that asked about the tokens (RFC 7662); none where they were presented.
    pub asked_by: Option<ClientKey>,
    /// How many.
    pub count: i64,
    /// The first one.
    pub first_at: Timestamp,
    /// The last one.
    pub last_at: Timestamp,
}

/// Whose uses.
#[derive(Clone, Debug, Default)]
pub struct UsesOf {
    /// Of tokens of these clients,
    pub clients: Vec<Uuid>,
    /// or of these users,
    pub subjects: Vec<Uuid>,
    /// or of these grants,
    pub grants: Vec<Uuid>,
    /// or that these clients asked about (RFC 7662), whosever the tokens are.
    pub asked_by: Vec<Uuid>,
    /// Where networks are named, whatever was presented or asked about from there instead.
    pub networks: Vec<String>,
}

impl UsesOf {
    /// What a count must be of, by the parameters `$1` to `$7`. Each has its index.
    fn condition(&self) -> &'static str {
        if self.networks.is_empty() {
            "(client_key = ANY ($1) OR subject = ANY ($2) OR grant_id = ANY ($3) OR asked_by = ANY ($4)) \
             AND last_at >= $6 AND first_at < $7"
        } else {
            "network = ANY ($5) AND last_at >= $6 AND first_at < $7"
        }
    }
}

/// Uses of tokens between two moments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Used {
    /// Those of one client's tokens at one endpoint and from one network together, the last one first.
    pub uses: Vec<Uses>,
    /// All those of one client's tokens together.
    pub uses_by_client: Vec<Uses>,
    /// All those from one network together.
    pub uses_by_network: Vec<Uses>,
}

/// How often tokens were used that have something in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Uses {
    /// The client that the tokens were issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientKey>,
    /// The network, as a digest keyed per month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The client that asked about the tokens (RFC 7662).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<ClientKey>,
    /// How many.
    pub count: i64,
    /// Of tokens of how many grants.
    pub grants: i64,
    /// The first one.
    pub first_at: Timestamp,
    /// The last one.
    pub last_at: Timestamp,
}

type Row = (String, Option<String>, Option<Uuid>, i64, Timestamp, Timestamp);

type GroupedRow = (
    i32,
    Option<Uuid>,
    Option<String>,
    Option<String>,
    Option<Uuid>,
    i64,
    i64,
    Timestamp,
    Timestamp,
);

fn grant_uses(row: Row) -> GrantUses {
    let (endpoint, network, asked_by, count, first_at, last_at) = row;
    GrantUses {
        endpoint,
        network,
        asked_by: asked_by.map(ClientKey),
        count,
        first_at,
        last_at,
    }
}

impl Operations {
    /// The uses of a grant's tokens that were written down up to a position, the last one first.
    pub async fn uses_of_grant(&self, grant: GrantId, upto: i64) -> Result<Vec<GrantUses>, LedgerError> {
        let rows: Vec<Row> = retrying(|| async {
            let rows = sqlx::query_as(
                "SELECT endpoint, network, asked_by, sum(uses)::bigint, min(first_at), max(last_at) \
                 FROM public.token_uses WHERE grant_id = $1 AND position <= $2 \
                 GROUP BY 1, 2, 3 ORDER BY 6 DESC, 1, 2, 3",
            )
            .bind(grant.0)
            .bind(upto)
            .fetch_all(self.ledger.pool())
            .await;
            // Where no server has run yet there is no table, and nothing was counted.
            rows.or_else(|error| {
                if is_undefined_table(&error) {
                    Ok(Vec::new())
                } else {
                    Err(error)
                }
            })
        })
        .await?;
        Ok(rows.into_iter().map(grant_uses).collect())
    }

    /// The uses of tokens between two moments. What was written down partly in between counts whole.
    pub async fn uses(
        &self,
        of: &UsesOf,
        (since, until): (Timestamp, Timestamp),
    ) -> Result<Used, LedgerError> {
        // 0: all columns are grouped by; 7: only by the client; 11: only by the network.
        let statement = format!(
            "SELECT GROUPING (client_key, network, endpoint, asked_by), client_key, network, endpoint, asked_by, \
                    sum(uses)::bigint, count(DISTINCT grant_id), min(first_at), max(last_at) \
             FROM public.token_uses WHERE {} \
             GROUP BY GROUPING SETS ((client_key, network, endpoint, asked_by), (client_key), (network)) \
             ORDER BY 9 DESC, 2, 3, 4, 5",
            of.condition()
        );
        let rows: Vec<GroupedRow> = sqlx::query_as(&statement)
            .bind(&of.clients)
            .bind(&of.subjects)
            .bind(&of.grants)
            .bind(&of.asked_by)
            .bind(&of.networks)
            .bind(since)
            .bind(until)
            .fetch_all(self.ledger.pool())
            .await?;
        let mut used = Used::default();
        for (grouping, client, network, endpoint, asked_by, count, grants, first_at, last_at) in rows {
            let into = match grouping {
                0 => &mut used.uses,
                7 => &mut used.uses_by_client,
                _ => &mut used.uses_by_network,
            };
            into.push(Uses {
                client: client.map(ClientKey),
                network,
                endpoint,
                asked_by: asked_by.map(ClientKey),
                count,
                grants,
                first_at,
                last_at,
            });
        }
        Ok(used)
    }

    /// The first positions at which such uses were written down.
    pub async fn uses_positions(
        &self,
        of: &UsesOf,
        (since, until): (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<i64>, LedgerError> {
        let statement = format!(
            "SELECT DISTINCT position FROM public.token_uses WHERE {} ORDER BY position LIMIT $8",
            of.condition()
        );
        Ok(sqlx::query_scalar(&statement)
            .bind(&of.clients)
            .bind(&of.subjects)
            .bind(&of.grants)
            .bind(&of.asked_by)
            .bind(&of.networks)
            .bind(since)
            .bind(until)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(self.ledger.pool())
            .await?)
    }
}
