//! What relying parties that move here may be let, each of it by a setting of one client.

use grantlog::domain::client::{Approval, Client, ClientCommand};
use grantlog::operations::describe;
use serde_json::{Value, json};

use crate::code::REDIRECT_URI;
use crate::flow;
use crate::harness::{TestServer, browser};
use crate::rfc6749::post_as;
use crate::token::{Party, error, text};

const ALL_GRANTS: [&str; 4] = [
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "password",
];

pub(crate) async fn legacy(extra: Value) -> Party {
    let server = TestServer::start_with(|settings| settings.allow_password_grant = true).await;
    let mut metadata = json!({"legacy": true, "grant_types": ALL_GRANTS});
    metadata
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    Party::on(server, metadata).await
}

#[tokio::test]
async fn only_a_legacy_client_may_be_loosened() {
    let server = TestServer::start().await;
    let register = async |metadata: Value| {
        let mut members = json!({
            "client_name": "Mover", "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        });
        members
            .as_object_mut()
            .unwrap()
            .extend(metadata.as_object().unwrap().clone());
        let registration = serde_json::from_value(members).unwrap();
        let operations = &server.app.operations;
        let created = operations
            .create_client(&TestServer::context(), registration)
            .await;
        created.map_err(|error| error.to_string())
    };
    for member in ["json_requests", "legacy_full_scope", "client_credentials_refresh"] {
        let refused = register(json!({member: true})).await.unwrap_err();
        let words = format!("{member}: it is for a client with legacy: true only");
        assert_eq!(refused, words);
        let created = register(json!({member: true, "legacy": true})).await.unwrap();
        let unmarked = server.update_client(created.key, json!({"legacy": false})).await;
        assert_eq!(unmarked.unwrap_err().to_string(), words);
    }
    let refused = register(
        json!({"legacy": true, "client_credentials_refresh": true, "grant_types": ["client_credentials"]}),
    )
    .await;
    assert!(
        refused
            .unwrap_err()
            .starts_with("client_credentials_refresh: client_credentials and refresh_token")
    );
}

#[tokio::test]
async fn what_oauth21_removed_is_for_legacy_clients_and_for_those_that_had_it_before() {
    let server = TestServer::start().await;
    let operations = &server.app.operations;
    let context = TestServer::context();
    for (member, value, usual) in [
        (
            "grant_types",
            json!(["password", "refresh_token"]),
            json!(["refresh_token"]),
        ),
        ("response_profile", json!("camel_case"), json!("standard")),
    ] {
        let register = async |legacy: bool| {
            let mut members =
                json!({"client_name": "Mover", "grant_types": ["refresh_token"], "legacy": legacy});
            members[member] = value.clone();
            let registration = serde_json::from_value(members).unwrap();
            let created = operations.create_client(&context, registration).await;
            created.map_err(|error| error.to_string())
        };
        let refused = register(false).await.unwrap_err();
        assert!(
            refused.starts_with(member) && refused.contains("legacy: true"),
            "{refused}"
        );
        // The mark cannot be taken back while it is there; nor does an unmarked client get it later.
        let client = register(true).await.unwrap();
        let unmarked = server.update_client(client.key, json!({"legacy": false})).await;
        assert!(unmarked.unwrap_err().to_string().starts_with(member));
        let patch = json!({"legacy": false, member: usual});
        server.update_client(client.key, patch).await.unwrap();
        let patch = json!({member: value});
        server.update_client(client.key, patch.clone()).await.unwrap_err();
        // One of an earlier build, whose ledger says so, goes on as it is until it gives it up.
        let before = operations.load::<Client>(client.key.0).await.unwrap();
        let before = &before.registration.as_deref().unwrap().metadata;
        let metadata = describe::merge(before, patch.as_object().unwrap().clone()).unwrap();
        let command = ClientCommand::Update(Box::new(metadata));
        operations
            .command_client(&context, client.key, &command)
            .await
            .unwrap();
        server
            .update_client(client.key, json!({"client_name": "Renamed"}))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_omitted_scope_is_the_default_and_for_a_marked_client_all_that_is_not_restricted() {
    let party = legacy(json!({"legacy_full_scope": true})).await;
    let server = &party.server;
    let context = TestServer::context();
    let approved = ClientCommand::Approval {
        scope: "detail-user".into(),
        step: Approval::Approved,
        reason: "test".into(),
    };
    server
        .app
        .operations
        .command_client(&context, party.key, &approved)
        .await
        .unwrap();
    let machine = vec![("grant_type", "client_credentials")];
    let password = vec![
        ("grant_type", "password"),
        ("username", "ada"),
        ("password", "correct horse battery"),
    ];
    let scope_of = async |form: &[(&str, &str)], omitted: bool| {
        let form = [form, if omitted { &[] } else { &[("scope", "detail-user")] }].concat();
        let (status, tokens) = party.post("/oauth/token", &form).await;
        assert_eq!(status, 200, "{tokens}");
        text(&tokens, "scope").to_owned()
    };
    let authorized = async || {
        let (browser, client) = (browser(), &party.client_id);
        let created = grantlog::operations::client::CreatedClient {
            key: party.key,
            client_id: client.clone(),
            client_secret: None,
        };
        let query = flow::with(
            &flow::query(&created),
            &[("redirect_uri", REDIRECT_URI), ("scope", "")],
        );
        let mut query = query;
        query.push(("scope".to_owned(), String::new()));
        let after = flow::log_in(server, &browser, &query, ("ada", "correct horse battery")).await;
        let mut answer = flow::follow(server, &browser, &after).await;
        if answer.is_consent_page() {
            answer = flow::decide(server, &browser, &query, (&answer, "approve")).await;
        }
        let (status, tokens) = party.redeem(&answer.parameters()["code"]).await;
        assert_eq!(status, 200, "{tokens}");
        text(&tokens, "scope").to_owned()
    };
    let full = "server-operations view-user";
    for form in [&machine, &password] {
        assert_eq!(scope_of(form, true).await, full);
        // Approved, so it may be asked for; but by its name.
        assert_eq!(scope_of(form, false).await, "detail-user");
    }
    assert_eq!(authorized().await, full);
    // A scope that becomes restricted is out of it at once.
    let define = async |restricted| {
        let operations = &server.app.operations;
        operations
            .define_scope(&context, "server-operations", "Operate servers", restricted)
            .await
            .unwrap();
    };
    define(true).await;
    assert_eq!(scope_of(&machine, true).await, "view-user");
    define(false).await;

    let patch = json!({"legacy_full_scope": false});
    server.update_client(party.key, patch).await.unwrap();
    assert_eq!(scope_of(&machine, true).await, "view-user");
    assert_eq!(scope_of(&password, true).await, "view-user");
    assert_eq!(authorized().await, "view-user");
    // No default, nothing omitted; and where all is restricted there is no full scope either.
    for patch in [
        json!({"default_scopes": null}),
        json!({"scope": "detail-user", "legacy_full_scope": true}),
    ] {
        server.update_client(party.key, patch).await.unwrap();
        let answer = party.post("/oauth/token", &machine).await;
        assert_eq!(error(&answer), (400, "invalid_scope"));
    }
}

#[tokio::test]
async fn the_answers_members_are_spelled_as_the_client_is_registered() {
    let party = legacy(json!({})).await;
    let members = |body: &Value| -> Vec<String> {
        let mut names: Vec<String> = body.as_object().unwrap().keys().cloned().collect();
        names.sort_unstable();
        names
    };
    let machine = [("grant_type", "client_credentials")];
    let (_, standard) = party.post("/oauth/token", &machine).await;
    assert_eq!(
        members(&standard),
        ["access_token", "expires_in", "scope", "token_type"]
    );
    let patch = json!({"response_profile": "camel_case"});
    party.server.update_client(party.key, patch).await.unwrap();
    let all = ["accessToken", "expiresIn", "refreshToken", "scope", "tokenType"];
    let (_, code) = party.redeem(&party.code("view-user").await).await;
    assert_eq!(members(&code), all);
    assert_eq!(
        (&code["tokenType"], &code["expiresIn"], &code["scope"]),
        (&json!("Bearer"), &json!(3600), &json!("view-user"))
    );
    assert_eq!(party.api("/api/user", text(&code, "accessToken")).await.0, 200);
    let (status, refreshed) = party.refresh(text(&code, "refreshToken")).await;
    assert_eq!(
        (status, members(&refreshed)),
        (200, all.map(str::to_owned).to_vec())
    );
    let password = [
        ("grant_type", "password"),
        ("username", "ada"),
        ("password", "correct horse battery"),
    ];
    assert_eq!(members(&party.post("/oauth/token", &password).await.1), all);
    let (_, machine) = party.post("/oauth/token", &machine).await;
    assert_eq!(
        members(&machine),
        ["accessToken", "expiresIn", "scope", "tokenType"]
    );
    // Errors and introspection are as the RFCs have them.
    let (status, refused) = party.redeem("glc_nonsense").await;
    assert_eq!(status, 400);
    assert_eq!(
        members(&refused),
        ["error", "error_description", "hint", "message", "request_id"]
    );
    let (_, state) = party
        .post("/oauth/introspect", &[("token", text(&code, "accessToken"))])
        .await;
    assert!(state.get("client_id").is_some());
}

#[tokio::test]
async fn lifetimes_are_the_flows_own_and_stay_so_through_refreshes() {
    let party = legacy(json!({
        "access_token_lifetime": 100, "refresh_token_lifetime": 1000, "client_credentials_refresh": true,
        "lifetimes": {
            "client_credentials": {"access_token": 200},
            "authorization_code": {"access_token": 300, "refresh_token": 3000},
        },
    }))
    .await;
    // Of the access token as the answer and the token have it, and of the refresh token as introspection has it.
    let lifetimes = async |tokens: &Value| {
        let (_, refresh) = party
            .post("/oauth/introspect", &[("token", text(tokens, "refresh_token"))])
            .await;
        let (_, access) = party
            .post("/oauth/introspect", &[("token", text(tokens, "access_token"))])
            .await;
        let lived = |state: &Value| state["exp"].as_i64().unwrap() - state["iat"].as_i64().unwrap();
        assert_eq!(json!(lived(&access)), tokens["expires_in"]);
        (lived(&access), lived(&refresh))
    };
    let (_, code) = party.redeem(&party.code("view-user").await).await;
    let (_, machine) = party
        .post("/oauth/token", &[("grant_type", "client_credentials")])
        .await;
    let password = [
        ("grant_type", "password"),
        ("username", "ada"),
        ("password", "correct horse battery"),
    ];
    let (_, password) = party.post("/oauth/token", &password).await;
    for (tokens, expected) in [
        (code, (300, 3000)),
        (machine, (200, 1000)),
        (password, (100, 1000)),
    ] {
        assert_eq!(lifetimes(&tokens).await, expected);
        let (_, refreshed) = party.refresh(text(&tokens, "refresh_token")).await;
        assert_eq!(lifetimes(&refreshed).await, expected);
    }
    let patch = |lifetimes: Value| {
        party
            .server
            .update_client(party.key, json!({"lifetimes": lifetimes}))
    };
    for (lifetimes, problem) in [
        (
            json!({"password": {"access_token": 0}}),
            "lifetimes: password.access_token needs 1 second to 31 days",
        ),
        (
            json!({"password": {"access_token": 86_400 * 31 + 1}}),
            "lifetimes: password.access_token needs 1 second to 31 days",
        ),
        (
            json!({"authorization_code": {"refresh_token": 86_400 * 3650 + 1}}),
            "lifetimes: authorization_code.refresh_token needs 1 second to 3650 days",
        ),
    ] {
        assert_eq!(patch(lifetimes).await.unwrap_err().to_string(), problem);
    }
    let refused = patch(json!({"refresh_token": {"access_token": 60}})).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("flow that began their grant")
    );
    for unknown in [
        json!({"implicit": {"access_token": 60}}),
        json!({"password": {"id_token": 60}}),
        json!({"password": 60}),
    ] {
        assert!(
            patch(unknown)
                .await
                .unwrap_err()
                .to_string()
                .contains("lifetimes")
        );
    }
}

#[tokio::test]
async fn client_credentials_may_be_refreshed_where_the_client_is_marked_for_it() {
    let party = legacy(json!({"client_credentials_refresh": true})).await;
    let machine = [
        ("grant_type", "client_credentials"),
        ("scope", "view-user server-operations"),
    ];
    let issue = async || party.post("/oauth/token", &machine).await.1;
    let first = issue().await;
    let (refresh, access) = (text(&first, "refresh_token"), text(&first, "access_token"));
    assert!(party.is_active(refresh).await && party.is_active(access).await);
    // It outlives its first access token.
    party.server.clock.advance(std::time::Duration::from_secs(3601));
    assert!(!party.is_active(access).await);
    let (status, second) = party.refresh(refresh).await;
    assert_eq!(
        (status, text(&second, "scope")),
        (200, "server-operations view-user")
    );
    assert!(party.is_active(text(&second, "access_token")).await);
    // A replay ends the family.
    party.server.clock.advance(std::time::Duration::from_secs(11));
    let answer = party.refresh(refresh).await;
    assert_eq!(error(&answer), (400, "invalid_grant"));
    for member in ["access_token", "refresh_token"] {
        assert!(!party.is_active(text(&second, member)).await);
    }
    // So does a revocation, of this family only.
    let (third, fourth) = (issue().await, issue().await);
    let (status, _) = party
        .post("/oauth/revoke", &[("token", text(&third, "refresh_token"))])
        .await;
    assert_eq!(status, 200);
    for (tokens, active) in [(&third, false), (&fourth, true)] {
        for member in ["access_token", "refresh_token"] {
            assert_eq!(party.is_active(text(tokens, member)).await, active);
        }
    }
    // And the end of the grant, however often it is refreshed.
    let days = u64::from(party.server.app.settings.grant_lifetime_days);
    let patch = json!({"refresh_token_lifetime": 86_400 * 3650});
    party.server.update_client(party.key, patch).await.unwrap();
    let (_, fifth) = party.refresh(text(&fourth, "refresh_token")).await;
    party
        .server
        .clock
        .advance(std::time::Duration::from_secs(days * 86_400));
    assert!(!party.is_active(text(&fifth, "refresh_token")).await);
    let answer = party.refresh(text(&fifth, "refresh_token")).await;
    assert_eq!(error(&answer), (400, "invalid_grant"));
}

#[tokio::test]
async fn what_is_no_longer_marked_is_no_longer_refreshed() {
    let party = legacy(json!({"client_credentials_refresh": true})).await;
    let machine = [("grant_type", "client_credentials")];
    let (_, tokens) = party.post("/oauth/token", &machine).await;
    let refresh = text(&tokens, "refresh_token");
    let mark = |marked: bool| {
        let patch = json!({"client_credentials_refresh": marked});
        party.server.update_client(party.key, patch)
    };
    mark(false).await.unwrap();
    assert!(!party.is_active(refresh).await);
    let answer = party.refresh(refresh).await;
    assert_eq!(error(&answer), (400, "invalid_grant"));
    let (_, without) = party.post("/oauth/token", &machine).await;
    assert!(without.get("refresh_token").is_none());
    // It was not used up.
    mark(true).await.unwrap();
    assert_eq!(party.refresh(refresh).await.0, 200);
}

/// RFC 9700 §2.1.1 has public clients use PKCE; those that move here may not know it.
#[tokio::test]
async fn a_legacy_public_client_may_leave_pkce_out_and_is_held_to_what_it_sends() {
    let server = TestServer::start().await;
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let mut metadata = flow::confidential();
    metadata["token_endpoint_auth_method"] = json!("none");
    let strict = server.client(metadata.clone()).await;
    metadata["legacy"] = json!(true);
    let client = server.client(metadata).await;
    let browser = browser();
    let without = [("code_challenge", ""), ("code_challenge_method", "")];
    let refused = flow::request(&server, &browser, &flow::with(&flow::query(&strict), &without)).await;
    assert_eq!(refused.parameters()["error"], "invalid_request");
    for (changes, verifier, status) in [
        (&without[..], None, 200),
        (&without[..], Some(flow::VERIFIER), 400),
        (
            &[("code_challenge_method", "plain")][..],
            Some(flow::CHALLENGE),
            200,
        ),
        (&[("code_challenge_method", "plain")][..], None, 400),
    ] {
        let query = flow::with(&flow::query(&client), changes);
        let code = flow::authorize(&server, &browser, &query).await["code"].clone();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("client_id", &client.client_id),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code", &code),
        ];
        form.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        let (answered, body) = post_as((&server, "/oauth/token"), None, &form).await;
        assert_eq!(answered, status, "{changes:?} {verifier:?}: {body}");
    }
}
