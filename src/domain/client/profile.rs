//! Security profiles: which rules a client is held to, as a whole. `oauth21` is what every client is held to; FAPI 2.0's
//! two are for clients that move money or health data; `legacy` loosens, member by member.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth_algorithm::AuthAlgorithm;
use super::jwks::AssertionAlgorithm;
use super::metadata::{
    AuthMethod, ClientMetadata, GrantType, IdTokenAlgorithm, ResponseProfile, TokenAlgorithm,
};

/// Seconds that an authorization code of a FAPI client lives at most (FAPI 2.0 Security Profile §5.3.2.1).
const FAPI_CODE_LIFETIME: u32 = 60;

/// Seconds that a FAPI client's pushed request waits at most: less than 600 (FAPI 2.0 Security Profile §5.3.2.2).
const FAPI_PUSHED_REQUEST_LIFETIME: u32 = 599;

/// What a client's authorization requests must have of PKCE (RFC 7636). To a challenge that was sent the code is bound in
/// any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PkceRule {
    /// A challenge under S256 (RFC 9700 §2.1.1).
    Required,
    /// None, or one under S256.
    Optional,
    /// None, or one under S256 or `plain`.
    Loose,
}

/// The rules that a client is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecurityProfile {
    /// OAuth 2.1 and RFC 9700.
    #[serde(rename = "oauth21")]
    Oauth21,
    /// FAPI 2.0 Security Profile.
    #[serde(rename = "fapi2-security")]
    Fapi2Security,
    /// FAPI 2.0 Message Signing: besides, requests and responses are signed.
    #[serde(rename = "fapi2-message-signing")]
    Fapi2MessageSigning,
    /// What follows may be loosened, member by member.
    #[serde(rename = "legacy")]
    Legacy,
}

impl SecurityProfile {
    /// The name in a client's metadata.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Oauth21 => "oauth21",
            Self::Fapi2Security => "fapi2-security",
            Self::Fapi2MessageSigning => "fapi2-message-signing",
            Self::Legacy => "legacy",
        }
    }

    /// Whether it is one of FAPI 2.0's.
    #[must_use]
    pub fn is_fapi2(self) -> bool {
        matches!(self, Self::Fapi2Security | Self::Fapi2MessageSigning)
    }
}

/// What OAuth 2.1 does not have, and a client may have all the same where it is marked legacy.
const REMOVED: [(&str, &str, Has); 2] = [
    (
        "grant_types",
        "the password grant is for a client with legacy: true only (OAuth 2.1 has none)",
        |client| client.allows(GrantType::Password),
    ),
    (
        "response_profile",
        "camel_case is for a client with legacy: true only",
        |client| matches!(client.response_profile, ResponseProfile::CamelCase),
    ),
];

type Has = fn(&ClientMetadata) -> bool;

