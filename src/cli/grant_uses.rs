//! Uses of tokens, as tables show them.

use super::output;
use crate::ids::ClientKey;
use crate::operations::token_use::{GrantUses, Used};

/// The beginning of a digest, by which networks are told apart.
pub(super) fn short(network: Option<&String>) -> String {
    network.map_or_else(|| "-".to_owned(), |network| network.chars().take(12).collect())
}

/// Prints uses of tokens, a line for each endpoint and network.
pub(super) fn table(uses: &[GrantUses]) -> anyhow::Result<()> {
    if uses.is_empty() {
        return output::line("\nno use of its tokens was counted");
    }
    output::line("")?;
    let rows: Vec<[String; 6]> = uses
        .iter()
        .map(|uses| {
            let by = uses
                .asked_by
                .map_or_else(|| "-".to_owned(), |client| client.to_string());
            [
                uses.endpoint.clone(),
                short(uses.network.as_ref()),
                by,
                uses.count.to_string(),
                output::moment(uses.first_at),
                output::moment(uses.last_at),
            ]
        })
        .collect();
    output::table(
        ["USED AT", "NETWORK", "ASKED BY", "COUNT", "FIRST", "LAST"],
        &rows,
    )
}

/// Prints uses of tokens of several clients: in all, then a line for each client, endpoint and network.
pub(super) fn tables(used: &Used) -> anyhow::Result<()> {
    if used.uses.is_empty() {
        return output::line("\nno use of a token was counted");
    }
    let word = |client: Option<ClientKey>| client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    let totals = used
        .uses_by_client
        .iter()
        .map(|uses| (uses, format!("client {}", word(uses.client))));
    let networks = used
        .uses_by_network
        .iter()
        .map(|uses| (uses, format!("network {}", short(uses.network.as_ref()))));
    let totals: Vec<[String; 5]> = totals
        .chain(networks)
        .map(|(uses, of)| {
            [
                of,
                uses.count.to_string(),
                uses.grants.to_string(),
                output::moment(uses.first_at),
                output::moment(uses.last_at),
            ]
        })
        .collect();
    output::line("")?;
    output::table(["USES OF TOKENS", "COUNT", "GRANTS", "FIRST", "LAST"], &totals)?;
    let rows: Vec<[String; 7]> = used
        .uses
        .iter()
        .map(|uses| {
            [
                uses.endpoint.clone().unwrap_or_default(),
                short(uses.network.as_ref()),
                word(uses.client),
                word(uses.asked_by),
                uses.count.to_string(),
                output::moment(uses.first_at),
                output::moment(uses.last_at),
            ]
        })
        .collect();
    output::line("")?;
    output::table(
        [
            "USED AT",
            "NETWORK",
            "TOKENS OF",
            "ASKED BY",
            "COUNT",
            "FIRST",
            "LAST",
        ],
        &rows,
    )
}
