//! The languages of the pages, and which one a reader wants.

use chrono::Datelike;
use serde::Deserialize;

use super::text::{self, Texts};
use crate::clock::Timestamp;
use crate::http::preference;

/// The most bytes of an `Accept-Language` header that is read; browsers send some dozens.
const MAX_HEADER: usize = 1024;

/// A language that all pages are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Language {
    /// English.
    #[default]
    #[serde(rename = "en")]
    English,
    /// German.
    #[serde(rename = "de")]
    German,
    /// French.
    #[serde(rename = "fr")]
    French,
}

/// What an `Accept-Language` header names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Range<'a> {
    /// A language, by its primary subtag.
    Of(&'a str),
    /// `*`: those that no other range names.
    Any,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::English, Self::German, Self::French];

    /// The BCP 47 tag.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
        }
    }

    /// The first of the languages that a `ui_locales` parameter names and that pages are written in (OpenID Connect Core
    /// §3.1.2.1): BCP 47 tags in order of preference, of which the primary subtag counts. None where it names no such
    /// language; what is no tag is passed over.
    #[must_use]
    pub fn requested(ui_locales: &str) -> Option<Self> {
        ui_locales.split(' ').filter_map(primary).find_map(Self::named)
    }

    /// The language that an `Accept-Language` header prefers (RFC 9110 §12.5.4), the first of several that it likes
    /// alike. `*` stands for the `default` first. None where the header prefers none of ours, or is longer than any
    /// browser's; a member that is malformed is passed over.
    #[must_use]
    pub fn accepted(header: &str, default: Self) -> Option<Self> {
        if header.len() > MAX_HEADER {
            return None;
        }
        let ranges: Vec<(Range<'_>, u16)> = header.split(',').filter_map(range).collect();
        let is_named = |language: &Self| {
            let named = |range: &Range<'_>| matches!(range, Range::Of(primary) if Self::named(primary) == Some(*language));
            ranges.iter().any(|(range, _)| named(range))
        };
        let unnamed = std::iter::once(default)
            .chain(Self::ALL)
            .find(|language| !is_named(language));
        let mut best: Option<(u16, Self)> = None;
        for (range, weight) in &ranges {
            let language = match range {
                Range::Of(primary) => Self::named(primary),
                Range::Any => unnamed,
            };
            if let Some(language) = language
                && *weight > best.map_or(0, |(weight, _)| weight)
            {
                best = Some((*weight, language));
            }
        }
        best.map(|(_, language)| language)
    }

    pub(super) fn texts(self) -> &'static Texts {
        match self {
            Self::English => &text::ENGLISH,
            Self::German => &text::GERMAN,
            Self::French => &text::FRENCH,
        }
    }

    /// A moment in UTC, to the minute, as the language writes it.
    pub(super) fn moment(self, at: Timestamp) -> String {
        let months = &self.texts().common.months;
        let month = usize::try_from(at.month0()).ok().and_then(|at| months.get(at));
        let month = month.copied().unwrap_or_default();
        let (day, year, time) = (at.day(), at.year(), at.format("%H:%M"));
        match self {
            Self::English => format!("{day} {month} {year}, {time} UTC"),
            Self::German => format!("{day}. {month} {year}, {time} UTC"),
            Self::French if day == 1 => format!("1er {month} {year} à {time} UTC"),
            Self::French => format!("{day} {month} {year} à {time} UTC"),
        }
    }

    fn named(primary: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|language| language.tag().eq_ignore_ascii_case(primary))
    }
}

/// The primary subtag of a language tag; none of what has not the form of one (RFC 4647 §2.1).
fn primary(tag: &str) -> Option<&str> {
    let mut subtags = tag.split('-');
    let primary = subtags.next().filter(|subtag| {
        (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphabetic())
    })?;
    let mut rest = subtags.map(|subtag| {
        (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    rest.all(|is_subtag| is_subtag).then_some(primary)
}

/// A member of the header, with its weight in thousandths.
fn range(member: &str) -> Option<(Range<'_>, u16)> {
    let (tag, weight) = preference::member(member)?;
    let range = if tag == "*" {
        Range::Any
    } else {
        Range::Of(primary(tag)?)
    };
    Some((range, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EN: Language = Language::English;
    const DE: Language = Language::German;
    const FR: Language = Language::French;

    #[test]
    fn a_moment_is_written_as_each_language_writes_it() {
        let first = Timestamp::from_timestamp(1_772_323_205, 0).unwrap();
        let later = first + chrono::TimeDelta::days(9);
        for (language, expected) in [
            (EN, ["1 March 2026, 00:00 UTC", "10 March 2026, 00:00 UTC"]),
            (DE, ["1. März 2026, 00:00 UTC", "10. März 2026, 00:00 UTC"]),
            (FR, ["1er mars 2026 à 00:00 UTC", "10 mars 2026 à 00:00 UTC"]),
        ] {
            assert_eq!([first, later].map(|at| language.moment(at)), expected);
        }
    }

    #[test]
    fn the_first_locale_that_pages_are_written_in_counts() {
        for (text, expected) in [
            ("de", Some(DE)),
            ("de-AT", Some(DE)),
            ("FR-ca", Some(FR)),
            ("zh-Hant-TW nl fr-CA fr en", Some(FR)),
            ("en-GB de", Some(EN)),
            ("  de  ", Some(DE)),
            ("german de_DE d\u{e9} de- -de de-toolongsubtag", None),
            ("german de_DE fr", Some(FR)),
            ("deu", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(Language::requested(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_heaviest_range_of_the_header_counts_and_of_those_the_first() {
        for (text, expected) in [
            ("de", Some(DE)),
            ("de-CH,de;q=0.9,en;q=0.8", Some(DE)),
            ("fr;q=0.7, de;q=0.71", Some(DE)),
            ("nl, fr;q=0.001", Some(FR)),
            ("fr;q=0.5,de;q=0.5", Some(FR)),
            ("fr;q=0,de;q=0.1", Some(DE)),
            ("fr;q=0", None),
            ("de ; Q=1.000", Some(DE)),
            ("*", Some(EN)),
            ("nl,*;q=0.5,fr;q=0.4", Some(EN)),
            ("en;q=0,*", Some(DE)),
            ("en;q=0,de;q=0,*;q=0.1", Some(FR)),
            ("en;q=0,de;q=0,fr;q=0,*", None),
            ("*;q=0", None),
            // What is malformed is not there.
            ("de;q=2,fr;q=0.1", Some(FR)),
            ("de;q=0.1234,de;q=,de;q=1.001,de;q=-1,de;q=+1", None),
            ("de_DE,;;,,=,fr", Some(FR)),
            ("nl", None),
            ("", None),
        ] {
            assert_eq!(Language::accepted(text, EN), expected, "{text:?}");
        }
        assert_eq!(Language::accepted("nl;q=0.9,*;q=0.8", FR), Some(FR));
        let long = format!("de,{}", "x".repeat(MAX_HEADER));
        assert_eq!(Language::accepted(&long, EN), None);
    }
}
