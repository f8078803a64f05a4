//! Client authentication with a signed assertion: `private_key_jwt` (RFC 7523 §2.2 and §3, OpenID Connect Core §9).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use tokio::sync::OnceCell;

use crate::app::App;
use crate::clock::Timestamp;
use crate::config::{AssertionAudience, Settings};
use crate::crypto::jwt::Audience;
use crate::domain::client::{AssertionAlgorithm, Registration};
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::ids::ClientKey;
use crate::ledger::LedgerError;

/// The one `client_assertion_type` that is supported (RFC 7523 §2.2).
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The most bytes of an assertion.
const MAX_BYTES: usize = 16 * 1024;
/// The most bytes of a `jti`.
const MAX_JTI: usize = 255;
/// How far ahead an assertion may end: the hour that libraries give it. It is used once, whatever it says.
const LONGEST: TimeDelta = TimeDelta::hours(1);
/// How far the client's clock may be from ours.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);
/// An assertion, read and not yet believed.
pub(super) struct Assertion {
    algorithm: AssertionAlgorithm,
    kid: Option<String>,
    claims: Claims,
    /// What is signed: header and claims as they came.
    signed: String,
    signature: Vec<u8>,
    /// Whether it is used for the first time.
    is_first_use: OnceCell<bool>,
}

/// The header (RFC 7515 §4).
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    /// Whether there are extensions that must be understood: none is.
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

/// True, whatever is there: also for `null`, which RFC 7515 §4.1.11 does not allow.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The claims (RFC 7523 §3); others mean nothing.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    iat: Option<f64>,
    jti: String,
}

impl Assertion {
    /// Reads the compact form (RFC 7515 §7.1). Any text is read or refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Header = serde_json::from_slice(&part(header)?).ok()?;
        let claims: Claims = serde_json::from_slice(&part(claims)?).ok()?;
        let typ = header.typ.as_deref().unwrap_or("JWT");
        // Explicit typing keeps tokens out that were made for something else (RFC 8725 §3.11).
        let typed = ["JWT", "client-authentication+jwt"]
            .iter()
            .any(|known| typ.eq_ignore_ascii_case(known));
        if !typed || header.crit || claims.jti.is_empty() || claims.jti.len() > MAX_JTI {
            return None;
        }
        Some(Self {
            algorithm: AssertionAlgorithm::named(&header.alg)?,
            kid: header.kid,
            claims,
            signed: signed.to_owned(),
            signature: part(signature)?,
            is_first_use: OnceCell::new(),
        })
    }

    /// The client that it says it is of.
    pub(super) fn client_id(&self) -> &str {
        &self.claims.sub
    }

    /// Checks the assertion, and uses it up where it is good.
    pub(super) async fn authenticate(
        &self,
        app: &App,
        (key, client): (ClientKey, &Registration),
        (endpoint, at): (&str, Timestamp),
    ) -> Result<Result<(), RefusalReason>, LedgerError> {
        let accepted = Accepted::here(&app.settings, endpoint, client.metadata.legacy);
        let ends = match self.check(client, &accepted, at) {
            Ok(ends) => ends,
            Err(reason) => return Ok(Err(reason)),
        };
        let first = self.is_first_use.get_or_try_init(|| self.use_up(app, key, ends));
        Ok(if *first.await? {
            Ok(())
        } else {
            Err(RefusalReason::AssertionReplayed)
        })
    }

    /// All but the single use; when it ends.
    fn check(
        &self,
        client: &Registration,
        accepted: &Accepted,
        at: Timestamp,
    ) -> Result<Timestamp, RefusalReason> {
        let claims = &self.claims;
        if claims.iss != client.client_id || claims.sub != client.client_id {
            return Err(RefusalReason::AssertionSubject);
        }
        let jwks = client.metadata.jwks.as_ref();
        let signed = jwks.is_some_and(|jwks| {
            jwks.verify(
                self.kid.as_deref(),
                self.algorithm,
                self.signed.as_bytes(),
                &self.signature,
            )
        });
        if !signed {
            return Err(RefusalReason::AssertionSignature);
        }
        if !accepted.is_for_us(&claims.aud) {
            return Err(RefusalReason::AssertionAudience);
        }
        self.ends(at).ok_or(RefusalReason::AssertionTime)
    }

    /// When it ends, where that is to come and not too far off, and where it has begun.
    fn ends(&self, at: Timestamp) -> Option<Timestamp> {
        let ends = moment(self.claims.exp)?;
        let begun = |claim: Option<f64>| match claim {
            None => Some(true),
            Some(seconds) => Some(moment(seconds)? <= at + LEEWAY),
        };
        let good =
            at < ends && ends <= at + LONGEST + LEEWAY && begun(self.claims.nbf)? && begun(self.claims.iat)?;
        good.then_some(ends)
    }

    /// Notes its `jti`, on all nodes at once. False: it was used before.
    async fn use_up(&self, app: &App, client: ClientKey, ends: Timestamp) -> Result<bool, LedgerError> {
        let digest = Digest::of(&[client.0.as_bytes(), self.claims.jti.as_bytes()].concat());
        // Not tried again where the answer is lost: that would look like a second use.
        let inserted = sqlx::query(
            "INSERT INTO grantlog.client_assertions (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(digest.0.as_slice())
        .bind(ends + LEEWAY)
        .execute(app.ledger.pool())
        .await?;
        Ok(inserted.rows_affected() == 1)
    }
}

