//! The keys of the log.

use grantlog::evidence::checkpoint;

use super::{Sealed, append};
use crate::harness::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn both_keys_sign_over_a_rotation_and_old_checkpoints_stay_verifiable() {
    let sealed = Sealed::with_events(20).await;
    let operations = &sealed.server.app.operations;
    let context = TestServer::context();
    let before = sealed.note().await;
    let old = sealed.keys().await.remove(0);
    assert_eq!(
        old.name,
        grantlog::evidence::origin::of_issuer(&sealed.server.base)
    );
    let alone = operations
        .retire_log_key(&context, &old.to_string())
        .await
        .unwrap_err();
    assert!(alone.to_string().contains("rotate first"), "{alone}");

    operations
        .rotate_log_key(&context, "another.example/name")
        .await
        .unwrap();
    sealed.settle().await;
    let new = sealed.keys().await.remove(1);
    assert_eq!(new.name, old.name, "a log keeps its name");
    let both = sealed.note().await;
    for key in [&old, &new] {
        checkpoint::open(&both, std::slice::from_ref(key)).unwrap();
    }

    operations
        .retire_log_key(&context, &old.to_string())
        .await
        .unwrap();
    append(&sealed.server, 3).await;
    sealed.settle().await;
    let after = sealed.note().await;
    checkpoint::open(&after, std::slice::from_ref(&new)).unwrap();
    checkpoint::open(&after, std::slice::from_ref(&old)).unwrap_err();
    checkpoint::open(&before, &[old]).unwrap();
    let pool = sealed.server.app.ledger.pool();
    let left: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM grantlog.key_material m JOIN grantlog.ledger_trail t ON t.aggregate_id = m.key_id \
         AND t.event_type = 'LogKeyGenerated'",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(
        left, 2,
        "the events of one key: the retired one's private half is gone"
    );
}
