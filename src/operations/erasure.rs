//! Erasure: a subject's keys are destroyed, its names given up, the tables that show it blanked. The ledger stays as it
//! is: what it holds of the subject can be read by nobody any more (`docs/erasure.md`).

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::erasure_names::Names;
use super::user::{EMAIL, USERNAME, canonical_username};
use super::{OperationError, Operations};
use crate::domain::user::{User, UserCommand};
use crate::ids::SubjectId;
use crate::ledger::{Context, LANE, LedgerError};
use crate::projection::ProjectionRunner;
use crate::projection::replay::{NotBlanked, as_of_schemas, blank_all_erased};

/// Erased subjects that are looked at together.
const AT_ONCE: i64 = 10_000;

/// What an erasure of a user destroys, gives up, blanks, ends and leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Inventory {
    /// Whose.
    pub sub: SubjectId,
    /// Destroyed: what they encrypt can be read by nobody any more, in any copy.
    pub destroyed: Destroyed,
    /// Given up: the kinds of names, which others may have from then on.
    pub names_given_up: Vec<&'static str>,
    /// Blanked: rows of tables that show personal data in clear.
    pub blanked: Vec<Blanked>,
    /// Ended: none of it is good from then on. None where no server ever made the tables that say so.
    pub ended: Option<Ended>,
    /// Kept: events that stay as they are, with what was encrypted in them.
    pub kept: Kept,
    /// Positions of events with a text of an administrator that names the user, in clear: they stay. Of events that are
    /// not the user's own the newest ten thousand with each name or word of one are looked through.
    pub named_in_clear: Vec<i64>,
}

/// Keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Destroyed {
    /// Whether there is a key to names, addresses, claims and the password's hash.
    pub personal_key: bool,
    /// The months for which there is a key to addresses and user agents.
    pub network_keys: Vec<String>,
}

/// Rows that are blanked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Blanked {
    /// The table.
    pub table: String,
    /// How many rows of it; none where this server's role cannot look into it.
    pub rows: Option<i64>,
}

/// What ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ended {
    /// Browser logins.
    pub sessions: i64,
    /// Grants with a token that is alive.
    pub grants: i64,
    /// Consents that stand.
    pub consents: i64,
}

/// Events that stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Kept {
    /// Of the user.
    pub user_events: i64,
    /// Of the user's browser logins.
    pub session_events: i64,
    /// Of the user's grants, as far as the tables know them.
    pub grant_events: i64,
}

/// An erasure that is on the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Where it stands.
    pub position: i64,
    /// Replayed tables that still show the user, since they could not be blanked.
    pub not_blanked: Vec<NotBlanked>,
}

/// Erasures that were done again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repeated {
    /// Whose keys were there, and were destroyed.
    pub subjects: Vec<SubjectId>,
    /// The last position that was looked at.
    pub upto: i64,
    /// Replayed tables that could not be blanked.
    pub not_blanked: Vec<NotBlanked>,
}

impl Operations {
    /// What an erasure of this user would do now. A reason that names the user is refused, as by [`Self::erase_user`].
    pub async fn erasure_inventory(
        &self,
        subject: SubjectId,
        reason: Option<&str>,
    ) -> Result<Inventory, OperationError> {
        let user = self.load::<User>(subject.0).await?;
        let profile = match &user.account {
            Some(account) => self.profile(subject, account).await?,
            None => None,
        };
        let names = profile.as_ref().map(Names::of);
        if let Some(names) = &names {
            names.refuse_in(reason)?;
        }
        let periods = self
            .ledger
            .vault()
            .periods(subject)
            .await
            .map_err(LedgerError::from)?;
        let ended = self.ends_with(subject).await?;
        let mut names_given_up = Vec::new();
        names_given_up.extend(profile.as_ref().map(|_| USERNAME));
        names_given_up.extend(
            profile
                .as_ref()
                .and_then(|profile| profile.email.as_ref())
                .map(|_| EMAIL),
        );
        Ok(Inventory {
            sub: subject,
            destroyed: Destroyed {
                personal_key: periods.iter().any(String::is_empty),
                network_keys: periods.into_iter().filter(|period| !period.is_empty()).collect(),
            },
            names_given_up,
            blanked: self.shown_rows(subject, ended.is_some()).await?,
            kept: self.kept_events(subject, ended.is_some()).await?,
            ended,
            named_in_clear: match &names {
                Some(names) => self.named_in_clear(subject, names).await?,
                None => Vec::new(),
            },
        })
    }

