//! Token exchange (RFC 8693) and assertions (RFC 7523 §2.1): a grant of its own, whose first event says what it rests
//! on.

use chrono::TimeDelta;

use super::{Decision, mint};
use crate::clock::Timestamp;
use crate::domain::authorization_detail::{Detail, Selection};
use crate::domain::client::{ExchangeMode, GrantType};
use crate::domain::grant::{
    AcceptAssertion, Act, Exchange, Exchanged, Grant, GrantEvent, GrantRefusal, Issued, MAX_ACTORS,
    MAX_EXCHANGES, Mint, Outcome, TokenExchanged, TokenIssued, TokenRef,
};
use crate::domain::value::ScopeSet;

impl Grant {
    /// Exchanges a token. The new one is never wider than the subject token, the rule and the client, and never
    /// lives longer than what it was exchanged for.
    #[must_use]
    pub fn exchange(&self, command: &Exchange) -> Decision {
        if self.family.is_some() {
            return Decision::refuse(GrantRefusal::Exists);
        }
        let event = match exchanged(command) {
            Ok(event) => event,
            Err(refusal) => return Decision::refuse(refusal),
        };
        let details = match details(command, &event.audience) {
            Ok(details) => details,
            Err(refusal) => return Decision::refuse(refusal),
        };
        let (access, _) = mint(&command.mint, 1, command.at, event.grant_expires_at);
        let issued = TokenIssued {
            flow: GrantType::TokenExchange,
            client: event.client,
            subject: event.subject,
            scope: event.scope.clone(),
            audience: event.audience.clone(),
            details: command.sealed.as_ref().map(|_| Selection::of(details, |_| true)),
            authorization_details: command.sealed.clone(),
            access,
            refresh: None,
            password_generation: event.password_generation,
            issued_at: command.at,
            grant_expires_at: event.grant_expires_at,
        };
        let exchanged = Exchanged {
            client_subject: event.subject.is_none().then(|| command.subject.sub.clone()),
            act: event.act.clone(),
        };
        self.issue_on(event.into(), issued, (details, Some(exchanged)))
    }

    /// Issues an access token for another server's assertion, and no refresh token (RFC 7521 §4.1).
    #[must_use]
    pub fn accept_assertion(&self, command: &AcceptAssertion) -> Decision {
        if self.family.is_some() {
            return Decision::refuse(GrantRefusal::Exists);
        }
        let event = command.event(lifetime_end(&command.mint, command.at));
        let (access, _) = mint(&command.mint, 1, command.at, event.grant_expires_at);
        let (granted, sealed) = command.details.clone().unzip();
        let granted = granted.unwrap_or_default();
        let issued = TokenIssued {
            flow: GrantType::JwtBearer,
            client: event.client,
            subject: event.subject,
            scope: event.scope.clone(),
            audience: event.audience.clone(),
            details: sealed.as_ref().map(|_| Selection::of(&granted, |_| true)),
            authorization_details: sealed,
            access,
            refresh: None,
            password_generation: event.password_generation,
            issued_at: command.at,
            grant_expires_at: event.grant_expires_at,
        };
        self.issue_on(event.into(), issued, (&granted, None))
    }

    fn issue_on(
        &self,
        basis: GrantEvent,
        issued: TokenIssued,
        (granted, exchanged): (&[Detail], Option<Exchanged>),
    ) -> Decision {
        let mut outcome = Issued::of(&issued, self.sequence + 2, granted);
        outcome.exchanged = exchanged.map(Box::new);
        Decision::accept(vec![basis, issued.into()], Outcome::Tokens(Box::new(outcome)))
    }
}

fn lifetime_end(tokens: &Mint, at: Timestamp) -> Timestamp {
    at + TimeDelta::seconds(i64::from(tokens.access_lifetime))
}

