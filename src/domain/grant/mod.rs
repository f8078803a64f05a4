//! The `grant` aggregate: one authorization (or one client-credentials issuance) and everything that descends
//! from it: the code, the access tokens, the refresh generations.

mod command;
mod decide;
mod device;
mod event;
mod exchange;
mod management;
mod refusal;

pub use command::*;
pub use decide::Decision;
pub use device::*;
pub use event::*;
pub use exchange::*;
pub use management::*;
pub use refusal::*;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::aggregate;
use super::client::GrantType;
use super::confirmation::Confirmation;
use super::openid::{Authentication, IndividualClaims, OPENID};
use super::pkce::Challenge;
use super::value::{Digest, ScopeSet, Sealed};
use crate::clock::Timestamp;
use crate::ids::{ClientKey, GrantId, SessionId, SubjectId};

/// A grant's state. Its size does not grow with its age: older generations are rows of the ledger, not entries
/// here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The sequence of its last event.
    pub sequence: u32,
    /// None before its first event.
    pub family: Option<Box<Family>>,
}

/// What was granted, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// To whom.
    pub client: ClientKey,
    /// By whom; none where the client acts for itself.
    pub subject: Option<SubjectId>,
    /// How it began.
    pub flow: GrantType,
    /// Whether its first refresh token is another server's.
    #[serde(default)]
    pub imported: bool,
    /// The widest scope that its tokens may have.
    pub scope: ScopeSet,
    /// The audience of its tokens.
    pub audience: Vec<String>,
    /// The widest authorization details that its tokens may have (RFC 9396), sealed for its user, or for its client where
    /// it has none.
    #[serde(default)]
    pub authorization_details: Option<Sealed>,
    /// The login that it was given in.
    pub session: Option<SessionId>,
    /// What its ID tokens say of that login, where `openid` was granted.
    #[serde(default)]
    pub authentication: Option<Box<Authentication>>,
    /// How often the user's password had changed when it was given.
    pub password_generation: u32,
    /// How often the consent had been withdrawn when it was given.
    pub consent_withdrawals: u32,
    /// When all of it ends.
    pub expires_at: Timestamp,
    /// Its authorization code.
    pub code: Option<Code>,
    /// Its device code.
    #[serde(default)]
    pub device: Option<Device>,
    /// Its refresh tokens.
    pub refresh: Option<Refresh>,
    /// Why all of it was revoked.
    pub revoked: Option<Reason>,
    /// Access tokens revoked one by one, by the sequence of their issuing event, until they expire anyway.
    pub revoked_access: BTreeMap<u32, Timestamp>,
    /// What it rests on, where it has no login of its own.
    #[serde(default)]
    pub basis: Option<Box<Basis>>,
    /// Whether its client knows it by an id, and by which.
    #[serde(default)]
    pub management: Option<Management>,
    /// The grant that took its place under its id.
    #[serde(default)]
    pub replaced_by: Option<GrantId>,
}

/// An authorization code (RFC 6749 §4.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// SHA-256 of its random part.
    pub digest: Digest,
    /// Where it was sent.
    pub redirect_uri: String,
    /// Whether the token request must repeat that (RFC 6749 §4.1.3).
    pub redirect_uri_required: bool,
    /// Its PKCE challenge.
    pub challenge: Option<Challenge>,
    /// The key that it is bound to.
    #[serde(default)]
    pub confirmation: Option<Confirmation>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether it was redeemed.
    pub redeemed: bool,
}

/// The refresh tokens that can still mean something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// The one live generation.
    pub current: Generation,
    /// Its immediate predecessor, while a retry of it could be honoured (the grace rule).
    pub predecessor: Option<Generation>,
    /// When the predecessor was rotated.
    pub rotated_at: Timestamp,
    /// The key that the request had proved to hold by which it was: a retry proves the same.
    #[serde(default)]
    pub rotated_with: Option<Confirmation>,
}

/// One refresh token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number in the grant, from 1.
    pub number: u32,
    /// The sequence of its issuing event.
    pub sequence: u32,
    /// SHA-256 of its random part.
    pub digest: Digest,
    /// When it ends if unused.
    pub expires_at: Timestamp,
    /// The key that it is bound to.
    #[serde(default)]
    pub confirmation: Option<Confirmation>,
}

impl Grant {
    /// The family, where a token of it that was issued at `sequence` is active at `at`, as far as the grant
    /// itself knows: its expiry is the token's own business.
    #[must_use]
    pub fn access_at(&self, sequence: u32) -> Option<&Family> {
        let family = self.family.as_deref()?;
        let issued = sequence >= 1 && sequence <= self.sequence;
        (issued && family.revoked.is_none() && !family.revoked_access.contains_key(&sequence))
            .then_some(family)
    }

