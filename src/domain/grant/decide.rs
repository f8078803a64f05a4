//! The grant's decisions. The order of checks is: digest, client, replay, the rest; so a guessed address or a
//! stranger's client touches nothing.

use chrono::TimeDelta;

use super::{
    AccessToken, CodeIssued, CodeRedeemed, CodeReplayed, Family, Generation, Grant, GrantEvent, Reason,
    RefreshReplayed, RefreshRetried, RefreshRotated, RefreshToken, Target, TokenIssued, TokenRevoked,
};
use crate::clock::Timestamp;
use crate::domain::client::GrantType;
use crate::domain::pkce::{self, PkceRefusal};
use crate::domain::refusal::RefusalReason;
use crate::domain::value::{Digest, ScopeSet};
use crate::domain::{self};
use crate::ids::{ClientKey, SubjectId};

/// A decision on a grant.
pub type Decision = domain::Decision<GrantEvent, Outcome, GrantRefusal>;

/// Commands on a grant.
#[derive(Clone, Debug)]
pub enum GrantCommand {
    /// Issue a code.
    IssueCode(CodeIssued),
    /// Exchange the code for tokens.
    RedeemCode(RedeemCode),
    /// Issue tokens without a code (client credentials, password).
    IssueToken(IssueToken),
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
    /// The grace period in seconds.
    pub grace: u32,
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
    /// The scopes that the client may have now, approvals considered.
    pub allowed_scope: ScopeSet,
}

/// The digests and lifetimes of tokens about to be issued.
#[derive(Clone, Copy, Debug)]
pub struct Mint {
    /// SHA-256 of the random part of the access token's `jti`.
    pub access: Digest,
    /// Seconds that the access token lives.
    pub access_lifetime: u32,
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
    /// A code was issued.
    Code,
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
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub access_expires_at: Timestamp,
    /// Whether a refresh token was issued with it.
    pub refresh: bool,
}

/// Why a command on a grant was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefusal {
    /// No such code or token.
    #[error("no such code or token")]
    Unknown,
    /// It was issued to another client.
    #[error("it was issued to another client")]
    OtherClient,
    /// The code was redeemed before.
    #[error("the code was redeemed before")]
    CodeReplayed,
    /// The code is too old.
    #[error("the code has expired")]
    CodeExpired,
    /// Not the redirect URI that the code was sent to.
    #[error("the redirect_uri is not the one that the code was sent to")]
    RedirectUriChanged,
    /// The PKCE check failed.
    #[error("PKCE: {0}")]
    Pkce(#[from] PkceRefusal),
    /// The grant was revoked.
    #[error("the grant was revoked")]
    Revoked,
    /// A refresh token that is over was presented.
    #[error("a refresh token that had been used before was presented")]
    RefreshReplayed,
    /// The refresh token is too old.
    #[error("the refresh token has expired")]
    RefreshExpired,
    /// The grant's own lifetime is over.
    #[error("the grant has reached its maximum lifetime")]
    GrantExpired,
    /// More scope than was granted.
    #[error("the scope exceeds what was granted")]
    ScopeExceeded,
    /// Nothing of the granted scope is still allowed to the client.
    #[error("the client may no longer have any of the granted scope")]
    ScopeNoLongerAllowed,
    /// The user is disabled or erased.
    #[error("the user may not act")]
    UserDisabled,
    /// The client is in development, and the user is not its owner.
    #[error("the client is in development and works for its owner only")]
    ClientNotLive,
    /// The user's password changed, or the user was disabled, since.
    #[error("the user's password changed since the grant was given")]
    PasswordChanged,
    /// The user withdrew the consent.
    #[error("the user withdrew the consent that the grant rests on")]
    ConsentWithdrawn,
    /// The client may not refresh such grants (any more).
    #[error("the client may not refresh grants of this flow")]
    NotRefreshable,
    /// The id is in use.
    #[error("this grant exists already")]
    Exists,
}

