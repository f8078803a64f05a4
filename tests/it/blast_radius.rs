//! `grantlog blast-radius`: what it could do and what it did, with the facts behind it.

mod followed;

pub(crate) use followed::{radius, request_of};

use std::collections::BTreeMap;

use grantlog::domain::client::{ExchangeMode, ExchangeRule};
use grantlog::domain::value::ScopeSet;
use serde_json::{Value, json};

use crate::command_line::{finish, grantlog_on, stdout};
use crate::harness::TestServer;
use crate::policies::events;
use crate::token::{Party, text};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A shop with two grants of one user, of which one was renewed and used, and a service that exchanged one of its tokens.
struct Story {
    shop: Party,
    service: grantlog::ids::ClientKey,
    service_secret: String,
    /// Of the grant that did everything: the first refresh token, and the access tokens in order.
    refresh: String,
    access: Vec<String>,
    grant: String,
}

impl Story {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let shop = Party::on(
            server,
            json!({"client_id": "shop", "scope": "view-user server-operations"}),
        )
        .await;
        let server = &shop.server;
        let service = server
            .client(json!({
                "client_id": "service", "client_name": "Service", "scope": "view-user", "audience": [server.base],
                "introspects": [server.base],
                "grant_types": ["client_credentials", EXCHANGE],
            }))
            .await;
        let rule = ExchangeRule {
            subject_client: shop.key,
            mode: ExchangeMode::Impersonation,
            scope: ScopeSet::parse("view-user").unwrap(),
            audience: vec![server.base.clone()],
        };
        let operations = &server.app.operations;
        let context = TestServer::context();
        operations
            .allow_exchange(&context, service.key, rule)
            .await
            .unwrap();

        let (_, other) = shop.redeem(&shop.code("view-user").await).await;
        let (_, first) = shop.redeem(&shop.code("view-user").await).await;
        let (_, second) = shop.refresh(text(&first, "refresh_token")).await;
        let access: Vec<String> = [&first, &second, &other]
            .map(|tokens| text(tokens, "access_token").to_owned())
            .into();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", EXCHANGE),
                ("subject_token", &access[1]),
                (
                    "subject_token_type",
                    "urn:ietf:params:oauth:token-type:access_token",
                ),
            ])
            .finish();
        let exchanged = shop
            .http
            .post(server.url("/oauth/token"))
            .basic_auth("service", service.client_secret.as_ref())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .unwrap();
        assert_eq!(exchanged.status(), 200, "{}", exchanged.text().await.unwrap());
        for _ in 0..3 {
            assert_eq!(shop.api("/api/user", &access[1]).await.0, 200);
        }
        server.app.uses.write_down(&server.app.ledger).await.unwrap();
        let (grant, _) = events(server, "RefreshRotated").await.remove(0);
        Self {
            service: service.key,
            service_secret: service.client_secret.unwrap(),
            refresh: text(&first, "refresh_token").to_owned(),
            access,
            grant: grant.to_string(),
            shop,
        }
    }

    async fn of(&self, of: &str, value: &str, more: &[&str]) -> Value {
        let mut command = grantlog_on(&self.shop.server.database);
        command
            .args(["blast-radius", "--of", of, value, "--json"])
            .args(more);
        serde_json::from_str(&stdout(&finish(command, None).await)).unwrap()
    }
}

/// How often each type of event happened.
fn did(found: &Value) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for fact in found["did"]["events"].as_array().unwrap() {
        let positions = fact["positions"].as_array().unwrap();
        assert_eq!(positions.len() as u64, fact["count"].as_u64().unwrap());
        *counts.entry(text(fact, "event_type")).or_default() += fact["count"].as_u64().unwrap();
    }
    counts
}

fn count(found: &Value, member: &str) -> usize {
    found["could"][member].as_array().unwrap().len()
}

