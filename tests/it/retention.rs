//! Retention: quarters that are over leave the ledger, archived and accounted for; tables stay bounded.

mod readers;

use std::path::Path;
use std::process::Output;

use chrono::TimeDelta;
use grantlog::clock::Timestamp;
use grantlog::domain::client::GrantType;
use grantlog::domain::grant::{AccessToken, Grant, GrantEvent, GrantRefusal, TokenIssued};
use grantlog::domain::token_use::{TokenUse, TokenUseCommand, TokenUseCounted, TokenUses};
use grantlog::domain::value::{Digest, ScopeSet};
use grantlog::domain::{Decision, trail::Class};
use grantlog::evidence::detached;
use grantlog::evidence::sealer::check_last_rows;
use grantlog::evidence::verify::{Damage, Place, Report, verify};
use grantlog::evidence::{EvidenceError, prove, store};
use grantlog::ids::{ClientKey, GrantId, SubjectId};
use grantlog::ledger::Priority;
use grantlog::operations::retention::Quarter;
use grantlog::projection::{self, NAMES};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::command_line::{finish, grantlog_on, stdout};
use crate::evidence::Sealed;
use crate::harness::TestServer;
use crate::ledger::on;

/// A grant with one access token, whose id says when it was born.
async fn issue(
    server: &TestServer,
    (client, subject): (ClientKey, SubjectId),
    born: Timestamp,
    expires_at: Timestamp,
) -> GrantId {
    let ledger = &server.app.ledger;
    let context = TestServer::context();
    let id = GrantId(ledger.random().uuid_at(born).unwrap());
    let mut unit = ledger.unit_of_work(&context);
    let grant = unit.create::<Grant>(id.0);
    let event = GrantEvent::from(TokenIssued {
        flow: GrantType::AuthorizationCode,
        client,
        subject: Some(subject),
        scope: ScopeSet::parse("view-user").unwrap(),
        audience: Vec::new(),
        authorization_details: None,
        details: None,
        access: AccessToken {
            digest: Digest(ledger.random().bytes().unwrap()),
            expires_at,
            confirmation: None,
        },
        refresh: None,
        password_generation: 0,
        issued_at: born,
        grant_expires_at: expires_at,
    });
    let decision = Decision::<_, (), GrantRefusal>::accept(vec![event], ());
    let concluded = unit.conclude(&grant, decision).await.unwrap();
    assert!(concluded.unwrap().outcome.is_ok());
    id
}

/// Counts a use of a grant's token.
async fn use_once(
    server: &TestServer,
    (grant, client, subject): (GrantId, ClientKey, SubjectId),
    at: Timestamp,
) {
    let ledger = &server.app.ledger;
    let context = TestServer::context();
    let mut unit = ledger.unit_of_work(&context);
    let counts = unit.create::<TokenUse>(ledger.random().uuid().unwrap());
    let uses = TokenUses {
        grant,
        client,
        subject: Some(subject),
        asked_by: None,
        network: None,
        endpoint: "/api/user".to_owned(),
        count: 1,
        first: at,
        last: at,
    };
    let counted = TokenUseCounted {
        hour: at,
        uses: vec![uses],
    };
    let decision = counts.decide(&TokenUseCommand::Count(vec![counted]));
    let concluded = unit.conclude(&counts, decision).await.unwrap();
    assert!(concluded.unwrap().outcome.is_ok());
}

/// The grants whose uses are shown.
async fn used(server: &TestServer) -> Vec<Uuid> {
    sqlx::query_scalar("SELECT grant_id FROM token_uses ORDER BY id")
        .fetch_all(server.app.ledger.pool())
        .await
        .unwrap()
}

async fn families(server: &TestServer) -> Vec<Uuid> {
    server.settle().await;
    shown(server).await
}

async fn shown(server: &TestServer) -> Vec<Uuid> {
    sqlx::query_scalar("SELECT family FROM client_access_tokens ORDER BY id")
        .fetch_all(server.app.ledger.pool())
        .await
        .unwrap()
}

