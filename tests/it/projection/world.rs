//! A small world of users, clients and grants, moved by random but real decisions.

use std::collections::BTreeMap;
use std::time::Duration;

use grantlog::clock::{Clock, Randomness};
use grantlog::credential::Kind;
use grantlog::crypto::vault::{KeyOwner, Place};
use grantlog::domain::authorization_detail::AskedDetails;
use grantlog::domain::client::{
    AuthMethod, Client, ClientCommand, ClientMetadata, GrantType, IdTokenAlgorithm, ResponseProfile,
    SecretVerifier, SubjectType, TokenAlgorithm, TokenFormat,
};
use grantlog::domain::consent::{Consent, ConsentCommand, Terms};
use grantlog::domain::grant::{
    Circumstances, CodeIssued, Grant, GrantCommand, IssueToken, Mint, MintRefresh, Outcome, Reason,
    RedeemCode, Revoke, Rotate, Target,
};
use grantlog::domain::openid::IndividualClaims;
use grantlog::domain::session::{Login, Session, SessionCommand};
use grantlog::domain::token_use::{TokenUse, TokenUseCommand, TokenUseCounted, TokenUses};
use grantlog::domain::user::{User, UserCommand, UserRegistered};
use grantlog::domain::value::{Digest, ScopeSet, Sealed};
use grantlog::domain::{Decision, LedgerAggregate};
use grantlog::ids::{ClientKey, GrantId, SubjectId};
use grantlog::ledger::{Actor, Context, Ledger, Loaded};
use uuid::Uuid;

/// Random numbers that a seed repeats.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }
}

/// A grant as its holder knows it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) id: Uuid,
    pub(crate) client: ClientKey,
    pub(crate) subject: Option<SubjectId>,
    pub(crate) code: Option<Digest>,
    /// Sequence and digest of every refresh token, oldest first.
    pub(crate) refresh: Vec<(u32, Digest)>,
    /// Sequences of access tokens.
    pub(crate) access: Vec<u32>,
}

pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) dice: Dice,
    pub(crate) users: Vec<SubjectId>,
    pub(crate) clients: Vec<ClientKey>,
    pub(crate) grants: Vec<Held>,
    /// Browser logins and whose they are, the last first.
    pub(crate) sessions: Vec<(Uuid, SubjectId)>,
    /// Alerts that were raised.
    pub(crate) alerts: Vec<Uuid>,
}

impl World {
    pub(crate) fn new(ledger: Ledger, seed: u64) -> Self {
        Self {
            ledger,
            dice: Dice::new(seed),
            users: Vec::new(),
            clients: Vec::new(),
            grants: Vec::new(),
            sessions: Vec::new(),
            alerts: Vec::new(),
        }
    }

    /// Appends what `decide` says of an aggregate; the outcome, refusals included.
    pub(crate) async fn act<A: LedgerAggregate, O, R>(
        &self,
        id: Uuid,
        decide: impl Fn(&Loaded<A>) -> Decision<A::Event, O, R>,
    ) -> Result<O, R> {
        let request = self.ledger.random().uuid().unwrap();
        let context = Context::local(request, Actor::System, "test");
        let mut unit = self.ledger.unit_of_work(&context);
        loop {
            let loaded = unit.load::<A>(id).await.unwrap();
            if let Some(concluded) = unit.conclude(&loaded, decide(&loaded)).await.unwrap() {
                return concluded.outcome;
            }
        }
    }

    async fn state<A: LedgerAggregate>(&self, id: Uuid) -> A {
        let context = Context::local(Uuid::nil(), Actor::System, "test");
        let mut unit = self.ledger.unit_of_work(&context);
        (*unit.load::<A>(id).await.unwrap().state).clone()
    }

    pub(crate) async fn seal(&self, user: SubjectId, field: &str, value: &str) -> Sealed {
        let vault = self.ledger.vault();
        let key = vault.find_or_create(&KeyOwner::subject(user)).await.unwrap();
        let place = Place {
            aggregate_type: "user",
            aggregate_id: user.0,
            event_type: "*",
            field,
        };
        key.seal(vault.random(), &place, value).unwrap()
    }

