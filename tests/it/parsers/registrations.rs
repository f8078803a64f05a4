//! Registrations, what stands in them, and the files of an import.

use grantlog::canonical;
use grantlog::domain::authorization_detail::parse;
use grantlog::domain::redirect_uri;
use grantlog::domain::value::ScopeSet;
use grantlog::import::{rows_of_csv, rows_of_dump};
use grantlog::operations::describe;
use grantlog::operations::self_registration::{self, Terms};
use serde_json::Value;

use super::{Read, text};

fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

/// An administrator's registration: what is shown of it can be given back.
pub(super) fn client_metadata(bytes: &[u8]) -> Read {
    let read = json(bytes).and_then(|document| describe::parse(document).ok()?.metadata().ok());
    match read {
        Some(metadata) => {
            let document = describe::document(&metadata);
            let again = describe::parse(Value::Object(document.clone())).and_then(|again| again.metadata());
            assert_eq!(again.ok().as_ref(), Some(&metadata));
            Read::As(serde_json::to_vec(&document).unwrap())
        }
        None => Read::Refused,
    }
}

/// A client's own: it gets nothing that nobody may take for itself.
pub(super) fn self_registration(bytes: &[u8]) -> Read {
    let Some(Value::Object(members)) = json(bytes) else {
        return Read::Refused;
    };
    let scope = ScopeSet::parse("openid profile view-user").unwrap();
    let terms = Terms {
        default_scope: scope.clone(),
        scope,
        grant_types: describe::parse(serde_json::json!({"client_name": "x"}))
            .unwrap()
            .grant_types,
        authorization_details_types: Vec::new(),
        pkce_optional: true,
    };
    match self_registration::metadata(members, &terms, None) {
        Ok(metadata) => {
            assert!(metadata.scope.is_subset(&terms.scope) && !metadata.legacy && metadata.is_live);
            assert!(metadata.introspects.is_empty() && metadata.audience.is_empty());
            Read::Accepted
        }
        Err(_) => Read::Refused,
    }
}

/// What has been read is stored, compared and shown as it is written.
pub(super) fn authorization_details(bytes: &[u8]) -> Read {
    text(bytes, |input| match parse(input) {
        Ok(details) => Read::As(serde_json::to_vec(&details).unwrap()),
        Err(_) => Read::Refused,
    })
}

/// A registered URI, and on the next line the one of a request.
pub(super) fn redirect_uri(bytes: &[u8]) -> Read {
    text(bytes, |input| {
        let (registered, requested) = input.split_once('\n').unwrap_or((input, input));
        let accepted = redirect_uri::check(registered, redirect_uri::AUTHORIZATION_RESPONSE).is_ok();
        let _ = (
            redirect_uri::is_native(registered),
            redirect_uri::has_free_port(registered),
        );
        if accepted && redirect_uri::matches(registered, requested) && registered != requested {
            // Nothing but another port of a loopback address is the same.
            assert!(
                redirect_uri::has_free_port(registered),
                "{registered} {requested}"
            );
            assert!(redirect_uri::is_native(requested), "{registered} {requested}");
        }
        Read::when(accepted)
    })
}

pub(super) fn scope(bytes: &[u8]) -> Read {
    text(bytes, |input| {
        Read::text(ScopeSet::parse(input).ok().map(|scope| scope.to_string()))
    })
}

/// Canonical JSON is read as the same, and is one text however it was written before.
pub(super) fn canonical_json(bytes: &[u8]) -> Read {
    let read = json(bytes).and_then(|value| canonical::to_string(&value).ok());
    if let Some(text) = &read {
        let spread = serde_json::to_string_pretty(&json(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            canonical::to_string(&json(spread.as_bytes()).unwrap()).as_ref(),
            Ok(text)
        );
    }
    Read::text(read)
}

pub(super) fn sql_dump(bytes: &[u8]) -> Read {
    Read::when(rows_of_dump(bytes, "users").is_ok())
}

pub(super) fn csv(bytes: &[u8]) -> Read {
    Read::when(rows_of_csv(bytes).is_ok())
}