impl GrantRefusal {
    /// The reason, for the refusal's event.
    #[must_use]
    pub fn reason(self) -> RefusalReason {
        match self {
            Self::Unknown => RefusalReason::UnknownCredential,
            Self::OtherClient => RefusalReason::OtherClient,
            Self::CodeReplayed => RefusalReason::CodeReplayed,
            Self::CodeExpired => RefusalReason::CodeExpired,
            Self::RedirectUriChanged => RefusalReason::RedirectUriChanged,
            Self::Pkce(PkceRefusal::VerifierMissing) => RefusalReason::PkceVerifierMissing,
            Self::Pkce(PkceRefusal::VerifierUnexpected) => RefusalReason::PkceVerifierUnexpected,
            Self::Pkce(PkceRefusal::Malformed) => RefusalReason::PkceMalformed,
            Self::Pkce(PkceRefusal::Mismatch) => RefusalReason::PkceMismatch,
            Self::Revoked => RefusalReason::GrantRevoked,
            Self::RefreshReplayed => RefusalReason::RefreshReplayed,
            Self::RefreshExpired => RefusalReason::RefreshExpired,
            Self::GrantExpired => RefusalReason::GrantExpired,
            Self::ScopeExceeded => RefusalReason::ScopeExceeded,
            Self::ScopeNoLongerAllowed => RefusalReason::ScopeNoLongerAllowed,
            Self::UserDisabled => RefusalReason::UserDisabled,
            Self::ClientNotLive => RefusalReason::ClientNotLive,
            Self::PasswordChanged => RefusalReason::PasswordChanged,
            Self::ConsentWithdrawn => RefusalReason::ConsentWithdrawn,
            Self::NotRefreshable => RefusalReason::NotRefreshable,
            Self::Exists => RefusalReason::GrantExists,
        }
    }
}