/// What contradicts a profile: the member, and what the profile wants of it.
type Contradiction = (&'static str, String);

impl ClientMetadata {
    /// The rules that the client is held to.
    #[must_use]
    pub fn security_profile(&self) -> SecurityProfile {
        match (self.profile, self.legacy) {
            (Some(stated), _) => stated,
            (None, true) => SecurityProfile::Legacy,
            (None, false) => SecurityProfile::Oauth21,
        }
    }

    /// Whether it is held to FAPI 2.0.
    #[must_use]
    pub fn is_fapi2(&self) -> bool {
        self.security_profile().is_fapi2()
    }

    /// Whether its authorization responses must be signed (FAPI 2.0 Message Signing §5.4.1).
    #[must_use]
    pub fn requires_signed_responses(&self) -> bool {
        self.security_profile() == SecurityProfile::Fapi2MessageSigning
    }

    /// What its authorization requests must have of PKCE.
    #[must_use]
    pub fn pkce(&self) -> PkceRule {
        match (self.legacy, self.require_pkce) {
            (true, _) => PkceRule::Loose,
            (false, true) => PkceRule::Required,
            (false, false) => PkceRule::Optional,
        }
    }

    /// Whether its refresh tokens change at each use. FAPI 2.0 Security Profile §5.3.2.1 has them stay: they are bound
    /// to a key, and a lost answer would lose the grant.
    #[must_use]
    pub fn rotates_refresh_tokens(&self) -> bool {
        !self.is_fapi2()
    }

    /// Seconds that its codes live, where those of others live `usual`.
    #[must_use]
    pub fn code_lifetime(&self, usual: u32) -> u32 {
        if self.is_fapi2() {
            usual.min(FAPI_CODE_LIFETIME)
        } else {
            usual
        }
    }

    /// Seconds that its pushed requests wait for the browser, where those of others wait `usual`.
    #[must_use]
    pub fn pushed_request_lifetime(&self, usual: u32) -> u32 {
        if self.is_fapi2() {
            usual.min(FAPI_PUSHED_REQUEST_LIFETIME)
        } else {
            usual
        }
    }

    /// The algorithm of its signed authorization responses (JARM §5.1 has RS256 where none is registered).
    #[must_use]
    pub fn response_algorithm(&self) -> IdTokenAlgorithm {
        self.authorization_signed_response_alg.unwrap_or_default()
    }

    /// Whether it may sign assertions and request objects with this algorithm.
    #[must_use]
    pub fn may_sign_with(&self, algorithm: AssertionAlgorithm) -> bool {
        !self.is_fapi2() || algorithm != AssertionAlgorithm::RS256
    }

    /// Whether all that is registered fits the profile.
    pub fn check_profile(&self) -> Result<(), Contradiction> {
        let profile = self.security_profile();
        if !profile.is_fapi2() {
            return Ok(());
        }
        let broken = self.fapi_switches().or_else(|| self.fapi_flow());
        match broken.or_else(|| self.fapi_algorithm()) {
            Some((field, needed)) => Err((field, format!("the profile {} needs {needed}", profile.name()))),
            None => Ok(()),
        }
    }

    /// What of all this OAuth 2.1 has removed, where the client is not marked legacy. What it had without the mark
    /// `before`, as builds without this rule let it, it keeps.
    #[must_use]
    pub fn removed_by_oauth21(&self, before: Option<&Self>) -> Option<(&'static str, &'static str)> {
        let unmarked = |client: &Self, has: Has| !client.legacy && has(client);
        REMOVED
            .into_iter()
            .find(|(_, _, has)| unmarked(self, *has) && !before.is_some_and(|before| unmarked(before, *has)))
            .map(|(member, problem, _)| (member, problem))
    }

    /// Sender constraint, client authentication, pushed and signed requests.
    fn fapi_switches(&self) -> Option<(&'static str, &'static str)> {
        let bound = self.dpop_bound_access_tokens || self.tls_client_certificate_bound_access_tokens;
        let method = matches!(
            self.token_endpoint_auth_method,
            AuthMethod::PrivateKeyJwt | AuthMethod::TlsClientAuth | AuthMethod::SelfSignedTlsClientAuth
        );
        let signs = self.security_profile() == SecurityProfile::Fapi2MessageSigning;
        let has_keys = self.jwks.is_some() || self.jwks_uri.is_some();
        let rules = [
            ("legacy", !self.legacy, "legacy: false"),
            (
                "token_endpoint_auth_method",
                method,
                "private_key_jwt, tls_client_auth or self_signed_tls_client_auth (FAPI 2.0 Security Profile §5.3.2.1)",
            ),
            (
                "dpop_bound_access_tokens",
                bound,
                "tokens that are bound to a key: dpop_bound_access_tokens or \
                 tls_client_certificate_bound_access_tokens (FAPI 2.0 Security Profile §5.3.2.1)",
            ),
            (
                "require_pkce",
                self.require_pkce,
                "PKCE (FAPI 2.0 Security Profile §5.3.2.2)",
            ),
            (
                "require_pushed_authorization_requests",
                self.require_pushed_authorization_requests,
                "pushed requests (FAPI 2.0 Security Profile §5.3.2.2)",
            ),
            (
                "require_signed_request_object",
                self.require_signed_request_object || !signs,
                "signed request objects (FAPI 2.0 Message Signing §5.3.1)",
            ),
            (
                "jwks",
                has_keys || !signs,
                "keys to verify request objects with, in jwks or at jwks_uri",
            ),
        ];
        let broken = rules.into_iter().find(|(_, kept, _)| !kept);
        broken.map(|(field, _, needed)| (field, needed))
    }

    /// Grant types, redirect URIs, spelling.
    fn fapi_flow(&self) -> Option<(&'static str, &'static str)> {
        let weak = [GrantType::Password, GrantType::DeviceCode];
        if weak.into_iter().any(|grant_type| self.allows(grant_type)) {
            return Some((
                "grant_types",
                "grant types without password (FAPI 2.0 Security Profile §5.3.2.1) and device_code, whose requests are \
                 not pushed",
            ));
        }
        if self.redirect_uris.iter().any(|uri| !uri.starts_with("https://")) {
            return Some((
                "redirect_uris",
                "https redirect URIs (FAPI 2.0 Security Profile §5.3.2.2)",
            ));
        }
        (self.response_profile != ResponseProfile::Standard)
            .then_some(("response_profile", "answers spelled as RFC 6749 §5.1 does"))
    }

    /// FAPI 2.0 Security Profile §5.4.1: PS256, ES256 or Ed25519, whoever signs.
    fn fapi_algorithm(&self) -> Option<(&'static str, &'static str)> {
        let rs256 = Some(IdTokenAlgorithm::RS256);
        let access = matches!(
            self.access_token_algorithm,
            TokenAlgorithm::RS256 | TokenAlgorithm::HS256
        );
        let openid = self.id_token_signed_response_alg == IdTokenAlgorithm::RS256;
        let signed_responses = self.authorization_signed_response_alg == rs256
            || (self.requires_signed_responses() && self.authorization_signed_response_alg.is_none());
        let rs256_key = AssertionAlgorithm::RS256;
        let requests = self.request_object_signing_alg == Some(rs256_key);
        let assertions = self.token_endpoint_auth_signing_alg == Some(AuthAlgorithm::Key(rs256_key));
        let weak = [
            ("access_token_algorithm", access),
            ("id_token_signed_response_alg", openid),
            (
                "userinfo_signed_response_alg",
                self.userinfo_signed_response_alg == rs256,
            ),
            (
                "introspection_signed_response_alg",
                self.introspection_signed_response_alg == rs256,
            ),
            ("authorization_signed_response_alg", signed_responses),
            ("request_object_signing_alg", requests),
            ("token_endpoint_auth_signing_alg", assertions),
        ];
        let broken = weak.into_iter().find(|(_, weak)| *weak);
        broken.map(|(field, _)| (field, "PS256, ES256 or EdDSA (FAPI 2.0 Security Profile §5.4.1)"))
    }
}
