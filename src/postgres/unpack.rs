//! Checking what was downloaded, and making it usable.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::digest::{Algorithm, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::PostgresError;

/// A package for one platform.
#[derive(Debug)]
pub(crate) struct Pin {
    /// The operating system and the architecture, as Rust calls them.
    pub(crate) system: (&'static str, &'static str),
    /// The platform, as the package's registry calls it.
    pub(crate) platform: &'static str,
    /// In base64.
    pub(crate) checksum: &'static str,
}

/// The package for this platform.
pub(crate) fn pinned(pins: &'static [Pin], client: &str) -> Result<&'static Pin, PostgresError> {
    let here = (std::env::consts::OS, std::env::consts::ARCH);
    pins.iter().find(|pin| pin.system == here).ok_or_else(|| {
        let detail = format!("there is no package of PostgreSQL for {} on {}", here.0, here.1);
        PostgresError::Tool {
            program: client.to_owned(),
            detail,
        }
    })
}

/// Refuses a file whose checksum is not the pinned one.
pub(crate) fn verify(file: &Path, algorithm: &'static Algorithm, pinned: &str) -> Result<(), PostgresError> {
    let content = fs::read(file).map_err(PostgresError::file("read", file))?;
    let found = STANDARD.encode(digest(algorithm, &content));
    if found == pinned {
        return Ok(());
    }
    let detail = format!("its checksum is {found} instead of {pinned}; it is not used");
    Err(PostgresError::Tool {
        program: file.display().to_string(),
        detail,
    })
}

/// Lets every user read what is below a directory, and run what somebody may run.
pub(crate) fn readable_by_all(path: &Path) -> Result<(), PostgresError> {
    let metadata = fs::symlink_metadata(path).map_err(PostgresError::file("read", path))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let runs = metadata.is_dir() || mode & 0o111 != 0;
    let wanted = mode & 0o7000 | if runs { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(wanted))
        .map_err(PostgresError::file("change the mode of", path))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)
            .map_err(PostgresError::file("read", path))?
            .flatten()
        {
            readable_by_all(&entry.path())?;
        }
    }
    Ok(())
}

/// Makes every file in a directory executable.
pub(crate) fn executable(directory: &Path) -> Result<(), PostgresError> {
    for entry in fs::read_dir(directory)
        .map_err(PostgresError::file("read", directory))?
        .flatten()
    {
        let path = entry.path();
        fs::set_permissions(&path, Permissions::from_mode(0o755))
            .map_err(PostgresError::file("change the mode of", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::SHA256;

    #[test]
    fn a_changed_download_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("download");
        fs::write(&file, "abc").unwrap();
        let pinned = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
        verify(&file, &SHA256, pinned).unwrap();
        fs::write(&file, "abd").unwrap();
        let refused = verify(&file, &SHA256, pinned).unwrap_err().to_string();
        assert!(refused.contains("it is not used"), "{refused}");
    }
}
