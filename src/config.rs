//! Configuration: what an operator may set, with defaults that are safe. `docs/configuration.md` describes every
//! field; [`load`] reads them from a file and the environment, [`check`] refuses what cannot work.

mod check;
mod error;
mod key_file;
mod load;
mod merged;

pub use check::{is_loopback, warn_of_plain_http};
pub use error::{ConfigError, Origin, Problem};
pub use key_file::{parse_master_key, warn_of_readers};
pub use load::{Override, field_names, load, load_with, variable};

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::domain::client::GrantType;
use crate::domain::session::SessionEndRevokes;
use crate::http::page::Language;
use crate::outbound::Allowed;

/// Everything that can be set, by a TOML file and by environment variables (`GRANTLOG_` and the field's name
/// in capitals; the environment wins).
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Settings {
    /// The issuer identifier (RFC 8414 §2): the URL that clients know this server by, without a path's final
    /// slash. Never taken from the Host header.
    pub issuer: String,
    /// The database, as the application's role.
    pub database_url: String,
    /// The database as the schema's owner, for `grantlog migrate`.
    #[serde(default)]
    pub migration_database_url: Option<String>,
    /// The database that holds the data keys, where it is another.
    #[serde(default)]
    pub keys_database_url: Option<String>,
    /// Days for which backups of the table of data keys are kept: until when an old one can undo an erasure.
    #[serde(default)]
    pub key_backup_days: Option<u32>,
    /// The master key, 32 bytes in base64url or hexadecimal.
    #[serde(default)]
    pub master_key: Option<Secret>,
    /// A file that holds the master key.
    #[serde(default)]
    pub master_key_file: Option<PathBuf>,
    /// Where to serve.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where to serve `/metrics`; nowhere unless set.
    #[serde(default)]
    pub metrics_listen: Option<SocketAddr>,
    /// A PEM file with the TLS certificate chain.
    #[serde(default)]
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with its private key.
    #[serde(default)]
    pub tls_key: Option<PathBuf>,
    /// Seconds for which browsers are told to come with https only (RFC 6797), where the issuer is https. 0: they are not.
    #[serde(default = "default_hsts_seconds")]
    pub hsts_seconds: u32,
    /// Whether clients are asked for a certificate when they connect (RFC 8705); none is required. With `tls_cert`.
    #[serde(default)]
    pub tls_client_certificates: bool,
    /// A PEM file with the certificates of the authorities that are trusted for `tls_client_auth`.
    #[serde(default)]
    pub tls_client_ca: Option<PathBuf>,
    /// A database of cities (MMDB), for the policy `impossible-travel`.
    #[serde(default)]
    pub geoip_database: Option<PathBuf>,
    /// The header in which trusted proxies hand on their clients' certificates.
    #[serde(default)]
    pub client_certificate_header: Option<String>,
    /// How they write it.
    #[serde(default)]
    pub client_certificate_format: CertificateFormat,
    /// Where clients with certificates find the endpoints, where that is not the issuer (RFC 8705 §5).
    #[serde(default)]
    pub mtls_url: Option<String>,
    /// Seconds that requests under way are given when the server is told to stop.
    #[serde(default = "default_shutdown_seconds")]
    pub shutdown_seconds: u32,
    /// The name of the evidence log; of the issuer unless set. It is fixed with the log's first key.
    #[serde(default)]
    pub evidence_origin: Option<String>,
    /// Who may read the evidence log's entries.
    #[serde(default)]
    pub evidence_entries: EvidenceEntries,
    /// Witnesses of the evidence log: a verifier key each, with the URL to send checkpoints to where there is one.
    #[serde(default)]
    pub evidence_witnesses: Vec<String>,
    /// Seconds between two checkpoints that witnesses are sent.
    #[serde(default = "default_evidence_witness_seconds")]
    pub evidence_witness_seconds: u32,
    /// A file in which this node keeps the last checkpoint, outside of the database.
    #[serde(default)]
    pub evidence_checkpoint_file: Option<PathBuf>,
    /// The language of pages where neither the application nor the browser asks for another that they are written in.
    #[serde(default)]
    pub default_language: Language,
    /// Addresses of proxies whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Hosts that are not public and that URLs of clients may name all the same.
    #[serde(default)]
    pub outbound_allow: Vec<Allowed>,
    /// A PEM file with the certificates of authorities that outgoing TLS trusts beside the system's.
    #[serde(default)]
    pub outbound_ca: Option<PathBuf>,
    /// Whether clients that may use the password grant (RFC 6749 §4.3) are let.
    #[serde(default)]
    pub allow_password_grant: bool,
    /// Whether access tokens under HS256 are issued, to legacy clients that are registered for them, and accepted.
    #[serde(default)]
    pub allow_hs256_access_tokens: bool,
    /// Whether clients may authenticate with assertions under their secret (`client_secret_jwt`).
    #[serde(default)]
    pub allow_client_secret_jwt: bool,
    /// What a client's signed assertion may name as its audience.
    #[serde(default)]
    pub assertion_audience: AssertionAudience,
    /// Whether every authorization request must be pushed (RFC 9126 §5).
    #[serde(default)]
    pub require_pushed_authorization_requests: bool,
    /// Whether every authorization request must say what is to become of the grant (Grant Management for OAuth 2.0).
    #[serde(default)]
    pub grant_management_action_required: bool,
    /// Whether every authorization request must be a signed request object (RFC 9101 §10.5).
    #[serde(default)]
    pub require_signed_request_objects: bool,
    /// Whether clients may hear of their users by the Shared Signals Framework.
    #[serde(default)]
    pub shared_signals: bool,
    /// Seconds that a pushed request waits for the browser.
    #[serde(default = "default_pushed_request_lifetime")]
    pub pushed_request_lifetime: u32,
    /// Who may register clients at `/oauth/register` (RFC 7591 §3).
    #[serde(default)]
    pub registration: RegistrationMode,
    /// Clients that one address may register per minute where nobody needs leave to.
    #[serde(default = "default_registrations_per_minute")]
    pub registrations_per_minute: u32,
    /// The scopes that clients may register themselves for.
    #[serde(default = "default_registration_scopes")]
    pub registration_scopes: Vec<String>,
    /// The types of authorization details (RFC 9396) that clients may register themselves for.
    #[serde(default)]
    pub registration_authorization_details_types: Vec<String>,
    /// The grant types that clients may register themselves for.
    #[serde(default = "default_registration_grant_types")]
    pub registration_grant_types: Vec<GrantType>,
    /// Whether confidential clients that register themselves may leave PKCE out (RFC 9700 §2.1.1 recommends it to them).
    #[serde(default)]
    pub registration_pkce_optional: bool,
    /// Whether clients register themselves with a software statement only (RFC 7591 §2.3).
    #[serde(default)]
    pub registration_requires_software_statement: bool,
    /// Whose software statements are believed, each as `ISSUER=FILE` of a JWK set.
    #[serde(default)]
    pub software_statement_issuers: Vec<String>,
    /// Whether DPoP proofs must carry a nonce of this server's (RFC 9449 §8, §9).
    #[serde(default)]
    pub dpop_nonce: DpopNonce,
    /// Seconds that such a nonce is accepted at most.
    #[serde(default = "default_dpop_nonce_lifetime")]
    pub dpop_nonce_lifetime: u32,
    /// Seconds after its `iat` that a DPoP proof is accepted.
    #[serde(default = "default_dpop_proof_lifetime")]
    pub dpop_proof_lifetime: u32,
    /// Whether JWT access tokens name a status list, and the lists are served (draft-ietf-oauth-status-list).
    #[serde(default)]
    pub status_list: bool,
    /// Seconds within which a revocation shows in whatever follows those lists.
    #[serde(default = "default_status_list_ttl")]
    pub status_list_ttl: u32,
    /// Seconds that an authorization code lives.
    #[serde(default = "default_code_lifetime")]
    pub code_lifetime: u32,
    /// Seconds that a device code and its user code live (RFC 8628 §3.2).
    #[serde(default = "default_device_code_lifetime")]
    pub device_code_lifetime: u32,
    /// Seconds that a device is told to wait between polls.
    #[serde(default = "default_device_poll_interval")]
    pub device_poll_interval: u32,
    /// Device authorizations that public clients at one address may begin per minute.
    #[serde(default = "default_device_requests_per_minute")]
    pub device_requests_per_minute: u32,
    /// Authorization requests that public clients at one address may push per minute.
    #[serde(default = "default_pushed_requests_per_minute")]
    pub pushed_requests_per_minute: u32,
    /// Days that a grant lives, whatever its refresh tokens do.
    #[serde(default = "default_grant_lifetime_days")]
    pub grant_lifetime_days: u32,
    /// Seconds that a browser login lives.
    #[serde(default = "default_session_lifetime")]
    pub session_lifetime: u32,
    /// Which grants end with the login that they were given in.
    #[serde(default = "default_session_end_revokes")]
    pub session_end_revokes: SessionEndRevokes,
    /// Seconds for which a client that cannot be told of a login's end is tried again.
    #[serde(default = "default_backchannel_logout_retry_seconds")]
    pub backchannel_logout_retry_seconds: u32,
    /// Failed logins and client authentications that one address, user name or client may have per minute.
    #[serde(default = "default_failures_per_minute")]
    pub failures_per_minute: u32,
    /// Refused requests per source and minute that are recorded one by one.
    #[serde(default = "default_refusals_per_minute")]
    pub refusals_per_minute: u32,
    /// Requests to `/api` that one token may make per minute; 0 means no limit.
    #[serde(default = "default_api_requests_per_minute")]
    pub api_requests_per_minute: u32,
    /// Readers of `/admin/events` that this node serves at once.
    #[serde(default = "default_event_stream_connections")]
    pub event_stream_connections: u32,
    /// Seconds between two writings down of how often tokens were used here; 0 counts nothing.
    #[serde(default = "default_token_use_seconds")]
    pub token_use_seconds: u32,
    /// Connections to the database for reading.
    #[serde(default = "default_database_connections")]
    pub database_connections: u32,
    /// Hot aggregates kept in memory.
    #[serde(default = "default_cached_aggregates")]
    pub cached_aggregates: usize,
    /// Passwords hashed at once; each takes about 19 MiB and a core.
    #[serde(default = "default_hashing_threads")]
    pub hashing_threads: usize,
    /// `text` or `json`.
    #[serde(default)]
    pub log_format: LogFormat,
    /// A filter such as `info` or `grantlog=debug,sqlx=warn`.
    #[serde(default = "default_log_filter")]
    pub log_filter: String,
}

