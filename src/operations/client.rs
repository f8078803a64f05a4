//! Clients: registration (RFC 7591 metadata), secrets, standing, approvals.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde::Deserialize;
use uuid::Uuid;

use super::{OperationError, Operations, run};
use crate::domain::client::{
    Approval, AuthMethod, Client, ClientCommand, ClientMetadata, ClientRefusal, GrantType, SecretVerifier,
    TokenAlgorithm,
};
use crate::domain::redirect_uri;
use crate::domain::scope::Scope;
use crate::domain::value::{Digest, ScopeSet};
use crate::ids::{ClientKey, SubjectId};
use crate::ledger::{Context, LedgerError};

/// The kind of name under which chosen client ids are unique.
pub const CLIENT_ID: &str = "client_id";

/// A registration in RFC 7591's words, plus what a client that moves here brings along.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "RFC 7591 §2 and `ClientMetadata` say what they are")]
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
    pub scope: String,
    #[serde(default)]
    pub default_scopes: Option<String>,
    #[serde(default)]
    pub audience: Vec<String>,
    #[serde(default)]
    pub introspects: Vec<String>,
    #[serde(default)]
    pub legacy: bool,
    #[serde(default)]
    pub access_token_algorithm: TokenAlgorithm,
    #[serde(default = "default_access_lifetime")]
    pub access_token_lifetime: u32,
    #[serde(default = "default_refresh_lifetime")]
    pub refresh_token_lifetime: u32,
    #[serde(default)]
    pub refresh_grace: Option<u32>,
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    #[serde(default, alias = "client_uri")]
    pub home_page_url: Option<String>,
    #[serde(default, alias = "logo_uri")]
    pub logo_url: Option<String>,
    #[serde(default, alias = "policy_uri")]
    pub privacy_policy_url: Option<String>,
    #[serde(default)]
    pub is_live: bool,
    #[serde(default)]
    pub owner: Option<SubjectId>,
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

/// A registered client, with its secret, which is shown this once.
#[derive(Clone, Debug)]
pub struct CreatedClient {
    /// Its aggregate.
    pub key: ClientKey,
    /// Its name on the wire.
    pub client_id: String,
    /// The secret, unless the client is public or brought its own.
    pub client_secret: Option<String>,
}

