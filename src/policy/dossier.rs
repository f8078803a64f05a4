//! The dossier of a replay: who used the token rightly and who presented it again, side by side, whether that looks like
//! a retry or like theft, and what ended with it.

use crate::clock::Timestamp;
use crate::domain::LedgerEvent;
use crate::domain::alert::{Dossier, Presenter, Verdict};
use crate::domain::grant::{AccessToken, GrantEvent, RefreshToken, Target};
use crate::ledger::{LedgerError, Metadata, StoredEvent};

/// Of the replay at a position, from its grant's events; none where there is no replay there.
pub fn compile(events: &[StoredEvent], position: i64) -> Result<Option<Dossier>, LedgerError> {
    let mut before = Vec::new();
    for stored in events.iter().filter(|event| event.position <= position) {
        let event = GrantEvent::decode(&stored.event_type, stored.event_version, &stored.payload)?;
        before.push((stored, event));
    }
    let Some((replay, event)) = before.pop().filter(|(stored, _)| stored.position == position) else {
        return Ok(None);
    };
    let Some(used) = first_use(&before, &event) else {
        return Ok(None);
    };
    let (holder, presenter) = (presenter(used)?, presenter(replay)?);
    let (verdict, reasons) = judge(&holder, &presenter);
    let ended = Ended::of(&before, presenter.at);
    Ok(Some(Dossier {
        seconds_between: u64::try_from((presenter.at - holder.at).num_seconds()).unwrap_or_default(),
        holder,
        presenter,
        verdict,
        reasons,
        killed_access_tokens: ended.access_tokens,
        killed_generation: ended.generation,
    }))
}

/// The event that the presented token had been used for the first time in; where it never was used (its successor
/// was minted for its predecessor), the one that made it worthless.
fn first_use<'a>(before: &[(&'a StoredEvent, GrantEvent)], replay: &GrantEvent) -> Option<&'a StoredEvent> {
    let after = |sequence: i64, used: fn(&GrantEvent) -> bool| {
        before
            .iter()
            .find(|(stored, event)| stored.sequence > sequence && used(event))
            .map(|(stored, _)| *stored)
    };
    match replay {
        GrantEvent::RefreshReplayed(event) => after(i64::from(event.sequence), |event| {
            matches!(
                event,
                GrantEvent::RefreshRotated(_) | GrantEvent::RefreshRetried(_)
            )
        }),
        GrantEvent::CodeReplayed(_) => after(0, |event| matches!(event, GrantEvent::CodeRedeemed(_))),
        GrantEvent::DeviceCodeReplayed(_) => {
            after(0, |event| matches!(event, GrantEvent::DeviceCodeRedeemed(_)))
        }
        GrantEvent::CodeIssued(_)
        | GrantEvent::CodeRedeemed(_)
        | GrantEvent::TokenIssued(_)
        | GrantEvent::DeviceAuthorizationRequested(_)
        | GrantEvent::DeviceAuthorizationApproved(_)
        | GrantEvent::DeviceAuthorizationDenied(_)
        | GrantEvent::DeviceCodeRedeemed(_)
        | GrantEvent::GrantImported(_)
        | GrantEvent::TokenExchanged(_)
        | GrantEvent::AssertionAccepted(_)
        | GrantEvent::AccessTokenRefreshed(_)
        | GrantEvent::RefreshRotated(_)
        | GrantEvent::RefreshRetried(_)
        | GrantEvent::GrantReplaced(_)
        | GrantEvent::TokenRevoked(_) => None,
    }
}

fn presenter(stored: &StoredEvent) -> Result<Presenter, LedgerError> {
    let metadata = Metadata::read(&stored.metadata)?;
    Ok(Presenter {
        position: u64::try_from(stored.position).unwrap_or_default(),
        at: stored.recorded_at,
        request: metadata.request_id,
        network: metadata.network,
        agent: metadata.agent.map(|agent| agent.name().to_owned()),
        authentication: metadata.authentication.map(|how| how.to_string()),
    })
}

/// How two presenters compare in one respect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared {
    Same,
    Other,
    Unknown,
}

fn compare<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> Compared {
    match (one, other) {
        (Some(one), Some(other)) if one == other => Compared::Same,
        (Some(_), Some(_)) => Compared::Other,
        (None, _) | (_, None) => Compared::Unknown,
    }
}

