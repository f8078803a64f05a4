//! Recovery: a ledger that lost what was signed goes on in a new epoch, and nothing of before is good in it.

use std::process::Output;

use grantlog::app::StartError;
use grantlog::evidence::{EvidenceError, Fault, Sealer, store};
use serde_json::{Value, json};
use sqlx::Executor;

use crate::command_line::{finish, grantlog_on, stdout};
use crate::evidence::attacker::{BACKUP, RESTORE, attacker};
use crate::evidence::reopen;
use crate::harness::TestServer;
use crate::races::Node;
use crate::token::{Party, text};

async fn recover(server: &TestServer, file: &str, arguments: &[&str]) -> Output {
    let mut command = grantlog_on(&server.database);
    command
        .env("GRANTLOG_MIGRATION_DATABASE_URL", &server.database.owner_url)
        .env("GRANTLOG_EVIDENCE_CHECKPOINT_FILE", file)
        .args(["recover", "--reason", "the disk died", "--json"])
        .args(arguments);
    finish(command, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_lost_a_revocation_goes_on_in_a_new_epoch_where_nothing_of_before_is_good() {
    let party = Party::with(json!({"token_endpoint_auth_method": "client_secret_basic"})).await;
    let server = &party.server;
    let pool = server.app.ledger.pool();
    let made = tempfile::tempdir().unwrap();
    let file = made.path().join("checkpoint");
    let path = file.to_str().unwrap();
    let sealer = Sealer::start(&server.app);
    let (_, revoked) = party.redeem(&party.code("view-user").await).await;
    let (_, other) = party.redeem(&party.code("view-user").await).await;
    assert!(sealer.wait_for(store::read(pool).await.unwrap().head).await);
    sealer.stop().await;
    let mut database = attacker(server).await;
    database.execute(BACKUP).await.unwrap();
    let kept = store::read(pool).await.unwrap().size;

    // What the backup does not have: a revocation. It was signed, and the node keeps the checkpoint.
    let form = [("token", text(&revoked, "refresh_token"))];
    assert_eq!(party.post("/oauth/revoke", &form).await.0, 200);
    assert!(!party.is_active(text(&revoked, "access_token")).await);
    let sealer = Sealer::start(&server.app);
    assert!(sealer.wait_for(store::read(pool).await.unwrap().head).await);
    sealer.stop().await;
    let signed = store::read(pool).await.unwrap();
    std::fs::write(&file, &signed.note).unwrap();
    let nothing = recover(server, path, &["--yes"]).await;
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("nothing is lost"));

    database.execute(RESTORE).await.unwrap();
    let refused = reopen(server, Some(file.clone())).await.err().unwrap();
    assert!(matches!(
        refused,
        StartError::Evidence(EvidenceError::Fault(Fault::RolledBack { .. }))
    ));
    let planned: Value = serde_json::from_str(&stdout(&recover(server, path, &["--dry-run"]).await)).unwrap();
    assert_eq!(
        (
            planned["kept"].as_u64(),
            planned["signed"].as_u64(),
            &planned["done"]
        ),
        (Some(kept), Some(signed.size), &Value::Null)
    );
    let done: Value = serde_json::from_str(&stdout(&recover(server, path, &["--yes"]).await)).unwrap();
    assert_eq!(done["done"]["epoch"], 2, "{done}");
    assert_eq!(done["done"]["grants"], 2, "{done}");
    assert!(!file.exists() && made.path().join("checkpoint.before-epoch-2").exists());

    // A node of the epoch before writes nothing any more; one of the new epoch honours nothing of before.
    let context = TestServer::context();
    assert!(
        server
            .app
            .operations
            .disable_user(&context, party.subject, "late")
            .await
            .is_err()
    );
    let node = Node::beside(server).await;
    for token in [&revoked, &other] {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("token", text(token, "access_token"))
            .finish();
        let answer = party
            .http
            .post(format!("{}/oauth/introspect", node.base))
            .basic_auth(&party.client_id, Some(&party.secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["active"], false, "{answer}");
    }
    let opened: Value =
        sqlx::query_scalar("SELECT payload::jsonb FROM grantlog.ledger WHERE event_type = 'EpochOpened'")
            .fetch_one(pool)
            .await
            .unwrap();
    assert_eq!(
        (opened["kept"].as_u64(), opened["signed"].as_u64()),
        (Some(kept), Some(signed.size))
    );
}
