//! The index of the trail.

use std::collections::BTreeSet;

use grantlog::ids::{GrantId, SessionId};
use grantlog::projection::{ProjectionRunner, rebuild};
use grantlog::trail::postings::by_lists;
use grantlog::trail::{Key, Order, Query, Stretch, positions};
use uuid::Uuid;

use super::world::World;
use super::{TestDatabase, caught_up, database};

impl TestDatabase {
    /// Positions that a statement finds, in order.
    async fn scan(&self, condition: &str) -> Vec<i64> {
        let sql = format!("SELECT position FROM grantlog.ledger AS l WHERE {condition} ORDER BY position");
        sqlx::query_scalar(&sql).fetch_all(&self.owner).await.unwrap()
    }

    async fn found(&self, query: &Query, order: Order, limit: usize) -> Vec<i64> {
        let mut connection = self.owner.acquire().await.unwrap();
        let found = positions(&mut connection, query, Stretch::ALL, (order, limit)).await;
        found.unwrap().positions
    }
}

/// What is asked, and the condition that a reading of the whole ledger answers it by. A party's events are those that
/// name it, and those of grants, logins and consents whose first events do.
fn questions(world: &World) -> Vec<(Key, String)> {
    let party = |kind: &str, member: &str, id: Uuid| {
        format!(
            "(l.aggregate_type = '{kind}' AND l.aggregate_id = '{id}') OR l.payload::text LIKE '%\"{id}\"%' OR \
             (l.aggregate_type IN ('grant', 'session', 'consent', 'alert') AND EXISTS (SELECT FROM grantlog.ledger AS f \
              WHERE f.aggregate_type = l.aggregate_type AND f.aggregate_id = l.aggregate_id AND f.sequence < l.sequence \
                AND f.sequence <= 2 AND coalesce(f.payload->>'{member}', f.payload->'about'->>'{member}') = '{id}'))"
        )
    };
    let named = |id: &Uuid| format!("l.aggregate_id = '{id}' OR l.payload::text LIKE '%\"{id}\"%'");
    let mut asked = Vec::new();
    for client in &world.clients {
        asked.push((Key::Client(*client), party("client", "client", client.0)));
    }
    for user in &world.users {
        asked.push((Key::Subject(*user), party("user", "subject", user.0)));
    }
    for held in world.grants.iter().take(40) {
        asked.push((Key::Grant(GrantId(held.id)), named(&held.id)));
    }
    for (session, _) in &world.sessions {
        asked.push((Key::Session(SessionId(*session)), named(session)));
    }
    for event in ["CodeIssued", "TokenRevoked", "UserDisabled", "NoSuchEvent"] {
        asked.push((
            Key::EventType(event.to_owned()),
            format!("l.event_type = '{event}'"),
        ));
    }
    asked.push((
        Key::Actor("system".to_owned()),
        "l.metadata->>'actor' = 'system'".to_owned(),
    ));
    asked.push((
        Key::Word("because".to_owned()),
        "l.payload->>'reason' = 'because'".to_owned(),
    ));
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_finds_what_a_reading_of_the_whole_ledger_finds() {
    let database = database().await;
    let ledger = database.ledger().await;
    let runner = ProjectionRunner::start(&ledger);
    let mut world = World::new(ledger.clone(), 7_062);
    for _ in 0..150 {
        world.step().await;
    }
    caught_up(&runner, &database).await;
    runner.stop().await;
    let indexed = database.head().await;
    // What nobody has indexed yet is found all the same.
    for _ in 0..40 {
        world.step().await;
    }
    let head = database.head().await;
    assert!(head > indexed);
    let mut some = 0;
    for (key, condition) in questions(&world) {
        let (expected, query) = (database.scan(&condition).await, Query::of(&key));
        let oldest = database.found(&query, Order::OldestFirst, 10_000).await;
        assert_eq!(oldest, expected, "{key:?}");
        let mut newest = database.found(&query, Order::NewestFirst, 10_000).await;
        newest.reverse();
        assert_eq!(newest, expected, "{key:?}");
        let mut connection = database.owner.acquire().await.unwrap();
        let listed = by_lists(&mut connection, &query, (Order::OldestFirst, 10_000)).await;
        let indexed: Vec<i64> = expected.iter().copied().filter(|one| *one <= indexed).collect();
        assert_eq!(listed.unwrap(), indexed, "{key:?}");
        some += usize::from(!expected.is_empty());
    }
    assert!(some > 20);

    // Two keys: what both have; one of two: what either has; pages carry on where the one before ended.
    let client = Key::Client(world.clients[0]);
    let (of_codes, tokens) = (
        Key::EventType("CodeIssued".to_owned()),
        Key::EventType("TokenIssued".to_owned()),
    );
    let of = async |query: Query| -> BTreeSet<i64> {
        let found = database.found(&query, Order::OldestFirst, 10_000).await;
        found.into_iter().collect()
    };
    let (all, with_codes, issued) = (
        of(Query::of(&client)).await,
        of(Query::of(&of_codes)).await,
        of(Query::of(&tokens)).await,
    );
    let either: BTreeSet<i64> = with_codes.union(&issued).copied().collect();
    let both: BTreeSet<i64> = all.intersection(&either).copied().collect();
    assert!(!both.is_empty() && both.len() < all.len());
    let query = Query::of(&client).and_any([of_codes, tokens]);
    assert_eq!(of(query.clone()).await, both);
    let mut connection = database.owner.acquire().await.unwrap();
    let (mut paged, mut stretch) = (Vec::new(), Stretch::ALL);
    loop {
        let page = positions(&mut connection, &query, stretch, (Order::NewestFirst, 3))
            .await
            .unwrap();
        assert_eq!((page.indexed_upto, page.head), (indexed, head));
        let Some(last) = page.positions.last() else { break };
        stretch.upto = last - 1;
        paged.extend(page.positions);
    }
    paged.reverse();
    assert_eq!(paged, both.into_iter().collect::<Vec<_>>());

    // A rebuild makes the same rows, and then all of it is indexed.
    rebuild(ledger.pool(), ledger.vault(), &["event_postings"], &|_| {})
        .await
        .unwrap();
    let page = positions(
        &mut connection,
        &query,
        Stretch::ALL,
        (Order::OldestFirst, 10_000),
    )
    .await
    .unwrap();
    assert_eq!((page.indexed_upto, page.positions), (head, paged));
    drop(connection);
    ledger.close().await;
    database.close().await;
}
