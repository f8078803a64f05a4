//! `grantlog dev`: one command from nothing to a server, and the same one again.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Running, eventually, finish, grantlog, json, terminate};

fn start(dir: &Path) -> Running {
    let mut command = grantlog();
    command
        .args(["dev", "--listen", "127.0.0.1:0", "--offline", "--data-dir"])
        .arg(dir)
        .env("GRANTLOG_SHARED_SIGNALS", "true");
    Running::spawn(command, &dir.with_extension("log"))
}

async fn announced(dir: &Path) -> Value {
    eventually("dev.json is written", || async {
        let text = std::fs::read_to_string(dir.join("dev.json")).ok()?;
        serde_json::from_str(&text).ok()
    })
    .await
}

async fn stop(mut dev: Running, dir: &Path) {
    terminate(dev.0.id());
    let log = || std::fs::read_to_string(dir.with_extension("log")).unwrap();
    assert_eq!(dev.ended().await, Some(0), "{}", log());
    assert!(!dir.join("dev.json").exists(), "nothing serves any more");
    assert!(
        !dir.join("postgres/cluster/postmaster.pid").exists(),
        "Postgres has stopped"
    );
}

/// A restarted server has another port; all else stays.
fn without_address(mut announced: Value) -> Value {
    announced["issuer"].take();
    announced["listen"].take();
    announced
}

async fn its_administrator_may_ask_about_refusals(announced: &Value) {
    let url = |path: &str| format!("{}{path}", announced["issuer"].as_str().unwrap());
    let (admin, http) = (&announced["admin"], reqwest::Client::new());
    let token = async |secret: &Value| -> Value {
        let request = http
            .post(url("/oauth/token"))
            .basic_auth(admin["client_id"].as_str().unwrap(), secret.as_str())
            .header("content-type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials");
        request.send().await.unwrap().json().await.unwrap()
    };
    let refused = token(&"wrong".into()).await;
    let granted = token(&admin["client_secret"]).await;
    let refusal = format!("/admin/refusals/{}", refused["request_id"].as_str().unwrap());
    let request = http
        .get(url(&refusal))
        .bearer_auth(granted["access_token"].as_str().unwrap());
    let found: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(found["reason"], "wrong_client_secret", "{found}");
}

#[tokio::test]
async fn dev_serves_demo_clients_and_keeps_their_secrets() {
    let directory = tempfile::tempdir().unwrap();
    // The user that Postgres runs as must get in.
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let dir = directory.path().join("data");
    let dev = start(&dir);
    let first = announced(&dir).await;
    let issuer = first["issuer"].as_str().unwrap();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            reqwest::get(format!("{issuer}{path}")).await.unwrap().status(),
            200,
            "{path}"
        );
    }
    for name in ["master.key", "dev.json", "secrets.json"] {
        let mode = std::fs::metadata(dir.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(
        first["clients"]["confidential"]["client_secret"]
            .as_str()
            .unwrap()
            .starts_with("gls_")
    );
    assert_eq!(first["clients"]["public"]["client_secret"], Value::Null);
    assert_eq!(first["clients"]["machine"]["scopes"][0], "server-operations");
    assert!(first["admin"]["client_secret"].is_string() && first["users"][0]["password"].is_string());

    its_administrator_may_ask_about_refusals(&first).await;
    what_it_prints_works_when_pasted(&dir);

    let beside = |arguments: &[&str]| {
        let mut command = grantlog();
        command.args(arguments).arg("--data-dir").arg(&dir);
        finish(command, None)
    };
    let clients = json(&beside(&["client", "list", "--json"]).await);
    assert_eq!(clients.as_array().unwrap().len(), 4);
    // What the environment set for it holds for commands beside it.
    let looked = beside(&["doctor"]).await;
    assert!(looked.status.success());
    let looked = String::from_utf8(looked.stdout).unwrap();
    let signals = looked.lines().find(|line| line.contains("shared signals"));
    assert!(signals.is_some_and(|line| line.contains("0 streams")), "{looked}");
    stop(dev, &dir).await;

    let dev = start(&dir);
    let second = announced(&dir).await;
    assert_eq!(without_address(second), without_address(first.clone()));
    stop(dev, &dir).await;

    // Lost secrets are replaced, and the new ones are then kept.
    std::fs::remove_file(dir.join("secrets.json")).unwrap();
    let dev = start(&dir);
    let third = announced(&dir).await;
    assert_ne!(
        third["clients"]["machine"]["client_secret"],
        first["clients"]["machine"]["client_secret"]
    );
    assert_ne!(third["users"][0]["password"], first["users"][0]["password"]);
    stop(dev, &dir).await;
}

/// The lines under "A token for the machine", run by a shell: the token is issued, and introspection knows it.
fn what_it_prints_works_when_pasted(dir: &Path) {
    let log = std::fs::read_to_string(dir.with_extension("log")).unwrap();
    let lines: Vec<&str> = log
        .lines()
        .skip_while(|line| !line.starts_with("TOKEN="))
        .take_while(|line| !line.is_empty())
        .collect();
    assert_eq!(lines.len(), 2, "{log}");
    let pasted = Command::new("sh")
        .args(["-c", &lines.join("\n")])
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&pasted.stdout).unwrap();
    assert_eq!(answer["active"], true, "{answer}");
    assert_eq!(answer["scope"], "server-operations");
}
