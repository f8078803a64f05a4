//! The five-table server: opaque tokens, plain secrets, integer ids.

use serde_json::json;

use grantlog::import::Kind;

use super::{Source, counts, introspect, post, refresh, refusals};
use crate::harness::TestServer;

const TOKEN: &str =
    "eqweasdasdanvbSifkLImUAtuXITjxKMzkXjZvKGGIcLyFqHIDrVNexjHwXBNRhgicutwNStdasdasdLmMjfggjHrYvzWaIANmUv";
const APP: (&str, &str) = ("my-app", "app secret");

fn tables() -> Source {
    let source = Source::new(Kind::Tables);
    source
        .file("users.csv", "id,name,username,password\n1,Yussuf,yussuf,123456\n2,No Password,nobody,\n")
        .file(
            "clients.csv",
            "id,client_id,client_secret,name,home_page_url,logo_url,privacy_policy_url,user_id,is_live,redirect_uri\n\
             7,my-app,app secret,My App,https://app.example,javascript:1,https://app.example/my policy,1,true,\
             \"[\"\"https://app.example/cb\"\",\"\"https://app.example/{x}\"\"]\"\n",
        )
        .file(
            "client_access_tokens.csv",
            "id,client_id,user_id,client_refresh_token_id,access_token,grant_type,scope,audience,expired_at\n\
             1,7,1,5,old.jwt.value,password,get_user_profile,,2026-01-01 00:00:00\n",
        )
        .file(
            "client_refresh_tokens.csv",
            &format!(
                "id,client_id,user_id,refresh_token,grant_type,scope,audience,expired_at\n\
                 5,7,1,{TOKEN},password,get_user_profile,https://api.example,2090-01-01T00:00:00Z\n\
                 6,7,1,another-opaque-token-value,authorization_code,get_user_profile,,2020-01-01T00:00:00Z\n"
            ),
        )
        .file(
            "client_authorization_codes.csv",
            "id,client_id,user_id,code,scope,is_used,redirect_uri,expired_at\n1,7,1,abc123,[],false,https://app.example/cb,2026-01-01\n",
        );
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_refresh_token_of_the_five_tables_is_exchanged_once() {
    let server = TestServer::start().await;
    let report = tables().import(&server).await;
    assert_eq!(counts(&report, "clients"), (1, 1, 0, 0), "{:?}", report.skipped);
    let noted = format!("{:?}", report.noted["clients"]);
    assert!(noted.contains("without a redirect URI"), "{noted}");
    assert_eq!(counts(&report, "users"), (2, 2, 0, 0), "{:?}", report.skipped);
    assert_eq!(
        counts(&report, "client_refresh_tokens"),
        (2, 1, 0, 1),
        "{:?}",
        report.skipped
    );
    assert_eq!(counts(&report, "client_authorization_codes"), (1, 0, 0, 1));
    assert_eq!(report.scopes, ["get_user_profile"]);

    assert_eq!(refresh(&server, APP, "another-opaque-token-value").await.0, 400);
    assert_eq!(introspect(&server, APP, TOKEN).await["active"], true);
    let (status, tokens) = refresh(&server, APP, TOKEN).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["scope"], "get_user_profile");
    let access = introspect(&server, APP, tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(
        (&access["active"], &access["aud"]),
        (&json!(true), &json!("https://api.example"))
    );

    assert_eq!(refresh(&server, APP, TOKEN).await.0, 400);
    assert_eq!(refusals(&server).await[0], "refresh_replayed");
    let access = introspect(&server, APP, tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(access["active"], false);
    let clear: i64 =
        sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger l WHERE l::text LIKE '%' || $1 || '%'")
            .bind(TOKEN)
            .fetch_one(&server.database.owner().await)
            .await
            .unwrap();
    assert_eq!(clear, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_passwords_are_taken_only_when_said_so_and_hashed() {
    let login = [
        ("grant_type", "password"),
        ("client_id", APP.0),
        ("client_secret", APP.1),
        ("username", "yussuf"),
        ("password", "123456"),
        ("scope", "get_user_profile"),
    ];
    for (plain, expected) in [(false, 400), (true, 200)] {
        let server = TestServer::start_with(|settings| settings.allow_password_grant = true).await;
        let report = tables()
            .import_with(&server, |options| options.plain_passwords = plain)
            .await
            .unwrap();
        assert_eq!(report.noted.contains_key("users"), !plain);
        let (status, body) = post(&server, "/oauth/token", &login).await;
        assert_eq!(status, expected, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_import_of_the_five_tables_changes_nothing() {
    let server = TestServer::start().await;
    let source = tables();
    assert!(source.import(&server).await.changes_something());
    let again = source.import(&server).await;
    assert!(!again.changes_something(), "{:?}", again.tables);
    // Under another name the ids are others, but the names are taken: nothing is doubled.
    let other = source
        .import_with(&server, |options| options.source = "other".to_owned())
        .await
        .unwrap();
    assert!(!other.changes_something(), "{:?}", other.tables);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_finds_the_grant_of_an_old_token_and_keeps_nothing_of_it() {
    let server = TestServer::start().await;
    // An opaque token may look like anything, an id of ours included.
    let uuid = "0b5f8dd9-9f13-4138-abf7-566f30886cf1";
    let source = tables();
    let tokens = std::fs::read_to_string(source.path().join("client_refresh_tokens.csv")).unwrap();
    source.file(
        "client_refresh_tokens.csv",
        &format!("{tokens}9,7,1,{uuid},password,get_user_profile,,2090-01-01T00:00:00Z\n"),
    );
    source.import(&server).await;
    super::passport::passport().import(&server).await;
    let passport = super::old_token(super::CLIENT, "r1", &super::KEY);
    let run = async |arguments: &[&str], token: &str| {
        let mut command = crate::command_line::grantlog_on(&server.database);
        command.args(arguments);
        crate::command_line::finish(command, Some(&format!("{token}\n"))).await
    };
    let failed = run(&["grant", "show", "-"], &passport).await;
    let problem = String::from_utf8(failed.stderr).unwrap();
    assert!(
        !failed.status.success() && problem.contains("no Passport key is stored"),
        "{problem}"
    );
    super::store_key(&server).await;
    for token in [TOKEN, uuid, &passport] {
        let shown = run(&["grant", "show", "-", "--json"], token).await;
        let shown = crate::command_line::stdout(&shown);
        assert!(!shown.contains(token));
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let credential = &shown["credential"];
        assert_eq!(
            (&credential["kind"], &credential["issued_at_sequence"]),
            (&json!("refresh token"), &json!(1))
        );
        assert_eq!(
            (&credential["authentic"], &credential["usable"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(shown["events"][0]["event_type"], "GrantImported");
        let revoked = run(&["grant", "revoke", "-", "--reason", "found in a log"], token).await;
        crate::command_line::stdout(&revoked);
        let again = crate::command_line::stdout(&run(&["grant", "show", "-"], token).await);
        assert!(again.contains("authentic, no longer usable"), "{again}");
    }
    assert_eq!(refresh(&server, APP, TOKEN).await.0, 400);
    let unknown = run(&["grant", "show", "-"], "never-imported-opaque-token").await;
    let problem = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        problem.contains("old refresh token that was imported") && !problem.contains("never-imported"),
        "{problem}"
    );
}
