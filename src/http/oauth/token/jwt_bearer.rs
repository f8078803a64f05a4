//! `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer`, RFC 7523 §2.1: another server's assertion for an access
//! token, where an operator trusts that server for this client.

use chrono::TimeDelta;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::super::{ClientRequest, authorization_details, rounds};
use super::{Place, Randoms, TokenResponse, allowed, audience, requested_scope, unexpected};
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::Settings;
use crate::crypto::jwt::Audience;
use crate::domain::authorization_detail::Detail;
use crate::domain::client::{AssertionAlgorithm, GrantType, PublicJwks};
use crate::domain::confirmation::Thumbprint;
use crate::domain::grant::{AcceptAssertion, Grant, GrantRefusal, Outcome};
use crate::domain::refusal::RefusalReason;
use crate::domain::trusted_issuer::{SubjectMapping, Trust, TrustedIssuer};
use crate::domain::user::User;
use crate::domain::value::{Digest, ScopeSet, Sealed};
use crate::http::assertion::{self, SignedJwt};
use crate::http::client_auth::AuthenticatedClient;
use crate::http::error::{Rejection, TokenError};
use crate::http::one_time::OneTime;
use crate::ids::{GrantId, SubjectId};
use crate::ledger::{LedgerError, Loaded, UnitOfWork};
use crate::operations::authorization_detail::Holder;
use crate::operations::user::{EMAIL, parse_subject};

/// How far ahead an assertion may end. It is used once, so it need not live long.
const LONGEST: TimeDelta = TimeDelta::hours(1);
/// The media types of such an assertion (RFC 8725 §3.11): other tokens of the issuer are none.
const TYPES: [&str; 2] = ["JWT", "authorization-grant+jwt"];

/// The claims (RFC 7523 §3), and those by which a user can be found.
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
    /// None where there is none, which a trust may allow.
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    preferred_username: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<bool>,
}

/// An assertion, read and not yet believed.
struct Assertion {
    jwt: SignedJwt<Claims>,
    algorithm: AssertionAlgorithm,
    /// Whether it is used for the first time.
    is_first_use: OnceCell<bool>,
}

/// What is known of an assertion that is good, unless it was used before.
struct Verified {
    ends: Timestamp,
    /// The key that signed it.
    kid: Option<String>,
    jkt: Thumbprint,
}

/// Whether a text has the form of an assertion, and the moment that its times would let it end; for the tests of all
/// parsers.
pub(super) fn is_assertion(text: &str) -> bool {
    Assertion::parse(text).is_some_and(|assertion| {
        let claims = &assertion.jwt.claims;
        let _ = assertion::ends(
            claims.exp,
            [claims.nbf, claims.iat],
            (Timestamp::default(), LONGEST),
        );
        let _ = (assertion.digest(), parse_subject(&claims.sub));
        true
    })
}

impl Assertion {
    fn parse(text: &str) -> Option<Self> {
        let jwt: SignedJwt<Claims> = SignedJwt::parse(text, &TYPES)?;
        let algorithm = AssertionAlgorithm::named(&jwt.alg)?;
        jwt.claims
            .jti
            .as_deref()
            .is_none_or(assertion::is_id)
            .then(|| Self {
                jwt,
                algorithm,
                is_first_use: OnceCell::new(),
            })
    }

    /// All but the single use.
    async fn verify(&self, app: &App, trust: &Trust, at: Timestamp) -> Result<Verified, RefusalReason> {
        if self.jwt.claims.jti.is_none() && !trust.jti_optional {
            return Err(RefusalReason::GrantAssertionMalformed);
        }
        let named = (self.jwt.kid.as_deref(), at);
        let signer = |jwks: &PublicJwks| {
            let key = self.jwt.signer(jwks, self.algorithm)?;
            Some((key.kid.clone(), key.thumbprint()))
        };
        let keys = Some(trust.keys.source());
        let signer = app.issuer_keys.find(keys, named, signer).await;
        let (kid, jkt) = signer.ok_or(RefusalReason::GrantAssertionSignature)?;
        let ends = self.check(trust, &app.settings, at)?;
        Ok(Verified { ends, kid, jkt })
    }

    /// For whom, when and about whom it is; when it ends.
    fn check(&self, trust: &Trust, settings: &Settings, at: Timestamp) -> Result<Timestamp, RefusalReason> {
        let claims = &self.jwt.claims;
        if !assertion::is_for_us(&claims.aud, settings) {
            return Err(RefusalReason::GrantAssertionAudience);
        }
        let ends = assertion::ends(claims.exp, [claims.nbf, claims.iat], (at, LONGEST));
        let ends = ends.ok_or(RefusalReason::GrantAssertionTime)?;
        if !trust.subjects.is_empty() && !trust.subjects.contains(&claims.sub) {
            return Err(RefusalReason::GrantAssertionSubject);
        }
        Ok(ends)
    }