    /// Erases a user: the names are given up, the keys destroyed; what the ledger holds of the user can be read by
    /// nobody any more. A reason that names the user is refused: it would outlive the erasure.
    pub async fn erase_user(&self, context: &Context, subject: SubjectId) -> Result<Erased, OperationError> {
        let mut unit = self.ledger.unit_of_work(context);
        let appended = loop {
            let user = unit.load::<User>(subject.0).await?;
            if let Some(account) = &user.account {
                let profile = self.profile(subject, account).await?;
                if let Some(profile) = profile {
                    Names::of(&profile).refuse_in(context.note.as_deref())?;
                    unit.release::<User>(USERNAME, &canonical_username(&profile.username), subject.0);
                    if let Some(email) = profile.email {
                        unit.release::<User>(EMAIL, &email.to_lowercase(), subject.0);
                    }
                }
            }
            let decision = user.decide(&UserCommand::Erase { at: unit.at() });
            if let Some(concluded) = unit.conclude(&user, decision).await? {
                concluded.outcome?;
                break concluded.appended;
            }
        };
        // After the event, so that a crash in between leaves an erased user for whom a repetition does the rest.
        self.ledger
            .vault()
            .destroy(subject)
            .await
            .map_err(LedgerError::from)?;
        let position = appended.map_or(0, |appended| appended.first_position);
        let not_blanked = blank_all_erased(self.ledger.pool(), position.saturating_sub(1))
            .await
            .map_err(LedgerError::from)?;
        Ok(Erased {
            position,
            not_blanked,
        })
    }

