//! Live refresh tokens become grants: each may be presented once, for one of ours.

use chrono::TimeDelta;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::clients::{Clients, Known};
use super::record::{Place, Read, TokenRow};
use super::stages::Tokens;
use super::{IMPORTED_REFRESH, Import, ImportError, Kind, Progress, join, passport, short, tables};
use crate::clock::Timestamp;
use crate::domain::AggregateType;
use crate::domain::client::GrantType;
use crate::domain::consent::{Consent, ConsentCommand, Terms};
use crate::domain::grant::{Grant, GrantImported, RefreshToken};
use crate::domain::value::{ScopeSet, is_scope_token};
use crate::ids::{GrantId, SubjectId};
use crate::ledger::{Context, Ledger, LedgerError};

/// Tokens that are looked up and appended together; several such chunks are under way at once.
const CHUNK: usize = 512;
/// Chunks under way.
const AT_ONCE: usize = 3;

/// A grant about to be imported.
struct Newcomer {
    place: Place,
    /// The old token's name: its digest.
    name: String,
    event: GrantImported,
}

enum Fate {
    Imported,
    AlreadyThere,
    Skipped(String),
}

type Appending = JoinSet<Result<Vec<(Place, Fate)>, ImportError>>;

/// A token that can be used as far as its row says, or why not.
type Joined = Read<TokenRow>;

