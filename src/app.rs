//! The server's state, shared by all requests.

use std::sync::Arc;

use crate::clock::{Clock, Randomness};
use crate::config::Settings;
use crate::crypto::certificate::{Authorities, AuthoritiesError, authorities};
use crate::crypto::client_secret::SecretKeys;
use crate::crypto::master::MasterKey;
use crate::crypto::password::Hasher;
use crate::crypto::signing::SigningKeys;
use crate::crypto::software_statement::Publishers;
use crate::crypto::vault::Vault;
use crate::evidence::{EvidenceError, Standing, store};
use crate::http::admin::events::EventStreams;
use crate::http::client_secret::SecretCache;
use crate::http::limits::Limits;
use crate::http::network_throttles::NetworkThrottles;
use crate::http::oauth::status_list::StatusLists;
use crate::http::published_keys::PublishedKeys;
use crate::http::token_uses::TokenUseCounter;
use crate::ledger::{Actor, Context, Ledger, LedgerError, LedgerOptions, reading_pool};
use crate::operations::{OperationError, Operations};
use crate::outbound::Fetcher;
use crate::policy::geoip::{GeoIp, GeoIpError};

/// The server's state. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What the server is made of.
pub struct Parts {
    /// The configuration.
    pub settings: Settings,
    /// The ledger.
    pub ledger: Ledger,
    /// What this node knows of the evidence log.
    pub evidence: Arc<Standing>,
    /// Administration and look-ups.
    pub operations: Operations,
    /// The signing keys.
    pub keys: SigningKeys,
    /// Counts of failures and requests.
    pub limits: Limits,
    /// Uses of tokens that are not written down yet.
    pub uses: TokenUseCounter,
    /// Networks that policies throttled.
    pub throttles: NetworkThrottles,
    /// Client secrets that verified.
    pub secrets: SecretCache,
    /// Whose software statements are believed.
    pub publishers: Publishers,
    /// Requests to URLs that somebody else named.
    pub outbound: Fetcher,
    /// Requests to the evidence log's witnesses.
    pub witnesses: Fetcher,
    /// Keys that clients publish.
    pub client_keys: PublishedKeys,
    /// Keys that trusted issuers publish: apart, since whoever may register clients could crowd them out.
    pub issuer_keys: PublishedKeys,
    /// Client secrets that are keys.
    pub secret_keys: SecretKeys,
    /// Status lists that were built.
    pub status_lists: StatusLists,
    /// Whose certificates are trusted for `tls_client_auth`; none where no file says so.
    pub authorities: Option<Authorities>,
    /// Readers of the ledger's events.
    pub event_streams: EventStreams,
    /// Where addresses are; none where no database says so.
    pub geoip: Option<Arc<GeoIp>>,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be reached.
    #[error("the database cannot be reached: {0}")]
    Database(#[from] sqlx::Error),
    /// The ledger does not work.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The first keys could not be made.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The keys of a publisher of software statements cannot be read.
    #[error("software_statement_issuers: {0}")]
    Publishers(String),
    /// The authorities of client certificates, or those that outgoing requests trust, cannot be used.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The database of places cannot be used.
    #[error(transparent)]
    GeoIp(#[from] GeoIpError),
    /// The ledger is not the one that was signed, or the evidence log cannot be read.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The file with the last checkpoint cannot be read.
    #[error("evidence_checkpoint_file: it cannot be read, or holds no checkpoint: {0}")]
    CheckpointFile(#[from] std::io::Error),
    /// Encryption does not work.
    #[error(transparent)]
    Crypto(#[from] crate::crypto::CryptoError),
    /// Outgoing requests cannot use TLS.
    #[error("outgoing TLS cannot be set up: {0}")]
    Outbound(#[from] rustls::Error),
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Connects, makes the first signing keys where there are none, and is ready to serve.
    pub async fn open(settings: Settings, master: MasterKey, clock: Clock) -> Result<Self, StartError> {
        let client_authorities = settings
            .tls_client_ca
            .as_deref()
            .map(Authorities::load)
            .transpose()?;
        let geoip = settings
            .geoip_database
            .as_deref()
            .map(GeoIp::open)
            .transpose()?
            .map(Arc::new);
        let master = Arc::new(master);
        let publishers =
            Publishers::read(&settings.software_statement_issuers).map_err(StartError::Publishers)?;
        let operations = open_operations(&settings, Arc::clone(&master), clock).await?;
        let ledger = operations.ledger.clone();
        let evidence = Standing::open(settings.evidence_checkpoint_file.as_deref())?;
        evidence
            .observe(ledger.pool(), &store::read(ledger.pool()).await?)
            .await?;
        let context = Context::local(
            ledger.random().uuid().map_err(LedgerError::from)?,
            Actor::System,
            "start",
        );
        operations.ensure_signing_keys(&context).await?;
        let outbound = fetcher(&settings)?;
        let keys = SigningKeys::open(&ledger, master, operations.token_algorithms()).await?;
        Ok(Self(Arc::new(Parts {
            limits: Limits::new(settings.failures_per_minute, settings.api_requests_per_minute),
            uses: TokenUseCounter::new(settings.token_use_seconds > 0),
            throttles: NetworkThrottles::default(),
            secrets: SecretCache::default(),
            publishers,
            secret_keys: SecretKeys::default(),
            authorities: client_authorities,
            event_streams: EventStreams::new(settings.event_stream_connections),
            status_lists: StatusLists::default(),
            geoip,
            client_keys: PublishedKeys::new(&outbound, "jwks_uri"),
            issuer_keys: PublishedKeys::new(&outbound, "issuer_jwks_uri"),
            witnesses: outbound.apart("witness"),
            outbound,
            evidence: Arc::new(evidence),
            settings,
            ledger,
            operations,
            keys,
        })))
    }
}

/// What outgoing requests are made with.
fn fetcher(settings: &Settings) -> Result<Fetcher, StartError> {
    let own = settings.outbound_ca.as_deref();
    let own = own.map(|path| authorities("outbound_ca", path)).transpose()?;
    Ok(Fetcher::new(settings.outbound_allow.clone(), own)?)
}

/// Opens what administration works with, without the keys and limits that serving needs.
pub async fn open_operations(
    settings: &Settings,
    master: Arc<MasterKey>,
    clock: Clock,
) -> Result<Operations, StartError> {
    let random = Randomness::default();
    let options = LedgerOptions {
        database: settings.database_url.parse()?,
        max_connections: settings.database_connections,
        cached_aggregates: settings.cached_aggregates,
        refusals_per_minute: settings.refusals_per_minute,
    };
    let pool = reading_pool(&options);
    let keys_pool = match &settings.keys_database_url {
        Some(url) => sqlx::PgPool::connect_lazy_with(url.parse()?),
        None => pool.clone(),
    };
    let vault = Vault::new(master, random.clone(), keys_pool);
    let ledger = Ledger::open(&options, pool, vault, clock, random.clone()).await?;
    let hasher = Hasher::new(settings.hashing_threads, random)?;
    Ok(Operations {
        ledger,
        hasher,
        allow_hs256: settings.allow_hs256_access_tokens,
        sectors: fetcher(settings)?.apart("sector_identifier_uri"),
        allow_client_secret_jwt: settings.allow_client_secret_jwt,
        serves_client_certificates: settings.serves_client_certificates(),
        serves_authorities: settings.serves_authorities(),
    })
}
