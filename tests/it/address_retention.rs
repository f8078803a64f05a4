//! Retention of addresses: what is older than it is forgotten, by every node, for good; a legal hold keeps the user's.

use std::time::Duration;

use grantlog::evidence::verify::{Place, verify};
use grantlog::ids::SubjectId;
use grantlog::ledger::Operator;
use grantlog::operations::Operations;
use grantlog::trail::document::WithPeople;
use serde_json::{Value, json};

use crate::command_line::{finish, grantlog_on, stdout};
use crate::evidence::{Sealed, reopen};
use crate::harness::TestServer;

/// Something is done to nobody, to one user and to another, each from an address and by an operator. Where it stands.
async fn act(server: &TestServer, subjects: [SubjectId; 2]) -> Vec<i64> {
    let operations = &server.app.operations;
    let mut context = TestServer::context();
    context.address = Some("203.0.113.7".parse().unwrap());
    context.operator = Some("olga".to_owned());
    operations
        .define_scope(&context, "nobodys", "Of nobody", false)
        .await
        .unwrap();
    for subject in subjects {
        context.subject = Some(subject);
        operations.disable_user(&context, subject, "test").await.unwrap();
    }
    sqlx::query_scalar(
        "SELECT position FROM grantlog.ledger WHERE lane = 0 AND metadata->>'caller' IS NOT NULL ORDER BY position",
    )
    .fetch_all(server.app.ledger.pool())
    .await
    .unwrap()
}

/// Which addresses a node can read, and whether it can all operators' names.
async fn readable(node: &Operations, positions: &[i64]) -> (Vec<bool>, bool) {
    let (mut addresses, mut names) = (Vec::new(), true);
    for event in node.events_at(positions).await.unwrap() {
        let people = WithPeople::of(&node.ledger, &event, true).await.unwrap();
        addresses.push(people.caller.is_some());
        names &= people.operator == Some(Operator::Name("olga".to_owned()));
    }
    (addresses, names)
}

async fn retention(server: &TestServer, arguments: &[&str]) -> std::process::Output {
    let mut command = grantlog_on(&server.database);
    command.arg("retention").args(arguments);
    finish(command, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_forgotten_by_months_but_for_those_of_whom_a_hold_keeps() {
    let sealed = Sealed::with_events(1).await;
    let server = &sealed.server;
    let here = &server.app.operations;
    let context = TestServer::context();
    let users = ["ada", "bob"];
    let ada = server.user(users[0], "correct horse battery").await;
    let bob = server.user(users[1], "correct horse battery").await;
    let events = act(server, [ada, bob]).await;
    sealed.settle().await;
    let before = sealed.anchor().await;
    let other = reopen(server, None).await.unwrap().operations.clone();
    let all = (vec![true; 3], true);
    assert_eq!(readable(here, &events).await, all);
    assert_eq!(readable(&other, &events).await, all);
    assert_eq!(
        here.forget_addresses(&context).await.unwrap(),
        0,
        "nothing is set"
    );

    let set = |keep| {
        [
            "set", "--class", "address", "--keep", keep, "--reason", "policy 7", "--json",
        ]
    };
    let refused = retention(server, &set("29d")).await;
    assert!(!refused.status.success());
    let shown: Value = serde_json::from_str(&stdout(&retention(server, &set("30d")).await)).unwrap();
    assert_eq!(shown["keep"][2], json!({"class": "address", "keep_days": 30}));
    let months = shown["addresses"].as_array().unwrap();
    let keys: i64 = months.iter().map(|month| month["keys"].as_i64().unwrap()).sum();
    // Three of this month; of the next one, too, where it began amid the test.
    assert!(keys >= 3 && months[0]["due_at"].is_string(), "{shown}");
    let kept: Vec<&str> = shown["kept_for_good"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|kept| kept["bytes"].as_i64().unwrap() > 0)
        .map(|kept| kept["aggregate_type"].as_str().unwrap())
        .collect();
    assert_eq!(kept.len(), 16, "all but grants and refusals: {kept:?}");
    assert_eq!(
        here.forget_addresses(&context).await.unwrap(),
        0,
        "the month is not over"
    );
    assert_eq!(readable(here, &events).await, all);

    here.place_hold(&context, ada, "a lawsuit", None).await.unwrap();
    sqlx::query("CREATE TABLE public.backup AS SELECT * FROM grantlog.data_keys")
        .execute(&server.database.owner().await)
        .await
        .unwrap();
    let later = Duration::from_hours(24 * 100);
    server.clock.advance(later);
    other.ledger.clock().advance(later);
    assert!(here.forget_addresses(&context).await.unwrap() >= 2);
    let held = (vec![false, true, false], false);
    assert_eq!(readable(here, &events).await, held);
    assert_eq!(other.forget_addresses(&context).await.unwrap(), 0);
    assert_eq!(
        readable(&other, &events).await,
        held,
        "each node forgets what it remembers"
    );
    assert!(
        here.overdue().await.unwrap().months.is_empty(),
        "what is held is not overdue"
    );
    let shown = here.shown_user(bob).await.unwrap().details.unwrap();
    assert_eq!(shown.username, "bob", "names are no addresses");

    // What came back from a backup is destroyed again, even if from now on all is kept.
    stdout(&retention(server, &set("forever")).await);
    // The command line, by whose clock the month is not over, has made a key of the month again.
    sqlx::query(
        "INSERT INTO grantlog.data_keys SELECT * FROM public.backup \
         ON CONFLICT (owner, period) DO UPDATE SET wrapped = excluded.wrapped",
    )
    .execute(&server.database.owner().await)
    .await
    .unwrap();
    assert_eq!(readable(here, &events).await, all);
    assert!(here.forget_addresses(&context).await.unwrap() >= 2);
    here.lift_hold(&context, ada, "settled").await.unwrap();
    assert!(here.forget_addresses(&context).await.unwrap() >= 1);
    assert_eq!(readable(here, &events).await, (vec![false; 3], false));

    let recorded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM grantlog.ledger_trail WHERE event_type = 'AddressesForgotten'",
    )
    .fetch_one(server.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(
        recorded, 2,
        "once for each moment from which on nothing older was kept"
    );
    sealed.settle().await;
    let place = Place::Database(server.app.ledger.pool().clone());
    let anchors = vec![before, sealed.anchor().await];
    let report = verify(&place, anchors, &[], &mut |_| {}).await.unwrap();
    assert_eq!((report.finding, report.agreed.len()), (None, 2));
}