    /// What it is known by: its issuer and `jti`. Without one, what was signed, which has no NUL; the signature has no part
    /// in it, since whoever has one of P-256 can spell it in a second way.
    fn digest(&self) -> Digest {
        let claims = &self.jwt.claims;
        match &claims.jti {
            Some(jti) => Digest::of(&[claims.iss.as_bytes(), b"\0", jti.as_bytes()].concat()),
            None => Digest::of(self.jwt.signed().as_bytes()),
        }
    }

    /// Notes that it was used, on all nodes at once. False: it had been used before.
    async fn use_up(&self, app: &App, ends: Timestamp) -> Result<bool, LedgerError> {
        let noted = || OneTime::GrantAssertions.use_up(app, self.digest(), ends);
        self.is_first_use.get_or_try_init(noted).await.copied()
    }

    /// The user that its claims name; none where the client acts for itself.
    async fn subject(
        &self,
        app: &App,
        mapping: SubjectMapping,
    ) -> Result<Result<Option<SubjectId>, RefusalReason>, LedgerError> {
        let claims = &self.jwt.claims;
        let found = match mapping {
            SubjectMapping::Client => return Ok(Ok(None)),
            SubjectMapping::UserId => parse_subject(&claims.sub),
            SubjectMapping::Username => match &claims.preferred_username {
                Some(username) => app.operations.find_user(username).await?,
                None => None,
            },
            SubjectMapping::Email => match &claims.email {
                // Anybody can write any address into an account whose addresses nobody checks.
                Some(email) if claims.email_verified == Some(true) => {
                    let found = app.ledger.find_name(EMAIL, &email.to_lowercase()).await?;
                    found.map(SubjectId)
                }
                Some(_) | None => None,
            },
        };
        Ok(found.map(Some).ok_or(RefusalReason::GrantAssertionSubject))
    }
}

pub(super) async fn redeem(
    app: &App,
    request: &ClientRequest,
) -> Result<TokenResponse, Rejection<TokenError>> {
    let assertion = Assertion::parse(request.required("assertion")?);
    let randoms = Randoms::new(app)?;
    let mut unit = app.ledger.unit_of_work(&request.context);
    rounds!(unit, round(app, request, &mut unit, assertion.as_ref(), &randoms))
}

async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    assertion: Option<&Assertion>,
    randoms: &Randoms,
) -> Result<Option<TokenResponse>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    allowed(app, unit, &client, GrantType::JwtBearer).await?;
    let refused = |reason| Rejection::new(TokenError::InvalidGrant, reason).client(client.key);
    let assertion = assertion.ok_or(refused(RefusalReason::GrantAssertionMalformed))?;
    let trusted_id = TrustedIssuer::id(&assertion.jwt.claims.iss);
    let trusted = unit.load::<TrustedIssuer>(trusted_id.0).await?;
    let trust = trusted
        .trust_for(client.key)
        .ok_or(refused(RefusalReason::IssuerNotTrusted))?;
    if !client.registration.metadata.may_sign_with(assertion.algorithm) {
        return Err(refused(RefusalReason::GrantAssertionAlgorithm));
    }
    let verified = assertion.verify(app, trust, unit.at()).await.map_err(refused)?;
    let (subject, password_generation) = subject(app, unit, (&client, trust), assertion).await?;
    unit.about(subject);
    let scope = scope(request, unit, &client, trust).await?;
    let audience = audience(app, request, &client)?;
    let at = unit.at();
    let id = GrantId(app.ledger.random().uuid_at(at).map_err(LedgerError::from)?);
    let own = (id, subject.map_or(Holder::Client(client.key), Holder::Subject));
    let details = details(app, unit, (request, &client, trust), (&audience, own)).await?;
    let mut mint = randoms.mint(
        &client.registration,
        GrantType::JwtBearer,
        request.confirmation(&client)?,
    );
    mint.refresh = None;
    mint.access_lifetime = mint.access_lifetime.min(trust.max_lifetime);
    if !assertion.use_up(app, verified.ends).await? {
        return Err(refused(RefusalReason::GrantAssertionReplayed));
    }
    let command = AcceptAssertion {
        client: client.key,
        subject,
        issuer: trusted_id,
        trust_version: u64::try_from(trusted.sequence).unwrap_or_default(),
        assertion: assertion.digest(),
        kid: verified.kid,
        jkt: verified.jkt,
        scope,
        audience,
        details,
        password_generation,
        mint,
        at,
    };
    let grant = unit.create::<Grant>(id.0);
    let Some(concluded) = unit.conclude(&grant, grant.accept_assertion(&command)).await? else {
        return Ok(None);
    };
    let place = Place::of(&grant, concluded.first_own);
    match concluded.outcome {
        Ok(Outcome::Tokens(issued)) => {
            TokenResponse::new(app, &client.registration, place, &issued, randoms).map(Some)
        }
        Ok(Outcome::Code | Outcome::Answered | Outcome::Imported | Outcome::Revoked) => Err(unexpected()),
        Err(refusal) => Err(Rejection::from(refusal).client(client.key)),
    }
}

