//! What a client is and may do (RFC 7591 §2, and what Grantlog adds).

use std::collections::BTreeMap;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth_algorithm::AuthAlgorithm;
use super::certificate::CertificateSubject;
use super::jwks::{AssertionAlgorithm, KeySource, PublicJwks};
use super::profile::SecurityProfile;
use super::sector::{ApplicationType, SubjectType};
use super::token_format::TokenFormat;
use crate::domain::redirect_uri;
use crate::domain::value::ScopeSet;
use crate::ids::SubjectId;

/// Seconds for which a login is one of just now.
const JUST_NOW: u32 = 60;

/// A grant type that a client may use (RFC 7591 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §4.3; discouraged by RFC 9700 §2.4, off unless the server allows it too.
    Password,
    /// RFC 8628 §3.4.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
    /// RFC 8693; besides, each pair of clients needs a rule.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
    /// RFC 7523 §2.1; besides, the assertion's issuer must be trusted for the client.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
}

impl GrantType {
    /// The wire name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::Password => "password",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }
}

/// How a client authenticates (RFC 7591 §2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// HTTP Basic (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the body.
    ClientSecretPost,
    /// Either of the two; for clients that move here.
    Any,
    /// An assertion signed with a key of its own (RFC 7523, OpenID Connect Core §9).
    PrivateKeyJwt,
    /// An assertion under HS256 with a secret that is made here (OpenID Connect Core §9), where the server allows it.
    ClientSecretJwt,
    /// A certificate of a trusted authority, known by one of its names (RFC 8705 §2.1).
    TlsClientAuth,
    /// A certificate of its own making, known by its key (RFC 8705 §2.2).
    SelfSignedTlsClientAuth,
    /// A public client.
    None,
}

impl AuthMethod {
    /// The wire name (RFC 8414 §2), but for [`Self::Any`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::Any => "any",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::ClientSecretJwt => "client_secret_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
            Self::None => "none",
        }
    }
}

/// The algorithm of a client's access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TokenAlgorithm {
    /// ECDSA on P-256.
    #[default]
    ES256,
    /// RSASSA-PKCS1-v1_5, for relying parties that know nothing else.
    RS256,
    /// RSASSA-PSS with SHA-256 (RFC 7518 §3.5).
    PS256,
    /// Ed25519 (RFC 8037 §3.1).
    EdDSA,
    /// HMAC with SHA-256, for legacy clients where the server allows it: nobody but this server can verify it.
    HS256,
}

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::ES256, Self::RS256, Self::PS256, Self::EdDSA, Self::HS256];
    /// Those that have a public key, which is published.
    pub const ASYMMETRIC: [Self; 4] = [Self::ES256, Self::RS256, Self::PS256, Self::EdDSA];

    /// The JWS name (RFC 7518 §3.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
        }
    }
}

/// The algorithm of a client's ID tokens (OpenID Connect Dynamic Client Registration §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IdTokenAlgorithm {
    /// What every relying party knows (OpenID Connect Core §15.1).
    #[default]
    RS256,
    /// ECDSA on P-256.
    ES256,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// Ed25519.
    EdDSA,
}

impl IdTokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::RS256, Self::ES256, Self::PS256, Self::EdDSA];

    /// The signing keys' name of it.
    #[must_use]
    pub fn key(self) -> TokenAlgorithm {
        match self {
            Self::RS256 => TokenAlgorithm::RS256,
            Self::ES256 => TokenAlgorithm::ES256,
            Self::PS256 => TokenAlgorithm::PS256,
            Self::EdDSA => TokenAlgorithm::EdDSA,
        }
    }
}

/// How a successful answer of the token endpoint spells its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseProfile {
    /// As RFC 6749 §5.1 does: `access_token`.
    #[default]
    Standard,
    /// `accessToken`, for relying parties of servers that did so.
    CamelCase,
}

/// Lifetimes of the tokens of one flow, in seconds; none means the client's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lifetimes {
    /// That an access token lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<u32>,
    /// That an unused refresh token lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<u32>,
}