    pub(crate) async fn register_user(&mut self) -> SubjectId {
        let user = SubjectId(self.ledger.random().uuid().unwrap());
        let number = self.users.len();
        let event = UserRegistered {
            imported: None,
            username: self.seal(user, "username", &format!("user{number}")).await,
            name: Some(self.seal(user, "name", &format!("Üser \"{number}\"")).await),
            email: None,
            password: Some(self.seal(user, "password", "$argon2id$v=19$…").await),
        };
        self.user(user, UserCommand::Register(event)).await;
        self.users.push(user);
        user
    }

    pub(crate) async fn user(&self, user: SubjectId, command: UserCommand) {
        let _ = self
            .act::<User, _, _>(user.0, |state| state.decide(&command))
            .await;
    }

    pub(crate) async fn erase(&self, user: SubjectId) {
        let at = self.ledger.clock().now();
        self.user(user, UserCommand::Erase { at }).await;
        let state: User = self.state(user.0).await;
        if state.erased {
            self.ledger.vault().destroy(user).await.unwrap();
        }
    }

    pub(crate) async fn register_client(&mut self, method: AuthMethod) -> ClientKey {
        let client = ClientKey(self.ledger.random().uuid().unwrap());
        let verifier = match self.clients.len() % 2 {
            _ if method == AuthMethod::None => None,
            0 => Some(SecretVerifier::Sha256(self.digest())),
            _ => Some(SecretVerifier::Argon2id("$argon2id$v=19$chosen".to_owned())),
        };
        let command = ClientCommand::Register {
            imported: None,
            client_id: format!("client-{}", self.clients.len()),
            metadata: Box::new(self.metadata(method)),
            verifier,
        };
        self.client(client, command).await;
        self.clients.push(client);
        client
    }

    pub(crate) async fn client(&self, client: ClientKey, command: ClientCommand) {
        let _ = self
            .act::<Client, _, _>(client.0, |state| state.decide(&command))
            .await;
    }