impl Import {
    pub(super) async fn grants(&mut self, tokens: Tokens, clients: Clients) -> Result<(), ImportError> {
        let table = match self.options.kind {
            Kind::Passport => passport::REFRESH_TOKENS,
            Kind::Tables => tables::REFRESH_TOKENS,
        };
        let total = match &tokens {
            Tokens::Passport { live, .. } => *live,
            Tokens::Tables => 0,
        };
        let counted = matches!(tokens, Tokens::Tables);
        let mut chunks = self.joined(tokens);
        let mut appending = Appending::new();
        let mut done = 0;
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk?;
            done += u64::try_from(chunk.len()).unwrap_or_default();
            let newcomers = self.resolve(table, chunk, &clients, counted).await?;
            if appending.len() >= AT_ONCE {
                self.settle(table, &mut appending).await?;
            }
            self.start(newcomers, &mut appending);
            (self.tell)(Progress {
                stage: "grants",
                done,
                total: total.max(done),
            });
        }
        while !appending.is_empty() {
            self.settle(table, &mut appending).await?;
        }
        Ok(())
    }

    /// The tokens in chunks, joined or read on a thread of their own.
    fn joined(&self, tokens: Tokens) -> mpsc::Receiver<Result<Vec<Joined>, ImportError>> {
        let (sender, receiver) = mpsc::channel(2);
        let (files, options) = (self.files.clone(), self.options.clone());
        let now = self.operations.ledger.clock().now();
        tokio::task::spawn_blocking(move || {
            let mut chunk: Vec<Joined> = Vec::with_capacity(CHUNK);
            let mut add = |joined: Joined| {
                chunk.push(joined);
                if chunk.len() < CHUNK {
                    return Ok(());
                }
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                sender
                    .blocking_send(Ok(full))
                    .map_err(|_| ImportError::Interrupted)
            };
            let result = match tokens {
                Tokens::Passport { refresh, access, .. } => join::join(refresh, access, |joined| {
                    add(joined.map_err(|remark| {
                        let (row, id) = (remark.row, remark.id);
                        (Place { row, id }, remark.reason)
                    }))
                }),
                Tokens::Tables => files.for_each(
                    tables::REFRESH_TOKENS,
                    &["id", "client_id", "refresh_token", "expired_at"],
                    |row, _| add(tables::refresh_token(&row, &options, now)),
                ),
            };
            // A receiver that is gone had an error of its own.
            let _ = sender.blocking_send(result.map(|()| chunk));
        });
        receiver
    }

    /// Finds client, user and scope of each token, and which are here already.
    async fn resolve(
        &mut self,
        table: &'static str,
        chunk: Vec<Joined>,
        clients: &Clients,
        counted: bool,
    ) -> Result<Vec<Newcomer>, ImportError> {
        let now = self.operations.ledger.clock().now();
        let mut newcomers = Vec::with_capacity(chunk.len());
        for joined in chunk {
            self.report.counts(table).read += u64::from(counted);
            let found = joined.and_then(|token| {
                let place = token.place.clone();
                self.newcomer(token, clients, now)
                    .map_err(|reason| (place, reason))
            });
            match found {
                Ok(newcomer) if !self.tokens.insert(short(&newcomer.event.refresh.digest.0)) => {
                    let reason = "an earlier row has the same token";
                    self.report.skip(newcomer.place.remark(table, reason))?;
                }
                Ok(newcomer) => newcomers.push(newcomer),
                Err((place, reason)) => self.report.skip(place.remark(table, reason))?,
            }
        }
        let newcomers = self.of_known_users(table, newcomers).await?;
        let names: Vec<(&'static str, String)> = newcomers
            .iter()
            .map(|newcomer| (IMPORTED_REFRESH, newcomer.name.clone()))
            .collect();
        let present = self.operations.ledger.find_names(&names).await?;
        let counts = self.report.counts(table);
        let mut fresh = Vec::new();
        for newcomer in newcomers {
            if present.contains_key(&(IMPORTED_REFRESH, newcomer.name.clone())) {
                counts.already_there += 1;
            } else {
                fresh.push(newcomer);
            }
        }
        if self.options.dry_run {
            counts.imported += u64::try_from(fresh.len()).unwrap_or_default();
            return Ok(Vec::new());
        }
        Ok(fresh)
    }

    fn newcomer(&self, token: TokenRow, clients: &Clients, now: Timestamp) -> Result<Newcomer, String> {
        let Known { key, flow, audience } = clients
            .get(&token.client)
            .ok_or("its client is not imported")?
            .clone();
        let subject = token
            .user
            .as_ref()
            .map(|user| SubjectId(self.id_here("user", user)));
        let flow = token.flow.unwrap_or(flow);
        if subject.is_none() && flow != GrantType::ClientCredentials {
            return Err("it has no user".to_owned());
        }
        let scope = self.scope(token.scopes)?;
        let grant_expires_at = now + TimeDelta::days(i64::from(self.options.grant_lifetime_days));
        Ok(Newcomer {
            place: token.place,
            name: token.digest.to_string(),
            event: GrantImported {
                source: self.options.source.clone(),
                flow,
                client: key,
                subject,
                scope,
                audience: if token.audience.is_empty() {
                    audience
                } else {
                    token.audience
                },
                refresh: RefreshToken {
                    digest: token.digest,
                    expires_at: token.expires_at.min(grant_expires_at),
                    generation: 1,
                    confirmation: None,
                },
                consent_withdrawals: 0,
                imported_at: now,
                grant_expires_at,
            },
        })
    }

    /// `*` stands for the scopes that the administrator named.
    fn scope(&self, scopes: Vec<String>) -> Result<ScopeSet, String> {
        if let Some(bad) = scopes.iter().position(|scope| !is_scope_token(scope)) {
            return Err(format!("its scope number {} is malformed", bad + 1));
        }
        if !scopes.iter().any(|scope| scope == "*") {
            return Ok(scopes.into_iter().collect());
        }
        if self.options.scope.is_empty() {
            return Err("its scope is *: say with --scope what that means".to_owned());
        }
        let named: ScopeSet = scopes.into_iter().filter(|scope| scope != "*").collect();
        Ok(named.union(&self.options.scope))
    }

    /// Leaves out tokens of users who are neither imported nor here.
    async fn of_known_users(
        &mut self,
        table: &'static str,
        newcomers: Vec<Newcomer>,
    ) -> Result<Vec<Newcomer>, ImportError> {
        let unknown: Vec<Uuid> = newcomers
            .iter()
            .filter_map(|newcomer| newcomer.event.subject)
            .filter(|subject| !self.subjects.contains(&short(subject.0.as_bytes())))
            .map(|subject| subject.0)
            .collect();
        let found = self
            .operations
            .ledger
            .existing(AggregateType::User, &unknown)
            .await?;
        self.subjects.extend(found.iter().map(|id| short(id.as_bytes())));
        let mut known = Vec::with_capacity(newcomers.len());
        for newcomer in newcomers {
            let is_known = newcomer
                .event
                .subject
                .is_none_or(|subject| self.subjects.contains(&short(subject.0.as_bytes())));
            if is_known {
                known.push(newcomer);
            } else {
                self.report
                    .skip(newcomer.place.remark(table, "its user is not imported"))?;
            }
        }
        Ok(known)
    }

    /// Appends a chunk: its commands share batches with those of the other chunks under way.
    fn start(&self, newcomers: Vec<Newcomer>, appending: &mut Appending) {
        if newcomers.is_empty() {
            return;
        }
        let (ledger, context) = (self.operations.ledger.clone(), self.context.clone());
        appending.spawn(async move {
            let mut tasks = JoinSet::new();
            for newcomer in newcomers {
                let (ledger, context) = (ledger.clone(), context.clone());
                tasks.spawn(async move {
                    let fate = append(&ledger, &context, &newcomer).await;
                    fate.map(|fate| (newcomer.place, fate))
                });
            }
            let mut fates = Vec::with_capacity(tasks.len());
            while let Some(done) = tasks.join_next().await {
                fates.push(done.map_err(|_| ImportError::Interrupted)??);
            }
            Ok(fates)
        });
    }

    async fn settle(&mut self, table: &'static str, appending: &mut Appending) -> Result<(), ImportError> {
        let Some(done) = appending.join_next().await else {
            return Ok(());
        };
        for (place, fate) in done.map_err(|_| ImportError::Interrupted)?? {
            match fate {
                Fate::Imported => self.report.counts(table).imported += 1,
                Fate::AlreadyThere => self.report.counts(table).already_there += 1,
                Fate::Skipped(reason) => self.report.skip(place.remark(table, reason))?,
            }
        }
        Ok(())
    }
}

