//! Projections: live, rebuilt and verified.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod columns;
mod postings;
mod replay;
mod running;
mod steps;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use grantlog::crypto::master::MasterKey;
use grantlog::crypto::vault::Vault;
use grantlog::domain::client::{AuthMethod, ClientCommand};
use grantlog::domain::user::UserCommand;
use grantlog::ids::SubjectId;
use grantlog::ledger::{Ledger, LedgerOptions, reading_pool};
use grantlog::projection::verify::Wrong;
use grantlog::projection::{NAMES, ProjectionRunner, Verification, rebuild, verify};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool};
use world::World;

/// A database of the test's own.
struct TestDatabase {
    /// As the owner.
    owner: PgPool,
    /// As the application.
    options: LedgerOptions,
}

async fn database() -> TestDatabase {
    let made = crate::harness::TestDatabase::create().await;
    let owner: PgConnectOptions = made.owner_url.parse().unwrap();
    TestDatabase {
        owner: PgPoolOptions::new()
            .max_connections(2)
            .connect_lazy_with(owner.clone()),
        options: LedgerOptions {
            database: owner.username("grantlog_app"),
            max_connections: 8,
            cached_aggregates: 1_000,
            refusals_per_minute: 100,
        },
    }
}

impl TestDatabase {
    async fn ledger(&self) -> Ledger {
        let (clock, random) = world::sources();
        let pool = reading_pool(&self.options);
        let master = Arc::new(MasterKey::from_bytes([7; 32]));
        let vault = Vault::new(master, random.clone(), pool.clone());
        Ledger::open(&self.options, pool, vault, clock, random)
            .await
            .unwrap()
    }

    /// Every row of every projection, as readers see them.
    async fn dump(&self) -> Vec<(String, Vec<String>)> {
        let mut tables = Vec::new();
        for name in NAMES {
            let rows = sqlx::query_scalar(&format!(
                "SELECT to_jsonb(t)::text FROM public.{name} AS t ORDER BY id"
            ))
            .fetch_all(&self.owner)
            .await
            .unwrap();
            tables.push((name.to_owned(), rows));
        }
        tables
    }

    async fn head(&self) -> i64 {
        sqlx::query_scalar("SELECT position FROM grantlog.head")
            .fetch_one(&self.owner)
            .await
            .unwrap()
    }

    async fn text(&self, query: &str) -> Option<String> {
        sqlx::query_scalar(query).fetch_one(&self.owner).await.unwrap()
    }

    /// The database itself stays until the next run: dropping it waits for a checkpoint of the whole server.
    async fn close(self) {
        self.owner.close().await;
    }
}

async fn caught_up(runner: &ProjectionRunner, database: &TestDatabase) {
    let head = database.head().await;
    tokio::time::timeout(Duration::from_secs(30), runner.wait_for(head))
        .await
        .unwrap()
        .unwrap();
}

async fn verified(ledger: &Ledger) -> Verification {
    verify(ledger.pool(), ledger.vault(), &NAMES, &|_| {})
        .await
        .unwrap()
}

async fn rebuilt(ledger: &Ledger, names: &[&str]) {
    rebuild(ledger.pool(), ledger.vault(), names, &|_| {})
        .await
        .unwrap();
}