impl std::fmt::Debug for Settings {
    /// Not the rest: database URLs hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("issuer", &self.issuer)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// Who may register clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationMode {
    /// Administrators alone; there is no endpoint.
    #[default]
    Off,
    /// Whoever has an initial access token.
    InitialAccessToken,
    /// Everybody.
    Open,
}

impl Settings {
    /// The URLs that clients know a path of this server by: below the issuer, and where clients with certificates are
    /// sent (RFC 8705 §5).
    pub fn urls_of(&self, path: &str) -> impl Iterator<Item = String> {
        let bases = [Some(&self.issuer), self.mtls_url.as_ref()].into_iter().flatten();
        bases.map(move |base| format!("{base}{path}"))
    }

    /// Whether clients with certificates are served: here, or by the node at `mtls_url`.
    #[must_use]
    pub fn serves_client_certificates(&self) -> bool {
        self.sees_client_certificates() || self.mtls_url.is_some()
    }

    /// Whether `tls_client_auth` is served: here, or by the node at `mtls_url`, whose settings of whom to trust are
    /// repeated here.
    #[must_use]
    pub fn serves_authorities(&self) -> bool {
        let says_whom = self.tls_client_ca.is_some() || self.client_certificate_header.is_some();
        self.trusts_authorities() || (self.mtls_url.is_some() && says_whom)
    }

