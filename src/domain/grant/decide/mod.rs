//! The grant's decisions. The order of checks is: digest, client, the key that it is bound to, replay, the rest; so a
//! guessed address, a stranger's client or whoever lacks the key touches nothing.

mod code;
mod device;
mod exchange;
mod refresh;

use chrono::TimeDelta;

use super::{
    AccessToken, Circumstances, Family, Grant, GrantCommand, GrantEvent, GrantImported, GrantRefusal,
    IssueToken, Issued, Mint, Outcome, Reason, RefreshToken, Revoke, Target, TokenIssued, TokenRevoked,
};
use crate::clock::Timestamp;
use crate::domain;
use crate::domain::authorization_detail::{AskedDetails, Selection};
use crate::domain::client::GrantType;
use crate::domain::confirmation::Confirmation;
use crate::domain::value::ScopeSet;

/// A decision on a grant.
pub type Decision = domain::Decision<GrantEvent, Outcome, GrantRefusal>;

impl Grant {
    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &GrantCommand) -> Decision {
        match command {
            GrantCommand::IssueCode(event) => self.issue_code(event),
            GrantCommand::RedeemCode(command) => self.redeem(command),
            GrantCommand::RequestDevice(event) => self.request_device(event),
            GrantCommand::ApproveDevice(event) => self.approve_device(event),
            GrantCommand::DenyDevice(event) => self.deny_device(event),
            GrantCommand::RedeemDeviceCode(command) => self.redeem_device(command),
            GrantCommand::IssueToken(command) => self.issue(command),
            GrantCommand::Import(event) => self.import(event),
            GrantCommand::Exchange(command) => self.exchange(command),
            GrantCommand::AcceptAssertion(command) => self.accept_assertion(command),
            GrantCommand::Rotate(command) => self.rotate_refresh(command),
            GrantCommand::Revoke(command) => self.revoke(command),
        }
    }

    /// Takes over a grant of another server.
    #[must_use]
    pub fn import(&self, event: &GrantImported) -> Decision {
        if self.family.is_some() {
            return Decision::refuse(GrantRefusal::Exists);
        }
        Decision::accept(vec![event.clone().into()], Outcome::Imported)
    }

    /// Issues tokens without a code (RFC 6749 §4.3, §4.4).
    #[must_use]
    pub fn issue(&self, command: &IssueToken) -> Decision {
        if self.family.is_some() {
            return Decision::refuse(GrantRefusal::Exists);
        }
        let (access, refresh) = mint(&command.mint, 1, command.at, command.grant_expires_at);
        let (granted, sealed) = command.details.clone().unzip();
        let granted = granted.unwrap_or_default();
        let issued = TokenIssued {
            flow: command.flow,
            client: command.client,
            subject: command.subject,
            scope: command.scope.clone(),
            audience: command.audience.clone(),
            details: sealed.as_ref().map(|_| Selection::of(&granted, |_| true)),
            authorization_details: sealed,
            access,
            refresh,
            password_generation: command.password_generation,
            issued_at: command.at,
            grant_expires_at: command.grant_expires_at,
        };
        let outcome = Outcome::Tokens(Box::new(Issued::of(&issued, self.sequence + 1, &granted)));
        Decision::accept(vec![issued.into()], outcome)
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
        if matches!(self.flow, GrantType::AuthorizationCode | GrantType::DeviceCode)
            && circumstances.consent_withdrawals != self.consent_withdrawals
        {
            return Err(GrantRefusal::ConsentWithdrawn);
        }
        if circumstances.session_over {
            return Err(GrantRefusal::SessionEnded);
        }
        Ok(())
    }

    /// What of the asked (or granted) scope the client may have at this moment; none where nothing is left of
    /// a scope that was not empty.
    fn still_allowed(&self, asked: Option<&ScopeSet>, circumstances: &Circumstances) -> Option<ScopeSet> {
        let asked = asked.unwrap_or(&self.scope);
        let left = asked.intersection(&circumstances.allowed_scope);
        (asked.is_empty() || !left.is_empty()).then_some(left)
    }

    /// The audience of an access token: what is asked for (RFC 8707 §2.2), all of which must be granted and still
    /// the client's; or what the client may still have of the grant's.
    fn narrowed(&self, asked: Option<&Vec<String>>, allowed: &[String]) -> Result<Vec<String>, GrantRefusal> {
        if let Some(asked) = asked {
            if !asked.iter().all(|one| self.audience.contains(one)) {
                return Err(GrantRefusal::ResourceExceeded);
            }
            if !asked.iter().all(|one| allowed.contains(one)) {
                return Err(GrantRefusal::ResourceNoLongerAllowed);
            }
            return Ok(asked.clone());
        }
        let granted = self.audience.iter();
        let left: Vec<String> = granted.filter(|one| allowed.contains(one)).cloned().collect();
        if left.is_empty() && !self.audience.is_empty() {
            return Err(GrantRefusal::ResourceNoLongerAllowed);
        }
        Ok(left)
    }

    /// Which of the grant's authorization details an access token gets. A token that would allow nothing is not issued.
    fn selected(
        &self,
        details: &AskedDetails,
        (scope, audience): (&ScopeSet, &[String]),
    ) -> Result<Option<Selection>, GrantRefusal> {
        let selection = details.select(audience)?;
        let nothing_left = selection.as_ref().is_none_or(Selection::is_empty) && scope.is_empty();
        if self.authorization_details.is_some() && nothing_left {
            return Err(GrantRefusal::DetailsNoLongerAllowed);
        }
        Ok(selection)
    }

    fn mint(&self, tokens: &Mint, generation: u32, at: Timestamp) -> (AccessToken, Option<RefreshToken>) {
        mint(tokens, generation, at, self.expires_at)
    }
}

/// What is bound to a key is good with that key only.
fn holds(bound: Option<Confirmation>, proved: Option<Confirmation>) -> Result<(), GrantRefusal> {
    match bound {
        Some(_) if bound != proved => Err(GrantRefusal::OtherKey),
        _ => Ok(()),
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
        confirmation: tokens.confirmation,
    };
    let refresh = tokens.refresh.map(|refresh| RefreshToken {
        digest: refresh.digest,
        expires_at: end(refresh.lifetime),
        generation,
        confirmation: tokens.confirmation.filter(|_| refresh.bound),
    });
    (access, refresh)
}
