//! The append: order, verdicts, names, rights.

use std::collections::BTreeSet;

use cqrs_es::persist::PersistedEventRepository;
use grantlog::domain::AggregateType;
use grantlog::domain::scope::{Scope, ScopeCommand};
use grantlog::ledger::{
    AppendError, Command, Expectation, Ledger, LedgerError, NameChange, NewEvent, Priority,
};
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::harness::TestServer;

/// A command that appends `count` events to a new refusal (which has a partition by birth).
pub(crate) fn command(ledger: &Ledger, count: i64) -> Command {
    let id = ledger.random().uuid_at(ledger.clock().now()).unwrap();
    on(ledger, id, 0, count)
}

/// A command that appends `count` events to the refusal `id` after `sequence`.
pub(crate) fn on(ledger: &Ledger, id: Uuid, sequence: i64, count: i64) -> Command {
    let kind = AggregateType::Refusal;
    let events = (1..=count)
        .map(|offset| NewEvent {
            kind,
            id,
            sequence: sequence + offset,
            event_type: "RefusalsSuppressed",
            version: 1,
            payload: r#"{"count":1,"since":"2026-01-01T00:00:00Z","until":"2026-01-01T00:01:00Z"}"#
                .to_owned(),
            metadata: "{}".to_owned(),
        })
        .collect();
    let expectations = vec![Expectation { kind, id, sequence }];
    Command {
        id: ledger.random().uuid().unwrap(),
        expectations,
        events,
        names: Vec::new(),
    }
}

