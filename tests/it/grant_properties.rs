//! The grant's invariants, over random histories of its pure decisions.

use chrono::{DateTime, TimeDelta};
use cqrs_es::Aggregate;
use grantlog::clock::Timestamp;
use grantlog::domain::LedgerEvent;
use grantlog::domain::authorization_detail::{AskedDetails, Detail, Selection, covers, parse};
use grantlog::domain::client::GrantType;
use grantlog::domain::grant::*;
use grantlog::domain::openid::IndividualClaims;
use grantlog::domain::value::{Digest, ScopeSet, Sealed};
use grantlog::ids::{ClientKey, SubjectId};
use proptest::prelude::*;
use uuid::Uuid;

const OWNER: ClientKey = ClientKey(Uuid::from_u128(1));
const STRANGER: ClientKey = ClientKey(Uuid::from_u128(2));
/// Of histories that have one.
const GRACE: u32 = 10;

/// What somebody does next.
#[derive(Clone, Debug)]
enum Step {
    Redeem {
        by_owner: bool,
        right_digest: bool,
    },
    /// Presents the refresh token that was issued `back` issuances ago.
    Rotate {
        by_owner: bool,
        back: usize,
        scope: Option<u8>,
        forged: bool,
        /// Whether the client may refresh such grants now.
        refreshable: bool,
        /// Whether its refresh tokens change at each use now.
        rotates: bool,
    },
    RevokeFamily {
        by_owner: bool,
    },
    RevokeAccess {
        back: usize,
    },
    Wait {
        seconds: u16,
    },
    /// The next node's clock is behind.
    FallBehind {
        seconds: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (prop::bool::weighted(0.9), prop::bool::weighted(0.9))
            .prop_map(|(by_owner, right_digest)| Step::Redeem { by_owner, right_digest }),
        6 => (prop::bool::weighted(0.9), prop_oneof![5 => Just(0), 2 => Just(1), 1 => 0_usize..6], prop::option::of(0_u8..16), prop::bool::weighted(0.1), prop::bool::weighted(0.9), prop::bool::weighted(0.8))
            .prop_map(|(by_owner, back, scope, forged, refreshable, rotates)| Step::Rotate { by_owner, back, scope, forged, refreshable, rotates }),
        1 => any::<bool>().prop_map(|by_owner| Step::RevokeFamily { by_owner }),
        1 => (0_usize..4).prop_map(|back| Step::RevokeAccess { back }),
        3 => prop_oneof![4 => 0_u16..6, 2 => 8_u16..15, 1 => 100_u16..2000].prop_map(|seconds| Step::Wait { seconds }),
        1 => (1_u8..4).prop_map(|seconds| Step::FallBehind { seconds }),
    ];
    prop::collection::vec(step, 1..40)
}

fn scope(bits: u8) -> ScopeSet {
    ["a", "b", "c", "d"]
        .iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect()
}

/// What the client may have tokens for no longer.
const LOST: &str = "urn:lost";

fn no_lost_audience(issued: &Issued) {
    let lost = issued.audience.iter().any(|one| one == LOST);
    assert!(!lost, "a token is for what its client lost");
}

/// The audience that is left to the client.
fn still_allowed() -> Vec<String> {
    let mut left = audience();
    left.retain(|one| one != LOST);
    left
}

/// The widest audience of every grant here.
fn audience() -> Vec<String> {
    vec!["urn:api".to_owned(), "urn:files".to_owned(), LOST.to_owned()]
}

/// The widest authorization details of every grant here.
fn granted_details() -> Vec<Detail> {
    parse(
        r#"[{"type": "files", "actions": ["read", "write"]}, {"type": "mail", "locations": ["urn:files"]}, {"type": "lost"}]"#,
    )
    .unwrap()
}

