//! A client's registration (RFC 7591 §2): what it may say, and what no client may have.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::Deserialize;

use super::security_profile::{self, Profiled};
use super::{OperationError, urls};
use crate::crypto::certificate::{ClientCertificate, Witness};
use crate::domain::authorization_detail::is_type_name;
use crate::domain::client::{
    ApplicationType, AssertionAlgorithm, AuthAlgorithm, AuthMethod, CertificateSubject, ClientMetadata,
    GrantType, IdTokenAlgorithm, Lifetimes, PublicJwk, PublicJwks, ResponseProfile, SecurityProfile,
    SubjectType, TokenAlgorithm, TokenFormat,
};
use crate::domain::redirect_uri;
use crate::domain::uri;
use crate::domain::value::{ScopeSet, hides, is_plain_text, is_visible_text};
use crate::ids::SubjectId;

/// The most types of authorization details of a client.
const MAX_DETAILS_TYPES: usize = 50;

/// A registration in RFC 7591's words, plus what a client that moves here brings along.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "RFC 7591 §2 and `ClientMetadata` say what they are")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a member of its own on the wire"
)]
pub struct ClientRegistration {
    pub client_name: String,
    #[serde(default)]
    pub client_id: Option<String>,
    #[serde(default)]
    pub client_secret: Option<String>,
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    #[serde(default = "default_grant_types")]
    pub grant_types: Vec<GrantType>,
    #[serde(default = "default_auth_method")]
    pub token_endpoint_auth_method: AuthMethod,
    #[serde(default)]
    pub token_endpoint_auth_signing_alg: Option<AuthAlgorithm>,
    #[serde(default)]
    pub jwks: Option<serde_json::Value>,
    #[serde(default)]
    pub tls_client_auth_subject_dn: Option<String>,
    #[serde(default)]
    pub tls_client_auth_san_dns: Option<String>,
    #[serde(default)]
    pub tls_client_auth_san_uri: Option<String>,
    #[serde(default)]
    pub tls_client_auth_san_ip: Option<String>,
    #[serde(default)]
    pub tls_client_auth_san_email: Option<String>,
    #[serde(default)]
    pub tls_client_certificate_bound_access_tokens: bool,
    pub jwks_uri: Option<String>,
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<String>,
    #[serde(default)]
    pub backchannel_logout_uri: Option<String>,
    #[serde(default)]
    pub backchannel_logout_session_required: bool,
    #[serde(default)]
    pub scope: String,
    #[serde(default)]
    pub default_scopes: Option<String>,
    #[serde(default)]
    pub authorization_details_types: Vec<String>,
    #[serde(default)]
    pub audience: Vec<String>,
    #[serde(default)]
    pub introspects: Vec<String>,
    #[serde(default)]
    pub profile: Option<SecurityProfile>,
    #[serde(default = "default_require_pkce")]
    pub require_pkce: bool,
    #[serde(default)]
    pub legacy: bool,
    #[serde(default)]
    pub json_requests: bool,
    #[serde(default)]
    pub legacy_full_scope: bool,
    #[serde(default)]
    pub client_credentials_refresh: bool,
    #[serde(default)]
    pub response_profile: ResponseProfile,
    #[serde(default)]
    pub access_token_algorithm: TokenAlgorithm,
    #[serde(default)]
    pub access_token_format: TokenFormat,
    #[serde(default)]
    pub id_token_signed_response_alg: Option<IdTokenAlgorithm>,
    #[serde(default)]
    pub userinfo_signed_response_alg: Option<IdTokenAlgorithm>,
    #[serde(default)]
    pub introspection_signed_response_alg: Option<IdTokenAlgorithm>,
    #[serde(default = "default_access_lifetime")]
    pub access_token_lifetime: u32,
    #[serde(default = "default_refresh_lifetime")]
    pub refresh_token_lifetime: u32,
    #[serde(default)]
    pub lifetimes: BTreeMap<GrantType, Lifetimes>,
    #[serde(default)]
    pub refresh_grace: Option<u32>,
    #[serde(default)]
    pub require_pushed_authorization_requests: Option<bool>,
    #[serde(default)]
    pub require_signed_request_object: Option<bool>,
    #[serde(default)]
    pub request_object_signing_alg: Option<AssertionAlgorithm>,
    #[serde(default)]
    pub authorization_signed_response_alg: Option<IdTokenAlgorithm>,
    #[serde(default)]
    pub dpop_bound_access_tokens: Option<bool>,
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    #[serde(default, alias = "client_uri")]
    pub home_page_url: Option<String>,
    #[serde(default, alias = "logo_uri")]
    pub logo_url: Option<String>,
    #[serde(default, alias = "policy_uri")]
    pub privacy_policy_url: Option<String>,
    #[serde(default)]
    pub tos_uri: Option<String>,
    #[serde(default)]
    pub contacts: Vec<String>,
    #[serde(default)]
    pub software_id: Option<String>,
    #[serde(default)]
    pub software_version: Option<String>,
    #[serde(default)]
    pub application_type: Option<ApplicationType>,
    #[serde(default)]
    pub subject_type: SubjectType,
    #[serde(default)]
    pub sector_identifier_uri: Option<String>,
    #[serde(default)]
    pub default_max_age: Option<u32>,
    #[serde(default = "default_is_live")]
    pub is_live: bool,
    #[serde(default)]
    pub owner: Option<SubjectId>,
}