    /// Waits for a time until the table of users shows the ledger up to a position, and folds it where no server does.
    /// Whether it does then; where there is no table, nobody is shown.
    pub async fn wait_for_users(&self, position: i64, within: Duration) -> Result<bool, LedgerError> {
        let runner = ProjectionRunner::start(&self.ledger);
        // Another table may stand still: only that of users is asked for.
        let _ = tokio::time::timeout(within, runner.wait_for(position)).await;
        runner.stop().await;
        let behind: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM grantlog.cursors WHERE reader = 'users' AND position < $1)",
        )
        .bind(position)
        .fetch_one(self.ledger.pool())
        .await?;
        Ok(!behind)
    }

    /// Destroys the keys that are there of subjects that the ledger says were erased after a position, and blanks the
    /// replayed tables that show them: a process died before it did, or the table of keys came back from a backup.
    pub async fn repeat_erasures(&self, after: i64) -> Result<Repeated, LedgerError> {
        let (subjects, upto) = self.keys_of_erased(after).await?;
        for subject in &subjects {
            self.ledger.vault().destroy(*subject).await?;
        }
        let not_blanked = if upto > after {
            blank_all_erased(self.ledger.pool(), after).await?
        } else {
            Vec::new()
        };
        Ok(Repeated {
            subjects,
            upto,
            not_blanked,
        })
    }

    /// The subjects that the ledger says were erased after a position and that have keys all the same, and the last
    /// position that was looked at. This node forgets the keys of all of them.
    pub async fn keys_of_erased(&self, mut after: i64) -> Result<(Vec<SubjectId>, i64), LedgerError> {
        let mut found = Vec::new();
        loop {
            let erased: Vec<(i64, Uuid)> = sqlx::query_as(
                "SELECT position, aggregate_id FROM grantlog.ledger_user \
                 WHERE lane = $1 AND position > $2 AND event_type = 'SubjectKeyDestroyed' ORDER BY position LIMIT $3",
            )
            .bind(LANE)
            .bind(after)
            .bind(AT_ONCE)
            .fetch_all(self.ledger.pool())
            .await?;
            let Some((last, _)) = erased.last() else {
                return Ok((found, after));
            };
            after = *last;
            let subjects: Vec<Uuid> = erased.into_iter().map(|(_, subject)| subject).collect();
            self.ledger.vault().forget(&subjects);
            let with_keys = self.ledger.vault().with_keys(&subjects).await?;
            found.extend(with_keys.into_iter().map(SubjectId));
        }
    }

    /// What ends with a user, as the tables show it; none where there are no tables.
    async fn ends_with(&self, subject: SubjectId) -> Result<Option<Ended>, LedgerError> {
        let pool = self.ledger.pool();
        let there: bool = sqlx::query_scalar(
            "SELECT bool_and(to_regclass('public.' || name) IS NOT NULL) FROM unnest(ARRAY['users', 'sessions', \
             'consents', 'client_access_tokens', 'client_refresh_tokens']) AS name",
        )
        .fetch_one(pool)
        .await?;
        if !there {
            return Ok(None);
        }
        let (sessions, grants, consents): (i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM public.sessions \
                     WHERE subject = $1 AND ended_at IS NULL AND expires_at > $2), \
                    (SELECT count(DISTINCT family) FROM ( \
                         SELECT t.family FROM public.client_access_tokens t JOIN public.users u ON u.id = t.user_id \
                         WHERE u.subject = $1 AND t.revoked_at IS NULL AND t.expired_at > $2 \
                         UNION ALL \
                         SELECT t.family FROM public.client_refresh_tokens t JOIN public.users u ON u.id = t.user_id \
                         WHERE u.subject = $1 AND t.revoked_at IS NULL AND t.used_at IS NULL AND t.expired_at > $2 \
                     ) AS alive), \
                    (SELECT count(*) FROM public.consents WHERE subject = $1 AND scope <> '')",
        )
        .bind(subject.0)
        .bind(self.ledger.clock().now())
        .fetch_one(pool)
        .await?;
        Ok(Some(Ended {
            sessions,
            grants,
            consents,
        }))
    }

    /// Rows that show the user in clear: of the table of users, and of what replays made of it.
    async fn shown_rows(&self, subject: SubjectId, installed: bool) -> Result<Vec<Blanked>, LedgerError> {
        let pool = self.ledger.pool();
        let mut tables = Vec::new();
        if installed {
            tables.push("public.users".to_owned());
        }
        let replayed = as_of_schemas(pool).await?;
        tables.extend(replayed.into_iter().map(|schema| format!("\"{schema}\".users")));
        let mut blanked = Vec::new();
        for table in tables {
            let counted: Result<i64, sqlx::Error> = sqlx::query_scalar(&format!(
                "SELECT count(*) FROM {table} WHERE subject = $1 AND (username, name, email) IS DISTINCT FROM \
                 (NULL::text, NULL::text, NULL::text)"
            ))
            .bind(subject.0)
            .fetch_one(pool)
            .await;
            let rows = match counted {
                Ok(rows) => Some(rows),
                // Another role's, or dropped meanwhile.
                Err(sqlx::Error::Database(_)) => None,
                Err(error) => return Err(error.into()),
            };
            blanked.push(Blanked {
                table: table.replace('"', ""),
                rows,
            });
        }
        Ok(blanked)
    }

    async fn kept_events(&self, subject: SubjectId, installed: bool) -> Result<Kept, LedgerError> {
        let pool = self.ledger.pool();
        let user_events = sqlx::query_scalar(
            "SELECT count(*) FROM grantlog.ledger_user WHERE lane = $1 AND aggregate_type = 'user' AND aggregate_id = $2",
        )
        .bind(LANE)
        .bind(subject.0)
        .fetch_one(pool)
        .await?;
        if !installed {
            return Ok(Kept {
                user_events,
                session_events: 0,
                grant_events: 0,
            });
        }
        let (session_events, grant_events): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM grantlog.ledger_session l WHERE l.lane = $1 AND l.aggregate_type = 'session' \
                       AND l.aggregate_id IN (SELECT session FROM public.sessions WHERE subject = $2)), \
                    (SELECT count(*) FROM grantlog.ledger_grant l WHERE l.lane = $1 AND l.aggregate_type = 'grant' \
                       AND l.aggregate_id IN ( \
                           SELECT t.family FROM public.client_access_tokens t JOIN public.users u ON u.id = t.user_id \
                           WHERE u.subject = $2 \
                           UNION \
                           SELECT t.family FROM public.client_authorization_codes t JOIN public.users u ON u.id = t.user_id \
                           WHERE u.subject = $2))",
        )
        .bind(LANE)
        .bind(subject.0)
        .fetch_one(pool)
        .await?;
        Ok(Kept {
            user_events,
            session_events,
            grant_events,
        })
    }
}
