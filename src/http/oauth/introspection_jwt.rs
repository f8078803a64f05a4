//! Introspection answers as JWTs (RFC 9701): signed, so that a resource server can prove later what it was told.
//!
//! They are for resource servers only: of a token that is not meant for the one that asks, they say that it is not active
//! (§5), whoever's token it is.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::client::{ClientMetadata, IdTokenAlgorithm, Registration};
use crate::http::error::{Rejection, TokenError};
use crate::http::preference;
use crate::ledger::LedgerError;

/// RFC 9701 §4.
const MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// How an introspection is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// RFC 7662 §2.2.
    Json,
    /// RFC 9701 §5.
    Jwt,
}

impl Form {
    /// What the Accept header asks for (RFC 9701 §4): a JWT where it is named, and JSON is not preferred to it.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let (mut jwt, mut json) = (0, 0);
        for (name, weight) in preference::members(headers, &header::ACCEPT) {
            if name.eq_ignore_ascii_case(MEDIA_TYPE) {
                jwt = jwt.max(weight);
            } else if name.eq_ignore_ascii_case("application/json") {
                json = json.max(weight);
            }
        }
        if jwt > 0 && jwt >= json {
            Self::Jwt
        } else {
            Self::Json
        }
    }
}

/// The algorithm of a resource server's answers (RFC 9701 §6 has RS256 where none is registered; FAPI 2.0 Security Profile
/// §5.4.1 does not let that sign).
pub(super) fn algorithm(metadata: &ClientMetadata) -> IdTokenAlgorithm {
    let usual = if metadata.is_fapi2() {
        IdTokenAlgorithm::ES256
    } else {
        IdTokenAlgorithm::default()
    };
    metadata.introspection_signed_response_alg.unwrap_or(usual)
}

/// RFC 9701 §5. It has neither `sub` nor `exp`: nobody shall take it for another token (§8.1).
#[derive(Serialize)]
struct Claims<'a, I> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    token_introspection: &'a I,
}

/// The signed answer to a resource server.
pub(super) fn respond<I: Serialize>(
    app: &App,
    caller: &Registration,
    introspection: &I,
    at: Timestamp,
) -> Result<Response, Rejection<TokenError>> {
    let claims = Claims {
        iss: &app.settings.issuer,
        aud: &caller.client_id,
        iat: at.timestamp(),
        token_introspection: introspection,
    };
    let jwt = app
        .keys
        .sign_introspection(algorithm(&caller.metadata), &claims)
        .map_err(LedgerError::from)?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], jwt).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(accept: &[&str]) -> Form {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        Form::wanted(&headers)
    }

    #[test]
    fn a_jwt_is_given_where_it_is_named_and_json_is_not_preferred() {
        for accept in [
            &[MEDIA_TYPE][..],
            &["application/json;q=0.9, application/token-introspection+jwt"],
            &["application/json", MEDIA_TYPE],
            &["Application/Token-Introspection+JWT; q=0.1, */*"],
        ] {
            assert_eq!(wanted(accept), Form::Jwt, "{accept:?}");
        }
        for accept in [
            &[][..],
            &["*/*"],
            &["application/jwt"],
            &["application/json, application/token-introspection+jwt;q=0.5"],
            &["application/token-introspection+jwt;q=0"],
            &["application/token-introspection+jwt;q=x"],
            &["application/token-introspection+jwt;q=7"],
        ] {
            assert_eq!(wanted(accept), Form::Json, "{accept:?}");
        }
    }

    proptest! {
        #[test]
        fn any_accept_header_is_read(text in "[ -~]{0,80}", weight in "[ -~]{0,8}") {
            let _ = wanted(&[&text]);
            let _ = wanted(&[&format!("{MEDIA_TYPE};q={weight}")]);
        }
    }
}
