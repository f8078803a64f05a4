//! Tasks: taken for a while, done, deleted; or put off and taken again, by whichever node comes first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::deliver::{self, Telling};
use super::{LONGEST_PAUSE, LogoutError, POLL, rest};
use crate::app::App;
use crate::clock::Timestamp;
use crate::domain::grant::{Grant, Reason, Revoke, Target};
use crate::domain::session::{Session, SessionCommand};
use crate::domain::user::User;
use crate::ids::{ClientKey, SessionId, SubjectId};
use crate::ledger::{Actor, Context, LedgerError};
use crate::outbound::Fetcher;

/// How many tasks a node has at once.
const AT_ONCE: usize = 48;
/// How many calls to one client a node has at once, so that a dead client takes no room from others.
const PER_CLIENT: usize = 4;
/// For how long a node has a task to itself: longer than a call and the note of it may take.
const LEASE_SECONDS: f64 = 60.0;
/// The longest pause between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_hours(1);

/// A task that this node has taken.
#[derive(Clone, Debug)]
struct Task {
    kind: String,
    session_id: Uuid,
    target: Uuid,
    subject: Uuid,
    since: Timestamp,
    /// This attempt's number, from 1.
    attempts: i32,
}

/// Takes and does tasks until told to stop.
pub(super) async fn run(app: App, news: Arc<Notify>, mut stopped: watch::Receiver<bool>) {
    let worker = Worker {
        fetcher: app.outbound.apart("backchannel_logout"),
        app,
    };
    let mut running: JoinSet<Task> = JoinSet::new();
    let mut busy: HashMap<Uuid, usize> = HashMap::new();
    let mut pause = POLL;
    loop {
        while let Some(done) = running.try_join_next() {
            forget(&mut busy, done.ok());
        }
        let free = AT_ONCE.saturating_sub(running.len());
        let taken = worker.take(free, &busy).await;
        pause = match &taken {
            Ok(_) => POLL,
            Err(_) => (pause * 2).min(LONGEST_PAUSE),
        };
        match taken {
            Ok(tasks) => {
                for task in tasks {
                    *busy.entry(task.target).or_default() += 1;
                    running.spawn(worker.clone().work(task));
                }
            }
            Err(error) => {
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(error = cause, "tasks of logouts cannot be taken, trying again");
            }
        }
        let mut finished = None;
        let more = async {
            tokio::select! {
                () = news.notified() => {}
                Some(done) = running.join_next() => finished = done.ok(),
            }
        };
        if rest(&mut stopped, pause, more).await {
            return;
        }
        forget(&mut busy, finished);
    }
}

fn forget(busy: &mut HashMap<Uuid, usize>, done: Option<Task>) {
    let Some(task) = done else { return };
    if let Some(count) = busy.get_mut(&task.target) {
        *count -= 1;
        if *count == 0 {
            busy.remove(&task.target);
        }
    }
}

#[derive(Clone)]
struct Worker {
    app: App,
    fetcher: Fetcher,
}

impl Worker {
    /// Takes what is due: the oldest first, but of each target only as many as it may have at once.
    async fn take(&self, limit: usize, busy: &HashMap<Uuid, usize>) -> Result<Vec<Task>, LogoutError> {
        self.app.evidence.require_sound()?;
        let full: Vec<Uuid> = busy
            .iter()
            .filter(|(_, count)| **count >= PER_CLIENT)
            .map(|(id, _)| *id)
            .collect();
        let tasks: Vec<(String, Uuid, Uuid, Uuid, Timestamp, i32)> = sqlx::query_as(
            "UPDATE grantlog.logout_tasks AS t \
             SET attempts = t.attempts + 1, due_at = $5 + make_interval(secs => $4) \
             FROM (SELECT l.kind, l.session_id, l.target FROM grantlog.logout_tasks AS l JOIN ( \
                       SELECT kind, session_id, target, due_at, \
                              row_number() OVER (PARTITION BY target ORDER BY due_at) AS place \
                       FROM grantlog.logout_tasks WHERE due_at <= $5 AND target <> ALL ($1)) AS d \
                       USING (kind, session_id, target) \
                   WHERE d.place <= $2 AND l.due_at <= $5 ORDER BY l.due_at LIMIT $3 FOR UPDATE OF l SKIP LOCKED) AS mine \
             WHERE (t.kind, t.session_id, t.target) = (mine.kind, mine.session_id, mine.target) \
             RETURNING t.kind, t.session_id, t.target, t.subject, t.since, t.attempts",
        )
        .bind(full)
        .bind(i64::try_from(PER_CLIENT).unwrap_or_default())
        .bind(i64::try_from(limit).unwrap_or_default())
        .bind(LEASE_SECONDS)
        .bind(self.app.ledger.clock().now())
        .fetch_all(self.app.ledger.pool())
        .await?;
        let tasks = tasks.into_iter();
        Ok(tasks
            .map(|(kind, session_id, target, subject, since, attempts)| Task {
                kind,
                session_id,
                target,
                subject,
                since,
                attempts,
            })
            .collect())
    }

