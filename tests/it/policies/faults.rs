//! Faults at random points of the engine's way: whatever breaks when, each finding has its one effect.

use std::collections::BTreeSet;
use std::time::Duration;

use grantlog::domain::policy::{Action, PolicySettings};
use grantlog::policy::backtest::{self, Stretch};
use grantlog::policy::{PolicyEngine, rules};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use uuid::Uuid;

use super::{act, events, refresh_as};
use crate::faults::injected::{Fault, Injected, cases, fault, owner, refresh_pool};
use crate::ledger::assert_gapless;
use crate::token::{Party, text};

/// What the engine and its appends lock.
const LOCKS: &str = "grantlog.head, grantlog.policy_cursor";

/// What somebody does with a grant.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Two kinds of programs use it: a policy revokes it.
    Shared,
    /// A refresh token is used twice: the grant ends itself, and an alert tells.
    Replayed,
    Honest,
}

struct World {
    party: Party,
    injected: Injected,
}

impl World {
    async fn new() -> Self {
        let (injected, server) = Injected::start(|_| {}).await;
        let party = Party::on(server, json!({"refresh_grace": 0})).await;
        act(&party.server, "grant-new-agents", Action::RevokeGrant).await;
        Self { party, injected }
    }

    async fn happens(&self, deed: Deed) {
        let party = &self.party;
        let (_, tokens) = party.redeem(&party.code("view-user").await).await;
        let first = text(&tokens, "refresh_token").to_owned();
        let (status, tokens) = refresh_as(party, &first, "okhttp/4.12").await;
        assert_eq!(status, 200, "{tokens}");
        let (token, agent, expected) = match deed {
            Deed::Shared => (text(&tokens, "refresh_token"), "curl/8", 200),
            Deed::Replayed => (first.as_str(), "okhttp/4.12", 400),
            Deed::Honest => (text(&tokens, "refresh_token"), "okhttp/4.12", 200),
        };
        assert_eq!(refresh_as(party, token, agent).await.0, expected);
    }

    /// Lets the engine deal with what was done while faults strike, and then compares.
    async fn follow(&self, faults: Vec<(u32, Fault)>) {
        let (server, left) = (&self.party.server, faults.len());
        self.injected.plan(faults);
        let start = || Engine(Some(PolicyEngine::start(&server.app, None)));
        let mut engine = start();
        for _ in 0..left {
            if self.injected.strike(server, LOCKS).await == Fault::Crash {
                drop(engine);
                engine = start();
            }
        }
        self.until_reached(&engine).await;
        engine.0.take().unwrap().stop().await;
        self.compare().await;
        // Another node finds everything done.
        engine = start();
        self.until_reached(&engine).await;
        engine.0.take().unwrap().stop().await;
        self.compare().await;
    }

    /// Waits until the engine has dealt with what is on the ledger now.
    async fn until_reached(&self, engine: &Engine) {
        let head: i64 = sqlx::query_scalar("SELECT position FROM grantlog.head")
            .fetch_one(&mut owner(&self.party.server).await)
            .await
            .unwrap();
        let reached = engine.0.as_ref().unwrap().wait_for(head);
        tokio::time::timeout(Duration::from_mins(1), reached)
            .await
            .unwrap();
    }

    /// What was done is what the same rules find in the whole ledger: each alert once, each effect once.
    async fn compare(&self) {
        let server = &self.party.server;
        let all: Vec<(String, PolicySettings)> = rules::ALL
            .iter()
            .map(|rule| (rule.definition().id, PolicySettings::default()))
            .collect();
        refresh_pool(server).await;
        let reports = backtest::run(&server.app.ledger, &all, (Stretch::default(), None), &|_, _| {})
            .await
            .unwrap();
        let found = |of: &str| -> BTreeSet<Uuid> {
            let reports = reports.iter().filter(|report| of.is_empty() || report.rule == of);
            reports
                .flat_map(|report| report.alerts.iter().map(|alert| alert.alert))
                .collect()
        };
        once(
            "AlertRaised",
            &ids(events(server, "AlertRaised").await),
            &found(""),
        );
        let contained = ids(events(server, "ContainmentApplied").await);
        once("ContainmentApplied", &contained, &found("grant-new-agents"));
        let mut revoked = events(server, "TokenRevoked").await;
        revoked.retain(|(_, event)| event["reason"] == "policy");
        let shared = events(server, "AlertRaised").await;
        let shared = shared
            .iter()
            .filter(|(_, alert)| alert["rule"] == "grant-new-agents");
        let shared = shared.map(|(_, alert)| text(&alert["about"], "grant").parse().unwrap());
        once("TokenRevoked", &ids(revoked), &shared.collect());
        assert_gapless(server).await;
    }
}

/// An engine that ends where it is, unless it was stopped.
struct Engine(Option<PolicyEngine>);

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(engine) = self.0.take() {
            engine.abort();
        }
    }
}

fn ids<T>(events: Vec<(Uuid, T)>) -> Vec<Uuid> {
    events.into_iter().map(|(id, _)| id).collect()
}

fn once(what: &str, happened: &[Uuid], expected: &BTreeSet<Uuid>) {
    let different: BTreeSet<Uuid> = happened.iter().copied().collect();
    assert_eq!(&different, expected, "{what}: one was skipped, or should not be");
    assert_eq!(happened.len(), different.len(), "{what}: one was repeated");
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![3 => Just(Deed::Shared), 1 => Just(Deed::Replayed), 1 => Just(Deed::Honest)]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_when_each_finding_has_its_one_effect() {
    let world = World::new().await;
    let deeds = prop::collection::vec(deed(), 1..4);
    // The engine's way over a few findings is some hundred messages long; each fault makes it longer.
    let faults = prop::collection::vec((1_u32..120, fault()), 1..5);
    let mut runner = TestRunner::new(Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 10,
        ..Config::default()
    });
    let runtime = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&(deeds, faults), |(deeds, faults)| {
            runtime.block_on(async {
                for deed in deeds {
                    world.happens(deed).await;
                }
                world.follow(faults).await;
            });
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let revoked = events(&world.party.server, "ContainmentApplied").await.len();
    assert!(revoked > 0, "something was to be done");
    world.injected.postgres.stop().await.unwrap();
}
