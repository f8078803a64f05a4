//! JSON bodies and queries of receivers.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::error::{ApiError, Rejection};
use super::super::form::{self, Form};
use super::{invalid, no_stream};
use crate::domain::value::is_plain_text;

/// The most bytes of a body.
const MAX_BYTES: usize = 32 * 1024;
/// The most characters of a text that people read.
const MAX_TEXT: usize = 200;

/// A JSON object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// Reads one.
    pub(super) fn read(
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Self, Rejection<ApiError>> {
        form::check_json_type(headers)
            .map_err(|_| invalid("The content type is not application/json in UTF-8."))?;
        let body = body.map_err(|_| invalid("The body could not be read."))?;
        if body.len() > MAX_BYTES {
            return Err(invalid("The body is too large."));
        }
        Self::parse(&body).ok_or_else(|| invalid("The body is not a JSON object."))
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }

    /// A member that is there; null counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Whether there is a member of that name, null or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A string.
    pub(super) fn text(
        &self,
        name: &str,
        problem: &'static str,
    ) -> Result<Option<&str>, Rejection<ApiError>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(problem)),
        }
    }

    /// A text that people read, of plain characters and not too many.
    pub(super) fn words(
        &self,
        name: &str,
        problem: &'static str,
    ) -> Result<Option<String>, Rejection<ApiError>> {
        let text = self.text(name, problem)?;
        if text.is_some_and(|text| text.chars().count() > MAX_TEXT || !is_plain_text(text)) {
            return Err(invalid(problem));
        }
        Ok(text.map(str::to_owned))
    }

    /// The stream that it names.
    pub(super) fn stream_id(&self) -> Result<Uuid, Rejection<ApiError>> {
        let text = self.text("stream_id", "The stream_id is not a string.")?;
        stream_id(text.ok_or_else(|| invalid("The stream_id is missing."))?)
    }
}

/// The stream that a query names; none where it names none.
pub(super) fn stream_in(query: Option<&str>) -> Result<Option<Uuid>, Rejection<ApiError>> {
    let form = Form::parse(query.unwrap_or_default())
        .map_err(|_| invalid("The query cannot be read, or names a parameter twice."))?;
    form.get("stream_id").map(stream_id).transpose()
}

/// What is not spelled as our ids are is none of ours.
fn stream_id(text: &str) -> Result<Uuid, Rejection<ApiError>> {
    let id = Uuid::try_parse(text).map_err(|_| no_stream())?;
    if text == id.to_string() {
        Ok(id)
    } else {
        Err(no_stream())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_body_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
            let json = format!("{{\"stream_id\":{text},\"description\":\"{text}\"}}");
            for body in [Body::parse(&bytes), Body::parse(json.as_bytes())].into_iter().flatten() {
                let _ = body.stream_id();
                let _ = body.words("description", "problem");
            }
            let _ = stream_in(Some(&text));
        }
    }
}
