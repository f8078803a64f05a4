//! Each rule fires, and keeps quiet.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::policy::PolicySettings;
use crate::domain::scope::Scope;
use crate::domain::value::Digest;
use crate::policy::observed::{Columns, Kind, Observed, Place};
use crate::policy::rule::Finding;
use crate::policy::watch::Watching;

mod sources;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn network(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A rule that is told one event after the other.
struct Story {
    watching: Watching,
    position: i64,
    at: Timestamp,
}

impl Story {
    fn of(rule: &str) -> Self {
        Self::set(rule, &PolicySettings::default())
    }

    fn set(rule: &str, settings: &PolicySettings) -> Self {
        Self {
            watching: Watching::begin(rule, settings).unwrap().unwrap(),
            position: 0,
            at: "2026-03-02T08:00:00Z".parse().unwrap(),
        }
    }

    /// The next event, so many seconds later, by a caller from a network with an agent.
    fn tell(
        &mut self,
        later: i64,
        (kind, aggregate): (Kind, Uuid),
        payload: &Value,
        (network, agent): (&str, &str),
    ) -> Vec<Finding> {
        self.position += 1;
        self.at += chrono::TimeDelta::seconds(later);
        let metadata = json!({
            "actor": "anonymous", "endpoint": "/", "request_id": id(9), "agent": agent,
            "network": Digest::of(network.as_bytes()),
        });
        let event = self.read((kind, aggregate), payload, &metadata);
        self.watching.observe(&event)
    }

    fn read(&self, (kind, aggregate): (Kind, Uuid), payload: &Value, metadata: &Value) -> Observed {
        let (payload, metadata) = (payload.to_string(), metadata.to_string());
        let columns = Columns {
            position: self.position,
            at: self.at,
            aggregate_type: "",
            aggregate,
            event_type: kind.name(),
            payload: &payload,
            metadata: &metadata,
        };
        Observed::read(&columns, false)
    }

    fn refused(&mut self, later: i64, payload: &Value, from: &str) -> usize {
        let event = (Kind::RequestRefused, id(99));
        self.tell(later, event, payload, (from, "curl")).len()
    }

    fn issued(&mut self, later: i64, flow: &str, client: u128, from: &str) -> Vec<Finding> {
        let payload = json!({"client": id(client), "flow": flow});
        let event = (Kind::TokenIssued, id(50));
        self.tell(later, event, &payload, (from, "curl"))
    }

    /// Saves what the rule remembers and lets a fresh one remember it.
    fn restart(&mut self) {
        let saved = self.watching.rule.save().unwrap();
        let settings = PolicySettings {
            threshold: Some(self.watching.definition.threshold),
            window_seconds: Some(self.watching.definition.window_seconds),
            ..PolicySettings::default()
        };
        let mut fresh = Watching::begin(&self.watching.definition.id, &settings)
            .unwrap()
            .unwrap();
        fresh.rule.load(&saved).unwrap();
        assert_eq!(fresh.rule.save().unwrap(), saved);
        self.watching = fresh;
    }
}

#[test]
fn what_rules_ask_of_payloads_is_in_them() {
    let members = [
        (Kind::RequestRefused, "client reason error grant subject endpoint"),
        (Kind::TokenIssued, "client flow subject"),
        (Kind::RefreshRotated, "client subject"),
        (Kind::RefreshRetried, "client subject"),
        (Kind::RefreshReplayed, "client"),
        (Kind::CodeReplayed, "client"),
        (Kind::ClientRegistered, "metadata"),
        (Kind::ClientUpdated, "metadata"),
        (Kind::ScopeDefined, "restricted name"),
        (Kind::ScopeChanged, "restricted"),
        (Kind::ConsentGiven, "client subject scope"),
        (Kind::SessionStarted, "subject"),
        (Kind::RefusalsSuppressed, "count network"),
        (Kind::TokenUseCounted, "uses"),
    ];
    let schemas = Event::schemas();
    for (kind, names) in members {
        let schema = schemas
            .iter()
            .find(|schema| schema.event_type == kind.name())
            .unwrap();
        for name in names.split(' ') {
            assert!(
                schema.fields.iter().any(|(field, ..)| *field == name),
                "{kind:?} {name}"
            );
        }
    }
}

#[test]
fn every_rule_has_a_name_a_window_and_a_technique_of_its_own_hash() {
    let mut hashes = std::collections::BTreeSet::new();
    for rule in super::ALL {
        let definition = rule.definition();
        assert!(definition.technique.starts_with('T') && definition.description.ends_with('.'));
        assert!(definition.lookback_seconds >= definition.window_seconds);
        assert!(hashes.insert(definition.hash()));
        let stricter = PolicySettings {
            threshold: Some(definition.threshold + 1),
            ..PolicySettings::default()
        };
        assert!(hashes.insert(definition.set(&stricter).hash()));
    }
}

#[test]
fn what_a_policy_did_is_not_watched() {
    let mut story = Story::of("refresh-replay");
    story.position += 1;
    let payload = json!({"client": id(1), "sequence": 1, "at": story.at});
    for (actor, fires) in [("policy", 0), ("system", 1)] {
        let metadata = json!({"actor": actor, "endpoint": "policy", "request_id": id(9)});
        let event = story.read((Kind::RefreshReplayed, id(2)), &payload, &metadata);
        assert_eq!(story.watching.observe(&event).len(), fires, "{actor}");
    }
}

#[test]
fn replays_fire_at_once_and_uses_do_not() {
    for (rule, kind) in [
        ("refresh-replay", Kind::RefreshReplayed),
        ("code-replay", Kind::CodeReplayed),
        ("code-replay", Kind::DeviceCodeReplayed),
    ] {
        let mut story = Story::of(rule);
        let payload = json!({"client": id(1)});
        for quiet in [Kind::RefreshRotated, Kind::CodeRedeemed, Kind::RefreshRetried] {
            assert!(story.tell(1, (quiet, id(2)), &payload, ("a", "curl")).is_empty());
        }
        let found = story.tell(1, (kind, id(2)), &payload, ("a", "curl"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].about.grant.unwrap().0, id(2));
        assert_eq!(found[0].about.client.unwrap().0, id(1));
    }
}

#[test]
fn three_code_mismatches_of_one_client_within_ten_minutes_fire() {
    let mismatch = |client| json!({"client": id(client), "grant": id(7), "reason": "pkce_mismatch", "error": "invalid_grant"});
    let mut story = Story::of("code-mismatch");
    // Of other clients, too seldom, and with codes that were never issued.
    let fired = [
        story.refused(0, &mismatch(1), "a"),
        story.refused(1, &mismatch(2), "a"),
        story.refused(11 * MINUTE, &mismatch(1), "a"),
        story.refused(1, &json!({"client": id(1), "reason": "pkce_mismatch"}), "a"),
        story.refused(
            1,
            &json!({"client": id(1), "grant": id(7), "reason": "code_expired"}),
            "a",
        ),
        story.refused(1, &mismatch(1), "a"),
    ];
    assert_eq!(fired, [0; 6]);
    story.restart();
    assert_eq!(story.refused(1, &mismatch(1), "b"), 1);
    assert_eq!(story.refused(1, &mismatch(1), "b"), 0, "it fired a moment ago");
}

#[test]
fn scope_probing_fires_at_the_fifth_refusal() {
    let mut story = Story::of("scope-probing");
    let probe = json!({"client": id(1), "error": "invalid_scope", "reason": "scope_not_allowed"});
    let other = json!({"client": id(1), "error": "invalid_grant", "reason": "code_expired"});
    let fired: Vec<usize> = [&probe, &other, &probe, &probe, &other, &probe, &probe]
        .iter()
        .map(|payload| story.refused(60, payload, "a"))
        .collect();
    assert_eq!(fired, [0, 0, 0, 0, 0, 0, 1]);
    // Links that anybody can write count for nothing, until somebody has logged in.
    let mut link = probe.clone();
    link["endpoint"] = json!("/oauth/authorize");
    let mut links = Story::of("scope-probing");
    assert!((0..20).all(|_| links.refused(1, &link, "a") == 0));
    let mut slow = Story::of("scope-probing");
    assert!((0..20).all(|_| slow.refused(3 * MINUTE, &probe, "a") == 0));
}

#[test]
fn scopes_probed_in_a_clients_name_are_told_and_only_its_own_are_acted_upon() {
    let refused = json!({"client": id(1), "error": "invalid_scope", "reason": "scope_not_allowed"});
    let probe = |story: &mut Story, method: Option<&str>, from: &str| {
        story.position += 1;
        story.at += chrono::TimeDelta::seconds(1);
        let metadata = json!({
            "actor": "anonymous", "endpoint": "/oauth/token", "request_id": id(9), "network": network(from),
            "authentication": method.map(|method| json!({"method": method})),
        });
        let event = story.read((Kind::RequestRefused, id(1)), &refused, &metadata);
        story.watching.observe(&event)
    };
    // A public client proves nothing, nor does whoever names a confidential one.
    for method in [None, Some("none")] {
        let mut story = Story::of("scope-probing");
        for from in ["attic", "cellar"] {
            let found: Vec<Finding> = (0..5).flat_map(|_| probe(&mut story, method, from)).collect();
            assert_eq!(found.len(), 1, "each network is counted by itself");
            assert!(!found[0].acts);
            assert_eq!(found[0].about.network, Some(network(from)));
        }
    }
    let mut story = Story::of("scope-probing");
    for _ in 0..4 {
        assert!(probe(&mut story, Some("client_secret_basic"), "attic").is_empty());
        assert!(
            probe(&mut story, None, "attic").is_empty(),
            "strangers add nothing"
        );
    }
    let found = probe(&mut story, Some("private_key_jwt"), "cellar");
    assert_eq!(found.len(), 1);
    assert!(found[0].acts && found[0].about.network.is_none());
}

#[test]
fn a_success_after_guesses_from_the_same_network_is_critical() {
    let wrong = json!({"client": id(1), "error": "invalid_client", "reason": "wrong_client_secret"});
    let mut story = Story::of("client-secret-brute-force");
    let told: usize = (0..9).map(|_| story.refused(5, &wrong, "attic")).sum();
    assert_eq!(told, 0);
    assert!(
        story.issued(1, "client_credentials", 1, "attic").is_empty(),
        "nine are not ten"
    );
    assert_eq!(story.refused(5, &wrong, "attic"), 1);
    assert!(
        story.issued(1, "client_credentials", 1, "office").is_empty(),
        "elsewhere"
    );
    assert!(
        story.issued(1, "client_credentials", 2, "attic").is_empty(),
        "another client"
    );
    story.restart();
    let broken = story.issued(1, "client_credentials", 1, "attic");
    assert_eq!(broken.len(), 1);
    assert!(broken[0].acts && broken[0].severity.is_some());
    assert!(
        story.issued(1, "client_credentials", 1, "attic").is_empty(),
        "once"
    );
}

#[test]
fn a_grant_used_from_three_new_networks_within_an_hour_fires() {
    let payload = json!({"client": id(1)});
    let rotate = |story: &mut Story, later, from: &str| {
        story
            .tell(later, (Kind::RefreshRotated, id(2)), &payload, (from, "curl"))
            .len()
    };
    let mut story = Story::of("grant-new-networks");
    let fired: Vec<usize> = ["a", "b", "a", "c", "b", "d"]
        .iter()
        .map(|from| rotate(&mut story, 10 * MINUTE, from))
        .collect();
    assert_eq!(fired, [0, 0, 0, 0, 0, 1]);
    let mut slow = Story::of("grant-new-networks");
    let names: Vec<String> = (0..10).map(|number| format!("{number}")).collect();
    assert!(names.iter().all(|from| rotate(&mut slow, 31 * MINUTE, from) == 0));
}

#[test]
fn a_grant_used_by_two_families_of_programs_fires() {
    let payload = json!({"client": id(1)});
    let mut story = Story::of("grant-new-agents");
    let tell = |story: &mut Story, grant, agent: &str| {
        story
            .tell(HOUR, (Kind::RefreshRotated, id(grant)), &payload, ("a", agent))
            .len()
    };
    assert_eq!(tell(&mut story, 1, "firefox"), 0);
    assert_eq!(tell(&mut story, 2, "curl"), 0, "another grant");
    assert_eq!(tell(&mut story, 1, "firefox"), 0);
    assert_eq!(tell(&mut story, 1, "curl"), 1);
}

fn at(mut event: Observed, latitude: f64, longitude: f64) -> Observed {
    event.place = Some(Place {
        latitude,
        longitude,
        radius: 20.0,
    });
    event
}

#[test]
fn two_logins_on_two_continents_within_an_hour_fire() {
    let mut story = Story::of("impossible-travel");
    let metadata = json!({"actor": "anonymous", "endpoint": "/", "request_id": id(9)});
    let mut login = |later: i64, session: u128, (latitude, longitude): (f64, f64)| {
        story.position += 1;
        story.at += chrono::TimeDelta::seconds(later);
        let payload = json!({"subject": id(3)});
        let event = story.read((Kind::SessionStarted, id(session)), &payload, &metadata);
        story.watching.observe(&at(event, latitude, longitude)).len()
    };
    let (berlin, hamburg, new_york) = ((52.5, 13.4), (53.6, 10.0), (40.7, -74.0));
    assert_eq!(login(0, 1, berlin), 0);
    assert_eq!(login(2 * HOUR, 2, hamburg), 0, "a train");
    assert_eq!(login(12 * HOUR, 3, new_york), 0, "a flight");
    assert_eq!(login(HOUR, 4, berlin), 1);
    assert_eq!(login(25 * HOUR, 5, new_york), 0, "beyond the window");
}

#[test]
fn five_users_who_give_a_young_client_a_restricted_scope_fire() {
    let mut story = Story::of("consent-burst");
    let scope = json!({"name": "files", "description": "", "restricted": true});
    let plain = json!({"name": "view", "description": "", "restricted": false});
    story.tell(0, (Kind::ScopeDefined, Scope::id("files")), &scope, ("", "curl"));
    story.tell(0, (Kind::ScopeDefined, Scope::id("view")), &plain, ("", "curl"));
    let metadata = json!({"metadata": {}});
    story.tell(0, (Kind::ClientRegistered, id(2)), &metadata, ("", "curl"));
    story.tell(20 * DAY, (Kind::ClientRegistered, id(1)), &metadata, ("", "curl"));
    let mut consent = |client, user, scope: &str| {
        let payload = json!({"client": id(client), "subject": id(user), "scope": [scope]});
        story
            .tell(60, (Kind::ConsentGiven, id(70)), &payload, ("a", "firefox"))
            .len()
    };
    let quiet: usize = (0..9)
        .map(|user| consent(2, user, "files") + consent(1, user, "view"))
        .sum();
    assert_eq!(quiet, 0, "an old client, and a scope for everybody");
    assert_eq!(
        (0..4).map(|_| consent(1, 0, "files")).sum::<usize>(),
        0,
        "one user"
    );
    let fired: Vec<usize> = (1..5).map(|user| consent(1, user, "files")).collect();
    assert_eq!(fired, [0, 0, 0, 1]);
}

#[test]
fn the_first_sensitive_consent_in_thirty_days_fires() {
    let mut story = Story::of("first-sensitive-consent");
    let scope = json!({"name": "files", "description": "", "restricted": true});
    story.tell(0, (Kind::ScopeDefined, Scope::id("files")), &scope, ("", "curl"));
    let mut consent = |later, scopes: &[&str]| {
        let payload = json!({"client": id(1), "subject": id(2), "scope": scopes});
        story
            .tell(later, (Kind::ConsentGiven, id(70)), &payload, ("a", "firefox"))
            .len()
    };
    assert_eq!(consent(0, &["view"]), 0);
    assert_eq!(consent(DAY, &["files", "view"]), 1);
    assert_eq!(consent(29 * DAY, &["files"]), 0);
    assert_eq!(consent(31 * DAY, &["files"]), 1);
}

#[test]
fn a_machine_at_a_network_that_was_unseen_for_two_weeks_fires() {
    let mut story = Story::of("machine-new-network");
    assert!(
        story.issued(0, "client_credentials", 1, "rack").is_empty(),
        "the first"
    );
    assert!(story.issued(DAY, "client_credentials", 1, "rack").is_empty());
    assert!(
        story.issued(1, "authorization_code", 1, "cafe").is_empty(),
        "a user's"
    );
    let found = story.issued(1, "client_credentials", 1, "cafe");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].about.network, Some(network("cafe")));
    assert!(
        story.issued(1, "client_credentials", 1, "cafe").is_empty(),
        "known by now"
    );
    assert_eq!(story.issued(15 * DAY, "client_credentials", 1, "rack").len(), 1);
}

