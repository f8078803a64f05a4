//! The device authorization's invariants, over random histories of its pure decisions.

use chrono::{DateTime, TimeDelta};
use cqrs_es::Aggregate;
use grantlog::clock::Timestamp;
use grantlog::domain::authorization_detail::AskedDetails;
use grantlog::domain::client::GrantType;
use grantlog::domain::grant::*;
use grantlog::domain::openid::IndividualClaims;
use grantlog::domain::value::{Digest, ScopeSet};
use grantlog::ids::{ClientKey, SessionId, SubjectId};
use proptest::prelude::*;
use uuid::Uuid;

const OWNER: ClientKey = ClientKey(Uuid::from_u128(1));
const STRANGER: ClientKey = ClientKey(Uuid::from_u128(2));
const USER: SubjectId = SubjectId(Uuid::from_u128(3));
const LIFETIME: i64 = 600;

#[derive(Clone, Debug)]
enum Step {
    Approve,
    Deny,
    Poll {
        by_owner: bool,
        right_digest: bool,
        password_changed: bool,
        allowed: bool,
    },
    Revoke,
    Wait {
        seconds: u16,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Approve),
        1 => Just(Step::Deny),
        6 => (
            prop::bool::weighted(0.8), prop::bool::weighted(0.8), prop::bool::weighted(0.2), prop::bool::weighted(0.8),
        ).prop_map(|(by_owner, right_digest, password_changed, allowed)| Step::Poll {
            by_owner, right_digest, password_changed, allowed,
        }),
        1 => Just(Step::Revoke),
        2 => prop_oneof![5 => 0_u16..60, 1 => 500_u16..700].prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..30)
}

fn scope() -> ScopeSet {
    ["a", "b"].into_iter().collect()
}

fn request(now: Timestamp) -> DeviceAuthorizationRequested {
    DeviceAuthorizationRequested {
        client: OWNER,
        scope: scope(),
        audience: vec!["urn:api".to_owned()],
        resources: None,
        authorization_details: None,
        digest: Digest::of(b"device code"),
        user_code: Digest::of(b"user code"),
        interval: 5,
        issued_at: now,
        expires_at: now + TimeDelta::seconds(LIFETIME),
        grant_expires_at: now + TimeDelta::days(1),
    }
}

fn approval(at: Timestamp) -> DeviceAuthorizationApproved {
    DeviceAuthorizationApproved {
        subject: USER,
        session: SessionId(Uuid::from_u128(4)),
        auth_time: at,
        amr: vec!["pwd".to_owned()],
        password_generation: 1,
        consent_withdrawals: 2,
        authorization_details: None,
        at,
    }
}

/// A poll of the owner's that would do, but for what the step changes.
fn poll(step: &Step, at: Timestamp) -> RedeemDeviceCode {
    let Step::Poll {
        by_owner,
        right_digest,
        password_changed,
        allowed,
    } = step
    else {
        panic!("no poll")
    };
    RedeemDeviceCode {
        digest: Digest::of(if *right_digest { b"device code" } else { b"guessed" }),
        client: if *by_owner { OWNER } else { STRANGER },
        audience: None,
        allowed_audience: vec!["urn:api".to_owned()],
        details: AskedDetails::default(),
        circumstances: Circumstances {
            session_over: false,
            individual_claims: IndividualClaims::default(),
            user_may_act: true,
            client_serves_user: true,
            password_generation: 1 + u32::from(*password_changed),
            consent_withdrawals: 2,
            allowed_scope: if *allowed {
                ["a"].into_iter().collect()
            } else {
                ScopeSet::default()
            },
        },
        mint: Mint {
            access: Digest::of(b"access"),
            access_lifetime: 60,
            refresh: Some(MintRefresh {
                digest: Digest::of(b"refresh"),
                lifetime: 3600,
                bound: false,
            }),
            confirmation: None,
        },
        at,
    }
}

fn apply(grant: &mut Grant, decision: &Decision) {
    for event in decision.events.clone() {
        grant.apply(event);
    }
}

/// What an independent observer remembers.
#[derive(Default)]
struct Seen {
    answered: Option<bool>,
    redeemed: bool,
    revoked: bool,
}

