//! URLs that this server calls, or sends browsers to after a logout: of clients' registrations and of trusted issuers.

use url::Url;

use super::OperationError;
use crate::domain::client::ClientMetadata;
use crate::domain::{redirect_uri, uri};
use crate::outbound::{Fetcher, OutboundError};

/// The most bytes of a URL that is called.
const MAX_BYTES: usize = 2000;
/// The most `post_logout_redirect_uris`.
const MAX_URIS: usize = 50;

/// Checks `jwks_uri` (RFC 7591 §2), `post_logout_redirect_uris` (OpenID Connect RP-Initiated Logout §3.1) and
/// `backchannel_logout_uri` (Back-Channel Logout §2.2). Whether a URL may be called is decided at each call, since its
/// host's addresses change ([`crate::outbound`]).
pub(super) fn check(metadata: &ClientMetadata) -> Result<(), OperationError> {
    if metadata.jwks.is_some() && metadata.jwks_uri.is_some() {
        return Err(OperationError::invalid(
            "jwks_uri",
            "jwks and jwks_uri exclude each other (RFC 7591 §2)",
        ));
    }
    for (field, url) in called(metadata) {
        if let Some(problem) = url.and_then(problem) {
            return Err(OperationError::invalid(field, problem));
        }
    }
    let field = "post_logout_redirect_uris";
    if metadata.post_logout_redirect_uris.len() > MAX_URIS {
        return Err(OperationError::invalid(field, "there are more than 50"));
    }
    for uri in &metadata.post_logout_redirect_uris {
        redirect_uri::check(uri, redirect_uri::LOGOUT_RESPONSE)
            .map_err(|problem| OperationError::invalid(field, format!("{uri}: {problem}")))?;
    }
    Ok(())
}

/// Checks that what is called without TLS may be: `http` is for hosts that `outbound_allow` names. What else may change
/// until the call is checked then.
pub(super) fn check_reach(metadata: &ClientMetadata, fetcher: &Fetcher) -> Result<(), OperationError> {
    for (field, url) in called(metadata) {
        if let Some(url) = url {
            check_scheme(field, url, fetcher)?;
        }
    }
    Ok(())
}

/// Checks both of one URL that is called.
pub(super) fn check_called(field: &'static str, url: &str, fetcher: &Fetcher) -> Result<(), OperationError> {
    if let Some(problem) = problem(url) {
        return Err(OperationError::invalid(field, problem));
    }
    check_scheme(field, url, fetcher)
}

fn check_scheme(field: &'static str, url: &str, fetcher: &Fetcher) -> Result<(), OperationError> {
    if matches!(fetcher.check(url), Err(OutboundError::Scheme)) {
        let problem = "http is for hosts that this server's outbound_allow names: use https";
        return Err(OperationError::invalid(field, problem));
    }
    Ok(())
}

/// The members that are called.
fn called(metadata: &ClientMetadata) -> [(&'static str, Option<&str>); 2] {
    [
        ("jwks_uri", metadata.jwks_uri.as_deref()),
        (
            "backchannel_logout_uri",
            metadata.backchannel_logout_uri.as_deref(),
        ),
    ]
}

/// What is wrong with a URL that is to be called.
fn problem(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else {
        return Some("it is not a URL");
    };
    if text.len() > MAX_BYTES {
        return Some("it has more than 2000 bytes");
    }
    if !uri::is_spelled(text) {
        return Some("it has characters that no URI has (RFC 3986); they are percent-encoded");
    }
    if !uri::is_web(text) {
        return Some("it is not an https URL");
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Some("it has a user name, a password or a fragment");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_called_is_plain() {
        for good in [
            "https://rp.example/logout",
            "https://rp.example:8443/a?b=c",
            "http://127.0.0.1:1/x",
        ] {
            assert_eq!(problem(good), None, "{good}");
        }
        let long = format!("https://rp.example/{}", "x".repeat(MAX_BYTES));
        for bad in [
            "",
            "/logout",
            "ftp://rp.example/",
            "https://u@rp.example/",
            "https://rp.example/#x",
            "https:rp.example/",
            "https://rp.example/a b",
            "https://rp.example/\"<x>",
            "https://rp.example/é",
            &long,
        ] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
