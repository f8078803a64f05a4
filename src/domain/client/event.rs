//! The client's events, and what they say of its secrets.

use serde::{Deserialize, Serialize};

use super::exchange::{ExchangeMode, ExchangeRule};
use super::metadata::ClientMetadata;
use crate::clock::Timestamp;
use crate::domain::value::Digest;
use crate::ids::{ClientKey, KeyId};

events! {
    /// Events of one client.
    pub enum ClientEvent of "client" {
        /// A client was registered.
        ClientRegistered 1 {
            /// Its name on the wire.
            client_id: String,
            /// What it is and may do.
            metadata: ClientMetadata,
            /// Which import brought it; none where it was registered here.
            imported: Option<String>,
        },
        /// Its metadata was replaced.
        ClientUpdated 1 {
            /// What it is and may do from now on.
            metadata: ClientMetadata,
        },
        /// It can authenticate with another secret.
        ClientSecretAdded 1 {
            /// The secret's number, from 1.
            number: u32,
            /// What checks a presented secret.
            verifier: SecretVerifier,
        },
        /// A secret ends.
        ClientSecretRetired 1 {
            /// The secret's number.
            number: u32,
            /// From when on it is refused.
            at: Timestamp,
        },
        /// It is blocked: nothing is issued to it, its tokens are not active, until it is reinstated.
        ClientSuspended 1 {
            /// Why, in the administrator's words.
            reason: String,
        },
        /// It gets few tokens a minute for a while.
        ClientThrottled 1 {
            /// How many requests for tokens a node answers it within a minute.
            per_minute: u32,
            /// Until when.
            until: Timestamp,
            /// Why.
            reason: String,
        },
        /// It is no longer blocked, nor throttled.
        ClientReinstated 1 {},
        /// It is blocked for good.
        ClientRevoked 1 {
            /// Why, in the administrator's words.
            reason: String,
        },
        /// Somebody asked that it may use a restricted scope.
        ScopeApprovalRequested 1 {
            /// The scope.
            scope: String,
            /// What it is needed for.
            reason: String,
        },
        /// It may use a restricted scope.
        ScopeApproved 1 {
            /// The scope.
            scope: String,
            /// Why.
            reason: String,
        },
        /// It may not use a restricted scope.
        ScopeRejected 1 {
            /// The scope.
            scope: String,
            /// Why.
            reason: String,
        },
        /// It may no longer use a restricted scope.
        ScopeApprovalWithdrawn 1 {
            /// The scope.
            scope: String,
            /// Why.
            reason: String,
        },
        /// It has a token to read, replace and delete its own registration with (RFC 7592); one before is over.
        RegistrationAccessTokenIssued 1 {
            /// SHA-256 of the token.
            digest: Digest,
        },
        /// It was registered, or its registration replaced, under a software statement (RFC 7591 §2.3).
        SoftwareStatementAccepted 1 {
            /// Who signed it.
            issuer: String,
            /// SHA-256 of the statement as it came.
            digest: Digest,
            /// The software that it is of.
            software_id: Option<String>,
            /// The version of that software.
            software_version: Option<String>,
},
        /// It may exchange tokens of a client (RFC 8693); replaces what was allowed of that client in that mode.
        ExchangeAllowed 1 {
            /// Whose tokens, how, and within which limits.
            rule: ExchangeRule,
        },
        /// It may no longer exchange tokens of a client; what came of such exchanges is not active any more.
        ExchangeDisallowed 1 {
            /// Whose tokens.
            subject_client: ClientKey,
            /// In which mode.
            mode: ExchangeMode,
            /// Why, in the administrator's words.
            reason: String,
        },
    }
}

/// What checks a presented secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretVerifier {
    /// SHA-256 of a secret of full entropy that was generated here.
    Sha256(Digest),
    /// The PHC string of a secret that somebody chose.
    Argon2id(String),
    /// The bcrypt hash of an imported secret.
    Bcrypt(String),
    /// A secret that was generated here and is the key of assertions (`client_secret_jwt`): where it lies, wrapped by
    /// the master key.
    Key(KeyId),
}
