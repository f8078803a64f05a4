//! A client's secrets: two may overlap, each is shown once.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use cqrs_es::Aggregate;
use grantlog::clock::Timestamp;
use grantlog::domain::client::{Client, ClientCommand, ClientEvent, SecretVerifier};
use grantlog::domain::value::Digest;
use grantlog::operations::client::ClientRegistration;
use proptest::prelude::*;
use serde_json::json;

use crate::flow;
use crate::harness::{TestServer, browser};

/// Whether the token endpoint takes a secret.
async fn works(server: &TestServer, client_id: &str, secret: &str) -> bool {
    let request = browser()
        .post(server.url("/oauth/token"))
        .basic_auth(client_id, Some(secret))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials");
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert!(status == 200 || status == 401, "{status}");
    if status == 401 {
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!(body["error"], "invalid_client");
    }
    status == 200
}

async fn machine(server: &TestServer) -> grantlog::operations::client::CreatedClient {
    let mut metadata = flow::confidential();
    metadata["grant_types"] = json!(["client_credentials"]);
    server.client(metadata).await
}

#[tokio::test]
async fn two_secrets_work_during_the_overlap_and_then_one() {
    let server = TestServer::start().await;
    let client = machine(&server).await;
    let first = client.client_secret.clone().unwrap();
    let rotate = async |overlap| {
        let operations = &server.app.operations;
        let context = TestServer::context();
        operations
            .rotate_client_secret(&context, client.key, overlap)
            .await
            .unwrap()
    };
    let second = rotate(600).await;
    assert_ne!(first, second);
    for secret in [&first, &second] {
        assert!(works(&server, &client.client_id, secret).await);
    }
    server.clock.advance(Duration::from_secs(599));
    assert!(works(&server, &client.client_id, &first).await);
    server.clock.advance(Duration::from_secs(1));
    assert!(!works(&server, &client.client_id, &first).await);
    assert!(works(&server, &client.client_id, &second).await);
    // Without an overlap the old one ends at once.
    let third = rotate(0).await;
    assert!(!works(&server, &client.client_id, &second).await);
    assert!(works(&server, &client.client_id, &third).await);
}

#[tokio::test]
async fn a_third_secret_drops_the_first_whatever_its_overlap() {
    let server = TestServer::start().await;
    let client = machine(&server).await;
    let mut secrets = vec![client.client_secret.clone().unwrap()];
    for _ in 0..2 {
        let operations = &server.app.operations;
        let context = TestServer::context();
        let secret = operations
            .rotate_client_secret(&context, client.key, 86_400)
            .await
            .unwrap();
        secrets.push(secret);
    }
    let mut accepted = Vec::new();
    for secret in &secrets {
        accepted.push(works(&server, &client.client_id, secret).await);
    }
    assert_eq!(accepted, [false, true, true]);
    let ended: Vec<(i64, bool)> = sqlx::query_as(
        "SELECT (payload->>'number')::bigint, (payload->>'at')::timestamptz <= recorded_at + interval '1 minute' \
         FROM grantlog.ledger WHERE event_type = 'ClientSecretRetired' ORDER BY position",
    )
    .fetch_all(&server.database.owner().await)
    .await
    .unwrap();
    let expected = [(1, false), (1, true), (2, false)];
    assert_eq!(ended, expected, "the trail says that the first ended early");
}

#[tokio::test]
async fn a_public_client_has_no_secret_to_rotate() {
    let server = TestServer::start().await;
    let mut metadata = flow::confidential();
    metadata["token_endpoint_auth_method"] = json!("none");
    let client = server.client(metadata).await;
    let operations = &server.app.operations;
    let refused = operations
        .rotate_client_secret(&TestServer::context(), client.key, 0)
        .await;
    assert_eq!(refused.unwrap_err().to_string(), "a public client has no secret");
}

/// What a command prints.
async fn printed(server: &TestServer, arguments: &[&str]) -> String {
    let mut command = crate::command_line::grantlog_on(&server.database);
    command.args(arguments);
    crate::command_line::stdout(&crate::command_line::finish(command, None).await)
}

