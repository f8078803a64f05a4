//! Token Status Lists (draft-ietf-oauth-status-list): which access tokens ended before their time, for resource servers
//! that check JWTs by themselves. A list is read from the projection of access tokens, at most every few seconds.

mod build;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use self::build::{Built, built, living};
use super::metadata::unavailable;
use crate::app::App;
use crate::config::Settings;
use crate::crypto::jwt::{StatusReference, TokenStatus};
use crate::crypto::master::AddressKey;
use crate::domain::status_list::{Place, index};
use crate::http::context::Origin;
use crate::http::error::ProtocolError;
use crate::http::form::Form;
use crate::http::preference;

pub use self::build::StatusLists;

/// The path of the aggregation (§9); the lists lie below it.
pub const PATH: &str = "/oauth/status-lists";
/// The media type of a list (§8.2).
const MEDIA_TYPE: &str = "application/statuslist+jwt";
/// Seconds that caches on the way may keep it.
const MAX_AGE: i64 = 5;

/// The endpoints, where they are switched on.
pub fn routes(settings: &Settings) -> Router<App> {
    if !settings.status_list {
        return Router::new();
    }
    Router::new()
        .route(PATH, get(aggregation))
        .route("/oauth/status-lists/{list}", get(list))
}

/// Where the status of the token that was issued at a position is listed; none where lists are off.
pub(super) fn status(app: &App, position: i64) -> Option<TokenStatus> {
    if !app.settings.status_list {
        return None;
    }
    let Place { list, offset } = Place::of(position);
    let master = app.ledger.vault().master();
    Some(TokenStatus {
        status_list: StatusReference {
            idx: index(offset, |round, half| master.status_list_round(list, round, half)),
            uri: uri(app, list),
        },
    })
}

/// A list's number is sealed: it would tell how much happens here.
fn uri(app: &App, list: i64) -> String {
    let key = app.ledger.vault().master().address_key();
    format!("{}{PATH}/{}", app.settings.issuer, name(key, list))
}

fn name(key: &AddressKey, list: i64) -> String {
    URL_SAFE_NO_PAD.encode(key.seal(i128::from(list).to_be_bytes()))
}

/// The list of that name; none where it is no name of one.
fn named(key: &AddressKey, name: &str) -> Option<i64> {
    if name.len() != 22 {
        return None;
    }
    let sealed: [u8; 16] = URL_SAFE_NO_PAD.decode(name).ok()?.try_into().ok()?;
    let number = i64::try_from(i128::from_be_bytes(key.open(sealed))).ok()?;
    (number >= 0).then_some(number)
}

/// The answer for one list.
async fn list(
    State(app): State<App>,
    Extension(origin): Extension<Origin>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(number) = named(app.ledger.vault().master().address_key(), &name) else {
        return ProtocolError::NotFound.respond(origin.request);
    };
    if asks_for_the_past(query.as_deref().unwrap_or_default()) {
        return ProtocolError::NoHistoricalStatus.respond(origin.request);
    }
    if !is_acceptable(&headers) {
        return ProtocolError::NotAcceptable.respond(origin.request);
    }
    match built(&app, number).await {
        Ok(Some(built)) => respond(&built, &headers),
        Ok(None) => ProtocolError::NotFound.respond(origin.request),
        Err(error) => unavailable(error, &origin),
    }
}

/// §8.4: a list of another time, which is not kept.
fn asks_for_the_past(query: &str) -> bool {
    Form::parse(query).is_ok_and(|form| form.iter().any(|(name, _)| name == "time"))
}

/// §8.1: whether the caller takes a JWT. The other form, CWT, is not made here.
fn is_acceptable(headers: &HeaderMap) -> bool {
    let asked = headers.get_all(header::ACCEPT).iter();
    // An empty list prefers nothing.
    let is_named = |line: &HeaderValue| line.as_bytes().iter().any(|byte| !b" \t,".contains(byte));
    let is_ours = |(range, weight): (&str, u16)| {
        let ours = [MEDIA_TYPE, "application/*", "*/*"];
        weight > 0 && ours.iter().any(|ours| range.eq_ignore_ascii_case(ours))
    };
    !asked.into_iter().any(is_named) || preference::members(headers, &header::ACCEPT).any(is_ours)
}

fn respond(built: &Built, headers: &HeaderMap) -> Response {
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| {
        known
            .split(',')
            .any(|one| one.trim().trim_start_matches("W/") == built.etag || one.trim() == "*")
    });
    let common = [
        (header::ETAG, built.etag.clone()),
        (header::CACHE_CONTROL, format!("public, max-age={MAX_AGE}")),
        (header::VARY, "accept".to_owned()),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, MEDIA_TYPE)];
    (common, content_type, built.jwt.clone()).into_response()
}

/// All lists that still have tokens (§9.2).
async fn aggregation(State(app): State<App>, Extension(origin): Extension<Origin>) -> Response {
    match living(&app).await {
        Ok(lists) => (
            [(header::CACHE_CONTROL, format!("public, max-age={MAX_AGE}"))],
            Json(json!({ "status_lists": lists })),
        )
            .into_response(),
        Err(error) => unavailable(error, &origin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::master::MasterKey;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_leads_back_to_its_list_and_any_other_text_to_none(list in 0..i64::MAX, text in "\\PC{0,30}|[A-Za-z0-9_-]{22}") {
            let master = MasterKey::from_bytes([7; 32]);
            let key = master.address_key();
            prop_assert_eq!(named(key, &name(key, list)), Some(list));
            // One in 2^65 would be one.
            prop_assert_eq!(named(key, &text), None);
        }
    }

    #[test]
    fn whoever_takes_no_jwt_is_not_sent_one() {
        let asks = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            is_acceptable(&headers)
        };
        assert!(is_acceptable(&HeaderMap::new()));
        for good in [
            "",
            " , ",
            "application/statuslist+jwt",
            "text/html, */*;q=0.1",
            "Application/*",
            "application/statuslist+cwt, application/statuslist+JWT",
        ] {
            assert!(asks(good), "{good}");
        }
        for bad in [
            "application/statuslist+cwt",
            "text/*",
            "*/*;q=0",
            "application/statuslist+jwt; q=0.0",
        ] {
            assert!(!asks(bad), "{bad}");
        }
        assert!(asks_for_the_past("a=b&time=1686925000"));
        assert!(!asks_for_the_past("time=") && !asks_for_the_past("times=1"));
    }
}
