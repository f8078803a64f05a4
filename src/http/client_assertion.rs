//! Client authentication with a signed assertion: `private_key_jwt` and `client_secret_jwt` (RFC 7523 §2.2 and §3,
//! OpenID Connect Core §9).

use chrono::TimeDelta;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::assertion::{self, SignedJwt};
use super::one_time::OneTime;
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::{AssertionAudience, Settings};
use crate::crypto::jwt::Audience;
use crate::domain::client::{
    AssertionAlgorithm, AuthAlgorithm, AuthMethod, PublicJwk, PublicJwks, Registration, SecretVerifier,
    SecurityProfile,
};
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::ids::ClientKey;
use crate::ledger::{ClientAuthentication, LedgerError};

/// The one `client_assertion_type` that is supported (RFC 7523 §2.2).
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far ahead an assertion may end: the hour that libraries give it. It is used once, whatever it says.
const LONGEST: TimeDelta = TimeDelta::hours(1);
/// The media types of such an assertion (RFC 8725 §3.11).
const TYPES: [&str; 2] = ["JWT", "client-authentication+jwt"];

/// An assertion, read and not yet believed.
pub(super) struct Assertion {
    algorithm: AuthAlgorithm,
    jwt: SignedJwt<Claims>,
    /// Whether it is used for the first time.
    is_first_use: OnceCell<bool>,
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
        let jwt: SignedJwt<Claims> = SignedJwt::parse(text, &TYPES)?;
        Some(Self {
            algorithm: AuthAlgorithm::named(&jwt.alg).filter(|_| assertion::is_id(&jwt.claims.jti))?,
            jwt,
            is_first_use: OnceCell::new(),
        })
    }

    /// The client that it says it is of.
    pub(super) fn client_id(&self) -> &str {
        &self.jwt.claims.sub
    }

    /// The authentication method that it is of.
    pub(super) fn method(&self) -> AuthMethod {
        self.algorithm.method()
    }

    /// Checks the assertion, and uses it up where it is good.
    pub(super) async fn authenticate(
        &self,
        app: &App,
        (key, client): (ClientKey, &Registration),
        (endpoint, at): (&str, Timestamp),
    ) -> Result<Result<ClientAuthentication, RefusalReason>, LedgerError> {
        if self.jwt.claims.iss != client.client_id || self.jwt.claims.sub != client.client_id {
            return Ok(Err(RefusalReason::AssertionSubject));
        }
        let how = match self.signer(app, client, at).await? {
            Ok(how) => how,
            Err(reason) => return Ok(Err(reason)),
        };
        let accepted = Accepted::here(&app.settings, endpoint, client.metadata.security_profile());
        let ends = match self.check(&accepted, at) {
            Ok(ends) => ends,
            Err(reason) => return Ok(Err(reason)),
        };
        let first = self.is_first_use.get_or_try_init(|| self.use_up(app, key, ends));
        Ok(if *first.await? {
            Ok(how)
        } else {
            Err(RefusalReason::AssertionReplayed)
        })
    }

    /// Which key or secret of the client signed it.
    async fn signer(
        &self,
        app: &App,
        client: &Registration,
        at: Timestamp,
    ) -> Result<Result<ClientAuthentication, RefusalReason>, LedgerError> {
        let mut how = ClientAuthentication::of(self.method());
        match self.algorithm {
            algorithm if !client.metadata.may_authenticate_with(algorithm) => {}
            AuthAlgorithm::Key(algorithm) => how.kid = self.signing_key(app, (client, algorithm), at).await,
            AuthAlgorithm::Secret(_) if !app.settings.allow_client_secret_jwt => {
                return Ok(Err(RefusalReason::ClientSecretJwtNotAllowed));
            }
            AuthAlgorithm::Secret(_) => how.secret = self.signing_secret(app, client, at).await?,
        }
        let signed = how.kid.is_some() || how.secret.is_some();
        Ok(signed.then_some(how).ok_or(RefusalReason::AssertionSignature))
    }

    /// The name of the client's key that signed it.
    async fn signing_key(
        &self,
        app: &App,
        (client, algorithm): (&Registration, AssertionAlgorithm),
        at: Timestamp,
    ) -> Option<String> {
        let named = (self.jwt.kid.as_deref(), at);
        let signer = |jwks: &PublicJwks| self.jwt.signer(jwks, algorithm).map(PublicJwk::name);
        app.client_keys.find(client.metadata.keys(), named, signer).await
    }

    /// The number of the client's secret that signed it.
    async fn signing_secret(
        &self,
        app: &App,
        client: &Registration,
        at: Timestamp,
    ) -> Result<Option<u32>, LedgerError> {
        for secret in client.valid_secrets(at) {
            let SecretVerifier::Key(id) = secret.verifier else {
                continue;
            };
            let key = app.secret_keys.find(&app.ledger, id).await?;
            if key.is_some_and(|key| self.jwt.is_signed_under(&key)) {
                return Ok(Some(secret.number));
            }
        }
        Ok(None)
    }

    /// Whom it is for, and when; when it ends.
    fn check(&self, accepted: &Accepted, at: Timestamp) -> Result<Timestamp, RefusalReason> {
        if !accepted.is_for_us(&self.jwt.claims.aud) {
            return Err(RefusalReason::AssertionAudience);
        }
        self.ends(at).ok_or(RefusalReason::AssertionTime)
    }

    /// When it ends, where its time is good.
    fn ends(&self, at: Timestamp) -> Option<Timestamp> {
        let claims = &self.jwt.claims;
        assertion::ends(claims.exp, [claims.nbf, claims.iat], (at, LONGEST))
    }

    /// Notes its `jti`, on all nodes at once. False: it was used before.
    async fn use_up(&self, app: &App, client: ClientKey, ends: Timestamp) -> Result<bool, LedgerError> {
        let digest = Digest::of(&[client.0.as_bytes(), self.jwt.claims.jti.as_bytes()].concat());
        OneTime::ClientAssertions.use_up(app, digest, ends).await
    }
}

/// Whose assertion a text is, where it has the form of one; for the tests of all parsers.
#[doc(hidden)]
#[must_use]
pub fn client_named_in(text: &str) -> Option<String> {
    Some(Assertion::parse(text)?.client_id().to_owned())
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
    fn here(settings: &Settings, endpoint: &str, profile: SecurityProfile) -> Self {
        let issuer = settings.issuer.clone();
        let token = settings.urls_of("/oauth/token");
        let legacy = profile == SecurityProfile::Legacy;
        let (endpoints, strictly) = match (settings.assertion_audience, legacy) {
            // FAPI 2.0 Security Profile §5.3.2.1: the issuer, as a string.
            _ if profile.is_fapi2() => (Vec::new(), true),
            (AssertionAudience::Endpoints, _) => (token.chain(settings.urls_of(endpoint)).collect(), false),
            (AssertionAudience::Issuer, true) => (token.collect(), false),
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

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use chrono::DateTime;
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
            json!({"alg": "HS512"}),
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
            "x".repeat(assertion::MAX_BYTES + 1),
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