#[test]
fn a_client_that_slept_for_ninety_days_fires() {
    let mut story = Story::of("dormant-client");
    assert!(story.issued(0, "client_credentials", 1, "a").is_empty());
    assert!(story.issued(89 * DAY, "client_credentials", 1, "a").is_empty());
    assert_eq!(story.issued(91 * DAY, "client_credentials", 1, "a").len(), 1);
    assert!(story.issued(1, "client_credentials", 1, "a").is_empty());
}

#[test]
fn far_more_tokens_than_at_the_same_hour_of_other_days_fire() {
    let mut story = Story::of("issuance-rate");
    let mut hour = |wait: i64, count: usize| -> usize {
        let first = story.issued(wait, "client_credentials", 1, "a").len();
        first
            + (1..count)
                .map(|_| story.issued(0, "client_credentials", 1, "a").len())
                .sum::<usize>()
    };
    assert_eq!(hour(0, 100), 0, "a hundred are not too many");
    for _ in 0..14 {
        // Each day of this hour has its fifty; the first had more.
        assert_eq!(hour(DAY, 50), 0);
    }
    assert_eq!(hour(DAY, 300), 0, "six times the median");
    assert_eq!(hour(DAY, 301), 1);
    assert_eq!(hour(0, 100), 0, "once an hour");
}

