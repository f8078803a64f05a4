//! Rotation of refresh tokens, the grace rule, and replays (RFC 6749 §6, RFC 9700 §4.14).

use chrono::TimeDelta;

use super::{Decision, holds};
use crate::domain::authorization_detail::Selection;
use crate::domain::grant::{
    AccessTokenRefreshed, Family, Generation, Grant, GrantRefusal, Issued, Outcome, Reason, RefreshReplayed,
    RefreshRetried, RefreshRotated, Rotate, applied,
};
use crate::domain::value::ScopeSet;

impl Grant {
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
        // All generations of a family that is bound are bound to one key.
        if let Err(refusal) = holds(refresh.current.confirmation, command.mint.confirmation) {
            return Decision::refuse(refusal);
        }
        // The grace rule is for the same sender: with another key it is no retry of the request that was answered.
        let same_key = command.mint.confirmation == refresh.rotated_with;
        // Without a grace period there is no retry, also where another node's clock is a little ahead of this one's.
        let in_grace = command.grace > 0
            && same_key
            && command.at < refresh.rotated_at + TimeDelta::seconds(i64::from(command.grace));
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
        let stands = family.stands(&command.circumstances, command.at);
        let (scope, audience, details) = match stands.and_then(|()| family.refreshed(command)) {
            Ok(refreshed) => refreshed,
            Err(refusal) => return Decision::refuse(refusal),
        };
        // Another server's token is exchanged for one of ours, whatever its client's do.
        let foreign = family.imported && presented.number == 1;
        if !command.rotates && !retried && !foreign {
            return self.keep_generation(family, presented, (scope, audience, details), command);
        }
        // A retry kills the unused successor, so it skips that one's number.
        let number = presented.number + if retried { 2 } else { 1 };
        let (access, Some(refresh)) = family.mint(&command.mint, number, command.at) else {
            return Decision::refuse(GrantRefusal::NotRefreshable);
        };
        let (client, subject, issued_at) = (family.client, family.subject, command.at);
        let issued = Issued {
            sequence: self.sequence + 1,
            subject,
            scope: scope.clone(),
            audience: audience.clone(),
            details: applied(details.as_ref(), &command.details.granted),
            issued_at,
            access_expires_at: access.expires_at,
            confirmation: access.confirmation,
            refresh: true,
            rests_on_others: family.basis.is_some(),
            exchanged: None,
        };
        let event = if retried {
            RefreshRetried {
                client,
                subject,
                scope,
                audience,
                details,
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
                details,
                access,
                refresh,
                issued_at,
            }
            .into()
        };
        Decision::accept(vec![event], Outcome::Tokens(Box::new(issued)))
    }

    /// A new access token under a refresh token that stays (FAPI 2.0 Security Profile §5.3.2.1).
    fn keep_generation(
        &self,
        family: &Family,
        presented: &Generation,
        (scope, audience, details): Refreshed,
        command: &Rotate,
    ) -> Decision {
        let (access, Some(_)) = family.mint(&command.mint, presented.number, command.at) else {
            return Decision::refuse(GrantRefusal::NotRefreshable);
        };
        let event = AccessTokenRefreshed {
            client: family.client,
            subject: family.subject,
            scope: scope.clone(),
            audience: audience.clone(),
            details: details.clone(),
            access,
            generation: presented.number,
            issued_at: command.at,
        };
        let issued = Issued {
            sequence: self.sequence + 1,
            subject: family.subject,
            scope,
            audience,
            details: applied(details.as_ref(), &command.details.granted),
            issued_at: command.at,
            access_expires_at: access.expires_at,
            confirmation: access.confirmation,
            refresh: false,
            rests_on_others: family.basis.is_some(),
            exchanged: None,
        };
        Decision::accept(vec![event.into()], Outcome::Tokens(Box::new(issued)))
    }
}

impl Family {
    fn refreshed(&self, command: &Rotate) -> Result<Refreshed, GrantRefusal> {
        let scope = self.refreshed_scope(command)?;
        let audience = self.narrowed(command.audience.as_ref(), &command.allowed_audience)?;
        let details = self.selected(&command.details, (&scope, &audience))?;
        Ok((scope, audience, details))
    }

    /// The scope of the new access token (RFC 6749 §6). What is named is had or refused; what is not named follows what
    /// may be had at this moment.
    fn refreshed_scope(&self, command: &Rotate) -> Result<ScopeSet, GrantRefusal> {
        if let Some(named) = &command.scope {
            if !named.is_subset(&self.scope) {
                return Err(GrantRefusal::ScopeExceeded);
            }
            if !named.is_subset(&command.circumstances.allowed_scope) {
                return Err(GrantRefusal::ScopeNoLongerAllowed);
            }
        }
        self.still_allowed(command.scope.as_ref(), &command.circumstances)
            .ok_or(GrantRefusal::ScopeNoLongerAllowed)
    }
}

/// Scope, audience and authorization details of the new access token.
type Refreshed = (ScopeSet, Vec<String>, Option<Selection>);

/// Which of a family's refresh tokens was presented; its digest was checked.
enum Presented<'a> {
    Current(&'a Generation),
    Predecessor(&'a Generation),
    Old,
}