/// Positions are 1, 2, 3 … and as many as the head says; time never runs backwards.
pub(crate) async fn assert_gapless(server: &TestServer) {
    // The owner's connection is new: the server's own may have died with its Postgres.
    let (count, distinct, first, last, head, backwards): (i64, i64, i64, i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), count(DISTINCT position), min(position), max(position), \
                (SELECT position FROM grantlog.head), count(*) FILTER (WHERE recorded_at < before) \
         FROM (SELECT position, recorded_at, lag(recorded_at) OVER (ORDER BY position) AS before \
               FROM grantlog.ledger) l",
    )
    .fetch_one(&server.database.owner().await)
    .await
    .unwrap();
    assert_eq!(
        (first, last, count, distinct, backwards),
        (1, head, head, head, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_gapless_and_time_never_runs_backwards() {
    let server = TestServer::start().await;
    let ledger = &server.app.ledger;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut positions = BTreeSet::new();
                for count in [1, 3, 2, 1, 1, 4, 1, 2] {
                    let appended = ledger
                        .append(command(&ledger, count), Priority::Normal)
                        .await
                        .unwrap();
                    positions.extend(appended.first_position..appended.first_position + count);
                }
                positions
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for task in tasks {
        for position in task.await.unwrap() {
            assert!(seen.insert(position), "position {position} was given twice");
        }
    }
    assert_gapless(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_commands_on_one_aggregate_one_wins_each_sequence() {
    let server = TestServer::start().await;
    let ledger = &server.app.ledger;
    let id = ledger.random().uuid_at(ledger.clock().now()).unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.append(on(&ledger, id, 0, 1), Priority::Normal).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(AppendError::Conflict(conflict)) => {
                assert_eq!(
                    (conflict.expected, conflict.actual, conflict.aggregate_id),
                    (0, 1, id)
                );
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won, 1);
    assert_gapless(&server).await;
}

#[tokio::test]
async fn a_command_passes_only_while_what_it_relied_on_stands() {
    let server = TestServer::start().await;
    let ledger = &server.app.ledger;
    let relied_on = command(ledger, 1);
    let id = relied_on.events[0].id;
    ledger.append(relied_on, Priority::Normal).await.unwrap();
    let seen = Expectation {
        kind: AggregateType::Refusal,
        id,
        sequence: 1,
    };
    let mut passes = command(ledger, 1);
    passes.expectations.push(seen);
    ledger.append(passes, Priority::Normal).await.unwrap();
    ledger
        .append(on(ledger, id, 1, 1), Priority::Normal)
        .await
        .unwrap();
    let mut late = command(ledger, 1);
    let written = late.events[0].id;
    late.expectations.push(seen);
    assert!(matches!(
        ledger.append(late, Priority::Normal).await,
        Err(AppendError::Conflict(_))
    ));
    let half: i64 = sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger WHERE aggregate_id = $1")
        .bind(written)
        .fetch_one(ledger.pool())
        .await
        .unwrap();
    assert_eq!(half, 0);
    assert_gapless(&server).await;
}

#[tokio::test]
async fn a_repeated_command_acts_once() {
    let server = TestServer::start().await;
    let ledger = &server.app.ledger;
    let command = command(ledger, 2);
    let first = ledger.append(command.clone(), Priority::Normal).await.unwrap();
    let second = ledger.append(command, Priority::Normal).await.unwrap();
    assert!(!first.repeated && second.repeated);
    assert_eq!(
        (first.first_position, first.at),
        (second.first_position, second.at)
    );
    assert_gapless(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_has_one_owner() {
    let server = TestServer::start().await;
    let ledger = &server.app.ledger;
    let claim = |ledger: &Ledger| {
        let mut command = command(ledger, 1);
        let owner = (AggregateType::Refusal, command.events[0].id);
        command.names.push(NameChange {
            kind: "username",
            digest: [9; 32],
            owner,
            claim: true,
        });
        command
    };
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (ledger, command) = (ledger.clone(), claim(ledger));
            tokio::spawn(async move { ledger.append(command, Priority::Normal).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(
                matches!(error, AppendError::NameTaken(ref kind) if kind == "username"),
                "{error}"
            ),
        }
    }
    assert_eq!(won, 1);
    let user = || grantlog::operations::user::NewUser {
        username: "Ada".into(),
        ..Default::default()
    };
    let context = TestServer::context();
    server.app.operations.create_user(&context, user()).await.unwrap();
    let taken = server.app.operations.create_user(&context, user()).await;
    let taken = matches!(
        taken,
        Err(grantlog::operations::OperationError::Ledger(LedgerError::NameTaken(ref kind))) if kind == "username"
    );
    assert!(taken);
}

#[tokio::test]
async fn one_poisoned_command_does_not_take_its_batch_with_it() {
    let server = TestServer::start().await;
    let ledger = &server.app.ledger;
    // While the head is locked, all of them gather into one batch.
    let mut holder = PgConnection::connect(&server.database.owner_url).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    holder
        .execute("SELECT * FROM grantlog.head FOR UPDATE")
        .await
        .unwrap();
    let first = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.append(command(&ledger, 1), Priority::Normal).await }
    });
    let mut poisoned = command(ledger, 1);
    poisoned.events[0].payload = "{not json".to_owned();
    let mut tasks: Vec<_> = vec![poisoned]
        .into_iter()
        .chain((0..10).map(|_| command(ledger, 1)))
        .map(|command| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.append(command, Priority::Normal).await })
        })
        .collect();
    wait_until_blocked(&server).await;
    holder.execute("ROLLBACK").await.unwrap();
    first.await.unwrap().unwrap();
    let refused = tasks.remove(0).await.unwrap();
    assert!(
        matches!(refused, Err(AppendError::Refused(ref code)) if code == "22P02"),
        "{refused:?}"
    );
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_gapless(&server).await;
}