    pub(crate) fn metadata(&mut self, method: AuthMethod) -> ClientMetadata {
        ClientMetadata {
            client_name: format!("Client {}", self.dice.below(1000)),
            redirect_uris: vec![
                "https://c.example/cb".to_owned(),
                "https://c.example/\"x\\y\"".to_owned(),
            ],
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            token_endpoint_auth_method: method,
            jwks: None,
            tls_client_auth: None,
            tls_client_certificate_bound_access_tokens: false,
            jwks_uri: None,
            post_logout_redirect_uris: Vec::new(),
            backchannel_logout_uri: None,
            backchannel_logout_session_required: false,
            scope: ScopeSet::parse("a b c").unwrap(),
            default_scopes: ScopeSet::default(),
            audience: Vec::new(),
            authorization_details_types: Vec::new(),
            introspects: Vec::new(),
            legacy: false,
            require_pkce: true,
            token_endpoint_auth_signing_alg: None,
            json_requests: false,
            legacy_full_scope: false,
            client_credentials_refresh: false,
            response_profile: ResponseProfile::Standard,
            access_token_algorithm: TokenAlgorithm::ES256,
            access_token_format: TokenFormat::Jwt,
            id_token_signed_response_alg: IdTokenAlgorithm::RS256,
            userinfo_signed_response_alg: None,
            introspection_signed_response_alg: None,
            access_token_lifetime: 600,
            refresh_token_lifetime: 86_400,
            lifetimes: BTreeMap::new(),
            refresh_grace: Some(10),
            require_pushed_authorization_requests: false,
            require_signed_request_object: false,
            request_object_signing_alg: None,
            authorization_signed_response_alg: None,
            profile: None,
            dpop_bound_access_tokens: false,
            allowed_origins: Vec::new(),
            home_page_url: None,
            logo_url: Some("https://c.example/logo.png".to_owned()),
            privacy_policy_url: None,
            tos_uri: None,
            contacts: Vec::new(),
            software_id: None,
            software_version: None,
            application_type: None,
            subject_type: SubjectType::Public,
            sector_identifier_uri: None,
            default_max_age: None,
            is_live: self.dice.below(2) == 0,
            owner: self.users.first().copied(),
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        grantlog::credential::digest(Kind::Code, &self.ledger.random().bytes().unwrap())
    }

    fn mint(&self, refresh: bool) -> (Mint, Digest) {
        let digest = self.digest();
        let mint = Mint {
            access: self.digest(),
            access_lifetime: 600,
            confirmation: None,
            refresh: refresh.then_some(MintRefresh {
                digest,
                lifetime: 86_400,
                bound: false,
            }),
        };
        (mint, digest)
    }

    fn audience() -> Vec<String> {
        vec!["https://api.example".to_owned(), "https://b.example".to_owned()]
    }

    async fn circumstances(&self, held: &Held) -> Circumstances {
        let (mut user_may_act, mut password_generation, mut consent_withdrawals) = (true, 0, 0);
        if let Some(subject) = held.subject {
            let user: User = self.state(subject.0).await;
            let consent: Consent = self.state(Consent::id(subject, held.client)).await;
            user_may_act = user.may_act();
            password_generation = user.password_generation;
            consent_withdrawals = consent.withdrawals;
        }
        Circumstances {
            user_may_act,
            client_serves_user: true,
            password_generation,
            consent_withdrawals,
            session_over: false,
            individual_claims: IndividualClaims::default(),
            allowed_scope: ScopeSet::parse("a b c").unwrap(),
        }
    }

    pub(crate) async fn give_consent(&self, subject: SubjectId, client: ClientKey) {
        let at = self.ledger.clock().now();
        let scope = ScopeSet::parse("a b").unwrap();
        let command = ConsentCommand::Give {
            subject,
            client,
            terms: Terms {
                scope,
                ..Terms::default()
            },
            authorization_details: None,
            at,
        };
        let _ = self
            .act::<Consent, _, _>(Consent::id(subject, client), |state| state.decide(&command))
            .await;
    }

    pub(crate) async fn withdraw_consent(&self, subject: SubjectId, client: ClientKey) {
        let at = self.ledger.clock().now();
        let _ = self
            .act::<Consent, _, _>(Consent::id(subject, client), |state| {
                state.decide(&ConsentCommand::Withdraw { at })
            })
            .await;
    }

    /// Uses of a grant's tokens are written down.
    pub(crate) async fn count_uses(&mut self, index: usize) {
        let held = self.grants[index].clone();
        let hour = "2026-11-22T10:00:00Z".parse().unwrap();
        let uses = (0..=self.dice.below(3)).map(|place| TokenUses {
            grant: GrantId(held.id),
            client: held.client,
            subject: held.subject,
            asked_by: (place == 1).then_some(held.client),
            network: (place != 2).then(|| self.digest()),
            endpoint: "/api/user".to_owned(),
            count: 1 + place as u64,
            first: hour,
            last: hour,
        });
        let uses: Vec<TokenUses> = uses.collect();
        let command = TokenUseCommand::Count(vec![
            TokenUseCounted {
                hour,
                uses: uses.clone(),
            },
            TokenUseCounted { hour, uses },
        ]);
        let id = self.ledger.random().uuid().unwrap();
        let _ = self
            .act::<TokenUse, _, _>(id, |counts| counts.decide(&command))
            .await;
    }

    /// A browser login begins, is confirmed, or ends.
    pub(crate) async fn session_step(&mut self, subject: SubjectId) {
        let known = self.sessions.iter().find(|(_, owner)| *owner == subject).copied();
        let session = match known {
            Some((session, _)) if self.dice.below(3) > 0 => session,
            _ => self.ledger.random().uuid().unwrap(),
        };
        self.sessions.insert(0, (session, subject));
        let at = self.ledger.clock().now();
        let command = if self.dice.below(3) == 0 {
            SessionCommand::End {
                reason: "user".to_owned(),
                revokes: grantlog::domain::session::SessionEndRevokes::Online,
            }
        } else {
            SessionCommand::Authenticate(Login {
                subject,
                authenticated_at: at,
                amr: vec!["pwd".to_owned()],
                digest: self.digest(),
                password_generation: 0,
                expires_at: at + chrono::TimeDelta::hours(1),
            })
        };
        let _ = self
            .act::<Session, _, _>(session, |state| state.decide(&command))
            .await;
    }

    pub(crate) async fn issue_code(&mut self, subject: SubjectId, client: ClientKey) -> usize {
        let at = self.ledger.clock().now();
        let digest = self.digest();
        let mut held = Held {
            id: self.ledger.random().uuid_at(at).unwrap(),
            client,
            subject: Some(subject),
            code: Some(digest),
            refresh: Vec::new(),
            access: Vec::new(),
        };
        let circumstances = self.circumstances(&held).await;
        let event = CodeIssued {
            client,
            subject,
            session: None,
            auth_time: Some(at),
            amr: Some(vec!["pwd".to_owned()]),
            nonce: None,
            id_token_claims: None,
            individual_claims: None,
            scope: ScopeSet::parse("a b").unwrap(),
            audience: Self::audience(),
            authorization_details: None,
            digest,
            redirect_uri: "https://c.example/cb".to_owned(),
            redirect_uri_required: false,
            challenge: None,
            confirmation: None,
            password_generation: circumstances.password_generation,
            management: None,
            consent_withdrawals: circumstances.consent_withdrawals,
            issued_at: at,
            expires_at: at + Duration::from_mins(1),
            grant_expires_at: at + Duration::from_hours(720),
        };
        let command = GrantCommand::IssueCode(event);
        if self
            .act::<Grant, _, _>(held.id, |grant| grant.decide(&command))
            .await
            .is_err()
        {
            held.code = None;
        }
        self.grants.push(held);
        self.grants.len() - 1
    }

    pub(crate) async fn redeem(&mut self, index: usize) {
        let held = self.grants[index].clone();
        let Some(digest) = held.code else { return };
        let (mint, refresh) = self.mint(true);
        let command = GrantCommand::RedeemCode(RedeemCode {
            digest,
            client: held.client,
            redirect_uri: None,
            verifier: None,
            audience: None,
            allowed_audience: Self::audience(),
            details: AskedDetails::default(),
            redirect_uri_registered: true,
            circumstances: self.circumstances(&held).await,
            mint,
            at: self.ledger.clock().now(),
        });
        self.issue(index, refresh, command).await;
    }

    pub(crate) async fn rotate(&mut self, index: usize, back: usize) {
        let held = self.grants[index].clone();
        let Some((sequence, digest)) = held.refresh.iter().rev().nth(back).copied() else {
            return;
        };
        let (mint, refresh) = self.mint(true);
        let rotates = self.dice.below(4) != 0;
        let command = GrantCommand::Rotate(Rotate {
            sequence,
            digest,
            was_issued: true,
            client: held.client,
            scope: None,
            audience: None,
            allowed_audience: Self::audience(),
            details: AskedDetails::default(),
            grace: 10,
            rotates,
            circumstances: self.circumstances(&held).await,
            mint,
            at: self.ledger.clock().now(),
        });
        self.issue(index, refresh, command).await;
    }

    pub(crate) async fn issue_alone(&mut self, client: ClientKey) -> usize {
        let at = self.ledger.clock().now();
        self.grants.push(Held {
            id: self.ledger.random().uuid_at(at).unwrap(),
            client,
            subject: None,
            code: None,
            refresh: Vec::new(),
            access: Vec::new(),
        });
        let index = self.grants.len() - 1;
        let refreshable = self.dice.below(2) == 0;
        let (mint, refresh) = self.mint(refreshable);
        let command = GrantCommand::IssueToken(IssueToken {
            flow: GrantType::ClientCredentials,
            client,
            subject: None,
            scope: ScopeSet::parse("a").unwrap(),
            audience: Vec::new(),
            details: None,
            password_generation: 0,
            grant_expires_at: at + Duration::from_mins(10),
            mint,
            at,
        });
        self.issue(index, refresh, command).await;
        index
    }

    async fn issue(&mut self, index: usize, refresh: Digest, command: GrantCommand) {
        let id = self.grants[index].id;
        let outcome = self.act::<Grant, _, _>(id, |grant| grant.decide(&command)).await;
        if let Ok(Outcome::Tokens(issued)) = outcome {
            let held = &mut self.grants[index];
            held.access.push(issued.sequence);
            if issued.refresh {
                held.refresh.push((issued.sequence, refresh));
            }
        }
    }

    pub(crate) async fn revoke(&self, index: usize, access: Option<u32>) {
        let at = self.ledger.clock().now();
        let target = match access {
            Some(sequence) => Target::Access {
                sequence,
                expires_at: at + Duration::from_mins(10),
            },
            None => Target::Family,
        };
        let command = GrantCommand::Revoke(Revoke {
            client: None,
            target,
            reason: Reason::Administrator,
            at,
        });
        let _ = self
            .act::<Grant, _, _>(self.grants[index].id, |grant| grant.decide(&command))
            .await;
    }
}

/// The clock and randomness of a test's ledger.
pub(crate) fn sources() -> (Clock, Randomness) {
    (Clock::default(), Randomness::default())
}
