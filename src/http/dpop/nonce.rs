//! The server's nonces (RFC 9449 §8 and §9): a nonce is the number of a period of time and a MAC of it under the
//! master key, so that every node gives out the same and accepts what another gave, and nothing is kept. One that is
//! given out is accepted for one to two more periods.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::crypto::master::MasterKey;

/// The nonces of one lifetime.
#[derive(Clone, Copy)]
pub(super) struct Nonces<'a> {
    /// What authenticates them.
    pub(super) master: &'a MasterKey,
    /// Seconds that a nonce is accepted for at most.
    pub(super) lifetime: u32,
}

impl Nonces<'_> {
    /// The nonce to use from now on.
    pub(super) fn current(self, at: Timestamp) -> String {
        self.of(self.period(at))
    }

    /// Whether a nonce was given out here, and is not over. Clients are given the next with every answer, so each
    /// has it half a lifetime before this one ends.
    pub(super) fn accepts(self, nonce: &str, at: Timestamp) -> bool {
        let period = self.period(at);
        // The next: a node whose clock is a little ahead has begun to give it out.
        [period, period.saturating_sub(1), period.saturating_add(1)]
            .into_iter()
            .any(|period| {
                aws_lc_rs::constant_time::verify_slices_are_equal(
                    self.of(period).as_bytes(),
                    nonce.as_bytes(),
                )
                .is_ok()
            })
    }

    /// Each is half a lifetime long.
    fn period(self, at: Timestamp) -> i64 {
        at.timestamp().div_euclid(i64::from((self.lifetime / 2).max(1)))
    }

    fn of(self, period: i64) -> String {
        let parts: [&[u8]; 3] = [b"dpop nonce", &self.lifetime.to_be_bytes(), &period.to_be_bytes()];
        let mac = self.master.form_token(&parts);
        let (half, _) = mac.0.split_at(16);
        URL_SAFE_NO_PAD.encode(half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static MASTER: LazyLock<MasterKey> = LazyLock::new(|| MasterKey::from_bytes([1; 32]));

    fn nonces(lifetime: u32) -> Nonces<'static> {
        Nonces {
            master: &MASTER,
            lifetime,
        }
    }

    #[test]
    fn a_nonce_of_another_key_or_lifetime_is_none_of_ours() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let other = MasterKey::from_bytes([2; 32]);
        let foreign = Nonces {
            master: &other,
            lifetime: 300,
        };
        assert!(!nonces(300).accepts(&foreign.current(at), at));
        assert!(!nonces(300).accepts(&nonces(310).current(at), at));
        assert!(!nonces(300).accepts("", at));
    }

    proptest! {
        #[test]
        fn a_nonce_holds_for_half_its_lifetime_at_least_and_never_longer_than_all_of_it(
            seconds in 0_i64..4_000_000_000,
            lifetime in 20_u32..3600,
            text in "\\PC{0,40}",
        ) {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            let nonces = nonces(lifetime);
            let nonce = nonces.current(at);
            let after = |seconds: u32| at + TimeDelta::seconds(i64::from(seconds));
            prop_assert!(nonces.accepts(&nonce, at) && nonces.accepts(&nonce, after(lifetime / 2)));
            prop_assert!(!nonces.accepts(&nonce, after(lifetime)));
            // Whoever is given the next one while this one holds is never without.
            let next = nonces.current(after(lifetime / 2));
            prop_assert!(next != nonce && nonces.accepts(&next, after(lifetime / 2)));
            prop_assert!(!nonces.accepts(&text, at));
        }
    }
}
