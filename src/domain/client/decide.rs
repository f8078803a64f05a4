//! What may be done to a client, and when it may not.

use super::{
    Approval, Client, ClientEvent, ClientMetadata, ClientRegistered, ClientReinstated, ClientRevoked,
    ClientSecretAdded, ClientSecretRetired, ClientSuspended, ClientThrottled, ClientUpdated, ExchangeMode,
    ExchangeRule, Registration, ScopeApprovalRequested, ScopeApprovalWithdrawn, ScopeApproved, ScopeRejected,
    SecretVerifier, Standing,
};
use crate::clock::Timestamp;
use crate::domain::Decision;
use crate::ids::ClientKey;

/// Commands on a client.
#[derive(Clone, Debug)]
pub enum ClientCommand {
    /// Register it, with its first secret where it has one.
    Register {
        /// Its name on the wire.
        client_id: String,
        /// What it is and may do.
        metadata: Box<ClientMetadata>,
        /// What checks its secret.
        verifier: Option<SecretVerifier>,
        /// Which import brings it.
        imported: Option<String>,
    },
    /// Replace its metadata.
    Update(Box<ClientMetadata>),
    /// Add a secret; the newest before it ends at `retire_at`, an older one at once.
    RotateSecret {
        /// What checks the new one.
        verifier: SecretVerifier,
        /// When the one before ends.
        retire_at: Timestamp,
        /// Now.
        at: Timestamp,
    },
    /// Block it.
    Suspend {
        /// Why.
        reason: String,
    },
    /// Let it have few tokens for a while.
    Throttle {
        /// Requests that are answered within a minute.
        per_minute: u32,
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// Unblock it.
    Reinstate,
    /// Block it for good.
    Revoke {
        /// Why.
        reason: String,
    },
    /// Take a step of a restricted scope's approval. A step that was the last one already changes nothing.
    Approval {
        /// The scope.
        scope: String,
        /// The step.
        step: Approval,
        /// Why; needed where it denies.
        reason: String,
    },
    /// Let it exchange tokens of a client.
    AllowExchange(ExchangeRule),
    /// Let it exchange them no more.
    DisallowExchange {
        /// Whose tokens.
        subject_client: ClientKey,
        /// In which mode.
        mode: ExchangeMode,
        /// Why.
        reason: String,
    },
}

/// Why a client command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefusal {
    /// The id is in use.
    #[error("this client exists already")]
    Exists,
    /// Never registered.
    #[error("there is no such client")]
    Unknown,
    /// Revoked for good.
    #[error("this client is revoked for good")]
    Revoked,
    /// Suspended: it cannot change itself.
    #[error("this client is suspended")]
    Suspended,
    /// It was registered under a software statement, and is replaced under one of the same signer only.
    #[error("this client was registered under a software statement: send one of the same issuer")]
    StatementMissing,
    /// A public client has no secret.
    #[error("a public client has no secret")]
    Public,
    /// What it was given while it authenticated would be good without from then on.
    #[error(
        "a client that authenticates cannot become public: the refresh tokens that it has would be good for whoever finds \
         them. Register another client"
    )]
    BecomesPublic,
    /// `sub` is the same for as long as a grant lives (OpenID Connect Core §12.2), and another sector's is not to be had by
    /// naming that sector's address.
    #[error(
        "the sector of a client's subjects stays: its users would be known by another sub, the one of another sector's \
         clients. Register another client"
    )]
    ChangesSector,
    /// A secret that all installations share is none.
    #[error(
        "a native application is no place for a secret (RFC 6749 §10.1): use none, or a key of each installation"
    )]
    NativeSecret,
    /// A client that proves to hold a key has no secret.
    #[error("a client that authenticates with private_key_jwt or a certificate has no secret")]
    Keyed,
    /// Not what this client may do.
    #[error("the scope {0} is not among the scopes that this client may ask for")]
    ScopeNotAllowed(String),
    /// Nothing to withdraw.
    #[error("the scope {0} is not approved for this client: there is nothing to withdraw")]
    NotApproved(String),
    /// Nothing to reject.
    #[error("no approval of the scope {0} is asked for: there is nothing to reject")]
    NotRequested(String),
    /// What is approved is neither asked for nor rejected, but withdrawn.
    #[error("the scope {0} is approved for this client already (`withdraw-scope` takes it back)")]
    AlreadyApproved(String),
    /// A denial says why.
    #[error("a rejection or withdrawal needs a reason")]
    ReasonMissing,
    /// Who exchanges tokens must authenticate.
    #[error("a public client cannot exchange tokens")]
    PublicExchange,
    /// A rule says for whom the exchanged tokens are.
    #[error("a rule for exchanges needs at least one audience")]
    ExchangeAudienceMissing,
    /// Each rule is loaded with the client.
    #[error("this client has as many rules for exchanges as a client may have")]
    TooManyExchangeRules,
    /// Nothing to take back.
    #[error("this client may not exchange such tokens: there is nothing to take back")]
    ExchangeNotAllowed,
}

