//! What is left out and why; CSV and dumps come to the same; the command line.

use std::fmt::Write as _;

use serde_json::{Value, json};

use grantlog::import::{ImportError, Kind};

use super::passport::passport;
use super::{CLIENT, KEY, SECRET, Source, counts, old_token, own, refresh, store_key, token_id};
use crate::harness::TestServer;

/// A row of the report: table, reason, rows.
fn reasons(report: &grantlog::import::Report) -> Vec<(&'static str, &str, u64)> {
    report
        .skipped
        .iter()
        .flat_map(|(table, reasons)| {
            reasons
                .iter()
                .map(move |(reason, group)| (*table, reason.as_str(), group.rows))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_rows_are_reported_with_the_reason() {
    let server = TestServer::start().await;
    server.user("taken@example.com", "correct horse battery").await;
    let source = Source::new(Kind::Passport);
    source
        .file(
            "oauth_clients.csv",
            "id,name,secret,provider,redirect,personal_access_client,password_client,revoked\n\
             1,Good,secret,,https://a.example/cb,0,0,0\n\
             2,Revoked,secret,,https://a.example/cb,0,0,1\n\
             3,Personal,secret,,http://localhost,1,0,0\n\
             4,Admins,secret,admins,https://a.example/cb,0,0,0\n\
             5,Broken,secret,,https://a.example/cb,0,0,perhaps\n\
             6,Short\n",
        )
        .file(
            "users.csv",
            "id,name,email,password\n\
             1,One,one@example.com,5f4dcc3b5aa765d61d8327deb882cf99\n\
             2,Two,ONE@example.com,\n\
             3,Three,taken@example.com,\n\
             4,Four,,\n\
             5,Five,not an address,\n",
        )
        .file(
            "oauth_access_tokens.csv",
            &format!(
                "id,user_id,client_id,name,scopes,revoked,expires_at\n{}",
                [
                    ("good", "1", "1", "[]", 0),
                    ("dead", "1", "1", "[]", 1),
                    ("stranger", "9", "1", "[]", 0),
                    ("revoked", "1", "2", "[]", 0),
                    ("all", "1", "1", "[\"\"*\"\"]", 0),
                    ("nobody", "", "1", "[]", 0),
                ]
                .map(|(id, user, client, scopes, revoked)| format!(
                    "{},{user},{client},,\"{scopes}\",{revoked},2090-01-01 00:00:00\n",
                    token_id(id)
                ))
                .concat()
            ),
        )
        .file(
            "oauth_refresh_tokens.csv",
            &format!(
                "id,access_token_id,revoked,expires_at\n{}",
                [
                    ("good", "good", 0, "2090"),
                    ("r2", "dead", 0, "2090"),
                    ("r3", "stranger", 0, "2090"),
                    ("r4", "revoked", 0, "2090"),
                    ("r5", "all", 0, "2090"),
                    ("r6", "nobody", 0, "2090"),
                    ("r7", "good", 1, "2090"),
                    ("r8", "good", 0, "2020"),
                    ("r9", "missing", 0, "2090"),
                ]
                .map(|(id, access, revoked, year)| format!(
                    "{},{},{revoked},{year}-01-01 00:00:00\n",
                    token_id(id),
                    token_id(access)
                ))
                .concat()
            ),
        );
    let list = source.path().join("skipped.jsonl");
    let report = source
        .import_with(&server, |options| options.skipped_file = Some(list.clone()))
        .await
        .unwrap();
    assert_eq!(
        reasons(&report),
        [
            (
                "oauth_clients",
                "it has not as many fields as the table has columns",
                1
            ),
            ("oauth_clients", "it is revoked", 1),
            (
                "oauth_clients",
                "it issues tokens by no grant that is known here (a personal access client does so in PHP)",
                1
            ),
            ("oauth_clients", "its revoked is neither true nor false", 1),
            (
                "oauth_clients",
                "its users are those of the provider admins, not of the table users",
                1
            ),
            ("oauth_refresh_tokens", "it has expired", 1),
            ("oauth_refresh_tokens", "it has no user", 1),
            ("oauth_refresh_tokens", "it is revoked", 1),
            ("oauth_refresh_tokens", "its access token is in no row", 1),
            ("oauth_refresh_tokens", "its access token is revoked", 1),
            ("oauth_refresh_tokens", "its client is not imported", 1),
            (
                "oauth_refresh_tokens",
                "its scope is *: say with --scope what that means",
                1
            ),
            ("oauth_refresh_tokens", "its user is not imported", 1),
            ("users", "an earlier row has the same username", 1),
            ("users", "it has neither an e-mail address nor a user name", 1),
            (
                "users",
                "its user name: it needs 1 to 128 characters, none of them white space",
                1
            ),
            ("users", "its username is another user's here", 1),
        ]
    );
    assert_eq!(counts(&report, "oauth_clients"), (6, 1, 0, 5));
    assert_eq!(counts(&report, "users"), (5, 1, 0, 4));
    assert_eq!(counts(&report, "oauth_refresh_tokens"), (9, 1, 0, 8));
    // A hash that nobody can check is no password in clear.
    assert_eq!(
        report.noted["users"]
            .values()
            .map(|group| group.rows)
            .sum::<u64>(),
        1
    );
    let lines = std::fs::read_to_string(&list).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 17);
    assert!(lines.contains(&json!({
        "table": "oauth_clients", "row": 2, "id": "2", "reason": "it is revoked"
    })));
    assert!(
        !lines
            .iter()
            .any(|line| line.to_string().contains(&token_id("r9")))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scope_star_means_what_the_administrator_says() {
    let server = TestServer::start().await;
    let source = passport();
    let access = std::fs::read_to_string(source.path().join("oauth_access_tokens.csv")).unwrap();
    source.file("oauth_access_tokens.csv", &access.replace("view-user", "*"));
    source
        .import_with(&server, |options| {
            options.scope = ["server-operations"].into_iter().collect();
        })
        .await
        .unwrap();
    store_key(&server).await;
    let (status, tokens) = refresh(&server, (CLIENT, SECRET), &old_token(CLIENT, "r1", &KEY)).await;
    assert_eq!(
        (status.as_u16(), &tokens["scope"]),
        (200, &json!("server-operations"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_imports_as_csv_does() {
    let csv = passport();
    let rows = |table: &str| -> Vec<Vec<String>> {
        csv::ReaderBuilder::new()
            .has_headers(false)
            .from_path(csv.path().join(format!("{table}.csv")))
            .unwrap()
            .records()
            .map(|record| record.unwrap().iter().map(str::to_owned).collect())
            .collect()
    };
    let tables = [
        "oauth_access_tokens",
        "oauth_clients",
        "oauth_refresh_tokens",
        "users",
    ];
    let (mut mysql, mut postgres) = (
        "-- MySQL dump 10.13\n".to_owned(),
        "-- PostgreSQL database dump\n".to_owned(),
    );
    for table in tables {
        let rows = rows(table);
        let columns: Vec<String> = rows[0].iter().map(|name| format!("`{name}` text")).collect();
        write!(
            mysql,
            "CREATE TABLE `{table}` (\n {},\n KEY `k` (`id`)\n);\n",
            columns.join(",\n ")
        )
        .unwrap();
        let value = |value: &String| match value.as_str() {
            "" | "NULL" => "NULL".to_owned(),
            text => format!(
                "'{}'",
                text.replace('\\', "\\\\")
                    .replace('"', "\\\"")
                    .replace('\'', "\\'")
            ),
        };
        let tuples: Vec<String> = rows[1..]
            .iter()
            .map(|row| format!("({})", row.iter().map(value).collect::<Vec<_>>().join(",")))
            .collect();
        writeln!(mysql, "INSERT INTO `{table}` VALUES {};", tuples.join(",")).unwrap();
        writeln!(
            postgres,
            "COPY public.{table} ({}) FROM stdin;",
            rows[0].join(", ")
        )
        .unwrap();
        for row in &rows[1..] {
            let fields: Vec<_> = row
                .iter()
                .map(|value| {
                    if value.is_empty() || value == "NULL" {
                        "\\N"
                    } else {
                        value
                    }
                })
                .collect();
            postgres += &(fields.join("\t") + "\n");
        }
        postgres += "\\.\n\n";
    }
    let server = TestServer::start().await;
    let first = csv.import(&server).await;
    assert_eq!(first.imported("oauth_refresh_tokens"), 1);
    for text in [mysql, postgres] {
        let dump = Source::new(Kind::Passport);
        dump.file("dump.sql", &text);
        let again = dump.import(&server).await;
        assert!(!again.changes_something(), "{:?}", again.tables);
        let fresh = TestServer::start().await;
        assert_eq!(dump.import(&fresh).await.tables, first.tables);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read_are_named_before_anything_is_changed() {
    let server = TestServer::start().await;
    let refused = |source: Source| {
        let server = &server;
        async move {
            source
                .import_with(server, |_| {})
                .await
                .err()
                .unwrap()
                .to_string()
        }
    };
    let empty = Source::new(Kind::Passport);
    assert!(matches!(
        grantlog::import::Files::find(&own(empty.path())),
        Err(ImportError::NoFiles)
    ));
    let source = passport();
    source.file("oauth_access_tokens.csv", "id,user_id\n");
    assert!(refused(source).await.contains("has no column client_id"));
    let source = Source::new(Kind::Passport);
    source.file("users.csv", "id,email\n");
    assert!(refused(source).await.contains("there is no table oauth_clients"));
    let source = Source::new(Kind::Passport);
    source.file(
        "dump.sql",
        "INSERT INTO oauth_clients (id, name, secret, revoked) VALUES (1, now(), 1, 0);",
    );
    let message = refused(source).await;
    assert!(
        message.contains("dump.sql, line 1, value 2: a value that is no literal"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_imports_with_a_report_for_machines() {
    let server = TestServer::start().await;
    let source = passport();
    let key = source.path().join("passport.key");
    std::fs::write(
        &key,
        "APP_KEY=base64:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n",
    )
    .unwrap();
    let run = |extra: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_grantlog"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GRANTLOG_")) {
            command.env_remove(name);
        }
        command
            .env("GRANTLOG_ISSUER", &server.base)
            .env("GRANTLOG_DATABASE_URL", &server.database.app_url)
            .env("GRANTLOG_MASTER_KEY", "2a".repeat(32))
            .args(["import", "passport", "--passport-key-file"])
            .arg(&key)
            .arg(source.path())
            .args(extra);
        tokio::task::spawn_blocking(move || {
            let output = command.output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8(output.stdout).unwrap()
        })
    };
    let report: Value = serde_json::from_str(&run(&["--json", "--dry-run"]).await.unwrap()).unwrap();
    assert_eq!(
        (&report["changed"], &report["dry_run"]),
        (&json!(false), &json!(true))
    );
    let report: Value = serde_json::from_str(&run(&["--json"]).await.unwrap()).unwrap();
    assert_eq!(
        (&report["changed"], &report["passport_key_stored"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(report["tables"]["oauth_refresh_tokens"]["imported"], 1);
    let text = run(&[]).await.unwrap();
    assert!(
        text.contains("nothing was changed: what can be imported is here already"),
        "{text}"
    );
    let (status, _) = refresh(&server, (CLIENT, SECRET), &old_token(CLIENT, "r1", &KEY)).await;
    assert_eq!(status, 200);
    let completed: i64 =
        sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger_trail WHERE event_type = 'ImportCompleted'")
            .fetch_one(server.app.ledger.pool())
            .await
            .unwrap();
    assert_eq!(completed, 1);
}
