//! The log's name, which its key and checkpoints carry for ever.

use super::note::is_key_name;

/// The name of the log of an issuer: its URL without the scheme, and where the log is served. What no name may hold is
/// replaced.
#[must_use]
pub fn of_issuer(issuer: &str) -> String {
    let bare = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    let name: String = bare
        .chars()
        .map(|c| {
            if is_key_name(c.encode_utf8(&mut [0; 4])) {
                c
            } else {
                '-'
            }
        })
        .collect();
    format!("{}/evidence", name.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_logs_name_is_its_url_without_the_scheme() {
        assert_eq!(
            super::of_issuer("https://id.example/tenant+1"),
            "id.example/tenant-1/evidence"
        );
    }
}
