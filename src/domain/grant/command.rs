//! Commands on a grant, and what an accepted one comes to.

use crate::clock::Timestamp;
use crate::domain::authorization_detail::{AskedDetails, Detail, Selection};
use crate::domain::client::GrantType;
use crate::domain::confirmation::Confirmation;
use crate::domain::openid::IndividualClaims;
use crate::domain::value::{Digest, ScopeSet, Sealed};
use crate::ids::{ClientKey, SubjectId};

use super::{
    AcceptAssertion, CodeIssued, DeviceAuthorizationApproved, DeviceAuthorizationDenied,
    DeviceAuthorizationRequested, Exchange, Exchanged, GrantImported, Reason, RedeemDeviceCode, Target,
    TokenIssued,
};

/// Commands on a grant.
#[derive(Clone, Debug)]
pub enum GrantCommand {
    /// Issue a code.
    IssueCode(CodeIssued),
    /// Exchange the code for tokens.
    RedeemCode(RedeemCode),
    /// Begin a device authorization.
    RequestDevice(DeviceAuthorizationRequested),
    /// Approve what a device asked for.
    ApproveDevice(DeviceAuthorizationApproved),
    /// Deny it.
    DenyDevice(DeviceAuthorizationDenied),
    /// Exchange the device code for tokens.
    RedeemDeviceCode(RedeemDeviceCode),
    /// Issue tokens without a code (client credentials, password).
    IssueToken(IssueToken),
    /// Take over a grant of another server.
    Import(GrantImported),
    /// Exchange a token for another (RFC 8693).
    Exchange(Box<Exchange>),
    /// Issue tokens for another server's assertion (RFC 7523 §2.1).
    AcceptAssertion(Box<AcceptAssertion>),
    /// Exchange a refresh token for the next.
    Rotate(Rotate),
    /// Revoke one token or all.
    Revoke(Revoke),
}

/// Exchange the code for tokens (RFC 6749 §4.1.3).
#[derive(Clone, Debug)]
pub struct RedeemCode {
    /// SHA-256 of the presented code's random part.
    pub digest: Digest,
    /// The authenticated client.
    pub client: ClientKey,
    /// The `redirect_uri` parameter.
    pub redirect_uri: Option<String>,
    /// The `code_verifier` parameter.
    pub verifier: Option<String>,
    /// The `resource` parameters (RFC 8707): the audience of the access token, where it is to be narrower.
    pub audience: Option<Vec<String>>,
    /// The audience that the client may have now.
    pub allowed_audience: Vec<String>,
    /// The grant's authorization details, and the parameter.
    pub details: AskedDetails,
    /// Whether the redirect URI that the code was sent to is still one of the client's.
    pub redirect_uri_registered: bool,
    /// What holds of user, consent and client now.
    pub circumstances: Circumstances,
    /// The tokens to issue.
    pub mint: Mint,
    /// Now.
    pub at: Timestamp,
}

/// Issue tokens without a code.
#[derive(Clone, Debug)]
pub struct IssueToken {
    /// How: client credentials or password.
    pub flow: GrantType,
    /// To whom.
    pub client: ClientKey,
    /// On whose behalf.
    pub subject: Option<SubjectId>,
    /// The granted scope.
    pub scope: ScopeSet,
    /// The audience.
    pub audience: Vec<String>,
    /// The granted authorization details, and the same sealed.
    pub details: Option<(Vec<Detail>, Sealed)>,
    /// How often the user's password had changed.
    pub password_generation: u32,
    /// When the whole grant ends.
    pub grant_expires_at: Timestamp,
    /// The tokens to issue.
    pub mint: Mint,
    /// Now.
    pub at: Timestamp,
}

/// Exchange a refresh token for the next (RFC 6749 §6).
#[derive(Clone, Debug)]
pub struct Rotate {
    /// The sequence that the presented token names.
    pub sequence: u32,
    /// SHA-256 of its random part.
    pub digest: Digest,
    /// Whether the ledger's event at that sequence issued a refresh token with that digest. Needed for old
    /// generations only, which the state does not hold.
    pub was_issued: bool,
    /// The authenticated client.
    pub client: ClientKey,
    /// The `scope` parameter.
    pub scope: Option<ScopeSet>,
    /// The `resource` parameters (RFC 8707): the audience of the access token, where it is to be narrower.
    pub audience: Option<Vec<String>>,
    /// The audience that the client may have now.
    pub allowed_audience: Vec<String>,
    /// The grant's authorization details, and the parameter.
    pub details: AskedDetails,
    /// The grace period in seconds.
    pub grace: u32,
    /// Whether the token changes at each use.
    pub rotates: bool,
    /// What holds of user, consent and client now.
    pub circumstances: Circumstances,
    /// The tokens to issue.
    pub mint: Mint,
    /// Now.
    pub at: Timestamp,
}

