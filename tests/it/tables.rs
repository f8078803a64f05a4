//! `docs/tables.md`: each of its queries is run by the role that it is written for, after a flow of which the answers
//! are known.

use std::collections::BTreeMap;

use grantlog::credential::{self, Kind};
use grantlog::crypto::signing::VerifiedToken;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::flow::{self, PASSWORD, REDIRECT_URI, USERNAME, VERIFIER};
use crate::harness::{TestServer, browser};

/// The questions of the document with their queries.
fn questions() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tables.md")).unwrap();
    let (mut heading, mut found) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("### ") {
            title.clone_into(&mut heading);
        }
        if line == "```sql" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push((heading.clone(), block.join("\n")));
        }
    }
    found
}

/// What the flow of this test knows: psql's variables.
struct Facts {
    variables: BTreeMap<&'static str, String>,
    expected: BTreeMap<&'static str, Value>,
}

struct Party<'a> {
    server: &'a TestServer,
    client_id: String,
    secret: String,
    http: reqwest::Client,
}

impl Party<'_> {
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Value {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self
            .http
            .post(self.server.url(path))
            .basic_auth(&self.client_id, Some(&self.secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let text = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn redeem(&self, code: &str) -> Value {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.post("/oauth/token", &fields).await
    }

    async fn verified(&self, token: &str) -> VerifiedToken {
        let app = &self.server.app;
        app.keys
            .verify(token, &app.settings.issuer)
            .await
            .unwrap()
            .unwrap()
    }
}

/// One code that is redeemed, rotated once; another that is replayed; a machine's token; a token that is revoked; an
/// owner; a user that is erased.
#[expect(clippy::too_many_lines, reason = "a flow and what it comes to")]
async fn facts(server: &TestServer) -> Facts {
    let subject = server.user(USERNAME, PASSWORD).await;
    let gone = server.user("gone", "gone's long password").await;
    let mut metadata = flow::confidential();
    metadata["client_id"] = json!("shop");
    metadata["home_page_url"] = json!("https://app.example/");
    metadata["owner"] = json!(subject);
    metadata["is_live"] = json!(false);
    metadata["grant_types"] = json!(["authorization_code", "refresh_token", "client_credentials"]);
    let client = server.client(metadata).await;
    let party = Party {
        server,
        client_id: client.client_id.clone(),
        secret: client.client_secret.clone().unwrap(),
        http: browser(),
    };
    let query = flow::query(&client);
    let code = flow::authorize(server, &party.http, &query).await["code"].clone();
    let first = party.redeem(&code).await;
    let refresh = first["refresh_token"].as_str().unwrap().to_owned();
    let rotate = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let second = party.post("/oauth/token", &rotate).await;
    let access = second["access_token"].as_str().unwrap().to_owned();
    party.post("/oauth/introspect", &[("token", &access)]).await;
    let replayed = flow::authorize(server, &party.http, &query).await["code"].clone();
    party.redeem(&replayed).await;
    assert_eq!(party.redeem(&replayed).await["error"], "invalid_grant");
    let machine = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    party.post("/oauth/token", &machine).await;
    let operations = &server.app.operations;
    operations.erase_user(&TestServer::context(), gone).await.unwrap();

    let key = server.app.ledger.vault().master().address_key();
    let digest = |kind, text: &str| {
        let presented = credential::parse(kind, key, text).unwrap();
        presented.digest.to_string()
    };
    let jti = party.verified(&access).await.claims.jti.clone();
    let (code_digest, refresh_digest, access_digest) = (
        digest(Kind::Code, &code),
        digest(Kind::Refresh, &refresh),
        digest(Kind::TokenId, &jti),
    );
    let expected = BTreeMap::from([
        ("What is this code's digest?", json!([{"digest": code_digest}])),
        (
            "What is this refresh token's digest?",
            json!([{"digest": refresh_digest}]),
        ),
        (
            "What is this access token's digest?",
            json!([{"digest": access_digest}]),
        ),
        (
            "Is this code used?",
            json!([{"is_used": true, "was_replayed": false}]),
        ),
        (
            "Could this code still be redeemed?",
            json!([{"redeemable": false, "expired": false, "revoked_reason": null}]),
        ),
        (
            "To whom was this code given, and for what?",
            json!([{"client_id": "shop", "username": USERNAME, "scope": ["view-user"],
                    "redirect_uri": REDIRECT_URI, "pkce_method": "S256"}]),
        ),
        (
            "Which tokens came of this code?",
            json!([{"grant_type": "authorization_code", "revoked_reason": null},
                   {"grant_type": "refresh_token", "revoked_reason": null}]),
        ),
        (
            "Which codes were presented twice?",
            json!([{"client_id": "shop"}]),
        ),
        (
            "Is this access token expired or revoked?",
            json!([{"expired": false, "revoked": false, "revoked_reason": null, "client_standing": "active",
                    "active": true}]),
        ),
        (
            "Which scopes and which audience has this access token?",
            json!([{"scopes": ["view-user"], "audiences": [server.base]}]),
        ),
        (
            "Which refresh token was issued with this access token?",
            json!([{"generation": 2, "is_used": false}]),
        ),
        (
            "Is this refresh token still good, and what replaced it?",
            json!([{"generation": 1, "good": false, "revoked_reason": null, "replaced_by_generation": 2}]),
        ),
        (
            "Which tokens did this client get?",
            json!([
                {"grant_type": "client_credentials", "scope": "server-operations", "username": null,
                 "revoked_reason": null},
                {"grant_type": "authorization_code", "username": USERNAME, "revoked_reason": "code_replayed"},
                {"grant_type": "refresh_token", "username": USERNAME, "revoked_reason": null},
                {"grant_type": "authorization_code", "username": USERNAME, "revoked_reason": null},
            ]),
        ),
        (
            "Which applications have access to this user's account?",
            json!([{"client_id": "shop", "name": "Example App"}]),
        ),
        (
            "Why did tokens end before their time?",
            json!([{"revoked_reason": "code_replayed", "tokens": 1}]),
        ),
        (
            "How many tokens were issued in the last hour?",
            json!([{"grant_type": "authorization_code", "tokens": 2},
                   {"grant_type": "client_credentials", "tokens": 1},
                   {"grant_type": "refresh_token", "tokens": 1}]),
        ),
        (
            "Is this client live, and may it act?",
            json!([{"is_live": false, "standing": "active", "owner": subject}]),
        ),
        (
            "What may this client ask for, and where are its codes sent?",
            json!([{"grant_types": ["authorization_code", "refresh_token", "client_credentials"],
                    "scopes": ["detail-user", "server-operations", "view-user"], "approved_scopes": [],
                    "redirect_uri": [REDIRECT_URI]}]),
        ),
        (
            "What do its users see of this client?",
            json!([{"name": "Example App", "home_page_url": "https://app.example/", "logo_url": null,
                    "privacy_policy_url": null}]),
        ),
        (
            "Which clients does this user own?",
            json!([{"client_id": "shop", "name": "Example App", "is_live": false}]),
        ),
        (
            "Does this client exist, in Passport's words?",
            json!([{"id": "shop", "name": "Example App", "redirect": REDIRECT_URI, "password_client": false,
                    "revoked": false}]),
        ),
        (
            "Who is this subject, and may it log in?",
            json!([{"username": USERNAME, "name": "alice Example", "email": "alice@example.com",
                    "disabled": false, "erased": false}]),
        ),
        (
            "Which users are disabled or erased?",
            json!([{"subject": gone, "disabled": false}]),
        ),
    ]);
    let variables = BTreeMap::from([
        ("code", code),
        ("refresh_token", refresh),
        ("access_token", access),
        ("code_digest", code_digest),
        ("refresh_token_digest", refresh_digest),
        ("access_token_digest", access_digest),
        ("client_id", "shop".to_owned()),
        ("username", USERNAME.to_owned()),
        ("subject", subject.to_string()),
    ]);
    Facts { variables, expected }
}

/// The query as psql would send it.
fn filled_in(query: &str, variables: &BTreeMap<&'static str, String>) -> String {
    let mut text = query.trim().trim_end_matches(';').to_owned();
    for (name, value) in variables {
        text = text.replace(&format!(":'{name}'"), &format!("'{}'", value.replace('\'', "''")));
    }
    assert!(
        !text.contains(":'"),
        "a variable that the test does not know: {text}"
    );
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_tables_document_answers_its_question() {
    let server = TestServer::start().await;
    let Facts {
        variables,
        mut expected,
    } = facts(&server).await;
    server.settle().await;
    let mut reader = PgConnection::connect(&server.database.owner_url).await.unwrap();
    reader.execute("SET ROLE grantlog_reader").await.unwrap();
    for (question, query) in questions() {
        let wanted = expected
            .remove(question.as_str())
            .unwrap_or_else(|| panic!("the test does not know the answer to: {question}"));
        let sql = format!(
            "SELECT coalesce(json_agg(row_to_json(answer)), '[]')::text FROM ({}) AS answer",
            filled_in(&query, &variables)
        );
        let answer: String = sqlx::query_scalar(&sql)
            .fetch_one(&mut reader)
            .await
            .unwrap_or_else(|error| panic!("{question}: {error}"));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let (rows, wanted) = (answer.as_array().unwrap(), wanted.as_array().unwrap().clone());
        assert_eq!(rows.len(), wanted.len(), "{question}: {answer}");
        for (row, wanted) in rows.iter().zip(&wanted) {
            for (column, value) in wanted.as_object().unwrap() {
                assert_eq!(row.get(column), Some(value), "{question}: {column} of {row}");
            }
        }
    }
    assert!(
        expected.is_empty(),
        "questions that the document lacks: {expected:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_owner_reads_passwords_and_secrets() {
    let server = TestServer::start().await;
    server.user(USERNAME, PASSWORD).await;
    server.client(flow::confidential()).await;
    server.settle().await;
    let refused = async |sql: &str| {
        let mut reader = PgConnection::connect(&server.database.owner_url).await.unwrap();
        reader.execute("SET ROLE grantlog_reader").await.unwrap();
        match reader.execute(sql).await {
            Ok(_) => false,
            Err(error) => error.as_database_error().unwrap().code().as_deref() == Some("42501"),
        }
    };
    let owner = server.database.owner().await;
    // Before and after a rebuild, which makes other tables.
    for _ in 0..2 {
        for sql in [
            "SELECT password FROM users",
            "SELECT * FROM users",
            "SELECT client_secret FROM clients",
            "SELECT secret FROM oauth_clients",
            "SELECT position FROM grantlog.ledger",
            "SELECT wrapped FROM grantlog.data_keys",
            "UPDATE users SET name = 'x'",
            "DELETE FROM client_access_tokens",
        ] {
            assert!(refused(sql).await, "{sql}");
        }
        let table: String =
            sqlx::query_scalar("SELECT table_name FROM grantlog.cursors WHERE reader = 'users'")
                .fetch_one(&owner)
                .await
                .unwrap();
        assert!(refused(&format!("SELECT id FROM {table}")).await, "{table}");
        for sql in [
            "SELECT id, name, username, email, disabled FROM users",
            "SELECT id, client_id, is_live FROM clients",
            "SELECT id, redirect, revoked FROM oauth_clients",
            "SELECT * FROM client_access_tokens",
        ] {
            assert!(!refused(sql).await, "{sql}");
        }
        let app = &server.app;
        grantlog::projection::rebuild(
            app.ledger.pool(),
            app.ledger.vault(),
            &grantlog::projection::NAMES,
            &|_| {},
        )
        .await
        .unwrap();
    }
    let readers: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT grantee::text FROM information_schema.column_privileges \
         WHERE table_schema = 'public' AND table_name IN ('users', 'users_2') AND column_name = 'password'",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert_eq!(readers, ["grantlog_app"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_the_same_after_every_rebuild() {
    let server = TestServer::start().await;
    facts(&server).await;
    // The replayed code raises an alert.
    crate::policies::watch(&server).await;
    server.app.uses.write_down(&server.app.ledger).await.unwrap();
    server.settle().await;
    let owner = server.database.owner().await;
    let ids = async || {
        let mut all = Vec::new();
        for name in grantlog::projection::NAMES {
            let ids: Vec<i64> = sqlx::query_scalar(&format!("SELECT id FROM {name} ORDER BY id"))
                .fetch_all(&owner)
                .await
                .unwrap();
            assert!(!ids.is_empty(), "{name}");
            all.push((name, ids));
        }
        all
    };
    let before = ids().await;
    let born: Vec<i64> = sqlx::query_scalar(
        "SELECT position FROM grantlog.ledger WHERE event_type = 'UserRegistered' ORDER BY 1",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert!(before.contains(&("users", born)), "an id is its event's position");
    for _ in 0..2 {
        let app = &server.app;
        grantlog::projection::rebuild(
            app.ledger.pool(),
            app.ledger.vault(),
            &grantlog::projection::NAMES,
            &|_| {},
        )
        .await
        .unwrap();
        assert_eq!(ids().await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_version_asks_for_a_rebuild() {
    let server = TestServer::start().await;
    server.user(USERNAME, PASSWORD).await;
    server.settle().await;
    let owner = server.database.owner().await;
    // What a changed projections/users.sql comes to.
    owner
        .execute("UPDATE grantlog.cursors SET version = 'another' WHERE reader = 'users'")
        .await
        .unwrap();
    let printed = async |arguments: &[&str]| {
        let mut command = crate::command_line::grantlog_on(&server.database);
        command.args(arguments);
        crate::command_line::stdout(&crate::command_line::finish(command, None).await)
    };
    let state = |listed: &str| {
        let line = listed.lines().find(|line| line.starts_with("users ")).unwrap();
        line.split("Z  ").nth(1).unwrap().to_owned()
    };
    let listed = printed(&["projection", "list"]).await;
    assert_eq!(state(&listed), "another version: rebuild it");
    printed(&["projection", "rebuild", "users"]).await;
    let listed = printed(&["projection", "list"]).await;
    assert_eq!(state(&listed), "follows");
    let users: Vec<String> = sqlx::query_scalar("SELECT username FROM users")
        .fetch_all(&owner)
        .await
        .unwrap();
    assert_eq!(users, [USERNAME]);
}
