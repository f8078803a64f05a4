//! The dossier of a replay: who used the token first and who presented it again, side by side, whether that looks like a
//! retry or like theft, and what ended with it.

use super::agent::AgentFamily;
use super::memory::calendar_month;
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
    let (verdict, mut reasons) = judge(&holder, &presenter);
    reasons.extend(newcomer(&before, &holder, &presenter)?);
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

/// How long after the first use the same client may still be trying again, which did not get the answer. What comes later
/// is no retry, whoever it is.
const RETRY_SECONDS: i64 = 60;

fn compare<T: PartialEq>(one: Option<T>, other: Option<T>) -> Compared {
    match (one, other) {
        (Some(one), Some(other)) if one == other => Compared::Same,
        (Some(_), Some(_)) => Compared::Other,
        (None, _) | (_, None) => Compared::Unknown,
    }
}

/// The family of an agent, where it is one: programs that nobody knows are not of one family.
fn family(presenter: &Presenter) -> Option<&str> {
    let agent = presenter.agent.as_deref();
    agent.filter(|agent| *agent != AgentFamily::Other.name())
}

/// Whether two presenters came from one network; digests of different months cannot be compared.
fn networks(one: &Presenter, other: &Presenter) -> Compared {
    if calendar_month(one.at) == calendar_month(other.at) {
        compare(one.network.as_ref(), other.network.as_ref())
    } else {
        Compared::Unknown
    }
}

/// Whether only one of the two came from a network where the grant had been used before the token's first use.
fn newcomer(
    before: &[(&StoredEvent, GrantEvent)],
    holder: &Presenter,
    again: &Presenter,
) -> Result<Option<String>, LedgerError> {
    let (mut first_known, mut again_known) = (false, false);
    let earlier = before.iter().take_while(|(stored, _)| {
        u64::try_from(stored.position).is_ok_and(|position| position < holder.position)
    });
    for (stored, _) in earlier {
        let known = presenter(stored)?;
        first_known |= networks(&known, holder) == Compared::Same;
        again_known |= networks(&known, again) == Compared::Same;
    }
    Ok(match (first_known, again_known) {
        (true, false) => {
            Some("Only the first use came from a network where the grant was used before.".to_owned())
        }
        (false, true) => {
            Some("Only the replay came from a network where the grant was used before.".to_owned())
        }
        (true, true) | (false, false) => None,
    })
}

fn judge(holder: &Presenter, presenter: &Presenter) -> (Verdict, Vec<String>) {
    let network = networks(holder, presenter);
    let agent = compare(family(holder), family(presenter));
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
    let alike = agent == Compared::Same || authentication == Compared::Same;
    let verdict = match (network, others) {
        (Compared::Same, 0) if alike && seconds <= RETRY_SECONDS => Verdict::Retry,
        (_, 2..) => Verdict::Theft,
        // Nothing but the network says anything.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::Digest;
    use crate::ids::RequestId;

    fn used(at: i64, (network, agent, authentication): (&str, Option<&str>, Option<&str>)) -> Presenter {
        Presenter {
            position: 1,
            at: "2026-03-02T08:00:00Z".parse::<Timestamp>().unwrap() + chrono::TimeDelta::seconds(at),
            request: RequestId(uuid::Uuid::nil()),
            network: Some(Digest::of(network.as_bytes())),
            agent: agent.map(str::to_owned),
            authentication: authentication.map(str::to_owned),
        }
    }

    #[test]
    fn only_the_same_client_within_a_minute_is_a_retry() {
        let basic = Some("client_secret_basic secret=1");
        let first = ("home", Some("java"), basic);
        let cases = [
            (2, first, Verdict::Retry),
            (59, first, Verdict::Retry),
            (61, first, Verdict::Unclear),
            (5 * 86_400, first, Verdict::Unclear),
            (2, ("home", Some("curl"), basic), Verdict::Unclear),
            (2, ("away", Some("java"), basic), Verdict::Unclear),
            (2, ("away", Some("curl"), basic), Verdict::Theft),
            (
                2,
                ("home", Some("curl"), Some("private_key_jwt kid=2")),
                Verdict::Theft,
            ),
        ];
        for (later, again, verdict) in cases {
            assert_eq!(
                judge(&used(0, first), &used(later, again)).0,
                verdict,
                "{later} {again:?}"
            );
        }
    }

    #[test]
    fn programs_that_nobody_knows_are_not_of_one_family() {
        // A public client: nothing but network and program tells anything.
        for agent in [None, Some("other")] {
            let first = ("home", agent, None);
            let (verdict, reasons) = judge(&used(0, first), &used(2, first));
            assert_eq!(verdict, Verdict::Unclear);
            assert!(
                reasons.contains(&"Their user agents cannot be compared.".to_owned()),
                "{reasons:?}"
            );
            assert_eq!(
                judge(&used(0, first), &used(2, ("away", agent, None))).0,
                Verdict::Theft
            );
        }
        let known = ("home", Some("java"), None);
        assert_eq!(judge(&used(0, known), &used(2, known)).0, Verdict::Retry);
    }
}
