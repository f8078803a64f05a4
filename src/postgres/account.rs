//! The user that `PostgreSQL` runs as. It refuses to run as root, so root becomes somebody else.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::command::{output, succeeds, tool};
use super::error::PostgresError;

/// What a server may need of our environment. The rest, which may hold secrets, stays with us.
const KEPT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"];

/// The user that the server, `initdb` and the watchdog run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// For messages.
    pub(crate) name: String,
    pub(crate) uid: u32,
    gid: u32,
    /// Whether we are root and have to become this user.
    pub(crate) dropped: bool,
}

impl Account {
    /// Ourselves, unless we are root: then the owner of `cluster` if there is one, else `postgres`, else `nobody`.
    pub(crate) async fn choose(cluster: Option<&Path>) -> Result<Self, PostgresError> {
        let uid = effective_uid().await?;
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        if uid != 0 {
            let mine = parse(&passwd).find(|account| account.uid == uid);
            let name = mine.map_or_else(|| format!("with id {uid}"), |account| account.name);
            return Ok(Self {
                name,
                uid,
                gid: uid,
                dropped: false,
            });
        }
        let owner = cluster
            .and_then(|path| std::fs::metadata(path).ok())
            .filter(|owner| owner.uid() != 0);
        if let Some(owner) = owner {
            let known = parse(&passwd).find(|account| account.uid == owner.uid());
            let name = known.map_or_else(|| format!("with id {}", owner.uid()), |account| account.name);
            return Ok(Self {
                name,
                uid: owner.uid(),
                gid: owner.gid(),
                dropped: true,
            });
        }
        let named = |name: &str| parse(&passwd).find(|account| account.name == name && account.uid != 0);
        named("postgres")
            .or_else(|| named("nobody"))
            .ok_or(PostgresError::NoAccount)
    }

    /// A command that runs as this user with next to nothing of our environment, in a process group of its
    /// own (so that a Ctrl-C in our terminal is ours alone to handle).
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .envs(KEPT.iter().filter_map(|name| {
                let value = std::env::var_os(name)?;
                Some((name, value))
            }));
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        if self.dropped {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this user may enter the directory, tried rather than reasoned about.
    pub(crate) async fn can_enter(&self, directory: &Path) -> bool {
        let mut command = self.command("/bin/sh");
        command.args(["-c", "cd -- \"$1\"", "sh"]).arg(directory);
        succeeds(command).await
    }

    /// Hands a file or directory over to this user.
    pub(crate) fn give(&self, path: &Path) -> Result<(), PostgresError> {
        if self.dropped {
            chown(path, Some(self.uid), Some(self.gid))
                .map_err(PostgresError::file("change the owner of", path))?;
        }
        Ok(())
    }
}

/// Who we are. `std` does not say, `id` does.
async fn effective_uid() -> Result<u32, PostgresError> {
    let mut command = tool("id");
    command.arg("-u");
    let printed = output(command).await?;
    printed.trim().parse().map_err(|_| PostgresError::Tool {
        program: "id -u".to_owned(),
        detail: printed,
    })
}

fn parse(passwd: &str) -> impl Iterator<Item = Account> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        Some(Account {
            name,
            uid,
            gid,
            dropped: true,
        })
    })
}

/// A user or group id; macOS writes the one of `nobody` as -2.
fn id(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<i32>().ok().map(i32::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_lines_are_read_and_nonsense_is_skipped() {
        let passwd = "# comment\nroot:x:0:0::/root:/bin/sh\npostgres:x:101:104:,,,:/var:/bin/bash\nnobody:*:-2:-2::/:/\nx";
        let found: Vec<_> = parse(passwd)
            .map(|account| (account.name, account.uid, account.gid))
            .collect();
        let expected = [
            ("root", 0, 0),
            ("postgres", 101, 104),
            ("nobody", 4_294_967_294, 4_294_967_294),
        ];
        assert_eq!(
            found,
            expected.map(|(name, uid, gid)| (name.to_owned(), uid, gid))
        );
    }
}
