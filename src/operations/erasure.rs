//! Erasure: a subject's keys are destroyed, its names given up, the tables that show it blanked. The ledger stays as it
//! is: what it holds of the subject can be read by nobody any more (`docs/erasure.md`).

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::user::{EMAIL, Profile, USERNAME, canonical_username};
use super::{OperationError, Operations};
use crate::domain::user::{User, UserCommand};
use crate::ids::SubjectId;
use crate::ledger::{Context, LANE, LedgerError};
use crate::projection::replay::{as_of_schemas, blank_user};
use crate::trail::key::words;
use crate::trail::{Key, Order, Query, Stretch, positions};

/// Events of others that are looked through for each name.
const MAX_NAMED: usize = 1_000;
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
    /// not the user's own the newest thousand for each name.
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
    /// How many rows of it.
    pub rows: i64,
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

/// An event's payload and metadata with its position.
type Texts = (i64, Option<String>, Option<String>);

impl Operations {
    /// What an erasure of this user would do now.
    pub async fn erasure_inventory(&self, subject: SubjectId) -> Result<Inventory, OperationError> {
        let user = self.load::<User>(subject.0).await?;
        let profile = match &user.account {
            Some(account) => self.profile(subject, account).await?,
            None => None,
        };
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
            named_in_clear: match &profile {
                Some(profile) => self.named_in_clear(subject, profile).await?,
                None => Vec::new(),
            },
        })
    }

    /// Erases a user: the names are given up, the keys destroyed; what the ledger holds of the user can be read by
    /// nobody any more. A reason that names the user is refused: it would outlive the erasure.
    pub async fn erase_user(&self, context: &Context, subject: SubjectId) -> Result<(), OperationError> {
        let mut unit = self.ledger.unit_of_work(context);
        loop {
            let user = unit.load::<User>(subject.0).await?;
            if let Some(account) = &user.account {
                let profile = self.profile(subject, account).await?;
                if let Some(profile) = profile {
                    refuse_naming(context.note.as_deref(), &profile)?;
                    unit.release::<User>(USERNAME, &canonical_username(&profile.username), subject.0);
                    if let Some(email) = profile.email {
                        unit.release::<User>(EMAIL, &email.to_lowercase(), subject.0);
                    }
                }
            }
            let decision = user.decide(&UserCommand::Erase { at: unit.at() });
            if let Some(concluded) = unit.conclude(&user, decision).await? {
                concluded.outcome?;
                break;
            }
        }
        // After the event, so that a crash in between leaves an erased user whose keys a repetition destroys.
        self.ledger
            .vault()
            .destroy(subject)
            .await
            .map_err(LedgerError::from)?;
        for schema in as_of_schemas(self.ledger.pool())
            .await
            .map_err(LedgerError::from)?
        {
            blank_user(self.ledger.pool(), &schema, subject.0)
                .await
                .map_err(LedgerError::from)?;
        }
        Ok(())
    }

    /// Destroys the keys that are there of subjects that the ledger says were erased after a position: a process died
    /// before it did, or the table of keys came back from a backup. Returns whose there were, and the last position that
    /// was looked at.
    pub async fn repeat_erasures(&self, after: i64) -> Result<(Vec<SubjectId>, i64), LedgerError> {
        let (found, last) = self.keys_of_erased(after).await?;
        for subject in &found {
            self.ledger.vault().destroy(*subject).await?;
        }
        Ok((found, last))
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
            let rows: i64 = sqlx::query_scalar(&format!(
                "SELECT count(*) FROM {table} WHERE subject = $1 AND (username, name, email) IS DISTINCT FROM \
                 (NULL::text, NULL::text, NULL::text)"
            ))
            .bind(subject.0)
            .fetch_one(pool)
            .await?;
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

    /// Where administrators' reasons about this user name the user.
    async fn named_in_clear(&self, subject: SubjectId, profile: &Profile) -> Result<Vec<i64>, LedgerError> {
        let texts: Vec<Texts> = sqlx::query_as(
            "SELECT position, payload->>'reason', metadata->>'note' FROM grantlog.ledger_user \
             WHERE lane = $1 AND aggregate_type = 'user' AND aggregate_id = $2 ORDER BY sequence",
        )
        .bind(LANE)
        .bind(subject.0)
        .fetch_all(self.ledger.pool())
        .await?;
        let names = |text: &Option<String>| text.as_deref().is_some_and(|text| names_user(text, profile));
        let own = texts
            .into_iter()
            .filter(|(_, reason, note)| names(reason) || names(note));
        let mut found: BTreeSet<i64> = own.map(|(position, ..)| position).collect();
        for name in names_of(profile) {
            found.extend(self.named_elsewhere(&name).await?);
        }
        Ok(found.into_iter().collect())
    }

    /// Where an administrator's words have a name, whatever they are about: a containment, an alert, a grant.
    async fn named_elsewhere(&self, name: &str) -> Result<Vec<i64>, LedgerError> {
        let mut query = Query::of(&Key::Actor("command_line".to_owned()));
        let words = words(name);
        if words.is_empty() {
            return Ok(Vec::new());
        }
        for word in words {
            query = query.and(&Key::Word(word));
        }
        let mut connection = self.ledger.pool().acquire().await.map_err(LedgerError::from)?;
        let order = (Order::NewestFirst, MAX_NAMED);
        let found = positions(&mut connection, &query, Stretch::ALL, order).await?;
        // The words may stand in another order, or far from each other.
        let named = sqlx::query_scalar(
            "SELECT position FROM grantlog.ledger WHERE lane = $1 AND position = ANY ($2) \
               AND strpos(lower(payload::text || coalesce(metadata->>'note', '')), lower($3)) > 0",
        )
        .bind(LANE)
        .bind(&found.positions)
        .bind(name)
        .fetch_all(&mut *connection)
        .await?;
        Ok(named)
    }
}

/// A reason that names the user would stay on the ledger in clear.
fn refuse_naming(reason: Option<&str>, profile: &Profile) -> Result<(), OperationError> {
    if reason.is_some_and(|reason| names_user(reason, profile)) {
        return Err(OperationError::invalid(
            "reason",
            "it names the user, and would stay on the ledger when the user is erased: name the request instead",
        ));
    }
    Ok(())
}

/// Whether a text has the user's name, e-mail address or login name in it.
fn names_user(text: &str, profile: &Profile) -> bool {
    let text = text.to_lowercase();
    names_of(profile).iter().any(|name| text.contains(name))
}

/// The user's names in lower case. Shorter ones than three characters are in too many words.
fn names_of(profile: &Profile) -> Vec<String> {
    let names = [
        Some(&profile.username),
        profile.name.as_ref(),
        profile.email.as_ref(),
    ];
    let names = names.into_iter().flatten().map(|name| name.trim().to_lowercase());
    names.filter(|name| name.chars().count() >= 3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_a_user_by_any_of_the_names_in_any_case() {
        let profile = Profile {
            username: "ada".to_owned(),
            name: Some("Ada Lovelace".to_owned()),
            email: Some("Countess@example.com".to_owned()),
            claims: std::collections::BTreeMap::new(),
            updated_at: None,
        };
        for text in ["ADA asked", "by ada lovelace", "wrote from countess@EXAMPLE.com"] {
            assert!(names_user(text, &profile), "{text}");
        }
        for text in ["request 4711", "", "a d a"] {
            assert!(!names_user(text, &profile), "{text}");
        }
    }
}