impl Client {
    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &ClientCommand) -> Decision<ClientEvent, (), ClientRefusal> {
        match (command, &self.registration) {
            (
                ClientCommand::Register {
                    client_id,
                    metadata,
                    verifier,
                    imported,
                },
                None,
            ) => {
                let registered = ClientRegistered {
                    client_id: client_id.clone(),
                    metadata: (**metadata).clone(),
                    imported: imported.clone(),
                };
                let secret = verifier
                    .clone()
                    .map(|verifier| ClientSecretAdded { number: 1, verifier }.into());
                Decision::accept(std::iter::once(registered.into()).chain(secret).collect(), ())
            }
            (ClientCommand::Register { .. }, Some(_)) => Decision::refuse(ClientRefusal::Exists),
            (
                ClientCommand::Update(_)
                | ClientCommand::RotateSecret { .. }
                | ClientCommand::Suspend { .. }
                | ClientCommand::Throttle { .. }
                | ClientCommand::Reinstate
                | ClientCommand::Revoke { .. }
                | ClientCommand::Approval { .. }
                | ClientCommand::AllowExchange(_)
                | ClientCommand::DisallowExchange { .. },
                None,
            ) => Decision::refuse(ClientRefusal::Unknown),
            (command, Some(registration)) => match registration.decide(command) {
                Ok(events) => Decision::accept(events, ()),
                Err(refusal) => Decision::refuse(refusal),
            },
        }
    }
}

impl Registration {
    fn decide(&self, command: &ClientCommand) -> Result<Vec<ClientEvent>, ClientRefusal> {
        if self.standing == Standing::Revoked {
            return Err(ClientRefusal::Revoked);
        }
        self.check_secret_of_native(command)?;
        Ok(match command {
            ClientCommand::Register { .. } => return Err(ClientRefusal::Exists),
            ClientCommand::Update(metadata) if **metadata == self.metadata => Vec::new(),
            ClientCommand::Update(metadata) => vec![self.update(metadata)?],
            ClientCommand::RotateSecret { .. } if self.metadata.is_public() => {
                return Err(ClientRefusal::Public);
            }
            ClientCommand::RotateSecret { .. } if !self.metadata.has_secret() => {
                return Err(ClientRefusal::Keyed);
            }
            ClientCommand::RotateSecret {
                verifier,
                retire_at,
                at,
            } => self.rotate_secret(verifier, *retire_at, *at),
            ClientCommand::Suspend { reason } if self.standing == Standing::Active => {
                vec![
                    ClientSuspended {
                        reason: reason.clone(),
                    }
                    .into(),
                ]
            }
            ClientCommand::Throttle {
                per_minute,
                until,
                reason,
            } => vec![throttled(*per_minute, *until, reason)],
            ClientCommand::Reinstate if self.standing == Standing::Suspended || self.throttle.is_some() => {
                vec![ClientReinstated {}.into()]
            }
            ClientCommand::Suspend { .. } | ClientCommand::Reinstate => Vec::new(),
            ClientCommand::Revoke { reason } => vec![
                ClientRevoked {
                    reason: reason.clone(),
                }
                .into(),
            ],
            ClientCommand::Approval { scope, step, reason } => {
                self.approve(scope, *step, reason)?.into_iter().collect()
            }
            ClientCommand::AllowExchange(rule) => self.allow_exchange(rule)?.into_iter().collect(),
            ClientCommand::DisallowExchange {
                subject_client,
                mode,
                reason,
            } => vec![self.disallow_exchange(*subject_client, *mode, reason)?],
        })
    }

