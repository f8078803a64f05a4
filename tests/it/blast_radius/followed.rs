//! What a blast radius follows: logins, and what came of an administrator's act. And what it says that it could not look at.

use grantlog::ids::SessionId;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use super::did;
use crate::code;
use crate::command_line::{finish, grantlog_on, stdout};
use crate::flow;
use crate::harness::{TestServer, browser};
use crate::policies::events;
use crate::token::{Party, text};

pub(crate) async fn radius(server: &TestServer, of: &str, value: &str) -> Value {
    answer(server, &["blast-radius", "--of", of, value]).await
}

async fn answer(server: &TestServer, arguments: &[&str]) -> Value {
    let mut command = grantlog_on(&server.database);
    command.args(arguments).arg("--json");
    serde_json::from_str(&stdout(&finish(command, None).await)).unwrap()
}

/// The request that the last event of a type came of.
pub(crate) async fn request_of(server: &TestServer, event_type: &str) -> (String, i64) {
    sqlx::query_as(
        "SELECT metadata->>'request_id', position FROM grantlog.ledger WHERE event_type = $1 \
         ORDER BY position DESC LIMIT 1",
    )
    .bind(event_type)
    .fetch_one(server.app.ledger.pool())
    .await
    .unwrap()
}

fn grants(found: &Value, member: &str) -> Vec<String> {
    let found = found["could"][member].as_array().unwrap().iter();
    found.map(|one| text(one, "grant").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_could_give_grants_and_those_given_in_it_from_elsewhere_are_followed() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let http = browser();
    flow::authorize(&server, &http, &flow::query(&client)).await;
    let (session, begun) = events(&server, "SessionStarted").await.remove(0);
    let subject = serde_json::from_value(begun["subject"].clone()).unwrap();
    let (elsewhere, _) = code::issue_with(&server, (client.key, subject), "view-user", |event| {
        event.session = Some(SessionId(session));
    })
    .await;
    let (unrelated, _) = code::issue(&server, client.key, subject, "view-user").await;

    let here = radius(&server, "address", "127.0.0.1").await;
    let login = &here["could"]["sessions"][0];
    assert_eq!(login["session"], json!(session), "{here}");
    assert_eq!(
        (&login["good_at_end"], &login["subject"]),
        (&json!(true), &begun["subject"])
    );
    let codes = grants(&here, "codes");
    assert!(codes.contains(&elsewhere.to_string()) && !codes.contains(&unrelated.to_string()));
    let of_user = radius(&server, "user", flow::USERNAME).await;
    assert_eq!(of_user["could"]["sessions"].as_array().unwrap().len(), 1);
    let stranger = radius(&server, "address", "192.0.2.1").await;
    assert_eq!(stranger["could"]["sessions"], json!([]));

    // Once it is over it is told with its end.
    let by_address = [
        "contain",
        "--by",
        "address",
        "127.0.0.1",
        "--whole",
        "--reason",
        "x",
        "--yes",
    ];
    let contained = answer(&server, &by_address).await;
    assert_eq!(contained["sessions"], json!([session]));
    let after = radius(&server, "address", "127.0.0.1").await;
    let login = &after["could"]["sessions"][0];
    assert_eq!(
        (&login["good_at_end"], &login["ended_by"]),
        (&json!(false), &json!("contained"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_has_done_nothing_before_it() {
    let party = Party::new().await;
    let server = &party.server;
    party.redeem(&party.code("view-user").await).await;
    server
        .update_client(party.key, json!({"client_name": "Another"}))
        .await
        .unwrap();
    let (request, position) = request_of(server, "ClientUpdated").await;
    party.redeem(&party.code("view-user").await).await;
    let act = radius(server, "request", &request).await;
    assert_eq!(act["first_position"], position);
    assert!(act["since"].is_string(), "{act}");
    let done = did(&act);
    assert_eq!(
        (done.get("TokenIssued"), done.get("ClientRegistered")),
        (Some(&1), None),
        "{done:?}"
    );
    let before = (position - 1).to_string();
    let mut command = grantlog_on(&server.database);
    command.args(["blast-radius", "--of", "request", &request, "--until", &before]);
    let refused = finish(command, None).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("was after the stretch"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_looks_through_the_ledger_names_what_has_left_it() {
    let party = Party::new().await;
    let server = &party.server;
    party.redeem(&party.code("view-user").await).await;
    let whole = radius(server, "client", &party.client_id).await;
    assert_eq!(
        (&whole["missing"], &whole["forgotten_before"]),
        (&json!([]), &Value::Null)
    );
    // As if all of this had been long ago, and a quarter of it been taken out.
    let mut owner = PgConnection::connect(&server.database.owner_url).await.unwrap();
    for sql in [
        "SET session_replication_role = replica",
        "UPDATE grantlog.ledger SET recorded_at = recorded_at - interval '200 days'",
        "INSERT INTO grantlog.detached_partitions (partition, class, lower, upper, events, event_position) \
         VALUES ('grant_2020q1', 'grant', '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000001', 3, 1)",
        "INSERT INTO grantlog.detached_ranges VALUES (1, 2, 'grant_2020q1'), (4, 4, 'grant_2020q1')",
    ] {
        owner.execute(sql).await.unwrap();
    }
    let missing =
        json!([{"partition": "grant_2020q1", "events": 3, "first_position": 1, "last_position": 4}]);
    let found = radius(server, "client", &party.client_id).await;
    assert_eq!(found["missing"], missing);
    assert!(
        found["forgotten_before"].is_string(),
        "tokens of then may have left the tables"
    );
    let lately = answer(
        server,
        &[
            "blast-radius",
            "--of",
            "client",
            &party.client_id,
            "--since",
            "2d",
        ],
    )
    .await;
    assert_eq!(
        (&lately["missing"], &lately["forgotten_before"]),
        (&json!([]), &Value::Null)
    );
    let by_client = [
        "contain",
        "--by",
        "client",
        &party.client_id,
        "--reason",
        "x",
        "--dry-run",
    ];
    assert_eq!(answer(server, &by_client).await["missing"], missing);
    let tested = answer(server, &["policy", "backtest", "scope-probing"]).await;
    assert_eq!(tested[0]["missing"], missing);
    let mut command = grantlog_on(&server.database);
    command.args(["audit", "search", "--from", "2", "--to", "4"]);
    let searched = finish(command, None).await;
    assert!(searched.status.success());
    let said = String::from_utf8_lossy(&searched.stderr).into_owned();
    assert!(
        said.contains("not looked at: 2 events of grant_2020q1, from position 2 to 4"),
        "{said}"
    );
}