/// A token has what was granted, to a client that has the type still, for its own resource servers.
fn no_wider_details(issued: &Issued, events: &[GrantEvent]) {
    let granted = granted_details();
    assert!(
        covers(&granted, &issued.details),
        "details are wider than the grant's"
    );
    for detail in &issued.details {
        assert_ne!(detail.type_name(), "lost", "a token has what its client lost");
        let elsewhere = detail.type_name() == "mail" && !issued.audience.contains(&"urn:files".to_owned());
        assert!(!elsewhere, "a token has what is for another resource server");
    }
    // As the ledger has it.
    let payload = events.last().unwrap().payload().unwrap();
    let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
    let selection: Option<Selection> = serde_json::from_value(payload["details"].clone()).unwrap();
    assert_eq!(applied(selection.as_ref(), &granted), issued.details);
}

/// A history under test, and what an independent observer counts.
struct History {
    grant: Grant,
    now: Timestamp,
    counter: u64,
    code: Digest,
    /// Every refresh token that was given out: its sequence, digest, generation.
    refresh: Vec<(u32, Digest, u32)>,
    access: Vec<u32>,
    redemptions: u32,
    revoked: bool,
    /// Its first refresh token is another server's, which is good for one use.
    imported: bool,
    /// For how many seconds a retry is answered.
    grace: u32,
    events: Vec<GrantEvent>,
}

impl History {
    fn empty() -> Self {
        Self {
            grant: Grant::default(),
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            counter: 0,
            code: Digest::of(b"code"),
            refresh: Vec::new(),
            access: Vec::new(),
            redemptions: 0,
            revoked: false,
            imported: false,
            grace: GRACE,
            events: Vec::new(),
        }
    }

    fn import() -> Self {
        let mut history = Self::empty();
        let (now, digest) = (history.now, Digest::of(b"another server's token"));
        let imported = GrantImported {
            source: "old".into(),
            flow: GrantType::AuthorizationCode,
            client: OWNER,
            subject: Some(SubjectId(Uuid::from_u128(3))),
            scope: scope(0b0111),
            audience: audience(),
            refresh: RefreshToken {
                digest,
                expires_at: now + TimeDelta::seconds(2000),
                generation: 1,
                confirmation: None,
            },
            consent_withdrawals: 0,
            imported_at: now,
            grant_expires_at: now + TimeDelta::seconds(5000),
        };
        let decision = history.grant.import(&imported);
        history.apply(decision).unwrap();
        history.imported = true;
        history.refresh.push((1, digest, 1));
        history
    }

    /// A grant that began with a code, or with a client's own credentials.
    fn begin(with_code: bool) -> Self {
        let mut history = Self::empty();
        if !with_code {
            history.issue();
            return history;
        }
        let (now, code) = (history.now, history.code);
        let issued = CodeIssued {
            client: OWNER,
            subject: SubjectId(Uuid::from_u128(3)),
            session: None,
            auth_time: Some(now),
            amr: None,
            nonce: None,
            id_token_claims: None,
            individual_claims: None,
            scope: scope(0b0111),
            audience: audience(),
            authorization_details: Some(Sealed("sealed".to_owned())),
            digest: code,
            redirect_uri: "https://app.example/".into(),
            redirect_uri_required: false,
            challenge: None,
            confirmation: None,
            password_generation: 0,
            management: None,
            consent_withdrawals: 0,
            issued_at: now,
            expires_at: now + TimeDelta::seconds(600),
            grant_expires_at: now + TimeDelta::seconds(5000),
        };
        let decision = history.grant.issue_code(&issued);
        history.apply(decision).unwrap();
        history
    }

    /// Client credentials with a refresh token.
    fn issue(&mut self) {
        let mint = self.mint();
        let command = IssueToken {
            flow: GrantType::ClientCredentials,
            client: OWNER,
            subject: None,
            scope: scope(0b0110),
            audience: audience(),
            details: None,
            password_generation: 0,
            grant_expires_at: self.now + TimeDelta::seconds(5000),
            mint,
            at: self.now,
        };
        let Ok(Outcome::Tokens(issued)) = self.apply(self.grant.issue(&command)) else {
            unreachable!()
        };
        self.given(&issued, &mint);
    }

