//! Where users log in.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::SubjectId;
use crate::policy::memory::{Measure, Recent};
use crate::policy::observed::{Kind, Kinds, Observed, Place};
use crate::policy::rule::{Finding, Fold};

/// Two logins too far apart.
pub(super) struct ImpossibleTravel {
    /// The threshold is a speed in km/h.
    pub(super) measure: Measure,
}

/// Nearer than this is no journey.
const LEAST_KILOMETRES: f64 = 200.0;

/// Position, when, latitude, longitude, radius.
type LastLogin = (i64, Timestamp, f64, f64, f64);

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Logins {
    /// The last login of each user.
    last: Recent<SubjectId, Option<LastLogin>>,
    /// Whose session it is: only its first event says.
    users: Recent<Uuid, Option<SubjectId>>,
}

impl Fold for ImpossibleTravel {
    type State = Logins;

    const WANTS: Kinds = Kinds::of(&[
        Kind::SessionStarted,
        Kind::SessionReauthenticated,
        Kind::SubjectKeyDestroyed,
    ]);

    const PLACES: bool = true;

    fn observe(&self, state: &mut Logins, event: &Observed) -> Vec<Finding> {
        if event.kind == Kind::SubjectKeyDestroyed {
            // Where an erased user was is forgotten with the key to it.
            let erased = SubjectId(event.aggregate);
            state.last.take(&erased);
            state.users.forget_where(|user| *user == Some(erased));
            return Vec::new();
        }
        if let (Kind::SessionStarted, Some(subject)) = (event.kind, event.facts.subject) {
            *state.users.touch(event.aggregate, event.at) = Some(subject);
        }
        let subject = state.users.get(&event.aggregate).and_then(|user| *user);
        let (Some(subject), Some(place)) = (subject, event.place) else {
            return Vec::new();
        };
        let here = (
            event.position,
            event.at,
            place.latitude,
            place.longitude,
            place.radius,
        );
        let before = state.last.touch(subject, event.at).replace(here);
        let Some((position, at, latitude, longitude, radius)) = before else {
            return Vec::new();
        };
        let then = Place {
            latitude,
            longitude,
            radius,
        };
        let between = event.at - at;
        // What both may be nearer to each other than the database says.
        let distance = kilometres(then, place) - then.radius - place.radius;
        #[expect(clippy::cast_precision_loss, reason = "seconds within a window, and a speed")]
        let (hours, fastest) = (
            between.num_seconds().max(1) as f64 / 3600.0,
            self.measure.threshold as f64,
        );
        if between >= self.measure.window || distance < LEAST_KILOMETRES || distance / hours <= fastest {
            return Vec::new();
        }
        // How far is a personal datum of sorts, and in the events that are named.
        let summary = format!(
            "Two logins of the user within {} minutes came from places that nobody travels between in that time.",
            between.num_minutes().max(1)
        );
        let mut finding = Finding::at(event, summary).resting_on(vec![position, event.position], 2);
        finding.about.subject = Some(subject);
        vec![finding]
    }
}

/// Along the surface of the Earth (haversine formula).
fn kilometres(one: Place, other: Place) -> f64 {
    const RADIUS: f64 = 6371.0;
    let (from, to) = (one.latitude.to_radians(), other.latitude.to_radians());
    let half_latitude = (to - from) / 2.0;
    let half_longitude = (other.longitude - one.longitude).to_radians() / 2.0;
    let a = half_latitude.sin().powi(2) + from.cos() * to.cos() * half_longitude.sin().powi(2);
    2.0 * RADIUS * a.sqrt().min(1.0).asin()
}