/// Rebuilt tables would hold the same rows.
async fn assert_tables(server: &TestServer) {
    let ledger = &server.app.ledger;
    let found = projection::verify(ledger.pool(), ledger.vault(), &NAMES, &|_| {})
        .await
        .unwrap();
    assert_eq!(found.differences, []);
}

/// A server with a client and a user, and partitions for what is long ago.
async fn desk() -> (Sealed, ClientKey, SubjectId) {
    let sealed = Sealed::with_events(10).await;
    let client = sealed
        .server
        .client(json!({"client_name": "Desk", "grant_types": ["client_credentials"]}))
        .await;
    let subject = sealed.server.user("ada", "correct horse battery").await;
    sqlx::query("SELECT grantlog.create_partitions(now() - interval '3 years', interval '1 day')")
        .execute(sealed.server.app.ledger.pool())
        .await
        .unwrap();
    (sealed, client.key, subject)
}

async fn retention(sealed: &Sealed, as_owner: bool, arguments: &[&str]) -> Output {
    let mut command = grantlog_on(&sealed.server.database);
    if as_owner {
        command.env(
            "GRANTLOG_MIGRATION_DATABASE_URL",
            &sealed.server.database.owner_url,
        );
    }
    command.arg("retention").args(arguments);
    finish(command, None).await
}