/// What the other aggregates say at this moment; each is a precondition of the append.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// Whether the user may act; true where there is none.
    pub user_may_act: bool,
    /// Whether the client works for this user; true where there is none.
    pub client_serves_user: bool,
    /// How often the user's password has changed.
    pub password_generation: u32,
    /// How often the consent has been withdrawn.
    pub consent_withdrawals: u32,
    /// Whether the grant ended with the login that it was given in.
    pub session_over: bool,
    /// Of the scopes that were granted: those that the client may have now, approvals considered.
    pub allowed_scope: ScopeSet,
    /// Of the claims that the user consented to one by one: those that the client may have now.
    pub individual_claims: IndividualClaims,
}

/// The digests and lifetimes of tokens about to be issued.
#[derive(Clone, Copy, Debug)]
pub struct Mint {
    /// SHA-256 of the random part of the access token's `jti`.
    pub access: Digest,
    /// Seconds that the access token lives.
    pub access_lifetime: u32,
    /// The key that the request proved to hold: the access token is bound to it. What is bound already is good
    /// with that key only.
    pub confirmation: Option<Confirmation>,
    /// The refresh token, where the client may have one.
    pub refresh: Option<MintRefresh>,
}

/// A refresh token about to be issued.
#[derive(Clone, Copy, Debug)]
pub struct MintRefresh {
    /// SHA-256 of its random part.
    pub digest: Digest,
    /// Seconds that it lives if unused.
    pub lifetime: u32,
    /// Whether it is bound to the request's key too, as a public client's is (RFC 8705 §4, RFC 9449 §5).
    pub bound: bool,
}

/// Revoke one token or all.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// The client that asks; none for an administrator.
    pub client: Option<ClientKey>,
    /// What to revoke.
    pub target: Target,
    /// Why.
    pub reason: Reason,
    /// Now.
    pub at: Timestamp,
}

/// What an accepted command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A code, or a device code, was issued.
    Code,
    /// The user's answer to a device is recorded.
    Answered,
    /// The grant was imported.
    Imported,
    /// Tokens were issued.
    Tokens(Box<Issued>),
    /// It is revoked, now or before.
    Revoked,
}

/// The tokens that were issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The sequence of the issuing event, which the credentials name.
    pub sequence: u32,
    /// On whose behalf.
    pub subject: Option<SubjectId>,
    /// The scope of the access token.
    pub scope: ScopeSet,
    /// Its audience.
    pub audience: Vec<String>,
    /// Its authorization details.
    pub details: Vec<Detail>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub access_expires_at: Timestamp,
    /// The key that it is bound to.
    pub confirmation: Option<Confirmation>,
    /// Whether a refresh token was issued with it.
    pub refresh: bool,
    /// Whether it ends with other tokens, or with the trust in an issuer.
    pub rests_on_others: bool,
    /// What the token says besides, where it was exchanged.
    pub exchanged: Option<Box<Exchanged>>,
}

impl Issued {
    /// `granted` are the authorization details of the grant.
    pub(super) fn of(event: &TokenIssued, sequence: u32, granted: &[Detail]) -> Self {
        Self {
            sequence,
            subject: event.subject,
            scope: event.scope.clone(),
            audience: event.audience.clone(),
            details: applied(event.details.as_ref(), granted),
            issued_at: event.issued_at,
            access_expires_at: event.access.expires_at,
            confirmation: event.access.confirmation,
            refresh: event.refresh.is_some(),
            rests_on_others: matches!(event.flow, GrantType::TokenExchange | GrantType::JwtBearer),
            exchanged: None,
        }
    }
}

/// What a selection has of a grant's authorization details; nothing where there is none.
#[must_use]
pub fn applied(selection: Option<&Selection>, granted: &[Detail]) -> Vec<Detail> {
    selection.map_or_else(Vec::new, |selection| selection.apply(granted))
}
