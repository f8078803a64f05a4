//! One message (RFC 5424 §6) in its frame (RFC 6587 §3.4.1).

use std::fmt::Write as _;

use crate::stream::ocsf::lines::Line;

/// `authpriv`.
const FACILITY: u64 = 10;
/// Names the structured data of messages without a number of an enterprise's own: the one for examples (RFC 5612).
const SD_ID: &str = "grantlog@32473";
/// The longest MSGID (§6).
const MAX_MSGID: usize = 32;
/// The longest HOSTNAME (§6).
const MAX_HOSTNAME: usize = 255;

/// A message, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame(String);

impl Frame {
    /// The message of an exported event. The time is that of its recording, RFC 3339 with microseconds in UTC.
    pub(super) fn of(host: &str, at: &str, line: &Line) -> Self {
        let priority = FACILITY * 8 + severity(line.severity);
        let host = printable(host, MAX_HOSTNAME);
        let id = printable(&line.event_type, MAX_MSGID);
        let (position, class) = (line.position, line.class);
        Self(format!(
            "<{priority}>1 {at} {host} grantlog - {id} [{SD_ID} position=\"{position}\" class=\"{class}\"] {}",
            line.json
        ))
    }

    /// Appends it, preceded by its length.
    pub(super) fn append(&self, bytes: &mut Vec<u8>) {
        let mut head = String::new();
        // Writing to a string does not fail.
        let _ = write!(head, "{} ", self.0.len());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(self.0.as_bytes());
    }
}

/// OCSF's `severity_id` as syslog's severity (RFC 5424 §6.2.1).
fn severity(id: u64) -> u64 {
    match id {
        2 => 5,
        3 => 4,
        4 => 3,
        5 => 2,
        6 => 1,
        _ => 6,
    }
}

/// PRINTUSASCII of limited length; `-` where nothing is left.
fn printable(text: &str, most: usize) -> String {
    let kept: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if kept.is_empty() { "-".to_owned() } else { kept }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(event_type: &str, json: &str) -> Line {
        Line {
            position: 42,
            event_type: event_type.to_owned(),
            severity: 4,
            class: 3002,
            json: json.to_owned(),
        }
    }

    #[test]
    fn a_message_has_its_length_before_it_and_its_position_in_its_structured_data() {
        let at = "2026-11-22T06:58:19.000001Z";
        let mut bytes = Vec::new();
        Frame::of("id.example", at, &line("RefreshReplayed", "{}")).append(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let message = "<83>1 2026-11-22T06:58:19.000001Z id.example grantlog - RefreshReplayed \
                       [grantlog@32473 position=\"42\" class=\"3002\"] {}";
        assert_eq!(text, format!("{} {message}", message.len()));
    }

    proptest! {
        #[test]
        fn no_name_breaks_the_header_of_a_message(host: String, event_type: String) {
            let Frame(text) = Frame::of(&host, "-", &line(&event_type, "{}"));
            let fields: Vec<&str> = text.splitn(7, ' ').collect();
            prop_assert_eq!((fields[0], fields[3], fields[4]), ("<83>1", "grantlog", "-"));
            prop_assert!(fields[6].starts_with("[grantlog@32473 "));
            prop_assert!(fields[5].len() <= MAX_MSGID && fields[2].len() <= MAX_HOSTNAME);
        }
    }
}
