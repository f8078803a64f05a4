//! What a reader of events asks for.

use axum::http::HeaderValue;
use schemars::JsonSchema;
use serde::Deserialize;
use url::form_urlencoded;

use crate::domain::AggregateType;
use crate::domain::event::Event;
use crate::domain::stream::MAX_FILTER;

/// The query's parameters, for the document.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "values may be repeated too, so that `Asked` reads them")]
pub(in crate::http) struct Query {
    /// Names of events, with commas between them.
    r#type: Option<Vec<String>>,
    /// Types of aggregates, with commas between them.
    aggregate: Option<Vec<String>>,
    /// Client ids, with commas between them.
    client: Option<Vec<String>>,
    /// Begin after this position; otherwise with the next event. `Last-Event-ID` wins over it.
    since: Option<i64>,
}

/// The filter, and where to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Names of events.
    pub(super) types: Vec<String>,
    /// Types of aggregates.
    pub(super) aggregates: Vec<String>,
    /// Client ids.
    pub(super) clients: Vec<String>,
    /// Begin after this position; none means with the next event.
    pub(super) after: Option<i64>,
}

impl Asked {
    /// Reads the query. A `Last-Event-ID` is where the reader really is, and wins over `since`.
    pub(super) fn parse(
        query: Option<&str>,
        last_event_id: Option<&HeaderValue>,
    ) -> Result<Self, &'static str> {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "type" => asked.types.extend(values(&value)),
                "aggregate" => asked.aggregates.extend(values(&value)),
                "client" => asked.clients.extend(values(&value)),
                "since" if asked.after.is_none() => {
                    asked.after = Some(position(&value).ok_or("since is not a position of the ledger.")?);
                }
                "since" => return Err("since is there more than once."),
                _ => return Err("The query may have type, aggregate, client and since."),
            }
        }
        if let Some(last) = last_event_id.filter(|last| !last.is_empty()) {
            let last = last.to_str().ok().and_then(position);
            asked.after = Some(last.ok_or("Last-Event-ID is not a position of the ledger.")?);
        }
        asked.check()?;
        Ok(asked)
    }

    fn check(&self) -> Result<(), &'static str> {
        let most = self
            .types
            .len()
            .max(self.aggregates.len())
            .max(self.clients.len());
        if most > MAX_FILTER {
            return Err("The query has too many values.");
        }
        let schemas = Event::schemas();
        let known = |name: &String| schemas.iter().any(|schema| schema.event_type == name);
        if !self.types.iter().all(known) {
            return Err("type is not the name of an event.");
        }
        let known = |name: &String| AggregateType::parse(name).is_some();
        if !self.aggregates.iter().all(known) {
            return Err("aggregate is not the name of an aggregate.");
        }
        Ok(())
    }
}

/// Values may be repeated, or stand in one with commas between them.
fn values(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn position(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_narrows_and_the_last_event_id_wins() {
        let last = HeaderValue::from_static("17");
        let query = "type=TokenIssued,CodeIssued&aggregate=grant&client=one&type=RequestRefused&since=3";
        let asked = Asked::parse(Some(query), Some(&last)).unwrap();
        assert_eq!(asked.types, ["TokenIssued", "CodeIssued", "RequestRefused"]);
        assert_eq!(
            (asked.aggregates, asked.clients, asked.after),
            (vec!["grant".to_owned()], vec!["one".to_owned()], Some(17))
        );
        assert_eq!(Asked::parse(None, None), Ok(Asked::default()));
        for bad in [
            "type=Token",
            "aggregate=grants",
            "since=-1",
            "since=+1",
            "since=",
            "since=1&since=2",
            "since=99999999999999999999",
            "other=1",
            "type=",
        ] {
            assert!(Asked::parse(Some(bad), None).is_err(), "{bad}");
        }
        assert!(Asked::parse(None, Some(&HeaderValue::from_static("x"))).is_err());
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in "\\PC{0,80}", last in prop::collection::vec(any::<u8>(), 0..20)) {
            let last = HeaderValue::from_bytes(&last).ok();
            if let Ok(asked) = Asked::parse(Some(&query), last.as_ref()) {
                prop_assert!(asked.after.is_none_or(|after| after >= 0));
            }
        }
    }
}
