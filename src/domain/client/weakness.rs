//! What weakens a client, and which specification advises against it: for administrators to see, not refused.

use schemars::JsonSchema;
use serde::Serialize;
use url::Url;

use super::metadata::{AuthMethod, ClientMetadata, GrantType, ResponseProfile, TokenAlgorithm};

/// Seconds that a bearer token may live without a warning (RFC 6750 §5.3).
const USUAL_LIFETIME: u32 = 3600;

/// One thing that weakens a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Weakness {
    /// The member of its metadata.
    pub member: &'static str,
    /// What follows from it.
    pub problem: &'static str,
    /// Which section advises against it.
    pub section: &'static str,
}

impl ClientMetadata {
    /// What weakens the client, as it is registered.
    #[must_use]
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let codes = self.allows(GrantType::AuthorizationCode);
        let bound = self.dpop_bound_access_tokens || self.tls_client_certificate_bound_access_tokens;
        let plain_http = |uri: &String| Url::parse(uri).is_ok_and(|url| url.scheme() == "http");
        let refreshes = self.allows(GrantType::RefreshToken);
        let grace = self.is_public() && !bound && self.refresh_grace.is_some_and(|grace| grace > 0);
        let long = !bound
            && (self.access_token_lifetime > USUAL_LIFETIME
                || self
                    .lifetimes
                    .values()
                    .any(|flow| flow.access_token.is_some_and(|seconds| seconds > USUAL_LIFETIME)));
        [
            (self.legacy && codes, LEGACY),
            (!self.legacy && !self.require_pkce && codes, NO_PKCE),
            (self.redirect_uris.iter().any(plain_http), PLAIN_HTTP),
            (self.allows(GrantType::Password), PASSWORD),
            (self.token_endpoint_auth_method == AuthMethod::Any, ANY_METHOD),
            (self.has_secret() && !self.allowed_origins.is_empty(), BROWSER),
            (self.is_public() && refreshes && !bound, UNBOUND),
            (grace, GRACE),
            (long, LONG),
            (self.legacy_full_scope, FULL_SCOPE),
            (self.client_credentials_refresh, MACHINE_REFRESH),
            (self.access_token_algorithm == TokenAlgorithm::HS256, SYMMETRIC),
            (self.json_requests, JSON),
            (self.response_profile == ResponseProfile::CamelCase, SPELLING),
        ]
        .into_iter()
        .filter_map(|(weak, weakness)| weak.then_some(weakness))
        .collect()
    }
}

const fn weakness(member: &'static str, problem: &'static str, section: &'static str) -> Weakness {
    Weakness {
        member,
        problem,
        section,
    }
}

const LEGACY: Weakness = weakness(
    "legacy",
    "PKCE may be left out or be plain: a stolen code can be redeemed",
    "RFC 9700 §2.1.1",
);
const NO_PKCE: Weakness = weakness(
    "require_pkce",
    "PKCE may be left out: a code that is slipped into the client's own answer is redeemed",
    "RFC 9700 §2.1.1",
);
const PLAIN_HTTP: Weakness = weakness(
    "redirect_uris",
    "codes are sent over plain http; other programs of the device may take them",
    "RFC 9700 §2.6",
);
const PASSWORD: Weakness = weakness("grant_types", "the client sees users' passwords", "RFC 9700 §2.4");
const ANY_METHOD: Weakness = weakness(
    "token_endpoint_auth_method",
    "the secret may come in the body, and no one method is held to",
    "RFC 9700 §2.5",
);
const BROWSER: Weakness = weakness(
    "allowed_origins",
    "pages may call the endpoints: a secret that a page knows is everybody's. Give the browser's part a client of its own, \
     without one",
    "RFC 6749 §10.1",
);
const UNBOUND: Weakness = weakness(
    "dpop_bound_access_tokens",
    "refresh tokens of a public client are bound to no key: only rotation tells of a theft",
    "RFC 9700 §2.2.2",
);
const GRACE: Weakness = weakness(
    "refresh_grace",
    "a stolen refresh token of a public client may be used once within the grace period",
    "RFC 9700 §4.14.2",
);
const LONG: Weakness = weakness(
    "access_token_lifetime",
    "a stolen bearer token is good for more than an hour",
    "RFC 6750 §5.3",
);
const FULL_SCOPE: Weakness = weakness(
    "legacy_full_scope",
    "tokens have more scope than was asked for",
    "RFC 9700 §2.3",
);
const MACHINE_REFRESH: Weakness = weakness(
    "client_credentials_refresh",
    "a refresh token stands in for the client's own credentials",
    "RFC 6749 §4.4.3",
);
const SYMMETRIC: Weakness = weakness(
    "access_token_algorithm",
    "resource servers cannot verify the tokens themselves",
    "RFC 9068 §2.1",
);
const JSON: Weakness = weakness("json_requests", "requests are not form-encoded", "RFC 6749 §3.2");
const SPELLING: Weakness = weakness(
    "response_profile",
    "answers are not spelled as libraries expect",
    "RFC 6749 §5.1",
);
