//! The server's settings: ours, the caller's, and those that are nobody's to change.

use super::error::PostgresError;

/// Durability is never traded, nor are the socket-only connections.
const FIXED: [(&str, &str); 6] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("port", "5432"),
];

/// Settings that would move what we look after, or hide damage.
const REFUSED: [&str; 9] = [
    "unix_socket_directories",
    "unix_socket_group",
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "ignore_checksum_failure",
    "zero_damaged_pages",
];

/// Sensible for a small server; the caller may choose otherwise.
const DEFAULTS: [(&str, &str); 7] = [
    ("max_connections", "100"),
    ("shared_buffers", "128MB"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("lc_messages", "C"),
    ("cluster_name", "grantlog"),
];

/// The port, which only names the socket file: nothing listens on TCP.
pub(crate) const PORT: u16 = 5432;

/// Checks the caller's settings and puts them between the defaults and what is fixed.
pub(crate) fn merge(given: &[(String, String)]) -> Result<Vec<(String, String)>, PostgresError> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut merged: Vec<_> = DEFAULTS.iter().map(owned).collect();
    for (name, value) in given {
        let refuse = |problem| {
            Err(PostgresError::Setting {
                name: name.clone(),
                problem,
            })
        };
        let lower = name.to_ascii_lowercase();
        if lower.is_empty()
            || !lower
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte))
        {
            return refuse("that is not a setting's name");
        }
        if REFUSED.contains(&lower.as_str()) || FIXED.iter().any(|(fixed, _)| *fixed == lower) {
            return refuse("it is fixed, for the sake of durability or because the supervisor depends on it");
        }
        if value.contains('\0') {
            return refuse("its value contains a null character");
        }
        merged.retain(|(earlier, _)| *earlier != lower);
        merged.push((lower, value.clone()));
    }
    merged.extend(FIXED.iter().map(owned));
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_callers_settings_replace_the_defaults() {
        let merged = merge(&[pair("Max_Connections", "20"), pair("work_mem", "8MB")]).unwrap();
        assert!(merged.contains(&pair("max_connections", "20")));
        assert!(merged.contains(&pair("work_mem", "8MB")));
        assert!(!merged.contains(&pair("max_connections", "100")));
    }

    #[test]
    fn durability_cannot_be_switched_off() {
        for name in [
            "fsync",
            "FSYNC",
            "synchronous_commit",
            "full_page_writes",
            "listen_addresses",
            "a b",
        ] {
            let refused = merge(&[pair(name, "off")]);
            assert!(matches!(refused, Err(PostgresError::Setting { .. })), "{name}");
        }
    }
}