    /// A change of the metadata. What its grants rest on stays: that it authenticates, and whom its users are known as.
    pub(super) fn update(&self, metadata: &ClientMetadata) -> Result<ClientEvent, ClientRefusal> {
        if metadata.is_public() && !self.metadata.is_public() {
            return Err(ClientRefusal::BecomesPublic);
        }
        if self.changes_sector(metadata) {
            return Err(ClientRefusal::ChangesSector);
        }
        let metadata = metadata.clone();
        Ok(ClientUpdated { metadata }.into())
    }

    /// Two secrets may overlap: the newest stays until `retire_at`, an older one ends now.
    pub(super) fn rotate_secret(
        &self,
        verifier: &SecretVerifier,
        retire_at: Timestamp,
        at: Timestamp,
    ) -> Vec<ClientEvent> {
        let newest = self.secrets.last().map(|secret| secret.number);
        let retired = self.secrets.iter().filter_map(|secret| {
            let end = if Some(secret.number) == newest {
                retire_at
            } else {
                at
            };
            let sooner = secret.retired_at.is_none_or(|known| end < known);
            let retired = ClientSecretRetired {
                number: secret.number,
                at: end,
            };
            sooner.then(|| retired.into())
        });
        let added = ClientSecretAdded {
            number: self.secrets_added + 1,
            verifier: verifier.clone(),
        };
        retired.chain(std::iter::once(added.into())).collect()
    }

    /// Which step of an approval may follow which:
    ///
    /// | | requested | approved | rejected | withdrawn |
    /// |---|---|---|---|---|
    /// | nothing yet | yes | yes | no: not requested | no: not approved |
    /// | requested | stays | yes | yes | no: not approved |
    /// | approved | no: already approved | stays | no: already approved | yes |
    /// | rejected | yes | yes | stays | no: not approved |
    /// | withdrawn | yes | yes | no: not requested | stays |
    ///
    /// An administrator may approve without having been asked, and may change a no into a yes. Only what the
    /// client may ask for is requested or approved; a no is always possible.
    fn approve(
        &self,
        scope: &str,
        step: Approval,
        reason: &str,
    ) -> Result<Option<ClientEvent>, ClientRefusal> {
        let grants = matches!(step, Approval::Requested | Approval::Approved);
        if grants && !self.metadata.scope.contains(scope) {
            return Err(ClientRefusal::ScopeNotAllowed(scope.to_owned()));
        }
        if !grants && reason.trim().is_empty() {
            return Err(ClientRefusal::ReasonMissing);
        }
        let stands = self.approvals.get(scope).copied();
        if stands == Some(step) {
            return Ok(None);
        }
        let (scope, reason) = (scope.to_owned(), reason.trim().to_owned());
        Ok(Some(match (step, stands) {
            (Approval::Requested | Approval::Rejected, Some(Approval::Approved)) => {
                return Err(ClientRefusal::AlreadyApproved(scope));
            }
            (Approval::Requested, _) => ScopeApprovalRequested { scope, reason }.into(),
            (Approval::Approved, _) => ScopeApproved { scope, reason }.into(),
            (Approval::Rejected, Some(Approval::Requested)) => ScopeRejected { scope, reason }.into(),
            (Approval::Rejected, _) => return Err(ClientRefusal::NotRequested(scope)),
            (Approval::Withdrawn, Some(Approval::Approved)) => {
                ScopeApprovalWithdrawn { scope, reason }.into()
            }
            (Approval::Withdrawn, _) => return Err(ClientRefusal::NotApproved(scope)),
        }))
    }
}

