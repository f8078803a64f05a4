//! The keys of clients (RFC 7591 §2) and trusted issuers that publish them at a `jwks_uri`: fetched when they are needed,
//! kept for as long as the answer says within limits, fetched again where none of them is the one that is looked for.

use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{HeaderMap, StatusCode, header};
use chrono::TimeDelta;
use quick_cache::sync::Cache;

use crate::clock::Timestamp;
use crate::domain::client::{KeySource, PublicJwks};
use crate::outbound::{Fetcher, Outgoing};

/// How many sets are kept.
const KEPT: usize = 1_000;
/// How long a set is used without asking, where the answer does not say; and what it may say.
const FRESH: TimeDelta = TimeDelta::hours(1);
const SHORTEST: TimeDelta = TimeDelta::minutes(1);
const LONGEST: TimeDelta = TimeDelta::hours(24);
/// How much longer a set is used while their owner's server does not answer.
const STALE: TimeDelta = TimeDelta::hours(6);
/// How often a set is asked for, whatever assertions name or are signed with.
const AT_MOST_EVERY: TimeDelta = TimeDelta::seconds(30);
/// How long a caller may be kept waiting for it.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Sets of keys, by their URL.
pub struct PublishedKeys {
    fetcher: Fetcher,
    known: Cache<String, Arc<Remote>>,
}

/// One URL.
#[derive(Default)]
struct Remote {
    state: RwLock<State>,
    /// Held by the one who fetches; the others wait for what comes.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    /// The keys, and until when they are fresh.
    keys: Option<(Arc<PublicJwks>, Timestamp)>,
    tried_at: Option<Timestamp>,
}

impl State {
    /// Whether nobody need be asked.
    fn serves(&self, kid: Option<&str>, at: Timestamp) -> bool {
        self.keys.as_ref().is_some_and(|(keys, fresh_until)| {
            let named = |kid: &str| keys.keys.iter().any(|key| key.kid.as_deref() == Some(kid));
            at < *fresh_until && kid.is_none_or(named)
        })
    }

    fn may_try(&self, at: Timestamp) -> bool {
        self.tried_at.is_none_or(|tried| at >= tried + AT_MOST_EVERY)
    }

    fn usable(&self, at: Timestamp) -> Option<Arc<PublicJwks>> {
        let (keys, fresh_until) = self.keys.as_ref()?;
        (at < *fresh_until + STALE).then(|| Arc::clone(keys))
    }
}

impl PublishedKeys {
    /// Keeps nothing yet. `purpose` is what requests for them are counted as, and has turns of its own.
    #[must_use]
    pub fn new(fetcher: &Fetcher, purpose: &'static str) -> Self {
        Self {
            fetcher: fetcher.apart(purpose),
            known: Cache::new(KEPT),
        }
    }

    /// What `find` finds among somebody's keys: those that were given to us, or those that are published. Where nothing is
    /// found among published ones that were kept, they are fetched anew: a key may change and not its name.
    pub async fn find<T>(
        &self,
        keys: Option<KeySource<'_>>,
        (kid, at): (Option<&str>, Timestamp),
        find: impl Fn(&PublicJwks) -> Option<T>,
    ) -> Option<T> {
        let uri = match keys? {
            KeySource::Given(keys) => return find(keys),
            KeySource::Published(uri) => uri,
        };
        let kept = self.fetch(uri, kid, at).await?;
        if let Some(found) = find(&kept) {
            return Some(found);
        }
        find(&*self.renew(uri, &kept, at).await?)
    }

    /// Keys that are newer than these, where they may be asked for.
    async fn renew(&self, uri: &str, kept: &Arc<PublicJwks>, at: Timestamp) -> Option<Arc<PublicJwks>> {
        let remote = self.known.get(uri)?;
        let _one_at_a_time = remote.fetching.lock().await;
        let state = remote.read();
        let newer = |state: &State| state.usable(at).filter(|keys| !Arc::ptr_eq(keys, kept));
        if let Some(renewed) = newer(&state) {
            return Some(renewed);
        }
        if !state.may_try(at) {
            return None;
        }
        let fetched = self.get(uri, at).await;
        newer(&remote.update(fetched, at))
    }