/// Waits until the appender waits for the head's lock.
pub(crate) async fn wait_until_blocked(server: &TestServer) {
    let owner = server.database.owner().await;
    loop {
        let blocked: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')",
        )
        .fetch_one(&owner)
        .await
        .unwrap();
        if blocked {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_application_can_append_and_nothing_else() {
    let server = TestServer::start().await;
    let mut app = PgConnection::connect(&server.database.app_url).await.unwrap();
    for statement in [
        "UPDATE grantlog.ledger SET payload = '{}'",
        "DELETE FROM grantlog.ledger",
        "TRUNCATE grantlog.ledger",
        "INSERT INTO grantlog.ledger SELECT * FROM grantlog.ledger",
        "UPDATE grantlog.head SET position = 0",
        "DELETE FROM grantlog.names",
        "UPDATE grantlog.ledger_scope SET sequence = 9",
        "DROP TABLE grantlog.ledger",
        "ALTER TABLE grantlog.ledger DISABLE TRIGGER ALL",
    ] {
        let error = app.execute(statement).await.expect_err(statement);
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    }
    // Even the owner is stopped by the triggers, on the parent and on each partition.
    let mut owner = PgConnection::connect(&server.database.owner_url).await.unwrap();
    for statement in [
        "UPDATE grantlog.ledger SET payload = '{}'",
        "DELETE FROM grantlog.ledger_scope",
        "TRUNCATE grantlog.ledger_signing_key",
        "TRUNCATE grantlog.ledger_grant",
    ] {
        let error = owner.execute(statement).await.expect_err(statement);
        assert!(error.to_string().contains("append-only"), "{statement}: {error}");
    }
}

#[tokio::test]
async fn an_id_from_outside_the_partitions_is_refused() {
    let server = TestServer::start().await;
    let ledger = &server.app.ledger;
    let long_ago = "2001-01-01T00:00:00Z".parse().unwrap();
    let id = ledger.random().uuid_at(long_ago).unwrap();
    let refused = ledger.append(on(ledger, id, 0, 1), Priority::Normal).await;
    assert!(
        matches!(refused, Err(AppendError::Refused(ref code)) if code == "23514"),
        "{refused:?}"
    );
    assert_gapless(&server).await;
}

#[tokio::test]
async fn cqrs_es_reads_aggregates_through_its_own_repository() {
    let server = TestServer::start().await;
    let context = TestServer::context();
    server
        .app
        .operations
        .define_scope(&context, "view-user", "Changed", true)
        .await
        .unwrap();
    let pool = sqlx::PgPool::connect(&server.database.app_url).await.unwrap();
    let repository =
        postgres_es::PostgresEventRepository::new(pool).with_tables("grantlog.events", "no_snapshots");
    let id = Scope::id("view-user").to_string();
    let events = repository.get_events::<Scope>(&id).await.unwrap();
    assert_eq!(events.len(), 2);
    let store = cqrs_es::persist::PersistedEventStore::<_, Scope>::new_event_store(repository);
    let mut loaded = cqrs_es::EventStore::load_aggregate(&store, &id).await.unwrap();
    let scope = cqrs_es::AggregateContext::aggregate(&mut loaded);
    assert_eq!(scope.definition.as_ref().unwrap().description, "Changed");
    assert!(scope.definition.as_ref().unwrap().restricted);
}

#[tokio::test]
async fn the_same_definition_twice_appends_nothing() {
    let server = TestServer::start().await;
    let before = *server.app.ledger.head().borrow();
    let context = TestServer::context();
    server
        .app
        .operations
        .define_scope(&context, "view-user", "See your name and user name", false)
        .await
        .unwrap();
    assert_eq!(*server.app.ledger.head().borrow(), before);
}

#[test]
fn a_scopes_decisions_pass_the_test_kit_of_cqrs_es() {
    use cqrs_es::test::TestFramework;
    use grantlog::domain::NoServices;
    use grantlog::domain::scope::{ScopeDefined, ScopeRefusal, ScopeRetired};
    let defined = ScopeDefined {
        name: "a".into(),
        description: "b".into(),
        restricted: false,
    };
    let define = |name: &str| ScopeCommand::Define {
        name: name.into(),
        description: "b".into(),
        restricted: false,
    };
    let kit = || TestFramework::<Scope>::with(NoServices);
    kit()
        .given_no_previous_events()
        .when(define("a"))
        .then_expect_events(vec![defined.clone().into()]);
    kit()
        .given(vec![defined.into()])
        .when(ScopeCommand::Retire)
        .then_expect_events(vec![ScopeRetired {}.into()]);
    let error = kit()
        .given_no_previous_events()
        .when(define("a b"))
        .inspect_result()
        .unwrap_err();
    assert_eq!(error, ScopeRefusal::MalformedName);
}
