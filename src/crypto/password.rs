//! Passwords: argon2id on a bounded pool off the async threads, so that a flood of logins cannot starve token
//! traffic. Imported bcrypt hashes are compared too, and replaced at the first login that succeeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::CryptoError;
use crate::clock::Randomness;

/// The most callers that wait for a hash; more are told to come back.
pub(crate) const MAX_WAITING: usize = 256;

/// The highest bcrypt cost that is compared: about a second. (PHP's default is 10, Laravel's 12.)
pub const MAX_BCRYPT_COST: u32 = 14;
/// The most memory, in KiB, that an imported argon2 hash may ask for.
pub const MAX_ARGON2_KIB: u32 = 256 * 1024;
/// The most passes that an imported argon2 hash may ask for.
pub const MAX_ARGON2_PASSES: u32 = 16;

/// Why a password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already.
    #[error("too many logins at once")]
    Overloaded,
    /// The hash function failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The wrong password.
    No,
    /// The right one.
    Yes,
    /// The right one, hashed under weaker parameters than today's: here is its new hash.
    YesRehash(String),
}

/// What a comparison asks before it begins, and tells when it was wrong: it begins when a slot is free, which may be
/// long after the request came, and goes on where the request is given up.
pub trait Guess: Send + 'static {
    /// Whether it may still be made.
    fn may_be_made(&self) -> bool;
    /// It was wrong.
    fn failed(&self);
}

/// What a comparison with several hashes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guessed {
    /// No more may be made.
    NotMade,
    /// None matches.
    Wrong,
    /// That one matches, counted from 0.
    Right(usize),
}

/// Hashes and checks passwords (argon2id, RFC 9106, 19 MiB, two passes).
#[derive(Clone)]
pub struct Hasher {
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    random: Randomness,
    /// What an unknown user's password is compared with, so that it costs the same.
    decoy: Arc<str>,
}

impl Hasher {
    /// A hasher that works on `slots` passwords at once.
    pub fn new(slots: usize, random: Randomness) -> Result<Self, CryptoError> {
        let decoy = hash_now("a password that nobody has", &random)?;
        Ok(Self {
            slots: Arc::new(Semaphore::new(slots.max(1))),
            waiting: Arc::default(),
            random,
            decoy: decoy.into(),
        })
    }

    /// The PHC string of a password.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let random = self.random.clone();
        Ok(self.run(move || hash_now(&password, &random)).await??)
    }

    /// Compares a password with a PHC string or a bcrypt hash, or with a decoy where there is none.
    pub async fn verify(&self, password: String, phc: Option<String>) -> Result<Verified, PasswordError> {
        let verified = self.guess(password, phc, Anybody).await?;
        Ok(verified.unwrap_or(Verified::No))
    }

    /// As [`Self::verify`], for somebody whose guesses are limited: none where no more may be made by the time
    /// that a slot is free.
    pub async fn guess(
        &self,
        password: String,
        phc: Option<String>,
        guess: impl Guess,
    ) -> Result<Option<Verified>, PasswordError> {
        let (random, decoy) = (self.random.clone(), Arc::clone(&self.decoy));
        let verified = self
            .run(move || {
                if !guess.may_be_made() {
                    return Ok(None);
                }
                let compared = compare(&password, phc.as_deref().unwrap_or(&decoy), &random)?;
                let verified = if phc.is_some() { compared } else { Verified::No };
                if verified == Verified::No {
                    guess.failed();
                }
                Ok::<_, CryptoError>(Some(verified))
            })
            .await??;
        Ok(verified)
    }

    /// Compares secrets, each with its hash or with a decoy where it has none, up to the first that matches: one
    /// guess, however many ways there are to read what was presented.
    pub async fn guess_one_of(
        &self,
        pairs: Vec<(String, Option<String>)>,
        guess: impl Guess,
    ) -> Result<Guessed, PasswordError> {
        let (random, decoy) = (self.random.clone(), Arc::clone(&self.decoy));
        let guessed = self
            .run(move || {
                if !guess.may_be_made() {
                    return Ok(Guessed::NotMade);
                }
                for (place, (secret, hash)) in pairs.iter().enumerate() {
                    let compared = compare(secret, hash.as_deref().unwrap_or(&decoy), &random)?;
                    if hash.is_some() && compared != Verified::No {
                        return Ok(Guessed::Right(place));
                    }
                }
                guess.failed();
                Ok::<_, CryptoError>(Guessed::Wrong)
            })
            .await??;
        Ok(guessed)
    }

    /// Runs costly work on the bounded pool.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let waiting = Waiting::enter(Arc::clone(&self.waiting))?;
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_| PasswordError::Overloaded)?;
        // The work cannot be called off: it holds its slot to its end, also where nobody waits for it any more.
        let done = tokio::task::spawn_blocking(move || {
            let _held = (slot, waiting);
            work()
        });
        Ok(done.await.map_err(|_| CryptoError)?)
    }
}

