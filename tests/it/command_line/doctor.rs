//! `grantlog doctor` finds each fault that is put in.

use std::process::Command;

use serde_json::Value;
use sqlx::Executor;

use super::{finish, grantlog_on};
use crate::harness::{TestDatabase, TestServer};

/// The verdicts, by check; of several the worst.
async fn verdicts(mut command: Command) -> (bool, Vec<(String, String, String)>) {
    command.args(["doctor", "--json"]);
    let output = finish(command, None).await;
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let checks = checks
        .iter()
        .map(|check| (text(check, "name"), text(check, "verdict"), text(check, "found")));
    (output.status.success(), checks.collect())
}

/// What doctor says after a fault was put in, as the owner.
async fn assert_found(database: &TestDatabase, fault: &str, check: &str, verdict: &str) {
    database.owner().await.execute(fault).await.unwrap();
    let (success, checks) = verdicts(grantlog_on(database)).await;
    assert!(
        checks
            .iter()
            .any(|(name, found, _)| name == check && found == verdict),
        "{fault}: {checks:?}"
    );
    assert_eq!(success, verdict != "fail", "{fault}");
}

#[tokio::test]
async fn a_good_installation_passes() {
    let server = TestServer::start().await;
    let (success, checks) = verdicts(grantlog_on(&server.database)).await;
    assert!(success, "{checks:?}");
    for expected in [
        "database",
        "migrations",
        "rights",
        "triggers",
        "partitions",
        "positions",
        "master key",
        "signing keys",
    ] {
        let verdict = checks.iter().find(|(name, ..)| name == expected);
        assert!(
            verdict.is_some_and(|(_, verdict, _)| verdict == "ok"),
            "{expected}: {checks:?}"
        );
    }
}

#[tokio::test]
async fn each_fault_of_the_ledger_is_found() {
    for (fault, check) in [
        ("GRANT INSERT ON grantlog.ledger_client TO grantlog_app", "rights"),
        (
            "GRANT UPDATE (position) ON grantlog.head TO grantlog_app",
            "rights",
        ),
        ("GRANT TRUNCATE ON grantlog.ledger TO grantlog_app", "rights"),
        ("DROP TRIGGER append_only ON grantlog.ledger", "triggers"),
        (
            "ALTER TABLE grantlog.ledger_user DISABLE TRIGGER no_truncate",
            "triggers",
        ),
        (
            "ALTER TABLE grantlog.ledger DISABLE TRIGGER append_only; \
             ALTER TABLE grantlog.ledger_scope DISABLE TRIGGER append_only; \
             DELETE FROM grantlog.ledger_scope WHERE position = (SELECT max(position) FROM grantlog.ledger_scope); \
             ALTER TABLE grantlog.ledger_scope ENABLE TRIGGER append_only; \
             ALTER TABLE grantlog.ledger ENABLE TRIGGER append_only",
            "positions",
        ),
        (
            "DO $$ BEGIN EXECUTE format('ALTER TABLE grantlog.ledger_grant DETACH PARTITION grantlog.%I', \
             'ledger_grant_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY\"q\"Q')); END $$",
            "partitions",
        ),
        ("DELETE FROM grantlog.key_material", "master key"),
    ] {
        let server = TestServer::start().await;
        assert_found(&server.database, fault, check, "fail").await;
    }
}

#[tokio::test]
async fn each_fault_of_the_database_is_found() {
    let server = TestServer::start().await;
    let database = &server.database;
    let durability = format!("ALTER DATABASE {} SET synchronous_commit = off", database.name);
    assert_found(database, &durability, "synchronous_commit", "fail").await;
    database
        .owner()
        .await
        .execute(format!("ALTER DATABASE {} RESET synchronous_commit", database.name).as_str())
        .await
        .unwrap();
    let stuck = "INSERT INTO grantlog.cursors (reader, position, version, table_name, failed_at, error) \
                 VALUES ('users', 0, 'x', 'x', now(), 'test')";
    assert_found(database, stuck, "projections", "fail").await;
    let newer = "INSERT INTO public._sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'future', true, '', 0)";
    assert_found(database, newer, "migrations", "fail").await;
    let older = "DELETE FROM public._sqlx_migrations WHERE version > 1";
    assert_found(database, older, "migrations", "fail").await;
}

#[tokio::test]
async fn each_weak_setting_is_found() {
    let server = TestServer::start().await;
    let database = &server.database;
    for (variable, value, check, verdict) in [
        ("GRANTLOG_MASTER_KEY", "00".repeat(32), "master key", "fail"),
        (
            "GRANTLOG_DATABASE_URL",
            database.owner_url.clone(),
            "rights",
            "fail",
        ),
        (
            "GRANTLOG_DATABASE_URL",
            "postgres://u@127.0.0.1:1/x".to_owned(),
            "database",
            "fail",
        ),
        (
            "GRANTLOG_MIGRATION_DATABASE_URL",
            database.app_url.clone(),
            "roles",
            "warn",
        ),
        (
            "GRANTLOG_ALLOW_PASSWORD_GRANT",
            "true".to_owned(),
            "password grant",
            "warn",
        ),
        ("GRANTLOG_LISTEN", "0.0.0.0:8480".to_owned(), "tls", "warn"),
        (
            "GRANTLOG_FAILURES_PER_MINUTE",
            "1000".to_owned(),
            "failed logins",
            "warn",
        ),
        (
            "GRANTLOG_ISSUER",
            "http://localhost:1".to_owned(),
            "issuer",
            "warn",
        ),
    ] {
        let mut command = grantlog_on(database);
        command.env(variable, &value);
        let (success, checks) = verdicts(command).await;
        assert!(
            checks
                .iter()
                .any(|(name, found, _)| name == check && found == verdict),
            "{variable}: {checks:?}"
        );
        assert_eq!(success, verdict != "fail", "{variable}: {checks:?}");
    }
}

#[tokio::test]
async fn it_warns_of_client_certificates_that_nobody_may_send_or_nobody_vouches_for() {
    let server = TestServer::start().await;
    for (environment, expected, says) in [
        (
            &[("GRANTLOG_CLIENT_CERTIFICATE_HEADER", "Client-Cert")][..],
            "warn",
            "no proxy is trusted",
        ),
        (
            &[
                ("GRANTLOG_CLIENT_CERTIFICATE_HEADER", "Client-Cert"),
                ("GRANTLOG_TRUSTED_PROXIES", "192.0.2.1"),
            ],
            "warn",
            "believes the proxy",
        ),
        (
            &[("GRANTLOG_MTLS_URL", "https://mtls.id.example")],
            "warn",
            "tls_client_auth is not offered",
        ),
        (
            &[
                ("GRANTLOG_MTLS_URL", "https://mtls.id.example"),
                ("GRANTLOG_CLIENT_CERTIFICATE_HEADER", "Client-Cert"),
                ("GRANTLOG_TRUSTED_PROXIES", "192.0.2.1"),
            ],
            "warn",
            "believes the proxy",
        ),
    ] {
        let mut command = grantlog_on(&server.database);
        command.envs(environment.iter().copied());
        let (_, checks) = verdicts(command).await;
        let found = checks.iter().any(|(name, verdict, found)| {
            name == "client certificates" && verdict == expected && found.contains(says)
        });
        assert!(found, "{says}: {checks:?}");
    }
}
