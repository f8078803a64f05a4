//! Users: personal data is sealed under fresh data keys, passwords keep their hash until the next login.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::record::{UserPassword, UserRow};
use super::report::Remark;
use super::{Import, ImportError, Kind, Progress, passport, short, tables};
use crate::crypto::vault::DataKey;
use crate::domain::AggregateType;
use crate::domain::claim_value::is_addr_spec;
use crate::domain::user::{User, UserCommand, UserRegistered};
use crate::ids::SubjectId;
use crate::ledger::{Context, LedgerError};
use crate::operations::user::{EMAIL, USERNAME, canonical_username, check_username, place};
use crate::operations::{OperationError, Operations};

/// What earlier rows of this run have: eight bytes each.
#[derive(Default)]
struct Met {
    ids: HashSet<u64>,
    names: HashSet<u64>,
}

/// A user that is new here, as it is appended.
struct Newcomer {
    subject: SubjectId,
    row: UserRow,
}

impl Import {
    pub(super) async fn users(&mut self) -> Result<(), ImportError> {
        let kind = self.options.kind;
        let (table, needed): (&'static str, &'static [&'static str]) = match kind {
            Kind::Passport => (passport::USERS, &["id"]),
            Kind::Tables => (tables::USERS, &["id", "username"]),
        };
        if !self.files.may_have(table) {
            return Ok(());
        }
        let total = self.files.bytes(table);
        let mut met = Met::default();
        let mut rows = self.files.stream(table, needed);
        while let Some(chunk) = rows.recv().await {
            let chunk = chunk?;
            let mut users = Vec::new();
            for row in chunk.rows {
                self.report.counts(table).read += 1;
                let read = match kind {
                    Kind::Passport => passport::user(&row, &self.options),
                    Kind::Tables => tables::user(&row, &self.options),
                };
                match read {
                    Ok(user) => match self.check(&user, &mut met) {
                        Ok(()) => users.push(user),
                        Err(reason) => self.report.skip(user.place.remark(table, reason))?,
                    },
                    Err((place, reason)) => self.report.skip(place.remark(table, reason))?,
                }
            }
            self.take(table, users).await?;
            (self.tell)(Progress {
                stage: "users",
                done: chunk.bytes,
                total,
            });
        }
        Ok(())
    }

    /// What can be said of a user without asking the database.
    fn check(&self, user: &UserRow, met: &mut Met) -> Result<(), String> {
        let id = self.id_here("user", &user.id);
        if !met.ids.insert(short(id.as_bytes())) {
            return Err("an earlier row has the same id".to_owned());
        }
        if let Err(OperationError::Invalid { problem, .. }) = check_username(&user.username) {
            return Err(format!("its user name: {problem}"));
        }
        if user.email.as_deref().is_some_and(|email| !is_addr_spec(email)) {
            return Err("its e-mail address is none".to_owned());
        }
        if user.name.as_ref().is_some_and(|name| name.len() > 256) {
            return Err("its name is longer than 256 bytes".to_owned());
        }
        let master = self.operations.ledger.vault().master();
        for (kind, name) in claims(user) {
            if !met.names.insert(short(&master.name_digest(kind, &name))) {
                return Err(format!("an earlier row has the same {kind}"));
            }
        }
        Ok(())
    }

    async fn take(&mut self, table: &'static str, users: Vec<UserRow>) -> Result<(), ImportError> {
        let newcomers: Vec<Newcomer> = users
            .into_iter()
            .map(|row| Newcomer {
                subject: SubjectId(self.id_here("user", &row.id)),
                row,
            })
            .collect();
        let ids: Vec<Uuid> = newcomers.iter().map(|newcomer| newcomer.subject.0).collect();
        let ledger = self.operations.ledger.clone();
        let present: HashSet<Uuid> = ledger.existing(AggregateType::User, &ids).await?;
        let names: Vec<(&'static str, String)> = newcomers
            .iter()
            .flat_map(|newcomer| claims(&newcomer.row))
            .collect();
        let taken = ledger.find_names(&names).await?;
        let mut fresh = Vec::new();
        for newcomer in newcomers {
            let subject = newcomer.subject.0;
            if present.contains(&subject) {
                self.subjects.insert(short(subject.as_bytes()));
                self.report.counts(table).already_there += 1;
                continue;
            }
            let clash = claims(&newcomer.row)
                .into_iter()
                .find(|claim| taken.get(claim).is_some_and(|owner| *owner != subject));
            match clash {
                Some((kind, _)) => {
                    let reason = format!("its {kind} is another user's here");
                    self.report.skip(newcomer.row.place.remark(table, reason))?;
                }
                None => fresh.push(newcomer),
            }
        }
        if self.options.dry_run {
            for newcomer in fresh {
                self.imported(table, newcomer.subject, &newcomer.row.place, newcomer.row.notes);
            }
            return Ok(());
        }
        self.append(table, fresh).await
    }

    fn imported(
        &mut self,
        table: &'static str,
        subject: SubjectId,
        place: &super::record::Place,
        notes: Vec<String>,
    ) {
        self.subjects.insert(short(subject.0.as_bytes()));
        self.report.counts(table).imported += 1;
        self.note(table, place, notes);
    }

    /// Appends a chunk of users at once: their commands share batches.
    async fn append(&mut self, table: &'static str, fresh: Vec<Newcomer>) -> Result<(), ImportError> {
        let subjects: Vec<Uuid> = fresh.iter().map(|newcomer| newcomer.subject.0).collect();
        let mut keys = self
            .operations
            .ledger
            .vault()
            .create_subjects(&subjects)
            .await
            .map_err(LedgerError::from)?;
        let mut tasks = JoinSet::new();
        for newcomer in fresh {
            let Some(key) = keys.remove(&newcomer.subject.0) else {
                let reason = "its data key was destroyed while it was imported";
                self.report.skip(newcomer.row.place.remark(table, reason))?;
                continue;
            };
            let (operations, context) = (self.operations.clone(), self.context.clone());
            let source = self.options.source.clone();
            tasks.spawn(async move {
                let fate = register(&operations, &context, (&newcomer, &key), &source).await;
                (newcomer, fate)
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (newcomer, fate) = done.map_err(|_| ImportError::Interrupted)?;
            let Newcomer { subject, row } = newcomer;
            match fate? {
                None => self.imported(table, subject, &row.place, row.notes),
                Some(remark) => {
                    let remark = Remark { table, ..remark };
                    self.report.skip(remark)?;
                }
            }
        }
        Ok(())
    }
}

/// The names that a user claims.
fn claims(user: &UserRow) -> Vec<(&'static str, String)> {
    let email = user.email.as_ref().map(|email| (EMAIL, email.to_lowercase()));
    std::iter::once((USERNAME, canonical_username(&user.username)))
        .chain(email)
        .collect()
}

/// Registers a user. A remark says why not.
async fn register(
    operations: &Operations,
    context: &Context,
    (newcomer, key): (&Newcomer, &Arc<DataKey>),
    source: &str,
) -> Result<Option<Remark>, ImportError> {
    let Newcomer { subject, row } = newcomer;
    let hash: Option<String> = match &row.password {
        UserPassword::None => None,
        UserPassword::Hash(hash) => Some(hash.clone()),
        UserPassword::Plain(password) => Some(
            operations
                .hasher
                .hash(password.clone())
                .await
                .map_err(OperationError::from)?,
        ),
    };
    let seal = |field, value: &str| {
        key.seal(operations.ledger.random(), &place(*subject, field), value)
            .map_err(LedgerError::from)
    };
    let seal_some = |field, value: Option<&str>| value.map(|value| seal(field, value)).transpose();
    let command = UserCommand::Register(UserRegistered {
        username: seal("username", row.username.trim())?,
        name: seal_some("name", row.name.as_deref())?,
        email: seal_some("email", row.email.as_deref())?,
        password: seal_some("password", hash.as_deref())?,
        imported: Some(source.to_owned()),
    });
    let mut unit = operations.ledger.unit_of_work(context);
    loop {
        let state = unit.load::<User>(subject.0).await?;
        for (kind, name) in claims(row) {
            unit.claim::<User>(kind, &name, subject.0);
        }
        match unit.conclude(&state, state.decide(&command)).await {
            Ok(Some(concluded)) => {
                let refused = concluded.outcome.err();
                return Ok(refused.map(|refusal| row.place.remark("", refusal.to_string())));
            }
            Ok(None) => {}
            Err(LedgerError::NameTaken(kind)) => {
                return Ok(Some(
                    row.place.remark("", format!("its {kind} is another user's here")),
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
