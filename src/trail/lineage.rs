//! A grant's lineage: from the login over the code to each generation of tokens, with the places where a credential was
//! used twice. A pure fold of the grant's events.

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::domain::grant::{AccessToken, GrantEvent, Reason, RefreshToken, Target, TokenRef};
use crate::ids::{ClientKey, GrantId, IssuerKey, SessionId};
use crate::ledger::StoredEvent;

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// In the ledger.
    pub position: i64,
    /// In its aggregate.
    pub sequence: i64,
    /// When it was recorded.
    pub at: Timestamp,
}

impl Place {
    pub(super) fn of(event: &StoredEvent) -> Self {
        Self {
            position: event.position,
            sequence: event.sequence,
            at: event.recorded_at,
        }
    }
}

/// How a grant came about and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Lineage {
    /// The login that it was given in.
    pub session: Option<SessionId>,
    /// The tokens that it was exchanged for.
    pub subject_tokens: Vec<TokenRef>,
    /// The actors' tokens that it rests on, too.
    pub actor_tokens: Vec<TokenRef>,
    /// The trust in the issuer of the assertion that it rests on.
    pub issuer: Option<IssuerKey>,
    /// Its authorization code, or device code.
    pub code: Option<CodeStep>,
    /// Its tokens, as they were issued.
    pub tokens: Vec<TokenStep>,
    /// Where a credential was used twice.
    pub forks: Vec<Fork>,
    /// The grant that took its place (Grant Management for OAuth 2.0).
    pub replaced_by: Option<GrantId>,
    /// Its end before its time.
    pub revoked: Option<Revocation>,
}

/// A code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CodeStep {
    /// `authorization_code`, `device_code`.
    pub kind: &'static str,
    /// Where it was issued.
    pub issued: Place,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Where a user approved or denied it, of a device code.
    pub answered: Option<Place>,
    /// Where it was redeemed.
    pub redeemed: Option<Place>,
    /// Where it was presented once more.
    pub replayed: Vec<Place>,
}

/// An access token, with the refresh token that was issued with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TokenStep {
    /// By which event.
    pub event: &'static str,
    /// Where.
    pub issued: Place,
    /// When the access token ends; none where only a refresh token was brought here.
    pub access_expires_at: Option<Timestamp>,
    /// Where the access token alone was revoked.
    pub access_revoked: Option<Place>,
    /// The refresh token's number.
    pub generation: Option<u32>,
    /// When the refresh token ends, if unused.
    pub refresh_expires_at: Option<Timestamp>,
    /// The generation that was used for it.
    pub used: Option<u32>,
    /// Where this generation was used for the first time, or made worthless by a retry.
    pub replaced: Option<Place>,
    /// Where this generation was presented after that.
    pub replayed: Vec<Place>,
    /// The grants that the access token was exchanged for, with all that rests on them.
    pub exchanged: Vec<Exchange>,
}

/// A use of a token for another grant (RFC 8693).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Exchange {
    /// The grant that came of it.
    pub grant: GrantId,
    /// To which client.
    pub client: ClientKey,
    /// Where.
    pub issued: Place,
    /// Whether this token was itself exchanged, or one that came of it.
    pub direct: bool,
}

/// A credential that was used twice: here the rightful line and the other part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fork {
    /// The generation; none where it was the code.
    pub generation: Option<u32>,
    /// The first use.
    pub first_use: Option<Place>,
    /// The second.
    pub second_use: Place,
}

/// An end before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Revocation {
    /// Where.
    pub place: Place,
    /// Why.
    pub reason: Reason,
}

