//! A configuration that cannot work is refused in words that lead to the mistake, and give no secret away.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use grantlog::config::{self, ConfigError, LogFormat, Settings};
use tempfile::TempDir;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const GOOD: &str = "issuer = \"https://id.example\"\ndatabase_url = \"postgres://app:hunter2@db/grantlog\"\n";

fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grantlog.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let (_directory, path) = file(text);
    load_file(Some(&path), environment)
}

fn load_file(path: Option<&Path>, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    config::load(path, environment)
}

/// What is said of a configuration that is good except for this.
fn refusal(text: &str, environment: &[(&str, &str)]) -> String {
    let environment: Vec<_> = [("GRANTLOG_MASTER_KEY", KEY)]
        .iter()
        .chain(environment)
        .copied()
        .collect();
    load(&format!("{GOOD}{text}"), &environment)
        .unwrap_err()
        .to_string()
}

#[test]
fn every_field_is_documented() {
    let manual = include_str!("../../docs/configuration.md");
    assert!(config::field_names().len() > 20);
    for field in config::field_names() {
        let line = format!("| `{field}` | `{}` |", config::variable(field));
        assert!(manual.contains(&line), "docs/configuration.md has no line {line}");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let environment = [
        ("GRANTLOG_MASTER_KEY", KEY),
        ("GRANTLOG_ISSUER", "http://127.0.0.1:9"),
        ("GRANTLOG_CODE_LIFETIME", "60"),
        ("GRANTLOG_HASHING_THREADS", "3"),
        ("GRANTLOG_ALLOW_PASSWORD_GRANT", "true"),
        ("GRANTLOG_LOG_FORMAT", "json"),
        ("GRANTLOG_LISTEN", "[::]:9"),
        ("GRANTLOG_TLS_CERT", ""),
        ("GRANTLOG_CONFIG", "elsewhere"),
        ("GRANTLOG_TEST_ANYTHING", "x"),
        ("PATH", "/bin"),
    ];
    let settings = load(&format!("{GOOD}code_lifetime = 30\n"), &environment).unwrap();
    assert_eq!(settings.issuer, "http://127.0.0.1:9");
    assert_eq!((settings.code_lifetime, settings.hashing_threads), (60, 3));
    assert!(settings.allow_password_grant && settings.tls_cert.is_none());
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.listen, "[::]:9".parse().unwrap());
}

#[test]
fn a_list_is_toml_or_separated_by_commas() {
    for text in ["10.0.0.1, ::1", "10.0.0.1,::1,", "[\"10.0.0.1\", \"::1\"]"] {
        let environment = [("GRANTLOG_MASTER_KEY", KEY), ("GRANTLOG_TRUSTED_PROXIES", text)];
        let settings = load(GOOD, &environment).unwrap();
        let expected: [std::net::IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(settings.trusted_proxies, expected, "{text}");
    }
}

#[test]
fn an_error_names_the_field_and_where_it_came_from() {
    for (text, environment, expected) in [
        ("frobnicate = 1", ("PATH", ""), "frobnicate (in /"),
        (
            "",
            ("GRANTLOG_FROBNICATE", "1"),
            "GRANTLOG_FROBNICATE): there is no such setting",
        ),
        ("code_lifetime = \"x\"", ("PATH", ""), "code_lifetime (in /"),
        (
            "",
            ("GRANTLOG_CODE_LIFETIME", "x"),
            "GRANTLOG_CODE_LIFETIME): it is not a whole number",
        ),
        (
            "",
            ("GRANTLOG_CODE_LIFETIME", "601"),
            "GRANTLOG_CODE_LIFETIME): it needs 10 to 600",
        ),
        (
            "",
            ("GRANTLOG_TRUSTED_PROXIES", "10.0.0.1,x"),
            "trusted_proxies (from",
        ),
        ("", ("GRANTLOG_LOG_FORMAT", "xml"), "log_format (from"),
        ("", ("GRANTLOG_LOG_FILTER", "a=b=c"), "log_filter (from"),
        ("", ("GRANTLOG_LISTEN", "nowhere"), "listen (from"),
        (
            "",
            ("GRANTLOG_ISSUER", "http://id.example"),
            "issuer (from the environment variable GRANTLOG_ISSUER): it must be https",
        ),
        (
            "tls_cert = \"x.pem\"",
            ("PATH", ""),
            "tls_key (not set): tls_cert is set",
        ),
        (
            "master_key_file = \"/x\"",
            ("PATH", ""),
            "master_key_file is set too",
        ),
        (
            "",
            ("GRANTLOG_METRICS_LISTEN", "127.0.0.1:8480"),
            "metrics_listen (from",
        ),
    ] {
        let refusal = refusal(text, &[environment]);
        assert!(refusal.contains(expected), "{refusal}");
    }
    let missing = load("", &[]).unwrap_err().to_string();
    assert!(
        missing.contains("(not set): it must be set, in the file or as GRANTLOG_"),
        "{missing}"
    );
    let no_key = load(GOOD, &[]).unwrap_err().to_string();
    assert!(no_key.contains("master_key_file (not set)"), "{no_key}");
    let not_toml = load("\n\nissuer = = 3", &[]).unwrap_err().to_string();
    assert!(not_toml.contains("line 3"), "{not_toml}");
    let no_file = load_file(Some(Path::new("/nowhere.toml")), &[])
        .unwrap_err()
        .to_string();
    assert!(no_file.contains("/nowhere.toml"), "{no_file}");
}

#[test]
fn no_error_and_no_debug_output_quotes_a_secret() {
    for (text, environment) in [
        ("master_key = \"hunter2", ("PATH", "")),
        ("master_key = hunter2", ("PATH", "")),
        ("", ("GRANTLOG_MASTER_KEY", "hunter2")),
        ("", ("GRANTLOG_DATABASE_URL", "postgres://u:hunter2@[/x")),
        ("", ("GRANTLOG_KEYS_DATABASE_URL", "hunter2")),
        ("migration_database_url = [\"hunter2\"]", ("PATH", "")),
    ] {
        let refusal = refusal(text, &[environment]);
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
    let settings = load(GOOD, &[("GRANTLOG_MASTER_KEY", KEY)]).unwrap();
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("0011"), "{shown}");
}

#[test]
fn a_master_key_file_that_everybody_can_open_is_refused() {
    let (_directory, path) = file(&format!("{KEY}\n"));
    let environment = [("GRANTLOG_MASTER_KEY_FILE", path.to_str().unwrap())];
    for (mode, accepted, warned) in [
        (0o600, true, false),
        (0o400, true, false),
        (0o640, true, true),
        (0o644, false, false),
        (0o606, false, false),
    ] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        match load(GOOD, &environment) {
            Ok(settings) => {
                assert!(accepted, "{mode:o}");
                assert_eq!(config::warn_of_readers(&settings).is_some(), warned, "{mode:o}");
            }
            Err(error) => {
                assert!(!accepted, "{mode:o}");
                assert!(error.to_string().contains("everybody can open"), "{error}");
            }
        }
    }
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "too short").unwrap();
    let error = load(GOOD, &environment).unwrap_err().to_string();
    assert!(
        error.contains("not exactly 32 bytes") && !error.contains("too short"),
        "{error}"
    );
}
