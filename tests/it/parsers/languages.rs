//! The languages that a browser or an application asks for.

use axum::http::{HeaderMap, HeaderValue, header};
use grantlog::http::page::{Language, Presentation};

use super::{Read, text};

/// The header, as the tag that it comes to; which as a header comes to the same, whatever the default is.
pub(super) fn accept_language(bytes: &[u8]) -> Read {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return Read::Refused;
    };
    let Ok(header) = value.to_str() else {
        let headers: HeaderMap = [(header::ACCEPT_LANGUAGE, value)].into_iter().collect();
        for default in Language::ALL {
            assert_eq!(Presentation::of_browser(&headers, default).language, default);
        }
        return Read::Refused;
    };
    let read = Language::ALL.map(|default| Language::accepted(header, default));
    for language in read.into_iter().flatten() {
        // Nothing is read out of a header that does not name it.
        let names = |tag: &str| header.to_ascii_lowercase().contains(tag);
        assert!(names(language.tag()) || names("*"), "{}", language.tag());
        // One that weighs less, or is not a tag, makes no difference behind it.
        let longer = format!("{header},fr;q=0.0,en;q=2,_");
        if longer.len() <= 1024 && !names("*") {
            assert_eq!(Language::accepted(&longer, Language::English), Some(language));
        }
    }
    if header.len() > 2048 {
        assert_eq!(read, [None; 3]);
        return Read::Refused;
    }
    // Its members may come in lines of their own (RFC 9110 section 5.3).
    let mut lines = HeaderMap::new();
    for line in header.split(',') {
        let line = HeaderValue::from_str(line).unwrap();
        lines.append(header::ACCEPT_LANGUAGE, line);
    }
    for (default, read) in Language::ALL.into_iter().zip(read) {
        let of_lines = Presentation::of_browser(&lines, default).language;
        assert_eq!(of_lines, read.unwrap_or(default));
    }
    Read::text(read[0].map(Language::tag))
}

/// The parameter, as the one tag that it comes to.
pub(super) fn ui_locales(bytes: &[u8]) -> Read {
    text(bytes, |text| {
        let read = Language::requested(text);
        // The first that pages are written in: nothing behind it counts, and nothing before it that is no such tag.
        if let Some(language) = read {
            for text in [format!("{text} en de fr"), format!("tlh - {text}")] {
                assert_eq!(Language::requested(&text), Some(language));
            }
        } else {
            assert_eq!(Language::requested(&format!("{text} fr")), Some(Language::French));
        }
        Read::text(read.map(Language::tag))
    })
}
