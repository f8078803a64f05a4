//! Clients that register themselves (RFC 7591, OpenID Connect Dynamic Client Registration): what they may say, and what
//! becomes of it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use url::Url;

use super::describe::{self, ALIASES};
use super::initial_access_token::PresentedInitialToken;
use super::{OperationError, Operations};
use crate::clock::Timestamp;
use crate::domain::client::{
    ApplicationType, AuthMethod, Client, ClientMetadata, GrantType, RegisterSelf, SecurityProfile,
    SoftwareStatementAccepted,
};
use crate::domain::initial_access_token::{InitialAccessToken, InitialAccessTokenCommand};
use crate::domain::redirect_uri;
use crate::domain::scope::Scope;
use crate::domain::value::{Digest, ScopeSet};
use crate::ids::ClientKey;
use crate::ledger::{Context, LANE, LedgerError, retrying};

/// What secret scanners find a registration access token by.
pub const TOKEN_PREFIX: &str = "glm_";

/// The members that a client may state of itself. Others that a registration has are ignored (RFC 7591 §2).
pub const OPEN: &[&str] = &[
    "client_name",
    "redirect_uris",
    "grant_types",
    "token_endpoint_auth_method",
    "token_endpoint_auth_signing_alg",
    "require_pkce",
    "jwks",
    "jwks_uri",
    "scope",
    "authorization_details_types",
    "id_token_signed_response_alg",
    "userinfo_signed_response_alg",
    "introspection_signed_response_alg",
    "post_logout_redirect_uris",
    "backchannel_logout_uri",
    "backchannel_logout_session_required",
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
    "tls_client_certificate_bound_access_tokens",
    "dpop_bound_access_tokens",
    "require_pushed_authorization_requests",
    "require_signed_request_object",
    "request_object_signing_alg",
    "authorization_signed_response_alg",
    "client_uri",
    "logo_uri",
    "policy_uri",
    "tos_uri",
    "contacts",
    "software_id",
    "software_version",
    "application_type",
    "subject_type",
    "sector_identifier_uri",
    "default_max_age",
];

/// Registered members that promise what this server does not do: a client that asks for one would be deceived if it were
/// ignored.
const UNSUPPORTED: &[&str] = &[
    "frontchannel_logout_uri",
    "userinfo_encrypted_response_alg",
    "userinfo_encrypted_response_enc",
    "id_token_encrypted_response_alg",
    "id_token_encrypted_response_enc",
    "introspection_encrypted_response_alg",
    "introspection_encrypted_response_enc",
    "authorization_encrypted_response_alg",
    "authorization_encrypted_response_enc",
    "request_object_encryption_alg",
    "request_object_encryption_enc",
];

/// What clients may register themselves for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The scopes that they may name.
    pub scope: ScopeSet,
    /// The scopes of one that names none.
    pub default_scope: ScopeSet,
    /// The grant types that they may use.
    pub grant_types: Vec<GrantType>,
    /// The types of authorization details that they may name.
    pub authorization_details_types: Vec<String>,
    /// Whether a confidential client may leave PKCE out, and need not say so.
    pub pkce_optional: bool,
}

impl Terms {
    /// With what a client has already: that it may keep.
    #[must_use]
    pub fn and(mut self, before: &ClientMetadata) -> Self {
        self.scope = self.scope.union(&before.scope);
        self.grant_types.extend(&before.grant_types);
        self.authorization_details_types
            .extend(before.authorization_details_types.iter().cloned());
        self.pkce_optional |= !before.require_pkce;
        self
    }
}

/// A registration, checked.
#[derive(Clone, Debug)]
pub struct NewRegistration {
    /// What the client is and may do.
    pub metadata: ClientMetadata,
    /// The software statement that it came with.
    pub statement: Option<SoftwareStatementAccepted>,
    /// The initial access token that it came with.
    pub initial: Option<PresentedInitialToken>,
}

/// A client that has registered itself, with what it is told this once.
#[derive(Clone, Debug)]
pub struct SelfRegistered {
    /// Its aggregate.
    pub key: ClientKey,
    /// Its name on the wire.
    pub client_id: String,
    /// Its secret, where it has one.
    pub client_secret: Option<String>,
    /// What opens its registration to it.
    pub token: String,
}

