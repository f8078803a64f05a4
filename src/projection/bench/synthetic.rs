//! Synthetic events: clients, users, and grants that go on side by side.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::clock::{Randomness, Timestamp, machine_now};
use crate::domain::client::{
    AuthMethod, ClientEvent, ClientMetadata, ClientRegistered, GrantType, IdTokenAlgorithm, ResponseProfile,
    SubjectType, TokenAlgorithm, TokenFormat,
};
use crate::domain::event::Event;
use crate::domain::grant::{
    AccessToken, CodeIssued, CodeRedeemed, GrantEvent, Reason, RefreshRotated, RefreshToken, Target,
    TokenIssued, TokenRevoked,
};
use crate::domain::pkce::{Challenge, Method};
use crate::domain::user::{UserEvent, UserRegistered};
use crate::domain::value::{Digest, ScopeSet, Sealed};
use crate::ids::{ClientKey, SessionId, SubjectId};
use crate::projection::{ProjectionError, Recorded};

/// Grants that are under way at once, so that the events of each lie scattered as they do in life.
const OPEN: usize = 2_000;

/// Makes up events.
pub(super) struct Source {
    random: Randomness,
    start: Timestamp,
    pub(super) position: i64,
    clients: Vec<ClientKey>,
    users: Vec<SubjectId>,
    open: Vec<OpenGrant>,
}

/// A grant under way.
struct OpenGrant {
    id: Uuid,
    sequence: i32,
    client: ClientKey,
    subject: Option<SubjectId>,
    /// What is still to come, last first.
    plan: Vec<Step>,
    generation: u32,
}

#[derive(Clone, Copy)]
enum Step {
    Code,
    Redeem,
    Issue,
    IssueAlone,
    Rotate,
    Revoke,
}

