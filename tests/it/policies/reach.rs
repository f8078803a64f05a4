//! What a containment reaches: neither what is over already, nor less than there is when it is done.

use std::future::ready;
use std::time::Duration;

use grantlog::domain::client::{Client, Standing};
use grantlog::domain::grant::Grant;
use grantlog::ids::{GrantId, SessionId};
use grantlog::policy::contain::{By, Containment};
use serde_json::json;

use super::events;
use crate::code;
use crate::flow;
use crate::harness::{TestServer, browser};
use crate::private_key_jwt::Signing;
use crate::token::Party;

fn of(by: By, whole: bool) -> Containment {
    Containment {
        by,
        since: None,
        until: None,
        whole,
        reason: "an incident".to_owned(),
    }
}

async fn machine_token(party: &Party) {
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    assert_eq!(party.post("/oauth/token", &form).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containment_neither_counts_nor_revokes_grants_whose_time_is_over() {
    let party = Party::new().await;
    let server = &party.server;
    let operations = &server.app.operations;
    for _ in 0..3 {
        machine_token(&party).await;
    }
    let by_client = of(By::Client(party.key), false);
    assert_eq!(by_client.find(operations).await.unwrap().grants.len(), 3);
    server.clock.advance(Duration::from_hours(2));
    machine_token(&party).await;
    for by in [
        by_client.by.clone(),
        By::Window,
        By::Address([127, 0, 0, 1].into()),
    ] {
        let found = of(by, false).find(operations).await.unwrap();
        assert_eq!(found.grants.len(), 1, "three of the four are over");
    }
    let found = by_client.find(operations).await.unwrap();
    let context = TestServer::context();
    by_client
        .apply(operations, (&context, found), |_| ready(Ok(true)))
        .await
        .unwrap();
    assert_eq!(events(server, "TokenRevoked").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_while_a_containment_of_the_whole_is_under_way_is_contained_too() {
    let party = Party::new().await;
    let operations = &party.server.app.operations;
    let context = TestServer::context();
    for (by, tokens) in [(By::User(party.subject), 2), (By::Client(party.key), 3)] {
        let contained = of(by, true);
        party.redeem(&party.code("view-user").await).await;
        let found = contained.find(operations).await.unwrap();
        // The last moment: found is what there was, and neither client nor logins are stopped yet.
        for _ in 1..tokens {
            party.redeem(&party.code("view-user").await).await;
        }
        let done = contained
            .apply(operations, (&context, found), |_| ready(Ok(true)))
            .await
            .unwrap();
        assert_eq!(done.grants.len(), tokens);
        for GrantId(grant) in done.grants {
            let grant = operations.load::<Grant>(grant).await.unwrap();
            assert!(grant.family.as_ref().unwrap().revoked.is_some());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containment_of_the_whole_by_address_or_window_ends_the_logins_that_were_begun_there() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let operations = &server.app.operations;
    let context = TestServer::context();
    let here = || By::Address([127, 0, 0, 1].into());
    for by in [here(), By::Window] {
        let (http, query) = (browser(), flow::query(&client));
        flow::authorize(&server, &http, &query).await;
        let (session, begun) = events(&server, "SessionStarted").await.pop().unwrap();
        let session = SessionId(session);
        // A grant that was given in that login from somewhere else.
        let subject = serde_json::from_value(begun["subject"].clone()).unwrap();
        let elsewhere = code::issue_with(&server, (client.key, subject), "view-user", |event| {
            event.session = Some(session);
        });
        let elsewhere = elsewhere.await.0;
        let stranger = of(By::Address([192, 0, 2, 1].into()), true);
        let none = stranger.find(operations).await.unwrap();
        assert!(none.sessions.is_empty() && none.grants.is_empty());

        // Without the logins: whoever has the cookie goes on at once.
        let grants_alone = of(here(), false);
        let found = grants_alone.find(operations).await.unwrap();
        assert!(found.sessions.is_empty() && !found.grants.contains(&elsewhere));
        grants_alone
            .apply(operations, (&context, found), |_| ready(Ok(true)))
            .await
            .unwrap();
        assert!(!flow::request(&server, &http, &query).await.is_login_page());

        let whole = of(by, true);
        let found = whole.find(operations).await.unwrap();
        assert_eq!(found.sessions, [session]);
        assert!(found.grants.contains(&elsewhere));
        let done = whole
            .apply(operations, (&context, found), |_| ready(Ok(true)))
            .await
            .unwrap();
        assert_eq!(done.sessions, [session]);
        assert!(flow::request(&server, &http, &query).await.is_login_page());
        let (_, ended) = events(&server, "SessionEnded").await.pop().unwrap();
        assert_eq!(ended["reason"], "contained");
        let records = events(&server, "ContainmentApplied").await;
        let named = |record: &serde_json::Value| record["sessions"] == json!([session]);
        assert!(records.iter().any(|(_, record)| named(record)), "{records:?}");
        let left = whole.find(operations).await.unwrap();
        assert!(left.sessions.is_empty() && left.grants.is_empty(), "it is done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containment_of_the_whole_by_key_suspends_the_clients_that_authenticated_with_it() {
    let signing = Signing::new().await;
    let server = &signing.server;
    assert_eq!(signing.token(&signing.assertion()).await.0, 200);
    let key: String = sqlx::query_scalar(
        "SELECT metadata->'authentication'->>'kid' FROM grantlog.ledger_grant WHERE event_type = 'TokenIssued'",
    )
    .fetch_one(server.app.ledger.pool())
    .await
    .unwrap();
    let operations = &server.app.operations;
    let context = TestServer::context();
    let alone = of(By::Key(key.clone()), false).find(operations).await.unwrap();
    assert_eq!((alone.grants.len(), alone.clients.len()), (1, 0));
    let by_key = of(By::Key(key), true);
    let found = by_key.find(operations).await.unwrap();
    assert_eq!(
        (found.grants.len(), &found.clients[..]),
        (1, &[signing.client.key][..])
    );
    // Another one with the same key is found only once that one is stopped; whoever contains may not stop it.
    let other = signing.twin().await;
    assert_eq!(signing.token(&signing.assertion_of(&other)).await.0, 200);
    let own = signing.client.key;
    let done = by_key
        .apply(operations, (&context, found), |client| ready(Ok(client == own)))
        .await
        .unwrap();
    assert_eq!((done.clients, done.spared), (vec![own], vec![other.key]));
    assert_eq!(done.grants.len(), 2, "its grants end all the same");
    assert_eq!(signing.token(&signing.assertion_of(&other)).await.0, 200);
    let client = operations.load::<Client>(signing.client.key.0).await.unwrap();
    assert_eq!(
        client.registration.as_ref().unwrap().standing,
        Standing::Suspended
    );
    assert_eq!(signing.token(&signing.assertion()).await.0, 401);
}