    /// The live refresh generation, where `digest` is its random part's.
    #[must_use]
    pub fn live_refresh(
        &self,
        sequence: u32,
        digest: &Digest,
        at: Timestamp,
    ) -> Option<(&Family, &Generation)> {
        let family = self.family.as_deref().filter(|family| family.revoked.is_none())?;
        let current = &family.refresh.as_ref()?.current;
        let live = current.sequence == sequence && current.digest.matches(digest) && at < current.expires_at;
        live.then_some((family, current))
    }

    /// The key that its refresh tokens are bound to.
    #[must_use]
    pub fn refresh_confirmation(&self) -> Option<Confirmation> {
        self.family.as_deref()?.refresh.as_ref()?.current.confirmation
    }

    /// Whether this is the live generation or its predecessor. Older ones are rows of the ledger.
    #[must_use]
    pub fn knows_refresh(&self, sequence: u32, digest: &Digest) -> bool {
        let refresh = self.family.as_deref().and_then(|family| family.refresh.as_ref());
        refresh.is_some_and(|refresh| {
            std::iter::once(&refresh.current)
                .chain(&refresh.predecessor)
                .any(|generation| generation.sequence == sequence && generation.digest.matches(digest))
        })
    }

    fn evolve(&mut self, event: GrantEvent) {
        self.sequence += 1;
        let sequence = self.sequence;
        match event {
            GrantEvent::CodeIssued(event) => self.family = Some(Box::new(Family::from_code(event))),
            GrantEvent::TokenExchanged(event) => {
                self.family = Some(Box::new(Family::from_exchange(event)));
            }
            GrantEvent::AssertionAccepted(event) => {
                self.family = Some(Box::new(Family::from_assertion(event)));
            }
            GrantEvent::TokenIssued(event) => self.begin_tokens(event),
            GrantEvent::GrantImported(event) => {
                let refresh = Refresh {
                    current: event.refresh.generation(sequence),
                    predecessor: None,
                    rotated_at: event.imported_at,
                    rotated_with: None,
                };
                self.family = Some(Box::new(Family::from_import(event, refresh)));
            }
            GrantEvent::CodeRedeemed(_) => self.code_is_redeemed(),
            GrantEvent::RefreshRotated(event) => {
                self.rotate((event.access, event.refresh), event.issued_at, true);
            }
            GrantEvent::RefreshRetried(event) => {
                self.rotate((event.access, event.refresh), event.issued_at, false);
            }
            GrantEvent::DeviceAuthorizationRequested(event) => {
                self.family = Some(Box::new(Family::from_device(event)));
            }
            GrantEvent::DeviceAuthorizationApproved(event) => {
                if let Some(family) = &mut self.family {
                    family.approved(event);
                }
            }
            GrantEvent::DeviceAuthorizationDenied(_) => self.device_is(DeviceStage::Denied),
            GrantEvent::DeviceCodeRedeemed(_) => self.device_is(DeviceStage::Redeemed),
            GrantEvent::TokenRevoked(event) => {
                if let Some(family) = &mut self.family {
                    family.revoke(&event);
                }
            }
            GrantEvent::GrantReplaced(event) => self.is_replaced(event.by),
            GrantEvent::AccessTokenRefreshed(_)
            | GrantEvent::CodeReplayed(_)
            | GrantEvent::DeviceCodeReplayed(_)
            | GrantEvent::RefreshReplayed(_) => {}
        }
    }

    /// The first tokens; a grant that began with what it rests on has its authorization details from here.
    fn begin_tokens(&mut self, event: TokenIssued) {
        let family = self
            .family
            .get_or_insert_with(|| Box::new(Family::from_token(&event)));
        if event.authorization_details.is_some() {
            family.authorization_details = event.authorization_details;
        }
        let sequence = self.sequence;
        family.refresh = event.refresh.map(|refresh| Refresh {
            current: refresh.generation(sequence),
            predecessor: None,
            rotated_at: event.issued_at,
            rotated_with: None,
        });
    }

    fn code_is_redeemed(&mut self) {
        if let Some(code) = self.family.as_mut().and_then(|family| family.code.as_mut()) {
            code.redeemed = true;
        }
    }

    /// `retriable`: whether the generation that ends may be presented once more. One that was born of a retry
    /// may; the one that a retry killed may not, nor one that another server issued, which is good for one use.
    fn rotate(&mut self, (access, token): (AccessToken, RefreshToken), at: Timestamp, retriable: bool) {
        let sequence = self.sequence;
        let Some(family) = self.family.as_mut() else {
            return;
        };
        let Some(refresh) = family.refresh.as_mut() else {
            return;
        };
        let retriable = retriable && !(family.imported && refresh.current.number == 1);
        let ended = std::mem::replace(&mut refresh.current, token.generation(sequence));
        refresh.predecessor = retriable.then_some(ended);
        refresh.rotated_at = at;
        refresh.rotated_with = access.confirmation;
    }
}

impl Family {
    /// The claims that its user consented to one by one; none where it was given without a login.
    #[must_use]
    pub fn individual_claims(&self) -> Option<&IndividualClaims> {
        Some(&self.authentication.as_ref()?.individual_claims)
    }

