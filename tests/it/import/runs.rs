//! Dry runs, second runs, interrupted ones; what an import leaves behind.

use grantlog::crypto::defuse::Secret;
use grantlog::import::{self, Kind};
use grantlog::projection::NAMES;
use grantlog::projection::verify::verify;

use super::passport::{BCRYPT, passport};
use super::{CLIENT, KEY, SECRET, Source, counts, head, hex, old_token, post, refresh, store_key, token_id};
use crate::flow;
use crate::harness::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing() {
    let server = TestServer::start().await;
    let source = passport();
    let before = (head(&server).await, keys(&server).await);
    let dry = source
        .import_with(&server, |options| options.dry_run = true)
        .await
        .unwrap();
    assert!(dry.dry_run && dry.changes_something());
    assert_eq!((head(&server).await, keys(&server).await), before);
    let real = source.import(&server).await;
    assert_eq!(
        (dry.tables, dry.skipped, dry.noted, dry.scopes),
        (real.tables, real.skipped, real.noted, real.scopes)
    );
    assert!(head(&server).await > before.0);
}

/// Names and data keys.
async fn keys(server: &TestServer) -> (i64, i64) {
    sqlx::query_as("SELECT (SELECT count(*) FROM grantlog.names), (SELECT count(*) FROM grantlog.data_keys)")
        .fetch_one(&server.database.owner().await)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_import_changes_nothing() {
    let server = TestServer::start().await;
    let source = passport();
    let first = source.import(&server).await;
    assert!(first.changes_something());
    let before = head(&server).await;
    let second = source.import(&server).await;
    assert!(!second.changes_something());
    assert_eq!(head(&server).await, before);
    for table in ["oauth_clients", "users", "oauth_refresh_tokens"] {
        assert_eq!(counts(&second, table), (1, 0, 1, 0), "{table}");
    }
    // Nor does one after the token was used bring it back.
    store_key(&server).await;
    let old = old_token(CLIENT, "r1", &KEY);
    assert_eq!(refresh(&server, (CLIENT, SECRET), &old).await.0, 200);
    assert!(!source.import(&server).await.changes_something());
    assert_eq!(refresh(&server, (CLIENT, SECRET), &old).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_stopped_goes_on_where_it_was() {
    let server = TestServer::start().await;
    let source = passport();
    let rest = std::fs::read_to_string(source.path().join("oauth_refresh_tokens.csv")).unwrap();
    source.file(
        "oauth_refresh_tokens.csv",
        "id,access_token_id,revoked,expires_at\n",
    );
    source.import(&server).await;
    source.file("oauth_refresh_tokens.csv", &rest);
    let report = source.import(&server).await;
    assert_eq!(counts(&report, "users"), (1, 0, 1, 0));
    assert_eq!(counts(&report, "oauth_refresh_tokens"), (1, 1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_client_secrets_work_plain_and_hashed() {
    let server = TestServer::start().await;
    let source = Source::new(Kind::Passport);
    let sha256 = grantlog::domain::value::Digest::of(SECRET.as_bytes());
    source.file(
        "oauth_clients.csv",
        &format!(
            "id,name,secret,redirect,personal_access_client,password_client,revoked\n\
             1,Plain,{SECRET},https://a.example/cb,0,0,0\n\
             2,SHA-256,{sha256},https://a.example/cb,0,0,0\n\
             3,bcrypt,{BCRYPT},https://a.example/cb,0,0,0\n\
             4,Password,{SECRET},,0,1,0\n\
             5,Public,,https://a.example/cb,0,0,0\n"
        ),
    );
    let report = source
        .import_with(&server, |options| {
            options.scope = ["view-user"].into_iter().collect();
        })
        .await
        .unwrap();
    assert_eq!(
        counts(&report, "oauth_clients"),
        (5, 5, 0, 0),
        "{:?}",
        report.skipped
    );
    for (client, secret) in [("1", SECRET), ("2", SECRET), ("3", flow::PASSWORD)] {
        for (secret, expected) in [(secret, 200), ("wrong", 401), (secret, 200)] {
            let form = [
                ("grant_type", "client_credentials"),
                ("client_id", client),
                ("client_secret", secret),
                ("scope", "view-user"),
            ];
            let (status, body) = post(&server, "/oauth/token", &form).await;
            assert_eq!(status, expected, "{client}: {body}");
        }
    }
    let kinds: Vec<String> = sqlx::query_scalar(
        "SELECT payload->'metadata'->>'grant_types' FROM grantlog.ledger_client \
         WHERE event_type = 'ClientRegistered' AND payload->>'imported' = 'old' ORDER BY payload->>'client_id'",
    )
    .fetch_all(server.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(kinds[3], r#"["refresh_token","password"]"#);
    assert_eq!(kinds[4], r#"["authorization_code","refresh_token"]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn passport_13_columns_are_read_and_what_is_unknown_is_noted() {
    let server = TestServer::start().await;
    let source = Source::new(Kind::Passport);
    source.file(
        "oauth_clients.csv",
        "id,owner_type,owner_id,name,secret,provider,redirect_uris,grant_types,revoked\n\
         019a0000-0000-7000-8000-000000000001,,,New,$2y$04$abcdefghijklmnopqrstuuAbCdEfGhIjKlMnOpQrStUvWxYz01234,,\
         \"[\"\"https://a.example/cb\"\",\"\"http://plain.example/cb\"\"]\",\
         \"[\"\"authorization_code\"\",\"\"refresh_token\"\",\"\"implicit\"\"]\",0\n",
    );
    let report = source.import(&server).await;
    assert_eq!(
        counts(&report, "oauth_clients"),
        (1, 1, 0, 0),
        "{:?}",
        report.skipped
    );
    let noted: Vec<&String> = report.noted["oauth_clients"].keys().collect();
    assert_eq!(noted.len(), 2, "{noted:?}");
    assert!(noted.iter().any(|note| note.contains("implicit")));
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_rows_stand_in_the_tables_live_and_rebuilt() {
    let server = TestServer::start().await;
    passport().import(&server).await;
    store_key(&server).await;
    refresh(&server, (CLIENT, SECRET), &old_token(CLIENT, "r1", &KEY)).await;
    server.settle().await;
    let owner = server.database.owner().await;
    let user: (String, String) = sqlx::query_as("SELECT username, email FROM users")
        .fetch_one(&owner)
        .await
        .unwrap();
    assert_eq!(
        user,
        ("Alice@example.com".to_owned(), "Alice@example.com".to_owned())
    );
    let token: (String, String) = sqlx::query_as(
        "SELECT c.client_id, u.username FROM client_refresh_tokens t JOIN clients c ON c.id = t.client_id \
         JOIN users u ON u.id = t.user_id WHERE t.generation = 1",
    )
    .fetch_one(&owner)
    .await
    .unwrap();
    assert_eq!(token, (CLIENT.to_owned(), "Alice@example.com".to_owned()));
    let (ledger, tell) = (&server.app.ledger, |_| {});
    let found = verify(ledger.pool(), ledger.vault(), &NAMES, &tell)
        .await
        .unwrap();
    assert!(
        found.rows > 0 && found.differences.is_empty(),
        "{:?}",
        found.differences
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_leaves_no_token_and_no_personal_datum_in_the_ledger() {
    let server = TestServer::start().await;
    passport().import(&server).await;
    store_key(&server).await;
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT l::text FROM grantlog.ledger l UNION ALL SELECT n::text FROM grantlog.names n \
         UNION ALL SELECT k::text FROM grantlog.key_material k",
    )
    .fetch_all(&server.database.owner().await)
    .await
    .unwrap();
    assert!(rows.iter().any(|row| row.contains("GrantImported")));
    let key = hex(&KEY);
    for secret in [
        &token_id("r1"),
        &token_id("a1"),
        SECRET,
        BCRYPT,
        "xample.com",
        "Alice",
        &key,
    ] {
        assert!(!rows.iter().any(|row| row.contains(secret)), "{secret}");
    }
}

#[tokio::test]
async fn one_passport_key_is_stored_and_can_be_forgotten() {
    let server = TestServer::start().await;
    let (operations, context) = (&server.app.operations, TestServer::context());
    let one = Secret::parse("base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    assert!(import::key::store(operations, &context, &one).await.unwrap());
    assert!(!import::key::store(operations, &context, &one).await.unwrap());
    let other = Secret::parse("another passphrase").unwrap();
    assert!(import::key::store(operations, &context, &other).await.is_err());
    assert!(import::key::forget(operations, &context).await.unwrap());
    assert!(!import::key::forget(operations, &context).await.unwrap());
    assert!(import::key::store(operations, &context, &other).await.unwrap());
    // Each coming and going is on the trail once, and tells the keys apart without telling them.
    let trail: Vec<(String, String)> = sqlx::query_as(
        "SELECT event_type, payload->>'thumbprint' FROM grantlog.ledger WHERE aggregate_type = 'trail' ORDER BY position",
    )
    .fetch_all(&server.database.owner().await)
    .await
    .unwrap();
    let types: Vec<&str> = trail.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(
        types,
        ["LegacyKeyStored", "LegacyKeyForgotten", "LegacyKeyStored"]
    );
    let prints: Vec<&String> = trail.iter().map(|(_, print)| print).collect();
    assert!(prints[0] == prints[1] && prints[1] != prints[2]);
    let plain = grantlog::domain::value::Digest::of(b"another passphrase").to_string();
    assert!(!prints.contains(&&plain));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_an_id_that_was_there_before_are_skipped_by_a_dry_run_too() {
    let server = TestServer::start().await;
    let source = passport();
    let users: Vec<String> = (0..300)
        .map(|n| format!("u{n},N,u{n}@example.com,NULL,{BCRYPT}\n"))
        .collect();
    let users = users.concat();
    // The second row of the same id is far from the first, and one more stands in another chunk of tokens.
    source
        .file(
            "users.csv",
            &format!("id,name,email,email_verified_at,password\n1,A,a@example.com,NULL,{BCRYPT}\n{users}1,B,b@example.com,NULL,{BCRYPT}\n"),
        )
        .file(
            "oauth_access_tokens.csv",
            &format!(
                "id,user_id,client_id,name,scopes,revoked\n{a},1,{CLIENT},,\"[\"\"view-user\"\"]\",0\n\
                 {b},1,{CLIENT},,[],0\n{b},1,{CLIENT},,[],1\n",
                a = token_id("a1"), b = token_id("b1")
            ),
        )
        .file(
            "oauth_refresh_tokens.csv",
            &format!(
                "id,access_token_id,revoked,expires_at\n{r},{a},0,2090-01-01 00:00:00\n{r},{a},0,2090-01-01 00:00:00\n\
                 {s},{b},0,2090-01-01 00:00:00\n",
                r = token_id("r1"), s = token_id("s1"), a = token_id("a1"), b = token_id("b1")
            ),
        );
    let clients = std::fs::read_to_string(source.path().join("oauth_clients.csv")).unwrap();
    let again = clients.lines().nth(1).unwrap();
    source.file("oauth_clients.csv", &format!("{clients}{again}\n"));
    let dry = source
        .import_with(&server, |options| options.dry_run = true)
        .await
        .unwrap();
    let real = source.import(&server).await;
    for report in [&dry, &real] {
        assert_eq!(
            counts(report, "oauth_clients"),
            (2, 1, 0, 1),
            "{:?}",
            report.skipped
        );
        assert_eq!(counts(report, "users"), (302, 301, 0, 1), "{:?}", report.skipped);
        assert_eq!(
            counts(report, "oauth_refresh_tokens"),
            (3, 1, 0, 2),
            "{:?}",
            report.skipped
        );
        let tokens: Vec<&String> = report.skipped["oauth_refresh_tokens"].keys().collect();
        assert_eq!(
            tokens,
            [
                "an earlier row has the same token",
                "its access token is in two rows"
            ]
        );
    }
    assert_eq!(dry.skipped, real.skipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_named_twice_is_read_once_and_rows_are_counted_over_all_dumps() {
    let server = TestServer::start().await;
    let source = Source::new(Kind::Passport);
    let table = "CREATE TABLE `oauth_clients` (`id` int, `name` text, `secret` text, `redirect` text, `revoked` int);\n";
    for (name, id) in [("a.sql", 1), ("b.sql", 2)] {
        source.file(name, &format!("{table}INSERT INTO `oauth_clients` VALUES ({id},'App','{SECRET}','https://a.example/cb',1);\n"));
    }
    let dir = source.path().to_owned();
    let files = import::Files::find(&[dir.clone(), dir.join("a.sql")]).unwrap();
    let options = source.options(&server);
    let report = import::import(
        &server.app.operations,
        &TestServer::context(),
        files,
        options,
        std::sync::Arc::new(|_| {}),
    )
    .await
    .unwrap();
    let first = &report.skipped["oauth_clients"]["it is revoked"].first;
    assert_eq!(*first, [(1, "1".to_owned()), (2, "2".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_lacks_two_things_of_a_kind_is_named_once() {
    let server = TestServer::start().await;
    let source = Source::new(Kind::Passport);
    source.file(
        "oauth_clients.csv",
        &format!(
            "id,name,secret,redirect,personal_access_client,password_client,revoked\n\
             1,Plain,{SECRET},\"https://a.example/cb,http://b.example/cb,http://c.example/cb\",0,0,0\n"
        ),
    );
    let report = source.import(&server).await;
    for group in report.noted["oauth_clients"].values() {
        assert_eq!((group.rows, group.first.len()), (1, 1), "{:?}", report.noted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_imports_at_once_the_second_is_told_to_wait() {
    let server = TestServer::start().await;
    let source = passport();
    let mut first = server.database.owner().await.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(7454141779515633780)")
        .execute(&mut *first)
        .await
        .unwrap();
    let refused = source
        .import_with(&server, |_| {})
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("wait until it has ended"), "{refused}");
    let dry = source
        .import_with(&server, |options| options.dry_run = true)
        .await;
    assert!(dry.is_ok());
    drop(first.detach());
    // Two that really run at once: one imports, and where they met the other was told so.
    let (one, two) = tokio::join!(
        source.import_with(&server, |_| {}),
        source.import_with(&server, |_| {})
    );
    assert!(one.is_ok() || two.is_ok());
    for refused in [one, two].into_iter().filter_map(Result::err) {
        assert!(refused.to_string().contains("another import"), "{refused}");
    }
    assert_eq!(counts(&source.import(&server).await, "users"), (1, 0, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_more_than_a_mebibyte_is_named_by_file_line_and_column() {
    let server = TestServer::start().await;
    let long = "x".repeat((1 << 20) + 1);
    let source = passport();
    source.file(
        "users.csv",
        &format!("id,name,email,email_verified_at,password\n1,{long},a@example.com,,\n"),
    );
    let refused = source
        .import_with(&server, |_| {})
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.ends_with("users.csv, line 2, column name: a value of more than a mebibyte"),
        "{refused}"
    );
    let dump = Source::new(Kind::Passport);
    dump.file(
        "all.sql",
        &format!("INSERT INTO oauth_clients (id, name) VALUES (1, '{long}');\n"),
    );
    let refused = dump.import_with(&server, |_| {}).await.err().unwrap().to_string();
    assert!(
        refused.ends_with("all.sql, line 1, value 2: a value of more than a mebibyte"),
        "{refused}"
    );
}