async fn verified(sealed: &Sealed, place: &Place) -> Report {
    verify(place, vec![sealed.anchor().await], &[], &mut |_| {})
        .await
        .unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarter_that_is_over_is_archived_and_detached_and_everything_still_adds_up() {
    let (sealed, client, subject) = desk().await;
    let server = &sealed.server;
    let now = server.clock.now();
    let born = now - TimeDelta::days(3 * 365);
    let quarter = format!("grant_{}", quarter_of(server, born).await);
    let (mut old, mut issued_today) = (Vec::new(), GrantId(Uuid::nil()));
    for _ in 0..3 {
        old.push(issue(server, (client, subject), born, now - TimeDelta::hours(1)).await);
        issued_today = issue(server, (client, subject), now, now + TimeDelta::hours(1)).await;
    }
    use_once(server, (old[0], client, subject), now).await;
    use_once(server, (issued_today, client, subject), now).await;
    sealed.settle().await;
    assert_eq!(families(server).await.len(), 6);
    assert_eq!(used(server).await.len(), 2);
    let before = sealed.anchor().await;

    // It is due, and a hold keeps it; nobody but the ledger's owner could take it out anyway.
    let operations = &server.app.operations;
    let context = TestServer::context();
    stdout(
        &retention(
            &sealed,
            false,
            &[
                "set", "--class", "grant", "--keep", "400d", "--reason", "policy 7",
            ],
        )
        .await,
    );
    assert_eq!(
        operations.retention(Class::Grant.into()).await.unwrap(),
        Some(400)
    );
    let overdue = operations.overdue().await.unwrap().quarters;
    assert!(overdue.iter().any(|overdue| overdue.partition == quarter));
    let mut doctor = grantlog_on(&server.database);
    doctor.args(["doctor", "--json"]);
    let report = String::from_utf8_lossy(&finish(doctor, None).await.stdout).into_owned();
    assert!(
        report.contains("has come, and nobody took it out") && report.contains(&quarter),
        "{report}"
    );
    operations
        .place_hold(&context, subject, "a lawsuit", None)
        .await
        .unwrap();
    let made = tempfile::tempdir().unwrap();
    let archive = made.path().to_str().unwrap();
    let detach = [
        "detach",
        &quarter,
        "--export",
        archive,
        "--reason",
        "it is over",
        "--yes",
        "--json",
    ];
    let refused = retention(&sealed, true, &detach).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("a legal hold keeps"),
        "{said}"
    );
    operations.lift_hold(&context, subject, "settled").await.unwrap();
    let refused = retention(&sealed, false, &detach).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("only the ledger's owner"),
        "{said}"
    );
    let planned = document(&retention(&sealed, true, &[&detach[..], &["--dry-run"]].concat()).await);
    assert_eq!(planned["detached"][0]["facts"]["events"], 3, "{planned}");
    assert_eq!(
        operations.grant_events(old[0]).await.unwrap().len(),
        1,
        "a dry run changes nothing"
    );

    let done = document(&retention(&sealed, true, &detach).await);
    assert_eq!(done["detached"][0]["quarter"]["partition"], *quarter, "{done}");
    assert!(operations.grant_events(old[0]).await.unwrap().is_empty());
    assert!(matches!(
        operations.revoke_grant(&context, old[0]).await,
        Err(grantlog::operations::OperationError::Grant(_))
    ));
    let events: i64 = sqlx::query_scalar(&format!(
        "SELECT count(*) FROM grantlog_detached.ledger_{quarter}"
    ))
    .fetch_one(&server.database.owner().await)
    .await
    .unwrap();
    assert_eq!(events, 3);

    // Tables: live ones, and what a rebuild would make of the ledger as it is now.
    assert_eq!(families(server).await.len(), 3);
    assert_eq!(used(server).await, [issued_today.0]);
    assert_tables(server).await;

    // Evidence: sealing goes on, the ledger verifies against checkpoints of before, the archive has every event.
    crate::evidence::append(server, 3).await;
    sealed.settle().await;
    let ledger = Place::Database(server.app.ledger.pool().clone());
    let report = verify(&ledger, vec![before, sealed.anchor().await], &[], &mut |_| {})
        .await
        .unwrap();
    assert_eq!(
        (report.finding, report.hashes_only, report.agreed.len()),
        (None, 3, 2)
    );
    let anchor = exported(&sealed, made.path()).await;
    let files = Place::Directory(made.path().to_owned());
    let report = verify(&files, vec![anchor], &[], &mut |_| {}).await.unwrap();
    assert_eq!((report.finding, report.hashes_only), (None, 0));
    let pool = server.app.ledger.pool();
    let mut connection = pool.acquire().await.unwrap();
    let edge = store::edge(&mut *connection, &store::read(pool).await.unwrap())
        .await
        .unwrap();
    check_last_rows(&mut connection, &edge).await.unwrap();
    let gone = detached::manifest(pool).await.unwrap()[0].ranges[0].0;
    assert!(matches!(prove::inclusion(pool, gone).await, Err(EvidenceError::Detached(at)) if at == gone));

    // A new export has no bundle with a hole, and says why.
    let fresh = tempfile::tempdir().unwrap();
    let written = grantlog::evidence::export::export(pool, fresh.path(), 0, &mut |_, _| {})
        .await
        .unwrap();
    assert!(written.left_out > 0);
    assert_eq!(
        verified(&sealed, &Place::Directory(fresh.path().to_owned()))
            .await
            .finding,
        None
    );

    // Who removes an event and writes a manifest is found: no event of the log says so.
    let mut attacker = PgConnection::connect(&server.database.owner_url).await.unwrap();
    let at: i64 = sqlx::query_scalar("SELECT position FROM grantlog.ledger_user ORDER BY position LIMIT 1")
        .fetch_one(&mut attacker)
        .await
        .unwrap();
    for sql in [
        "SET session_replication_role = replica".to_owned(),
        format!("DELETE FROM grantlog.ledger WHERE position = {at}"),
        format!("INSERT INTO grantlog.detached_ranges VALUES ({at}, {at}, '{quarter}')"),
    ] {
        attacker.execute(sql.as_str()).await.unwrap();
    }
    let finding = verified(&sealed, &ledger).await.finding.unwrap();
    assert_eq!(finding.problem, Damage::Removed);
    assert!(
        finding.detail.contains("no event of the log says so"),
        "{}",
        finding.detail
    );
}

/// The checkpoint of an export.
async fn exported(sealed: &Sealed, directory: &Path) -> grantlog::evidence::verify::Anchor {
    let note = std::fs::read_to_string(directory.join("checkpoint")).unwrap();
    let (checkpoint, _) = grantlog::evidence::checkpoint::open(&note, &sealed.keys().await).unwrap();
    grantlog::evidence::verify::Anchor {
        from: "the archive".to_owned(),
        checkpoint,
    }
}

