//! The grant's events. `CodeIssued`, `CodeRedeemed`, `TokenIssued`, `RefreshRotated` and `TokenRevoked` keep
//! their names for good.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::authorization_detail::Selection;
use crate::domain::client::{ExchangeMode, GrantType};
use crate::domain::confirmation::{Confirmation, Thumbprint};
use crate::domain::openid::{Claim, IndividualClaims};
use crate::domain::pkce::Challenge;
use crate::domain::value::{Digest, ScopeSet, Sealed};
use crate::ids::{ClientKey, GrantId, IssuerKey, SessionId, SubjectId};

use super::exchange::{Act, TokenRef};
use super::management::Management;

events! {
    /// Events of one grant.
    pub enum GrantEvent of "grant" {
        /// An authorization code was issued (RFC 6749 §4.1.2).
        CodeIssued 1 {
            /// To whom.
            client: ClientKey,
            /// By whom.
            subject: SubjectId,
            /// In which login.
            session: Option<SessionId>,
            /// When that login authenticated the user.
            auth_time: Option<Timestamp>,
            /// How that login authenticated the user (RFC 8176 `amr` values).
            amr: Option<Vec<String>>,
            /// The `nonce` of an OpenID Connect request, as it came: the ID token repeats it.
            nonce: Option<String>,
            /// Which claims of the user the ID tokens carry.
            id_token_claims: Option<Vec<Claim>>,
            /// Which claims the user consented to one by one (OpenID Connect Core §5.5.1).
            individual_claims: Option<IndividualClaims>,
            /// What was granted.
            scope: ScopeSet,
            /// The audience of its tokens.
            audience: Vec<String>,
            /// What was granted besides (RFC 9396), as JSON.
            authorization_details: Option<Sealed>,
            /// SHA-256 of the code's random part.
            digest: Digest,
            /// Where it was sent.
            redirect_uri: String,
            /// Whether the token request must repeat that.
            redirect_uri_required: bool,
            /// The PKCE challenge.
            challenge: Option<Challenge>,
            /// The key that the code is bound to (RFC 9449 §10).
            confirmation: Option<Confirmation>,
            /// Whether the client knows the grant by an id, and by which (Grant Management for OAuth 2.0).
            management: Option<Management>,
            /// How often the user's password had changed.
            password_generation: u32,
            /// How often the consent had been withdrawn.
            consent_withdrawals: u32,
            /// When it was issued.
            issued_at: Timestamp,
            /// When the code ends.
            expires_at: Timestamp,
            /// When the whole grant ends.
            grant_expires_at: Timestamp,
        },
        /// The code was redeemed; `TokenIssued` follows in the same append.
        CodeRedeemed 1 {
            /// By whom.
            client: ClientKey,
            /// When.
            at: Timestamp,
        },
        /// The code was presented a second time; the family's `TokenRevoked` follows in the same append.
        CodeReplayed 1 {
            /// By whom.
            client: ClientKey,
            /// When.
            at: Timestamp,
        },
        /// An access token was issued, with the first refresh token where the client may have one.
        TokenIssued 1 {
            /// How.
            flow: GrantType,
            /// To whom.
            client: ClientKey,
            /// On whose behalf; none where the client acts for itself.
            subject: Option<SubjectId>,
            /// The scope of the access token.
            scope: ScopeSet,
            /// Its audience.
            audience: Vec<String>,
            /// What was granted besides (RFC 9396), as JSON, where the grant begins here.
            authorization_details: Option<Sealed>,
            /// Which of the grant's authorization details the access token has.
            details: Option<Selection>,
            /// The access token.
            access: AccessToken,
            /// The refresh token.
            refresh: Option<RefreshToken>,
            /// How often the user's password had changed.
            password_generation: u32,
            /// When it was issued.
            issued_at: Timestamp,
            /// When the whole grant ends.
            grant_expires_at: Timestamp,
        },
        /// A device asked for authorization (RFC 8628 §3.1): the grant waits for a user's answer.
        DeviceAuthorizationRequested 1 {
            /// For which client.
            client: ClientKey,
            /// What it asks for.
            scope: ScopeSet,
            /// The audience of its tokens.
            audience: Vec<String>,
            /// The resource servers that it named (RFC 8707).
            resources: Option<Vec<String>>,
            /// What it asks for besides (RFC 9396), as JSON, sealed for the client.
            authorization_details: Option<Sealed>,
            /// SHA-256 of the device code's random part.
            digest: Digest,
            /// A digest of the user code, keyed with the master key.
            user_code: Digest,
            /// Seconds that the device is told to wait between polls.
            interval: u32,
            /// When it was issued.
            issued_at: Timestamp,
            /// When the device code and the user code end.
            expires_at: Timestamp,
            /// When the whole grant ends.
            grant_expires_at: Timestamp,
        },
        /// A user approved what the device had asked for, all of it.
        DeviceAuthorizationApproved 1 {
            /// By whom.
            subject: SubjectId,
            /// In which login.
            session: SessionId,
            /// When that login authenticated the user.
            auth_time: Timestamp,
            /// How that login authenticated the user (RFC 8176 `amr` values).
            amr: Vec<String>,
            /// How often the user's password had changed.
            password_generation: u32,
            /// How often the consent had been withdrawn.
            consent_withdrawals: u32,
            /// What was asked for besides (RFC 9396), sealed for the user from here on.
            authorization_details: Option<Sealed>,
            /// When.
            at: Timestamp,
        },
        /// A user denied the device.
        DeviceAuthorizationDenied 1 {
            /// Who.
            subject: SubjectId,
            /// When.
            at: Timestamp,
        },
        /// The approved device code was redeemed; `TokenIssued` follows in the same append.
        DeviceCodeRedeemed 1 {
            /// By whom.
            client: ClientKey,
            /// When.
            at: Timestamp,
        },
        /// The device code was presented after it had been redeemed; the family's `TokenRevoked` follows in the same
        /// append.
        DeviceCodeReplayed 1 {
            /// By whom.
            client: ClientKey,
            /// When.
            at: Timestamp,
        },
        /// A live refresh token of another server was brought here: it may be exchanged once, for one of ours.
        GrantImported 1 {
            /// Which import brought it.
            source: String,
            /// How the grant had begun there.
            flow: GrantType,
            /// To whom it was issued there.
            client: ClientKey,
            /// On whose behalf; none where the client acts for itself.
            subject: Option<SubjectId>,
            /// What was granted there.
            scope: ScopeSet,
            /// The audience of its tokens.
            audience: Vec<String>,
            /// The other server's refresh token, as generation 1: SHA-256 of its value, or of the id inside it.
            refresh: RefreshToken,
            /// How often the consent had been withdrawn here.
            consent_withdrawals: u32,
            /// When it was imported.
            imported_at: Timestamp,
            /// When the whole grant ends.
            grant_expires_at: Timestamp,
        },
        /// A token was exchanged for one of this new grant (RFC 8693); `TokenIssued` follows in the same append.
        TokenExchanged 1 {
            /// Who exchanged it.
            client: ClientKey,
            /// On whose behalf; none where the subject is a client that acts for itself.
            subject: Option<SubjectId>,
            /// What the new token says of who acts.
            mode: ExchangeMode,
            /// The subject token.
            subject_token: TokenRef,
            /// The actor token.
            actor_token: Option<TokenRef>,
            /// What the subject token had been exchanged for in its turn, the nearest first.
            earlier_subjects: Vec<TokenRef>,
            /// The actors' tokens that subject token and actor token rest on.
            earlier_actors: Vec<TokenRef>,
            /// The `act` claim of the new token.
            act: Option<Act>,
            /// The sequence of the client's last event: the rule that allowed this is as of then.
            client_version: u64,
            /// The scope of the new token.
            scope: ScopeSet,
            /// Its audience.
            audience: Vec<String>,
            /// How often the user's password had changed.
            password_generation: u32,
            /// When.
            at: Timestamp,
            /// When the new token, and its grant, end at the latest.
            grant_expires_at: Timestamp,
        },
        /// Another server's assertion was good for a token of this new grant (RFC 7523 §2.1); `TokenIssued` follows in
        /// the same append.
        AssertionAccepted 1 {
            /// Who brought it.
            client: ClientKey,
            /// On whose behalf; none where the client acts for itself.
            subject: Option<SubjectId>,
            /// The trust in its issuer.
            issuer: IssuerKey,
            /// The sequence of that trust's last event: what it allowed is as of then.
            trust_version: u64,
            /// SHA-256 of its issuer and `jti`, or of what was signed where it has none: one that is good once.
            assertion: Digest,
            /// The `kid` of the issuer's key that verified it, where it has one.
            kid: Option<String>,
            /// That key's SHA-256 thumbprint (RFC 7638).
            jkt: Option<Thumbprint>,
            /// The scope of the token.
            scope: ScopeSet,
            /// Its audience.
            audience: Vec<String>,
            /// How often the user's password had changed.
            password_generation: u32,
            /// When.
            at: Timestamp,
            /// When the token, and its grant, end at the latest.
            grant_expires_at: Timestamp,
        },
        /// A refresh token was used: the next generation and a new access token were issued.
        RefreshRotated 1 {
            /// To whom.
            client: ClientKey,
            /// On whose behalf.
            subject: Option<SubjectId>,
            /// The scope of the access token.
            scope: ScopeSet,
            /// The audience of the access token.
            audience: Vec<String>,
            /// Which of the grant's authorization details the access token has.
            details: Option<Selection>,
            /// The access token.
            access: AccessToken,
            /// The new generation.
            refresh: RefreshToken,
            /// When.
            issued_at: Timestamp,
        },
        /// A refresh token that does not rotate was used: a new access token was issued, and the refresh token stays.
        AccessTokenRefreshed 1 {
            /// To whom.
            client: ClientKey,
            /// On whose behalf.
            subject: Option<SubjectId>,
            /// The scope of the access token.
            scope: ScopeSet,
            /// Its audience.
            audience: Vec<String>,
            /// Which of the grant's authorization details the access token has.
            details: Option<Selection>,
            /// The access token.
            access: AccessToken,
            /// The number of the refresh token in the grant.
            generation: u32,
            /// When.
            issued_at: Timestamp,
        },
        /// The immediate predecessor was presented once more within the grace period: its unused successor is
        /// dead, another generation and access token were issued.
        RefreshRetried 1 {
            /// To whom.
            client: ClientKey,
            /// On whose behalf.
            subject: Option<SubjectId>,
            /// The scope of the access token.
            scope: ScopeSet,
            /// The audience of the access token.
            audience: Vec<String>,
            /// Which of the grant's authorization details the access token has.
            details: Option<Selection>,
            /// The access token.
            access: AccessToken,
            /// The new generation.
            refresh: RefreshToken,
            /// When.
            issued_at: Timestamp,
        },
        /// A refresh token that is over was presented; the family's `TokenRevoked` follows in the same append.
        RefreshReplayed 1 {
            /// By whom.
            client: ClientKey,
            /// The sequence of the event that had issued it.
            sequence: u32,
            /// When.
            at: Timestamp,
        },
        /// Another grant took the place of what was granted under this one's id (Grant Management for OAuth 2.0). What it
        /// replaced is revoked in the same append: this grant, or the one that had replaced it before.
        GrantReplaced 1 {
            /// By which.
            by: GrantId,
            /// When.
            at: Timestamp,
        },
        /// One access token, or the whole family, ended before its time.
        TokenRevoked 1 {
            /// What ended.
            target: Target,
            /// Why.
            reason: Reason,
            /// When.
            at: Timestamp,
        },
    }
}