    /// The keys at a URL, for an assertion that names one of them, or none. Of callers at the same time one fetches.
    async fn fetch(&self, uri: &str, kid: Option<&str>, at: Timestamp) -> Option<Arc<PublicJwks>> {
        let remote = self
            .known
            .get_or_insert_with(uri, || Ok::<_, ()>(Arc::default()))
            .ok()?;
        let state = remote.read();
        if state.serves(kid, at) {
            return state.usable(at);
        }
        let _one_at_a_time = remote.fetching.lock().await;
        let state = remote.read();
        if state.serves(kid, at) || !state.may_try(at) {
            return state.usable(at);
        }
        let fetched = self.get(uri, at).await;
        remote.update(fetched, at).usable(at)
    }

    /// One request. None: the server is down, or what it says is no set of keys.
    async fn get(&self, uri: &str, at: Timestamp) -> Option<(Arc<PublicJwks>, Timestamp)> {
        let request = Outgoing::get(uri)
            .accept("application/jwk-set+json, application/json")
            .timeout(TIMEOUT);
        let answer = match self.fetcher.send(request).await {
            Ok(answer) if answer.status == StatusCode::OK => answer,
            Ok(answer) => {
                tracing::warn!(status = answer.status.as_u16(), "a jwks_uri gave no keys");
                return None;
            }
            Err(error) => {
                tracing::warn!(error = error.code(), "a jwks_uri cannot be fetched");
                return None;
            }
        };
        let document = serde_json::from_slice(&answer.body).ok()?;
        let keys = PublicJwks::usable(&document)?;
        Some((Arc::new(keys), at + fresh_for(&answer.headers)))
    }
}

impl Remote {
    fn read(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, fetched: Option<(Arc<PublicJwks>, Timestamp)>, at: Timestamp) -> State {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.tried_at = Some(at);
        if fetched.is_some() {
            state.keys = fetched;
        }
        state.clone()
    }
}

/// What `Cache-Control` says (RFC 9111 §5.2.2), within our limits.
fn fresh_for(headers: &HeaderMap) -> TimeDelta {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let directives: Vec<String> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase())
        .collect();
    if directives
        .iter()
        .any(|one| one == "no-store" || one == "no-cache")
    {
        return SHORTEST;
    }
    let max_age = directives
        .iter()
        .find_map(|directive| directive.strip_prefix("max-age="));
    max_age
        .and_then(|seconds| seconds.trim_matches('"').parse().ok())
        .and_then(TimeDelta::try_seconds)
        .map_or(FRESH, |max_age| max_age.clamp(SHORTEST, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn of(value: &str) -> TimeDelta {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(header::CACHE_CONTROL, value);
        }
        fresh_for(&headers)
    }

    #[test]
    fn keys_are_kept_for_as_long_as_the_answer_says_within_limits() {
        assert_eq!(fresh_for(&HeaderMap::new()), FRESH);
        assert_eq!(of("public, max-age=600"), TimeDelta::minutes(10));
        assert_eq!(of("Max-Age=1"), SHORTEST);
        assert_eq!(of("max-age=99999999"), LONGEST);
        assert_eq!(of("max-age=600, no-cache"), SHORTEST);
        assert_eq!(of("no-store"), SHORTEST);
        assert_eq!(of("max-age=soon"), FRESH);
    }

    proptest! {
        #[test]
        fn any_cache_control_is_within_limits(value in "\\PC{0,60}", number in any::<i64>()) {
            for text in [value, format!("max-age={number}")] {
                prop_assert!((SHORTEST..=LONGEST).contains(&of(&text)));
            }
        }
    }
}