/// Fails with the first row that differs, not with all of them.
fn assert_same(left: &[(String, Vec<String>)], right: &[(String, Vec<String>)]) {
    for ((name, left), (_, right)) in left.iter().zip(right) {
        for (left, right) in left.iter().zip(right) {
            assert_eq!(left, right, "{name}");
        }
        assert_eq!(left.len(), right.len(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_tables_equal_live_ones() {
    let mut reached = BTreeSet::new();
    for seed in [1, 20_260, 777] {
        let database = database().await;
        let ledger = database.ledger().await;
        let runner = ProjectionRunner::start(&ledger);
        let mut world = World::new(ledger.clone(), seed);
        for _ in 0..700 {
            world.step().await;
        }
        caught_up(&runner, &database).await;
        let live = database.dump().await;
        for (name, rows) in &live {
            assert!(rows.len() > 5, "seed {seed}: {name} has {} rows", rows.len());
        }
        let reasons: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT revoked_reason FROM client_refresh_tokens WHERE revoked_reason IS NOT NULL",
        )
        .fetch_all(&database.owner)
        .await
        .unwrap();
        reached.extend(reasons);

        assert_eq!(verified(&ledger).await.differences, []);
        rebuilt(&ledger, &NAMES).await;
        assert_same(&database.dump().await, &live);

        runner.stop().await;
        for name in NAMES {
            let tables: Vec<String> =
                sqlx::query_scalar("SELECT table_name FROM grantlog.cursors WHERE reader = $1")
                    .bind(name)
                    .fetch_all(&database.owner)
                    .await
                    .unwrap();
            database
                .owner
                .execute(format!("DROP TABLE public.{} CASCADE", tables[0]).as_str())
                .await
                .unwrap();
        }
        database
            .owner
            .execute("DELETE FROM grantlog.cursors")
            .await
            .unwrap();
        rebuilt(&ledger, &NAMES).await;
        assert_same(&database.dump().await, &live);
        ledger.close().await;
        database.close().await;
    }
    for reason in [
        "retried",
        "password_changed",
        "user_disabled",
        "erased",
        "consent_withdrawn",
        "client_revoked",
        "refresh_replayed",
        "code_replayed",
        "administrator",
    ] {
        assert!(reached.contains(reason), "no step came to {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_fold_from_the_beginning_equals_one_along_the_way() {
    let database = database().await;
    let ledger = database.ledger().await;
    let runner = ProjectionRunner::start(&ledger);
    let mut world = World::new(ledger.clone(), 5);
    for _ in 0..500 {
        world.step().await;
    }
    caught_up(&runner, &database).await;
    let along = database.dump().await;
    runner.stop().await;
    for name in NAMES {
        let emptied = format!("DELETE FROM public.{name}");
        database.owner.execute(emptied.as_str()).await.unwrap();
    }
    database
        .owner
        .execute("UPDATE grantlog.cursors SET position = 0")
        .await
        .unwrap();
    // One batch of everything now, where it had been many of a few.
    let runner = ProjectionRunner::start(&ledger);
    caught_up(&runner, &database).await;
    assert_same(&database.dump().await, &along);
    runner.stop().await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_grant_shows_in_its_rows() {
    let database = database().await;
    let ledger = database.ledger().await;
    let runner = ProjectionRunner::start(&ledger);
    let mut world = World::new(ledger.clone(), 1);
    let user = world.register_user().await;
    let client = world.register_client(AuthMethod::ClientSecretBasic).await;
    let grant = world.issue_code(user, client).await;
    world.redeem(grant).await;
    world.rotate(grant, 0).await;
    world.rotate(grant, 1).await; // a retry: generation 1 again, 2 is killed unused
    world.rotate(grant, 0).await;
    world.issue_code(user, client).await;
    world
        .user(
            user,
            UserCommand::ChangePassword(world.seal(user, "password", "x").await),
        )
        .await;
    caught_up(&runner, &database).await;
    let rows = |query: &'static str| {
        let pool = database.owner.clone();
        async move {
            sqlx::query_scalar::<_, String>(query)
                .fetch_all(&pool)
                .await
                .unwrap()
        }
    };
    // Positions: 1 user, 2 client, 3 its secret, 4 code, 5 redeemed, 6 tokens, 7 rotated, 8 retried, 9 rotated,
    // 10 another code, 11 password.
    assert_eq!(
        rows("SELECT concat_ws(' ', id, client_id, user_id, generation, grant_type, replaced_by, used_at IS NOT NULL, revoked_reason, revoked_position) FROM client_refresh_tokens ORDER BY id").await,
        [
            "6 2 1 1 authorization_code 7 t password_changed 11",
            "7 2 1 2 refresh_token 8 f retried 8",
            "8 2 1 3 refresh_token 9 t password_changed 11",
            "9 2 1 4 refresh_token f password_changed 11",
        ]
    );
    assert_eq!(
        rows("SELECT concat_ws(' ', id, client_id, user_id, client_refresh_token_id, sequence, scope, audience, revoked_position) FROM client_access_tokens ORDER BY id").await,
        [
            "6 2 1 6 3 a b https://api.example https://b.example 11",
            "7 2 1 7 4 a b https://api.example https://b.example 11",
            "8 2 1 8 5 a b https://api.example https://b.example 11",
            "9 2 1 9 6 a b https://api.example https://b.example 11",
        ]
    );
    assert_eq!(
        rows("SELECT concat_ws(' ', id, client_id, user_id, scope, is_used, used_position, revoked_reason) FROM client_authorization_codes ORDER BY id").await,
        ["4 2 1 {a,b} t 5", "10 2 1 {a,b} f password_changed"]
    );
    world.redeem(grant).await; // a replay, of a code that was used
    caught_up(&runner, &database).await;
    assert_eq!(
        rows("SELECT concat_ws(' ', id, replayed_at IS NOT NULL, revoked_reason) FROM client_authorization_codes ORDER BY id").await,
        ["4 t code_replayed", "10 f password_changed"]
    );
    runner.stop().await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_user_is_blank_and_a_secret_is_a_digest() {
    let database = database().await;
    let ledger = database.ledger().await;
    let runner = ProjectionRunner::start(&ledger);
    let mut world = World::new(ledger.clone(), 1);
    let user = world.register_user().await;
    world.register_client(AuthMethod::ClientSecretBasic).await;
    let chosen = world.register_client(AuthMethod::ClientSecretBasic).await;
    caught_up(&runner, &database).await;
    let user_row =
        "SELECT concat_ws('|', username, name, email, password IS NULL, erased_at IS NULL) FROM users";
    assert_eq!(database.text(user_row).await.unwrap(), "user0|Üser \"0\"|f|t");
    let secrets = "SELECT string_agg(length(client_secret)::text || standing, ' ' ORDER BY id) FROM clients";
    assert_eq!(database.text(secrets).await.unwrap(), "64active 64active");

    world.erase(user).await;
    world
        .client(
            chosen,
            ClientCommand::Revoke {
                reason: "x".to_owned(),
            },
        )
        .await;
    caught_up(&runner, &database).await;
    assert_eq!(database.text(user_row).await.unwrap(), "t|f");
    assert_eq!(database.text(secrets).await.unwrap(), "64active 64revoked");
    rebuilt(&ledger, &["users"]).await;
    assert_eq!(database.text(user_row).await.unwrap(), "t|f");
    runner.stop().await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_row_is_reported() {
    let database = database().await;
    let ledger = database.ledger().await;
    let runner = ProjectionRunner::start(&ledger);
    let mut world = World::new(ledger.clone(), 3);
    for _ in 0..300 {
        world.step().await;
    }
    caught_up(&runner, &database).await;
    assert_eq!(verified(&ledger).await.differences, []);
    for tampering in [
        "UPDATE client_access_tokens SET scope = 'everything', revoked_at = NULL WHERE id = (SELECT min(id) FROM client_access_tokens WHERE revoked_at IS NOT NULL)",
        "DELETE FROM client_refresh_tokens WHERE id = (SELECT max(id) FROM client_refresh_tokens)",
        "INSERT INTO users (id, subject, disabled, password_generation, created_at) VALUES (999999999, gen_random_uuid(), false, 0, now())",
    ] {
        database.owner.execute(tampering).await.unwrap();
    }
    let found: Vec<_> = verified(&ledger)
        .await
        .differences
        .into_iter()
        .map(|difference| (difference.table, difference.wrong))
        .collect();
    let changed = Wrong::Changed(vec!["scope".to_owned(), "revoked_at".to_owned()]);
    assert_eq!(
        found,
        [
            ("client_access_tokens", changed),
            ("client_refresh_tokens", Wrong::Missing),
            ("users", Wrong::Extra)
        ]
    );
    rebuilt(&ledger, &NAMES).await;
    assert_eq!(verified(&ledger).await.differences, []);
    runner.stop().await;
    database.close().await;
}

/// Two users in the table, the first of whom is returned.
async fn two_users(database: &TestDatabase, ledger: &Ledger) -> (ProjectionRunner, World, SubjectId) {
    let runner = ProjectionRunner::start(ledger);
    let mut world = World::new(ledger.clone(), 3);
    let user = world.register_user().await;
    world.register_user().await;
    caught_up(&runner, database).await;
    (runner, world, user)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_is_not_folded_yet_is_no_difference() {
    let database = database().await;
    let ledger = database.ledger().await;
    let (runner, world, user) = two_users(&database, &ledger).await;
    runner.stop().await;
    world.erase(user).await;
    assert_eq!(verified(&ledger).await.differences, []);
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_vanished_without_an_erasure_is_reported() {
    let database = database().await;
    let ledger = database.ledger().await;
    let (runner, _, user) = two_users(&database, &ledger).await;
    ledger.vault().destroy(user).await.unwrap();
    let found = verified(&ledger).await.differences;
    let changed = Wrong::Changed(vec!["name".to_owned(), "username".to_owned()]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].table, &found[0].wrong), ("users", &changed));
    runner.stop().await;
    database.close().await;
}
