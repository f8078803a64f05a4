//! What settings must be for a server to be safe and to work.

use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::http::HeaderName;
use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

use super::error::{Origin, Problem};
use super::{Settings, key_file};
use crate::crypto::software_statement::Publishers;
use crate::domain::authorization_detail::is_type_name;
use crate::domain::client::GrantType;
use crate::domain::value::is_scope_token;
use crate::evidence::note::is_key_name;
use crate::evidence::witness::Witness;

/// Everything that is wrong with settings.
pub(super) fn problems(settings: &Settings, origin: impl Fn(&str) -> Origin) -> Vec<Problem> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    if let Err(what) = issuer(&settings.issuer) {
        found.push(("issuer", what.to_owned()));
    }
    let urls = [
        ("database_url", Some(&settings.database_url)),
        ("migration_database_url", settings.migration_database_url.as_ref()),
        ("keys_database_url", settings.keys_database_url.as_ref()),
    ];
    for (field, url) in urls {
        // The parser's own words may quote the password.
        if url.is_some_and(|url| !is_database_url(url)) {
            found.push((
                field,
                "it is not a URL such as postgres://user@host/database".to_owned(),
            ));
        }
    }
    found.extend(key_file::problem(settings));
    found.extend(tls(settings));
    found.extend(registration(settings));
    found.extend(evidence(settings));
    found.extend(client_certificates(settings));
    found.extend(authorities(settings));
    found.extend(places(settings));
    if settings.metrics_listen == Some(settings.listen) && settings.listen.port() != 0 {
        found.push(("metrics_listen", "it is the same as listen".to_owned()));
    }
    for (field, value, range) in ranges(settings)
        .into_iter()
        .chain(device_ranges(settings))
        .chain(dpop_ranges(settings))
        .chain(
            settings
                .key_backup_days
                .map(|days| ("key_backup_days", days.into(), 1..=36_500)),
        )
        .chain([
            ("status_list_ttl", settings.status_list_ttl.into(), 20..=86_400),
            ("hsts_seconds", settings.hsts_seconds.into(), 0..=63_072_000),
        ])
    {
        if !range.contains(&value) {
            let (least, most) = range.into_inner();
            found.push((field, format!("it needs {least} to {most}, not {value}")));
        }
    }
    if EnvFilter::from_str(&settings.log_filter).is_err() {
        found.push((
            "log_filter",
            "it is not a filter such as info or grantlog=debug,sqlx=warn".to_owned(),
        ));
    }
    found
        .into_iter()
        .map(|(field, what)| Problem {
            field: field.to_owned(),
            origin: origin(field),
            what,
        })
        .collect()
}

/// RFC 8414 §2: https, no query, no fragment. Plain http is for this machine only.
fn issuer(issuer: &str) -> Result<(), &'static str> {
    let url = Url::parse(issuer).map_err(|_| "it is not a URL")?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err("it must be https (http is for localhost, 127.0.0.1 and [::1] only)"),
        _ => return Err("it must be an https URL"),
    }
    if url.host().is_none() || !url.username().is_empty() || url.password().is_some() {
        return Err("it must have a host, and no user name or password");
    }
    if issuer.contains(['?', '#']) {
        return Err("it must have no query and no fragment (RFC 8414 §2)");
    }
    if issuer.ends_with('/') {
        return Err("it must not end with a slash");
    }
    // Clients compare it character by character, so it must be spelled the one usual way.
    if url.as_str().trim_end_matches('/') != issuer {
        return Err("it must be spelled as a URL parser writes it: lower-case host, no default port");
    }
    Ok(())
}

/// Whether a URL's host is this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether requests may arrive without TLS from other machines (RFC 6749 §3.1, §3.2): what is so, and what helps. It is no
/// error: the net between may be one that nobody else is in.
#[must_use]
pub fn warn_of_plain_http(settings: &Settings) -> Option<(String, &'static str)> {
    let listen = settings.listen;
    let others = !listen.ip().is_loopback() && settings.trusted_proxies.is_empty();
    (settings.tls_cert.is_none() && others).then(|| {
        (
            format!("{listen} is served without TLS, and no proxy is trusted"),
            "set tls_cert and tls_key, or let a proxy terminate TLS and name it in trusted_proxies",
        )
    })
}

