//! Rules over what others wrote down: refusals and uses that were counted, and changes of a client's credentials.

use super::*;
use crate::policy::rule::Finding;

#[test]
fn a_hundred_unrecorded_refusals_of_one_network_within_ten_minutes_fire() {
    let suppressed =
        |count: u64, from: &str| json!({"count": count, "network": network(from), "class": "other"});
    let mut story = Story::of("refusals-suppressed");
    let mut tell = |later: i64, count: u64, from: &str| {
        // A node counts; the network in the metadata would be its own.
        let event = (Kind::RefusalsSuppressed, id(99));
        story.tell(later, event, &suppressed(count, from), ("server", "curl"))
    };
    assert!(tell(0, 99, "attic").is_empty());
    assert!(tell(1, 99, "cellar").is_empty(), "another network");
    assert!(tell(10 * MINUTE, 1, "attic").is_empty(), "ten minutes later");
    let found = tell(MINUTE, 99, "attic");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].count, found[0].evidence.len()), (100, 2));
    assert_eq!(found[0].about.network, Some(network("attic")));
    assert!(tell(MINUTE, 500, "attic").is_empty(), "it fired a moment ago");
    story.restart();
    let unnamed = (Kind::RefusalsSuppressed, id(99));
    let found = story.tell(1, unnamed, &json!({"count": 100}), ("server", "curl"));
    assert_eq!(found.len(), 1, "of an earlier build, or of too many sources");
}

fn uses(story: &mut Story, late: i64, counts: &[(u128, &str, Option<u128>)]) -> Vec<Finding> {
    let first = story.at;
    let uses: Vec<Value> = counts
        .iter()
        .map(|(grant, from, asked_by)| {
            json!({
                "grant": id(*grant), "client": id(1), "subject": id(3), "asked_by": asked_by.map(id),
                "network": network(from), "endpoint": "/oauth/userinfo", "count": 2, "first": first, "last": first,
            })
        })
        .collect();
    let payload = json!({"hour": first, "uses": uses});
    story.tell(late, (Kind::TokenUseCounted, id(60)), &payload, ("", "curl"))
}

#[test]
fn a_grants_tokens_used_at_userinfo_from_three_new_networks_fire() {
    let mut story = Story::of("grant-new-networks");
    let issued = (Kind::TokenIssued, id(2));
    let payload = json!({"client": id(1), "subject": id(3), "flow": "authorization_code"});
    assert!(story.tell(0, issued, &payload, ("home", "curl")).is_empty());
    assert!(
        uses(
            &mut story,
            60,
            &[(2, "home", None), (2, "a", None), (2, "b", Some(8))]
        )
        .is_empty()
    );
    assert!(
        uses(&mut story, 60, &[(7, "c", None), (7, "d", None)]).is_empty(),
        "another grant"
    );
    let found = uses(&mut story, 60, &[(2, "c", None), (2, "d", None), (2, "e", None)]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].about.grant.unwrap().0, id(2));
    assert_eq!(found[0].about.subject.unwrap().0, id(3));
    assert_eq!(
        (found[0].count, found[0].evidence.as_slice()),
        (3, [2, 4].as_slice())
    );
}

#[test]
fn uses_that_are_written_down_late_count_when_they_were() {
    let mut story = Story::of("grant-new-networks");
    // Each an hour after the one before, though two are written down at once.
    let counts = |story: &mut Story, hour: i64, from: &str| {
        let first = story.at + chrono::TimeDelta::seconds(hour * HOUR);
        json!({
            "grant": id(2), "client": id(1), "subject": id(3), "network": network(from), "endpoint": "/api/user",
            "count": 1, "first": first, "last": first,
        })
    };
    let all: Vec<Value> = (0..6)
        .map(|hour| counts(&mut story, hour, &format!("net {hour}")))
        .collect();
    let payload = json!({"hour": story.at, "uses": all});
    let event = (Kind::TokenUseCounted, id(60));
    assert!(story.tell(6 * HOUR, event, &payload, ("", "curl")).is_empty());
    // What is of the month before is not compared with this month's digests.
    story.at = "2026-04-01T00:00:01Z".parse().unwrap();
    assert!(uses(&mut story, 1, &[(2, "april", None)]).is_empty());
    story.at = "2026-03-31T23:59:00Z".parse().unwrap();
    assert!(uses(&mut story, 90, &[(2, "x", None), (2, "y", None), (2, "z", None)]).is_empty());
    assert!(
        uses(&mut story, 1, &[(2, "april", None)]).is_empty(),
        "and that is not forgotten"
    );
}

#[test]
fn other_keys_of_a_client_and_an_approved_scope_are_changes() {
    let with = |member: &str, value: Value| {
        let mut metadata = json!({
            "redirect_uris": [], "scope": ["view"], "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [1]},
        });
        metadata[member] = value;
        (Kind::ClientUpdated, json!({"metadata": metadata}))
    };
    let changes = [
        with("jwks", json!({"keys": [2]})),
        with("jwks_uri", json!("https://elsewhere.example/jwks")),
        with("tls_client_auth", json!({"san_dns": "elsewhere.example"})),
        with("token_endpoint_auth_method", json!("none")),
        (Kind::ScopeApproved, json!({"scope": "files", "reason": ""})),
    ];
    for (kind, payload) in changes {
        let mut story = Story::of("client-changed");
        let (_, registered) = with("scope", json!(["view"]));
        let admin = ("admin", "curl");
        story.tell(0, (Kind::ClientRegistered, id(1)), &registered, admin);
        let approved = json!({"scope": "view", "reason": ""});
        story.tell(0, (Kind::ScopeApproved, id(1)), &approved, admin);
        assert!(story.issued(1, "client_credentials", 1, "rack").is_empty());
        assert!(
            story.issued(1, "client_credentials", 1, "rack 2").is_empty(),
            "how it began is no change"
        );
        story.tell(1, (kind, id(1)), &payload, admin);
        story.restart();
        assert_eq!(
            story.issued(HOUR, "client_credentials", 1, "far").len(),
            1,
            "{payload}"
        );
    }
}