/// An issued access token, as far as the ledger knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// SHA-256 of the random part of its `jti`.
    pub digest: Digest,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The key that it is bound to.
    #[serde(default)]
    pub confirmation: Option<Confirmation>,
}

/// An issued refresh token, as far as the ledger knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshToken {
    /// SHA-256 of its random part.
    pub digest: Digest,
    /// When it ends if unused.
    pub expires_at: Timestamp,
    /// Its number in the grant, from 1.
    pub generation: u32,
    /// The key that it is bound to.
    #[serde(default)]
    pub confirmation: Option<Confirmation>,
}

impl RefreshToken {
    pub(super) fn generation(self, sequence: u32) -> super::Generation {
        super::Generation {
            number: self.generation,
            sequence,
            digest: self.digest,
            expires_at: self.expires_at,
            confirmation: self.confirmation,
        }
    }
}

/// What a revocation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Everything that came of the grant.
    Family,
    /// One access token.
    Access {
        /// The sequence of its issuing event.
        sequence: u32,
        /// When it would have ended by itself.
        expires_at: Timestamp,
    },
}

/// Why something was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RevocationReason")]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The client asked (RFC 7009).
    ClientRequest,
    /// The code, or the device code, was presented twice (RFC 6749 §4.1.2).
    CodeReplayed,
    /// A refresh token that was over was presented (RFC 9700 §4.14.2).
    RefreshReplayed,
    /// An administrator did.
    Administrator,
    /// The login that it was given in is over (OpenID Connect Back-Channel Logout §2.7).
    SessionEnded,
    /// The user did, at the account's pages.
    User,
    /// A policy did; the event's note names the alert.
    Policy,
    /// Another grant took its place (Grant Management for OAuth 2.0).
    Replaced,
}

