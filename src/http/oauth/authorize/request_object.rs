//! Signed request objects, RFC 9101: the parameters as a JWT that the client has signed, so that nothing on the way
//! through the browser can change them. Only by value (`request`); a reference of the client's own is not fetched.

use chrono::TimeDelta;
use serde_json::Value;
use url::form_urlencoded;

use super::claims::Claims;
use super::parameters::KNOWN;
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::Settings;
use crate::crypto::jwt::Audience;
use crate::domain::client::{AssertionAlgorithm, PublicJwks, Registration};
use crate::domain::refusal::RefusalReason;
use crate::http::assertion::{self, LEEWAY, SignedJwt};

/// The parameter.
pub(in crate::http::oauth) const PARAMETER: &str = "request";
/// The media type in the header (RFC 9101 §10.8).
const TYPE: &str = "oauth-authz-req+jwt";
/// How old a FAPI client's request object may be, and how long it may be good (FAPI 2.0 Message Signing §5.3.1).
const FAPI_LONGEST: TimeDelta = TimeDelta::minutes(60);

/// Claims of the JWT itself (RFC 7519 §4.1): no parameters.
const JWT_CLAIMS: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
/// What no request object may hold (RFC 9101 §4).
const FORBIDDEN: [&str; 2] = ["request", "request_uri"];
/// What may be repeated beside the object must say the same (RFC 9101 §5, OpenID Connect Core §6.1).
const REPEATED: [&str; 2] = ["client_id", "response_type"];
/// Parameters whose values are JSON: in the object they are no text.
const JSON: [&str; 2] = ["claims", "authorization_details"];

/// Why a request object is not good, in fixed words for its client.
pub(in crate::http::oauth) fn what(reason: RefusalReason) -> &'static str {
    #[expect(clippy::wildcard_enum_match_arm, reason = "reasons of this module")]
    match reason {
        RefusalReason::RequestObjectAlgorithm => {
            "The request object is not signed with an algorithm that the client may use."
        }
        RefusalReason::RequestObjectSignature => "The request object is signed with no key of the client.",
        RefusalReason::RequestObjectClient => {
            "The iss or client_id of the request object is not the client, or a parameter beside it says otherwise."
        }
        RefusalReason::RequestObjectAudience => "The aud of the request object is not the issuer.",
        RefusalReason::RequestObjectTime => {
            "The request object is over, has not begun, or lives longer than its client's may."
        }
        RefusalReason::RequestObjectNested => "The request object has a request or request_uri itself.",
        _ => "The request object is not a signed JWT whose claims are parameters.",
    }
}

/// Whether this client's requests must be signed request objects (RFC 9101 §10.5).
pub(in crate::http::oauth) fn is_required(settings: &Settings, client: &Registration) -> bool {
    settings.require_signed_request_objects || client.metadata.require_signed_request_object
}

/// The parameters of a request object of this client, form-encoded, where it was good at `at`: those and no others are
/// the request (RFC 9101 §6.3). `beside` says what came with it.
pub(in crate::http::oauth) async fn parameters<'a>(
    app: &App,
    client: &Registration,
    object: &str,
    at: Timestamp,
    beside: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, RefusalReason> {
    let jwt = read(object)?;
    let algorithm = algorithm(client, &jwt.alg)?;
    let claims = &jwt.claims;
    is_of(client, claims)?;
    for name in REPEATED {
        let differs = |said: &str| claims.text(name).is_some_and(|own| own != said);
        if beside(name).is_some_and(differs) {
            return Err(RefusalReason::RequestObjectClient);
        }
    }
    is_for(&app.settings.issuer, claims)?;
    is_good_at(at, client.metadata.is_fapi2(), claims)?;
    if FORBIDDEN.iter().any(|name| claims.get(name).is_some()) {
        return Err(RefusalReason::RequestObjectNested);
    }
    let named = (jwt.kid.as_deref(), at);
    let signed = |jwks: &PublicJwks| jwt.signer(jwks, algorithm).map(|_| ());
    let signed = app.client_keys.find(client.metadata.keys(), named, signed).await;
    signed.ok_or(RefusalReason::RequestObjectSignature)?;
    encode(&client.client_id, claims).ok_or(RefusalReason::RequestObjectMalformed)
}