impl Operations {
    /// Registers a client.
    pub async fn create_client(
        &self,
        context: &Context,
        registration: ClientRegistration,
    ) -> Result<CreatedClient, OperationError> {
        let metadata = registration.metadata()?;
        self.check_scopes(&metadata).await?;
        let (secret, verifier) = self.first_secret(&registration, &metadata).await?;
        let generated = self.ledger.random().uuid().map_err(LedgerError::from)?;
        let client_id = registration.client_id.unwrap_or_else(|| generated.to_string());
        check_client_id(&client_id)?;
        let key = canonical_uuid(&client_id).unwrap_or(generated);
        let metadata = Box::new(metadata);
        let command = ClientCommand::Register {
            client_id: client_id.clone(),
            metadata,
            verifier,
            imported: None,
        };
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let client = unit.load::<Client>(key).await?;
            if canonical_uuid(&client_id).is_none() {
                unit.claim::<Client>(CLIENT_ID, &client_id, key);
            }
            if let Some(concluded) = unit.conclude(&client, client.decide(&command)).await? {
                concluded.outcome?;
                return Ok(CreatedClient {
                    key: ClientKey(key),
                    client_id,
                    client_secret: secret,
                });
            }
        }
    }

    /// The client with that name on the wire.
    pub async fn find_client(&self, client_id: &str) -> Result<Option<ClientKey>, LedgerError> {
        if let Some(id) = canonical_uuid(client_id) {
            return Ok(Some(ClientKey(id)));
        }
        Ok(self.ledger.find_name(CLIENT_ID, client_id).await?.map(ClientKey))
    }

    /// Replaces a client's metadata.
    pub async fn update_client(
        &self,
        context: &Context,
        key: ClientKey,
        metadata: ClientMetadata,
    ) -> Result<(), OperationError> {
        self.check_scopes(&metadata).await?;
        self.command_client(context, key, &ClientCommand::Update(Box::new(metadata)))
            .await
    }

    /// Adds a secret, generated here; the ones before end after `overlap_seconds`.
    pub async fn rotate_client_secret(
        &self,
        context: &Context,
        key: ClientKey,
        overlap_seconds: u32,
    ) -> Result<String, OperationError> {
        let (secret, verifier) = self.generate_secret()?;
        let retire_at = self.ledger.clock().now() + TimeDelta::seconds(i64::from(overlap_seconds));
        self.command_client(context, key, &ClientCommand::RotateSecret { verifier, retire_at })
            .await?;
        Ok(secret)
    }

    /// Suspends, reinstates or revokes a client, or records a step of a scope's approval.
    pub async fn command_client(
        &self,
        context: &Context,
        key: ClientKey,
        command: &ClientCommand,
    ) -> Result<(), OperationError> {
        if let ClientCommand::Approval {
            scope,
            step: Approval::Approved,
            ..
        } = command
        {
            let mut unit = self.ledger.unit_of_work(context);
            if unit.load::<Scope>(Scope::id(scope)).await?.grantable().is_none() {
                return Err(OperationError::invalid(
                    "scope",
                    format!("the scope {scope} is not defined"),
                ));
            }
        }
        Ok(run!(self, context, Client, key.0, command).outcome?)
    }

    /// What checks a secret that was presented by hand or brought along.
    async fn first_secret(
        &self,
        registration: &ClientRegistration,
        metadata: &ClientMetadata,
    ) -> Result<(Option<String>, Option<SecretVerifier>), OperationError> {
        match &registration.client_secret {
            Some(_) if metadata.is_public() => Err(ClientRefusal::Public.into()),
            None if metadata.is_public() => Ok((None, None)),
            None => self
                .generate_secret()
                .map(|(secret, verifier)| (Some(secret), Some(verifier))),
            Some(chosen) => {
                // RFC 6749 appendix A.2: VSCHAR.
                if chosen.is_empty()
                    || chosen.len() > 1024
                    || !chosen.bytes().all(|b| (0x20..=0x7e).contains(&b))
                {
                    return Err(OperationError::invalid(
                        "client_secret",
                        "it needs 1 to 1024 printable ASCII characters",
                    ));
                }
                let phc = self.hasher.hash(chosen.clone()).await?;
                Ok((None, Some(SecretVerifier::Argon2id(phc))))
            }
        }
    }

    fn generate_secret(&self) -> Result<(String, SecretVerifier), OperationError> {
        let random: [u8; 32] = self.ledger.random().bytes().map_err(LedgerError::from)?;
        let secret = format!("gls_{}", URL_SAFE_NO_PAD.encode(random));
        let verifier = SecretVerifier::Sha256(Digest::of(secret.as_bytes()));
        Ok((secret, verifier))
    }

    /// A client may ask only for scopes that exist.
    async fn check_scopes(&self, metadata: &ClientMetadata) -> Result<(), OperationError> {
        let context = Context::local(Uuid::nil(), crate::ledger::Actor::System, "check scopes");
        let mut unit = self.ledger.unit_of_work(&context);
        for scope in metadata.scope.iter() {
            if unit.load::<Scope>(Scope::id(scope)).await?.grantable().is_none() {
                return Err(OperationError::invalid(
                    "scope",
                    format!("the scope {scope} is not defined"),
                ));
            }
        }
        Ok(())
    }
}

