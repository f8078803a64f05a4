//! A table's rows as they come from a file, and how their values are read.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeZone, Utc};

use crate::clock::Timestamp;

/// The columns that are read; what others hold does not matter.
const READ: [&str; 31] = [
    "access_token_id",
    "audience",
    "client_id",
    "client_secret",
    "deleted_at",
    "email",
    "expired_at",
    "expires_at",
    "grant_type",
    "grant_types",
    "home_page_url",
    "id",
    "is_live",
    "logo_url",
    "name",
    "owner_id",
    "password",
    "password_client",
    "personal_access_client",
    "privacy_policy_url",
    "provider",
    "redirect",
    "redirect_uri",
    "redirect_uris",
    "refresh_token",
    "revoked",
    "scope",
    "scopes",
    "secret",
    "user_id",
    "username",
];

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Its place in its table, from 1.
    pub(super) number: u64,
    columns: Arc<[String]>,
    values: Vec<Option<String>>,
    malformed: Option<&'static str>,
}

impl Row {
    /// A row of a file; `None` is null.
    pub(super) fn new(number: u64, columns: Arc<[String]>, values: Vec<Option<Vec<u8>>>) -> Self {
        let mut malformed =
            (values.len() != columns.len()).then_some("it has not as many fields as the table has columns");
        let mut names = columns.iter();
        let values = values
            .into_iter()
            .map(|value| {
                let is_read = names.next().is_some_and(|name| READ.contains(&name.as_str()));
                let text = String::from_utf8(value.filter(|_| is_read)?);
                match text {
                    Ok(text) if text.contains('\0') => malformed = Some("it has a NUL character"),
                    Ok(text) => return Some(text),
                    Err(_) => malformed = Some("it is not UTF-8"),
                }
                None
            })
            .collect();
        Self {
            number,
            columns,
            values,
            malformed,
        }
    }

    /// What is wrong with the row as a whole.
    pub(super) fn malformed(&self) -> Option<&'static str> {
        self.malformed
    }

    /// The first of the columns that the table does not have.
    pub(super) fn has<'a>(&self, needed: &[&'a str]) -> Result<(), &'a str> {
        match needed
            .iter()
            .find(|needed| !self.columns.iter().any(|name| name == *needed))
        {
            Some(column) => Err(column),
            None => Ok(()),
        }
    }

    /// A value; none where it is null, empty, or the table has no such column.
    pub(super) fn get(&self, column: &str) -> Option<&str> {
        let place = self.columns.iter().position(|name| name == column)?;
        self.values
            .get(place)?
            .as_deref()
            .filter(|value| !value.is_empty())
    }

    /// A switch; false where it is null.
    pub(super) fn flag(&self, column: &str) -> Result<bool, String> {
        match self.get(column) {
            None => Ok(false),
            Some(text) => match text.to_ascii_lowercase().as_str() {
                "0" | "f" | "false" | "n" | "no" => Ok(false),
                "1" | "t" | "true" | "y" | "yes" => Ok(true),
                _ => Err(format!("its {column} is neither true nor false")),
            },
        }
    }

    /// A list of strings: JSON, a Postgres array, or separated by one of `separators`.
    pub(super) fn list(&self, column: &str, separators: &[char]) -> Result<Vec<String>, String> {
        let Some(text) = self.get(column).map(str::trim) else {
            return Ok(Vec::new());
        };
        if text.starts_with('[') {
            return serde_json::from_str(text)
                .map_err(|_| format!("its {column} is no JSON list of strings"));
        }
        if let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            return Ok(separated(inner, &[','])
                .map(|item| item.trim_matches('"').to_owned())
                .collect());
        }
        Ok(separated(text, separators).map(str::to_owned).collect())
    }

    /// A moment; one without an offset is in `offset`.
    pub(super) fn time(&self, column: &str, offset: FixedOffset) -> Result<Option<Timestamp>, String> {
        self.get(column)
            .map(|text| {
                parse_time(text.trim(), offset).ok_or_else(|| format!("its {column} is not a date and time"))
            })
            .transpose()
    }
}

fn separated<'a>(text: &'a str, separators: &'a [char]) -> impl Iterator<Item = &'a str> {
    text.split(separators)
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn parse_time(text: &str, offset: FixedOffset) -> Option<Timestamp> {
    let with_offset = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"]
        .iter()
        .find_map(|format| DateTime::parse_from_str(text, format).ok())
        .or_else(|| DateTime::parse_from_rfc3339(text).ok());
    if let Some(moment) = with_offset {
        return Some(moment.with_timezone(&Utc));
    }
    let naive = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
    Some(offset.from_local_datetime(&naive).single()?.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: &str) -> Row {
        let columns: Arc<[String]> = vec!["name".to_owned()].into();
        Row::new(1, columns, vec![Some(value.as_bytes().to_vec())])
    }

    #[test]
    fn moments_are_read_as_mysql_postgres_and_iso_write_them() {
        let east = FixedOffset::east_opt(8 * 3600).unwrap();
        let utc = FixedOffset::east_opt(0).unwrap();
        let moment: Timestamp = "2026-11-22T01:02:03Z".parse().unwrap();
        for text in [
            "2026-11-22 01:02:03",
            "2026-11-22 01:02:03.000",
            "2026-11-22T01:02:03",
        ] {
            assert_eq!(row(text).time("name", utc), Ok(Some(moment)), "{text}");
            let earlier = moment - chrono::TimeDelta::hours(8);
            assert_eq!(row(text).time("name", east), Ok(Some(earlier)), "{text}");
        }
        for text in [
            "2026-11-22 01:02:03+00",
            "2026-11-22 09:02:03+08",
            "2026-11-22T01:02:03Z",
            "2026-11-22 09:02:03.0+08:00",
        ] {
            assert_eq!(row(text).time("name", east), Ok(Some(moment)), "{text}");
        }
        assert!(row("yesterday").time("name", utc).is_err());
        assert_eq!(row("").time("name", utc), Ok(None));
    }

    #[test]
    fn lists_are_read_as_json_as_an_array_and_as_text() {
        let expected = vec!["a".to_owned(), "b c".to_owned()];
        for text in [r#"["a","b c"]"#, r#"{a,"b c"}"#, "a, b c"] {
            assert_eq!(row(text).list("name", &[',']), Ok(expected.clone()), "{text}");
        }
        assert!(row("[1]").list("name", &[',']).is_err());
        assert_eq!(row("[]").list("name", &[',']), Ok(Vec::new()));
    }

    #[test]
    fn a_row_that_is_no_text_or_has_another_width_says_so() {
        let columns: Arc<[String]> = vec!["name".to_owned()].into();
        assert!(
            Row::new(1, Arc::clone(&columns), Vec::new())
                .malformed()
                .is_some()
        );
        let row = Row::new(1, columns, vec![Some(vec![0xff])]);
        assert!(row.malformed().is_some());
        let unread: Arc<[String]> = vec!["avatar".to_owned()].into();
        assert_eq!(Row::new(1, unread, vec![Some(vec![0xff, 0])]).malformed(), None);
    }
}