/// The parameters of a text that has the form of a request object; for the tests of all parsers.
pub(super) fn parameters_in(text: &str) -> Option<String> {
    let jwt: SignedJwt<Claims> = SignedJwt::parse(text, &[TYPE, "JWT"])?;
    let at = Timestamp::default();
    let _ = (
        is_for("https://id.example", &jwt.claims),
        is_good_at(at, false, &jwt.claims),
        is_good_at(at, true, &jwt.claims),
    );
    encode(jwt.claims.text("client_id")?, &jwt.claims)
}

/// The compact form. RFC 9101 §10.8 has servers accept the media type and does not have clients send it: what else of a
/// client's might pass for a request object is told by its claims ([`is_of`], [`is_for`]).
fn read(object: &str) -> Result<SignedJwt<Claims>, RefusalReason> {
    SignedJwt::parse(object, &[TYPE, "JWT"]).ok_or(RefusalReason::RequestObjectMalformed)
}

/// The header's algorithm, where the client may use it. `none` and those of shared secrets are no algorithms here.
fn algorithm(client: &Registration, name: &str) -> Result<AssertionAlgorithm, RefusalReason> {
    let registered = client.metadata.request_object_signing_alg;
    AssertionAlgorithm::named(name)
        .filter(|named| registered.is_none_or(|one| one == *named))
        .filter(|named| client.metadata.may_sign_with(*named))
        .ok_or(RefusalReason::RequestObjectAlgorithm)
}

/// RFC 9101 §4: the `client_id` must be there, and where it says who issued it, that is the client. A `sub` that is the
/// client would make it an assertion that authenticates (RFC 9101 §10.8).
fn is_of(client: &Registration, claims: &Claims) -> Result<(), RefusalReason> {
    let is_client = |name: &str| claims.text(name) == Some(client.client_id.as_str());
    let issuer = is_client("iss") || (claims.get("iss").is_none() && !client.metadata.is_fapi2());
    if issuer && is_client("client_id") && !is_client("sub") {
        return Ok(());
    }
    Err(RefusalReason::RequestObjectClient)
}

/// RFC 9101 §4: the issuer is the audience, alone or among others.
fn is_for(issuer: &str, claims: &Claims) -> Result<(), RefusalReason> {
    let audience = claims.get("aud").cloned();
    let audience: Option<Audience> = audience.and_then(|audience| serde_json::from_value(audience).ok());
    match audience {
        Some(audience) if audience.contains(issuer) => Ok(()),
        Some(_) | None => Err(RefusalReason::RequestObjectAudience),
    }
}

/// What the object says of its time must hold; a FAPI client's must say when it begins and ends.
fn is_good_at(at: Timestamp, fapi: bool, claims: &Claims) -> Result<(), RefusalReason> {
    let moment = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .and_then(assertion::moment)
            .map(Some)
            .ok_or(RefusalReason::RequestObjectTime),
    };
    let (exp, nbf, iat) = (moment("exp")?, moment("nbf")?, moment("iat")?);
    let begun = [nbf, iat]
        .into_iter()
        .flatten()
        .all(|begins| begins <= at + LEEWAY);
    let lasts = exp.is_none_or(|ends| at < ends);
    let short = match (nbf, exp) {
        (Some(nbf), Some(exp)) => at <= nbf + FAPI_LONGEST && exp <= nbf + FAPI_LONGEST,
        (_, _) => false,
    };
    if begun && lasts && (short || !fapi) {
        return Ok(());
    }
    Err(RefusalReason::RequestObjectTime)
}