/// What an assertion may name as its audience.
struct Accepted {
    issuer: String,
    /// URLs of endpoints.
    endpoints: Vec<String>,
    /// The issuer's name alone, as a string (draft-ietf-oauth-rfc7523bis §4).
    strictly: bool,
}

impl Accepted {
    fn here(settings: &Settings, endpoint: &str, legacy: bool) -> Self {
        let issuer = settings.issuer.clone();
        let url = |path: &str| format!("{issuer}{path}");
        let (endpoints, strictly) = match (settings.assertion_audience, legacy) {
            (AssertionAudience::Endpoints, _) => (vec![url("/oauth/token"), url(endpoint)], false),
            (AssertionAudience::Issuer, true) => (vec![url("/oauth/token")], false),
            (AssertionAudience::Issuer, false) => (Vec::new(), true),
        };
        Self {
            issuer,
            endpoints,
            strictly,
        }
    }

    /// Whether it is for this server and for no other: an assertion that names another, too, could be passed on.
    fn is_for_us(&self, audience: &Audience) -> bool {
        let known = |named: &str| named == self.issuer || self.endpoints.iter().any(|url| url == named);
        match audience {
            Audience::One(named) => known(named),
            Audience::Many(named) => {
                !self.strictly && !named.is_empty() && named.iter().all(|named| known(named))
            }
        }
    }
}