    /// Does a task, and deletes it or puts it off.
    async fn work(self, task: Task) -> Task {
        let settled = match self.attempt(&task).await {
            Ok(true) => self.delete(&task).await,
            Ok(false) => self.put_off(&task).await,
            Err(error) => {
                tracing::warn!(%error, kind = task.kind, "a task of a logout failed");
                self.put_off(&task).await
            }
        };
        if let Err(error) = settled {
            // Its lease ends, and it is done again.
            tracing::warn!(%error, "a task of a logout could not be settled");
        }
        task
    }

    async fn attempt(&self, task: &Task) -> Result<bool, LogoutError> {
        self.app.evidence.require_sound()?;
        let request = self.app.ledger.random().uuid().map_err(LedgerError::from)?;
        let context = Context::local(request, Actor::System, "logout");
        Ok(match task.kind.as_str() {
            "end" => end(&self.app, &context, task).await.map(|()| true)?,
            "revoke" => revoke(&self.app, &context, task.target).await.map(|()| true)?,
            _ => deliver::tell(&self.app, (&self.fetcher, &context), self.telling(task)).await?,
        })
    }

    fn telling(&self, task: &Task) -> Telling {
        let settings = &self.app.settings;
        let until = task.since + chrono::TimeDelta::seconds(settings.backchannel_logout_retry_seconds.into());
        // It is the last where the next would be too late.
        let next = self.app.ledger.clock().now() + backoff(task.attempts);
        Telling {
            session: SessionId(task.session_id),
            subject: SubjectId(task.subject),
            client: ClientKey(task.target),
            attempt: u32::try_from(task.attempts).unwrap_or(u32::MAX),
            last: next > until,
        }
    }

    async fn delete(&self, task: &Task) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM grantlog.logout_tasks WHERE kind = $1 AND session_id = $2 AND target = $3")
            .bind(&task.kind)
            .bind(task.session_id)
            .bind(task.target)
            .execute(self.app.ledger.pool())
            .await
            .map(|_| ())
    }

    async fn put_off(&self, task: &Task) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE grantlog.logout_tasks SET due_at = $4 WHERE kind = $1 AND session_id = $2 AND target = $3",
        )
        .bind(&task.kind)
        .bind(task.session_id)
        .bind(task.target)
        .bind(self.app.ledger.clock().now() + backoff(task.attempts))
        .execute(self.app.ledger.pool())
        .await
        .map(|_| ())
    }
}

/// One second, two, four … an hour.
fn backoff(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or_default()
        .min(12);
    Duration::from_secs(1 << doublings).min(LONGEST_BACKOFF)
}

/// Ends a login that its user's password, or standing, ended already. One that was renewed since stays.
async fn end(app: &App, context: &Context, task: &Task) -> Result<(), LedgerError> {
    let mut unit = app.ledger.unit_of_work(context);
    loop {
        let session = unit.load::<Session>(task.session_id).await?;
        let user = unit.load::<User>(task.subject).await?;
        let holds = |generation| user.may_act() && generation == user.password_generation;
        let stale = session
            .login
            .as_ref()
            .is_some_and(|login| !holds(login.password_generation));
        if !stale {
            if unit.confirm().await? {
                return Ok(());
            }
            continue;
        }
        let reason = match &user.account {
            None => "user_erased",
            Some(account) if account.disabled => "user_disabled",
            Some(_) => "password_changed",
        };
        let command = SessionCommand::End {
            reason: reason.to_owned(),
            revokes: app.settings.session_end_revokes,
        };
        if unit.conclude(&session, session.decide(&command)).await?.is_some() {
            return Ok(());
        }
    }
}

/// Writes on a grant that it ended with its login. It has been over since then.
async fn revoke(app: &App, context: &Context, grant: Uuid) -> Result<(), LedgerError> {
    let mut unit = app.ledger.unit_of_work(context);
    loop {
        let grant = unit.load::<Grant>(grant).await?;
        let command = Revoke {
            client: None,
            target: Target::Family,
            reason: Reason::SessionEnded,
            at: unit.at(),
        };
        if unit.conclude(&grant, grant.revoke(&command)).await?.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let seconds: Vec<u64> = [1, 2, 3, 12, 13, 100, i32::MAX]
            .map(|attempts| backoff(attempts).as_secs())
            .into();
        assert_eq!(seconds, [1, 2, 4, 2048, 3600, 3600, 3600]);
    }
}