    /// Whether a certificate of a client can reach this server at all.
    #[must_use]
    pub fn sees_client_certificates(&self) -> bool {
        let by_proxy = self.client_certificate_header.is_some() && !self.trusted_proxies.is_empty();
        self.tls_client_certificates || by_proxy
    }

    /// The name of a new evidence log.
    #[must_use]
    pub fn evidence_origin(&self) -> String {
        let of_issuer = || crate::evidence::origin::of_issuer(&self.issuer);
        self.evidence_origin.clone().unwrap_or_else(of_issuer)
    }

    /// Whether it can tell which authority issued one: by its own authorities, or by a proxy's word.
    #[must_use]
    pub fn trusts_authorities(&self) -> bool {
        let by_proxy = self.client_certificate_header.is_some() && !self.trusted_proxies.is_empty();
        by_proxy || (self.tls_client_certificates && self.tls_client_ca.is_some())
    }
}

/// Who may read the evidence log's entries, which are the ledger's rows. Its hashes are for everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceEntries {
    /// Clients with a token of the scope `admin`.
    #[default]
    Admin,
    /// Everybody.
    Public,
    /// Nobody, over HTTP.
    Off,
}

/// How a proxy writes a client's certificate in a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateFormat {
    /// DER in base64 between colons (RFC 9440 §2.2).
    #[default]
    Rfc9440,
    /// PEM, percent-encoded, as nginx's `$ssl_client_escaped_cert` is.
    Pem,
}

