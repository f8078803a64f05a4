//! Uses of tokens, as tables show them.

use super::output;
use crate::operations::token_use::GrantUses;

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