impl Grant {
    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &GrantCommand) -> Decision {
        match command {
            GrantCommand::IssueCode(event) => self.issue_code(event),
            GrantCommand::RedeemCode(command) => self.redeem(command),
            GrantCommand::IssueToken(command) => self.issue(command),
            GrantCommand::Rotate(command) => self.rotate_refresh(command),
            GrantCommand::Revoke(command) => self.revoke(command),
        }
    }

    /// Issues a code. Whether it may be issued is decided on user, client and consent.
    #[must_use]
    pub fn issue_code(&self, event: &CodeIssued) -> Decision {
        if self.family.is_some() {
            return Decision::refuse(GrantRefusal::Exists);
        }
        Decision::accept(vec![event.clone().into()], Outcome::Code)
    }

    /// Exchanges the code for tokens (RFC 6749 §4.1.3).
    #[must_use]
    pub fn redeem(&self, command: &RedeemCode) -> Decision {
        let Some(family) = self.family.as_deref() else {
            return Decision::refuse(GrantRefusal::Unknown);
        };
        let Some(code) = family
            .code
            .as_ref()
            .filter(|code| code.digest.matches(&command.digest))
        else {
            return Decision::refuse(GrantRefusal::Unknown);
        };
        if command.client != family.client {
            return Decision::refuse(GrantRefusal::OtherClient);
        }
        if code.redeemed {
            let replay = CodeReplayed {
                client: command.client,
                at: command.at,
            }
            .into();
            return family.replayed(
                replay,
                Reason::CodeReplayed,
                GrantRefusal::CodeReplayed,
                command.at,
            );
        }
        if family.revoked.is_some() {
            return Decision::refuse(GrantRefusal::Revoked);
        }
        if command.at >= code.expires_at {
            return Decision::refuse(GrantRefusal::CodeExpired);
        }
        let same_redirect_uri = match &command.redirect_uri {
            Some(uri) => *uri == code.redirect_uri,
            None => !code.redirect_uri_required,
        };
        if !same_redirect_uri {
            return Decision::refuse(GrantRefusal::RedirectUriChanged);
        }
        if let Err(refusal) = pkce::verify(code.challenge.as_ref(), command.verifier.as_deref()) {
            return Decision::refuse(refusal.into());
        }
        if let Err(refusal) = family.stands(&command.circumstances, command.at) {
            return Decision::refuse(refusal);
        }
        self.issue_redeemed(family, command)
    }

    /// The code is good: what it is exchanged for.
    fn issue_redeemed(&self, family: &Family, command: &RedeemCode) -> Decision {
        let Some(scope) = family.still_allowed(None, &command.circumstances) else {
            return Decision::refuse(GrantRefusal::ScopeNoLongerAllowed);
        };
        let redeemed = CodeRedeemed {
            client: command.client,
            at: command.at,
        };
        let (access, refresh) = family.mint(&command.mint, 1, command.at);
        let issued = TokenIssued {
            flow: family.flow,
            client: family.client,
            subject: family.subject,
            scope,
            audience: family.audience.clone(),
            access,
            refresh,
            password_generation: family.password_generation,
            issued_at: command.at,
            grant_expires_at: family.expires_at,
        };
        let outcome = Outcome::Tokens(Box::new(Issued::of(&issued, self.sequence + 2)));
        Decision::accept(vec![redeemed.into(), issued.into()], outcome)
    }

    /// Issues tokens without a code (RFC 6749 §4.3, §4.4).
    #[must_use]
    pub fn issue(&self, command: &IssueToken) -> Decision {
        if self.family.is_some() {
            return Decision::refuse(GrantRefusal::Exists);
        }
        let (access, refresh) = mint(&command.mint, 1, command.at, command.grant_expires_at);
        let issued = TokenIssued {
            flow: command.flow,
            client: command.client,
            subject: command.subject,
            scope: command.scope.clone(),
            audience: command.audience.clone(),
            access,
            refresh,
            password_generation: command.password_generation,
            issued_at: command.at,
            grant_expires_at: command.grant_expires_at,
        };
        let outcome = Outcome::Tokens(Box::new(Issued::of(&issued, self.sequence + 1)));
        Decision::accept(vec![issued.into()], outcome)
    }

    /// Exchanges a refresh token for the next (RFC 6749 §6, RFC 9700 §4.14).
    #[must_use]
    pub fn rotate_refresh(&self, command: &Rotate) -> Decision {
        let Some((family, refresh)) = self
            .family
            .as_deref()
            .and_then(|family| Some((family, family.refresh.as_ref()?)))
        else {
            return Decision::refuse(GrantRefusal::Unknown);
        };
        let is = |generation: &Generation| {
            generation.sequence == command.sequence && generation.digest.matches(&command.digest)
        };
        let presented = if is(&refresh.current) {
            Presented::Current(&refresh.current)
        } else if let Some(predecessor) = refresh.predecessor.as_ref().filter(|generation| is(generation)) {
            Presented::Predecessor(predecessor)
        } else if command.was_issued {
            Presented::Old
        } else {
            return Decision::refuse(GrantRefusal::Unknown);
        };
        if command.client != family.client {
            return Decision::refuse(GrantRefusal::OtherClient);
        }
        let in_grace = command.at < refresh.rotated_at + TimeDelta::seconds(i64::from(command.grace));
        match presented {
            Presented::Current(generation) => self.next_generation(family, generation, false, command),
            Presented::Predecessor(generation) if in_grace && family.revoked.is_none() => {
                self.next_generation(family, generation, true, command)
            }
            Presented::Predecessor(_) | Presented::Old => {
                let (client, sequence, at) = (command.client, command.sequence, command.at);
                let replay = RefreshReplayed { client, sequence, at }.into();
                family.replayed(
                    replay,
                    Reason::RefreshReplayed,
                    GrantRefusal::RefreshReplayed,
                    command.at,
                )
            }
        }
    }

    fn next_generation(
        &self,
        family: &Family,
        presented: &Generation,
        retried: bool,
        command: &Rotate,
    ) -> Decision {
        if family.revoked.is_some() {
            return Decision::refuse(GrantRefusal::Revoked);
        }
        if command.at >= presented.expires_at {
            return Decision::refuse(GrantRefusal::RefreshExpired);
        }
        if let Err(refusal) = family.stands(&command.circumstances, command.at) {
            return Decision::refuse(refusal);
        }
        if command
            .scope
            .as_ref()
            .is_some_and(|scope| !scope.is_subset(&family.scope))
        {
            return Decision::refuse(GrantRefusal::ScopeExceeded);
        }
        let Some(scope) = family.still_allowed(command.scope.as_ref(), &command.circumstances) else {
            return Decision::refuse(GrantRefusal::ScopeNoLongerAllowed);
        };
        // A retry kills the unused successor, so it skips that one's number.
        let number = presented.number + if retried { 2 } else { 1 };
        let (access, Some(refresh)) = family.mint(&command.mint, number, command.at) else {
            return Decision::refuse(GrantRefusal::NotRefreshable);
        };
        let (client, subject, audience) = (family.client, family.subject, family.audience.clone());
        let issued = Issued {
            sequence: self.sequence + 1,
            subject,
            scope: scope.clone(),
            audience: audience.clone(),
            issued_at: command.at,
            access_expires_at: access.expires_at,
            refresh: true,
        };
        let issued_at = command.at;
        let event = if retried {
            RefreshRetried {
                client,
                subject,
                scope,
                audience,
                access,
                refresh,
                issued_at,
            }
            .into()
        } else {
            RefreshRotated {
                client,
                subject,
                scope,
                audience,
                access,
                refresh,
                issued_at,
            }
            .into()
        };
        Decision::accept(vec![event], Outcome::Tokens(Box::new(issued)))
    }

    /// Revokes one token or the family (RFC 7009).
    #[must_use]
    pub fn revoke(&self, command: &Revoke) -> Decision {
        let Some(family) = self.family.as_deref() else {
            return Decision::refuse(GrantRefusal::Unknown);
        };
        if command.client.is_some_and(|client| client != family.client) {
            return Decision::refuse(GrantRefusal::OtherClient);
        }
        let over = match command.target {
            Target::Family => false,
            Target::Access { sequence, .. } if sequence == 0 || sequence > self.sequence => {
                return Decision::refuse(GrantRefusal::Unknown);
            }
            Target::Access { sequence, .. } => family.revoked_access.contains_key(&sequence),
        };
        if over || family.revoked.is_some() {
            return Decision::accept(Vec::new(), Outcome::Revoked);
        }
        let event = TokenRevoked {
            target: command.target,
            reason: command.reason,
            at: command.at,
        };
        Decision::accept(vec![event.into()], Outcome::Revoked)
    }
}

