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
    /// or of these grants; where networks are named, of anybody's.
    pub grants: Vec<Uuid>,
    /// From these networks, where tokens were presented themselves.
    pub networks: Vec<String>,
}

impl UsesOf {
    /// What a count must be of, by the parameters `$1` to `$6`. Each has its index.
    fn condition(&self) -> &'static str {
        if self.networks.is_empty() {
            "(client_key = ANY ($1) OR subject = ANY ($2) OR grant_id = ANY ($3)) AND last_at >= $5 AND first_at < $6"
        } else {
            "network = ANY ($4) AND asked_by IS NULL AND last_at >= $5 AND first_at < $6"
        }
    }
}

type Row = (String, Option<String>, Option<Uuid>, i64, Timestamp, Timestamp);

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

    /// The uses of tokens between two moments, the last one first.
    pub async fn uses(
        &self,
        of: &UsesOf,
        (since, until): (Timestamp, Timestamp),
    ) -> Result<Vec<GrantUses>, LedgerError> {
        let statement = format!(
            "SELECT endpoint, network, asked_by, sum(uses)::bigint, min(first_at), max(last_at) \
             FROM public.token_uses WHERE {} GROUP BY 1, 2, 3 ORDER BY 6 DESC, 1, 2, 3",
            of.condition()
        );
        let rows: Vec<Row> = sqlx::query_as(&statement)
            .bind(&of.clients)
            .bind(&of.subjects)
            .bind(&of.grants)
            .bind(&of.networks)
            .bind(since)
            .bind(until)
            .fetch_all(self.ledger.pool())
            .await?;
        Ok(rows.into_iter().map(grant_uses).collect())
    }

    /// The first positions at which such uses were written down.
    pub async fn uses_positions(
        &self,
        of: &UsesOf,
        (since, until): (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<i64>, LedgerError> {
        let statement = format!(
            "SELECT DISTINCT position FROM public.token_uses WHERE {} ORDER BY position LIMIT $7",
            of.condition()
        );
        Ok(sqlx::query_scalar(&statement)
            .bind(&of.clients)
            .bind(&of.subjects)
            .bind(&of.grants)
            .bind(&of.networks)
            .bind(since)
            .bind(until)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(self.ledger.pool())
            .await?)
    }
}
