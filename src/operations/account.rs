//! What a resource owner sees and ends of their own account: the applications that have access, and the browser logins.
//!
//! Tables say what there may be; what is shown of it and what is ended is decided on the aggregates.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::Operations;
use crate::clock::Timestamp;
use crate::domain::authorization_detail::ShownDetail;
use crate::domain::client::{Client, GrantType, Registration};
use crate::domain::consent::{Consent, ConsentCommand};
use crate::domain::grant::{Grant, Reason};
use crate::domain::openid::Claim;
use crate::domain::scope::{Definition, Scope};
use crate::domain::session::{Login, Session, SessionCommand, SessionEndRevokes};
use crate::domain::user::User;
use crate::domain::value::ScopeSet;
use crate::ids::{ClientKey, GrantId, SessionId, SubjectId};
use crate::ledger::{Caller, Context, LANE, LedgerError, Loaded, Metadata, head_position, retrying};

/// How often it is looked whether tables have caught up, and how many times.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS: u32 = 60;
/// The tables of what grants gave.
const GRANTS: [&str; 2] = ["client_access_tokens", "client_refresh_tokens"];
/// The table of browser logins.
const SESSIONS: [&str; 1] = ["sessions"];
/// The most lines of a page.
const MOST: i64 = 200;

/// An application that has access to an account.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its aggregate.
    pub key: ClientKey,
    /// What it is.
    pub registration: Registration,
    /// What it may do, in words; a scope that is not defined any more has its name only.
    pub scopes: Vec<Definition>,
    /// Scopes that the user allowed it for these resources alone (RFC 8707).
    pub only_for: BTreeMap<String, BTreeSet<String>>,
    /// The claims of the user that it may know besides, one by one.
    pub claims: BTreeSet<Claim>,
    /// The authorization details that the user is remembered to have allowed it (RFC 9396), the latest last.
    pub details: Vec<ShownDetail>,
    /// Since when.
    pub since: Timestamp,
    /// When it last got a token, or one of its tokens was last used here; none where neither ever was.
    pub last_used: Option<Timestamp>,
}

/// A browser login that holds.
#[derive(Clone, Debug)]
pub struct BrowserLogin {
    /// Its id.
    pub id: SessionId,
    /// When it began.
    pub started_at: Timestamp,
    /// What it is.
    pub login: Login,
    /// From where it was last authenticated, as far as that is known.
    pub caller: Option<Caller>,
}

/// Who ends something of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// Its resource owner, at the account's pages.
    User,
    /// An administrator.
    Administrator,
}

impl EndedBy {
    fn reason(self) -> Reason {
        match self {
            Self::User => Reason::User,
            Self::Administrator => Reason::Administrator,
        }
    }

    /// Whose network data the caller's is.
    fn about(self, subject: SubjectId) -> Option<SubjectId> {
        (self == Self::User).then_some(subject)
    }
}

/// Why something of an account was not ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The tables are behind: what can be said to end is ended, the rest could not be found.
    #[error("the tables are behind the ledger")]
    Behind,
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Of the user `$1`, at the time `$2`, at most `$3`.
const CANDIDATES: &str = "WITH tokens AS ( \
     SELECT t.client_id, t.issued_at, t.revoked_at IS NULL AND t.expired_at > $2 AS alive \
     FROM public.client_access_tokens t JOIN public.users u ON u.id = t.user_id WHERE u.subject = $1 \
     UNION ALL \
     SELECT t.client_id, t.issued_at, \
            t.revoked_at IS NULL AND t.used_at IS NULL AND t.expired_at > $2 \
     FROM public.client_refresh_tokens t JOIN public.users u ON u.id = t.user_id WHERE u.subject = $1 \
                 ), used AS ( \
     SELECT c.client_key, min(t.issued_at) FILTER (WHERE t.alive) AS since, max(t.issued_at) AS last \
     FROM tokens t JOIN public.clients c ON c.id = t.client_id GROUP BY c.client_key \
                 ), given AS ( \
     SELECT client_key, given_at FROM public.consents WHERE subject = $1 \
         AND (scope <> '' OR withdrawn_at IS NULL OR confirmed_at > withdrawn_at) \
                 ), presented AS ( \
     SELECT client_key, max(last_at) AS last FROM public.token_uses \
     WHERE subject = $1 AND asked_by IS DISTINCT FROM client_key GROUP BY client_key \
                 ) \
                 SELECT client_key, given.given_at, used.since, greatest(used.last, presented.last) \
                 FROM used FULL JOIN given USING (client_key) LEFT JOIN presented USING (client_key) \
                 WHERE given.given_at IS NOT NULL OR used.since IS NOT NULL \
                 ORDER BY greatest(used.last, presented.last) DESC NULLS LAST, client_key LIMIT $3";

/// A client, when it was allowed something, and its first token that is alive and its last one, as the tables say.
type Candidate = (Uuid, Option<Timestamp>, Option<Timestamp>, Option<Timestamp>);