impl Source {
    pub(super) fn new(position: i64, events: u64) -> Result<Self, ProjectionError> {
        let random = Randomness::default();
        let users = (events / 200).max(1);
        Ok(Self {
            start: machine_now(),
            position,
            clients: (0..20)
                .map(|_| random.uuid().map(ClientKey))
                .collect::<Result<_, _>>()?,
            users: (0..users)
                .map(|_| random.uuid().map(SubjectId))
                .collect::<Result<_, _>>()?,
            open: Vec::with_capacity(OPEN),
            random,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.start + chrono::TimeDelta::microseconds(self.position * 100)
    }

    fn record(&mut self, aggregate_id: Uuid, sequence: i32, event: Event) -> Recorded {
        self.position += 1;
        Recorded {
            position: self.position,
            aggregate_id,
            sequence,
            recorded_at: self.now(),
            event,
            source: None,
        }
    }

    pub(super) fn births(&mut self) -> Vec<Recorded> {
        let mut events = Vec::new();
        for client in self.clients.clone() {
            let event = ClientEvent::from(ClientRegistered {
                imported: None,
                client_id: client.to_string(),
                metadata: metadata(),
            });
            events.push(self.record(client.0, 1, Event::Client(event)));
        }
        for user in self.users.clone() {
            let event = UserEvent::from(UserRegistered {
                imported: None,
                username: Sealed("c3ludGhldGlj".to_owned()),
                name: None,
                email: None,
                password: None,
            });
            events.push(self.record(user.0, 1, Event::User(event)));
        }
        events
    }

    /// The next event of some grant.
    pub(super) fn next(&mut self) -> Result<Recorded, ProjectionError> {
        let [choice, kind, rotations, end, ..] = self.random.bytes::<8>()?;
        let pick: [u8; 8] = self.random.bytes()?;
        let pick = usize::try_from(u64::from_be_bytes(pick) >> 8).unwrap_or_default();
        if self.open.len() < OPEN {
            let grant = self.begin(pick, kind, rotations, end)?;
            self.open.push(grant);
        }
        let place = (pick ^ usize::from(choice)) % self.open.len();
        let mut grant = self.open.swap_remove(place);
        let step = grant.plan.pop().unwrap_or(Step::Revoke);
        grant.sequence += 1;
        let event = self.event(&mut grant, step)?;
        let recorded = self.record(grant.id, grant.sequence, Event::Grant(event));
        if !grant.plan.is_empty() {
            self.open.push(grant);
        }
        Ok(recorded)
    }

    /// Two of five grants are one client-credentials token; the others have a code and 0 to 12 rotations, and
    /// one in ten of them is revoked.
    fn begin(&self, pick: usize, kind: u8, rotations: u8, end: u8) -> Result<OpenGrant, ProjectionError> {
        let missing = || ProjectionError::Bench("nobody to grant to".to_owned());
        let client = self
            .clients
            .get(pick % self.clients.len().max(1))
            .ok_or_else(missing)?;
        let user = self
            .users
            .get(pick % self.users.len().max(1))
            .ok_or_else(missing)?;
        let alone = kind < 102;
        let mut plan = Vec::new();
        if alone {
            plan.push(Step::IssueAlone);
        } else {
            if end < 26 {
                plan.push(Step::Revoke);
            }
            plan.extend(std::iter::repeat_n(Step::Rotate, usize::from(rotations % 13)));
            plan.extend([Step::Issue, Step::Redeem, Step::Code]);
        }
        Ok(OpenGrant {
            id: self.random.uuid_at(self.now())?,
            sequence: 0,
            client: *client,
            subject: (!alone).then_some(*user),
            plan,
            generation: 0,
        })
    }

    fn event(&self, grant: &mut OpenGrant, step: Step) -> Result<GrantEvent, ProjectionError> {
        let at = self.now();
        let hour = chrono::TimeDelta::hours(1);
        let access = AccessToken {
            digest: Digest(self.random.bytes()?),
            expires_at: at + hour,
            confirmation: None,
        };
        grant.generation += u32::from(matches!(step, Step::Issue | Step::Rotate));
        let refresh = RefreshToken {
            digest: Digest(self.random.bytes()?),
            expires_at: at + hour * 720,
            generation: grant.generation,
            confirmation: None,
        };
        let (client, subject) = (grant.client, grant.subject);
        let scope: ScopeSet = ["get_user_profile", "openid", "payments.read"]
            .into_iter()
            .collect();
        let audience = vec!["https://api.example.com".to_owned()];
        Ok(match step {
            Step::Code => self.code(grant, scope, audience)?.into(),
            Step::Redeem => CodeRedeemed { client, at }.into(),
            Step::Issue | Step::IssueAlone => TokenIssued {
                flow: subject.map_or(GrantType::ClientCredentials, |_| GrantType::AuthorizationCode),
                client,
                subject,
                scope,
                audience,
                authorization_details: None,
                details: None,
                access,
                refresh: subject.map(|_| refresh),
                password_generation: 0,
                issued_at: at,
                grant_expires_at: at + hour * 8760,
            }
            .into(),
            Step::Rotate => RefreshRotated {
                client,
                subject,
                scope,
                audience,
                details: None,
                access,
                refresh,
                issued_at: at,
            }
            .into(),
            Step::Revoke => TokenRevoked {
                target: Target::Family,
                reason: Reason::ClientRequest,
                at,
            }
            .into(),
        })
    }

    fn code(
        &self,
        grant: &OpenGrant,
        scope: ScopeSet,
        audience: Vec<String>,
    ) -> Result<CodeIssued, ProjectionError> {
        let at = self.now();
        let subject = grant.subject.unwrap_or(SubjectId(Uuid::nil()));
        Ok(CodeIssued {
            client: grant.client,
            subject,
            session: Some(SessionId(self.random.uuid()?)),
            auth_time: Some(at),
            amr: None,
            nonce: None,
            id_token_claims: None,
            individual_claims: None,
            scope,
            audience,
            authorization_details: None,
            digest: Digest(self.random.bytes()?),
            redirect_uri: "https://client.example.com/callback".to_owned(),
            redirect_uri_required: true,
            challenge: Some(Challenge {
                method: Method::S256,
                digest: Digest(self.random.bytes()?),
            }),
            confirmation: None,
            password_generation: 0,
            management: None,
            consent_withdrawals: 0,
            issued_at: at,
            expires_at: at + chrono::TimeDelta::minutes(1),
            grant_expires_at: at + chrono::TimeDelta::days(365),
        })
    }
}

fn metadata() -> ClientMetadata {
    ClientMetadata {
        client_name: "Synthetic".to_owned(),
        redirect_uris: vec!["https://client.example.com/callback".to_owned()],
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        token_endpoint_auth_method: AuthMethod::ClientSecretBasic,
        jwks: None,
        tls_client_auth: None,
        tls_client_certificate_bound_access_tokens: false,
        jwks_uri: None,
        post_logout_redirect_uris: Vec::new(),
        backchannel_logout_uri: None,
        backchannel_logout_session_required: false,
        scope: ScopeSet::default(),
        default_scopes: ScopeSet::default(),
        authorization_details_types: Vec::new(),
        audience: Vec::new(),
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
        access_token_lifetime: 3600,
        refresh_token_lifetime: 2_592_000,
        lifetimes: BTreeMap::new(),
        refresh_grace: None,
        require_pushed_authorization_requests: false,
        require_signed_request_object: false,
        request_object_signing_alg: None,
        authorization_signed_response_alg: None,
        profile: None,
        dpop_bound_access_tokens: false,
        allowed_origins: Vec::new(),
        home_page_url: None,
        logo_url: None,
        privacy_policy_url: None,
        tos_uri: None,
        contacts: Vec::new(),
        software_id: None,
        software_version: None,
        application_type: None,
        subject_type: SubjectType::Public,
        sector_identifier_uri: None,
        default_max_age: None,
        is_live: true,
        owner: None,
    }
}
