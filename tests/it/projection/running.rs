//! Runners that compete, die or fail, and rebuilds beside them.

use std::time::Duration;

use grantlog::domain::client::AuthMethod;
use grantlog::projection::{NAMES, ProjectionError, ProjectionRunner, status};
use sqlx::Executor;
use tokio::sync::watch;

use super::world::World;
use super::{caught_up, database, rebuilt, verified};

#[tokio::test(flavor = "multi_thread")]
async fn two_runners_fold_each_event_once() {
    let database = database().await;
    let (ledger, other) = (database.ledger().await, database.ledger().await);
    let runners = [ProjectionRunner::start(&ledger), ProjectionRunner::start(&other)];
    let mut worlds = [World::new(ledger.clone(), 8), World::new(other.clone(), 9)];
    for _ in 0..250 {
        let [left, right] = &mut worlds;
        tokio::join!(left.step(), right.step());
    }
    for runner in &runners {
        caught_up(runner, &database).await;
    }
    assert_eq!(verified(&ledger).await.differences, []);
    for runner in &runners {
        runner.stop().await;
    }
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_do_not_skip_when_a_runner_dies_mid_batch() {
    let database = database().await;
    let ledger = database.ledger().await;
    let survivor = ProjectionRunner::start(&ledger);
    let mut world = World::new(ledger.clone(), 12);
    for round in 0..12 {
        let mortal = ProjectionRunner::start(&ledger);
        for _ in 0..20 {
            world.step().await;
        }
        // Its connection dies in whatever it is doing; sometimes the runner goes with it.
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'grantlog projections'",
        )
        .execute(&database.owner)
        .await
        .unwrap();
        if round % 2 == 0 {
            mortal.stop().await;
        }
    }
    caught_up(&survivor, &database).await;
    let report = verified(&ledger).await;
    assert_eq!(report.differences, []);
    assert_eq!(report.position, database.head().await);
    survivor.stop().await;
    database.close().await;
}

/// Rebuilds over and over while events are appended and, perhaps, somebody reads.
async fn rebuild_under_appends(somebody_reads: bool) {
    let database = database().await;
    let ledger = database.ledger().await;
    let runner = ProjectionRunner::start(&ledger);
    let mut world = World::new(ledger.clone(), 21);
    for _ in 0..100 {
        world.step().await;
    }
    let writing = tokio::spawn(async move {
        for _ in 0..600 {
            world.step().await;
        }
    });
    let (read, goes_on) = watch::channel(somebody_reads);
    let reading = tokio::spawn(count_while(database.owner.clone(), goes_on));
    let mut rebuilds = 0;
    while !writing.is_finished() {
        rebuilt(&ledger, &NAMES).await;
        assert_eq!(verified(&ledger).await.differences, []);
        rebuilds += 1;
    }
    writing.await.unwrap();
    read.send_replace(false);
    let reads = reading.await.unwrap();
    assert_eq!(reads > rebuilds, somebody_reads);
    assert!(rebuilds > 0);
    caught_up(&runner, &database).await;
    assert_eq!(verified(&ledger).await.differences, []);
    let tables = database
        .text("SELECT count(*)::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname ~ '_[0-9]+$'")
        .await;
    let expected = NAMES.len().to_string();
    assert_eq!(tables, Some(expected), "replaced tables are dropped");
    runner.stop().await;
    database.close().await;
}

/// Counts a table through its public view again and again: it only ever grows. Returns how often it did.
async fn count_while(pool: sqlx::PgPool, goes_on: watch::Receiver<bool>) -> usize {
    let (mut least, mut reads) = (0, 0);
    while *goes_on.borrow() {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM client_access_tokens")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert!(count >= least, "a swap took rows away: {least}, then {count}");
        (least, reads) = (count, reads + 1);
    }
    reads
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_goes_on_while_events_are_appended() {
    rebuild_under_appends(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_no_fewer_rows_after_a_swap() {
    rebuild_under_appends(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_that_fails_stands_still_and_the_others_go_on() {
    let database = database().await;
    let ledger = database.ledger().await;
    let runner = ProjectionRunner::start(&ledger);
    let mut world = World::new(ledger.clone(), 2);
    world.step().await;
    caught_up(&runner, &database).await;
    database
        .owner
        .execute("DROP TABLE public.users_1 CASCADE")
        .await
        .unwrap();
    world.register_user().await;
    let stuck = tokio::time::timeout(Duration::from_secs(10), runner.wait_for(database.head().await)).await;
    assert!(matches!(stuck, Ok(Err(ProjectionError::StandsStill(name, _))) if name == "users"));
    world.register_client(AuthMethod::None).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for status in status(ledger.pool()).await.unwrap() {
        assert_eq!(status.lag > 0, status.name == "users", "{status:?}");
        assert_eq!(status.error.is_some(), status.name == "users", "{status:?}");
    }
    rebuilt(&ledger, &["users"]).await;
    caught_up(&runner, &database).await;
    assert_eq!(verified(&ledger).await.differences, []);
    runner.stop().await;
    database.close().await;
}