fn exchanged(command: &Exchange) -> Result<TokenExchanged, GrantRefusal> {
    let Exchange { subject, actor, .. } = command;
    may_act(command)?;
    let lineages =
        [Some(subject), actor.as_ref()].map(|token| token.and_then(|token| token.lineage.as_ref()));
    let [of_subject, of_actor] = lineages;
    let earlier_subjects: Vec<TokenRef> = of_subject.map(|known| known.subjects.clone()).unwrap_or_default();
    let mut earlier_actors: Vec<TokenRef> = of_subject.map(|known| known.actors.clone()).unwrap_or_default();
    if let Some(known) = of_actor {
        earlier_actors.extend(known.subjects.iter().chain(&known.actors));
    }
    if earlier_subjects.len() >= MAX_EXCHANGES || earlier_actors.len() >= MAX_ACTORS {
        return Err(GrantRefusal::TooManyExchanges);
    }
    let ends = [
        Some(subject.expires_at),
        actor.as_ref().map(|actor| actor.expires_at),
    ];
    let own_end = lifetime_end(&command.mint, command.at);
    Ok(TokenExchanged {
        client: command.client,
        subject: subject.subject,
        mode: command.rule.mode,
        subject_token: subject.token,
        actor_token: actor.as_ref().map(|actor| actor.token),
        earlier_subjects,
        earlier_actors,
        act: acting(command),
        client_version: command.client_version,
        scope: scope(command)?,
        audience: audience(command)?,
        password_generation: command.password_generation,
        at: command.at,
        grant_expires_at: ends.into_iter().flatten().fold(own_end, Timestamp::min),
    })
}

/// Who acts: the actor token's subject, or the client itself, with its name.
fn actor(command: &Exchange) -> (&str, &str) {
    match &command.actor {
        Some(actor) => (&actor.sub, &actor.client_id),
        None => (&command.client_id, &command.client_id),
    }
}

/// RFC 8693 §4.1: the current actor, around those before. Who impersonates is not named, and hides nobody who was.
fn acting(command: &Exchange) -> Option<Act> {
    let before = command.subject.act.clone();
    if command.rule.mode == ExchangeMode::Impersonation {
        return before;
    }
    let (sub, client_id) = actor(command);
    Some(Act {
        sub: sub.to_owned(),
        client_id: client_id.to_owned(),
        act: before.map(Box::new),
    })
}

/// RFC 8693 §4.4: where the subject token says who may act, nobody else may.
fn may_act(command: &Exchange) -> Result<(), GrantRefusal> {
    let Some(may_act) = &command.subject.may_act else {
        return Ok(());
    };
    let (sub, client_id) = actor(command);
    let is_client = may_act.client_id.as_ref().is_none_or(|named| named == client_id);
    if may_act.sub == sub && is_client {
        Ok(())
    } else {
        Err(GrantRefusal::ActorNotAllowed)
    }
}

/// What is asked for, or as much as may be, of what subject token, rule and client all have.
fn scope(command: &Exchange) -> Result<ScopeSet, GrantRefusal> {
    let limits = [&command.subject.scope, &command.rule.scope, &command.client_scope];
    let allowed = |scope: &str| limits.iter().all(|limit| limit.contains(scope));
    match &command.scope {
        Some(asked) if asked.iter().all(allowed) => Ok(asked.clone()),
        Some(_) => Err(GrantRefusal::ScopeExceeded),
        None => {
            let most: ScopeSet = command
                .subject
                .scope
                .iter()
                .filter(|scope| allowed(scope))
                .collect();
            // Authorization details do without (RFC 9396 §3.1).
            if most.is_empty() && !command.subject.scope.is_empty() && asked_details(command).is_empty() {
                return Err(GrantRefusal::ScopeExceeded);
            }
            Ok(most)
        }
    }
}

fn asked_details(command: &Exchange) -> &[Detail] {
    command.details.asked.as_deref().unwrap_or_default()
}

/// The authorization details that are asked for (RFC 9396 §5), where the subject token has them and they are for the new
/// token's resource servers. Without the parameter there are none: who exchanges a token need not do all that it allows.
fn details<'a>(command: &'a Exchange, audience: &[String]) -> Result<&'a [Detail], GrantRefusal> {
    let asked = asked_details(command);
    if !asked.is_empty() {
        command.details.select(audience)?;
    }
    Ok(asked)
}

/// What is asked for, or as much as may be, of what rule and client both have.
fn audience(command: &Exchange) -> Result<Vec<String>, GrantRefusal> {
    let allowed = |one: &String| command.rule.audience.contains(one) && command.client_audience.contains(one);
    match &command.audience {
        Some(asked) if !asked.is_empty() && asked.iter().all(allowed) => Ok(asked.clone()),
        Some(_) => Err(GrantRefusal::ResourceExceeded),
        None => {
            let most: Vec<String> = command
                .rule
                .audience
                .iter()
                .filter(|one| allowed(one))
                .cloned()
                .collect();
            if most.is_empty() {
                return Err(GrantRefusal::ResourceExceeded);
            }
            Ok(most)
        }
    }
}
