//! What a call looks at, as the trail is told, and on whose behalf it is made.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName};

use crate::domain::trail::LedgerRead;
use crate::ledger::Operator;

/// The header that names the person on whose behalf a client calls.
pub(super) const OPERATOR: HeaderName = HeaderName::from_static("grantlog-operator");

/// What a call has looked at so far, and why. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Looked(Arc<Mutex<(LedgerRead, Option<String>)>>);

impl Looked {
    /// At nothing in particular, while the ledger ends at this position.
    pub(super) fn new(head: i64) -> Self {
        Self(Arc::new(Mutex::new((LedgerRead::upto(head), None))))
    }

    /// Says more of it.
    pub(in crate::http) fn at(&self, say: impl FnOnce(&mut LedgerRead)) {
        say(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).0);
    }

    /// Says why.
    pub(super) fn because(&self, reason: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = reason;
    }

    /// What is recorded of it, and why it was asked.
    pub(super) fn reading(&self) -> (LedgerRead, Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The person on whose behalf the client calls, where it says so.
pub(super) fn operator(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    const WRONG: &str = "Grantlog-Operator: it is one name of 1 to 128 printable characters in UTF-8.";
    let mut values = headers.get_all(OPERATOR).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let name = std::str::from_utf8(value.as_bytes()).map_err(|_| WRONG)?;
    let name = Operator::parse(name).map_err(|_| WRONG)?;
    if values.next().is_some() {
        return Err(WRONG);
    }
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(OPERATOR, HeaderValue::from_bytes(value).unwrap());
        }
        operator(&headers)
    }

    #[test]
    fn an_operator_is_one_name_that_can_be_seen() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(
            read(&["ada@example.com ".as_bytes()]),
            Ok(Some("ada@example.com".to_owned()))
        );
        assert_eq!(read(&["Zoë".as_bytes()]), Ok(Some("Zoë".to_owned())));
        let long = "a".repeat(129);
        for wrong in [
            &[b"".as_slice()][..],
            &[b"ada", b"eve"],
            &[b"\xff"],
            &["a\u{202e}b".as_bytes()],
            &[long.as_bytes()],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_names_an_operator_or_is_refused(value in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&value)
                && let Ok(Some(name)) = operator(&HeaderMap::from_iter([(OPERATOR, value)]))
            {
                prop_assert!((1..=128).contains(&name.chars().count()));
            }
        }
    }
}