/// RFC 7591 knows no such member: a client that does not say otherwise works.
fn default_is_live() -> bool {
    true
}

/// RFC 9700 §2.1.1.
fn default_require_pkce() -> bool {
    true
}

fn default_grant_types() -> Vec<GrantType> {
    vec![GrantType::AuthorizationCode, GrantType::RefreshToken]
}

fn default_auth_method() -> AuthMethod {
    AuthMethod::ClientSecretBasic
}

fn default_access_lifetime() -> u32 {
    3600
}

fn default_refresh_lifetime() -> u32 {
    30 * 86_400
}

impl ClientRegistration {
    /// The metadata, checked.
    pub fn metadata(&self) -> Result<ClientMetadata, OperationError> {
        let (scope, default_scopes) = self.scopes()?;
        let profiled = Profiled::of(self)?;
        let metadata = ClientMetadata {
            client_name: self.client_name.trim().to_owned(),
            redirect_uris: self.redirect_uris.clone(),
            grant_types: self.grant_types.clone(),
            token_endpoint_auth_method: self.token_endpoint_auth_method,
            token_endpoint_auth_signing_alg: self.token_endpoint_auth_signing_alg,
            jwks: self.keys()?,
            tls_client_auth: self.certificate_subject()?,
            tls_client_certificate_bound_access_tokens: self.tls_client_certificate_bound_access_tokens,
            jwks_uri: self.jwks_uri.clone(),
            post_logout_redirect_uris: self.post_logout_redirect_uris.clone(),
            backchannel_logout_uri: self.backchannel_logout_uri.clone(),
            backchannel_logout_session_required: self.backchannel_logout_session_required,
            scope,
            default_scopes,
            authorization_details_types: self.authorization_details_types.clone(),
            audience: self.audience.clone(),
            introspects: self.introspects.clone(),
            profile: profiled.profile,
            require_pkce: self.require_pkce,
            legacy: profiled.legacy,
            json_requests: self.json_requests,
            legacy_full_scope: self.legacy_full_scope,
            client_credentials_refresh: self.client_credentials_refresh,
            response_profile: self.response_profile,
            access_token_algorithm: self.access_token_algorithm,
            access_token_format: self.access_token_format,
            id_token_signed_response_alg: profiled.id_token_signed_response_alg,
            userinfo_signed_response_alg: self.userinfo_signed_response_alg,
            introspection_signed_response_alg: self.introspection_signed_response_alg,
            access_token_lifetime: self.access_token_lifetime,
            refresh_token_lifetime: self.refresh_token_lifetime,
            lifetimes: self.lifetimes.clone(),
            refresh_grace: self.refresh_grace,
            require_pushed_authorization_requests: profiled.require_pushed_authorization_requests,
            require_signed_request_object: profiled.require_signed_request_object,
            request_object_signing_alg: self.request_object_signing_alg,
            authorization_signed_response_alg: profiled.authorization_signed_response_alg,
            dpop_bound_access_tokens: profiled.dpop_bound_access_tokens,
            allowed_origins: self.allowed_origins.clone(),
            home_page_url: self.home_page_url.clone(),
            logo_url: self.logo_url.clone(),
            privacy_policy_url: self.privacy_policy_url.clone(),
            tos_uri: self.tos_uri.clone(),
            contacts: self.contacts.clone(),
            software_id: self.software_id.clone(),
            software_version: self.software_version.clone(),
            application_type: self.application_type,
            subject_type: self.subject_type,
            sector_identifier_uri: self.sector_identifier_uri.clone(),
            default_max_age: self.default_max_age,
            is_live: self.is_live,
            owner: self.owner,
        };
        check(&metadata)?;
        Ok(metadata)
    }