/// A comparison that nobody limits.
struct Anybody;

impl Guess for Anybody {
    fn may_be_made(&self) -> bool {
        true
    }

    fn failed(&self) {}
}

/// Counts a caller for as long as it waits or its work goes on, also when it goes away.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn enter(count: Arc<AtomicUsize>) -> Result<Self, PasswordError> {
        let waiting = Self(count);
        if waiting.0.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return Err(PasswordError::Overloaded);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn compare(password: &str, hash: &str, random: &Randomness) -> Result<Verified, CryptoError> {
    if let Some(cost) = bcrypt_cost(hash) {
        let same = cost <= MAX_BCRYPT_COST && bcrypt::verify(password, hash).unwrap_or(false);
        return if same {
            hash_now(password, random).map(Verified::YesRehash)
        } else {
            Ok(Verified::No)
        };
    }
    let Ok(parsed) = PasswordHash::new(hash) else {
        return Ok(Verified::No);
    };
    if Argon2::default()
        .verify_password(password.as_bytes(), &parsed)
        .is_err()
    {
        return Ok(Verified::No);
    }
    if Params::try_from(&parsed).is_ok_and(|stored| is_weaker(&stored)) {
        return hash_now(password, random).map(Verified::YesRehash);
    }
    Ok(Verified::Yes)
}

/// The cost of a bcrypt hash in PHP's or OpenBSD's spelling (`$2y$12$…`); none where it is something else.
#[must_use]
pub fn bcrypt_cost(hash: &str) -> Option<u32> {
    let rest = ["$2y$", "$2b$", "$2a$"]
        .iter()
        .find_map(|prefix| hash.strip_prefix(prefix))?;
    let (cost, digest) = rest.split_once('$')?;
    let is_digest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    let well_formed = cost.len() == 2 && digest.len() == 53 && digest.bytes().all(is_digest);
    cost.parse()
        .ok()
        .filter(|cost| well_formed && (4..=31).contains(cost))
}

/// Whether this is an argon2 hash in PHC form whose check costs no more than [`MAX_ARGON2_KIB`] and passes.
#[must_use]
pub fn is_argon2(hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else {
        return false;
    };
    Algorithm::try_from(parsed.algorithm).is_ok()
        && parsed.hash.is_some()
        && Params::try_from(&parsed)
            .is_ok_and(|params| params.m_cost() <= MAX_ARGON2_KIB && params.t_cost() <= MAX_ARGON2_PASSES)
}

fn is_weaker(stored: &Params) -> bool {
    let today = Params::default();
    stored.m_cost() < today.m_cost() || stored.t_cost() < today.t_cost()
}

fn hash_now(password: &str, random: &Randomness) -> Result<String, CryptoError> {
    let salt: [u8; 16] = random.bytes().map_err(|_| CryptoError)?;
    let salt = SaltString::encode_b64(&salt).map_err(|_| CryptoError)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
    Ok(argon2
        .hash_password(password.as_bytes(), &salt)
        .map_err(|_| CryptoError)?
        .to_string())
}
