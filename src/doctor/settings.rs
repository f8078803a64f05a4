//! Settings that are allowed and still unwise.

use url::Url;

use super::Findings;
use crate::config::{Settings, is_loopback, warn_of_plain_http, warn_of_readers};
use crate::crypto::certificate::Authorities;

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
    match warn_of_plain_http(settings) {
        Some((found, advice)) => findings.warn("tls", found, advice),
        None if settings.tls_cert.is_some() => findings.ok("tls", "terminated here"),
        None if settings.listen.ip().is_loopback() => findings.ok(
            "tls",
            format!("terminated elsewhere: {} is local", settings.listen),
        ),
        None => findings.ok("tls", "terminated by a trusted proxy"),
    }
    client_certificates(settings, findings);
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

/// How certificates of clients reach this server, and who vouches for them (RFC 8705).
fn client_certificates(settings: &Settings, findings: &mut Findings) {
    let subject = "client certificates";
    let by_proxy = settings.client_certificate_header.as_deref();
    if let Some(header) = by_proxy.filter(|_| settings.trusted_proxies.is_empty()) {
        findings.warn(
            subject,
            format!("client_certificate_header is {header}, and no proxy is trusted: the header is ignored"),
            "name the proxies that set it in trusted_proxies",
        );
    }
    if !settings.sees_client_certificates() {
        if let Some(url) = &settings.mtls_url {
            beside(settings, url, findings);
        } else if settings.tls_client_ca.is_some() {
            findings.warn(
                subject,
                "tls_client_ca is set, and no certificate can reach this server",
                "set tls_client_certificates, or client_certificate_header and trusted_proxies; or mtls_url, where \
                 another node takes them",
            );
        }
        return;
    }
    match &settings.tls_client_ca {
        Some(path) => match Authorities::load(path) {
            Ok(_) => findings.ok(subject, format!("tls_client_auth trusts {}", path.display())),
            Err(error) => findings.fail(
                subject,
                error.to_string(),
                "give it a PEM file of certificates of authorities",
            ),
        },
        None if settings.trusts_authorities() => findings.warn(
            subject,
            "tls_client_auth believes the proxy, whatever authority issued a certificate",
            "let the proxy verify certificates, or set tls_client_ca, so that they are verified here",
        ),
        None => findings.ok(subject, "self-signed ones; tls_client_auth needs tls_client_ca"),
    }
}

/// Of a node whose clients with certificates go to another one.
fn beside(settings: &Settings, url: &str, findings: &mut Findings) {
    let subject = "client certificates";
    if settings.serves_authorities() {
        findings.ok(subject, format!("taken by the node at {url}"));
        return;
    }
    findings.warn(
        subject,
        format!("taken by the node at {url}; tls_client_auth is not offered"),
        "where that node trusts authorities, set its tls_client_ca or client_certificate_header here, too",
    );
}
