//! Files that nobody vouches for: no more of them is read than what they should be can be long.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _};
use std::path::Path;

/// Reads a file, at most `most` bytes of it. What is no file (a device, a pipe, a directory) is an error.
pub fn beginning(path: &Path, most: usize) -> Result<Vec<u8>, Error> {
    // Before it is opened: opening a pipe waits for whoever writes to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidData, "it is no regular file"));
    }
    take(path, most)
}

/// Reads a file of at most `most` bytes; a longer one, and what is no file, is an error.
pub fn file(path: &Path, most: usize) -> Result<Vec<u8>, Error> {
    whole(beginning(path, most.saturating_add(1))?, most)
}

/// Reads a text of at most `most` bytes. It may come through a pipe.
pub fn text(path: &Path, most: usize) -> Result<String, Error> {
    let bytes = whole(take(path, most.saturating_add(1))?, most)?;
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is no text in UTF-8"))
}

fn take(path: &Path, most: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn whole(bytes: Vec<u8>, most: usize) -> Result<Vec<u8>, Error> {
    if bytes.len() > most {
        let why = format!("it is longer than the {most} bytes that such a file can have");
        return Err(Error::new(ErrorKind::InvalidData, why));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_a_file_can_be_long() {
        let made = tempfile::tempdir().unwrap();
        let path = made.path().join("file");
        std::fs::write(&path, "abcd").unwrap();
        assert_eq!(file(&path, 4).unwrap(), b"abcd");
        assert_eq!(beginning(&path, 3).unwrap(), b"abc");
        assert_eq!(text(&path, 4).unwrap(), "abcd");
        assert_eq!(file(&path, 3).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(text(&path, 3).unwrap_err().kind(), ErrorKind::InvalidData);
        // Endless, or nobody would ever write to it.
        assert!(text(Path::new("/dev/zero"), 1000).is_err());
        assert!(file(Path::new("/dev/zero"), 1000).is_err());
        assert!(beginning(made.path(), 10).is_err());
    }
}