    /// As far as its client is still allowed what was granted.
    #[must_use]
    pub fn within(&self, circumstances: &Circumstances) -> Self {
        let mut family = self.clone();
        family.scope = self.scope.intersection(&circumstances.allowed_scope);
        if let Some(known) = &mut family.authentication {
            known.individual_claims = circumstances.individual_claims.clone();
        }
        family
    }

    fn from_code(event: CodeIssued) -> Self {
        let authentication = event.scope.contains(OPENID).then(|| {
            Box::new(Authentication {
                time: event.auth_time,
                amr: event.amr.unwrap_or_default(),
                nonce: event.nonce,
                claims: event.id_token_claims.unwrap_or_default(),
                individual_claims: event.individual_claims.unwrap_or_default(),
            })
        });
        Self {
            client: event.client,
            subject: Some(event.subject),
            flow: GrantType::AuthorizationCode,
            imported: false,
            scope: event.scope,
            audience: event.audience,
            authorization_details: event.authorization_details,
            session: event.session,
            authentication,
            password_generation: event.password_generation,
            consent_withdrawals: event.consent_withdrawals,
            expires_at: event.grant_expires_at,
            management: event.management,
            replaced_by: None,
            code: Some(Code {
                digest: event.digest,
                redirect_uri: event.redirect_uri,
                redirect_uri_required: event.redirect_uri_required,
                challenge: event.challenge,
                confirmation: event.confirmation,
                expires_at: event.expires_at,
                redeemed: false,
            }),
            device: None,
            refresh: None,
            revoked: None,
            revoked_access: BTreeMap::new(),
            basis: None,
        }
    }

    fn from_token(event: &TokenIssued) -> Self {
        Self {
            client: event.client,
            subject: event.subject,
            flow: event.flow,
            imported: false,
            scope: event.scope.clone(),
            audience: event.audience.clone(),
            authorization_details: event.authorization_details.clone(),
            session: None,
            authentication: None,
            password_generation: event.password_generation,
            consent_withdrawals: 0,
            expires_at: event.grant_expires_at,
            code: None,
            device: None,
            refresh: None,
            revoked: None,
            revoked_access: BTreeMap::new(),
            basis: None,
            management: None,
            replaced_by: None,
        }
    }

    /// Under password generation 0: a password changed here ends what the other server had granted, also where it
    /// is imported afterwards.
    fn from_import(event: GrantImported, refresh: Refresh) -> Self {
        Self {
            client: event.client,
            subject: event.subject,
            flow: event.flow,
            imported: true,
            scope: event.scope,
            audience: event.audience,
            authorization_details: None,
            session: None,
            authentication: None,
            password_generation: 0,
            consent_withdrawals: event.consent_withdrawals,
            expires_at: event.grant_expires_at,
            code: None,
            device: None,
            refresh: Some(refresh),
            revoked: None,
            revoked_access: BTreeMap::new(),
            basis: None,
            management: None,
            replaced_by: None,
        }
    }

    fn from_exchange(event: TokenExchanged) -> Self {
        let basis = Basis::Tokens(Lineage::of(&event));
        Self {
            scope: event.scope,
            audience: event.audience,
            password_generation: event.password_generation,
            basis: Some(Box::new(basis)),
            ..Self::without_login(
                GrantType::TokenExchange,
                (event.client, event.subject),
                event.grant_expires_at,
            )
        }
    }

    fn from_assertion(event: AssertionAccepted) -> Self {
        Self {
            scope: event.scope,
            audience: event.audience,
            password_generation: event.password_generation,
            basis: Some(Box::new(Basis::Trust(event.issuer))),
            ..Self::without_login(
                GrantType::JwtBearer,
                (event.client, event.subject),
                event.grant_expires_at,
            )
        }
    }

    /// Without any scope.
    fn without_login(
        flow: GrantType,
        (client, subject): (ClientKey, Option<SubjectId>),
        expires_at: Timestamp,
    ) -> Self {
        Self {
            client,
            subject,
            flow,
            imported: false,
            scope: ScopeSet::default(),
            audience: Vec::new(),
            authorization_details: None,
            session: None,
            authentication: None,
            password_generation: 0,
            consent_withdrawals: 0,
            expires_at,
            code: None,
            device: None,
            refresh: None,
            revoked: None,
            revoked_access: BTreeMap::new(),
            basis: None,
            management: None,
            replaced_by: None,
        }
    }

    fn revoke(&mut self, event: &TokenRevoked) {
        match event.target {
            Target::Family => self.revoked = Some(event.reason),
            Target::Access { sequence, expires_at } => {
                self.revoked_access.retain(|_, end| event.at < *end);
                self.revoked_access.insert(sequence, expires_at);
            }
        }
    }
}

aggregate!(Grant, Grant, "grant", GrantCommand, GrantEvent, GrantRefusal);
