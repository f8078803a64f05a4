//! DPoP (RFC 9449): a request proves to hold a key with a JWT that it signs, and what it is given is good with that
//! key only.

mod answer;
mod nonce;
mod proof;

pub(super) use answer::tell;
pub use proof::ALGORITHMS;

use axum::http::{HeaderMap, HeaderName};
use chrono::TimeDelta;
use tokio::sync::OnceCell;

use self::nonce::Nonces;
use self::proof::{AHEAD, Expected, Proof};
use super::context::Origin;
use super::error::{ApiError, Rejection, TokenError};
use crate::app::App;
use crate::config::{DpopNonce, Settings};
use crate::domain::client::{AssertionAlgorithm, ClientMetadata};
use crate::domain::confirmation::Confirmation;
use crate::domain::refusal::RefusalReason;
use crate::ledger::LedgerError;

/// The header that carries a proof.
const HEADER: HeaderName = HeaderName::from_static("dpop");
/// The `Authorization` scheme, and the `token_type`, of tokens that are bound to a JWK.
pub const SCHEME: &str = "DPoP";

/// The proof of a request, good but for its single use.
pub struct PresentedProof {
    proof: Proof,
    lifetime: TimeDelta,
    /// Whether it is used for the first time.
    is_first_use: OnceCell<bool>,
}

/// Why a proof is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofRefusal {
    reason: RefusalReason,
    /// Whether a nonce is all that it lacks.
    needs_nonce: bool,
}

/// Whether a text has a proof's form; for the tests of all parsers.
#[doc(hidden)]
#[must_use]
pub fn is_proof(text: &str) -> bool {
    Proof::parse(text).is_some()
}

impl ProofRefusal {
    fn invalid(reason: RefusalReason) -> Self {
        Self {
            reason,
            needs_nonce: false,
        }
    }
}

impl From<ProofRefusal> for Rejection<TokenError> {
    fn from(refusal: ProofRefusal) -> Self {
        let error = if refusal.needs_nonce {
            TokenError::UseDpopNonce
        } else {
            TokenError::InvalidDpopProof
        };
        Self::new(error, refusal.reason)
    }
}

impl From<ProofRefusal> for Rejection<ApiError> {
    fn from(refusal: ProofRefusal) -> Self {
        let error = if refusal.needs_nonce {
            ApiError::UseDpopNonce
        } else {
            ApiError::InvalidDpopProof
        };
        Self::new(error, refusal.reason)
    }
}

impl PresentedProof {
    /// The proof of a request, where it has one; it must be for this very request and for the access token that came
    /// with it (RFC 9449 §4.3).
    pub fn read(
        app: &App,
        origin: &Origin,
        headers: &HeaderMap,
        access_token: Option<&str>,
    ) -> Result<Option<Self>, ProofRefusal> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(ProofRefusal::invalid(RefusalReason::DpopHeaderDoubled));
        }
        let proof = value.to_str().ok().and_then(Proof::parse);
        let proof = proof.ok_or(ProofRefusal::invalid(RefusalReason::DpopMalformed))?;
        let settings = &app.settings;
        let (at, lifetime) = (
            app.ledger.clock().now(),
            TimeDelta::seconds(i64::from(settings.dpop_proof_lifetime)),
        );
        let expected = Expected {
            method: origin.method.as_str(),
            // Never of the Host header: a proof for another host must not do here.
            uris: &settings.urls_of(&origin.path).collect::<Vec<_>>(),
            access_token,
            lifetime,
            at,
        };
        proof.check(&expected).map_err(ProofRefusal::invalid)?;
        if let Some(nonces) = nonces(app)
            && !proof.nonce().is_some_and(|nonce| nonces.accepts(nonce, at))
        {
            return Err(ProofRefusal {
                reason: RefusalReason::DpopNonce,
                needs_nonce: true,
            });
        }
        Ok(Some(Self {
            proof,
            lifetime,
            is_first_use: OnceCell::new(),
        }))
    }

    /// The key that it proves to hold.
    #[must_use]
    pub fn confirmation(&self) -> Confirmation {
        Confirmation::JwkThumbprint(self.proof.thumbprint())
    }

    /// What it is signed with.
    #[must_use]
    pub fn algorithm(&self) -> AssertionAlgorithm {
        self.proof.algorithm()
    }

    /// Uses it up (RFC 9449 §11.1), on all nodes at once; asked again by the same request, it says the same.
    pub async fn use_up(&self, app: &App) -> Result<Result<(), ProofRefusal>, LedgerError> {
        let first = self.is_first_use.get_or_try_init(|| self.note(app)).await?;
        Ok(if *first {
            Ok(())
        } else {
            Err(ProofRefusal::invalid(RefusalReason::DpopReplayed))
        })
    }

    /// Notes its `jti`. False: it was used before.
    async fn note(&self, app: &App) -> Result<bool, LedgerError> {
        // Not tried again where the answer is lost: that would look like a second use.
        let inserted = sqlx::query(
            "INSERT INTO grantlog.dpop_proofs (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(self.proof.single_use().0.as_slice())
        // Another node's clock may be behind.
        .bind(self.proof.ends(self.lifetime) + AHEAD)
        .execute(app.ledger.pool())
        .await?;
        Ok(inserted.rows_affected() == 1)
    }
}

/// Whether this client may sign proofs with this algorithm (FAPI 2.0 Security Profile §5.4.1).
pub fn check_algorithm(client: &ClientMetadata, algorithm: AssertionAlgorithm) -> Result<(), ProofRefusal> {
    if client.may_sign_with(algorithm) {
        return Ok(());
    }
    Err(ProofRefusal::invalid(RefusalReason::DpopAlgorithm))
}

/// The nonces; none where proofs need none.
fn nonces(app: &App) -> Option<Nonces<'_>> {
    let Settings {
        dpop_nonce,
        dpop_nonce_lifetime: lifetime,
        ..
    } = app.settings;
    (dpop_nonce == DpopNonce::Required).then(|| Nonces {
        master: app.ledger.vault().master(),
        lifetime,
    })
}