impl ClientRegistration {
    /// The metadata, checked.
    pub fn metadata(&self) -> Result<ClientMetadata, OperationError> {
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
        let metadata = ClientMetadata {
            client_name: self.client_name.trim().to_owned(),
            redirect_uris: self.redirect_uris.clone(),
            grant_types: self.grant_types.clone(),
            token_endpoint_auth_method: self.token_endpoint_auth_method,
            scope,
            default_scopes,
            audience: self.audience.clone(),
            introspects: self.introspects.clone(),
            legacy: self.legacy,
            access_token_algorithm: self.access_token_algorithm,
            access_token_lifetime: self.access_token_lifetime,
            refresh_token_lifetime: self.refresh_token_lifetime,
            refresh_grace: self.refresh_grace,
            allowed_origins: self.allowed_origins.clone(),
            home_page_url: self.home_page_url.clone(),
            logo_url: self.logo_url.clone(),
            privacy_policy_url: self.privacy_policy_url.clone(),
            is_live: self.is_live,
            owner: self.owner,
        };
        check(&metadata)?;
        Ok(metadata)
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
    let invalid = |field, problem: &str| Err(OperationError::invalid(field, problem));
    if metadata.client_name.is_empty() || metadata.client_name.len() > 200 {
        return invalid("client_name", "it needs 1 to 200 characters");
    }
    if metadata.redirect_uris.len() > 50 {
        return invalid("redirect_uris", "there are more than 50");
    }
    for uri in &metadata.redirect_uris {
        if let Err(problem) = redirect_uri::check(uri) {
            return Err(OperationError::invalid(
                "redirect_uris",
                format!("{uri}: {problem}"),
            ));
        }
    }
    if metadata.allows(GrantType::AuthorizationCode) && metadata.redirect_uris.is_empty() {
        return invalid("redirect_uris", "the authorization_code grant needs at least one");
    }
    if metadata.is_public() && metadata.allows(GrantType::ClientCredentials) {
        return invalid(
            "grant_types",
            "a public client cannot use client_credentials (RFC 6749 §4.4)",
        );
    }
    for (field, url) in [
        ("home_page_url", &metadata.home_page_url),
        ("logo_url", &metadata.logo_url),
        ("privacy_policy_url", &metadata.privacy_policy_url),
    ] {
        let is_web =
            |url: &String| url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        if url.as_ref().is_some_and(|url| url.len() > 2000 || !is_web(url)) {
            return invalid(field, "it is not an http or https URL");
        }
    }
    for origin in &metadata.allowed_origins {
        let parsed = url::Url::parse(origin).map(|url| url.origin().ascii_serialization());
        if parsed.as_deref() != Ok(origin) {
            return Err(OperationError::invalid(
                "allowed_origins",
                format!("{origin} is not an origin"),
            ));
        }
    }
    if !(1..=86_400 * 31).contains(&metadata.access_token_lifetime) {
        return invalid("access_token_lifetime", "it needs 1 second to 31 days");
    }
    if !(1..=86_400 * 3650).contains(&metadata.refresh_token_lifetime) {
        return invalid("refresh_token_lifetime", "it needs 1 second to 3650 days");
    }
    if metadata.refresh_grace.is_some_and(|grace| grace > 300) {
        return invalid("refresh_grace", "it is at most 300 seconds");
    }
    Ok(())
}

/// RFC 6749 appendix A.1: VSCHAR; ours may not be empty or endless.
pub(crate) fn check_client_id(client_id: &str) -> Result<(), OperationError> {
    if client_id.is_empty() || client_id.len() > 255 || !client_id.bytes().all(|b| (0x20..=0x7e).contains(&b))
    {
        return Err(OperationError::invalid(
            "client_id",
            "it needs 1 to 255 printable ASCII characters",
        ));
    }
    Ok(())
}

/// A client id that is a UUID in its usual spelling is the aggregate's own id: it needs no name.
fn canonical_uuid(client_id: &str) -> Option<Uuid> {
    Uuid::try_parse(client_id)
        .ok()
        .filter(|uuid| uuid.to_string() == client_id)
}