impl Seen {
    /// What a poll must come to, said once more and otherwise than the decision says it.
    fn expected(&self, step: &Step, late: bool) -> Result<(), GrantRefusal> {
        let Step::Poll {
            by_owner,
            right_digest,
            password_changed,
            allowed,
        } = *step
        else {
            panic!("no poll")
        };
        if !right_digest {
            return Err(GrantRefusal::Unknown);
        }
        if !by_owner {
            return Err(GrantRefusal::OtherClient);
        }
        match (self.redeemed, self.revoked, self.answered, late) {
            (true, ..) => Err(GrantRefusal::DeviceCodeReplayed),
            (_, true, ..) => Err(GrantRefusal::Revoked),
            (_, _, Some(false), _) => Err(GrantRefusal::DeviceDenied),
            (.., true) => Err(GrantRefusal::DeviceCodeExpired),
            (_, _, None, _) => Err(GrantRefusal::DevicePending),
            _ if password_changed => Err(GrantRefusal::PasswordChanged),
            _ if !allowed => Err(GrantRefusal::ScopeNoLongerAllowed),
            _ => Ok(()),
        }
    }
}

proptest! {
    #[test]
    fn no_history_breaks_the_device_authorizations_invariants(steps in steps()) {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let (mut grant, mut seen, mut now) = (Grant::default(), Seen::default(), start);
        let begun = grant.request_device(&request(start));
        prop_assert!(begun.outcome.is_ok());
        apply(&mut grant, &begun);
        prop_assert_eq!(grant.request_device(&request(start)).outcome, Err(GrantRefusal::Exists));
        let mut issued = 0;
        for step in steps {
            let late = now >= start + TimeDelta::seconds(LIFETIME);
            match &step {
                Step::Wait { seconds } => now += TimeDelta::seconds(i64::from(*seconds)),
                Step::Approve | Step::Deny => {
                    let approves = matches!(step, Step::Approve);
                    let decision = if approves {
                        grant.approve_device(&approval(now))
                    } else {
                        grant.deny_device(&DeviceAuthorizationDenied { subject: USER, at: now })
                    };
                    let may = seen.answered.is_none() && !seen.revoked && !late;
                    prop_assert_eq!(decision.outcome.is_ok(), may);
                    prop_assert_eq!(decision.events.len(), usize::from(may));
                    if may {
                        seen.answered = Some(approves);
                    }
                    apply(&mut grant, &decision);
                }
                Step::Revoke => {
                    let command = Revoke { client: None, target: Target::Family, reason: Reason::Administrator, at: now };
                    let decision = grant.revoke(&command);
                    apply(&mut grant, &decision);
                    seen.revoked = true;
                }
                Step::Poll { .. } => {
                    let decision = grant.redeem_device(&poll(&step, now));
                    let expected = seen.expected(&step, late);
                    prop_assert_eq!(decision.outcome.clone().map(|_| ()), expected);
                    apply(&mut grant, &decision);
                    match (decision.outcome, expected) {
                        (Ok(Outcome::Tokens(tokens)), _) => {
                            issued += 1;
                            seen.redeemed = true;
                            prop_assert_eq!(tokens.subject, Some(USER));
                            prop_assert!(tokens.scope.is_subset(&scope()));
                            prop_assert_eq!(tokens.sequence, grant.sequence);
                            prop_assert!(grant.access_at(tokens.sequence).is_some());
                        }
                        (_, Err(GrantRefusal::DeviceCodeReplayed)) => {
                            // Recorded once; all of it is over.
                            prop_assert_eq!(decision.events.len(), if seen.revoked { 0 } else { 2 });
                            seen.revoked = true;
                        }
                        _ => prop_assert_eq!(decision.events.len(), 0),
                    }
                }
            }
            let family = grant.family.as_deref().unwrap();
            prop_assert_eq!(family.flow, GrantType::DeviceCode);
            prop_assert_eq!(family.subject, (seen.answered == Some(true)).then_some(USER));
            prop_assert_eq!(family.refresh.is_some(), seen.redeemed);
            prop_assert_eq!(family.revoked.is_some(), seen.revoked);
            prop_assert!(issued <= 1 && (issued == 0 || seen.answered == Some(true)));
        }
    }
}
