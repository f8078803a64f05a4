//! Joins refresh tokens with their access tokens, whatever the order of either file and however long they are: both
//! are split by a digest into as many temporary files as make each small, and one pair at a time is joined in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ImportError;
use super::passport::{AccessRow, REFRESH_TOKENS, RefreshRow};
use super::record::TokenRow;
use super::report::Remark;
use crate::domain::value::Digest;

/// The bytes of source files whose rows are joined in memory at once.
const BYTES_PER_PART: u64 = 8 << 20;
const MOST_PARTS: u64 = 128;

/// Rows, split by a digest. The files have no name: they are gone when the process is, however it ends.
pub(super) struct Parts {
    files: Vec<BufWriter<File>>,
}

impl Parts {
    pub(super) fn new(count: usize) -> Result<Self, ImportError> {
        let files = (0..count)
            .map(|_| Ok(BufWriter::with_capacity(16 * 1024, tempfile::tempfile()?)))
            .collect::<std::io::Result<_>>()
            .map_err(ImportError::Temporary)?;
        Ok(Self { files })
    }

    pub(super) fn add(&mut self, key: &Digest, row: &impl Serialize) -> Result<(), ImportError> {
        let [high, low, ..] = key.0;
        let count = self.files.len().max(1);
        let place = usize::from(u16::from_be_bytes([high, low])) % count;
        let Some(file) = self.files.get_mut(place) else {
            return Ok(());
        };
        serde_json::to_writer(&mut *file, row).map_err(|error| ImportError::Temporary(error.into()))?;
        file.write_all(b"\n").map_err(ImportError::Temporary)
    }

    fn rewound(self) -> Result<Vec<BufReader<File>>, ImportError> {
        self.files
            .into_iter()
            .map(|writer| {
                let mut file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
                file.rewind()?;
                Ok(BufReader::with_capacity(16 * 1024, file))
            })
            .collect::<std::io::Result<_>>()
            .map_err(ImportError::Temporary)
    }
}

/// How many parts make each small, for files of so many bytes.
pub(super) fn parts_for(bytes: u64) -> usize {
    usize::try_from((bytes / BYTES_PER_PART + 1).min(MOST_PARTS)).unwrap_or(1)
}

/// Joins, and hands on each refresh token with what its access token says, or why it cannot be used.
pub(super) fn join(
    refresh: Parts,
    access: Parts,
    mut each: impl FnMut(Result<TokenRow, Remark>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    for (refresh, access) in refresh.rewound()?.into_iter().zip(access.rewound()?) {
        let mut waiting: HashMap<Digest, Vec<RefreshRow>> = HashMap::new();
        for row in lines::<RefreshRow>(refresh) {
            let row = row?;
            waiting.entry(row.access).or_default().push(row);
        }
        // Of two rows with the same id, one may be revoked: neither is believed.
        let mut found: HashMap<Digest, Option<AccessRow>> = HashMap::new();
        for row in lines::<AccessRow>(access) {
            let row = row?;
            if waiting.contains_key(&row.id) {
                found
                    .entry(row.id)
                    .and_modify(|known| *known = None)
                    .or_insert(Some(row));
            }
        }
        for (id, access) in found {
            for refresh in waiting.remove(&id).unwrap_or_default() {
                each(joined(refresh, access.as_ref()))?;
            }
        }
        for row in waiting.into_values().flatten() {
            each(Err(row
                .place
                .remark(REFRESH_TOKENS, "its access token is in no row")))?;
        }
    }
    Ok(())
}

/// A refresh token with what its access token says; none where that has two rows.
fn joined(refresh: RefreshRow, access: Option<&AccessRow>) -> Result<TokenRow, Remark> {
    let RefreshRow {
        place,
        digest,
        expires_at,
        ..
    } = refresh;
    let Some(access) = access else {
        return Err(place.remark(REFRESH_TOKENS, "its access token is in two rows"));
    };
    if access.revoked {
        return Err(place.remark(REFRESH_TOKENS, "its access token is revoked"));
    }
    Ok(TokenRow {
        place,
        digest,
        client: access.client.clone(),
        user: access.user.clone(),
        scopes: access.scopes.clone(),
        audience: Vec::new(),
        flow: None,
        expires_at,
    })
}

fn lines<T: DeserializeOwned>(file: impl BufRead) -> impl Iterator<Item = Result<T, ImportError>> {
    file.lines().map(|line| {
        let line = line.map_err(ImportError::Temporary)?;
        serde_json::from_str(&line).map_err(|error| ImportError::Temporary(error.into()))
    })
}