    fn digest(&mut self) -> Digest {
        self.counter += 1;
        Digest::of(&self.counter.to_be_bytes())
    }

    /// What a token request names: nothing, one of the grant's, both, or another.
    fn resources(&self) -> Option<Vec<String>> {
        let named: &[&str] = match self.counter % 7 {
            0 => &["urn:api"],
            1 => &["urn:files", "urn:api"],
            3 => &["urn:api", "urn:elsewhere"],
            4 => &["urn:api", LOST],
            _ => return None,
        };
        Some(named.iter().map(|&one| one.to_owned()).collect())
    }

    fn circumstances() -> Circumstances {
        Circumstances {
            user_may_act: true,
            client_serves_user: true,
            password_generation: 0,
            consent_withdrawals: 0,
            session_over: false,
            individual_claims: IndividualClaims::default(),
            // The client lost `a` since.
            allowed_scope: scope(0b1110),
        }
    }

    fn mint(&mut self) -> Mint {
        let refresh = Some(MintRefresh {
            digest: self.digest(),
            lifetime: 1000,
            bound: false,
        });
        Mint {
            access: self.digest(),
            access_lifetime: 300,
            confirmation: None,
            refresh,
        }
    }

    fn apply(&mut self, decision: Decision) -> Result<Outcome, GrantRefusal> {
        for event in decision.events {
            self.events.push(event.clone());
            self.grant.apply(event);
        }
        decision.outcome
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Wait { seconds } => self.now += TimeDelta::seconds(i64::from(seconds)),
            Step::FallBehind { seconds } => self.now -= TimeDelta::seconds(i64::from(seconds)),
            Step::Redeem {
                by_owner,
                right_digest,
            } => self.redeem(by_owner, right_digest),
            Step::Rotate {
                by_owner,
                back,
                scope: asked,
                forged,
                refreshable,
                rotates,
            } => {
                self.rotate((by_owner, refreshable, rotates), back, asked.map(scope), forged);
            }
            Step::RevokeFamily { by_owner } => {
                let client = Some(if by_owner { OWNER } else { STRANGER });
                let command = Revoke {
                    client,
                    target: Target::Family,
                    reason: Reason::ClientRequest,
                    at: self.now,
                };
                let outcome = self.apply(self.grant.revoke(&command));
                assert_eq!(outcome.is_ok(), by_owner);
                self.revoked |= by_owner;
            }
            Step::RevokeAccess { back } => {
                let Some(&sequence) = self.access.iter().rev().nth(back) else {
                    return;
                };
                let target = Target::Access {
                    sequence,
                    expires_at: self.now + TimeDelta::seconds(300),
                };
                let command = Revoke {
                    client: Some(OWNER),
                    target,
                    reason: Reason::ClientRequest,
                    at: self.now,
                };
                self.apply(self.grant.revoke(&command)).unwrap();
                assert!(
                    self.grant.access_at(sequence).is_none(),
                    "a revoked access token is active"
                );
            }
        }
        self.check();
    }

    fn redeem(&mut self, by_owner: bool, right_digest: bool) {
        let mint = self.mint();
        let command = RedeemCode {
            digest: if right_digest {
                self.code
            } else {
                Digest::of(b"guess")
            },
            client: if by_owner { OWNER } else { STRANGER },
            redirect_uri: None,
            verifier: None,
            audience: self.resources(),
            allowed_audience: still_allowed(),
            details: self.details(),
            redirect_uri_registered: true,
            circumstances: Self::circumstances(),
            mint,
            at: self.now,
        };
        let decision = self.grant.redeem(&command);
        if !by_owner || !right_digest {
            assert!(
                decision.events.is_empty(),
                "a guess or a stranger touched the grant"
            );
        }
        match self.apply(decision) {
            Ok(Outcome::Tokens(issued)) => {
                self.redemptions += 1;
                self.given(&issued, &mint);
                no_lost_audience(&issued);
            }
            Ok(_) => unreachable!(),
            Err(GrantRefusal::CodeReplayed) => self.revoked = true,
            Err(_) => {}
        }
    }

    fn rotate(
        &mut self,
        (by_owner, refreshable, rotates): (bool, bool, bool),
        back: usize,
        asked: Option<ScopeSet>,
        forged: bool,
    ) {
        let Some(&(sequence, digest, generation)) = self.refresh.iter().rev().nth(back) else {
            return;
        };
        let mut mint = self.mint();
        if !refreshable {
            mint.refresh = None;
        }
        let digest = if forged { Digest::of(b"guess") } else { digest };
        let is_last = self.refresh.last().is_some_and(|last| last.0 == sequence);
        let command = Rotate {
            sequence,
            digest,
            was_issued: !forged,
            client: if by_owner { OWNER } else { STRANGER },
            scope: asked,
            audience: self.resources(),
            allowed_audience: still_allowed(),
            details: self.details(),
            grace: self.grace,
            rotates,
            circumstances: Self::circumstances(),
            mint,
            at: self.now,
        };
        let decision = self.grant.rotate_refresh(&command);
        if !by_owner || forged {
            assert!(
                decision.events.is_empty(),
                "a guess or a stranger touched the grant"
            );
        }
        match self.apply(decision) {
            Ok(Outcome::Tokens(issued)) => {
                assert!(!self.revoked, "a revoked family was refreshed");
                assert!(refreshable, "a client that may not refresh did");
                if !is_last {
                    let retried = matches!(self.events.last(), Some(GrantEvent::RefreshRetried(_)));
                    assert!(retried && back == 1, "an old generation {generation} was rotated");
                    assert!(self.grace > 0, "a retry where there is no grace period");
                    assert!(
                        !self.imported || generation > 1,
                        "another server's token was used twice"
                    );
                }
                let foreign = self.imported && generation == 1;
                assert_eq!(issued.refresh, rotates || !is_last || foreign);
                self.given(&issued, &mint);
                no_lost_audience(&issued);
            }
            Ok(_) => unreachable!(),
            Err(GrantRefusal::RefreshReplayed) => self.revoked = true,
            Err(GrantRefusal::NotRefreshable) => assert!(!refreshable && (is_last || back == 1)),
            Err(_) => {}
        }
    }

    /// What a request wants of the grant's details: less of them, all, more, what was lost.
    fn details(&self) -> AskedDetails {
        if self.imported {
            return AskedDetails::default();
        }
        let asked = match self.counter % 8 {
            0 => r#"[{"type": "files", "actions": ["write"]}]"#,
            1 => r#"[{"type": "files", "actions": ["read", "delete"]}]"#,
            2 => r#"[{"type": "lost"}]"#,
            3 => r#"[{"type": "mail", "locations": ["urn:files"]}]"#,
            4 => "[]",
            _ => "",
        };
        AskedDetails {
            granted: granted_details(),
            asked: parse(asked).ok(),
            allowed: [("files".to_owned(), vec![]), ("mail".to_owned(), vec![])].into(),
        }
    }

    fn given(&mut self, issued: &Issued, mint: &Mint) {
        no_wider_details(issued, &self.events);
        let granted = scope(0b0111);
        assert!(
            issued.scope.is_subset(&granted),
            "a token is wider than its grant"
        );
        assert!(
            !issued.scope.contains("a"),
            "a token has a scope that its client lost"
        );
        assert!(
            issued.audience.iter().all(|one| audience().contains(one)),
            "a token has another audience than its grant"
        );
        let family = self.grant.family.as_ref().unwrap();
        assert_eq!(family.audience, audience(), "a token narrowed its grant");
        let end = family.expires_at;
        assert!(issued.access_expires_at <= end, "a token outlives its grant");
        let current = &family.refresh.as_ref().unwrap().current;
        assert!(current.expires_at <= end, "a refresh token outlives its grant");
        let generation = current.number;
        self.access.push(issued.sequence);
        if !issued.refresh {
            let last = self.refresh.last().map(|(_, digest, number)| (*digest, *number));
            assert_eq!(
                last,
                Some((current.digest, generation)),
                "a token that stays has changed"
            );
            return;
        }
        assert!(
            self.refresh.iter().all(|(_, _, before)| *before < generation),
            "generations are not in order"
        );
        self.refresh
            .push((issued.sequence, mint.refresh.unwrap().digest, generation));
    }

    fn check(&self) {
        assert!(self.redemptions <= 1, "a code was redeemed twice");
        let live = |(sequence, digest, _): &&(u32, Digest, u32)| {
            self.grant.live_refresh(*sequence, digest, self.now).is_some()
        };
        let live: Vec<_> = self.refresh.iter().filter(live).collect();
        assert!(live.len() <= 1, "two generations are live");
        if self.revoked {
            assert!(live.is_empty(), "a refresh token of a revoked family is live");
            assert!(
                self.access
                    .iter()
                    .all(|sequence| self.grant.access_at(*sequence).is_none())
            );
        }
        // The state is the fold of the events, whatever path led to it.
        let mut folded = Grant::default();
        self.events.iter().cloned().for_each(|event| folded.apply(event));
        assert_eq!(folded, self.grant);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_the_grants_invariants(with_code in any::<bool>(), grace in any::<bool>(), steps in steps()) {
        let mut history = History::begin(with_code);
        if !grace {
            history.grace = 0;
        }
        history.step(&Step::Redeem { by_owner: true, right_digest: true });
        for step in &steps {
            history.step(step);
        }
    }

    #[test]
    fn no_history_of_an_imported_grant_breaks_its_invariants(steps in steps()) {
        let mut history = History::import();
        for step in &steps {
            history.step(step);
        }
    }

    #[test]
    fn any_state_survives_its_json(with_code in any::<bool>(), steps in steps()) {
        let mut history = History::begin(with_code);
        for step in &steps {
            history.step(step);
        }
        let text = serde_json::to_string(&history.grant).unwrap();
        let read: Grant = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read, history.grant);
    }
}