fn is_database_url(url: &str) -> bool {
    (url.starts_with("postgres://") || url.starts_with("postgresql://"))
        && url.parse::<PgConnectOptions>().is_ok()
}

fn tls(settings: &Settings) -> Option<(&'static str, String)> {
    let (field, path) = match (&settings.tls_cert, &settings.tls_key) {
        (Some(_), None) => return Some(("tls_key", "tls_cert is set, so it must be too".to_owned())),
        (None, Some(_)) => return Some(("tls_cert", "tls_key is set, so it must be too".to_owned())),
        (Some(cert), Some(_)) if !cert.is_file() => ("tls_cert", cert),
        (Some(_), Some(key)) if !key.is_file() => ("tls_key", key),
        (None, None) | (Some(_), Some(_)) => return None,
    };
    Some((field, format!("there is no file {}", path.display())))
}

/// RFC 7591: what clients may register themselves for, and whose word is taken for it.
fn registration(settings: &Settings) -> Option<(&'static str, String)> {
    if settings.registration_grant_types.contains(&GrantType::Password) {
        let what = "no client may register itself for the password grant";
        return Some(("registration_grant_types", what.to_owned()));
    }
    if let Some(bad) = settings
        .registration_scopes
        .iter()
        .find(|scope| !is_scope_token(scope))
    {
        return Some(("registration_scopes", format!("{bad} is not the name of a scope")));
    }
    let types = &settings.registration_authorization_details_types;
    if let Some(bad) = types.iter().find(|name| !is_type_name(name)) {
        let what = format!("{bad} is not the name of a type of authorization details");
        return Some(("registration_authorization_details_types", what));
    }
    match Publishers::read(&settings.software_statement_issuers) {
        Err(what) => Some(("software_statement_issuers", what)),
        Ok(publishers) if publishers.is_empty() && settings.registration_requires_software_statement => {
            Some((
                "software_statement_issuers",
                "registration_requires_software_statement is set, so it must be too".to_owned(),
            ))
        }
        Ok(_) => None,
    }
}

/// Where addresses are.
fn places(settings: &Settings) -> Option<(&'static str, String)> {
    let path = settings.geoip_database.as_ref().filter(|path| !path.is_file())?;
    Some(("geoip_database", format!("there is no file {}", path.display())))
}

/// The evidence log: its name, and who cosigns it.
fn evidence(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if settings
        .evidence_origin
        .as_deref()
        .is_some_and(|name| !is_key_name(name))
    {
        let what = "it needs 1 to 255 characters, no space and no plus sign";
        found.push(("evidence_origin", what.to_owned()));
    }
    for text in &settings.evidence_witnesses {
        if let Err(error) = text.parse::<Witness>() {
            found.push(("evidence_witnesses", format!("{text}: {error}")));
        }
    }
    if !(5..=86_400).contains(&settings.evidence_witness_seconds) {
        found.push(("evidence_witness_seconds", "it needs 5 to 86400".to_owned()));
    }
    found
}

/// The files of those who are trusted with certificates.
fn authorities(settings: &Settings) -> impl Iterator<Item = (&'static str, String)> {
    let files = [
        ("tls_client_ca", &settings.tls_client_ca),
        ("outbound_ca", &settings.outbound_ca),
    ];
    files.into_iter().filter_map(|(setting, path)| {
        let path = path.as_ref().filter(|path| !path.is_file())?;
        Some((setting, format!("there is no file {}", path.display())))
    })
}

/// What is asked of clients' certificates (RFC 8705).
fn client_certificates(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if settings.tls_client_certificates && settings.tls_cert.is_none() {
        let what = "clients can be asked for a certificate only where tls_cert and tls_key are set";
        found.push(("tls_client_certificates", what.to_owned()));
    }
    if let Some(name) = &settings.client_certificate_header
        && HeaderName::from_bytes(name.as_bytes()).is_err()
    {
        found.push((
            "client_certificate_header",
            "it is not the name of a header".to_owned(),
        ));
    }
    if let Some(Err(what)) = settings.mtls_url.as_deref().map(issuer) {
        found.push(("mtls_url", what.to_owned()));
    }
    found
}

