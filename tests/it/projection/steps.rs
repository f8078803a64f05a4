//! Random steps of a world.

use grantlog::domain::alert::{About, Alert, AlertCommand, AlertRaised, Cause, ContainmentApplied, Severity};
use grantlog::domain::client::{Approval, AuthMethod, ClientCommand, SecretVerifier};
use grantlog::domain::policy::Action;
use grantlog::domain::user::{LegalHold, ProfileUpdated, UserCommand};
use grantlog::ids::{ClientKey, SubjectId};

use super::world::World;

impl World {
    /// One random step.
    pub(crate) async fn step(&mut self) {
        if self.users.len() < 2 {
            self.register_user().await;
        }
        if self.clients.len() < 2 {
            self.register_client(AuthMethod::ClientSecretBasic).await;
        }
        let user = self.users[self.dice.below(self.users.len())];
        let client = self.clients[self.dice.below(self.clients.len())];
        let grant = self.dice.below(self.grants.len().max(1));
        let newest = self.grants.len().saturating_sub(1 + self.dice.below(4));
        match self.dice.below(100) {
            0..4 => _ = self.register_user().await,
            4..6 => _ = self.register_client(AuthMethod::ClientSecretBasic).await,
            6 => _ = self.register_client(AuthMethod::None).await,
            7..16 => self.user_step(user).await,
            16..24 => self.client_step(client).await,
            24..28 => self.give_consent(user, client).await,
            28..31 => {
                let held = self.grants.get(newest).cloned();
                if let Some((client, subject)) = held.and_then(|held| Some((held.client, held.subject?))) {
                    self.give_consent(subject, client).await;
                    self.withdraw_consent(subject, client).await;
                }
            }
            31..47 => _ = self.issue_code(user, client).await,
            47..50 => self.alert_step(client).await,
            50..54 => _ = self.issue_alone(client).await,
            54..56 => self.session_step(user).await,
            _ if self.grants.is_empty() => {}
            56 => self.count_uses(newest).await,
            57..72 => self.redeem(newest).await,
            72..90 => self.rotate(newest, 0).await,
            90..93 => {
                if let Some(rotated) = self.grants.iter().rposition(|held| held.refresh.len() > 1) {
                    self.rotate(rotated, 1).await;
                }
            }
            93 => self.rotate(grant, 1).await,
            94 => self.redeem(grant).await,
            95..98 => {
                let access = self.grants[grant].access.first().copied();
                if access.is_some() {
                    self.revoke(grant, access).await;
                }
            }
            _ => self.revoke(grant, None).await,
        }
    }

    /// An alert is raised, with or without what was done about it, or one is acknowledged.
    async fn alert_step(&mut self, client: ClientKey) {
        let last = self.alerts.last().copied();
        if let Some(alert) = last.filter(|_| self.dice.below(4) == 0) {
            let command = AlertCommand::Acknowledge {
                note: (self.dice.below(2) == 0).then(|| "seen".to_owned()),
            };
            let _ = self
                .act::<Alert, _, _>(alert, |state| state.decide(&command))
                .await;
            return;
        }
        let at = self.ledger.clock().now();
        let cause = Cause::Policy {
            rule: "scope-probing".to_owned(),
            rule_version: 1,
            position: 1,
        };
        let containment = ContainmentApplied {
            action: Action::SuspendClient,
            cause,
            grants: Vec::new(),
            clients: vec![client],
            subjects: Vec::new(),
            sessions: None,
            networks: None,
        };
        let alert = AlertRaised {
            rule: "scope-probing".to_owned(),
            rule_version: 1,
            rule_hash: self.digest(),
            title: "Scopes are probed".to_owned(),
            severity: Severity::ALL[self.dice.below(Severity::ALL.len())],
            technique: "T1528".to_owned(),
            about: About {
                client: Some(client),
                ..About::default()
            },
            position: 1,
            at,
            evidence: vec![1],
            count: 5,
            summary: "five \"scopes\"".to_owned(),
            dossier: None,
        };
        let command = AlertCommand::Raise {
            alert: Box::new(alert),
            containment: (self.dice.below(2) == 0).then_some(containment),
        };
        let id = self.ledger.random().uuid().unwrap();
        let _ = self.act::<Alert, _, _>(id, |state| state.decide(&command)).await;
        self.alerts.push(id);
    }

    async fn user_step(&mut self, user: SubjectId) {
        let password = self.seal(user, "password", "another").await;
        let reason = "because".to_owned();
        let command = match self.dice.below(12) {
            0..3 => UserCommand::ChangePassword(password),
            3 => UserCommand::RehashPassword(password),
            4..7 => UserCommand::UpdateProfile(ProfileUpdated {
                name: None,
                email: Some(self.seal(user, "email", "someone@example.com").await),
            }),
            7 => UserCommand::Disable { reason },
            8 => UserCommand::Enable,
            9 => UserCommand::PlaceHold {
                hold: LegalHold {
                    reason: self.seal(user, "legal_hold", "a lawsuit").await,
                    until: None,
                },
                at: self.ledger.clock().now(),
            },
            10 => UserCommand::LiftHold {
                reason: self.seal(user, "legal_hold", "it is over").await,
            },
            _ => return self.erase(user).await,
        };
        self.user(user, command).await;
    }

    async fn client_step(&mut self, client: ClientKey) {
        let reason = "because".to_owned();
        let approval = |step| ClientCommand::Approval {
            scope: "b".to_owned(),
            step,
            reason: "because".to_owned(),
        };
        let command = match self.dice.below(16) {
            0..3 => ClientCommand::Update(Box::new(self.metadata(AuthMethod::Any))),
            3..6 => ClientCommand::RotateSecret {
                verifier: SecretVerifier::Sha256(self.digest()),
                retire_at: self.ledger.clock().now(),
                at: self.ledger.clock().now(),
            },
            6..8 => ClientCommand::Suspend { reason },
            8..10 => ClientCommand::Reinstate,
            10 => approval(Approval::Requested),
            11..13 => approval(Approval::Approved),
            13 => approval(Approval::Rejected),
            14 => approval(Approval::Withdrawn),
            _ => ClientCommand::Revoke { reason },
        };
        self.client(client, command).await;
    }
}