async fn quarter_of(server: &TestServer, at: Timestamp) -> String {
    sqlx::query_scalar("SELECT to_char($1 AT TIME ZONE 'UTC', 'YYYY\"q\"Q')")
        .bind(at)
        .fetch_one(server.app.ledger.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_lives_keeps_its_quarter_and_the_owners_function_checks_for_itself() {
    let (sealed, client, subject) = desk().await;
    let server = &sealed.server;
    let now = server.clock.now();
    let born = now - TimeDelta::days(3 * 365);
    let grant = issue(server, (client, subject), born, now + TimeDelta::days(1)).await;
    sealed.settle().await;
    let operations = &server.app.operations;
    let context = TestServer::context();
    operations
        .set_retention(&context, Class::Grant.into(), Some(30))
        .await
        .unwrap();
    let name = format!("grant_{}", quarter_of(server, born).await);
    let quarters = operations.quarters().await.unwrap();
    let quarter = quarters.iter().find(|quarter| quarter.partition == name).unwrap();
    let facts = operations.quarter_facts(quarter).await.unwrap();
    let obstacle = quarter.obstacle(&facts, &[], now).unwrap().to_string();
    assert!(obstacle.contains("lives until"), "{obstacle}");
    // An event that says otherwise does not help: the function looks for itself.
    let leaves = Digest::of(b"made up");
    let position = operations
        .record_detachment(&context, quarter.detachment(&facts, &[], leaves))
        .await
        .unwrap();
    sealed.settle().await;
    let refused = sqlx::query("SELECT grantlog.detach_partition($1)")
        .bind(i64::try_from(position).unwrap())
        .execute(&server.database.owner().await)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("may be alive"), "{refused}");
    let refused = sqlx::query("SELECT grantlog.detach_partition($1)")
        .bind(i64::try_from(position).unwrap())
        .execute(server.app.ledger.pool())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    assert_eq!(operations.grant_events(grant).await.unwrap().len(), 1);
    let short = operations
        .set_retention(&context, Class::Grant.into(), Some(29))
        .await
        .unwrap_err();
    assert!(short.to_string().contains("30 to 36500"), "{short}");
    let is_current = |quarter: &&Quarter| quarter.class == Class::Grant && quarter.ends_at > now;
    let current = &quarters.iter().find(is_current).unwrap().partition;
    let stays = retention(
        &sealed,
        true,
        &[
            "detach", current, "--export", "/nowhere", "--reason", "x", "--yes",
        ],
    )
    .await;
    let said = String::from_utf8_lossy(&stays.stderr).into_owned();
    assert!(
        !stays.status.success() && said.contains("are kept until"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_long_ago_is_pruned_by_event_time_alike_in_live_and_rebuilt_tables() {
    let (sealed, client, subject) = desk().await;
    let server = &sealed.server;
    let now = server.clock.now();
    let kept = projection::prune::KEPT_DAYS;
    let ledger = &server.app.ledger;
    let runner = projection::ProjectionRunner::start(ledger);
    let mut expected = Vec::new();
    for (days, stays) in [
        (kept + 1, false),
        (kept - 1, true),
        (kept + 400, false),
        (-1, true),
    ] {
        let id = issue(server, (client, subject), now, now - TimeDelta::days(days)).await;
        expected.extend(stays.then_some(id.0));
        // Each in a batch of its own: the bound has not moved, and what is below it goes all the same.
        let head = *ledger.head().borrow();
        runner.wait_for(head).await.unwrap();
        assert_eq!(shown(server).await, expected);
    }
    let mut still_used = Vec::new();
    for (days, stays) in [(1, false), (-1, true)] {
        let grant = GrantId(Uuid::from_u128(u128::try_from(days + 10).unwrap()));
        let at = now - TimeDelta::days(projection::prune::USES_KEPT_DAYS + days);
        use_once(server, (grant, client, subject), at).await;
        still_used.extend(stays.then_some(grant.0));
        let head = *ledger.head().borrow();
        runner.wait_for(head).await.unwrap();
        assert_eq!(used(server).await, still_used);
    }
    runner.stop().await;
    assert_tables(server).await;
    projection::rebuild(ledger.pool(), ledger.vault(), &NAMES, &|_| {})
        .await
        .unwrap();
    assert_eq!(shown(server).await, expected);
    assert_eq!(used(server).await, still_used);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarter_of_refusals_is_detached_and_dropped_and_every_event_is_accounted_for() {
    let (sealed, ..) = desk().await;
    let server = &sealed.server;
    let ledger = &server.app.ledger;
    let born = server.clock.now() - TimeDelta::days(3 * 365);
    for _ in 0..4 {
        let id = ledger.random().uuid_at(born).unwrap();
        ledger
            .append(on(ledger, id, 0, 2), Priority::Normal)
            .await
            .unwrap();
        crate::evidence::append(server, 1).await;
    }
    sealed.settle().await;
    let postings = async || -> i64 {
        server.settle().await;
        sqlx::query_scalar(
            "SELECT count(*) FROM event_postings AS p \
             WHERE NOT EXISTS (SELECT FROM grantlog.ledger AS l WHERE l.lane = 0 AND l.position = p.id)",
        )
        .fetch_one(ledger.pool())
        .await
        .unwrap()
    };
    assert_eq!(postings().await, 0);
    let before = sealed.anchor().await;
    let set = [
        "set", "--class", "refusal", "--keep", "180d", "--reason", "policy 7",
    ];
    stdout(&retention(&sealed, false, &set).await);
    let made = tempfile::tempdir().unwrap();
    let archive = made.path().to_str().unwrap();
    let detach = [
        "detach",
        "--export",
        archive,
        "--reason",
        "it is over",
        "--drop",
        "--yes",
        "--json",
    ];
    let done = document(&retention(&sealed, true, &detach).await);
    let quarter = format!("refusal_{}", quarter_of(server, born).await);
    let detached = done["detached"].as_array().unwrap();
    let mine = detached
        .iter()
        .find(|one| one["quarter"]["partition"] == *quarter);
    assert_eq!(mine.unwrap()["facts"]["events"], 8, "{done}");
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'grantlog_detached'")
            .fetch_one(&server.database.owner().await)
            .await
            .unwrap();
    assert_eq!(left, 0, "it is dropped");

    crate::evidence::append(server, 3).await;
    sealed.settle().await;
    assert_eq!(postings().await, 0, "the index has no row of what is gone");
    assert_tables(server).await;
    let place = Place::Database(ledger.pool().clone());
    let anchors = vec![before, sealed.anchor().await];
    let report = verify(&place, anchors, &[], &mut |_| {}).await.unwrap();
    assert_eq!((report.finding, report.hashes_only), (None, 8));
    let told: u64 = report.detached.iter().map(|quarter| quarter.events).sum();
    assert_eq!(told, 8, "and which quarters they were of");
    let anchor = exported(&sealed, made.path()).await;
    let files = Place::Directory(made.path().to_owned());
    let report = verify(&files, vec![anchor], &[], &mut |_| {}).await.unwrap();
    assert_eq!(
        (report.finding, report.hashes_only),
        (None, 0),
        "the archive has them all"
    );
    // Again: nothing is left, and what is there is carried on.
    let done = document(&retention(&sealed, true, &detach).await);
    assert_eq!(done["detached"], json!([]), "{done}");

    // A manifest that the event on the log does not bear out in number is no manifest.
    let mut attacker = PgConnection::connect(&server.database.owner_url).await.unwrap();
    for sql in [
        "SET session_replication_role = replica",
        "UPDATE grantlog.detached_partitions SET event_position = -9223372036854775808 WHERE events = 8",
    ] {
        attacker.execute(sql).await.unwrap();
    }
    let finding = verified(&sealed, &place).await.finding.unwrap();
    assert_eq!(finding.problem, Damage::Removed, "{}", finding.detail);
}
