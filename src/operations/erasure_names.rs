//! Where administrators' words name a user. Reasons and notes are on the ledger in clear, whether they came from the
//! command line or over the administration API, and outlive an erasure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::user::Profile;
use super::{OperationError, Operations};
use crate::domain::openid::Claim;
use crate::ids::SubjectId;
use crate::ledger::{LANE, LedgerError};
use crate::trail::key::words;
use crate::trail::{Key, Order, Query, Stretch, positions};

/// Events that are looked through for each name.
const MAX_NAMED: usize = 10_000;
/// Shorter names are in too many texts.
const MIN_NAME: usize = 3;

/// What an administrator may call a user, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Looked for anywhere in a text.
    whole: BTreeSet<String>,
    /// Looked for as words of a text: the single words of the user's names.
    single: BTreeSet<String>,
}

impl Names {
    pub(super) fn of(profile: &Profile) -> Self {
        let claim = |claim| profile.claims.get(&claim).and_then(Value::as_str);
        let phone = claim(Claim::PhoneNumber).map(|number| number.trim_start_matches('+'));
        let names = [
            profile.name.as_deref(),
            claim(Claim::GivenName),
            claim(Claim::MiddleName),
            claim(Claim::FamilyName),
            claim(Claim::Nickname),
        ];
        let account = [Some(profile.username.as_str()), profile.email.as_deref(), phone];
        let whole = names.into_iter().take(1).chain(account).flatten();
        let single = names.into_iter().flatten().flat_map(words);
        let long = |name: &String| name.chars().count() >= MIN_NAME;
        Self {
            whole: whole
                .map(|name| name.trim().to_lowercase())
                .filter(long)
                .collect(),
            single: single.filter(long).collect(),
        }
    }

    /// Whether a text has one of them in it.
    pub(super) fn are_in(&self, text: &str) -> bool {
        let lower = text.to_lowercase();
        let of_text = text.split(|c: char| !c.is_alphanumeric());
        self.whole.iter().any(|name| lower.contains(name))
            || of_text
                .map(str::to_lowercase)
                .any(|word| self.single.contains(&word))
    }

    /// What the index of the trail is asked for each.
    fn queries(&self) -> impl Iterator<Item = Query> {
        let whole = self.whole.iter().map(|name| words(name));
        let names = whole.chain(self.single.iter().map(|word| vec![word.clone()]));
        names.filter(|words| !words.is_empty()).map(|words| {
            let words = words.into_iter().map(Key::Word);
            words.fold(Query::new(), |query, word| query.and(&word))
        })
    }

    /// A reason that names the user would stay on the ledger in clear.
    pub(super) fn refuse_in(&self, reason: Option<&str>) -> Result<(), OperationError> {
        if reason.is_some_and(|reason| self.are_in(reason)) {
            return Err(OperationError::invalid(
                "reason",
                "it names the user, and would stay on the ledger when the user is erased: name the request instead",
            ));
        }
        Ok(())
    }
}

impl Operations {
    /// Where administrators' words, whatever they are about, name this user.
    pub(super) async fn named_in_clear(
        &self,
        subject: SubjectId,
        names: &Names,
    ) -> Result<Vec<i64>, LedgerError> {
        let mut connection = self.ledger.pool().acquire().await?;
        let mut asked = BTreeSet::new();
        for query in names.queries() {
            let order = (Order::NewestFirst, MAX_NAMED);
            let found = positions(&mut connection, &query, Stretch::ALL, order).await?;
            asked.extend(found.positions);
        }
        // What a refusal has for a reason are the server's words, and those of a legal hold are sealed. Reasons can stand
        // within other members.
        let texts: Vec<(i64, String)> = sqlx::query_as(
            "SELECT position, concat_ws(' ', jsonb_path_query_array(payload::jsonb, 'lax $.**.reason'), \
                    jsonb_path_query_array(payload::jsonb, 'lax $.**.note'), metadata->>'note') \
             FROM grantlog.ledger WHERE lane = $1 AND aggregate_type <> 'refusal' \
               AND event_type NOT IN ('LegalHoldPlaced', 'LegalHoldLifted') \
               AND (position = ANY ($2) OR (aggregate_type = 'user' AND aggregate_id = $3)) ORDER BY position",
        )
        .bind(LANE)
        .bind(asked.into_iter().collect::<Vec<_>>())
        .bind(subject.0)
        .fetch_all(&mut *connection)
        .await?;
        let told = texts.into_iter().filter(|(_, text)| names.are_in(text));
        Ok(told.map(|(position, _)| position).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_a_user_by_any_of_the_names_or_a_word_of_one_in_any_case() {
        let claims = [
            (Claim::GivenName, "Augusta Ada"),
            (Claim::FamilyName, "King-Noel"),
            (Claim::PhoneNumber, "+15550104477"),
            (Claim::Gender, "female"),
        ];
        let profile = Profile {
            username: "ada.l".to_owned(),
            name: Some("Ada of Lovelace".to_owned()),
            email: Some("Countess@example.com".to_owned()),
            claims: claims.map(|(claim, text)| (claim, text.into())).into(),
            updated_at: None,
        };
        let names = Names::of(&profile);
        for text in [
            "ADA asked",
            "as ada.l wished",
            "Lovelace, by letter",
            "wrote from countess@EXAMPLE.com",
            "augusta called",
            "Ms Noel",
            "from 15550104477",
        ] {
            assert!(names.are_in(text), "{text}");
        }
        for text in ["request 4711", "", "a d a", "an adapter", "of course", "female"] {
            assert!(!names.are_in(text), "{text}");
        }
    }
}