/// What a client is and may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a member of its own on the wire"
)]
pub struct ClientMetadata {
    /// The name that users are shown.
    pub client_name: String,
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
    /// The grant types it may use.
    pub grant_types: Vec<GrantType>,
    /// How it authenticates.
    pub token_endpoint_auth_method: AuthMethod,
    /// The one algorithm of the assertions that authenticate it; none for any of its method's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg: Option<AuthAlgorithm>,
    /// The public keys that its assertions are verified with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<PublicJwks>,
    /// `tls_client_auth`: the name that its certificates are known by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_client_auth: Option<CertificateSubject>,
    /// Whether its access tokens are bound to its certificate (RFC 8705 §3.4).
    #[serde(default)]
    pub tls_client_certificate_bound_access_tokens: bool,
    /// Where those keys are fetched instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Where its users may be sent once they are logged out (OpenID Connect RP-Initiated Logout §3.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_logout_redirect_uris: Vec<String>,
    /// Where it is told that a login is over (OpenID Connect Back-Channel Logout §2.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_uri: Option<String>,
    /// Whether it must be told by `sid` which login (it always is).
    #[serde(default)]
    pub backchannel_logout_session_required: bool,
    /// The scopes that it may ask for.
    pub scope: ScopeSet,
    /// What a request without a scope asks for.
    pub default_scopes: ScopeSet,
    /// The types of authorization details that it may ask for (RFC 9396 §10).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details_types: Vec<String>,
    /// The audience of its access tokens; empty means the issuer.
    pub audience: Vec<String>,
    /// As a resource server: the audiences whose tokens it may introspect.
    pub introspects: Vec<String>,
    /// The security profile, where it is one of FAPI 2.0's ([`Self::security_profile`] says which it is held to).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<SecurityProfile>,
    /// Whether its authorization requests must have a `code_challenge` (RFC 9700 §2.1.1). Of a legacy client none must.
    #[serde(default = "required")]
    pub require_pkce: bool,
    /// Marked legacy: PKCE may be left out or be `plain`, and what follows may be loosened.
    pub legacy: bool,
    /// Legacy: its requests may have JSON bodies.
    #[serde(default)]
    pub json_requests: bool,
    /// Legacy: a request without a scope asks for every registered scope that is not restricted.
    #[serde(default)]
    pub legacy_full_scope: bool,
    /// Legacy: `client_credentials` gives it refresh tokens, too (RFC 6749 §4.4.3 advises against it).
    #[serde(default)]
    pub client_credentials_refresh: bool,
    /// How answers with its tokens are spelled.
    #[serde(default)]
    pub response_profile: ResponseProfile,
    /// The algorithm of its access tokens, where they are JWTs.
    pub access_token_algorithm: TokenAlgorithm,
    /// The form of its access tokens.
    #[serde(default)]
    pub access_token_format: TokenFormat,
    /// The algorithm of its ID tokens.
    #[serde(default)]
    pub id_token_signed_response_alg: IdTokenAlgorithm,
    /// The algorithm of its `UserInfo` answers; none for plain JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo_signed_response_alg: Option<IdTokenAlgorithm>,
    /// As a resource server: the algorithm of introspection answers that it asks for as JWTs (RFC 9701 §6); none means
    /// RS256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection_signed_response_alg: Option<IdTokenAlgorithm>,
    /// Seconds that an access token lives.
    pub access_token_lifetime: u32,
    /// Seconds that an unused refresh token lives.
    pub refresh_token_lifetime: u32,
    /// Other lifetimes for tokens of some flows, those got by refreshing them included.
    #[serde(default)]
    pub lifetimes: BTreeMap<GrantType, Lifetimes>,
    /// Seconds in which a refresh token may be presented once more (the grace rule); none means 10 for a
    /// confidential client and for tokens that are bound to a key, and 0 for others of a public client.
    pub refresh_grace: Option<u32>,
    /// Whether its authorization requests must be pushed (RFC 9126 §6).
    #[serde(default)]
    pub require_pushed_authorization_requests: bool,
    /// Whether its authorization requests must be signed request objects (RFC 9101 §10.5).
    #[serde(default)]
    pub require_signed_request_object: bool,
    /// The one algorithm of its request objects (OpenID Connect Dynamic Client Registration §2); none for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_object_signing_alg: Option<AssertionAlgorithm>,
    /// The algorithm of its signed authorization responses (JARM §5.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_signed_response_alg: Option<IdTokenAlgorithm>,
    /// Whether its token requests must carry a DPoP proof (RFC 9449 §5.2).
    #[serde(default)]
    pub dpop_bound_access_tokens: bool,
    /// The browser origins that may call the endpoints (CORS).
    pub allowed_origins: Vec<String>,
    /// Its home page.
    pub home_page_url: Option<String>,
    /// Its logo.
    pub logo_url: Option<String>,
    /// Its privacy policy.
    pub privacy_policy_url: Option<String>,
    /// Its terms of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    /// How to reach the people responsible for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// The software that it is an instance of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// The version of that software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// Where it runs; none where that was never said, and its redirect URIs are not held to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_type: Option<ApplicationType>,
    /// Which `sub` it knows its users by.
    #[serde(default, skip_serializing_if = "SubjectType::is_public")]
    pub subject_type: SubjectType,
    /// Where the redirect URIs of all clients of its sector are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector_identifier_uri: Option<String>,
    /// Seconds since its login that a user may have, where an authentication request does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_max_age: Option<u32>,
    /// Whether it is out of development. One that is not works for no user but its owner.
    pub is_live: bool,
    /// The user that registered it.
    pub owner: Option<SubjectId>,
}

