//! What a user has open, and what is opened for others: logins, consents, trust, exchanges, registrations.

use grantlog::domain::stream::{OnFailure, StreamDefinition, StreamFilter, StreamTarget};
use grantlog::operations::stream::Start;
use grantlog::projection::ProjectionRunner;
use serde_json::{Value, json};

use super::{Administered, error};
use crate::command_line::{finish, grantlog_on, stdout};
use crate::flow;
use crate::harness::{TestServer, browser};
use crate::token::text;

const NONE: (&[(&str, &str)], &str) = (&[], "");

async fn json_of(server: &TestServer, arguments: &[&str]) -> Value {
    let mut command = grantlog_on(&server.database);
    command.args(arguments).arg("--json");
    serde_json::from_str(&stdout(&finish(command, None).await)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_and_consents_of_a_user_are_listed_and_ended_over_http_and_by_command() {
    let administered = Administered::new().await;
    let party = &administered.party;
    let server = &party.server;
    // What is ended is found in the tables.
    let runner = ProjectionRunner::start(&server.app.ledger);
    let sub = party.subject.to_string();
    let path: &[(&str, &str)] = &[("sub", &sub)];
    let shop = server.client(flow::confidential()).await;
    let begin = async || {
        let query = flow::query(&shop);
        flow::log_in(server, &browser(), &query, ("ada", "correct horse battery")).await;
        let (_, tokens) = party.redeem(&party.code("view-user").await).await;
        let head = *server.app.ledger.head().borrow();
        runner.wait_for(head).await.unwrap();
        text(&tokens, "access_token").to_owned()
    };
    let token = begin().await;
    let logins = administered.done("listSessions", (path, ""), None).await;
    let session = text(&logins["items"][0], "session").to_owned();
    assert_eq!(logins["items"][0]["caller"], Value::Null);
    let revealed = administered
        .done("listSessions", (path, "?reveal=true"), None)
        .await;
    assert_eq!(revealed["items"][0]["caller"]["address"], "127.0.0.1");
    let printed = json_of(server, &["user", "sessions", "ada"]).await;
    assert_eq!(printed, logins["items"]);
    let consents = administered.done("listConsents", (path, ""), None).await;
    assert_eq!(
        (&consents["items"][0]["client_id"], &consents["items"][0]["scope"]),
        (&json!(party.client_id), &json!(["view-user"]))
    );
    assert_eq!(
        json_of(server, &["user", "consents", "ada"]).await,
        consents["items"]
    );

    let one: &[(&str, &str)] = &[("sub", &sub), ("session", &session)];
    let because = || Some(json!({"reason": "a lost phone"}));
    let ended = administered.done("endSession", (one, ""), because()).await;
    assert_eq!(ended["sessions"], json!([session]));
    let (status, again) = administered.call("endSession", (one, ""), because()).await;
    assert_eq!((status, error(&again)), (404, "resource_not_found"));
    let by = format!("metadata->>'actor' = 'client:{}'", party.key);
    let recorded =
        format!("payload->>'reason' = 'administrator' AND metadata->>'note' = 'a lost phone' AND {by}");
    let recorded = format!("event_type = 'SessionEnded' AND {recorded}");
    assert_eq!(administered.count(&recorded).await, 1);
    begin().await;
    begin().await;
    let all = administered.done("endSessions", (path, ""), because()).await;
    assert_eq!(all["sessions"].as_array().unwrap().len(), 2, "{all}");
    begin().await;
    let all = json_of(
        server,
        &["user", "end-session", "ada", "--all", "--reason", "again"],
    )
    .await;
    assert_eq!(all["sessions"].as_array().unwrap().len(), 1, "{all}");

    assert!(party.is_active(&token).await);
    let withdrawal = json!({"client": party.client_id, "reason": "it asked for too much"});
    administered
        .done("withdrawConsent", (path, ""), Some(withdrawal.clone()))
        .await;
    assert!(!party.is_active(&token).await, "at once");
    let again = administered
        .call("withdrawConsent", (path, ""), Some(withdrawal))
        .await;
    assert_eq!(
        (again.0, error(&again.1)),
        (404, "resource_not_found"),
        "{}",
        again.1
    );
    let consents = administered.done("listConsents", (path, ""), None).await;
    assert_eq!(consents["items"], json!([]));
    let token = begin().await;
    let withdraw = [
        "user",
        "withdraw-consent",
        "ada",
        &party.client_id,
        "--reason",
        "x",
        "--yes",
    ];
    json_of(server, &withdraw).await;
    assert!(!party.is_active(&token).await);
    let mut command = grantlog_on(&server.database);
    command.args(withdraw);
    let again = finish(command, None).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("allows"),
        "{again:?}"
    );
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_trusted_and_opened_for_others_is_set_by_whoever_may_do_all() {
    let administered = Administered::new().await;
    let party = &administered.party;
    let configure = administered.token("admin:configure").await;
    let issuer = "https://idp.example";
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let trust = json!({"issuer": issuer, "jwks": {"keys": [key]}, "subject_is": "client", "subjects": ["a-job"],
        "clients": [party.client_id], "scope": "view-user"});
    let path = "/admin/trusted-issuers";
    let answer = administered
        .send(("put", path), Some(&configure), Some(&trust))
        .await;
    assert_eq!((answer.status, error(&answer.body)), (403, "insufficient_scope"));
    assert!(
        answer.challenge.ends_with(r#"scope="admin""#),
        "{}",
        answer.challenge
    );
    let trusted = administered.done("trustIssuer", NONE, Some(trust.clone())).await;
    assert_eq!(
        (&trusted["trusted"], &trusted["max_lifetime"]),
        (&json!(true), &json!(3600))
    );
    let of = format!("?issuer={issuer}");
    let listed = administered.done("listTrustedIssuers", (&[], &of), None).await;
    assert_eq!(listed["items"], json!([trusted]));
    assert_eq!(json_of(&party.server, &["trust", "list"]).await, listed["items"]);
    for (member, wrong) in [
        ("max_lifetime", json!(0)),
        ("clients", json!(["nobody"])),
        ("jwks", json!({"keys": [{"kty": "oct", "k": "AAAA"}]})),
    ] {
        let mut mistaken = trust.clone();
        mistaken[member] = wrong;
        let (status, refused) = administered.call("trustIssuer", NONE, Some(mistaken)).await;
        assert_eq!(
            (status, error(&refused)),
            (400, "validation_error"),
            "{member}: {refused}"
        );
    }
    // Its keys, or where it publishes them: one of both.
    let uri = json!("https://idp.example/jwks");
    for (jwks, jwks_uri, expected) in [
        (&trust["jwks"], &uri, 400),
        (&Value::Null, &Value::Null, 400),
        (&Value::Null, &uri, 200),
    ] {
        let mut wanted = trust.clone();
        (wanted["jwks"], wanted["jwks_uri"]) = (jwks.clone(), jwks_uri.clone());
        let (status, answer) = administered.call("trustIssuer", NONE, Some(wanted)).await;
        assert_eq!(status, expected, "{answer}");
        if status == 200 {
            assert_eq!((answer.get("jwks"), &answer["jwks_uri"]), (None, jwks_uri));
        }
    }
    let removal = || Some(json!({"issuer": issuer, "reason": "it was sold"}));
    let removed = administered.done("distrustIssuer", NONE, removal()).await;
    assert_eq!(removed, json!({"issuer": issuer, "trusted": false}));
    let (status, _) = administered.call("distrustIssuer", NONE, removal()).await;
    assert_eq!(status, 404);

    // Whose tokens a client may exchange.
    administered
        .party
        .server
        .client(
            json!({"client_name": "Service", "client_id": "service", "scope": "view-user",
            "audience": ["https://orders.example"],
            "grant_types": ["urn:ietf:params:oauth:grant-type:token-exchange"]}),
        )
        .await;
    let service: &[(&str, &str)] = &[("client_id", "service")];
    let rule = json!({"subject_client": party.client_id, "mode": "impersonation", "scope": "view-user",
        "audience": ["https://orders.example"]});
    let allowed = administered
        .done("allowExchange", (service, ""), Some(rule))
        .await;
    assert_eq!(allowed["exchanges"][0]["subject_client"], json!(party.client_id));
    let end = json!({"subject_client": party.client_id, "mode": "impersonation", "reason": "done"});
    let left = administered
        .done("disallowExchange", (service, ""), Some(end))
        .await;
    assert_eq!(left["exchanges"], json!([]));

    // Who may register clients.
    let new = json!({"label": "a partner", "uses": 2, "grant_types": ["client_credentials"]});
    let created = administered
        .done("createInitialAccessToken", NONE, Some(new))
        .await;
    let token = text(&created, "initial_access_token");
    let id = text(&created, "id").to_owned();
    let listed = administered.done("listInitialAccessTokens", NONE, None).await;
    assert_eq!(
        (&listed["items"][0]["standing"], &listed["items"][0]["uses_left"]),
        (&json!("usable"), &json!(2))
    );
    assert!(token.starts_with("gli_") && !listed.to_string().contains(token));
    let path: &[(&str, &str)] = &[("id", &id)];
    let because = || Some(json!({"reason": "sent to the wrong people"}));
    administered
        .done("revokeInitialAccessToken", (path, ""), because())
        .await;
    let listed = json_of(&party.server, &["client", "initial-access-token", "list"]).await;
    assert_eq!(listed[0]["standing"], "revoked");
    let nobody: &[(&str, &str)] = &[("id", "0190a5b5-0000-7000-8000-000000000000")];
    let (status, _) = administered
        .call("revokeInitialAccessToken", (nobody, ""), because())
        .await;
    assert_eq!(status, 404);

    // What clients may ask for in detail.
    let path: &[(&str, &str)] = &[("type", "payment")];
    let schema = json!({"type": "object", "properties": {"type": {"const": "payment"}, "amount": {"type": "string"}},
        "required": ["amount"], "additionalProperties": false});
    let definition = json!({"schema": schema, "template": "Pay {amount}"});
    let defined = administered
        .done("defineAuthorizationDetailType", (path, ""), Some(definition))
        .await;
    assert_eq!(defined["schema"], schema);
    let (status, refused) = administered
        .call(
            "defineAuthorizationDetailType",
            (path, ""),
            Some(json!({"schema": {"type": 7}})),
        )
        .await;
    assert_eq!((status, error(&refused)), (400, "validation_error"));
    let details =
        json!({"authorization_details": [{"type": "payment", "amount": "10"}, {"type": "payment"}]});
    let checked = administered
        .done("checkAuthorizationDetails", NONE, Some(details))
        .await;
    assert_eq!(
        (&checked["items"][0]["sentence"], &checked["items"][0]["faults"]),
        (&json!("Pay 10"), &json!([]))
    );
    assert_ne!(checked["items"][1]["faults"], json!([]));
    let retired = administered
        .done("retireAuthorizationDetailType", (path, ""), because())
        .await;
    assert_eq!(retired["retired"], true);
    assert_eq!(
        administered
            .done("showAuthorizationDetailType", (path, ""), None)
            .await,
        retired
    );
    let types = administered
        .done("listAuthorizationDetailTypes", NONE, None)
        .await;
    assert_eq!(types["items"], json!([retired]));
    assert_eq!(
        json_of(&party.server, &["authorization-detail-type", "list"]).await,
        types["items"]
    );
    // Streams into the inner network.
    let operations = &party.server.app.operations;
    let nats = |url: &str| StreamDefinition {
        target: StreamTarget::Nats {
            url: url.to_owned(),
            prefix: "grantlog".to_owned(),
        },
        filter: StreamFilter::default(),
        batch: 100,
        attempts: 12,
        on_failure: OnFailure::DeadLetter,
        secrets: Vec::new(),
    };
    let context = TestServer::context();
    let place = ("inside", Start::Now);
    operations
        .define_stream(&context, place, nats("nats://127.0.0.1:1"), None)
        .await
        .unwrap();
    let path: &[(&str, &str)] = &[("name", "inside")];
    administered.done("pauseStream", (path, ""), because()).await;
    let other = json!({"target": {"kind": "nats", "url": "nats://127.0.0.1:2"}});
    let credentials = json!({"credentials": "somebody:something"});
    for (method, place, body) in [
        ("put", "/admin/streams/inside", &other),
        ("post", "/admin/streams/inside/rotate-secret", &credentials),
    ] {
        let answer = administered
            .send((method, place), Some(&configure), Some(body))
            .await;
        assert_eq!(
            (answer.status, error(&answer.body)),
            (403, "permission_denied"),
            "{place}"
        );
    }
    let changed = administered
        .done("updateStream", (path, ""), Some(other.clone()))
        .await;
    assert!(changed.to_string().contains("127.0.0.1:2"), "{changed}");
    let rotated = administered
        .done("rotateStreamSecret", (path, ""), Some(credentials))
        .await;
    assert!(!rotated.to_string().contains("something"), "{rotated}");
    let (status, refused) = administered
        .call(
            "createStream",
            NONE,
            Some(json!({"name": "more", "definition": other})),
        )
        .await;
    assert_eq!((status, error(&refused)), (400, "validation_error"));
    // The keys of the evidence log.
    let keys = administered.done("listLogKeys", NONE, None).await;
    assert_eq!(
        json_of(&party.server, &["audit", "key", "list"]).await,
        keys["items"]
    );
}