/// The metadata that a client states of itself. `before` is what it was, where it replaces that: members that only
/// administrators set stay.
pub fn metadata(
    mut members: Map<String, Value>,
    terms: &Terms,
    before: Option<&ClientMetadata>,
) -> Result<ClientMetadata, OperationError> {
    members.retain(|_, value| !value.is_null());
    supported(&members)?;
    let grants_given = members.contains_key("grant_types");
    let mut document = before.map(describe::document).unwrap_or_default();
    if let Some(stated) = members.remove("profile") {
        profile_stated(&stated, before)?;
        document.insert("profile".to_owned(), stated);
    }
    for name in OPEN {
        document.remove(ours(name));
        if let Some(value) = members.remove(*name) {
            document.insert(ours(name).to_owned(), value);
        }
    }
    if !grants_given {
        // RFC 7591 §2: not what an administrator's registration means by leaving it out.
        document.insert("grant_types".to_owned(), json!(["authorization_code"]));
    }
    if !document.contains_key("scope") {
        document.insert("scope".to_owned(), json!(terms.default_scope.to_string()));
    }
    if !document.contains_key("client_name") {
        document.insert("client_name".to_owned(), json!(name_of(&document)));
    }
    keep_default_scopes(&mut document);
    let pkce_given = document.contains_key("require_pkce");
    let mut metadata = describe::parse(Value::Object(document))?.metadata()?;
    if !pkce_given {
        // What clients do that have never heard of the member.
        metadata.require_pkce = !terms.pkce_optional || metadata.is_public() || metadata.is_fapi2();
    }
    browser_origins(&mut metadata, before);
    response_types(members.get("response_types"), &metadata)?;
    permitted(&metadata, terms)?;
    if metadata.application_type.is_none() && !metadata.redirect_uris.is_empty() {
        let native = metadata
            .redirect_uris
            .iter()
            .all(|uri| redirect_uri::is_native(uri));
        metadata.application_type = Some(if native {
            ApplicationType::Native
        } else {
            ApplicationType::Web
        });
        if let Err((field, refusal)) = metadata.check_sector() {
            return Err(OperationError::invalid(field, refusal.to_string()));
        }
    }
    Ok(metadata)
}

/// The metadata in RFC 7591's words, all of it but whose it is.
#[must_use]
pub fn document(metadata: &ClientMetadata) -> Map<String, Value> {
    let mut document = describe::document(metadata);
    document.remove("owner");
    for (name, ours) in ALIASES {
        if let Some(value) = document.remove(ours) {
            document.insert(name.to_owned(), value);
        }
    }
    let response_types: &[&str] = if metadata.allows(GrantType::AuthorizationCode) {
        &["code"]
    } else {
        &[]
    };
    document.insert("response_types".to_owned(), json!(response_types));
    document
}

/// RFC 7591's name of a member, for whom registers by it.
#[must_use]
pub fn wire_name(member: &str) -> &str {
    let alias = ALIASES.iter().find(|(_, ours)| *ours == member);
    alias.map_or(member, |(name, _)| name)
}

/// Our name of a member.
fn ours(name: &'static str) -> &'static str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, ours)| ours)
}

/// A client may hold itself to a profile when it registers. Afterwards, and to be `legacy`, it needs an administrator.
fn profile_stated(stated: &Value, before: Option<&ClientMetadata>) -> Result<(), OperationError> {
    let invalid = |problem| Err(OperationError::invalid("profile", problem));
    match before {
        Some(before) if *stated != json!(before.security_profile()) => {
            invalid("an administrator changes the profile of a client that is registered")
        }
        None if *stated == json!(SecurityProfile::Legacy) => invalid("legacy is for administrators to give"),
        Some(_) | None => Ok(()),
    }
}

/// What is not done here is refused, not left out unnoticed.
fn supported(members: &Map<String, Value>) -> Result<(), OperationError> {
    if let Some(name) = UNSUPPORTED.iter().find(|name| members.contains_key(**name)) {
        return Err(OperationError::invalid(
            name,
            "it is not supported by this server",
        ));
    }
    Ok(())
}