#[tokio::test]
async fn a_secret_is_shown_once_and_nothing_that_checks_it_ever() {
    let server = TestServer::start().await;
    let client = machine(&server).await;
    let mut chosen = flow::confidential();
    chosen["client_id"] = json!("chosen");
    chosen["client_secret"] = json!("a chosen secret of ours");
    let chosen = server.client(chosen).await;
    let rotate = [
        "client",
        "rotate-secret",
        &client.client_id,
        "--overlap",
        "60",
        "--json",
    ];
    let rotated: serde_json::Value = serde_json::from_str(&printed(&server, &rotate).await).unwrap();
    let second = rotated["client_secret"].as_str().unwrap().to_owned();
    assert!(works(&server, &client.client_id, &second).await);
    let digests: Vec<String> = sqlx::query_scalar(
        "SELECT coalesce(payload #>> '{verifier,sha256}', payload #>> '{verifier,argon2id}') \
         FROM grantlog.ledger WHERE event_type = 'ClientSecretAdded'",
    )
    .fetch_all(&server.database.owner().await)
    .await
    .unwrap();
    assert_eq!(digests.len(), 3);
    for arguments in [
        ["client", "show", &client.client_id, "--json"].as_slice(),
        &["client", "show", &chosen.client_id],
        &["client", "list", "--json"],
        &["client", "list"],
        &["audit", "tail", "--lines", "100", "--json"],
        &["audit", "tail", "--lines", "100"],
    ] {
        let text = printed(&server, arguments).await;
        assert!(
            text.contains(&client.client_id) || text.contains(&chosen.client_id) || arguments[0] == "audit"
        );
        let first = client.client_secret.as_deref().unwrap();
        for secret in [first, &second, "a chosen secret of ours", "$argon2id$"]
            .into_iter()
            .chain(digests.iter().map(String::as_str))
        {
            assert!(
                !text.contains(secret),
                "{arguments:?} shows a secret or what checks it"
            );
        }
    }
    let trail = printed(&server, &["audit", "tail", "--lines", "100", "--json"]).await;
    assert!(
        trail.contains(r#""argon2id":"withheld""#) && trail.contains(r#""sha256":"withheld""#),
        "{trail}"
    );
}

/// Applies a command, and notes the end that the events give each secret.
fn decide(client: &mut Client, command: &ClientCommand, ends: &mut BTreeMap<u32, Option<Timestamp>>) {
    let decision = client.decide(command);
    decision.outcome.unwrap();
    for event in decision.events {
        if let ClientEvent::ClientSecretAdded(added) = &event {
            ends.insert(added.number, None);
        }
        if let ClientEvent::ClientSecretRetired(retired) = &event {
            ends.insert(retired.number, Some(retired.at));
        }
        client.apply(event);
    }
}

proptest! {
    #[test]
    fn at_most_two_secrets_are_accepted_and_the_trail_says_which(
        steps in proptest::collection::vec((0_i64..1000, 0_i64..700), 1..12)
    ) {
        let registration: ClientRegistration = serde_json::from_value(flow::confidential()).unwrap();
        let verifier = |number: usize| SecretVerifier::Sha256(Digest::of(&number.to_be_bytes()));
        let register = ClientCommand::Register {
            client_id: "c".to_owned(),
            metadata: Box::new(registration.metadata().unwrap()),
            verifier: Some(verifier(0)),
            imported: None,
        };
        let (mut client, mut ends) = (Client::default(), BTreeMap::new());
        decide(&mut client, &register, &mut ends);
        let mut at = chrono::DateTime::UNIX_EPOCH;
        for (place, (overlap, pause)) in steps.into_iter().enumerate() {
            at += TimeDelta::seconds(pause);
            let rotate = ClientCommand::RotateSecret {
                verifier: verifier(place + 1),
                retire_at: at + TimeDelta::seconds(overlap),
                at,
            };
            decide(&mut client, &rotate, &mut ends);
            for later in [0, 1, 300, 999, 2000] {
                let then = at + TimeDelta::seconds(later);
                let registration = client.registration.as_ref().unwrap();
                let accepted: Vec<u32> = registration.valid_secrets(then).map(|secret| secret.number).collect();
                let told: Vec<u32> = ends
                    .iter()
                    .filter(|(_, end)| end.is_none_or(|end| then < end))
                    .map(|(number, _)| *number)
                    .collect();
                prop_assert_eq!(&accepted, &told);
                prop_assert!(accepted.len() <= 2);
                prop_assert_eq!(accepted.last().copied(), Some(registration.secrets_added));
            }
        }
    }
}