fn throttled(per_minute: u32, until: Timestamp, reason: &str) -> ClientEvent {
    let reason = reason.to_owned();
    ClientThrottled {
        per_minute,
        until,
        reason,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Approval::{Approved, Rejected, Requested, Withdrawn};

    /// Of requesting, approving, rejecting, withdrawing: how many events, or why not.
    type Outcomes = [Result<usize, ClientRefusal>; 4];

    fn registered() -> Client {
        let metadata = serde_json::json!({
            "client_name": "x", "redirect_uris": [], "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "client_secret_basic", "scope": ["detail-user"],
            "default_scopes": [], "audience": [], "introspects": [], "legacy": false,
            "access_token_algorithm": "ES256", "access_token_lifetime": 60, "refresh_token_lifetime": 60,
            "refresh_grace": null, "allowed_origins": [], "home_page_url": null, "logo_url": null,
            "privacy_policy_url": null, "is_live": false, "owner": null,
        });
        let command = ClientCommand::Register {
            client_id: "x".to_owned(),
            metadata: Box::new(serde_json::from_value(metadata).unwrap()),
            verifier: None,
            imported: None,
        };
        let mut client = Client::default();
        act(&mut client, &command).unwrap();
        client
    }

    /// How many events it came to.
    fn act(client: &mut Client, command: &ClientCommand) -> Result<usize, ClientRefusal> {
        let decision = client.decide(command);
        let events = decision.events.len();
        decision.events.into_iter().for_each(|event| client.evolve(event));
        decision.outcome.map(|()| events)
    }

    fn step(step: Approval, scope: &str, reason: &str) -> ClientCommand {
        ClientCommand::Approval {
            scope: scope.to_owned(),
            step,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn an_approval_takes_the_steps_of_its_table_and_no_other() {
        let no = |refusal: fn(String) -> ClientRefusal| Err(refusal("detail-user".to_owned()));
        let (approved, unasked, nothing) = (
            no(ClientRefusal::AlreadyApproved),
            no(ClientRefusal::NotRequested),
            no(ClientRefusal::NotApproved),
        );
        let ways: [(&[Approval], Outcomes); 5] = [
            (&[], [Ok(1), Ok(1), unasked.clone(), nothing.clone()]),
            (&[Requested], [Ok(0), Ok(1), Ok(1), nothing.clone()]),
            (&[Approved], [approved.clone(), Ok(0), approved, Ok(1)]),
            (&[Requested, Rejected], [Ok(1), Ok(1), Ok(0), nothing]),
            (&[Approved, Withdrawn], [Ok(1), Ok(1), unasked, Ok(0)]),
        ];
        for (before, outcomes) in ways {
            for (next, outcome) in [Requested, Approved, Rejected, Withdrawn]
                .into_iter()
                .zip(outcomes)
            {
                let mut client = registered();
                for taken in before {
                    act(&mut client, &step(*taken, "detail-user", "because")).unwrap();
                }
                let stood = client.clone();
                let came = act(&mut client, &step(next, "detail-user", "because"));
                assert_eq!(came, outcome, "{before:?} then {next:?}");
                let stands = client.registration.as_ref().unwrap().is_approved("detail-user");
                match came {
                    Ok(1) => assert_eq!(stands, next == Approved),
                    _ => assert_eq!(client, stood),
                }
            }
        }
    }

    #[test]
    fn a_denial_needs_a_reason_and_a_yes_a_scope_that_the_client_may_ask_for() {
        let mut client = registered();
        for denial in [Rejected, Withdrawn] {
            let came = act(&mut client, &step(denial, "detail-user", " \n"));
            assert_eq!(came, Err(ClientRefusal::ReasonMissing));
        }
        for wish in [Requested, Approved] {
            let came = act(&mut client, &step(wish, "other", ""));
            assert_eq!(came, Err(ClientRefusal::ScopeNotAllowed("other".to_owned())));
        }
        assert_eq!(act(&mut client, &step(Approved, "detail-user", "")), Ok(1));
    }
}
