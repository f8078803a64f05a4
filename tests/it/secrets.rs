//! Nothing usable and nothing personal lies in the database in clear.

use std::collections::HashSet;

use serde_json::json;

use crate::harness::TestServer;
use crate::token::{Party, text};

/// How many bytes of a credential's end are looked for.
const TAIL: usize = 20;

/// Every row of every table, as text.
async fn dump(server: &TestServer) -> Vec<(String, String)> {
    dump_of(server, &["grantlog", "public"]).await
}

/// Every row of every table of some schemas, as text.
pub(crate) async fn dump_of(server: &TestServer, schemas: &[&str]) -> Vec<(String, String)> {
    let owner = server.database.owner().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'm') AND n.nspname = ANY ($1)",
    )
    .bind(schemas)
    .fetch_all(&owner)
    .await
    .unwrap();
    let mut rows = Vec::new();
    for table in tables {
        let texts: Vec<String> = sqlx::query_scalar(&format!("SELECT t::text FROM {table} t"))
            .fetch_all(&owner)
            .await
            .unwrap();
        rows.extend(texts.into_iter().map(|row| (table.clone(), row)));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_holds_no_credential_and_the_ledger_no_personal_datum() {
    let party = Party::new().await;
    let context = TestServer::context();
    let chosen = "A chosen secret, quite recognisable";
    party
        .server
        .client(json!({"client_name": "Mover", "client_id": "mover-1", "client_secret": chosen, "grant_types": ["client_credentials"]}))
        .await;
    let rotated = party
        .server
        .app
        .operations
        .rotate_client_secret(&context, party.key, 60)
        .await
        .unwrap();
    let mut secrets = vec![chosen.to_owned(), rotated, party.secret.clone()];
    let mut tasks: Vec<tokio::task::JoinHandle<Vec<String>>> = Vec::new();
    let party = std::sync::Arc::new(party);
    for number in 0..16 {
        if number == 8 {
            // Half of the tokens are opaque.
            let opaque = json!({"access_token_format": "opaque"});
            for task in tasks.drain(..) {
                secrets.extend(task.await.unwrap());
            }
            party.server.update_client(party.key, opaque).await.unwrap();
        }
        let party = std::sync::Arc::clone(&party);
        tasks.push(tokio::spawn(async move {
            let mut issued = Vec::new();
            for _ in 0..20 {
                let code = party.code("view-user").await;
                let (status, mut tokens) = party.redeem(&code).await;
                assert_eq!(status, 200, "{tokens}");
                issued.push(code);
                for _ in 0..3 {
                    issued.push(text(&tokens, "access_token").to_owned());
                    issued.push(text(&tokens, "refresh_token").to_owned());
                    tokens = party.refresh(text(&tokens, "refresh_token")).await.1;
                }
                let form = [
                    ("grant_type", "client_credentials"),
                    ("scope", "server-operations"),
                ];
                issued.push(text(&party.post("/oauth/token", &form).await.1, "access_token").to_owned());
            }
            issued
        }));
    }
    for task in tasks {
        secrets.extend(task.await.unwrap());
    }
    assert!(secrets.len() > 2500);
    let opaque = secrets.iter().filter(|secret| secret.starts_with("gla_"));
    assert!(opaque.count() > 500);
    party.server.settle().await;
    let rows = dump(&party.server).await;
    let all: String = rows.iter().map(|(_, row)| row.as_str()).collect();
    // What ends a credential is its signature or its random part. Each window of the text is looked up: a search for each
    // of thousands of credentials would read all of it thousands of times.
    let tails: HashSet<&[u8]> = secrets
        .iter()
        .map(|secret| &secret.as_bytes()[secret.len() - TAIL..])
        .collect();
    let found = all.as_bytes().windows(TAIL).find(|window| tails.contains(window));
    assert_eq!(found, None, "a credential is in the database");
    assert!(
        rows.iter()
            .any(|(table, _)| table.contains("client_access_tokens"))
            && all.len() > 1_000_000,
        "the database was read"
    );
    for datum in [
        "correct horse battery",
        "ada@example.com",
        "ada Example",
        "127.0.0.1, ",
        "reqwest",
    ] {
        for (table, row) in &rows {
            // The projection of users shows what may be shown, until erasure blanks it.
            assert!(
                !row.contains(datum) || table.starts_with("users"),
                "{table} holds {datum}: {row}"
            );
        }
    }
    party
        .server
        .app
        .operations
        .erase_user(&context, party.subject)
        .await
        .unwrap();
    party.server.settle().await;
    for (table, row) in dump(&party.server).await {
        for datum in ["ada@example.com", "ada Example"] {
            assert!(!row.contains(datum), "{table} holds {datum} after the erasure");
        }
    }
}