/// The authorization details that are asked for, of types that the trust has, too.
async fn details(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    (request, client, trust): (&ClientRequest, &AuthenticatedClient, &Trust),
    (audience, own): (&[String], (GrantId, Holder)),
) -> Result<Option<(Vec<Detail>, Sealed)>, Rejection<TokenError>> {
    let asked = authorization_details::of_new_grant(app, unit, (request, client), audience, own).await?;
    let types = &trust.authorization_details_types;
    let is_trusted = |detail: &Detail| types.iter().any(|one| one == detail.type_name());
    if asked.iter().flat_map(|(details, _)| details).all(is_trusted) {
        return Ok(asked);
    }
    let reason = RefusalReason::DetailTypeNotAllowed;
    Err(Rejection::new(TokenError::InvalidAuthorizationDetails, reason).client(client.key))
}

/// The user that the assertion is about, who must be able to act, and how often the password has changed; none where
/// the client acts for itself.
async fn subject(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    (client, trust): (&AuthenticatedClient, &Trust),
    assertion: &Assertion,
) -> Result<(Option<SubjectId>, u32), Rejection<TokenError>> {
    let refused = |reason| Rejection::new(TokenError::InvalidGrant, reason).client(client.key);
    let subject = assertion.subject(app, trust.subject_is).await?;
    let Some(user) = subject.map_err(refused)? else {
        return Ok((None, 0));
    };
    let loaded: Loaded<User> = unit.load(user.0).await?;
    if !loaded.may_act() {
        let known = loaded.account.is_some();
        return Err(refused(if known {
            RefusalReason::UserDisabled
        } else {
            RefusalReason::GrantAssertionSubject
        }));
    }
    if !client.registration.metadata.serves(user) {
        return Err(Rejection::from(GrantRefusal::ClientNotLive).client(client.key));
    }
    Ok((Some(user), loaded.password_generation))
}

/// What is asked for; or of what the client asks for by default, what the trust has.
async fn scope(
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    client: &AuthenticatedClient,
    trust: &Trust,
) -> Result<ScopeSet, Rejection<TokenError>> {
    let scope = requested_scope(request, unit, client).await?;
    if scope.is_subset(&trust.scope) {
        return Ok(scope);
    }
    let left: ScopeSet = scope.iter().filter(|scope| trust.scope.contains(scope)).collect();
    // Authorization details do without (RFC 9396 §3.1).
    let is_nothing = left.is_empty() && !authorization_details::are_asked_for(&request.form);
    if request.form.get("scope").is_some() || is_nothing {
        let rejection = Rejection::new(TokenError::InvalidScope, RefusalReason::ScopeNotAllowed);
        return Err(rejection.client(client.key));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    proptest! {
        #[test]
        fn any_text_is_read_as_a_grants_assertion_or_refused(
            text in "\\PC{0,200}",
            alg in "none|HS256|ES256|RS256|EdDSA|[a-z]{0,5}",
            jti in proptest::option::of("[a-z]{0,3}"),
            numbers in any::<[f64; 3]>(),
            email in proptest::option::of("\\PC{0,20}"),
        ) {
            let _ = Assertion::parse(&text);
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let claims = json!({"iss": "i", "sub": text, "aud": "x", "exp": numbers[0], "nbf": numbers[1],
                "iat": numbers[2], "jti": jti, "email": email});
            let compact = format!("{}.{}.c2ln", part(&json!({"alg": alg})), part(&claims));
            // JSON has no infinite numbers: they were written as null.
            let complete = numbers[0].is_finite() && jti.is_none_or(|jti| !jti.is_empty());
            let parsed = Assertion::parse(&compact);
            prop_assert_eq!(parsed.is_some(), complete && AssertionAlgorithm::named(&alg).is_some());
        }
    }
}
