//! The freshness check: what appends nothing may rely on cached aggregates only after one statement has
//! compared their sequences with the database.

use std::collections::HashMap;

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
        let (mut kinds, mut ids, mut sequences) = (Vec::new(), Vec::<Uuid>::new(), Vec::new());
        // Many checks rely on the same client and scopes: one probe serves them all.
        let mut owners: Vec<Vec<usize>> = Vec::new();
        let mut places: HashMap<Expectation, usize> = HashMap::new();
        for (owner, expectations) in questions.iter().enumerate() {
            for expectation in expectations {
                let place = *places.entry(*expectation).or_insert_with(|| {
                    kinds.push(expectation.kind.name());
                    ids.push(expectation.id);
                    sequences.push(expectation.sequence);
                    owners.push(Vec::new());
                    owners.len() - 1
                });
                if let Some(owners) = owners.get_mut(place) {
                    owners.push(owner);
                }
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
            let owners = usize::try_from(place)
                .ok()
                .and_then(|place| owners.get(place.checked_sub(1)?));
            for owner in owners.into_iter().flatten() {
                if let Some(slot) = moved.get_mut(*owner) {
                    *slot = true;
                }
            }
        }
        Ok(moved)
    }
}