impl Lineage {
    /// The lineage that a grant's events come to.
    #[must_use]
    pub fn of<'a>(events: impl IntoIterator<Item = (Place, &'a GrantEvent)>) -> Self {
        let mut lineage = Self::default();
        for (place, event) in events {
            lineage.take(place, event);
        }
        lineage
    }

    fn take(&mut self, place: Place, event: &GrantEvent) {
        match event {
            GrantEvent::CodeIssued(event) => {
                self.session = event.session;
                self.code = Some(CodeStep::new("authorization_code", place, event.expires_at));
            }
            GrantEvent::DeviceAuthorizationRequested(event) => {
                self.code = Some(CodeStep::new("device_code", place, event.expires_at));
            }
            GrantEvent::DeviceAuthorizationApproved(event) => {
                self.session = Some(event.session);
                self.code(|code| code.answered = Some(place));
            }
            GrantEvent::DeviceAuthorizationDenied(_) => self.code(|code| code.answered = Some(place)),
            GrantEvent::CodeRedeemed(_) | GrantEvent::DeviceCodeRedeemed(_) => {
                self.code(|code| code.redeemed = Some(place));
            }
            GrantEvent::CodeReplayed(_) | GrantEvent::DeviceCodeReplayed(_) => {
                self.code(|code| code.replayed.push(place));
                let first_use = self.code.as_ref().and_then(|code| code.redeemed);
                self.fork(None, first_use, place);
            }
            GrantEvent::TokenExchanged(event) => {
                self.subject_tokens.push(event.subject_token);
                self.subject_tokens.extend(&event.earlier_subjects);
                self.actor_tokens.extend(event.actor_token);
                self.actor_tokens.extend(&event.earlier_actors);
            }
            GrantEvent::AssertionAccepted(event) => self.issuer = Some(event.issuer),
            GrantEvent::TokenIssued(event) => {
                self.issued("TokenIssued", place, (Some(event.access), event.refresh, None));
            }
            GrantEvent::GrantImported(event) => {
                self.issued("GrantImported", place, (None, Some(event.refresh), None));
            }
            GrantEvent::RefreshRotated(event) => {
                self.rotated("RefreshRotated", place, (event.access, event.refresh, 1));
            }
            GrantEvent::RefreshRetried(event) => {
                // n once more: n + 1 is dead, n + 2 is new.
                self.rotated("RefreshRetried", place, (event.access, event.refresh, 2));
            }
            GrantEvent::AccessTokenRefreshed(event) => {
                let used = Some(event.generation);
                self.issued("AccessTokenRefreshed", place, (Some(event.access), None, used));
            }
            GrantEvent::GrantReplaced(event) => self.replaced_by = Some(event.by),
            GrantEvent::RefreshReplayed(event) => self.replayed(place, event.sequence),
            GrantEvent::TokenRevoked(event) => match event.target {
                Target::Family => {
                    self.revoked.get_or_insert(Revocation {
                        place,
                        reason: event.reason,
                    });
                }
                Target::Access { sequence, .. } => {
                    if let Some(step) = self.step(sequence) {
                        step.access_revoked.get_or_insert(place);
                    }
                }
            },
        }
    }

    /// A generation takes the place of that many generations before.
    fn rotated(
        &mut self,
        event: &'static str,
        place: Place,
        (access, refresh, by): (AccessToken, RefreshToken, u32),
    ) {
        let used = refresh.generation.checked_sub(by);
        self.issued(event, place, (Some(access), Some(refresh), used));
    }

    fn code(&mut self, change: impl FnOnce(&mut CodeStep)) {
        if let Some(code) = &mut self.code {
            change(code);
        }
    }

    fn step(&mut self, sequence: u32) -> Option<&mut TokenStep> {
        let sequence = i64::from(sequence);
        self.tokens
            .iter_mut()
            .find(|step| step.issued.sequence == sequence)
    }

    fn issued(
        &mut self,
        event: &'static str,
        place: Place,
        (access, refresh, used): (Option<AccessToken>, Option<RefreshToken>, Option<u32>),
    ) {
        // A new generation ends the one before it, which is the one that was used or, of a retry, its dead successor.
        let ends = refresh.and_then(|refresh| refresh.generation.checked_sub(1));
        for step in &mut self.tokens {
            if ends.is_some() && step.generation == ends {
                step.replaced.get_or_insert(place);
            }
        }
        self.tokens.push(TokenStep {
            event,
            issued: place,
            access_expires_at: access.map(|access| access.expires_at),
            access_revoked: None,
            generation: refresh.map(|refresh| refresh.generation),
            refresh_expires_at: refresh.map(|refresh| refresh.expires_at),
            used,
            replaced: None,
            replayed: Vec::new(),
            exchanged: Vec::new(),
        });
    }

    fn replayed(&mut self, place: Place, sequence: u32) {
        let Some(step) = self.step(sequence) else {
            return;
        };
        step.replayed.push(place);
        let (generation, first_use) = (step.generation, step.replaced);
        self.fork(generation, first_use, place);
    }

    fn fork(&mut self, generation: Option<u32>, first_use: Option<Place>, second_use: Place) {
        self.forks.push(Fork {
            generation,
            first_use,
            second_use,
        });
    }

    /// Adds a grant that came of a token of this one by exchange.
    pub(super) fn exchanged(&mut self, token: TokenRef, exchange: Exchange) {
        if let Some(step) = self.step(token.sequence) {
            step.exchanged.push(exchange);
        }
    }
}

impl CodeStep {
    fn new(kind: &'static str, issued: Place, expires_at: Timestamp) -> Self {
        Self {
            kind,
            issued,
            expires_at,
            answered: None,
            redeemed: None,
            replayed: Vec::new(),
        }
    }
}