/// RFC 7591 §2.1: `code` where, and only where, the client gets codes.
fn response_types(asked: Option<&Value>, metadata: &ClientMetadata) -> Result<(), OperationError> {
    let Some(asked) = asked else { return Ok(()) };
    let invalid = |problem: &str| Err(OperationError::invalid("response_types", problem));
    let Some(asked) = asked.as_array() else {
        return invalid("it is not a list");
    };
    if !asked.iter().all(|one| one == "code") {
        return invalid("the only response type that is supported is code");
    }
    if asked.is_empty() == metadata.allows(GrantType::AuthorizationCode) {
        return invalid("it needs code where, and only where, grant_types has authorization_code");
    }
    Ok(())
}

/// What nobody may take for itself.
fn permitted(metadata: &ClientMetadata, terms: &Terms) -> Result<(), OperationError> {
    let invalid = |field, problem: String| Err(OperationError::invalid(field, problem));
    if metadata.token_endpoint_auth_method == AuthMethod::Any {
        return invalid(
            "token_endpoint_auth_method",
            "any is for administrators to give".to_owned(),
        );
    }
    let mut grant_types = metadata.grant_types.iter();
    if let Some(kind) = grant_types.find(|kind| !terms.grant_types.contains(kind)) {
        let problem = format!("clients may not register themselves for {}", kind.name());
        return invalid("grant_types", problem);
    }
    // Its redirect URIs, and with them its sector, are whatever it says. That it is there shows when a code reaches it.
    let mut others = metadata.grant_types.iter();
    let other = others.find(|kind| !matches!(kind, GrantType::AuthorizationCode | GrantType::RefreshToken));
    if let Some(kind) = other.filter(|_| !metadata.subject_type.is_public()) {
        let problem = format!(
            "clients may not register themselves for pairwise subjects together with {}, which goes to no redirect URI",
            kind.name()
        );
        return invalid("subject_type", problem);
    }
    if let Some(scope) = metadata.scope.iter().find(|scope| !terms.scope.contains(scope)) {
        return invalid(
            "scope",
            format!("clients may not register themselves for {scope}"),
        );
    }
    if !metadata.require_pkce && !terms.pkce_optional {
        let problem = "clients may not register themselves for requests without PKCE".to_owned();
        return invalid("require_pkce", problem);
    }
    let mut types = metadata.authorization_details_types.iter();
    if let Some(name) = types.find(|name| !terms.authorization_details_types.contains(name)) {
        let problem = format!("clients may not register themselves for {name}");
        return invalid("authorization_details_types", problem);
    }
    Ok(())
}

/// A public client that answers come to over `https` may be an application in the browser: its pages may call the
/// endpoints. Origins that an administrator gave stay.
fn browser_origins(metadata: &mut ClientMetadata, before: Option<&ClientMetadata>) {
    let own = before.map(own_origins).unwrap_or_default();
    metadata.allowed_origins.retain(|origin| !own.contains(origin));
    for origin in own_origins(metadata) {
        if !metadata.allowed_origins.contains(&origin) {
            metadata.allowed_origins.push(origin);
        }
    }
}

/// The origins of a public client's `https` redirect URIs.
fn own_origins(metadata: &ClientMetadata) -> Vec<String> {
    let urls = metadata.redirect_uris.iter().filter(|_| metadata.is_public());
    let urls = urls.filter_map(|uri| Url::parse(uri).ok());
    urls.filter(|url| url.scheme() == "https")
        .map(|url| url.origin().ascii_serialization())
        .collect()
}

/// The consent page needs a name: the host that the user will return to.
fn name_of(document: &Map<String, Value>) -> String {
    let first = document.get("redirect_uris").and_then(|uris| uris.get(0));
    let url = first.and_then(Value::as_str).and_then(|uri| Url::parse(uri).ok());
    let host = url.as_ref().and_then(Url::host_str);
    host.unwrap_or("Application without a name").to_owned()
}