#[test]
fn wrong_passwords_for_ten_users_from_one_network_fire() {
    let wrong = |user| json!({"subject": id(user), "reason": "wrong_password", "error": "invalid_login"});
    let mut story = Story::of("password-spray");
    assert_eq!(
        (0..30).map(|_| story.refused(1, &wrong(1), "a")).sum::<usize>(),
        0,
        "one user"
    );
    let fired: Vec<usize> = (1..11).map(|user| story.refused(5, &wrong(user), "b")).collect();
    assert_eq!(fired, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let mut slow = Story::of("password-spray");
    assert!((0..30).all(|user| slow.refused(2 * MINUTE, &wrong(user), "a") == 0));
    let nobody = json!({"reason": "unknown_user", "error": "invalid_login"});
    assert_eq!((0..10).map(|_| slow.refused(1, &nobody, "z")).sum::<usize>(), 1);
}

#[test]
fn five_wrong_passwords_of_one_user_fire() {
    let wrong = |user| json!({"subject": id(user), "reason": "wrong_password", "error": "invalid_login"});
    let mut story = Story::of("password-guessing");
    let fired: Vec<usize> = [1, 2, 1, 1, 2, 1, 1]
        .iter()
        .map(|user| story.refused(30, &wrong(*user), "a"))
        .collect();
    assert_eq!(fired, [0, 0, 0, 0, 0, 0, 1]);
    assert!((0..9).all(|_| story.refused(4 * MINUTE, &wrong(3), "a") == 0));
}

#[test]
fn ten_wrong_user_codes_from_one_network_fire() {
    let wrong = json!({"reason": "user_code_unknown", "error": "x"});
    let mut story = Story::of("device-code-guessing");
    let fired: Vec<usize> = (0..10).map(|_| story.refused(20, &wrong, "a")).collect();
    assert_eq!(fired.iter().sum::<usize>(), 1);
    let from: Vec<String> = (0..20).map(|number| format!("{number}")).collect();
    assert!(from.iter().all(|from| story.refused(1, &wrong, from) == 0));
}

#[test]
fn a_device_that_is_elsewhere_than_its_approver_fires() {
    let mut story = Story::of("device-approver-mismatch");
    let mut device = |grant, approver: &str, poller: &str| {
        let approved = (Kind::DeviceAuthorizationApproved, id(grant));
        story.tell(1, approved, &json!({"subject": id(3)}), (approver, "firefox"));
        let redeemed = (Kind::DeviceCodeRedeemed, id(grant));
        story
            .tell(1, redeemed, &json!({"client": id(1)}), (poller, "curl"))
            .len()
    };
    assert_eq!(device(1, "home", "home"), 0);
    assert_eq!(device(2, "home", "far"), 1);
}

#[test]
fn a_client_that_was_changed_and_comes_from_elsewhere_fires() {
    let registered =
        |uri: &str| json!({"client_id": "c", "metadata": {"redirect_uris": [uri], "scope": ["view"]}});
    let changed = |story: &mut Story, kind, payload: &Value| {
        story.tell(60, (kind, id(1)), payload, ("admin", "curl")).len()
    };
    let mut story = Story::of("client-changed");
    changed(
        &mut story,
        Kind::ClientRegistered,
        &registered("https://a.example/"),
    );
    changed(&mut story, Kind::ClientSecretAdded, &json!({"number": 1}));
    assert!(story.issued(0, "client_credentials", 1, "rack").is_empty());
    assert!(
        story.issued(DAY, "client_credentials", 1, "other").is_empty(),
        "unchanged"
    );
    changed(&mut story, Kind::ClientUpdated, &registered("https://a.example/"));
    assert!(
        story.issued(1, "client_credentials", 1, "third").is_empty(),
        "the same again"
    );
    changed(&mut story, Kind::ClientUpdated, &registered("https://b.example/"));
    assert!(
        story.issued(1, "client_credentials", 1, "rack").is_empty(),
        "a known network"
    );
    let found = story.issued(1, "client_credentials", 1, "fourth");
    assert_eq!(found.len(), 1);
    changed(&mut story, Kind::ClientSecretAdded, &json!({"number": 2}));
    assert!(
        story
            .issued(25 * HOUR, "client_credentials", 1, "fifth")
            .is_empty(),
        "a day later"
    );
    changed(&mut story, Kind::ClientSecretAdded, &json!({"number": 3}));
    assert_eq!(story.issued(HOUR, "client_credentials", 1, "sixth").len(), 1);
}

#[test]
fn thresholds_and_windows_of_a_policy_are_honoured() {
    let settings = PolicySettings {
        threshold: Some(2),
        window_seconds: Some(10),
        ..PolicySettings::default()
    };
    let probe = json!({"client": id(1), "error": "invalid_scope", "reason": "scope_not_allowed"});
    let mut story = Story::set("scope-probing", &settings);
    assert_eq!(
        [11, 11, 9].map(|later| story.refused(later, &probe, "a")),
        [0, 0, 1]
    );
}
