//! What every answer says of DPoP: the nonce to use next, and the challenge.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{ALGORITHMS, HEADER, SCHEME, nonces};
use crate::app::App;
use crate::http::oauth::register;

const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The middleware. Whoever sent a proof is given the nonce for the next (RFC 9449 §8.2), and a challenge names the
/// scheme that was used, or both (§7.1).
pub(in crate::http) async fn tell(State(app): State<App>, request: Request, next: Next) -> Response {
    let with_proof = request.headers().contains_key(HEADER);
    let with_scheme = uses_scheme(request.headers());
    // Tokens of registration are bearer tokens only (RFC 7591 §3, RFC 7592 §2).
    let takes_proofs = !request.uri().path().starts_with(register::PATH);
    let mut response = next.run(request).await;
    let (status, headers) = (response.status(), response.headers_mut());
    if takes_proofs {
        challenge(status, headers, with_scheme);
    }
    if with_proof && is_stored_nowhere(headers) {
        let nonce = nonces(&app).map(|nonces| nonces.current(app.ledger.clock().now()));
        if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::from_str(&nonce).ok()) {
            headers.insert(NONCE, nonce);
        }
    }
    response
}

fn uses_scheme(headers: &HeaderMap) -> bool {
    let authorization = headers.get(header::AUTHORIZATION);
    let text = authorization.and_then(|value| value.to_str().ok());
    text.and_then(|text| text.split_once(' '))
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
}

/// RFC 9449 §8.2: a nonce is for one caller, at one moment.
fn is_stored_nowhere(headers: &HeaderMap) -> bool {
    headers
        .get(header::CACHE_CONTROL)
        .is_some_and(|value| value.as_bytes() == b"no-store")
}

/// To a request in this scheme, the challenge is in this scheme; beside the bearer scheme's, it says that this one
/// would do too.
fn challenge(status: StatusCode, headers: &mut HeaderMap, with_scheme: bool) {
    let told = headers
        .get(header::WWW_AUTHENTICATE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| ["Bearer", SCHEME].contains(scheme));
    let Some((_, parameters)) = told else { return };
    let algorithms = format!(r#"algs="{}""#, ALGORITHMS.join(" "));
    if with_scheme {
        let challenge = format!("{SCHEME} {parameters}, {algorithms}");
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
    } else if status == StatusCode::UNAUTHORIZED
        && let Ok(challenge) = HeaderValue::from_str(&format!("{SCHEME} {algorithms}"))
    {
        headers.append(header::WWW_AUTHENTICATE, challenge);
    }
}