/// An administrator's default does not outlive the scopes.
fn keep_default_scopes(document: &mut Map<String, Value>) {
    let scopes = |name: &str| -> ScopeSet {
        let text = document.get(name).and_then(Value::as_str);
        text.and_then(|text| ScopeSet::parse(text).ok())
            .unwrap_or_default()
    };
    let scope = scopes("scope");
    let kept: ScopeSet = scopes("default_scopes")
        .iter()
        .filter(|one| scope.contains(one))
        .collect();
    document.insert("default_scopes".to_owned(), json!(kept.to_string()));
}

impl Operations {
    /// Registers a client that asks for it; an initial access token has one use less by the same append.
    pub async fn register_self(
        &self,
        context: &Context,
        new: NewRegistration,
    ) -> Result<SelfRegistered, OperationError> {
        let key = ClientKey(self.ledger.random().uuid().map_err(LedgerError::from)?);
        let (token, digest) = self.registration_token()?;
        let (secret, verifier) = if new.metadata.has_secret() {
            let (secret, verifier) = self
                .generate_secret(new.metadata.token_endpoint_auth_method)
                .await?;
            (Some(secret), Some(verifier))
        } else {
            (None, None)
        };
        let client_id = key.to_string();
        let stored = verifier.clone();
        let command = RegisterSelf {
            client_id: client_id.clone(),
            metadata: Box::new(new.metadata),
            verifier,
            token: digest,
            statement: new.statement,
        };
        let registered = self.append_self(context, (key, new.initial), &command).await;
        self.forget_unused(stored.as_ref(), registered).await?;
        Ok(SelfRegistered {
            key,
            client_id,
            client_secret: secret,
            token,
        })
    }