fn uses(found: &Value) -> i64 {
    let uses = found["did"]["uses"].as_array().unwrap();
    uses.iter().map(|one| one["count"].as_i64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_blast_radius_is_what_came_of_it_and_nothing_besides() {
    let story = Story::new().await;
    // No node follows the ledger here: the command brings the tables up to the head itself.
    let of_refresh = story.of("token", &story.refresh, &[]).await;
    assert_eq!(
        count(&of_refresh, "access_tokens"),
        3,
        "two of its own, one exchanged"
    );
    assert_eq!(count(&of_refresh, "refresh_tokens"), 2);
    let done = did(&of_refresh);
    assert_eq!(
        (
            done.get("TokenIssued"),
            done.get("RefreshRotated"),
            done.get("TokenExchanged")
        ),
        (Some(&2), Some(&1), Some(&1)),
        "{done:?}"
    );
    assert_eq!(done.get("CodeIssued"), None, "the code was before it");
    assert_eq!(uses(&of_refresh), 3);
    assert_eq!(of_refresh["could"]["scopes"], json!(["view-user"]));
    assert_eq!(of_refresh["could"]["audiences"], json!([story.shop.server.base]));
    let powers = &of_refresh["could"]["exchanges"];
    assert_eq!(powers[0]["client"], story.service.to_string());

    let of_access = story.of("token", &story.access[1], &[]).await;
    assert_eq!(
        count(&of_access, "access_tokens"),
        2,
        "itself, and the exchanged one"
    );
    assert_eq!(count(&of_access, "refresh_tokens"), 0);
    assert_eq!(did(&of_access).get("TokenExchanged"), Some(&1));
    let first = story.of("token", &story.access[0], &[]).await;
    assert_eq!(
        (
            count(&first, "access_tokens"),
            first["did"]["exchanged"].as_array().unwrap().len()
        ),
        (1, 0)
    );

    // What is pasted is digested: neither on the trail nor in the answer. That it was asked is.
    let reads = events(&story.shop.server, "LedgerRead").await;
    assert_eq!(reads.len(), 3);
    assert_eq!(reads[0].1["grant"], story.grant);
    assert_eq!(reads[0].1["filters"], json!(["token"]));
    assert!(!of_refresh.to_string().contains(&story.refresh));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_a_user_a_secret_an_address_and_an_act_have_theirs() {
    let story = Story::new().await;
    let server = &story.shop.server;
    let of_client = story.of("client", "shop", &[]).await;
    assert_eq!(
        count(&of_client, "access_tokens"),
        4,
        "three of its own, one exchanged"
    );
    assert_eq!(
        (count(&of_client, "refresh_tokens"), count(&of_client, "codes")),
        (3, 2)
    );
    let power = &of_client["could"]["clients"][0];
    assert_eq!(power["client_id"], "shop");
    assert_eq!(power["scope"], json!(["server-operations", "view-user"]));
    let done = did(&of_client);
    let expected = [
        ("ClientRegistered", 1),
        ("CodeRedeemed", 2),
        ("RefreshRotated", 1),
        ("TokenExchanged", 1),
    ];
    for (event, times) in expected {
        assert_eq!(done.get(event), Some(&times), "{event}: {done:?}");
    }
    assert_eq!(uses(&of_client), 3);

    let of_user = story.of("user", "ada", &[]).await;
    assert_eq!((count(&of_user, "access_tokens"), uses(&of_user)), (4, 3));
    assert_eq!(did(&of_user).get("UserRegistered"), Some(&1));

    for (value, more) in [
        (story.shop.secret.as_str(), vec![]),
        ("shop", vec!["--number", "1"]),
    ] {
        let of_secret = story.of("secret", value, &more).await;
        assert_eq!(did(&of_secret).get("RefreshRotated"), Some(&1));
        assert_eq!(
            did(&of_secret).get("ClientRegistered"),
            None,
            "nobody authenticated with it for that"
        );
        assert_eq!(of_secret["could"]["clients"][0]["client_id"], "shop");
    }
    let none = story.of("secret", "shop", &["--number", "2"]).await;
    assert!(did(&none).is_empty() && count(&none, "access_tokens") == 0);

    let here = story.of("address", "127.0.0.1", &[]).await;
    assert_eq!((did(&here).get("RefreshRotated"), uses(&here)), (Some(&1), 3));
    let elsewhere = story.of("address", "192.0.2.1", &[]).await;
    assert!(did(&elsewhere).is_empty() && uses(&elsewhere) == 0);

    // An administrator's act: what it changed, and what was issued on it since.
    let request: String = sqlx::query_scalar(
        "SELECT metadata->>'request_id' FROM grantlog.ledger_client WHERE event_type = 'ExchangeAllowed'",
    )
    .fetch_one(server.app.ledger.pool())
    .await
    .unwrap();
    let act = story.of("request", &request, &[]).await;
    assert_eq!(act["clients"], json!([story.service]));
    assert_eq!(did(&act).get("ExchangeAllowed"), Some(&1));
    assert_eq!(did(&act).get("ClientRegistered"), None, "it was before the act");
    assert_eq!(did(&act).get("TokenExchanged"), Some(&1));

    // Between two moments: before everything there is nothing, and a stretch that cannot be is refused.
    let before = story
        .of(
            "client",
            "shop",
            &["--until", "2026-01-02", "--since", "2026-01-01"],
        )
        .await;
    assert!(did(&before).is_empty() && count(&before, "access_tokens") == 0 && uses(&before) == 0);
    // A stretch by positions has both of them, and nothing else that was recorded at the same moment.
    let rotated: i64 =
        sqlx::query_scalar("SELECT position FROM grantlog.ledger_grant WHERE event_type = 'RefreshRotated'")
            .fetch_one(server.app.ledger.pool())
            .await
            .unwrap();
    let (at, next) = (rotated.to_string(), (rotated + 1).to_string());
    let one = story
        .of("client", "shop", &["--since", &at, "--until", &at])
        .await;
    assert_eq!(did(&one), BTreeMap::from([("RefreshRotated", 1)]));
    assert_eq!(
        (&one["first_position"], &one["last_position"]),
        (&json!(rotated), &json!(rotated))
    );
    let mixed = story
        .of("client", "shop", &["--since", "2h", "--until", &at])
        .await;
    assert_eq!(did(&mixed).get("RefreshRotated"), Some(&1));

    for (since, until, why) in [
        ("1h", "2h", "is not after --since"),
        (&next, &at, "no position from --since to --until"),
        (&at, "999999", "the ledger ends at position"),
        ("yesterday", &at, "nor a position"),
    ] {
        let mut command = grantlog_on(&server.database);
        command.args([
            "blast-radius",
            "--of",
            "client",
            "shop",
            "--since",
            since,
            "--until",
            until,
        ]);
        let refused = finish(command, None).await;
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains(why), "{said}");
    }
}

/// The counts of uses that have something in common: of whose tokens, asked about by whom, how often, of how many grants.
fn counts(found: &Value, member: &str) -> Vec<Value> {
    let counts = found["did"][member].as_array().unwrap().iter();
    let mut counts: Vec<Value> = counts
        .map(|one| json!([one["client"], one["asked_by"], one["count"], one["grants"]]))
        .collect();
    counts.sort_by_key(ToString::to_string);
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_told_for_each_client_and_network_and_so_are_questions_about_the_tokens_of_others() {
    let story = Story::new().await;
    let server = &story.shop.server;
    assert_eq!(story.shop.api("/api/user", &story.access[2]).await.0, 200);
    for _ in 0..2 {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("token", &story.access[2])
            .finish();
        let asked = story
            .shop
            .http
            .post(server.url("/oauth/introspect"))
            .basic_auth("service", Some(&story.service_secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer: Value = asked.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["active"], true, "{answer}");
    }
    server.app.uses.write_down(&server.app.ledger).await.unwrap();
    let (shop, service) = (json!(story.shop.key), json!(story.service));
    let here = story.of("address", "127.0.0.1", &[]).await;
    assert_eq!(counts(&here, "uses_by_client"), [json!([shop, null, 6, 2])]);
    assert_eq!(counts(&here, "uses_by_network"), [json!([null, null, 6, 2])]);
    let expected = [json!([shop, service, 2, 1]), json!([shop, null, 4, 2])];
    assert_eq!(counts(&here, "uses"), expected);
    let network = &here["did"]["uses_by_network"][0]["network"];
    assert!(
        here["did"]["events"]
            .as_array()
            .unwrap()
            .iter()
            .any(|fact| &fact["network"] == network)
    );
    // What a client asked is what it did, whosever the tokens are.
    let of_service = story.of("client", "service", &[]).await;
    assert_eq!(counts(&of_service, "uses"), [json!([shop, service, 2, 1])]);
    let of_shop = story.of("client", "shop", &[]).await;
    assert_eq!(counts(&of_shop, "uses"), expected);
    let elsewhere = story.of("address", "192.0.2.1", &[]).await;
    assert!(
        ["uses", "uses_by_client", "uses_by_network"]
            .iter()
            .all(|member| counts(&elsewhere, member).is_empty())
    );

    let mut command = grantlog_on(&server.database);
    command.args(["blast-radius", "--of", "address", "127.0.0.1"]);
    let printed = stdout(&finish(command, None).await);
    for line in [format!("client {}", story.shop.key), "TOKENS OF".to_owned()] {
        assert!(printed.contains(&line), "{printed}");
    }
}