/// Those of device authorizations (RFC 8628), and of what else many may ask for.
fn device_ranges(settings: &Settings) -> [(&'static str, u64, RangeInclusive<u64>); 5] {
    [
        (
            "pushed_requests_per_minute",
            settings.pushed_requests_per_minute.into(),
            1..=1_000_000,
        ),
        (
            "event_stream_connections",
            settings.event_stream_connections.into(),
            1..=10_000,
        ),
        (
            "device_code_lifetime",
            settings.device_code_lifetime.into(),
            60..=1800,
        ),
        (
            "device_poll_interval",
            settings.device_poll_interval.into(),
            1..=60,
        ),
        (
            "device_requests_per_minute",
            settings.device_requests_per_minute.into(),
            1..=1_000_000,
        ),
    ]
}

/// Those of `DPoP` (RFC 9449).
fn dpop_ranges(settings: &Settings) -> [(&'static str, u64, RangeInclusive<u64>); 2] {
    [
        (
            "dpop_nonce_lifetime",
            settings.dpop_nonce_lifetime.into(),
            20..=3600,
        ),
        (
            "dpop_proof_lifetime",
            settings.dpop_proof_lifetime.into(),
            10..=600,
        ),
    ]
}

/// Numbers, and what they may be.
fn ranges(settings: &Settings) -> [(&'static str, u64, RangeInclusive<u64>); 14] {
    let size = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    [
        // RFC 6749 §4.1.2: ten minutes at most.
        ("code_lifetime", settings.code_lifetime.into(), 10..=600),
        // RFC 9126 §2.2: between 5 and 600 seconds.
        (
            "pushed_request_lifetime",
            settings.pushed_request_lifetime.into(),
            5..=600,
        ),
        (
            "grant_lifetime_days",
            settings.grant_lifetime_days.into(),
            1..=1826,
        ),
        (
            "session_lifetime",
            settings.session_lifetime.into(),
            60..=90 * 86_400,
        ),
        (
            "backchannel_logout_retry_seconds",
            settings.backchannel_logout_retry_seconds.into(),
            0..=7 * 86_400,
        ),
        (
            "failures_per_minute",
            settings.failures_per_minute.into(),
            1..=1_000_000,
        ),
        (
            "registrations_per_minute",
            settings.registrations_per_minute.into(),
            1..=1_000_000,
        ),
        (
            "refusals_per_minute",
            settings.refusals_per_minute.into(),
            0..=1_000_000,
        ),
        (
            "api_requests_per_minute",
            settings.api_requests_per_minute.into(),
            0..=100_000_000,
        ),
        (
            "database_connections",
            settings.database_connections.into(),
            2..=1000,
        ),
        (
            "cached_aggregates",
            size(settings.cached_aggregates),
            100..=10_000_000,
        ),
        ("hashing_threads", size(settings.hashing_threads), 1..=256),
        ("token_use_seconds", settings.token_use_seconds.into(), 0..=3600),
        ("shutdown_seconds", settings.shutdown_seconds.into(), 1..=3600),
    ]
}

#[cfg(test)]
mod tests {
    use super::issuer;

    #[test]
    fn an_issuer_is_https_or_loopback_and_spelled_the_usual_way() {
        for good in [
            "https://id.example",
            "https://id.example/tenant",
            "https://id.example:8443",
            "http://127.0.0.1:8480",
            "http://[::1]:1",
            "http://localhost",
        ] {
            assert_eq!(issuer(good), Ok(()), "{good}");
        }
        for bad in [
            "http://id.example",
            "id.example",
            "ftp://id.example",
            "https://id.example/",
            "https://id.example?x",
            "https://id.example#x",
            "https://u:p@id.example",
            "https://ID.example",
            "https://id.example:443",
            "http://127.0.0.1.evil.example",
        ] {
            assert!(issuer(bad).is_err(), "{bad}");
        }
    }
}