/// Appends a grant, with the consent that it rests on where the user has not given it here.
async fn append(ledger: &Ledger, context: &Context, newcomer: &Newcomer) -> Result<Fate, ImportError> {
    let mut unit = ledger.unit_of_work(context);
    loop {
        let at = unit.at();
        let event = &newcomer.event;
        let id = GrantId(ledger.random().uuid_at(at).map_err(LedgerError::from)?);
        let grant = unit.create::<Grant>(id.0);
        if let Some(subject) = event
            .subject
            .filter(|_| event.flow == GrantType::AuthorizationCode)
        {
            let consent = unit.load::<Consent>(Consent::id(subject, event.client)).await?;
            if consent.withdrawals > 0 {
                return Ok(Fate::Skipped(
                    "its user has withdrawn the consent here".to_owned(),
                ));
            }
            if !event.scope.is_subset(&consent.scope) {
                let given = consent.decide(&ConsentCommand::Give {
                    subject,
                    client: event.client,
                    terms: Terms {
                        scope: event.scope.clone(),
                        ..Terms::default()
                    },
                    authorization_details: None,
                    at,
                });
                unit.also(&consent, &given.events)?;
            }
        }
        unit.claim::<Grant>(IMPORTED_REFRESH, &newcomer.name, id.0);
        match unit.conclude(&grant, grant.import(event)).await {
            Ok(Some(_)) => return Ok(Fate::Imported),
            Ok(None) => {}
            Err(LedgerError::NameTaken(_)) => return Ok(Fate::AlreadyThere),
            Err(error) => return Err(error.into()),
        }
    }
}