/// Whether DPoP proofs must carry a nonce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DpopNonce {
    /// They must: a proof cannot be made long before it is used.
    #[default]
    Required,
    /// They need not, and none is given out.
    Off,
}

/// What a client's signed assertion may name as its audience (RFC 7523 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionAudience {
    /// The issuer, the token endpoint's URL, or that of the endpoint which is called.
    #[default]
    Endpoints,
    /// The issuer alone (draft-ietf-oauth-rfc7523bis), for clients that use one key at servers which may not all be
    /// trusted.
    Issuer,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A setting that is never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8480))
}

fn default_hsts_seconds() -> u32 {
    31_536_000
}

fn default_shutdown_seconds() -> u32 {
    25
}

fn default_pushed_request_lifetime() -> u32 {
    90
}

fn default_registrations_per_minute() -> u32 {
    5
}

fn default_registration_scopes() -> Vec<String> {
    ["openid", "profile", "email", "offline_access"]
        .map(str::to_owned)
        .into()
}

fn default_registration_grant_types() -> Vec<GrantType> {
    vec![GrantType::AuthorizationCode, GrantType::RefreshToken]
}

fn default_dpop_nonce_lifetime() -> u32 {
    300
}

fn default_dpop_proof_lifetime() -> u32 {
    300
}

fn default_evidence_witness_seconds() -> u32 {
    60
}

fn default_status_list_ttl() -> u32 {
    60
}

fn default_code_lifetime() -> u32 {
    600
}

fn default_device_code_lifetime() -> u32 {
    600
}

fn default_device_poll_interval() -> u32 {
    5
}

fn default_device_requests_per_minute() -> u32 {
    60
}

fn default_pushed_requests_per_minute() -> u32 {
    60
}

fn default_grant_lifetime_days() -> u32 {
    365
}

fn default_session_lifetime() -> u32 {
    12 * 3600
}

fn default_session_end_revokes() -> SessionEndRevokes {
    SessionEndRevokes::Online
}

fn default_backchannel_logout_retry_seconds() -> u32 {
    86_400
}

fn default_failures_per_minute() -> u32 {
    10
}

fn default_refusals_per_minute() -> u32 {
    60
}

fn default_api_requests_per_minute() -> u32 {
    6000
}

fn default_event_stream_connections() -> u32 {
    32
}

fn default_token_use_seconds() -> u32 {
    60
}

fn default_database_connections() -> u32 {
    8
}

fn default_cached_aggregates() -> usize {
    20_000
}

fn default_hashing_threads() -> usize {
    2
}

fn default_log_filter() -> String {
    "info".to_owned()
}
