//! URLs in a client's registration that this server calls, or sends browsers to after a logout.

use url::Url;

use super::OperationError;
use crate::domain::client::ClientMetadata;
use crate::domain::redirect_uri;

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
    for (field, url) in [
        ("jwks_uri", &metadata.jwks_uri),
        ("backchannel_logout_uri", &metadata.backchannel_logout_uri),
    ] {
        if let Some(problem) = url.as_deref().and_then(problem) {
            return Err(OperationError::invalid(field, problem));
        }
    }
    let field = "post_logout_redirect_uris";
    if metadata.post_logout_redirect_uris.len() > MAX_URIS {
        return Err(OperationError::invalid(field, "there are more than 50"));
    }
    for uri in &metadata.post_logout_redirect_uris {
        redirect_uri::check(uri)
            .map_err(|problem| OperationError::invalid(field, format!("{uri}: {problem}")))?;
    }
    Ok(())
}

/// What is wrong with a URL that is to be called.
fn problem(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else {
        return Some("it is not a URL");
    };
    if text.len() > MAX_BYTES {
        return Some("it has more than 2000 bytes");
    }
    // http is for hosts that outbound_allow names.
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
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
            &long,
        ] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