impl Operations {
    /// The applications that have access to an account: by a consent that stands, or by tokens that are alive.
    pub async fn applications(&self, subject: SubjectId) -> Result<Vec<Application>, LedgerError> {
        let now = self.ledger.clock().now();
        let rows: Vec<Candidate> = retrying(|| async {
            sqlx::query_as(CANDIDATES)
                .bind(subject.0)
                .bind(now)
                .bind(MOST)
                .fetch_all(self.ledger.pool())
                .await
        })
        .await?;
        let mut applications = Vec::with_capacity(rows.len());
        for (client, given_at, since, last_used) in rows {
            let key = ClientKey(client);
            let consent = self.load::<Consent>(Consent::id(subject, key)).await?;
            let others = self.unconsented(subject, key).await?;
            let scope = others
                .iter()
                .fold(consent.scope.clone(), |all, (_, scope)| all.union(scope));
            let began = match (consent.is_empty(), others.is_empty()) {
                (true, true) => None,
                (true, false) => since,
                (false, _) => given_at.or(since),
            };
            let client = self.load::<Client>(client).await?;
            let (Some(began), Some(registration)) = (began, client.registration.as_deref()) else {
                continue;
            };
            // A grant that rests on no consent is for all that the client has.
            let mut only_for = consent.only_for.clone();
            only_for.retain(|name, _| !others.iter().any(|(_, scope)| scope.contains(name)));
            let details = self.consented_details(subject, key, &consent).await?;
            applications.push(Application {
                key,
                only_for,
                claims: consent.claims.clone(),
                details: self.show_details(&details).await?,
                registration: registration.clone(),
                scopes: self.definitions(&scope).await?,
                since: began,
                last_used,
            });
        }
        Ok(applications)
    }

    async fn definitions(&self, scope: &ScopeSet) -> Result<Vec<Definition>, LedgerError> {
        let mut definitions = Vec::new();
        for name in scope.iter() {
            let scope = self.load::<Scope>(Scope::id(name)).await?;
            let known = scope.grantable().cloned();
            definitions.push(known.unwrap_or_else(|| Definition {
                name: name.to_owned(),
                description: name.to_owned(),
                restricted: false,
                retired: true,
            }));
        }
        Ok(definitions)
    }

    /// Takes back all that a user allowed a client: the consent is withdrawn, which ends every grant that rests on it
    /// on every node at once; grants that rest on none (a password that the client was told) are found, and ended
    /// one by one. Whether there was anything to end.
    pub async fn end_application(
        &self,
        context: &Context,
        (subject, client): (SubjectId, ClientKey),
        by: EndedBy,
    ) -> Result<bool, EndError> {
        let mut unit = self.ledger.unit_of_work(context);
        unit.about(by.about(subject));
        let mut ended = loop {
            let consent = unit.load::<Consent>(Consent::id(subject, client)).await?;
            let command = ConsentCommand::Withdraw { at: unit.at() };
            if let Some(concluded) = unit.conclude(&consent, consent.decide(&command)).await? {
                break concluded.outcome.is_ok();
            }
        };
        // Whatever was issued before this moment is in the tables once they have come to it.
        if !self.caught_up(&GRANTS).await? {
            return Err(EndError::Behind);
        }
        for (grant, _) in self.unconsented(subject, client).await? {
            // Refused where it is over already.
            ended |= self.end_grant(context, grant, by.reason()).await?.is_ok();
        }
        Ok(ended)
    }

    /// The grants of a user to a client that stand and rest on no consent, as far as the tables know, with their scope.
    async fn unconsented(
        &self,
        subject: SubjectId,
        client: ClientKey,
    ) -> Result<Vec<(GrantId, ScopeSet)>, LedgerError> {
        // Marked as ended by a withdrawal they may be: the tables take every token of the client for covered by it.
        let families: Vec<Uuid> = retrying(|| async {
            sqlx::query_scalar(
                "SELECT DISTINCT t.family FROM ( \
                     SELECT family, user_id, client_id, expired_at, revoked_reason FROM public.client_access_tokens \
                     UNION ALL \
                     SELECT family, user_id, client_id, expired_at, revoked_reason FROM public.client_refresh_tokens) t \
                 JOIN public.users u ON u.id = t.user_id JOIN public.clients c ON c.id = t.client_id \
                 WHERE u.subject = $1 AND c.client_key = $2 AND t.expired_at > $3 \
                   AND coalesce(t.revoked_reason, 'consent_withdrawn') = 'consent_withdrawn'",
            )
            .bind(subject.0)
            .bind(client.0)
            .bind(self.ledger.clock().now())
            .fetch_all(self.ledger.pool())
            .await
        })
        .await?;
        let mut standing = Vec::new();
        for id in families {
            let grant = self.load::<Grant>(id).await?;
            let family = grant.family.as_deref().filter(|family| {
                let rests_on_consent =
                    matches!(family.flow, GrantType::AuthorizationCode | GrantType::DeviceCode);
                family.revoked.is_none() && !rests_on_consent
            });
            standing.extend(family.map(|family| (GrantId(id), family.scope.clone())));
        }
        Ok(standing)
    }