    /// The scopes, and the default ones among them.
    fn scopes(&self) -> Result<(ScopeSet, ScopeSet), OperationError> {
        let scope = parse_scope("scope", &self.scope)?;
        let default_scopes = match &self.default_scopes {
            Some(text) => parse_scope("default_scopes", text)?,
            None => ScopeSet::default(),
        };
        if !default_scopes.is_subset(&scope) {
            return Err(OperationError::invalid(
                "default_scopes",
                "they are not all among scope",
            ));
        }
        Ok((scope, default_scopes))
    }

    /// RFC 7591 §2: the keys of a client that signs.
    fn keys(&self) -> Result<Option<PublicJwks>, OperationError> {
        let method = self.token_endpoint_auth_method;
        let keyed = [AuthMethod::PrivateKeyJwt, AuthMethod::SelfSignedTlsClientAuth];
        if self.jwks.is_none() && self.jwks_uri.is_none() && keyed.contains(&method) {
            let problem = format!("{} needs the client's public keys", method.name());
            return Err(OperationError::invalid("jwks", problem));
        }
        let keys = self.jwks.as_ref().map(PublicJwks::parse).transpose();
        let keys = keys.map_err(|problem| OperationError::invalid("jwks", problem))?;
        for key in keys.iter().flat_map(|jwks| &jwks.keys) {
            check_certificate(key).map_err(|problem| OperationError::invalid("jwks", problem))?;
        }
        Ok(keys)
    }

    /// RFC 8705 §2.1.2: exactly one name of a certificate for `tls_client_auth`, none for others.
    fn certificate_subject(&self) -> Result<Option<CertificateSubject>, OperationError> {
        let members = [
            ("tls_client_auth_subject_dn", &self.tls_client_auth_subject_dn),
            ("tls_client_auth_san_dns", &self.tls_client_auth_san_dns),
            ("tls_client_auth_san_uri", &self.tls_client_auth_san_uri),
            ("tls_client_auth_san_ip", &self.tls_client_auth_san_ip),
            ("tls_client_auth_san_email", &self.tls_client_auth_san_email),
        ];
        let mut named = members
            .into_iter()
            .filter_map(|(member, value)| Some((member, value.as_deref()?)));
        let wanted = self.token_endpoint_auth_method == AuthMethod::TlsClientAuth;
        match (wanted, named.next(), named.next()) {
            (true, Some((member, value)), None) => CertificateSubject::parse(member, value)
                .map(Some)
                .map_err(|problem| OperationError::invalid(member, problem)),
            (false, None, None) => Ok(None),
            (true, _, _) => Err(OperationError::invalid(
                "tls_client_auth_subject_dn",
                "tls_client_auth needs exactly one of tls_client_auth_subject_dn, tls_client_auth_san_dns, \
                 tls_client_auth_san_uri, tls_client_auth_san_ip and tls_client_auth_san_email",
            )),
            (false, Some((member, _)), _) | (false, None, Some((member, _))) => Err(OperationError::invalid(
                member,
                "it is for a client whose token_endpoint_auth_method is tls_client_auth",
            )),
        }
    }
}

/// RFC 7517 §4.7: the first certificate is of the key itself.
fn check_certificate(key: &PublicJwk) -> Result<(), &'static str> {
    let Some(der) = key.certificate() else {
        return Ok(());
    };
    let certificate = ClientCertificate::read(vec![der.into()], Witness::Handshake);
    match certificate {
        Some(certificate) if key.is(&certificate.key) => Ok(()),
        Some(_) => Err("the first certificate of an x5c is not of its key"),
        None => Err("the first certificate of an x5c cannot be read"),
    }
}

fn parse_scope(field: &'static str, text: &str) -> Result<ScopeSet, OperationError> {
    if text.is_empty() {
        return Ok(ScopeSet::default());
    }
    ScopeSet::parse(text).map_err(|error| OperationError::invalid(field, error.to_string()))
}