    async fn append_self(
        &self,
        context: &Context,
        (key, initial): (ClientKey, Option<PresentedInitialToken>),
        command: &RegisterSelf,
    ) -> Result<(), OperationError> {
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let client = unit.create::<Client>(key.0);
            if let Some(initial) = initial {
                let loaded = unit.load::<InitialAccessToken>(initial.id).await?;
                let decision = loaded.decide(&InitialAccessTokenCommand::Use {
                    digest: initial.digest,
                    client: key,
                    at: unit.at(),
                });
                match decision.outcome {
                    Ok(()) => unit.also(&loaded, &decision.events)?,
                    Err(refusal) if unit.refusal_stands()? => return Err(refusal.into()),
                    Err(_) => continue,
                }
            }
            if let Some(concluded) = unit.conclude(&client, client.register_self(command)).await? {
                return Ok(concluded.outcome?);
            }
        }
    }

    /// Gives a client a new token for its registration; one before is over.
    pub async fn issue_registration_token(
        &self,
        context: &Context,
        key: ClientKey,
    ) -> Result<String, OperationError> {
        let (token, digest) = self.registration_token()?;
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let client = unit.load::<Client>(key.0).await?;
            let decision = client.issue_registration_token(digest);
            if let Some(concluded) = unit.conclude(&client, decision).await? {
                concluded.outcome?;
                return Ok(token);
            }
        }
    }

    fn registration_token(&self) -> Result<(String, Digest), OperationError> {
        let random: [u8; 32] = self.ledger.random().bytes().map_err(LedgerError::from)?;
        let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let digest = Digest::of(token.as_bytes());
        Ok((token, digest))
    }

    /// When a client was registered; none where there is none.
    pub async fn registered_at(&self, key: ClientKey) -> Result<Option<Timestamp>, LedgerError> {
        let at = retrying(|| async {
            sqlx::query_scalar(
                "SELECT recorded_at FROM grantlog.ledger_client \
                 WHERE lane = $1 AND aggregate_type = 'client' AND aggregate_id = $2 AND sequence = 1",
            )
            .bind(LANE)
            .bind(key.0)
            .fetch_optional(self.ledger.pool())
            .await
        });
        Ok(at.await?)
    }

    /// Those of these scopes that are defined and that no approval is needed for.
    pub async fn unrestricted(&self, scopes: &ScopeSet) -> Result<ScopeSet, LedgerError> {
        let mut found = Vec::new();
        for name in scopes.iter() {
            let scope = self.load::<Scope>(Scope::id(name)).await?;
            if scope.grantable().is_some_and(|definition| !definition.restricted) {
                found.push(name.to_owned());
            }
        }
        Ok(found.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            scope: ScopeSet::parse("openid profile").unwrap(),
            default_scope: ScopeSet::parse("openid").unwrap(),
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            authorization_details_types: vec!["payment".to_owned()],
            pkce_optional: false,
        }
    }

    fn stated(members: Value) -> Result<ClientMetadata, String> {
        let Value::Object(members) = members else {
            panic!("an object")
        };
        metadata(members, &terms(), None).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_registration_leaves_out_has_the_specifications_defaults() {
        let registered = stated(json!({"redirect_uris": ["https://app.example/cb"]})).unwrap();
        assert_eq!(registered.grant_types, [GrantType::AuthorizationCode]);
        assert_eq!(
            registered.token_endpoint_auth_method,
            AuthMethod::ClientSecretBasic
        );
        assert_eq!(registered.client_name, "app.example");
        assert_eq!(registered.scope.to_string(), "openid");
        assert_eq!(registered.application_type, Some(ApplicationType::Web));
        let answer = document(&registered);
        assert_eq!(answer["response_types"], json!(["code"]));
        assert_eq!(answer["subject_type"], "public");
        let native =
            stated(json!({"redirect_uris": ["com.example.app:/cb", "http://127.0.0.1/cb"]})).unwrap();
        assert_eq!(native.application_type, Some(ApplicationType::Native));
    }

    #[test]
    fn what_only_an_administrator_gives_is_ignored_or_refused() {
        let uris = json!(["https://app.example/cb"]);
        let registered = stated(json!({
            "redirect_uris": uris, "legacy": true, "introspects": ["x"], "audience": ["x"], "owner": "x",
            "access_token_lifetime": 1, "client_id": "mine", "client_secret": "mine", "unheard_of": {},
            "client_name#de": "x", "is_live": false, "tos_uri": null,
        }))
        .unwrap();
        assert!(!registered.legacy && registered.introspects.is_empty() && registered.audience.is_empty());
        assert!(registered.is_live && registered.access_token_lifetime == 3600);
        for refused in [
            json!({"grant_types": ["authorization_code", "password"]}),
            json!({"grant_types": ["client_credentials"]}),
            json!({"grant_types": ["implicit"]}),
            json!({"scope": "openid admin"}),
            json!({"token_endpoint_auth_method": "any"}),
            json!({"token_endpoint_auth_method": "private_key_jwt"}),
            json!({"response_types": ["id_token"]}),
            json!({"response_types": []}),
            json!({"userinfo_signed_response_alg": "none"}),
            json!({"id_token_signed_response_alg": "none"}),
            json!({"subject_type": "other"}),
            json!({"application_type": "web", "redirect_uris": ["com.example.app:/cb"]}),
            json!({"redirect_uris": ["https://app.example/cb", "http://127.0.0.1/cb"]}),
            json!({"redirect_uris": []}),
            json!({"redirect_uris": "https://app.example/cb"}),
            json!({"contacts": [1]}),
            json!({"tos_uri": "javascript:alert(1)"}),
        ] {
            let mut members = json!({ "redirect_uris": uris });
            members
                .as_object_mut()
                .unwrap()
                .extend(refused.as_object().unwrap().clone());
            assert!(stated(members).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_replacement_keeps_what_an_administrator_gave_and_nothing_else() {
        let mut before = stated(json!({
            "redirect_uris": ["https://app.example/cb"], "scope": "openid profile", "logo_uri": "https://a.example/l",
            "contacts": ["a@example.com"],
        }))
        .unwrap();
        before.access_token_lifetime = 77;
        before.scope = ScopeSet::parse("openid profile special").unwrap();
        before.default_scopes = ScopeSet::parse("openid profile").unwrap();
        let members = json!({"redirect_uris": ["https://b.example/cb"], "scope": "openid special"});
        let after = metadata(
            members.as_object().unwrap().clone(),
            &terms().and(&before),
            Some(&before),
        )
        .unwrap();
        assert_eq!(after.access_token_lifetime, 77);
        assert_eq!(after.scope.to_string(), "openid special");
        assert_eq!(after.default_scopes.to_string(), "openid");
        assert_eq!(
            (after.logo_url, after.contacts.len(), after.client_name.as_str()),
            (None, 0, "b.example")
        );
    }
}
