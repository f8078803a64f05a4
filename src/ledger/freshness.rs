//! The freshness check: what appends nothing may rely on cached aggregates only after one statement has
//! compared their sequences with the database.

use sqlx::PgPool;
use uuid::Uuid;

use super::command::Expectation;
use super::gather::Ask;
use super::{LANE, load};

/// Asks whether any of some aggregates has an event after the sequence that the caller knows.
#[derive(Clone)]
pub(super) struct Moved(pub(super) PgPool);

impl Ask for Moved {
    type Question = Vec<Expectation>;
    type Answer = bool;

    async fn ask(&self, questions: &[Vec<Expectation>]) -> Result<Vec<bool>, sqlx::Error> {
        let (mut kinds, mut ids, mut sequences, mut owners) =
            (Vec::new(), Vec::<Uuid>::new(), Vec::new(), Vec::new());
        for (owner, expectations) in questions.iter().enumerate() {
            for expectation in expectations {
                kinds.push(expectation.kind.name());
                ids.push(expectation.id);
                sequences.push(expectation.sequence);
                owners.push(owner);
            }
        }
        let places: Vec<i32> = load::retrying(|| async {
            sqlx::query_scalar("SELECT grantlog.moved($1, $2, $3, $4)")
                .bind(LANE)
                .bind(&kinds)
                .bind(&ids)
                .bind(&sequences)
                .fetch_all(&self.0)
                .await
        })
        .await?;
        let mut moved = vec![false; questions.len()];
        for place in places {
            let owner = usize::try_from(place)
                .ok()
                .and_then(|place| owners.get(place.checked_sub(1)?));
            if let Some(slot) = owner.and_then(|owner| moved.get_mut(*owner)) {
                *slot = true;
            }
        }
        Ok(moved)
    }
}