/// A `NumericDate` (RFC 7519 §2), which may have a fraction.
fn moment(seconds: f64) -> Option<Timestamp> {
    // Far beyond any date that is good, and within what can be converted.
    if !(0.0..1e11).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    let millis = (seconds * 1000.0) as i64;
    DateTime::from_timestamp_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn compact(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    fn claims(changes: Value) -> Value {
        let mut claims =
            json!({"iss": "c", "sub": "c", "aud": "https://id.example", "exp": 1_000, "jti": "1"});
        let Value::Object(changes) = changes else {
            unreachable!()
        };
        claims.as_object_mut().unwrap().extend(changes);
        claims
    }

    #[test]
    fn an_assertion_is_a_signed_jwt_with_all_that_it_needs() {
        let header = json!({"alg": "ES256", "kid": "k", "typ": "JWT"});
        let parse = |header: &Value, claims: &Value| Assertion::parse(&compact(header, claims));
        let good = parse(&header, &claims(json!({"other": {"x": []}}))).unwrap();
        assert_eq!(good.client_id(), "c");
        for bad in [
            json!({"alg": "none"}),
            json!({"alg": "HS256"}),
            json!({"alg": "ES256", "crit": ["exp"]}),
            json!({"alg": "ES256", "crit": null}),
            json!({"alg": "ES256", "crit": []}),
            json!({"alg": "ES256", "typ": "at+jwt"}),
            json!({"typ": "JWT"}),
            json!([]),
        ] {
            assert!(parse(&bad, &claims(json!({}))).is_none(), "{bad}");
        }
        for bad in [
            json!({"jti": null}),
            json!({"jti": ""}),
            json!({"jti": "x".repeat(256)}),
            json!({"exp": "soon"}),
            json!({"aud": 7}),
            json!({"sub": null}),
            json!({"iss": ["c"]}),
        ] {
            assert!(parse(&header, &claims(bad.clone())).is_none(), "{bad}");
        }
        let text = compact(&header, &claims(json!({})));
        for bad in [
            format!("{text}."),
            format!("{text}="),
            text.replace('.', ""),
            "x".repeat(MAX_BYTES + 1),
        ] {
            assert!(Assertion::parse(&bad).is_none());
        }
        // A claim twice: which one is meant cannot be told.
        let doubled = r#"{"iss":"c","sub":"c","sub":"d","aud":"x","exp":1,"jti":"1"}"#;
        let doubled = format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(doubled)
        );
        assert!(Assertion::parse(&doubled).is_none());
    }

    #[test]
    fn the_audience_is_this_server_and_no_other() {
        let issuer = "https://id.example";
        let is_for_us = |audience: &Value, endpoints: &[&str], strictly: bool| {
            let accepted = Accepted {
                issuer: issuer.to_owned(),
                endpoints: endpoints.iter().map(|path| format!("{issuer}{path}")).collect(),
                strictly,
            };
            accepted.is_for_us(&serde_json::from_value(audience.clone()).unwrap())
        };
        let endpoints = ["/oauth/token", "/oauth/par"];
        for ours in [
            json!(issuer),
            json!([issuer]),
            json!("https://id.example/oauth/token"),
            json!(["https://id.example/oauth/par"]),
            json!([issuer, "https://id.example/oauth/token"]),
        ] {
            assert!(is_for_us(&ours, &endpoints, false), "{ours}");
            assert_eq!(is_for_us(&ours, &[], true), ours == json!(issuer), "{ours}");
        }
        for other in [
            json!([issuer, "https://evil.example"]),
            json!([]),
            json!("https://id.example/"),
            json!("https://evil.example/oauth/token"),
            json!("https://id.example/oauth/revoke"),
            json!("/oauth/token"),
        ] {
            assert!(!is_for_us(&other, &endpoints, false), "{other}");
        }
    }

    #[test]
    fn an_assertion_lives_an_hour_at_most_and_clocks_may_differ_by_a_minute() {
        let at = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let ends = |changes: Value| {
            let text = compact(&json!({"alg": "EdDSA"}), &claims(changes));
            Assertion::parse(&text).unwrap().ends(at).is_some()
        };
        for good in [
            json!({"exp": 1_000_001}),
            json!({"exp": 1_003_660}),
            json!({"exp": 1_000_000.5}),
            json!({"exp": 1_000_100, "nbf": 1_000_060, "iat": 1_000_060}),
            json!({"exp": 1_000_100, "iat": 0}),
        ] {
            assert!(ends(good.clone()), "{good}");
        }
        for bad in [
            json!({"exp": 1_000_000}),
            json!({"exp": 1_003_661}),
            json!({"exp": -1}),
            json!({"exp": 1e300}),
            json!({"exp": 1_000_100, "nbf": 1_000_061}),
            json!({"exp": 1_000_100, "iat": 1_000_061}),
            json!({"exp": 1_000_100, "nbf": -1e300}),
        ] {
            assert!(!ends(bad.clone()), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_an_assertion_or_refused(
            text in "\\PC{0,200}",
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..5),
            numbers in proptest::collection::vec(any::<f64>(), 3),
        ) {
            let _ = Assertion::parse(&text);
            let encoded: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
            let _ = Assertion::parse(&encoded.join("."));
            let times = claims(json!({"exp": numbers[0], "nbf": numbers[1], "iat": numbers[2]}));
            if let Some(assertion) = Assertion::parse(&compact(&json!({"alg": "RS256"}), &times)) {
                let _ = assertion.ends(DateTime::UNIX_EPOCH);
            }
        }
    }
}