/// What no client may have, whoever registers it.
fn check(metadata: &ClientMetadata) -> Result<(), OperationError> {
    if metadata.dpop_bound_access_tokens && metadata.tls_client_certificate_bound_access_tokens {
        return Err(OperationError::invalid(
            "dpop_bound_access_tokens",
            "its tokens are bound to a certificate: a token is bound to one key",
        ));
    }
    let invalid = |field, problem: &str| Err(OperationError::invalid(field, problem));
    check_name(&metadata.client_name)?;
    if metadata.redirect_uris.len() > 50 {
        return invalid("redirect_uris", "there are more than 50");
    }
    for uri in &metadata.redirect_uris {
        if let Err(problem) = redirect_uri::check(uri, redirect_uri::AUTHORIZATION_RESPONSE) {
            return Err(OperationError::invalid(
                "redirect_uris",
                format!("{uri}: {problem}"),
            ));
        }
    }
    if metadata.allows(GrantType::AuthorizationCode) && metadata.redirect_uris.is_empty() {
        return invalid("redirect_uris", "the authorization_code grant needs at least one");
    }
    check_public(metadata)?;
    check_authentication(metadata)?;
    check_details_types(&metadata.authorization_details_types)?;
    for (field, url) in [
        ("home_page_url", &metadata.home_page_url),
        ("logo_url", &metadata.logo_url),
        ("privacy_policy_url", &metadata.privacy_policy_url),
        ("tos_uri", &metadata.tos_uri),
    ] {
        if url
            .as_ref()
            .is_some_and(|url| url.len() > 2000 || !uri::is_web(url))
        {
            return invalid(
                field,
                "it is not an http or https URL of at most 2000 characters that URIs have (RFC 3986; others are \
                 percent-encoded)",
            );
        }
    }
    check_origins(&metadata.allowed_origins)?;
    if metadata.refresh_grace.is_some_and(|grace| grace > 300) {
        return invalid("refresh_grace", "it is at most 300 seconds");
    }
    urls::check(metadata)?;
    check_lifetimes(metadata)?;
    check_about(metadata)?;
    check_legacy(metadata)?;
    security_profile::check(metadata)
}

/// A name that people are shown says what it seems to say.
fn check_name(name: &str) -> Result<(), OperationError> {
    let invalid = |problem: &str| Err(OperationError::invalid("client_name", problem));
    if name.is_empty() || name.len() > 200 {
        return invalid("it needs 1 to 200 characters");
    }
    if !is_plain_text(name) {
        return invalid("it has a character that controls the text's direction or the terminal");
    }
    if !is_visible_text(name) {
        return invalid("nothing of it can be seen");
    }
    if let Some(hidden) = name.chars().find(|c| hides(*c)) {
        let problem = format!("it has the invisible character U+{:04X}", u32::from(hidden));
        return Err(OperationError::invalid("client_name", problem));
    }
    Ok(())
}

/// Each is scheme, host and port, and nothing else (RFC 6454 §6.2).
fn check_origins(origins: &[String]) -> Result<(), OperationError> {
    for origin in origins {
        let parsed = url::Url::parse(origin).map(|url| url.origin().ascii_serialization());
        if origin.contains('*') {
            let problem = format!("{origin}: there are no wildcards; list each origin");
            return Err(OperationError::invalid("allowed_origins", problem));
        }
        if parsed.as_deref() != Ok(origin) {
            return Err(OperationError::invalid(
                "allowed_origins",
                format!("{origin} is not an origin"),
            ));
        }
    }
    Ok(())
}

/// What a client says of its software, its people and its users.
fn check_about(metadata: &ClientMetadata) -> Result<(), OperationError> {
    let texts = metadata.contacts.iter().map(|text| ("contacts", text));
    let texts = texts.chain(metadata.software_id.iter().map(|text| ("software_id", text)));
    let texts = texts.chain(
        metadata
            .software_version
            .iter()
            .map(|text| ("software_version", text)),
    );
    for (field, text) in texts {
        if text.is_empty() || text.len() > 200 || !is_plain_text(text) {
            return Err(OperationError::invalid(
                field,
                "it needs 1 to 200 characters that do not control the text's direction or the terminal",
            ));
        }
    }
    if metadata.contacts.len() > 20 {
        return Err(OperationError::invalid("contacts", "there are more than 20"));
    }
    metadata
        .check_sector()
        .map_err(|(field, refusal)| OperationError::invalid(field, refusal.to_string()))
}