impl Reason {
    /// The word in the ledger and in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientRequest => "client_request",
            Self::CodeReplayed => "code_replayed",
            Self::RefreshReplayed => "refresh_replayed",
            Self::Administrator => "administrator",
            Self::SessionEnded => "session_ended",
            Self::User => "user",
            Self::Policy => "policy",
            Self::Replaced => "replaced",
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::LedgerEvent;

    #[test]
    fn a_code_of_a_build_without_openid_connect_is_read() {
        let at = DateTime::UNIX_EPOCH;
        let event = CodeIssued {
            client: ClientKey(Uuid::nil()),
            subject: SubjectId(Uuid::nil()),
            session: None,
            auth_time: Some(at),
            amr: Some(vec!["pwd".to_owned()]),
            nonce: Some("n".to_owned()),
            management: None,
            id_token_claims: Some(vec![Claim::Email]),
            individual_claims: Some(IndividualClaims {
                id_token: vec![Claim::Name],
                userinfo: Vec::new(),
            }),
            scope: ["openid"].into_iter().collect(),
            audience: Vec::new(),
            authorization_details: None,
            digest: Digest::of(b"code"),
            redirect_uri: "https://app.example/".to_owned(),
            redirect_uri_required: false,
            challenge: None,
            confirmation: None,
            password_generation: 0,
            consent_withdrawals: 0,
            issued_at: at,
            expires_at: at,
            grant_expires_at: at,
        };
        let mut payload = serde_json::to_value(&event).unwrap();
        for member in ["amr", "nonce", "id_token_claims", "individual_claims"] {
            assert!(payload.as_object_mut().unwrap().remove(member).is_some());
        }
        let read = GrantEvent::decode("CodeIssued", 1, &payload.to_string()).unwrap();
        let expected = CodeIssued {
            amr: None,
            nonce: None,
            id_token_claims: None,
            individual_claims: None,
            ..event
        };
        assert_eq!(read, expected.into());
    }
}
