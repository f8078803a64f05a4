//! The document of a sector (OpenID Connect Dynamic Client Registration §5): read when a client that names it is
//! registered, or changed in what it vouches for.

use axum::http::StatusCode;

use super::{OperationError, Operations};
use crate::domain::client::ClientMetadata;
use crate::outbound::Outgoing;

const FIELD: &str = "sector_identifier_uri";

impl Operations {
    /// Whether the sector's document lists every redirect URI; nothing is read where neither has changed since `before`.
    pub(crate) async fn check_sector(
        &self,
        metadata: &ClientMetadata,
        before: Option<&ClientMetadata>,
    ) -> Result<(), OperationError> {
        let Some(uri) = &metadata.sector_identifier_uri else {
            return Ok(());
        };
        let unchanged = before.is_some_and(|before| {
            before.sector_identifier_uri == metadata.sector_identifier_uri
                && before.redirect_uris == metadata.redirect_uris
        });
        if unchanged {
            return Ok(());
        }
        let request = Outgoing::get(uri).accept("application/json");
        let answer = self.sectors.send(request).await;
        let answer = answer.map_err(|error| OperationError::invalid(FIELD, error.to_string()))?;
        if answer.status != StatusCode::OK {
            return Err(OperationError::invalid(FIELD, "it does not answer with 200"));
        }
        listed(&answer.body, &metadata.redirect_uris).map_err(|what| OperationError::invalid(FIELD, what))
    }
}

/// §5: a JSON array of redirect URIs that has all of the client's.
fn listed(body: &[u8], redirect_uris: &[String]) -> Result<(), &'static str> {
    let list: Vec<String> =
        serde_json::from_slice(body).map_err(|_| "its document is not a JSON list of redirect URIs")?;
    // Whoever has none could name anybody's list.
    if !redirect_uris.is_empty() && redirect_uris.iter().all(|uri| list.contains(uri)) {
        Ok(())
    } else {
        Err("its document does not list every redirect URI")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sectors_document_lists_every_redirect_uri() {
        let uris = [
            "https://a.example/cb".to_owned(),
            "https://b.example/cb".to_owned(),
        ];
        let all = r#"["https://b.example/cb","https://c.example/cb","https://a.example/cb"]"#;
        assert_eq!(listed(all.as_bytes(), &uris), Ok(()));
        for bad in [
            r#"["https://a.example/cb"]"#,
            "[]",
            "{}",
            "[1]",
            "null",
            "",
            r#"["https://a.example/cb","https://b.example/cb/"]"#,
        ] {
            assert!(listed(bad.as_bytes(), &uris).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_sectors_document_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(listed(&bytes, &["https://a.example/cb".to_owned()]).is_err());
        }
    }
}