/// The parameters as a form: text as it is, numbers and switches in digits and words, lists of `resource` one by one. A
/// value that a parameter of that name cannot have makes the object malformed; of names that mean nothing here it is ignored
/// (RFC 9101 §4, RFC 7519 §4).
fn encode(client_id: &str, claims: &Claims) -> Option<String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", client_id);
    let parameters = claims
        .iter()
        .filter(|(name, _)| *name != "client_id" && !JWT_CLAIMS.contains(name));
    for (name, value) in parameters {
        match value {
            Value::String(text) => {
                form.append_pair(name, text);
            }
            Value::Number(_) | Value::Bool(_) => {
                form.append_pair(name, &value.to_string());
            }
            Value::Array(list) if name == "resource" => {
                for one in list {
                    form.append_pair(name, one.as_str()?);
                }
            }
            Value::Object(_) | Value::Array(_) if JSON.contains(&name) => {
                form.append_pair(name, &value.to_string());
            }
            Value::Object(_) | Value::Array(_) | Value::Null if KNOWN.contains(&name) => return None,
            Value::Object(_) | Value::Array(_) | Value::Null => {}
        }
    }
    Some(form.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::json;

    fn claims(value: &Value) -> Claims {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn a_request_objects_claims_become_parameters() {
        let object = claims(&json!({
            "iss": "c", "aud": "x", "exp": 1, "client_id": "c", "state": "a&b", "max_age": 60,
            "resource": ["urn:a", "urn:b"], "claims": {"id_token": {"acr": null}},
        }));
        let form = encode("c", &object).unwrap();
        let pairs: Vec<(String, String)> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let find = |name: &str| -> Vec<&str> {
            let found = pairs.iter().filter(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(find("state"), ["a&b"]);
        assert_eq!(find("max_age"), ["60"]);
        assert_eq!(find("resource"), ["urn:a", "urn:b"]);
        assert_eq!(find("claims"), [r#"{"id_token":{"acr":null}}"#]);
        assert!(find("exp").is_empty() && find("iss").is_empty());
        assert_eq!(find("client_id"), ["c"]);
        for odd in [
            json!({"scope": ["a"]}),
            json!({"state": null}),
            json!({"resource": [1]}),
        ] {
            assert_eq!(encode("c", &claims(&odd)), None, "{odd}");
        }
        let unknown = json!({"verified_claims": {"a": 1}, "groups": [1], "none": null, "state": "s"});
        assert_eq!(
            encode("c", &claims(&unknown)).as_deref(),
            Some("client_id=c&state=s")
        );
    }

    #[test]
    fn a_fapi_request_object_says_when_it_begins_and_ends_within_an_hour() {
        let at = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let good = |fapi: bool, value: Value| is_good_at(at, fapi, &claims(&value)).is_ok();
        for always in [
            json!({"nbf": 999_999, "exp": 1_000_001}),
            json!({"nbf": 996_400, "exp": 1_000_000.5}),
            json!({"nbf": 1_000_060, "exp": 1_003_660, "iat": 1_000_060}),
        ] {
            let short = always["exp"].as_f64().unwrap() <= always["nbf"].as_f64().unwrap() + 3600.0;
            assert!(good(false, always.clone()), "{always}");
            assert_eq!(good(true, always.clone()), short, "{always}");
        }
        for loose in [
            json!({}),
            json!({"exp": 1_000_001}),
            json!({"nbf": 1}),
            json!({"nbf": 996_399, "exp": 1_000_001}),
            json!({"nbf": 1_000_000, "exp": 1_003_601}),
        ] {
            assert!(
                good(false, loose.clone()) && !good(true, loose.clone()),
                "{loose}"
            );
        }
        for never in [
            json!({"nbf": 999_999, "exp": 1_000_000}),
            json!({"nbf": 1_000_061, "exp": 1_000_100}),
            json!({"nbf": 1_000_000, "exp": 1_000_100, "iat": 1_000_061}),
            json!({"nbf": "now", "exp": 1_000_100}),
            json!({"nbf": 1, "exp": 1e300}),
        ] {
            assert!(
                !good(false, never.clone()) && !good(true, never.clone()),
                "{never}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_claims_are_encoded_or_refused_and_read_back(
            names in proptest::collection::vec("[a-z_]{1,9}", 0..6),
            text in "\\PC{0,40}",
            number in any::<f64>(),
        ) {
            let mut members = serde_json::Map::new();
            for (place, name) in names.iter().enumerate() {
                let value = if place % 2 == 0 { json!(text) } else { json!(number) };
                members.insert(name.clone(), value);
            }
            let object = claims(&Value::Object(members));
            let _ = is_good_at(DateTime::UNIX_EPOCH, true, &object);
            if let Some(form) = encode("c", &object) {
                let clients = form_urlencoded::parse(form.as_bytes()).filter(|(name, _)| name == "client_id");
                prop_assert_eq!(clients.count(), 1);
            }
        }
    }
}