#[test]
fn without_a_grace_period_a_clock_that_is_behind_takes_no_replay_for_a_retry() {
    for (grace, replayed) in [(GRACE, false), (0, true)] {
        let mut history = History::begin(false);
        history.grace = grace;
        // Of these requests none names resources or details.
        history.counter = 3;
        history.rotate((true, true, true), 0, None, false);
        assert_eq!(history.refresh.len(), 2, "it was rotated");
        history.step(&Step::FallBehind { seconds: 2 });
        history.counter = 11;
        history.rotate((true, true, true), 1, None, false);
        assert_eq!(history.revoked, replayed);
    }
}

#[test]
fn the_flow_of_a_grant_is_what_issued_it() {
    let mut grant = Grant::default();
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let command = IssueToken {
        flow: GrantType::ClientCredentials,
        client: OWNER,
        subject: None,
        scope: scope(1),
        audience: Vec::new(),
        details: None,
        password_generation: 0,
        grant_expires_at: now + TimeDelta::seconds(60),
        mint: Mint {
            access: Digest::of(b"x"),
            access_lifetime: 3600,
            confirmation: None,
            refresh: None,
        },
        at: now,
    };
    let decision = grant.issue(&command);
    let Ok(Outcome::Tokens(issued)) = &decision.outcome else {
        panic!("{decision:?}")
    };
    assert_eq!(issued.access_expires_at, now + TimeDelta::seconds(60));
    for event in decision.events {
        grant.apply(event);
    }
    assert_eq!(grant.family.as_ref().unwrap().flow, GrantType::ClientCredentials);
    assert!(matches!(grant.issue(&command).outcome, Err(GrantRefusal::Exists)));
}