/// RFC 9396 §10.
fn check_details_types(types: &[String]) -> Result<(), OperationError> {
    let invalid = |problem: String| Err(OperationError::invalid("authorization_details_types", problem));
    if types.len() > MAX_DETAILS_TYPES {
        return invalid(format!("there are more than {MAX_DETAILS_TYPES}"));
    }
    for (place, name) in types.iter().enumerate() {
        if !is_type_name(name) {
            return invalid("one of them is not the name of a type".to_owned());
        }
        if types.iter().take(place).any(|known| known == name) {
            return invalid(format!("{name} is there twice"));
        }
    }
    Ok(())
}

/// What only a client that authenticates may do.
fn check_public(metadata: &ClientMetadata) -> Result<(), OperationError> {
    let never = [
        (
            GrantType::ClientCredentials,
            "a public client cannot use client_credentials (RFC 6749 §4.4)",
        ),
        (
            GrantType::TokenExchange,
            "a public client cannot exchange tokens (RFC 8693 §2.1)",
        ),
    ];
    let asked = never.iter().find(|(grant_type, _)| metadata.allows(*grant_type));
    match asked.filter(|_| metadata.is_public()) {
        Some((_, problem)) => Err(OperationError::invalid("grant_types", *problem)),
        None => Ok(()),
    }
}

/// What goes with the way in which it authenticates.
fn check_authentication(metadata: &ClientMetadata) -> Result<(), OperationError> {
    if !metadata.require_pkce && metadata.is_public() {
        return Err(OperationError::invalid(
            "require_pkce",
            "a public client always needs PKCE (RFC 9700 §2.1.1)",
        ));
    }
    if !metadata.auth_algorithm_fits() {
        let method = metadata.token_endpoint_auth_method.name();
        return Err(OperationError::invalid(
            "token_endpoint_auth_signing_alg",
            format!("no assertion of {method} is signed with it"),
        ));
    }
    Ok(())
}

/// The client's own lifetimes, and those of each flow.
fn check_lifetimes(metadata: &ClientMetadata) -> Result<(), OperationError> {
    const ACCESS: (RangeInclusive<u32>, &str) = (1..=86_400 * 31, "1 second to 31 days");
    const REFRESH: (RangeInclusive<u32>, &str) = (1..=86_400 * 3650, "1 second to 3650 days");
    let own = [
        ("access_token_lifetime", metadata.access_token_lifetime, ACCESS),
        ("refresh_token_lifetime", metadata.refresh_token_lifetime, REFRESH),
    ];
    for (field, lifetime, (range, words)) in own {
        if !range.contains(&lifetime) {
            return Err(OperationError::invalid(field, format!("it needs {words}")));
        }
    }
    for (flow, lifetimes) in &metadata.lifetimes {
        if *flow == GrantType::RefreshToken {
            return Err(OperationError::invalid(
                "lifetimes",
                "refresh_token: tokens got by refreshing have the lifetimes of the flow that began their grant",
            ));
        }
        let of_flow = [
            ("access_token", lifetimes.access_token, ACCESS),
            ("refresh_token", lifetimes.refresh_token, REFRESH),
        ];
        for (token, lifetime, (range, words)) in of_flow {
            if lifetime.is_some_and(|lifetime| !range.contains(&lifetime)) {
                let problem = format!("{}.{token} needs {words}", flow.name());
                return Err(OperationError::invalid("lifetimes", problem));
            }
        }
    }
    Ok(())
}

/// What loosens today's specifications is for clients that say that they are old.
fn check_legacy(metadata: &ClientMetadata) -> Result<(), OperationError> {
    let hs256 = metadata.access_token_algorithm == TokenAlgorithm::HS256;
    let loosened = [
        ("json_requests", "it", metadata.json_requests),
        ("legacy_full_scope", "it", metadata.legacy_full_scope),
        (
            "client_credentials_refresh",
            "it",
            metadata.client_credentials_refresh,
        ),
        ("access_token_algorithm", "HS256", hs256),
    ];
    for (field, what, asked) in loosened {
        if asked && !metadata.legacy {
            let problem = format!("{what} is for a client with legacy: true only");
            return Err(OperationError::invalid(field, problem));
        }
    }
    let needed = [GrantType::ClientCredentials, GrantType::RefreshToken];
    if metadata.client_credentials_refresh && !needed.iter().all(|needed| metadata.allows(*needed)) {
        return Err(OperationError::invalid(
            "client_credentials_refresh",
            "client_credentials and refresh_token must be among grant_types",
        ));
    }
    Ok(())
}
