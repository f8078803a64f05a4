//! More than one process with the same server, and what becomes of it when they end.

use std::path::Path;
use std::process::{Command, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;

use super::{ask, directory, eventually, runs, sigkill, start};

/// A process of its own that runs a server: this test program again, with only the test below.
struct Owner {
    process: tokio::process::Child,
    postmaster: u32,
    adopted: bool,
}

impl Owner {
    async fn spawn(data_dir: &Path) -> Self {
        let module = module_path!().split_once("::").unwrap().1;
        let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--nocapture", "--exact"])
            .arg(format!("{module}::a_process_with_a_server"));
        command
            .env("GRANTLOG_TEST_DATA_DIR", data_dir)
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, rest)) = line
                .split_once("running ")
                .filter(|(_, rest)| rest.contains("adopted"))
            {
                let (pid, adopted) = rest.split_once(" adopted ").unwrap();
                return Self {
                    process,
                    postmaster: pid.parse().unwrap(),
                    adopted: adopted == "true",
                };
            }
        }
        panic!("the process ended before its server was ready");
    }
}

#[tokio::test]
#[ignore = "not a test: other tests run it as a process to kill"]
async fn a_process_with_a_server() {
    let Some(data_dir) = std::env::var_os("GRANTLOG_TEST_DATA_DIR") else {
        return;
    };
    let postgres = start(Path::new(&data_dir)).await;
    println!(
        "running {} adopted {}",
        postgres.pid().unwrap(),
        postgres.adopted()
    );
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_sigkilled_parent_takes_its_postgres_down() {
    let directory = directory();
    let mut owner = Owner::spawn(directory.path()).await;
    assert!(runs(owner.postmaster));
    let began = Instant::now();
    owner.process.kill().await.unwrap();
    eventually("the server of a killed process ends", || async {
        !runs(owner.postmaster)
    })
    .await;
    println!("gone after {:?}", began.elapsed());
    // A fast shutdown, as it should be, leaves no pid file.
    assert!(!directory.path().join("cluster/postmaster.pid").exists());
}

#[tokio::test]
async fn a_start_right_after_a_sigkill_gets_a_server_that_stays() {
    let directory = directory();
    let mut owner = Owner::spawn(directory.path()).await;
    owner.process.kill().await.unwrap();
    let postgres = start(directory.path()).await;
    assert_ne!(postgres.pid(), Some(owner.postmaster));
    assert!(!postgres.adopted());
    assert_eq!(ask(&postgres, "select 'here'").await.unwrap(), "here");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn an_adopter_takes_over_when_the_owner_is_gone() {
    let directory = directory();
    let mut owner = Owner::spawn(directory.path()).await;
    let guest = start(directory.path()).await;
    assert!(guest.adopted());
    owner.process.kill().await.unwrap();
    eventually("the adopter owns a server", || async {
        !guest.adopted() && guest.pid().is_some()
    })
    .await;
    assert_eq!(ask(&guest, "select 'here'").await.unwrap(), "here");
    guest.stop().await.unwrap();
}

#[tokio::test]
async fn two_starts_at_once_share_one_server() {
    let directory = directory();
    let (one, other) = tokio::join!(Owner::spawn(directory.path()), Owner::spawn(directory.path()));
    assert_eq!(one.postmaster, other.postmaster);
    assert!(one.adopted != other.adopted, "one owns it, the other adopted it");
    let (owner, mut guest) = if one.adopted { (other, one) } else { (one, other) };
    guest.process.kill().await.unwrap();
    assert!(runs(owner.postmaster));
    let Owner {
        mut process,
        postmaster,
        ..
    } = owner;
    process.kill().await.unwrap();
    eventually("the server has ended", || async { !runs(postmaster) }).await;
}

/// The watchdogs of a cluster, as the list of processes has them.
fn watchdogs(cluster: &Path) -> Vec<u32> {
    let processes = Command::new("ps")
        .args(["-ww", "-eo", "pid=,args="])
        .output()
        .unwrap();
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    let ours = format!("grantlog-postgres-watchdog {}", cluster.display());
    let ours = processes
        .split_inclusive('\n')
        .filter(|line| line.trim_end().ends_with(&ours));
    ours.filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}

#[tokio::test]
async fn a_lost_watchdog_is_replaced() {
    let directory = directory();
    let mut owner = Owner::spawn(directory.path()).await;
    let cluster = directory.path().join("cluster");
    let lost = watchdogs(&cluster);
    assert_eq!(lost.len(), 1);
    lost.iter().copied().for_each(sigkill);
    let replaced = || async { !watchdogs(&cluster).is_empty() && watchdogs(&cluster) != lost };
    eventually("another watchdog runs", replaced).await;
    owner.process.kill().await.unwrap();
    eventually("the server has ended", || async { !runs(owner.postmaster) }).await;
}
