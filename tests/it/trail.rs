//! Searching the trail, and a grant's whole life, as auditors ask for them.

mod parquet;
mod standing;

use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::Duration;

use grantlog::domain::client::{ExchangeMode, ExchangeRule};
use grantlog::domain::value::ScopeSet;
use serde_json::{Value, json};

use crate::command_line::{finish, grantlog_on, stdout};
use crate::harness::TestServer;
use crate::policies::{alerts, probe, watch};
use crate::token::{Party, text};
use crate::users::{approve, own_token};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

async fn run(server: &TestServer, arguments: &[&str]) -> Output {
    let mut command = grantlog_on(&server.database);
    command.args(arguments);
    finish(command, None).await
}

/// The events that a search prints.
async fn search(server: &TestServer, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = ["audit", "search", "--json"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let printed = stdout(&run(server, &arguments).await);
    let lines = printed.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

fn positions(events: &[Value]) -> Vec<i64> {
    let position = |event: &Value| event["position"].as_i64().unwrap();
    events.iter().map(position).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| text(event, "event_type")).collect()
}

/// How many events there are of which something is true.
async fn count(server: &TestServer, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM grantlog.ledger WHERE {condition}");
    let owner = server.database.owner().await;
    sqlx::query_scalar(&sql).fetch_one(&owner).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_combines_its_filters_in_pages_and_files() {
    let party = Party::new().await;
    let server = &party.server;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    // Half of it is indexed, the rest is not.
    server.settle().await;
    party.refresh(text(&tokens, "refresh_token")).await;
    let form = [("grant_type", "client_credentials"), ("scope", "detail-user")];
    assert_eq!(party.post("/oauth/token", &form).await.0, 400);
    let suspend = [
        "--operator",
        "Eve Example",
        "client",
        "suspend",
        &party.client_id,
        "--reason",
        "leaked key",
    ];
    assert!(run(server, &suspend).await.status.success());

    let both = [
        "--client",
        &party.client_id,
        "--event",
        "RefreshRotated",
        "--event",
        "TokenIssued",
    ];
    let issued = search(server, &both).await;
    assert_eq!(
        types(&issued),
        ["RefreshRotated", "TokenIssued"],
        "the newest first"
    );
    let from_here = search(server, &["--address", "127.0.0.1", "--user", "ada", "--reveal"]).await;
    assert_eq!(
        types(&from_here),
        ["RefreshRotated", "TokenIssued", "CodeRedeemed"]
    );
    assert_eq!(from_here[0]["caller"]["address"], "127.0.0.1");
    assert!(search(server, &["--address", "192.0.2.1"]).await.is_empty());
    let refused = search(server, &["--reason", "Scope_NOT approved"]).await;
    assert_eq!(types(&refused), ["RequestRefused"]);
    let request = text(&refused[0]["metadata"], "request_id").to_owned();
    assert_eq!(
        positions(&search(server, &["--request", &request]).await),
        positions(&refused)
    );
    let done = search(server, &["--by-operator", "Eve Example"]).await;
    assert_eq!(types(&done), ["ClientSuspended"]);
    assert!(search(server, &["--by-operator", "Eve"]).await.is_empty());

    // Pages, from either end, are the whole.
    let client = ["--client", party.client_id.as_str()];
    let all = search(server, &[&client[..], &["--oldest-first"]].concat()).await;
    assert!(all.len() > 5 && positions(&all).is_sorted());
    // Not the searches themselves, which concern the client, too.
    let upto = positions(&all).last().unwrap().to_string();
    let client = [&client[..], &["--to", &upto]].concat();
    let mut paged = search(server, &[&client[..], &["--limit", "3"]].concat()).await;
    let after = positions(&paged)[2].to_string();
    paged.extend(search(server, &[&client[..], &["--after", &after]].concat()).await);
    paged.reverse();
    assert_eq!(positions(&paged), positions(&all));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("client.ndjson");
    let export = [
        &["audit", "search"],
        &client[..],
        &["--export", file.to_str().unwrap()],
    ]
    .concat();
    assert!(run(server, &export).await.status.success());
    let written = std::fs::read_to_string(&file).unwrap();
    let written: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(written, all);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = run(server, &export).await;
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
    parquet_has_what_ndjson_has(server, &client).await;
    let wrong = run(server, &["audit", "search", "--event", "tokenissued"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean TokenIssued"));

    // Who searched, and by what; not for what.
    let recorded = "event_type = 'LedgerRead' AND metadata->>'endpoint' = 'audit search'";
    let named = format!("{recorded} AND payload->>'filters' = '[\"user\",\"address\"]'");
    assert_eq!(count(server, &named).await, 1);
    let values = format!(
        "{recorded} AND (payload::text LIKE '%127.0.0%' OR payload::text LIKE '%Eve%' OR payload::text ~ '\\mada\\M')"
    );
    assert_eq!(count(server, &values).await, 0);
}

/// Exports the same events both ways, with the people in them.
async fn parquet_has_what_ndjson_has(server: &TestServer, filters: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let [lines, columns] = ["all.ndjson", "all.parquet"].map(|name| directory.path().join(name));
    for file in [&lines, &columns] {
        let file = file.to_str().unwrap();
        let export = [&["audit", "search"], filters, &["--reveal", "--export", file]].concat();
        assert!(run(server, &export).await.status.success());
    }
    let lines = std::fs::read_to_string(&lines).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for member in [
        "/operator/name",
        "/caller/address",
        "/metadata/network",
        "/metadata/authentication",
    ] {
        assert!(
            lines.iter().any(|line| line.pointer(member).is_some()),
            "{member}"
        );
    }
    assert_eq!(parquet::documents(&columns), lines);
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(names.len(), 2, "nothing partial is left");
    let mode = std::fs::metadata(&columns).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let other = directory.path().join("all.csv");
    let refused = run(server, &["audit", "search", "--export", other.to_str().unwrap()]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ends with .ndjson or .parquet"));
}

/// Posts a form as an administrator.
async fn lookup(party: &Party, token: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = party
        .http
        .post(party.server.url("/admin/grants/lookup"))
        .bearer_auth(token)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// A client whose token another one exchanges.
async fn exchange(party: &Party, token: &str) -> Value {
    let server = &party.server;
    let service = server
        .client(json!({
            "client_id": "service", "client_name": "service", "grant_types": ["client_credentials", EXCHANGE],
            "scope": "view-user server-operations", "default_scopes": "server-operations",
        }))
        .await;
    let rule = ExchangeRule {
        subject_client: party.key,
        mode: ExchangeMode::Impersonation,
        scope: ScopeSet::parse("view-user").unwrap(),
        audience: vec![server.base.clone()],
    };
    let operations = &server.app.operations;
    operations
        .allow_exchange(&TestServer::context(), service.key, rule)
        .await
        .unwrap();
    let form = [
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("scope", "view-user"),
    ];
    let request = party
        .http
        .post(server.url("/oauth/token"))
        .basic_auth("service", service.client_secret.as_deref())
        .form(&form);
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grants_life_shows_from_the_login_to_the_fork() {
    let server = TestServer::start().await;
    let operations = server.app.operations.clone();
    operations
        .define_scope(&TestServer::context(), "admin", "Administer", true)
        .await
        .unwrap();
    let extra = json!({"scope": "view-user detail-user server-operations admin"});
    let party = Party::on(server, extra).await;
    let server = &party.server;
    approve(server, party.key, &["admin", "detail-user"]).await;
    let admin = own_token(&party, "admin").await;

    let (_, first) = party.redeem(&party.code("detail-user view-user").await).await;
    let exchanged = exchange(&party, text(&first, "access_token")).await;
    assert!(exchanged["access_token"].is_string(), "{exchanged}");
    let stolen = text(&first, "refresh_token").to_owned();
    let (_, second) = party.refresh(&stolen).await;
    server.clock.advance(Duration::from_mins(1));
    assert_eq!(party.refresh(&stolen).await.0, 400);
    // What stood when a decision was made is told, not what stands now.
    server
        .update_client(party.key, json!({"client_name": "Another"}))
        .await
        .unwrap();

    let (status, shown) = lookup(&party, &admin, &[("credential", &stolen)]).await;
    assert_eq!(status, 200, "{shown}");
    assert!(!shown.to_string().contains(&stolen));
    assert_eq!(shown["credential"]["authentic"], true);
    assert_eq!(shown["credential"]["usable_unless_expired"], false);
    let lineage = &shown["lineage"];
    let by_type = |name: &str| {
        let events = shown["events"].as_array().unwrap();
        events
            .iter()
            .find(|event| event["event_type"] == name)
            .unwrap()
            .clone()
    };
    let (redeemed, rotated, replayed) = (
        by_type("CodeRedeemed"),
        by_type("RefreshRotated"),
        by_type("RefreshReplayed"),
    );
    assert_eq!(lineage["code"]["redeemed"]["position"], redeemed["position"]);
    let generations: Vec<&Value> = lineage["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["generation"])
        .collect();
    assert_eq!(generations, [&json!(1), &json!(2)]);
    assert_eq!(lineage["tokens"][1]["used"], 1);
    let forks = lineage["forks"].as_array().unwrap();
    assert_eq!((forks.len(), &forks[0]["generation"]), (1, &json!(1)));
    assert_eq!(forks[0]["first_use"]["position"], rotated["position"]);
    assert_eq!(forks[0]["second_use"]["position"], replayed["position"]);
    assert_eq!(lineage["revoked"]["reason"], "refresh_replayed");
    let taken = &lineage["tokens"][0]["exchanged"];
    assert_eq!(
        (taken.as_array().unwrap().len(), &taken[0]["direct"]),
        (1, &json!(true))
    );
    // The refusal of the replay names the grant, too.
    let mentions = shown["mentions"].as_array().unwrap();
    let elsewhere: Vec<&str> = mentions.iter().map(|one| text(one, "event_type")).collect();
    assert_eq!(elsewhere, ["RequestRefused", "TokenExchanged"]);

    let sequence = rotated["sequence"].to_string();
    let rested = &shown["rested_on"][&sequence];
    let stood = format!(
        "aggregate_type = 'client' AND aggregate_id = '{}' AND position < {}",
        party.key, rotated["position"]
    );
    assert_eq!(rested["client"]["version"], count(server, &stood).await);
    assert_eq!(rested["user"]["version"], 1);
    assert_eq!(rested["approvals"][0]["scope"], "detail-user");
    assert_eq!(rested["client"]["event_type"], "ScopeApproved");

    // By its id; callers only where they are asked for.
    let id = text(&shown, "grant");
    let (status, again) = party.api(&format!("/admin/grants/{id}"), &admin).await;
    assert_eq!(
        (status, &again["lineage"], &again["credential"]),
        (200, lineage, &Value::Null)
    );
    let address = r#""address":"127.0.0.1""#;
    assert!(!again.to_string().contains(address));
    let (_, revealed) = party
        .api(&format!("/admin/grants/{id}?reveal=true"), &admin)
        .await;
    assert!(revealed.to_string().contains(address));
    let readings = "event_type = 'LedgerRead' AND metadata->>'endpoint' LIKE '/admin/grants/%'";
    assert_eq!(count(server, readings).await, 3);
    assert_eq!(
        count(server, &format!("{readings} AND payload->>'revealed' = 'true'")).await,
        1
    );

    // What leads nowhere, and who may not.
    let (status, missing) = lookup(&party, &admin, &[("credential", "nonsense")]).await;
    assert_eq!((status, text(&missing, "error")), (404, "resource_not_found"));
    let (status, missing) = party
        .api(&format!("/admin/grants/{}", uuid::Uuid::nil()), &admin)
        .await;
    assert_eq!((status, text(&missing, "error")), (404, "resource_not_found"));
    let (status, wrong) = lookup(&party, &admin, &[("token", "x")]).await;
    assert_eq!((status, text(&wrong, "error")), (400, "validation_error"));
    let (status, _) = party
        .api(&format!("/admin/grants/{id}?reveal=perhaps"), &admin)
        .await;
    assert_eq!(status, 400);
    let own = own_token(&party, "server-operations").await;
    assert_eq!(lookup(&party, &own, &[("credential", &stolen)]).await.0, 403);

    let printed = stdout(&run(server, &["grant", "show", text(&second, "refresh_token")]).await);
    for line in [
        "generation 2 (RefreshRotated, for generation 1)",
        "FORK: used at",
        "exchanged for grant",
        "network ",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_shows_events_says_so_on_the_trail_before() {
    let party = Party::new().await;
    let server = &party.server;
    probe(&party, 5).await;
    watch(server).await;
    let alert = alerts(server, "scope-probing").await[0].0.to_string();
    let request: String = sqlx::query_scalar(
        "SELECT metadata->>'request_id' FROM grantlog.ledger_refusal ORDER BY position LIMIT 1",
    )
    .fetch_one(server.app.ledger.pool())
    .await
    .unwrap();
    let filters = async || -> Vec<String> {
        sqlx::query_scalar(
            "SELECT payload->>'filters' FROM grantlog.ledger_trail WHERE event_type = 'LedgerRead' ORDER BY position",
        )
        .fetch_all(server.app.ledger.pool())
        .await
        .unwrap()
    };
    let by_client = ["--by", "client", party.client_id.as_str(), "--reason", "x"];
    for arguments in [
        vec!["alert", "show", &alert],
        vec!["policy", "backtest", "scope-probing"],
        vec!["doctor", "request", &request],
        [&["contain"][..], &by_client, &["--dry-run"]].concat(),
    ] {
        assert!(run(server, &arguments).await.status.success(), "{arguments:?}");
    }
    assert_eq!(
        filters().await,
        [r#"["alert"]"#, r#"["rule"]"#, r#"["request"]"#, r#"["client"]"#]
    );
}
