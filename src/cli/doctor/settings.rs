//! Settings that are allowed and still unwise.

use url::Url;

use super::Findings;
use crate::config::{Settings, is_loopback, warn_of_readers};

pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    if Url::parse(&settings.issuer).is_ok_and(|url| url.scheme() == "http" && is_loopback(&url)) {
        findings.warn(
            "issuer",
            format!("{} is for this machine only", settings.issuer),
            "in production the issuer is an https URL",
        );
    } else {
        findings.ok("issuer", settings.issuer.clone());
    }
    let on_the_net = !settings.listen.ip().is_loopback();
    match (&settings.tls_cert, on_the_net) {
        (Some(_), _) => findings.ok("tls", "terminated here"),
        (None, false) => findings.ok(
            "tls",
            format!("terminated elsewhere: {} is local", settings.listen),
        ),
        (None, true) if settings.trusted_proxies.is_empty() => findings.warn(
            "tls",
            format!(
                "{} is served without TLS, and no proxy is trusted",
                settings.listen
            ),
            "set tls_cert and tls_key, or let a proxy terminate TLS and name it in trusted_proxies",
        ),
        (None, true) => findings.ok("tls", "terminated by a trusted proxy"),
    }
    if settings.allow_password_grant {
        findings.warn(
            "password grant",
            "clients may use it (RFC 9700 §2.4 says: must not)",
            "move those clients to the authorization code, then unset allow_password_grant",
        );
    } else {
        findings.ok("password grant", "off");
    }
    if settings.failures_per_minute > 100 {
        findings.warn(
            "failed logins",
            format!("{} a minute are let per name", settings.failures_per_minute),
            "set failures_per_minute to 100 or less: more lets passwords be guessed",
        );
    }
    if let Some(readers) = warn_of_readers(settings) {
        findings.warn(
            "master key file",
            readers,
            "chmod 600 it, or make sure of who is in that group",
        );
    }
    if settings.migration_database_url.as_ref() == Some(&settings.database_url) {
        findings.warn(
            "roles",
            "the server works as the schema's owner",
            "give database_url the role grantlog_app, which cannot change the ledger",
        );
    }
}
