//! Who looked at whom, and on whose behalf: reading is on the trail with what was read.

use grantlog::domain::network::{Network, NetworkCommand, NetworkThrottled};
use grantlog::ledger::network_of;
use serde_json::{Value, json};

use super::{Administered, error};
use crate::command_line::{finish, grantlog_on, stdout};
use crate::harness::TestServer;
use crate::token::text;

const NONE: (&[(&str, &str)], &str) = (&[], "");

/// A call on somebody's behalf, with its status.
async fn on_behalf_of(
    administered: &Administered,
    (method, path): (&str, &str),
    operators: &[&str],
    body: Option<Value>,
) -> u16 {
    let token = administered.token("admin").await;
    let party = &administered.party;
    let method = method.parse().unwrap();
    let mut request = party.http.request(method, party.server.url(path));
    for operator in operators {
        request = request.header("grantlog-operator", operator.as_bytes());
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.bearer_auth(token).send().await.unwrap();
    response.status().as_u16()
}

async fn run(server: &TestServer, arguments: &[&str]) -> String {
    let mut command = grantlog_on(&server.database);
    command.args(arguments);
    stdout(&finish(command, None).await)
}

/// What a search finds: the endpoints and the operators, the oldest first.
async fn found(administered: &Administered, query: &str) -> Vec<(String, Value)> {
    let query = format!("?event=LedgerRead&order=oldest&{query}");
    let page = administered.done("searchTrail", (&[], &query), None).await;
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let endpoint = text(&item["metadata"], "endpoint").to_owned();
            (endpoint, item["operator"]["name"].clone())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looked_at_a_user_or_a_client_is_found_with_the_person_behind_it() {
    let administered = Administered::new().await;
    let party = &administered.party;
    let server = &party.server;
    let (sub, client) = (party.subject.to_string(), party.client_id.clone());
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let user = format!("/admin/users/{sub}");
    let zoe = ["Zoë Ünal"];
    assert_eq!(on_behalf_of(&administered, ("GET", &user), &zoe, None).await, 200);
    let lookup = Some(json!({"user": "ada"}));
    let by_name = ("POST", "/admin/users/lookup");
    assert_eq!(on_behalf_of(&administered, by_name, &zoe, lookup).await, 200);
    run(server, &["--operator", "Max", "user", "show", "ada", "--json"]).await;
    let shown = run(
        server,
        &["--operator", "Max", "client", "show", &client, "--json"],
    )
    .await;
    assert!(shown.contains(&client));
    run(server, &["--operator", "Max", "user", "list", "--json"]).await;
    // A grant of the user: its reader looked at the user, too.
    let credential = text(&tokens, "access_token");
    run(
        server,
        &["--operator", "Max", "grant", "show", credential, "--json"],
    )
    .await;

    let zoe = json!("Zoë Ünal");
    let max = json!("Max");
    let at_user = [
        ("/admin/users/{sub}", &zoe),
        ("/admin/users/lookup", &zoe),
        ("user show", &max),
        ("grant show", &max),
    ];
    let expected: Vec<(String, Value)> = at_user
        .iter()
        .map(|(endpoint, who)| ((*endpoint).to_owned(), (*who).clone()))
        .collect();
    assert_eq!(found(&administered, &format!("user={sub}")).await, expected);
    let searched = run(
        server,
        &[
            "audit",
            "search",
            "--json",
            "--by-operator",
            "Zoë Ünal",
            "--user",
            "ada",
        ],
    )
    .await;
    assert_eq!(
        searched.lines().count(),
        2,
        "the API's calls are found by name: {searched}"
    );
    let at_client = found(&administered, &format!("client={client}&actor=command_line")).await;
    let endpoints: Vec<&str> = at_client.iter().map(|(endpoint, _)| endpoint.as_str()).collect();
    assert_eq!(endpoints, ["client show", "grant show"]);
    assert_eq!(
        found(&administered, "operator=Zo%C3%AB%20%C3%9Cnal").await,
        expected[..2]
    );
    let both = found(&administered, "operator=Max").await;
    assert_eq!(both.len(), 4, "{both:?}");
    // The name is nowhere in clear.
    let clear = "payload::text || metadata::text LIKE ANY (ARRAY['%Zo%nal%', '%Max%'])";
    assert_eq!(administered.count(clear).await, 0);
    for wrong in [&["a", "b"][..], &[" "], &["a\tb"]] {
        let status = on_behalf_of(&administered, ("GET", &user), wrong, None).await;
        assert_eq!(status, 400, "{wrong:?}");
    }
    // What the blast radius tells of a user is what the user did.
    let of_user = json!({"of": "user", "value": "ada", "since": "2h"});
    let radius = administered.done("measureBlastRadius", NONE, Some(of_user)).await;
    let events = radius["did"]["events"].as_array().unwrap();
    assert!(
        !events.is_empty() && !radius["did"].to_string().contains("LedgerRead"),
        "{radius}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_changes_nothing_is_on_the_trail_with_its_reason() {
    let administered = Administered::new().await;
    let party = &administered.party;
    let reads = async |endpoint: &str, note: &str| {
        let by = format!("metadata->>'actor' = 'client:{}'", party.key);
        let of = format!("metadata->>'endpoint' = '{endpoint}' AND metadata->>'note' = '{note}'");
        let condition = format!("event_type = 'LedgerRead' AND {by} AND {of}");
        administered.count(&condition).await
    };
    party
        .server
        .client(json!({"client_name": "Idle", "client_id": "idle",
            "grant_types": ["client_credentials"], "scope": "view-user"}))
        .await;
    let contain = |since: &str| json!({"by": "client", "value": "idle", "since": since, "reason": "a rumour", "dry_run": false});
    // A day, and so long ago, as on the command line.
    for since in ["2h", "2020-02-02"] {
        let done = administered.done("contain", NONE, Some(contain(since))).await;
        assert_eq!(done["grants"], json!([]));
    }
    let (status, refused) = administered
        .call("contain", NONE, Some(contain("2999-01-01")))
        .await;
    assert_eq!((status, error(&refused)), (400, "validation_error"));
    assert!(
        text(&refused, "message").contains("is in the future"),
        "{refused}"
    );
    assert_eq!(reads("/admin/contain", "a rumour").await, 2);
    let path: &[(&str, &str)] = &[("rule", "scope-probing")];
    let setting = || Some(json!({"action": "alert", "threshold": 41, "reason": "as agreed"}));
    for _ in 0..2 {
        administered.done("enablePolicy", (path, ""), setting()).await;
    }
    assert_eq!(reads("/admin/policies/{rule}/enable", "as agreed").await, 1);
    let backtest = json!({"rules": ["scope-probing"], "since": "1d"});
    administered.done("backtestPolicies", NONE, Some(backtest)).await;
    let page = administered
        .done("searchTrail", (&[], "?event=RequestRefused"), None)
        .await;
    let shown = json!({"events": page["items"], "threshold": 1});
    let probing: &[(&str, &str)] = &[("rule", "scope-probing")];
    let tested = administered.done("testPolicy", (probing, ""), Some(shown)).await;
    assert_eq!(tested["events"], json!(page["items"].as_array().unwrap().len()));
    let (status, refused) = administered
        .call(
            "testPolicy",
            (probing, ""),
            Some(json!({"events": [{"position": 1}]})),
        )
        .await;
    assert_eq!((status, error(&refused)), (400, "validation_error"));
    let nothing: &[(&str, &str)] = &[("rule", "nothing")];
    let (status, _) = administered
        .call("testPolicy", (nothing, ""), Some(json!({"events": []})))
        .await;
    assert_eq!(status, 404);
    let uses = format!("?client={}&since=14d", party.client_id);
    administered.done("listTokenUses", (&[], &uses), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_network_is_listed_and_let_go_by_its_digest_or_an_address() {
    let administered = Administered::new().await;
    let ledger = &administered.party.server.app.ledger;
    let now = ledger.clock().now();
    let month = grantlog::crypto::vault::month(now);
    let network = network_of("198.51.100.7".parse().unwrap());
    let network = ledger.vault().master().network_digest(&month, &network);
    let throttle = async |minutes| {
        let context = TestServer::context();
        let mut unit = ledger.unit_of_work(&context);
        let state = unit.load::<Network>(Network::id(&network)).await.unwrap();
        let throttled = NetworkThrottled {
            network,
            per_minute: 5,
            until: now + chrono::TimeDelta::minutes(minutes),
            reason: "a spray of passwords".to_owned(),
        };
        let decision = state.decide(&NetworkCommand::Throttle(throttled));
        unit.conclude(&state, decision).await.unwrap().unwrap();
    };
    let digest = network.to_string();
    let listed = async || administered.done("listThrottledNetworks", NONE, None).await["items"].clone();
    let because = || Some(json!({"reason": "a school"}));
    throttle(30).await;
    assert_eq!(listed().await[0]["network"], digest.as_str());
    let path: &[(&str, &str)] = &[("network", &digest)];
    let left = administered.done("releaseNetwork", (path, ""), because()).await;
    assert_eq!(left["items"], json!([]));
    let (status, refused) = administered.call("releaseNetwork", (path, ""), because()).await;
    assert_eq!((status, error(&refused)), (409, "conflict"));
    throttle(60).await;
    let of = |address: &str| Some(json!({"address": address, "reason": "a school"}));
    let release = "releaseNetworkOfAddress";
    assert_eq!(administered.call(release, NONE, of("192.0.2.1")).await.0, 404);
    let left = administered.done(release, NONE, of("198.51.100.99")).await;
    assert_eq!(left["items"], json!([]));
    let releases = "event_type = 'NetworkThrottleLifted' AND payload->>'reason' = 'a school'";
    assert_eq!(administered.count(releases).await, 2);
}
