//! Clients, users, keys and grants, administered from the command line.

use grantlog::credential::{self, Address, Kind};
use grantlog::domain::client::GrantType;
use grantlog::domain::grant::{Grant, IssueToken, Mint, MintRefresh};
use grantlog::domain::value::ScopeSet;
use grantlog::ids::GrantId;
use serde_json::{Value, json};

use super::{finish, grantlog_on, json, stderr, stdout};
use crate::harness::{TestDatabase, TestServer};

async fn run(database: &TestDatabase, arguments: &[&str], stdin: Option<&str>) -> std::process::Output {
    let mut command = grantlog_on(database);
    command.args(arguments);
    finish(command, stdin).await
}

#[tokio::test]
async fn a_client_is_registered_changed_and_revoked() {
    let server = TestServer::start().await;
    let database = &server.database;
    let metadata = json!({
        "client_name": "Moved here", "client_id": "legacy app+1", "client_secret": "p:w \"x\" %41+ long",
        "redirect_uris": ["https://app.example/cb"], "scope": "view-user detail-user",
        "client_uri": "https://app.example/",
    });
    let created = json(
        &run(
            database,
            &["client", "create", "--json", "-"],
            Some(&metadata.to_string()),
        )
        .await,
    );
    assert_eq!(created["client_id"], "legacy app+1");
    assert_eq!(created["scope"], "detail-user view-user");
    assert_eq!(created["client_secret_expires_at"], 0);

    let flags = [
        "client",
        "create",
        "--name",
        "Native",
        "--public",
        "--redirect-uri",
        "http://127.0.0.1/cb",
        "--json",
    ];
    let native = json(&run(database, &flags, None).await);
    assert_eq!(native["token_endpoint_auth_method"], "none");
    assert!(native.get("client_secret").is_none());

    let patch =
        r#"{"client_name": "Renamed", "home_page_url": null, "policy_uri": "https://app.example/privacy"}"#;
    let updated = json(
        &run(
            database,
            &["client", "update", "legacy app+1", "--json", "-"],
            Some(patch),
        )
        .await,
    );
    assert_eq!(updated["client_name"], "Renamed");
    assert_eq!(updated["privacy_policy_url"], "https://app.example/privacy");
    assert_eq!(updated["redirect_uris"][0], "https://app.example/cb");
    assert!(updated.get("home_page_url").is_none());
    let wrong = run(
        database,
        &["client", "update", "legacy app+1", "--json", "-"],
        Some(r#"{"scope": 1}"#),
    )
    .await;
    assert!(
        !wrong.status.success() && stderr(&wrong).contains("scope"),
        "{}",
        stderr(&wrong)
    );

    let rotated = json(
        &run(
            database,
            &[
                "client",
                "rotate-secret",
                "legacy app+1",
                "--overlap",
                "60",
                "--json",
            ],
            None,
        )
        .await,
    );
    assert!(rotated["client_secret"].as_str().unwrap().starts_with("gls_"));
    let because = ["--reason", "test", "--json"];
    let step = |words: &[&'static str]| [words, &because].concat();
    let approved = run(
        database,
        &step(&["client", "approve-scope", "legacy app+1", "detail-user"]),
        None,
    )
    .await;
    let approval = &json(&approved)["approvals"]["detail-user"];
    assert_eq!(
        (&approval["state"], &approval["actor"], &approval["reason"]),
        (&"approved".into(), &"command_line".into(), &"test".into())
    );
    assert!(approval["at"].is_string());
    for (command, standing) in [
        ("suspend", "suspended"),
        ("reinstate", "active"),
        ("revoke", "revoked"),
    ] {
        let after = json(&run(database, &step(&["client", command, "legacy app+1"]), None).await);
        assert_eq!(after["standing"], standing);
    }
    let shown = json(&run(database, &["client", "show", "legacy app+1", "--json"], None).await);
    assert_eq!(shown["standing"], "revoked");
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 2);
    assert!(!shown.to_string().contains("argon2"), "no verifier is shown");
    let listed = json(&run(database, &["client", "list", "--json", "--limit", "1"], None).await);
    let after = listed[0]["position"].to_string();
    let rest = json(&run(database, &["client", "list", "--json", "--after", &after], None).await);
    assert_eq!(
        (listed.as_array().unwrap().len(), rest.as_array().unwrap().len()),
        (1, 1)
    );
}

#[tokio::test]
async fn what_loosens_a_client_is_given_as_metadata_and_taken_back() {
    let server = TestServer::start().await;
    let database = &server.database;
    let metadata = json!({
        "client_name": "Moved here", "client_id": "mover", "redirect_uris": ["https://app.example/cb"],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "legacy": true, "json_requests": true, "legacy_full_scope": true, "client_credentials_refresh": true,
        "response_profile": "camel_case", "access_token_algorithm": "HS256",
        "lifetimes": {"client_credentials": {"access_token": 60}, "authorization_code": {"refresh_token": 600}},
    });
    let create = ["client", "create", "--json", "-"];
    let refused = run(database, &create, Some(&metadata.to_string())).await;
    assert!(!refused.status.success() && stderr(&refused).contains("allow_hs256_access_tokens"));
    let mut allowed = grantlog_on(database);
    allowed
        .env("GRANTLOG_ALLOW_HS256_ACCESS_TOKENS", "true")
        .args(create);
    let created = json(&finish(allowed, Some(&metadata.to_string())).await);
    for (name, value) in metadata.as_object().unwrap() {
        assert_eq!(created[name], *value, "{name}");
    }
    let update = ["client", "update", "mover", "--json", "-"];
    let unmarked = run(
        database,
        &update,
        Some(r#"{"access_token_algorithm": null, "legacy": null}"#),
    )
    .await;
    assert!(stderr(&unmarked).contains("json_requests: it is for a client with legacy: true only"));
    let patch = r#"{"access_token_algorithm": null, "json_requests": false, "response_profile": null,
        "lifetimes": {"client_credentials": null, "authorization_code": {"access_token": 90}}}"#;
    let updated = json(&run(database, &update, Some(patch)).await);
    assert_eq!(updated["access_token_algorithm"], "ES256");
    assert_eq!(updated["response_profile"], "standard");
    assert_eq!(
        updated["lifetimes"],
        json!({"authorization_code": {"access_token": 90, "refresh_token": 600}})
    );
}

#[tokio::test]
async fn a_user_is_registered_disabled_and_erased() {
    let server = TestServer::start().await;
    let database = &server.database;
    let create = [
        "user",
        "create",
        "alice",
        "--email",
        "alice@example.com",
        "--password-stdin",
        "--json",
    ];
    let created = json(&run(database, &create, Some("correct horse\n")).await);
    assert_eq!(
        (&created["state"], &created["has_password"]),
        (&json!("active"), &json!(true))
    );
    let again = run(database, &create, Some("correct horse\n")).await;
    assert!(
        !again.status.success() && stderr(&again).contains("taken"),
        "{}",
        stderr(&again)
    );
    let sub = created["sub"].as_str().unwrap();
    assert!(
        run(database, &["user", "set-password", sub], Some("battery staple\n"))
            .await
            .status
            .success()
    );
    let disabled = json(
        &run(
            database,
            &["user", "disable", "Alice", "--reason", "left", "--json"],
            None,
        )
        .await,
    );
    assert_eq!(disabled["state"], "disabled");
    let enabled = json(
        &run(
            database,
            &["user", "enable", "alice", "--reason", "came back", "--json"],
            None,
        )
        .await,
    );
    assert_eq!(enabled["state"], "active");
    let listed = stdout(&run(database, &["user", "list"], None).await);
    assert!(listed.contains("alice@example.com"), "{listed}");
    let erased = json(&run(database, &["user", "erase", "alice", "--yes", "--json"], None).await);
    assert_eq!(erased["state"], "erased");
    let gone = run(database, &["user", "show", "alice"], None).await;
    assert!(!gone.status.success());
    assert_eq!(
        json(&run(database, &["user", "show", sub, "--json"], None).await)["state"],
        "erased"
    );
    let trail = stdout(&run(database, &["audit", "tail", "--lines", "9", "--json"], None).await);
    assert!(trail.contains(r#""note":"came back""#), "{trail}");
}

#[tokio::test]
async fn a_wrong_master_key_is_noticed_before_anything_is_written() {
    let server = TestServer::start().await;
    let mut command = grantlog_on(&server.database);
    command.env("GRANTLOG_MASTER_KEY", "00".repeat(32));
    command.args(["user", "create", "bob", "--password-stdin"]);
    let refused = finish(command, Some("correct horse\n")).await;
    assert!(!refused.status.success());
    assert!(
        stderr(&refused).contains("master key is not the one"),
        "{}",
        stderr(&refused)
    );
}

#[tokio::test]
async fn standard_members_without_effect_are_ignored_aloud_and_typing_errors_refused() {
    let server = TestServer::start().await;
    let create = async |metadata: Value| {
        let arguments = ["client", "create", "--json", "-"];
        run(&server.database, &arguments, Some(&metadata.to_string())).await
    };
    let mut metadata = json!({
        "client_name": "Stock", "redirect_uris": ["https://app.example/cb"], "scope": "view-user",
        "response_types": ["code"], "require_auth_time": true, "contacts": ["ops@app.example"],
        "client_name#de": "Lager",
    });
    let created = create(metadata.clone()).await;
    assert!(created.status.success(), "{}", stderr(&created));
    assert_eq!(json(&created)["client_name"], "Stock");
    assert_eq!(json(&created)["contacts"], json!(["ops@app.example"]));
    let told = stderr(&created);
    for name in ["response_types", "require_auth_time", "client_name#de"] {
        assert!(told.contains(name), "{told}");
    }
    assert!(told.contains("ignored: "), "{told}");
    metadata["redirect_uri"] = json!("https://app.example/cb");
    let refused = create(metadata).await;
    assert!(!refused.status.success());
    assert!(
        stderr(&refused).contains("unknown field `redirect_uri`"),
        "{}",
        stderr(&refused)
    );
}

#[tokio::test]
async fn keys_are_rotated_and_retired() {
    let server = TestServer::start().await;
    let database = &server.database;
    let keys = json(
        &run(
            database,
            &[
                "key",
                "rotate",
                "--algorithm",
                "ES256",
                "--reason",
                "test",
                "--json",
            ],
            None,
        )
        .await,
    );
    let keys = keys.as_array().unwrap();
    assert_eq!(keys.len(), 5, "one of each algorithm, and another");
    let oldest = keys.iter().rev().find(|key| key["algorithm"] == "ES256").unwrap();
    let kid = oldest["kid"].as_str().unwrap();
    let retired = json(
        &run(
            database,
            &["key", "retire", "--reason", "old", "--yes", "--json", "--", kid],
            None,
        )
        .await,
    );
    let state = |kid: &str| {
        retired
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["kid"] == kid)
            .unwrap()["state"]
            .clone()
    };
    assert_eq!(state(kid), "retired");
    assert_eq!(state(keys[0]["kid"].as_str().unwrap()), "active");
}

/// A grant of a client's own, with a refresh token, and that token.
async fn grant(server: &TestServer) -> (GrantId, String) {
    let client = server
        .client(json!({"client_name": "Machine", "grant_types": ["client_credentials"]}))
        .await;
    let ledger = &server.app.ledger;
    let at = ledger.clock().now();
    let id = GrantId(ledger.random().uuid_at(at).unwrap());
    let random: [u8; 32] = ledger.random().bytes().unwrap();
    let command = IssueToken {
        flow: GrantType::ClientCredentials,
        client: client.key,
        subject: None,
        scope: ScopeSet::default(),
        audience: Vec::new(),
        details: None,
        password_generation: 0,
        grant_expires_at: at + chrono::TimeDelta::days(1),
        mint: Mint {
            access: credential::digest(Kind::TokenId, &random),
            access_lifetime: 60,
            confirmation: None,
            refresh: Some(MintRefresh {
                digest: credential::digest(Kind::Refresh, &random),
                lifetime: 600,
                bound: false,
            }),
        },
        at,
    };
    let context = TestServer::context();
    let mut unit = ledger.unit_of_work(&context);
    let state = unit.create::<Grant>(id.0);
    unit.conclude(&state, state.issue(&command))
        .await
        .unwrap()
        .unwrap();
    let key = ledger.vault().master().address_key();
    let token = credential::format(
        Kind::Refresh,
        key,
        Address {
            grant: id,
            sequence: 1,
        },
        &random,
    );
    (id, token)
}

#[tokio::test]
async fn a_pasted_credential_leads_to_its_grant_and_is_not_repeated() {
    let server = TestServer::start().await;
    let database = &server.database;
    let (id, token) = grant(&server).await;
    let shown = run(database, &["grant", "show", &token, "--json"], None).await;
    let document = json(&shown);
    assert_eq!(document["grant"], json!(id));
    assert_eq!(document["credential"]["authentic"], true);
    assert_eq!(document["events"][0]["event_type"], "TokenIssued");
    let text = stdout(&run(database, &["grant", "show", "-"], Some(&token)).await);
    assert!(text.contains("authentic, usable until "), "{text}");

    let mut forged = token.clone();
    forged.pop();
    forged.push(if token.ends_with('A') { 'Q' } else { 'A' });
    let text = stdout(&run(database, &["grant", "show", &forged], None).await);
    assert!(text.contains("NOT authentic"), "{text}");

    let id = id.to_string();
    assert!(
        run(
            database,
            &["grant", "revoke", &token, "--reason", "found on a forum"],
            None
        )
        .await
        .status
        .success()
    );
    let after: Value = json(&run(database, &["grant", "show", &id, "--json"], None).await);
    assert_eq!(after["state"]["revoked"], "administrator");
    assert_eq!(after["events"][1]["metadata"]["note"], "found on a forum");
    for output in [
        shown,
        run(database, &["grant", "show", "glr_nonsense"], None).await,
    ] {
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        assert!(
            !printed.contains(&token) && !printed.contains("glr_nonsense"),
            "{printed}"
        );
    }
}

#[tokio::test]
async fn a_scope_is_defined_described_restricted_and_retired() {
    let server = TestServer::start().await;
    let database = &server.database;
    let define = [
        "scope",
        "define",
        "get_user_profile",
        "--description",
        "See your profile",
        "--json",
    ];
    let defined = json!({
        "name": "get_user_profile", "description": "See your profile", "restricted": false, "retired": false,
    });
    assert_eq!(json(&run(database, &define, None).await), defined);
    let show = ["scope", "show", "get_user_profile", "--json"];
    assert_eq!(json(&run(database, &show, None).await), defined);
    let change = |flags: &[&'static str]| {
        let words = ["scope", "change", "get_user_profile", "--json"];
        [words.as_slice(), flags].concat()
    };
    let changed = json(
        &run(
            database,
            &change(&["--restricted", "true", "--reason", "audit"]),
            None,
        )
        .await,
    );
    assert_eq!(changed["restricted"], true);
    assert_eq!(
        changed["description"], "See your profile",
        "what is not named stays"
    );
    let changed = json(&run(database, &change(&["--description", "See all of it"]), None).await);
    assert_eq!(
        (&changed["restricted"], &changed["description"]),
        (&json!(true), &json!("See all of it"))
    );
    let nothing = run(database, &change(&[]), None).await;
    assert_eq!(nothing.status.code(), Some(2), "a change of nothing is a mistake");
    let trail = stdout(&run(database, &["audit", "tail", "--lines", "2", "--json"], None).await);
    assert!(
        trail.contains("ScopeChanged") && trail.contains(r#""note":"audit""#),
        "{trail}"
    );

    let retire = [
        "scope",
        "retire",
        "get_user_profile",
        "--reason",
        "unused",
        "--yes",
        "--json",
    ];
    assert_eq!(json(&run(database, &retire, None).await)["retired"], true);
    let client =
        json!({"client_name": "X", "redirect_uris": ["https://x.example/"], "scope": "get_user_profile"});
    let late = run(
        database,
        &["client", "create", "--json", "-"],
        Some(&client.to_string()),
    )
    .await;
    assert!(
        stderr(&late).contains("get_user_profile is not defined"),
        "{}",
        stderr(&late)
    );
    let listed = json(&run(database, &["scope", "list", "--json"], None).await);
    let retired: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|scope| scope["retired"] == true)
        .collect();
    assert_eq!(retired.len(), 1);
    let table = stdout(&run(database, &["scope", "list"], None).await);
    assert!(
        table.contains("RETIRED") && table.contains("See your name and user name"),
        "{table}"
    );
    assert_eq!(
        json(&run(database, &define, None).await),
        defined,
        "defined anew, it is back"
    );
    for wrong in [
        ["scope", "show", "nothing"].as_slice(),
        &["scope", "change", "nothing", "--restricted", "true"],
        &["scope", "retire", "nothing", "--reason", "x", "--yes"],
        &["scope", "define", "two words", "--description", "x"],
        &["scope", "define", "x", "--description", " "],
        &["scope", "define", "x", "--description", "\u{202e}x"],
    ] {
        assert_eq!(
            run(database, wrong, None).await.status.code(),
            Some(1),
            "{wrong:?}"
        );
    }
}
