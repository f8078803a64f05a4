//! Clients: registration (RFC 7591 metadata), secrets, standing, approvals.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use uuid::Uuid;

pub use super::registration::ClientRegistration;
use super::{OperationError, Operations, run, security_profile, urls};
use crate::crypto::client_secret;
use crate::domain::client::{
    AuthMethod, Client, ClientCommand, ClientMetadata, ClientRefusal, SecretVerifier, TokenAlgorithm,
};
use crate::domain::scope::Scope;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, KeyId};
use crate::ledger::{Context, LANE, LedgerError};

/// The kind of name under which chosen client ids are unique.
pub const CLIENT_ID: &str = "client_id";

/// The least characters of a chosen client secret.
pub const MIN_CHOSEN_SECRET: usize = 16;
/// The most.
pub const MAX_CHOSEN_SECRET: usize = 1024;

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
        security_profile::check_oauth21(&metadata, None)?;
        self.check_here(&metadata).await?;
        self.check_sector(&metadata, None).await?;
        if metadata.is_native_with_secret() {
            let problem = ClientRefusal::NativeSecret.to_string();
            return Err(OperationError::invalid("token_endpoint_auth_method", problem));
        }
        let generated = self.ledger.random().uuid().map_err(LedgerError::from)?;
        let chosen = registration.client_id.clone();
        let client_id = chosen.unwrap_or_else(|| generated.to_string());
        check_client_id(&client_id)?;
        let (secret, verifier) = self.first_secret(&registration, &metadata).await?;
        let key = canonical_uuid(&client_id).unwrap_or(generated);
        let metadata = Box::new(metadata);
        let stored = verifier.clone();
        let command = ClientCommand::Register {
            client_id: client_id.clone(),
            metadata,
            verifier,
            imported: None,
        };
        let registered = self.register(context, (key, &client_id), &command).await;
        self.forget_unused(stored.as_ref(), registered).await?;
        Ok(CreatedClient {
            key: ClientKey(key),
            client_id,
            client_secret: secret,
        })
    }

    async fn register(
        &self,
        context: &Context,
        (key, client_id): (Uuid, &str),
        command: &ClientCommand,
    ) -> Result<(), OperationError> {
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let client = unit.load::<Client>(key).await?;
            if canonical_uuid(client_id).is_none() {
                unit.claim::<Client>(CLIENT_ID, client_id, key);
            }
            if let Some(concluded) = unit.conclude(&client, client.decide(command)).await? {
                return Ok(concluded.outcome?);
            }
        }
    }

    /// Removes a secret that was stored for what was then refused. Where nobody knows what the ledger did it stays: it may
    /// be in use.
    pub(crate) async fn forget_unused<T>(
        &self,
        verifier: Option<&SecretVerifier>,
        result: Result<T, OperationError>,
    ) -> Result<T, OperationError> {
        let is_refused = match &result {
            Ok(_) => false,
            Err(OperationError::Ledger(error)) => matches!(error, LedgerError::NameTaken(_)),
            Err(_) => true,
        };
        if is_refused {
            self.forget_secret(verifier).await;
        }
        result
    }

    /// Removes a secret that is stored and that no event names.
    pub(crate) async fn forget_secret(&self, verifier: Option<&SecretVerifier>) {
        if let Some(SecretVerifier::Key(id)) = verifier
            && let Err(error) = client_secret::forget(&self.ledger, *id).await
        {
            tracing::warn!(%error, "a client secret that came to no use could not be deleted");
        }
    }

    /// The client with that name on the wire.
    pub async fn find_client(&self, client_id: &str) -> Result<Option<ClientKey>, LedgerError> {
        if let Some(id) = canonical_uuid(client_id) {
            return Ok(Some(ClientKey(id)));
        }
        Ok(self.ledger.find_name(CLIENT_ID, client_id).await?.map(ClientKey))
    }

    /// Whose a generated secret is, or was, and its number. It goes by its digest.
    pub async fn find_secret(&self, digest: &Digest) -> Result<Option<(ClientKey, u32)>, LedgerError> {
        let found: Option<(Uuid, i64)> = sqlx::query_as(
            "SELECT aggregate_id, (payload->>'number')::bigint FROM grantlog.ledger_client \
             WHERE lane = $1 AND event_type = 'ClientSecretAdded' AND payload->'verifier'->>'sha256' = $2",
        )
        .bind(LANE)
        .bind(digest.to_string())
        .fetch_optional(self.ledger.pool())
        .await?;
        Ok(found.and_then(|(client, number)| Some((ClientKey(client), u32::try_from(number).ok()?))))
    }

    /// Replaces a client's metadata.
    pub async fn update_client(
        &self,
        context: &Context,
        key: ClientKey,
        metadata: ClientMetadata,
    ) -> Result<(), OperationError> {
        self.check_here(&metadata).await?;
        let before = self.load::<Client>(key.0).await?;
        let before = before
            .registration
            .as_deref()
            .map(|registration| &registration.metadata);
        security_profile::check_oauth21(&metadata, before)?;
        self.check_sector(&metadata, before).await?;
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
        let client = self.load::<Client>(key.0).await?;
        let registration = client.registration.as_ref().ok_or(ClientRefusal::Unknown)?;
        let method = registration.metadata.token_endpoint_auth_method;
        let (secret, verifier) = self.generate_secret(method).await?;
        let at = self.ledger.clock().now();
        let command = ClientCommand::RotateSecret {
            verifier: verifier.clone(),
            retire_at: at + TimeDelta::seconds(i64::from(overlap_seconds)),
            at,
        };
        let rotated = self.command_client(context, key, &command).await;
        self.forget_unused(Some(&verifier), rotated).await?;
        Ok(secret)
    }

    /// Suspends, reinstates or revokes a client, or records a step of a scope's approval.
    pub async fn command_client(
        &self,
        context: &Context,
        key: ClientKey,
        command: &ClientCommand,
    ) -> Result<(), OperationError> {
        self.check_approval(command).await?;
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
            Some(_) if !metadata.has_secret() => Err(ClientRefusal::Keyed.into()),
            Some(_) if metadata.token_endpoint_auth_method == AuthMethod::ClientSecretJwt => {
                Err(OperationError::invalid(
                    "client_secret",
                    "the secret of client_secret_jwt is generated here",
                ))
            }
            None if !metadata.has_secret() => Ok((None, None)),
            None => self
                .generate_secret(metadata.token_endpoint_auth_method)
                .await
                .map(|(secret, verifier)| (Some(secret), Some(verifier))),
            Some(chosen) => {
                check_client_secret(chosen)?;
                let phc = self.hasher.hash(chosen.clone()).await?;
                Ok((None, Some(SecretVerifier::Argon2id(phc))))
            }
        }
    }

    /// A secret of full entropy. One that is the key of assertions is kept, wrapped; of others a digest is enough.
    pub(crate) async fn generate_secret(
        &self,
        method: AuthMethod,
    ) -> Result<(String, SecretVerifier), OperationError> {
        let random: [u8; 32] = self.ledger.random().bytes().map_err(LedgerError::from)?;
        let secret = format!("gls_{}", URL_SAFE_NO_PAD.encode(random));
        if method == AuthMethod::ClientSecretJwt {
            let id = KeyId(self.ledger.random().uuid().map_err(LedgerError::from)?);
            client_secret::store(&self.ledger, id, &secret).await?;
            return Ok((secret, SecretVerifier::Key(id)));
        }
        let verifier = SecretVerifier::Sha256(Digest::of(secret.as_bytes()));
        Ok((secret, verifier))
    }

    /// What this server allows: scopes that exist, and HS256 only where it is on.
    pub(crate) async fn check_here(&self, metadata: &ClientMetadata) -> Result<(), OperationError> {
        if metadata.access_token_algorithm == TokenAlgorithm::HS256 && !self.allow_hs256 {
            return Err(OperationError::hs256_is_off("access_token_algorithm"));
        }
        if metadata.token_endpoint_auth_method == AuthMethod::ClientSecretJwt && !self.allow_client_secret_jwt
        {
            return Err(OperationError::invalid(
                "token_endpoint_auth_method",
                "client_secret_jwt is off on this server (allow_client_secret_jwt)",
            ));
        }
        self.check_certificates(metadata)?;
        urls::check_reach(metadata, &self.sectors)?;
        let context = Context::local(Uuid::nil(), crate::ledger::Actor::System, "check scopes");
        let mut unit = self.ledger.unit_of_work(&context);
        self.check_detail_types(&metadata.authorization_details_types)
            .await?;
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

    /// Nobody is registered for certificates where none can arrive (RFC 8705).
    fn check_certificates(&self, metadata: &ClientMetadata) -> Result<(), OperationError> {
        let method = metadata.token_endpoint_auth_method;
        let by_certificate =
            [AuthMethod::TlsClientAuth, AuthMethod::SelfSignedTlsClientAuth].contains(&method);
        let none_arrive = "no certificate can reach this server (tls_client_certificates, or \
                           client_certificate_header with trusted_proxies; or mtls_url, where another node takes them)";
        if by_certificate && !self.serves_client_certificates {
            return Err(OperationError::invalid("token_endpoint_auth_method", none_arrive));
        }
        if metadata.tls_client_certificate_bound_access_tokens && !self.serves_client_certificates {
            let field = "tls_client_certificate_bound_access_tokens";
            return Err(OperationError::invalid(field, none_arrive));
        }
        if method == AuthMethod::TlsClientAuth && !self.serves_authorities {
            return Err(OperationError::invalid(
                "token_endpoint_auth_method",
                "tls_client_auth needs to be told which authorities' certificates are trusted (tls_client_ca)",
            ));
        }
        Ok(())
    }
}

/// RFC 6749 appendix A.2: VSCHAR; and RFC 6819 §5.1.4.2.2: long enough not to be guessed. (What an import brings is
/// taken as it is.)
fn check_client_secret(chosen: &str) -> Result<(), OperationError> {
    let problem = match chosen.chars().count() {
        MIN_CHOSEN_SECRET..=MAX_CHOSEN_SECRET if chosen.bytes().all(|b| (0x20..=0x7e).contains(&b)) => {
            return Ok(());
        }
        MIN_CHOSEN_SECRET..=MAX_CHOSEN_SECRET => {
            "it has characters other than printable ASCII (RFC 6749 appendix A.2)".to_owned()
        }
        length => format!(
            "it has {length} characters; a chosen secret needs {MIN_CHOSEN_SECRET} to {MAX_CHOSEN_SECRET} (leave it \
             out to have one generated)"
        ),
    };
    Err(OperationError::invalid("client_secret", problem))
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
