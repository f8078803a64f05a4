//! Tables as they stood at a position.

use std::collections::HashSet;

use grantlog::ledger::position_at;
use grantlog::projection::{NAMES, ProjectionError, ProjectionRunner, replay};
use sqlx::Executor;

use super::world::World;
use super::{TestDatabase, caught_up, database};

impl TestDatabase {
    /// Rows with their ids, of users only those whose keys are not destroyed.
    async fn rows(&self, schema: &str) -> Vec<(String, i64, String)> {
        let erased: Vec<i64> = sqlx::query_scalar("SELECT id FROM users WHERE erased_at IS NOT NULL")
            .fetch_all(&self.owner)
            .await
            .unwrap();
        let erased: HashSet<i64> = erased.into_iter().collect();
        let mut all = Vec::new();
        for name in NAMES {
            let rows: Vec<(i64, String)> = sqlx::query_as(&format!(
                "SELECT id, to_jsonb(t)::text FROM \"{schema}\".{name} AS t ORDER BY id"
            ))
            .fetch_all(&self.owner)
            .await
            .unwrap();
            let kept = rows
                .into_iter()
                .filter(|(id, _)| name != "users" || !erased.contains(id));
            all.extend(kept.map(|(id, row)| (name.to_owned(), id, row)));
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_tables_are_those_that_stood_then() {
    let database = database().await;
    let ledger = database.ledger().await;
    let runner = ProjectionRunner::start(&ledger);
    let mut world = World::new(ledger.clone(), 14_02_07);
    let mut stood = Vec::new();
    for _ in 0..3 {
        for _ in 0..120 {
            world.step().await;
        }
        caught_up(&runner, &database).await;
        stood.push((database.head().await, database.rows("public").await));
    }
    let erased: i64 = sqlx::query_scalar("SELECT count(*) FROM users WHERE erased_at IS NOT NULL")
        .fetch_one(&database.owner)
        .await
        .unwrap();
    assert!(erased > 0, "nobody was erased meanwhile");
    // A name may be a word of SQL.
    let into = "order".parse().unwrap();
    for (number, (position, rows)) in stood.iter().enumerate() {
        let (pool, vault) = (ledger.pool(), ledger.vault());
        let replayed = replay(pool, vault, (&into, number > 0), *position, &|_| {})
            .await
            .unwrap();
        assert_eq!(replayed.position, *position);
        // Who was erased since is erased in the past, too.
        let gone: HashSet<i64> = sqlx::query_scalar("SELECT id FROM users WHERE erased_at IS NOT NULL")
            .fetch_all(&database.owner)
            .await
            .unwrap()
            .into_iter()
            .collect();
        let expected: Vec<_> = rows
            .iter()
            .filter(|(name, id, _)| name != "users" || !gone.contains(id))
            .cloned()
            .collect();
        assert_eq!(database.rows("order").await, expected, "position {position}");
    }
    // The view of the clients is that of these clients.
    let (views, clients): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM \"order\".oauth_clients), (SELECT count(*) FROM \"order\".clients)",
    )
    .fetch_one(&database.owner)
    .await
    .unwrap();
    assert_eq!(views, clients);
    // Nothing is left beside the live tables, which still follow.
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename ~ '_[0-9]+$'",
    )
    .fetch_one(&database.owner)
    .await
    .unwrap();
    assert_eq!(tables, i64::try_from(NAMES.len()).unwrap());
    world.step().await;
    caught_up(&runner, &database).await;
    runner.stop().await;
    ledger.close().await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_no_replay_made_is_left_alone() {
    let database = database().await;
    let ledger = database.ledger().await;
    World::new(ledger.clone(), 5).step().await;
    let into = "reports".parse().unwrap();
    database
        .owner
        .execute("CREATE SCHEMA reports; CREATE TABLE reports.users ()")
        .await
        .unwrap();
    for replace in [false, true] {
        let refused = replay(ledger.pool(), ledger.vault(), (&into, replace), 1, &|_| {}).await;
        assert!(
            matches!(refused, Err(ProjectionError::SchemaExists(_))),
            "{refused:?}"
        );
    }
    // Nor by asking the database's function without the program.
    let refused = sqlx::query("SELECT grantlog.make_as_of_schema('reports', true, 1)")
        .execute(ledger.pool())
        .await
        .unwrap_err();
    assert_eq!(refused.into_database_error().unwrap().code().unwrap(), "42P06");
    let refused = sqlx::query("SELECT grantlog.make_as_of_schema('grantlog', true, 1)")
        .execute(ledger.pool())
        .await
        .unwrap_err();
    assert_eq!(refused.into_database_error().unwrap().code().unwrap(), "3F000");
    assert_eq!(
        database
            .text("SELECT count(*)::text FROM reports.users")
            .await
            .unwrap(),
        "0"
    );
    ledger.close().await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_has_the_last_position_that_was_recorded_by_then() {
    let database = database().await;
    let ledger = database.ledger().await;
    let mut world = World::new(ledger.clone(), 9);
    for _ in 0..60 {
        world.step().await;
    }
    let events: Vec<(i64, chrono::DateTime<chrono::Utc>)> =
        sqlx::query_as("SELECT position, recorded_at FROM grantlog.ledger ORDER BY position")
            .fetch_all(&database.owner)
            .await
            .unwrap();
    let tick = chrono::TimeDelta::microseconds(1);
    for (_, at) in &events {
        for moment in [*at - tick, *at, *at + tick] {
            let expected = events
                .iter()
                .filter(|(_, recorded)| *recorded <= moment)
                .map(|(position, _)| *position)
                .max()
                .unwrap_or(0);
            assert_eq!(position_at(ledger.pool(), moment).await.unwrap(), expected);
        }
    }
    ledger.close().await;
    database.close().await;
}