/// What no client was without before there was a member to say so.
fn required() -> bool {
    true
}

impl ClientMetadata {
    /// Where its keys are; none where it has none.
    #[must_use]
    pub fn keys(&self) -> Option<KeySource<'_>> {
        let published = || self.jwks_uri.as_deref().map(KeySource::Published);
        self.jwks.as_ref().map(KeySource::Given).or_else(published)
    }

    /// Whether it keeps no secret (RFC 6749 §2.1).
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.token_endpoint_auth_method == AuthMethod::None
    }

    /// Whether it authenticates with a secret: a public client has none, one with a key needs none.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        match self.token_endpoint_auth_method {
            AuthMethod::ClientSecretBasic
            | AuthMethod::ClientSecretPost
            | AuthMethod::ClientSecretJwt
            | AuthMethod::Any => true,
            AuthMethod::PrivateKeyJwt
            | AuthMethod::TlsClientAuth
            | AuthMethod::SelfSignedTlsClientAuth
            | AuthMethod::None => false,
        }
    }

    /// How old a login may be where a request does not say (`default_max_age`). One of the last minute always does:
    /// whoever has just logged in is not asked again.
    #[must_use]
    pub fn default_max_age(&self) -> Option<TimeDelta> {
        let seconds = self.default_max_age?;
        Some(TimeDelta::seconds(seconds.max(JUST_NOW).into()))
    }

    /// Whether this user may use it: anybody once it is live, before that its owner alone.
    #[must_use]
    pub fn serves(&self, subject: SubjectId) -> bool {
        self.is_live || self.owner == Some(subject)
    }

    /// The audience that its access tokens may have: its own, or the issuer.
    #[must_use]
    pub fn audience_or(&self, issuer: &str) -> Vec<String> {
        if self.audience.is_empty() {
            return vec![issuer.to_owned()];
        }
        self.audience.clone()
    }

    /// Whether it may use a grant type.
    #[must_use]
    pub fn allows(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// Whether it gets refresh tokens in grants of a flow, and may use those it has.
    #[must_use]
    pub fn may_refresh(&self, flow: GrantType) -> bool {
        let machine = flow == GrantType::ClientCredentials;
        self.allows(GrantType::RefreshToken) && (!machine || (self.legacy && self.client_credentials_refresh))
    }

    /// Seconds that an access token of a flow lives.
    #[must_use]
    pub fn access_lifetime(&self, flow: GrantType) -> u32 {
        let of_flow = self.lifetimes.get(&flow);
        of_flow
            .and_then(|of_flow| of_flow.access_token)
            .unwrap_or(self.access_token_lifetime)
    }

    /// Seconds that an unused refresh token of a flow lives.
    #[must_use]
    pub fn refresh_lifetime(&self, flow: GrantType) -> u32 {
        let of_flow = self.lifetimes.get(&flow);
        of_flow
            .and_then(|of_flow| of_flow.refresh_token)
            .unwrap_or(self.refresh_token_lifetime)
    }

    /// The grace period of its refresh tokens, in seconds; `bound` are those that are good with one key only.
    #[must_use]
    pub fn grace(&self, bound: bool) -> u32 {
        let known = bound || !self.is_public();
        self.refresh_grace.unwrap_or(if known { 10 } else { 0 })
    }

    /// The registered redirect URI that `requested` is, if any: exactly, or, for a native application, on another
    /// port of a loopback address (RFC 8252 §7.3). A confidential client is not one.
    #[must_use]
    pub fn registered_redirect_uri(&self, requested: &str) -> Option<&str> {
        self.redirect_uris
            .iter()
            .map(String::as_str)
            .find(|uri| *uri == requested || (self.is_public() && redirect_uri::matches(uri, requested)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_registered_before_a_member_existed_has_its_safe_default() {
        let before = r#"{"access_token_algorithm":"RS256","access_token_lifetime":60,"allowed_origins":[],
            "audience":[],"client_name":"Old","default_scopes":[],"grant_types":["client_credentials"],
            "introspects":[],"is_live":false,"legacy":true,"redirect_uris":[],"refresh_token_lifetime":600,
            "scope":["a"],"token_endpoint_auth_method":"any"}"#;
        let metadata: ClientMetadata = serde_json::from_str(before).unwrap();
        assert!(
            !metadata.json_requests && !metadata.legacy_full_scope && !metadata.client_credentials_refresh
        );
        assert_eq!(metadata.response_profile, ResponseProfile::Standard);
        assert!(metadata.require_pkce);
        assert!(metadata.lifetimes.is_empty() && !metadata.may_refresh(GrantType::ClientCredentials));
        let lifetimes = (
            metadata.access_lifetime(GrantType::Password),
            metadata.refresh_lifetime(GrantType::Password),
        );
        assert_eq!(lifetimes, (60, 600));
    }
}
