//! SIGKILL of the server and of Postgres under load: nothing acknowledged is missing, positions are gapless,
//! and the service recovers by itself.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grantlog::crypto::master::MasterKey;
use grantlog::postgres::{Options, Postgres};
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::ledger::assert_gapless;
use crate::races::Node;
use crate::token::Party;

/// Sends client-credentials requests from several connections until told to stop; the `jti` of each token
/// that was acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(party: &Party, base: &Arc<Mutex<String>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
        let tasks = (0..6)
            .map(|_| {
                let (stop, acknowledged, base) =
                    (Arc::clone(&stop), Arc::clone(&acknowledged), Arc::clone(base));
                let (client_id, secret) = (party.client_id.clone(), party.secret.clone());
                tokio::spawn(async move {
                    let http = reqwest::Client::new();
                    while !stop.load(Ordering::SeqCst) {
                        let url = format!("{}/oauth/token", base.lock().unwrap());
                        let request = http
                            .post(url)
                            .basic_auth(&client_id, Some(&secret))
                            .header("content-type", "application/x-www-form-urlencoded")
                            .body("grant_type=client_credentials&scope=server-operations");
                        let Ok(response) = request.send().await else {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            continue;
                        };
                        if response.status() == 200 {
                            let Ok(body) = response.json::<Value>().await else {
                                continue;
                            };
                            acknowledged
                                .lock()
                                .unwrap()
                                .push(jti(body["access_token"].as_str().unwrap()));
                        }
                    }
                })
            })
            .collect();
        Self {
            stop,
            acknowledged,
            tasks,
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until more were acknowledged: the service works (again).
    async fn wait_for_more(&self) {
        let (before, deadline) = (self.count(), tokio::time::Instant::now() + Duration::from_mins(1));
        while self.count() < before + 30 {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the service did not recover"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut self.acknowledged.lock().unwrap())
    }
}

fn jti(token: &str) -> String {
    use base64::Engine;
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(claims)
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

/// Every acknowledged token is in the ledger, once.
async fn assert_kept(server: &TestServer, acknowledged: &[String]) {
    let key = MasterKey::from_bytes([42; 32]);
    let digests: Vec<String> = sqlx::query_scalar(
        "SELECT payload->'access'->>'digest' FROM grantlog.ledger_grant WHERE event_type = 'TokenIssued'",
    )
    .fetch_all(&server.database.owner().await)
    .await
    .unwrap();
    let recorded: HashSet<&str> = digests.iter().map(String::as_str).collect();
    assert_eq!(recorded.len(), digests.len(), "a token was recorded twice");
    for jti in acknowledged {
        let presented =
            grantlog::credential::parse(grantlog::credential::Kind::TokenId, key.address_key(), jti).unwrap();
        assert!(
            recorded.contains(presented.digest.to_string().as_str()),
            "an acknowledged token is missing"
        );
    }
    assert_gapless(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_server_under_load_loses_nothing_that_was_acknowledged() {
    let party = Party::new().await;
    let mut node = Node::beside(&party.server).await;
    let base = Arc::new(Mutex::new(node.base.clone()));
    let load = Load::start(&party, &base);
    for _ in 0..4 {
        load.wait_for_more().await;
        node.kill().await;
        node = Node::beside(&party.server).await;
        base.lock().unwrap().clone_from(&node.base);
    }
    load.wait_for_more().await;
    let acknowledged = load.finish().await;
    assert_kept(&party.server, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_postgres_under_load_loses_nothing_and_the_service_recovers_by_itself() {
    let directory = tempfile::Builder::new()
        .prefix("grantlog-crash-")
        .tempdir_in("/tmp")
        .unwrap();
    // Reachable for the user that Postgres runs as.
    std::fs::set_permissions(
        directory.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let postgres = Postgres::start(Options::new(directory.path().join("pg")), |_| {})
        .await
        .unwrap();
    let server = TestServer::start_on(|user, database| postgres.url(user, database), |_| {}).await;
    let party = Party::on(server, json!({})).await;
    let base = Arc::new(Mutex::new(party.server.base.clone()));
    let load = Load::start(&party, &base);
    for _ in 0..3 {
        load.wait_for_more().await;
        let pid = postgres.pid().unwrap();
        // The test's own Postgres, by its id.
        let killed = std::process::Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        while postgres.pid() == Some(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    load.wait_for_more().await;
    let acknowledged = load.finish().await;
    assert_kept(&party.server, &acknowledged).await;
    drop(party);
    postgres.stop().await.unwrap();
}