    /// The browser logins of an account that hold now, the latest first.
    pub async fn browser_logins(&self, subject: SubjectId) -> Result<Vec<BrowserLogin>, LedgerError> {
        let now = self.ledger.clock().now();
        let rows: Vec<(Uuid, Timestamp)> = retrying(|| async {
            sqlx::query_as(
                "SELECT session, started_at FROM public.sessions \
                 WHERE subject = $1 AND ended_at IS NULL AND expires_at > $2 ORDER BY authenticated_at DESC LIMIT $3",
            )
            .bind(subject.0)
            .bind(now)
            .bind(MOST)
            .fetch_all(self.ledger.pool())
            .await
        })
        .await?;
        let user = self.load::<User>(subject.0).await?;
        let mut logins = Vec::with_capacity(rows.len());
        for (id, started_at) in rows {
            let session = self.load::<Session>(id).await?;
            if let Some(login) = held(&session, &user, subject, now) {
                logins.push(BrowserLogin {
                    id: SessionId(id),
                    started_at,
                    login: login.clone(),
                    caller: self.caller_of(id, subject).await?,
                });
            }
        }
        Ok(logins)
    }

    /// From where a session was last authenticated.
    pub async fn caller_of(&self, session: Uuid, subject: SubjectId) -> Result<Option<Caller>, LedgerError> {
        let row: Option<(String, String, Timestamp)> = retrying(|| async {
            sqlx::query_as(
                "SELECT event_type, metadata::text, recorded_at FROM grantlog.ledger_session \
                 WHERE lane = $1 AND aggregate_type = 'session' AND aggregate_id = $2 \
                   AND event_type IN ('SessionStarted', 'SessionReauthenticated') ORDER BY sequence DESC LIMIT 1",
            )
            .bind(LANE)
            .bind(session)
            .fetch_optional(self.ledger.pool())
            .await
        })
        .await?;
        let Some((event_type, metadata, recorded_at)) = row else {
            return Ok(None);
        };
        let event = ("session", session, event_type.as_str());
        Metadata::read(&metadata)?
            .caller_of(self.ledger.vault(), subject, event, recorded_at)
            .await
    }

    /// Ends a session of that user. False: there is none, or it is somebody else's; nothing happened.
    pub async fn end_session(
        &self,
        context: &Context,
        subject: SubjectId,
        id: SessionId,
        (revokes, by): (SessionEndRevokes, EndedBy),
    ) -> Result<bool, LedgerError> {
        let command = SessionCommand::End {
            reason: by.reason().name().to_owned(),
            revokes,
        };
        let mut unit = self.ledger.unit_of_work(context);
        unit.about(by.about(subject));
        loop {
            let session = unit.load::<Session>(id.0).await?;
            let is_theirs = session
                .login
                .as_ref()
                .is_some_and(|login| login.subject == subject);
            if !is_theirs {
                if unit.refusal_stands()? {
                    return Ok(false);
                }
                continue;
            }
            if let Some(concluded) = unit.conclude(&session, session.decide(&command)).await? {
                return Ok(concluded.outcome.is_ok());
            }
        }
    }

    /// Ends every session of that user, but one where that is kept. All that had begun by now are found. Which were ended.
    pub async fn end_sessions(
        &self,
        context: &Context,
        (subject, kept): (SubjectId, Option<SessionId>),
        (revokes, by): (SessionEndRevokes, EndedBy),
    ) -> Result<Vec<SessionId>, EndError> {
        if !self.caught_up(&SESSIONS).await? {
            return Err(EndError::Behind);
        }
        let others: Vec<Uuid> = retrying(|| async {
            sqlx::query_scalar(
                "SELECT session FROM public.sessions \
                 WHERE subject = $1 AND session IS DISTINCT FROM $2 AND ended_at IS NULL AND expires_at > $3",
            )
            .bind(subject.0)
            .bind(kept.map(|kept| kept.0))
            .bind(self.ledger.clock().now())
            .fetch_all(self.ledger.pool())
            .await
        })
        .await
        .map_err(LedgerError::from)?;
        let mut ended = Vec::with_capacity(others.len());
        for id in others.into_iter().map(SessionId) {
            if self.end_session(context, subject, id, (revokes, by)).await? {
                ended.push(id);
            }
        }
        Ok(ended)
    }

    /// Waits until these tables show all that the ledger holds at this moment. False: they do not within a few seconds.
    async fn caught_up(&self, tables: &[&str]) -> Result<bool, LedgerError> {
        let pool = self.ledger.pool();
        let head = head_position(pool).await?;
        for _ in 0..LOOKS {
            let there: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM grantlog.cursors WHERE reader = ANY ($1) AND position >= $2",
            )
            .bind(tables)
            .bind(head)
            .fetch_one(pool)
            .await?;
            if usize::try_from(there) == Ok(tables.len()) {
                return Ok(true);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(false)
    }
}

/// The login, where it holds now, whoever has its cookie.
fn held<'a>(
    session: &'a Loaded<Session>,
    user: &User,
    subject: SubjectId,
    at: Timestamp,
) -> Option<&'a Login> {
    session.login.as_ref().filter(|login| {
        login.subject == subject
            && at < login.expires_at
            && user.may_act()
            && user.password_generation == login.password_generation
    })
}
