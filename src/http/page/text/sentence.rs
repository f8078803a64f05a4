//! A sentence around something that is not ours to write: a name, an address, a link.

use maud::{Markup, html};

/// A text with one place in it. Languages put it where their word order wants it.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::page) struct Sentence {
    before: &'static str,
    after: &'static str,
}

impl Sentence {
    /// The sentence of a text with one `{}`. Texts are constants, so one without its place does not compile.
    pub(super) const fn of(text: &'static str) -> Self {
        let (mut rest, mut at) = (text.as_bytes(), 0);
        while let [first, tail @ ..] = rest {
            if matches!(rest, [b'{', b'}', ..]) {
                break;
            }
            assert!(*first != b'{' && *first != b'}', "a brace by itself");
            (rest, at) = (tail, at + 1);
        }
        assert!(!rest.is_empty(), "there is no {{}} in it");
        let (before, after) = text.split_at(at);
        let (_, after) = after.split_at(2);
        Self { before, after }
    }

    /// The sentence as markup, with what is put into its place escaped already.
    pub(in crate::http::page) fn around(self, inner: &Markup) -> Markup {
        html! { (self.before) (inner) (self.after) }
    }

    /// The sentence as text, for a title or an attribute.
    pub(in crate::http::page) fn with(self, inner: &str) -> String {
        format!("{}{inner}{}", self.before, self.after)
    }
}

#[cfg(test)]
impl serde::Serialize for Sentence {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.with("{}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_sentence_is_escaped_and_not_read_as_a_place() {
        let sentence = Sentence::of("{} bittet <um> Zugriff");
        let name = "{} <b>";
        let markup = sentence.around(&html! { bdi { (name) } }).into_string();
        assert_eq!(markup, "<bdi>{} &lt;b&gt;</bdi> bittet &lt;um&gt; Zugriff");
        assert_eq!(Sentence::of("an {}").with(name), "an {} <b>");
    }
}
