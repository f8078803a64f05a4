//! Authorization details in words: a type's sentence with places for members, or all members with their names.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Detail, DetailTypeTerms};
use crate::domain::value::{hides, is_plain_text, is_visible_text};

/// The most bytes of a sentence.
const MAX_TEMPLATE: usize = 500;
/// What stands for a member that the detail has not.
const NOT_SAID: &str = "(not said)";

/// A part of what a user reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// The operator's words.
    Words(String),
    /// What the client wrote.
    Value(String),
}

/// A sentence with places for members: `Pay {instructedAmount.amount} to {creditorName}`. A brace itself is doubled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Words(String),
    /// Names of members, the outermost first; of a list, a number from 0.
    Member(Vec<String>),
}

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    /// It cannot be shown.
    #[error(
        "it has 1 to 500 bytes, something that can be seen, and no character that is invisible or controls the text's direction or the terminal"
    )]
    Text,
    /// A brace is alone.
    #[error(
        "each {{ has its }}, with the path of a member between them (member or member.member); a brace itself is doubled"
    )]
    Brace,
}

impl Template {
    /// Reads a sentence.
    pub fn parse(text: &str) -> Result<Self, TemplateProblem> {
        let shown = is_visible_text(text) && !text.chars().any(hides) && is_plain_text(text);
        if !shown || text.len() > MAX_TEMPLATE {
            return Err(TemplateProblem::Text);
        }
        let (mut parts, mut words) = (Vec::new(), String::new());
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '{' | '}' if letters.peek() == Some(&letter) => {
                    letters.next();
                    words.push(letter);
                }
                '}' => return Err(TemplateProblem::Brace),
                '{' => {
                    if !words.is_empty() {
                        parts.push(Part::Words(std::mem::take(&mut words)));
                    }
                    parts.push(Part::Member(path(&mut letters)?));
                }
                letter => words.push(letter),
            }
        }
        if !words.is_empty() {
            parts.push(Part::Words(words));
        }
        Ok(Self(parts))
    }

    /// The sentence of a detail.
    #[must_use]
    pub fn render(&self, detail: &Detail) -> Vec<Piece> {
        let pieces = self.0.iter().map(|part| match part {
            Part::Words(words) => Piece::Words(words.clone()),
            Part::Member(path) => Piece::Value(said(detail.members(), path)),
        });
        pieces.collect()
    }
}

/// A detail as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownDetail {
    /// Its `type`.
    pub type_name: String,
    /// The sentence of its type.
    pub sentence: Option<Vec<Piece>>,
    /// All members but the type: paths and values.
    pub members: Vec<(String, String)>,
}

impl ShownDetail {
    /// In the words of its type, where that is known and has some.
    #[must_use]
    pub fn of(detail: &Detail, terms: Option<&DetailTypeTerms>) -> Self {
        let template = terms.and_then(|terms| Template::parse(terms.template.as_deref()?).ok());
        Self {
            type_name: detail.type_name().to_owned(),
            sentence: template.map(|template| template.render(detail)),
            members: members(detail),
        }
    }
}

/// What stands between braces.
fn path(letters: &mut impl Iterator<Item = char>) -> Result<Vec<String>, TemplateProblem> {
    let mut names = vec![String::new()];
    for letter in letters {
        match letter {
            '}' if names.iter().all(|name| !name.is_empty()) => return Ok(names),
            '{' | '}' => return Err(TemplateProblem::Brace),
            '.' => names.push(String::new()),
            letter => {
                if let Some(name) = names.last_mut() {
                    name.push(letter);
                }
            }
        }
    }
    Err(TemplateProblem::Brace)
}

fn said(members: &Map<String, Value>, path: &[String]) -> String {
    let Some((first, rest)) = path.split_first() else {
        return NOT_SAID.to_owned();
    };
    let found = rest.iter().try_fold(members.get(first), |value, name| {
        Some(match value? {
            Value::Object(members) => members.get(name),
            Value::Array(items) => name.parse::<usize>().ok().and_then(|place| items.get(place)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    });
    found.flatten().map_or_else(|| NOT_SAID.to_owned(), value)
}

/// A value in a sentence.
fn value(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(self::value).collect();
            items.join(", ")
        }
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, member)| format!("{name}: {}", self::value(member)))
                .collect();
            members.join("; ")
        }
    }
}

/// All that a detail says but its type: paths and values, by name.
fn members(detail: &Detail) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (name, value) in detail.members().iter().filter(|(name, _)| *name != "type") {
        flatten(name, value, &mut lines);
    }
    lines.sort();
    lines
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let is_plain = |value: &Value| !matches!(value, Value::Array(_) | Value::Object(_));
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                flatten(&format!("{path}.{name}"), member, lines);
            }
        }
        Value::Array(items) if !items.iter().all(is_plain) => {
            for (place, item) in items.iter().enumerate() {
                flatten(&format!("{path}.{place}"), item, lines);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => lines.push((path.to_owned(), self::value(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn detail() -> Detail {
        Detail::try_from(json!({
            "type": "payment", "amount": {"value": "9.50", "currency": "EUR"}, "actions": ["pay", "list"],
            "to": [{"name": "<b>Shop</b>"}], "at": null, "once": true,
        }))
        .unwrap()
    }

    #[test]
    fn a_sentence_has_its_places_filled_and_nothing_else_changed() {
        let text =
            "Pay {amount.value} {amount.currency} to {to.0.name} {{{once}}}: {actions}, {none.at.all}, {at}";
        let sentence: String = Template::parse(text)
            .unwrap()
            .render(&detail())
            .into_iter()
            .map(|piece| match piece {
                Piece::Words(words) => words,
                Piece::Value(value) => format!("[{value}]"),
            })
            .collect();
        assert_eq!(
            sentence,
            "Pay [9.50] [EUR] to [<b>Shop</b>] {[yes]}: [pay, list], [(not said)], [nothing]"
        );
        for bad in [
            "",
            " ",
            "a {",
            "a }",
            "{}",
            "{a.}",
            "{a{b}",
            "{a}}",
            "\u{202e}",
            &"x".repeat(501),
        ] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_members_are_listed_by_their_paths() {
        let lines = members(&detail());
        let lines: Vec<(&str, &str)> = lines
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            lines,
            [
                ("actions", "pay, list"),
                ("amount.currency", "EUR"),
                ("amount.value", "9.50"),
                ("at", "nothing"),
                ("once", "yes"),
                ("to.0.name", "<b>Shop</b>"),
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_refused(text in "\\PC{0,60}", braces in "[{}a.0]{0,12}") {
            for text in [text, braces] {
                if let Ok(template) = Template::parse(&text) {
                    let _ = template.render(&detail());
                }
            }
        }
    }
}
