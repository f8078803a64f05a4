//! Importing: generated tables of Laravel Passport, imported by a process of its own, so that its memory is its own.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::{Bench, Database, Line, Report, cpu};
use crate::clock::monotonic;
use crate::domain::value::Digest;

const CLIENTS: u64 = 100;
const MASTER_KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";
/// bcrypt in PHP's spelling; nobody logs in here.
const PASSWORD: &str = "$2y$10$abcdefghijklmnopqrstuuAbCdEfGhIjKlMnOpQrStUvWxYz01234";

/// What one run of the import used.
struct Run {
    seconds: f64,
    peak_mib: Option<f64>,
    report: serde_json::Value,
}

#[expect(clippy::print_stdout, reason = "a report is for standard output")]
pub(super) async fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let (users, pairs) = (bench.arguments.users, bench.arguments.tokens / 2);
    let rows = CLIENTS + users + 2 * pairs;
    let directory = tempfile::tempdir().context("a directory for the generated tables")?;
    let bytes = generate(directory.path(), users, pairs)?;
    if !bench.arguments.json {
        println!("import: {rows} rows, {} MiB of CSV", bytes >> 20);
    }
    let database = bench.database("bench_import").await?;
    for (name, dry_run) in [
        ("import, dry run", true),
        ("import", false),
        ("import, a second time", false),
    ] {
        let run = import(&database, directory.path(), dry_run).await?;
        if !bench.arguments.json {
            println!(
                "{name}: {:.1} s, at most {:.0} MiB resident",
                run.seconds,
                run.peak_mib.unwrap_or_default()
            );
        }
        let changed = run.report.get("changed").and_then(serde_json::Value::as_bool);
        ensure!(changed == Some(name == "import"), "{name}: {}", run.report);
        #[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
        let rows = rows as f64;
        report.add(Line {
            name: format!("{name}, rows"),
            connections: 1,
            per_second: rows / run.seconds,
            against: run.peak_mib.map(|_| "MiB resident at most".to_owned()),
            ratio: run.peak_mib,
            cpu_per_thousand: None,
            cpu_ratio: None,
        });
    }
    Ok(())
}

async fn import(database: &Database, directory: &Path, dry_run: bool) -> Result<Run> {
    let started = monotonic();
    let mut command = Command::new(std::env::current_exe()?);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GRANTLOG_")) {
        command.env_remove(name);
    }
    command
        .env("GRANTLOG_ISSUER", "http://127.0.0.1")
        .env("GRANTLOG_DATABASE_URL", &database.app)
        .env("GRANTLOG_MASTER_KEY", MASTER_KEY)
        .args(["import", "passport", "--json"])
        .args(dry_run.then_some("--dry-run"))
        .arg(directory)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().context("starting the import")?;
    let pid = child.id().unwrap_or_default();
    let mut stdout = child.stdout.take().context("the import's output")?;
    let reading = tokio::spawn(async move {
        let mut text = String::new();
        stdout.read_to_string(&mut text).await.map(|_| text)
    });
    let mut peak_mib = None;
    let status = loop {
        peak_mib = cpu::peak_mib(pid).or(peak_mib);
        tokio::select! {
            status = child.wait() => break status?,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    };
    ensure!(status.success(), "the import failed");
    Ok(Run {
        seconds: started.elapsed().as_secs_f64(),
        peak_mib,
        report: serde_json::from_str(&reading.await??)?,
    })
}

/// Writes the four tables; returns their bytes.
fn generate(directory: &Path, users: u64, pairs: u64) -> Result<u64> {
    let file = |name: &str| -> Result<BufWriter<File>> {
        Ok(BufWriter::new(File::create(
            directory.join(format!("{name}.csv")),
        )?))
    };
    let mut clients = file("oauth_clients")?;
    writeln!(
        clients,
        "id,user_id,name,secret,provider,redirect,personal_access_client,password_client,revoked"
    )?;
    for client in 1..=CLIENTS {
        let secret = Digest::of(format!("secret {client}").as_bytes());
        writeln!(
            clients,
            "{client},,Client {client},{secret},,https://app{client}.example/cb,0,0,0"
        )?;
    }
    let mut people = file("users")?;
    writeln!(people, "id,name,email,password")?;
    for user in 1..=users {
        writeln!(people, "{user},Person {user},person{user}@example.com,{PASSWORD}")?;
    }
    let (mut access, mut refresh) = (file("oauth_access_tokens")?, file("oauth_refresh_tokens")?);
    writeln!(access, "id,user_id,client_id,name,scopes,revoked,expires_at")?;
    writeln!(refresh, "id,access_token_id,revoked,expires_at")?;
    for pair in 0..pairs {
        let user = pair % users.max(1) + 1;
        let client = pair % CLIENTS + 1;
        let id = token_id("access", pair);
        writeln!(
            access,
            "{id},{user},{client},,\"[\"\"view-user\"\",\"\"detail-user\"\"]\",0,2038-01-01 00:00:00"
        )?;
        // In another order than their access tokens: by a stride that is a prime.
        let other = pair.wrapping_mul(7_368_787) % pairs.max(1);
        let (id, of) = (token_id("refresh", other), token_id("access", other));
        writeln!(refresh, "{id},{of},0,2038-01-01 00:00:00")?;
    }
    let mut bytes = 0;
    for mut file in [clients, people, access, refresh] {
        file.flush()?;
        bytes += file.get_ref().metadata()?.len();
    }
    Ok(bytes)
}

/// 80 hexadecimal digits, as League's server makes them.
fn token_id(kind: &str, number: u64) -> String {
    let digest = Digest::of(format!("{kind} {number}").as_bytes());
    format!("{digest}{number:016x}")
}
