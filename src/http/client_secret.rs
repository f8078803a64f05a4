//! Client secrets (RFC 6749 §2.3.1), compared so that an answer tells nothing but whether they are right.
//!
//! A generated secret that is right costs a SHA-256, a chosen one an argon2id once; then its keyed digest is
//! remembered until the client's next event. A secret that is wrong costs one argon2id for each way to read it,
//! whether the client is unknown, has a generated secret, a chosen one or none at all. That work is limited twice: per
//! client and address, and per address for all clients, since names of clients cost nothing to invent.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use quick_cache::sync::Cache;

use super::error::{Rejection, TokenError};
use super::limits::{Counted, TooMany, counted_address};
use crate::app::App;
use crate::clock::Timestamp;
use crate::crypto::password::{Guess, Guessed};
use crate::domain::client::{Client, Registration, SecretVerifier};
use crate::domain::value::Digest;
use crate::ledger::Loaded;

/// Chosen secrets that verified, by a keyed digest; a client's every event invalidates what was kept of it.
pub struct SecretCache(Cache<Digest, ()>);

impl Default for SecretCache {
    fn default() -> Self {
        Self(Cache::new(10_000))
    }
}

/// What one request's secrets came to so far: rounds of a unit of work compare and count them once.
#[derive(Default)]
pub(super) struct Tried {
    address: Option<IpAddr>,
    /// The hashes that they do not match.
    wrong: Mutex<Option<Vec<String>>>,
    counted: Arc<AtomicBool>,
    /// What a throttle said of the request.
    throttled: OnceLock<Result<(), TooMany>>,
}

impl Tried {
    /// What a throttle says of the request: it is asked once, whatever round of a unit of work asks again.
    pub(super) fn throttled(&self, ask: impl FnOnce() -> Result<(), TooMany>) -> Result<(), TooMany> {
        *self.throttled.get_or_init(ask)
    }

    /// Says where the request came from.
    pub(super) fn set_address(&mut self, address: Option<IpAddr>) {
        self.address = address.map(counted_address);
    }

    /// Whether the failure is counted already.
    pub(super) fn is_counted(&self) -> bool {
        self.counted.load(Ordering::Relaxed)
    }

    fn is_wrong(&self, hashes: &[String]) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.as_deref() == Some(hashes)
    }

    fn set_wrong(&self, hashes: Vec<String>) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(hashes);
    }

    fn counted_under(&self, client_id: &str) -> Vec<Counted> {
        let all = self.address.map(Counted::Clients);
        std::iter::once(Counted::Client(client_id.to_owned(), self.address))
            .chain(all)
            .collect()
    }
}

/// Secrets that are tried, counted when they were wrong, and not tried where too many were wrong while they waited.
struct Attempt {
    app: App,
    under: Vec<Counted>,
    counted: Arc<AtomicBool>,
}

impl Guess for Attempt {
    fn may_be_made(&self) -> bool {
        let at = self.app.ledger.clock().now();
        self.app.limits.check_failures(&self.under, at).is_ok()
    }

    fn failed(&self) {
        self.counted.store(true, Ordering::Relaxed);
        let at = self.app.ledger.clock().now();
        self.app.limits.record_failure(&self.under, at);
    }
}

/// The number of the client's secret that is right at this moment, under one of the ways to read the presented one.
pub(super) async fn verify(
    app: &App,
    (client_id, presented, tried): (&str, &[&str], &Tried),
    client: Option<(&Loaded<Client>, &Registration)>,
    at: Timestamp,
) -> Result<Option<u32>, Rejection<TokenError>> {
    let registration = client.map(|(_, registration)| registration);
    let chosen = match known(registration, presented, at) {
        Known::Right(number) => return Ok(Some(number)),
        Known::Chosen(chosen) => chosen,
    };
    let pairs: Vec<(&str, &Chosen)> = presented
        .iter()
        .flat_map(|text| chosen.iter().map(|chosen| (*text, chosen)))
        .collect();
    let remembered =
        |(text, chosen): &(&str, &Chosen)| client.map(|(client, _)| digest(app, client, text, &chosen.hash));
    let is_remembered =
        |pair: &&_| remembered(pair).is_some_and(|digest| app.secrets.0.get(&digest).is_some());
    if let Some((_, right)) = pairs.iter().find(is_remembered) {
        return Ok(Some(right.number));
    }
    let hashes: Vec<String> = chosen.iter().map(|chosen| chosen.hash.clone()).collect();
    if presented.is_empty() || tried.is_wrong(&hashes) {
        return Ok(None);
    }
    let compared: Vec<(String, Option<String>)> = if pairs.is_empty() {
        presented.iter().map(|text| ((*text).to_owned(), None)).collect()
    } else {
        pairs
            .iter()
            .map(|(text, chosen)| ((*text).to_owned(), Some(chosen.hash.clone())))
            .collect()
    };
    let under = tried.counted_under(client_id);
    let attempt = Attempt {
        app: app.clone(),
        under: under.clone(),
        counted: Arc::clone(&tried.counted),
    };
    match app.operations.hasher.guess_one_of(compared, attempt).await? {
        Guessed::Right(place) => {
            let right = pairs.get(place);
            if let Some(digest) = right.and_then(remembered) {
                app.secrets.0.insert(digest, ());
            }
            Ok(right.map(|(_, chosen)| chosen.number))
        }
        Guessed::Wrong => {
            tried.set_wrong(hashes);
            Ok(None)
        }
        Guessed::NotMade => {
            let wait = app.limits.check_failures(&under, app.ledger.clock().now());
            Err(wait.err().unwrap_or(TooMany { retry_after: 1 }).into())
        }
    }
}

/// A chosen secret of a client.
struct Chosen {
    number: u32,
    hash: String,
}

/// What can be said of a presented secret without hashing.
enum Known {
    /// It is the generated one of this number.
    Right(u32),
    /// It may be one of these.
    Chosen(Vec<Chosen>),
}

fn known(client: Option<&Registration>, presented: &[&str], at: Timestamp) -> Known {
    let mut chosen = Vec::new();
    for secret in client.into_iter().flat_map(|client| client.valid_secrets(at)) {
        match &secret.verifier {
            SecretVerifier::Sha256(digest) => {
                let is_it = |text: &&str| digest.matches(&Digest::of(text.as_bytes()));
                if presented.iter().any(is_it) {
                    return Known::Right(secret.number);
                }
            }
            SecretVerifier::Argon2id(hash) | SecretVerifier::Bcrypt(hash) => chosen.push(Chosen {
                number: secret.number,
                hash: hash.clone(),
            }),
            // Its client presents assertions, never the secret itself.
            SecretVerifier::Key(_) => {}
        }
    }
    Known::Chosen(chosen)
}

fn digest(app: &App, client: &Loaded<Client>, text: &str, hash: &str) -> Digest {
    app.ledger.vault().master().form_token(&[
        b"client secret",
        client.id.as_bytes(),
        &client.sequence.to_be_bytes(),
        hash.as_bytes(),
        text.as_bytes(),
    ])
}
