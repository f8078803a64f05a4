//! What a grant's keys decide, over random histories of its pure decisions, and between two nodes.

use chrono::{DateTime, TimeDelta};
use cqrs_es::Aggregate;
use grantlog::clock::Timestamp;
use grantlog::domain::authorization_detail::AskedDetails;
use grantlog::domain::client::GrantType;
use grantlog::domain::confirmation::{Confirmation, Thumbprint};
use grantlog::domain::grant::*;
use grantlog::domain::openid::IndividualClaims;
use grantlog::domain::value::{Digest, ScopeSet};
use grantlog::ids::ClientKey;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::prover::{Answer, Key, Prover};
use crate::races::Node;

const CLIENT: ClientKey = ClientKey(Uuid::from_u128(1));

/// None, or one of two keys.
fn key(number: u8) -> Option<Confirmation> {
    (number > 0).then(|| Confirmation::JwkThumbprint(Thumbprint::of(&[number])))
}

struct History {
    grant: Grant,
    now: Timestamp,
    /// Whether refresh tokens are bound, as a public client's are.
    bound: bool,
    counter: u64,
    /// Every refresh token that was given out.
    given: Vec<(u32, Digest)>,
}

impl History {
    fn begin(bound: bool, first: u8) -> Self {
        let mut history = Self {
            grant: Grant::default(),
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            bound,
            counter: 0,
            given: Vec::new(),
        };
        let (mint, digest) = history.mint(first);
        let command = IssueToken {
            flow: GrantType::Password,
            client: CLIENT,
            subject: None,
            scope: ScopeSet::default(),
            audience: vec!["urn:api".to_owned()],
            details: None,
            password_generation: 0,
            grant_expires_at: history.now + TimeDelta::days(9),
            mint,
            at: history.now,
        };
        let decision = history.grant.issue(&command);
        history.apply(decision, digest).0.unwrap();
        history
    }

    fn mint(&mut self, number: u8) -> (Mint, Digest) {
        self.counter += 1;
        let digest = Digest::of(&self.counter.to_be_bytes());
        let mint = Mint {
            access: Digest::of(b"access"),
            access_lifetime: 60,
            confirmation: key(number),
            refresh: Some(MintRefresh {
                digest,
                lifetime: 86_400,
                bound: self.bound,
            }),
        };
        (mint, digest)
    }

    fn apply(&mut self, decision: Decision, digest: Digest) -> (Result<Box<Issued>, GrantRefusal>, usize) {
        let events = decision.events.len();
        decision
            .events
            .into_iter()
            .for_each(|event| self.grant.apply(event));
        let outcome = decision.outcome.map(|outcome| {
            let Outcome::Tokens(issued) = outcome else {
                unreachable!()
            };
            issued
        });
        if let Ok(issued) = &outcome {
            self.given.push((issued.sequence, digest));
        }
        (outcome, events)
    }

    /// Presents the refresh token that was given out `back` issuances ago, proving a key.
    fn rotate(&mut self, back: usize, number: u8) -> (Result<Box<Issued>, GrantRefusal>, usize) {
        let (sequence, presented) = self.given[self.given.len().saturating_sub(1 + back)];
        let (mint, digest) = self.mint(number);
        let command = Rotate {
            sequence,
            digest: presented,
            was_issued: true,
            client: CLIENT,
            scope: None,
            audience: None,
            allowed_audience: vec!["urn:api".to_owned()],
            details: AskedDetails::default(),
            grace: 10,
            rotates: true,
            circumstances: Circumstances {
                session_over: false,
                individual_claims: IndividualClaims::default(),
                user_may_act: true,
                client_serves_user: true,
                password_generation: 0,
                consent_withdrawals: 0,
                allowed_scope: ScopeSet::default(),
            },
            mint,
            at: self.now,
        };
        let decision = self.grant.rotate_refresh(&command);
        self.apply(decision, digest)
    }
}

proptest! {
    #[test]
    fn what_is_bound_to_a_key_moves_for_that_key_only_and_a_retry_is_of_the_same_sender(
        public in any::<bool>(),
        first in 0_u8..3,
        steps in prop::collection::vec((0_usize..3, 0_u8..3, 0_i64..14), 1..20),
    ) {
        let mut history = History::begin(public, first);
        let mut bound = key(first).filter(|_| public);
        let mut last = key(first);
        for (back, number, seconds) in steps {
            history.now += TimeDelta::seconds(seconds);
            let before = history.grant.clone();
            let is_current = back == 0 || history.given.len() == 1;
            let (outcome, events) = history.rotate(back, number);
            if bound.is_some() && bound != key(number) {
                prop_assert_eq!((outcome, events), (Err(GrantRefusal::OtherKey), 0));
                prop_assert_eq!(&history.grant, &before);
                continue;
            }
            let Ok(issued) = outcome else { continue };
            prop_assert_eq!(issued.confirmation, key(number));
            prop_assert!(is_current || key(number) == last, "a retry with another key");
            last = key(number);
            bound = bound.or(key(number).filter(|_| public));
            prop_assert_eq!(history.grant.refresh_confirmation(), bound);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn among_31_thieves_on_two_nodes_the_one_with_the_key_refreshes_and_the_family_lives() {
    let prover = Prover::public().await;
    let other = Node::beside(&prover.server).await;
    let (key, thief) = (Key::new("ES256"), Key::new("ES256"));
    let first = prover.redeem(&prover.code(&[]).await, Some(&key)).await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", first.text("refresh_token")),
    ];
    let uses: Vec<_> = (0..32)
        .map(|number| {
            let base = [&prover.server.base, &other.base][number % 2];
            let proof = prover.proof(if number == 13 { &key } else { &thief }, json!({}));
            let request = prover.request(format!("{base}/oauth/token"), &form, Some(&proof));
            tokio::spawn(Answer::of(request))
        })
        .collect();
    let mut refreshed = Vec::new();
    for answer in uses {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            refreshed.push(answer);
        } else {
            assert_eq!(answer.error(), (400, "invalid_grant"));
        }
    }
    let [next] = &refreshed[..] else {
        panic!("{} refreshed", refreshed.len())
    };
    assert_eq!(prover.events("RefreshReplayed").await, 0);
    let again = prover.refresh(next.text("refresh_token"), Some(&key)).await;
    assert_eq!(again.status, 200, "{}", again.body);
}