/// Which of a family's refresh tokens was presented; its digest was checked.
enum Presented<'a> {
    Current(&'a Generation),
    Predecessor(&'a Generation),
    Old,
}

impl Family {
    /// A replay: recorded and answered by the end of the family, once.
    fn replayed(&self, replay: GrantEvent, reason: Reason, refusal: GrantRefusal, at: Timestamp) -> Decision {
        if self.revoked.is_some() {
            return Decision::refuse(refusal);
        }
        let revoked = TokenRevoked {
            target: Target::Family,
            reason,
            at,
        };
        Decision::refuse_with(vec![replay, revoked.into()], refusal)
    }

    /// Whether user and consent still carry the grant.
    pub(crate) fn stands(&self, circumstances: &Circumstances, at: Timestamp) -> Result<(), GrantRefusal> {
        if at >= self.expires_at {
            return Err(GrantRefusal::GrantExpired);
        }
        if self.subject.is_none() {
            return Ok(());
        }
        if !circumstances.user_may_act {
            return Err(GrantRefusal::UserDisabled);
        }
        if !circumstances.client_serves_user {
            return Err(GrantRefusal::ClientNotLive);
        }
        if circumstances.password_generation != self.password_generation {
            return Err(GrantRefusal::PasswordChanged);
        }
        if self.flow == GrantType::AuthorizationCode
            && circumstances.consent_withdrawals != self.consent_withdrawals
        {
            return Err(GrantRefusal::ConsentWithdrawn);
        }
        Ok(())
    }

    /// What of the asked (or granted) scope the client may have at this moment; none where nothing is left of
    /// a scope that was not empty.
    fn still_allowed(&self, asked: Option<&ScopeSet>, circumstances: &Circumstances) -> Option<ScopeSet> {
        let asked = asked.unwrap_or(&self.scope);
        let left: ScopeSet = asked
            .iter()
            .filter(|scope| circumstances.allowed_scope.contains(scope))
            .collect();
        (asked.is_empty() || !left.is_empty()).then_some(left)
    }

    fn mint(&self, tokens: &Mint, generation: u32, at: Timestamp) -> (AccessToken, Option<RefreshToken>) {
        mint(tokens, generation, at, self.expires_at)
    }
}

/// Nothing outlives the grant.
fn mint(
    tokens: &Mint,
    generation: u32,
    at: Timestamp,
    grant_end: Timestamp,
) -> (AccessToken, Option<RefreshToken>) {
    let end = |lifetime: u32| (at + TimeDelta::seconds(i64::from(lifetime))).min(grant_end);
    let access = AccessToken {
        digest: tokens.access,
        expires_at: end(tokens.access_lifetime),
    };
    let refresh = tokens.refresh.map(|refresh| RefreshToken {
        digest: refresh.digest,
        expires_at: end(refresh.lifetime),
        generation,
    });
    (access, refresh)
}

impl Issued {
    fn of(event: &TokenIssued, sequence: u32) -> Self {
        Self {
            sequence,
            subject: event.subject,
            scope: event.scope.clone(),
            audience: event.audience.clone(),
            issued_at: event.issued_at,
            access_expires_at: event.access.expires_at,
            refresh: event.refresh.is_some(),
        }
    }
}