fn judge(holder: &Presenter, presenter: &Presenter) -> (Verdict, Vec<String>) {
    let month = |at: Timestamp| at.format("%Y-%m").to_string();
    let network = if month(holder.at) == month(presenter.at) {
        compare(holder.network.as_ref(), presenter.network.as_ref())
    } else {
        Compared::Unknown
    };
    let agent = compare(holder.agent.as_ref(), presenter.agent.as_ref());
    let authentication = compare(holder.authentication.as_ref(), presenter.authentication.as_ref());
    let seconds = (presenter.at - holder.at).num_seconds();
    let mut reasons = vec![match network {
        Compared::Same => "Both came from one network.".to_owned(),
        Compared::Other => "They came from different networks.".to_owned(),
        Compared::Unknown => "Their networks cannot be compared.".to_owned(),
    }];
    reasons.push(match agent {
        Compared::Same => "Both were programs of one family.".to_owned(),
        Compared::Other => "They were programs of different families.".to_owned(),
        Compared::Unknown => "Their user agents cannot be compared.".to_owned(),
    });
    match authentication {
        Compared::Same => {
            reasons.push("Both authenticated with the same credential of the client.".to_owned());
        }
        Compared::Other => {
            reasons.push("They authenticated with different credentials of the client.".to_owned());
        }
        Compared::Unknown => {}
    }
    reasons.push(format!("There were {seconds} seconds between them."));
    let others = [network, agent, authentication]
        .iter()
        .filter(|compared| **compared == Compared::Other)
        .count();
    let verdict = match (network, others) {
        (Compared::Same, 0) => Verdict::Retry,
        (_, 2..) => Verdict::Theft,
        // Another program of the same kind, or the same one that has moved.
        (Compared::Other, _) if authentication == Compared::Unknown && agent == Compared::Unknown => {
            Verdict::Theft
        }
        _ => Verdict::Unclear,
    };
    (verdict, reasons)
}

/// What a family had that ended with it.
#[derive(Default)]
struct Ended {
    access_tokens: u32,
    generation: Option<u32>,
}

impl Ended {
    fn of(before: &[(&StoredEvent, GrantEvent)], at: Timestamp) -> Self {
        let mut ended = Self::default();
        for (_, event) in before {
            let (access, refresh): (Option<AccessToken>, Option<RefreshToken>) = match event {
                GrantEvent::TokenIssued(event) => (Some(event.access), event.refresh),
                GrantEvent::RefreshRotated(event) => (Some(event.access), Some(event.refresh)),
                GrantEvent::RefreshRetried(event) => (Some(event.access), Some(event.refresh)),
                GrantEvent::AccessTokenRefreshed(event) => (Some(event.access), None),
                GrantEvent::TokenRevoked(event) => {
                    ended.revoked(event.target, at);
                    continue;
                }
                GrantEvent::GrantImported(event) => (None, Some(event.refresh)),
                GrantEvent::CodeIssued(_)
                | GrantEvent::CodeRedeemed(_)
                | GrantEvent::CodeReplayed(_)
                | GrantEvent::DeviceAuthorizationRequested(_)
                | GrantEvent::DeviceAuthorizationApproved(_)
                | GrantEvent::DeviceAuthorizationDenied(_)
                | GrantEvent::DeviceCodeRedeemed(_)
                | GrantEvent::DeviceCodeReplayed(_)
                | GrantEvent::TokenExchanged(_)
                | GrantEvent::AssertionAccepted(_)
                | GrantEvent::GrantReplaced(_)
                | GrantEvent::RefreshReplayed(_) => continue,
            };
            ended.access_tokens += u32::from(access.is_some_and(|access| access.expires_at > at));
            ended.generation = refresh.map(|refresh| refresh.generation).or(ended.generation);
        }
        ended
    }

    /// What had ended before does not end with the replay.
    fn revoked(&mut self, target: Target, at: Timestamp) {
        match target {
            Target::Family => *self = Self::default(),
            Target::Access { expires_at, .. } => {
                self.access_tokens = self.access_tokens.saturating_sub(u32::from(expires_at > at));
            }
        }
    }
}
