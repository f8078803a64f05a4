//! The user code (RFC 8628 §6.1): eight letters that cannot be mistaken for one another and spell no word, since
//! there is no vowel among them. 20 to the power of 8, or 34 bits: enough for minutes, under limits.

use crate::app::App;
use crate::clock::{Randomness, RandomnessUnavailable};
use crate::domain::value::Digest;

/// RFC 8628 §6.1: the consonants without Y.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// How many of them.
const LENGTH: usize = 8;

/// The most bytes that are looked at: with whatever a person may put between the letters.
const MAX_BYTES: usize = 64;

/// A user code, as its letters alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserCode(String);

impl UserCode {
    /// A fresh one; each is as likely as any other.
    pub(super) fn generate(random: &Randomness) -> Result<Self, RandomnessUnavailable> {
        let mut code = String::with_capacity(LENGTH);
        while code.len() < LENGTH {
            let bytes: [u8; 2 * LENGTH] = random.bytes()?;
            // 240 is the largest multiple of 20 in a byte.
            let letters = bytes.iter().filter(|byte| **byte < 240);
            let letters = letters.filter_map(|byte| LETTERS.get(usize::from(byte % 20)));
            code.extend(
                letters
                    .take(LENGTH - code.len())
                    .map(|letter| char::from(*letter)),
            );
        }
        Ok(Self(code))
    }

    /// What somebody typed: case counts for nothing, nor does what is neither letter nor digit.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let code: String = text
            .chars()
            .filter(|c| c.is_alphanumeric())
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let is_one = code.len() == LENGTH && code.bytes().all(|letter| LETTERS.contains(&letter));
        is_one.then_some(Self(code))
    }

    /// What it is found by.
    pub(super) fn digest(&self, app: &App) -> Digest {
        Digest(
            app.ledger
                .vault()
                .master()
                .name_digest("device user code", &self.0),
        )
    }
}

impl std::fmt::Display for UserCode {
    /// As people are shown it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, second) = self.0.split_at(LENGTH / 2);
        write!(f, "{first}-{second}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_user_code_is_read_however_it_is_typed(
            letters in "[BCDFGHJKLMNPQRSTVWXZ]{8}",
            lower in proptest::collection::vec(any::<bool>(), 8),
            between in proptest::collection::vec("[ .,:/_\u{2013}\u{a0}-]{0,2}", 9),
        ) {
            let mut typed = between[8].clone();
            for ((letter, lower), between) in letters.chars().zip(&lower).zip(&between) {
                typed.push(if *lower { letter.to_ascii_lowercase() } else { letter });
                typed.push_str(between);
            }
            prop_assume!(typed.len() <= MAX_BYTES);
            let code = UserCode::parse(&typed).unwrap();
            prop_assert_eq!(&code.0, &letters);
            prop_assert_eq!(UserCode::parse(&code.to_string()), Some(code));
        }

        #[test]
        fn any_text_is_a_user_code_or_refused(text in "\\PC{0,80}", almost in "[A-Za-z0-9 -]{6,10}") {
            for text in [text, almost] {
                if let Some(UserCode(code)) = UserCode::parse(&text) {
                    prop_assert!(code.len() == LENGTH && code.bytes().all(|letter| LETTERS.contains(&letter)));
                }
            }
        }
    }

    #[test]
    fn letters_and_digits_that_no_code_has_are_not_left_out() {
        for bad in [
            "",
            "BCDF-GHJ",
            "BCDF-GHJKL",
            "BCDF-GHJA",
            "BCDF-GHJ0",
            "BCDF-GHJ\u{411}",
        ] {
            assert_eq!(UserCode::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn fresh_codes_use_the_whole_alphabet_and_differ() {
        let random = Randomness::default();
        let codes: Vec<String> = (0..500).map(|_| UserCode::generate(&random).unwrap().0).collect();
        let letters: std::collections::BTreeSet<u8> = codes.iter().flat_map(|code| code.bytes()).collect();
        assert_eq!(letters, LETTERS.iter().copied().collect());
        assert_eq!(codes.iter().collect::<std::collections::BTreeSet<_>>().len(), 500);
    }
}
