//! `postmaster.pid`: which process serves a cluster, where, and whether it is ready.
//!
//! The file's lines are the process id, the data directory, the start time, the port, the first Unix socket
//! directory, the first TCP address, the shared memory key, and the status.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::command::{output, succeeds, tool};
use super::error::PostgresError;

/// A server that accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) pid: u32,
    pub(crate) port: u16,
    pub(crate) socket_dir: PathBuf,
}

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub(crate) pid: u32,
    port: Option<u16>,
    socket_dir: Option<PathBuf>,
    ready: bool,
}

fn path_in(cluster: &Path) -> PathBuf {
    cluster.join("postmaster.pid")
}

/// The file's content, if there is one that makes sense.
pub(crate) fn read(cluster: &Path) -> Option<PidFile> {
    parse(&std::fs::read_to_string(path_in(cluster)).ok()?)
}

fn parse(text: &str) -> Option<PidFile> {
    let mut lines = text.lines();
    // A server in single-user mode writes its process id with a minus sign.
    let pid = lines
        .next()?
        .trim()
        .parse::<i64>()
        .ok()?
        .unsigned_abs()
        .try_into()
        .ok()
        .filter(|pid| *pid > 0)?;
    let port = lines.nth(2).and_then(|line| line.trim().parse().ok());
    let socket_dir = lines
        .next()
        .filter(|line| line.starts_with('/'))
        .map(PathBuf::from);
    let ready = lines.nth(2).is_some_and(|line| line.trim() == "ready");
    Some(PidFile {
        pid,
        port,
        socket_dir,
        ready,
    })
}

/// Whether this process is a server of this cluster, and not some program that got the number later.
pub(crate) async fn serves(pid: u32, cluster: &Path) -> bool {
    if Path::new("/proc/self/cwd").exists() {
        // A postmaster's working directory is its data directory. A dead or defunct process has none.
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
        return String::from_utf8_lossy(program).contains("post")
            && match std::fs::read_link(format!("/proc/{pid}/cwd")) {
                Ok(directory) => directory == cluster,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => works_in(pid, cluster).await,
                Err(_) => false,
            };
    }
    let mut ps = tool("ps");
    ps.args(["-ww", "-o", "command=", "-p"]).arg(pid.to_string());
    output(ps)
        .await
        .is_ok_and(|printed| printed.contains("post") && printed.contains(&*cluster.to_string_lossy()))
}

/// Asks as the cluster's owner. In a container even root may not see other users' working directories.
async fn works_in(pid: u32, cluster: &Path) -> bool {
    let Ok(owner) = std::fs::metadata(cluster) else {
        return false;
    };
    let mut command = tool("/bin/sh");
    command
        .args(["-c", "[ \"/proc/$1/cwd\" -ef \"$2\" ]", "sh"])
        .arg(pid.to_string())
        .arg(cluster);
    command.uid(owner.uid()).gid(owner.gid());
    succeeds(command).await
}

/// The process that serves this cluster, ready or not.
pub(crate) async fn server(cluster: &Path) -> Option<PidFile> {
    let file = read(cluster)?;
    serves(file.pid, cluster).await.then_some(file)
}

/// The server that serves this cluster, if it is ready and its socket accepts.
pub(crate) async fn live(cluster: &Path) -> Result<Option<Live>, PostgresError> {
    let Some(PidFile {
        pid,
        port,
        socket_dir,
        ready: true,
    }) = server(cluster).await
    else {
        return Ok(None);
    };
    let (Some(port), Some(socket_dir)) = (port, socket_dir) else {
        return Err(PostgresError::NoSocket {
            cluster: cluster.to_owned(),
        });
    };
    let accepts = UnixStream::connect(socket_in(&socket_dir, port)).is_ok();
    Ok(accepts.then_some(Live {
        pid,
        port,
        socket_dir,
    }))
}

/// The path of the socket itself.
pub(crate) fn socket_in(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

/// Makes a file that a dead server left behind harmless. To be called only when no server serves the cluster
/// and nobody else can start one.
///
/// A dead process id needs no repair: the new server sees that it is dead. One that another program has by
/// now would stop the new server. The file is not removed then, because its shared memory key is what keeps
/// a new server from starting beside backends that have outlived the old one; instead the process id becomes
/// ours, which the new server accepts as its parent's.
pub(crate) async fn disarm(cluster: &Path) -> Result<(), PostgresError> {
    let path = path_in(cluster);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(());
    };
    let Some(file) = parse(&text) else {
        tracing::warn!(path = %path.display(), "removing an unreadable postmaster.pid");
        return std::fs::remove_file(&path).map_err(PostgresError::file("remove", &path));
    };
    let mut probe = tool("/bin/sh");
    probe
        .args(["-c", "kill -0 \"$1\"", "sh"])
        .arg(file.pid.to_string());
    if !succeeds(probe).await {
        return Ok(());
    }
    tracing::warn!(
        pid = file.pid,
        "the process id in a stale postmaster.pid belongs to another program"
    );
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    std::fs::write(&path, format!("{}\n{rest}", std::process::id()))
        .map_err(PostgresError::file("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_file_is_read() {
        let text = "4711\n/data\n1700000000\n5432\n/run/pg\n\n  123 456\nready   \n";
        let expected = PidFile {
            pid: 4711,
            port: Some(5432),
            socket_dir: Some("/run/pg".into()),
            ready: true,
        };
        assert_eq!(parse(text), Some(expected));
    }

    #[test]
    fn the_file_of_a_server_that_is_starting_is_not_ready() {
        let file = parse("4711\n/data\n1700000000\n5432\n\n").unwrap();
        assert_eq!(
            file,
            PidFile {
                pid: 4711,
                port: Some(5432),
                socket_dir: None,
                ready: false
            }
        );
    }

    #[test]
    fn garbage_is_no_pid_file() {
        for text in ["", "\n", "abc\n", "0\n", "99999999999999\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
