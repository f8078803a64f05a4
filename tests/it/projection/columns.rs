//! The tables' shape, and how fast they are built.

use grantlog::projection::ProjectionRunner;

use super::world::World;
use super::{caught_up, database};

/// The tables as the seed gives them.
const SEED: [(&str, &[&str]); 5] = [
    (
        "users",
        &["id bigint", "name text", "username text", "password text"],
    ),
    (
        "clients",
        &[
            "id bigint",
            "client_id text",
            "client_secret text",
            "name text",
            "home_page_url text",
            "logo_url text",
            "privacy_policy_url text",
            "user_id text",
            "is_live boolean",
            "redirect_uri text[]",
        ],
    ),
    (
        "client_access_tokens",
        &[
            "id bigint",
            "client_id bigint",
            "user_id bigint",
            "client_refresh_token_id bigint",
            "access_token text",
            "grant_type text",
            "scope text",
            "audience text",
            "expired_at timestamp with time zone",
        ],
    ),
    (
        "client_refresh_tokens",
        &[
            "id bigint",
            "client_id bigint",
            "user_id bigint",
            "refresh_token text",
            "grant_type text",
            "scope text",
            "audience text",
            "expired_at timestamp with time zone",
        ],
    ),
    (
        "client_authorization_codes",
        &[
            "id bigint",
            "client_id bigint",
            "user_id bigint",
            "code text",
            "scope text[]",
            "is_used boolean",
            "redirect_uri text",
            "expired_at timestamp with time zone",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_columns_come_first_in_order() {
    let database = database().await;
    let ledger = database.ledger().await;
    let runner = ProjectionRunner::start(&ledger);
    World::new(ledger.clone(), 1).step().await;
    caught_up(&runner, &database).await;
    let columns = |relation: String| {
        let pool = database.owner.clone();
        async move {
            sqlx::query_scalar::<_, String>(
                "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute \
                 WHERE attrelid = ('public.' || $1)::regclass AND attnum > 0 ORDER BY attnum",
            )
            .bind(relation)
            .fetch_all(&pool)
            .await
            .unwrap()
        }
    };
    for (name, seed) in SEED {
        let shown = columns(name.to_owned()).await;
        assert_eq!(&shown[..seed.len()], seed, "{name}");
        assert_eq!(
            shown,
            columns(format!("{name}_1")).await,
            "{name}: the fold's columns are the table's"
        );
    }
    let passport = [
        "id text",
        "user_id text",
        "name text",
        "secret text",
        "provider text",
        "redirect text",
        "personal_access_client boolean",
        "password_client boolean",
        "revoked boolean",
        "created_at timestamp with time zone",
        "updated_at timestamp with time zone",
    ];
    assert_eq!(columns("oauth_clients".to_owned()).await, passport);
    runner.stop().await;
    database.close().await;
}

/// `cargo test --release --test it -- --ignored --nocapture a_rebuild_is_fast`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_rebuild_is_fast() {
    let url = std::env::var("GRANTLOG_TEST_DATABASE_URL").unwrap();
    let events = std::env::var("GRANTLOG_BENCH_EVENTS").map_or(1_000_000, |count| count.parse().unwrap());
    let progress = |progress| println!("{progress:?}");
    let figures = grantlog::projection::bench::rebuild_benchmark(&url.parse().unwrap(), events, &progress)
        .await
        .unwrap();
    println!("{figures:#?}");
}
