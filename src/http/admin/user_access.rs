//! `/admin/users/{sub}/sessions` and `/admin/users/{sub}/consents`: a user's browser logins, and what the user allows
//! clients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Id, Nothing, Reason};
use super::scope::AdminScope;
use crate::ids::{SessionId, SubjectId};
use crate::ledger::{Context, LedgerError};
use crate::operations::account::{EndError, EndedBy};
use crate::operations::user_access::{ShownConsent, ShownLogin};

/// Which user.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// The subject's id.
    sub: Id,
}

/// Which login.
#[derive(Deserialize, JsonSchema)]
struct NamedLogin {
    /// The subject's id.
    sub: Id,
    /// The login's id.
    session: Id,
}

/// How logins are shown.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shown {
    /// Whether to decrypt the callers' addresses and user agents.
    #[serde(default)]
    reveal: bool,
}

/// Whose access ends, and why.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Withdrawal {
    /// The client's id.
    client: String,
    /// Why; it is recorded.
    reason: Reason,
}

/// The logins of a user that hold now.
#[derive(Serialize, JsonSchema)]
struct Logins {
    /// The latest first; at most 200.
    items: Vec<ShownLogin>,
}

/// What a user allows clients.
#[derive(Serialize, JsonSchema)]
struct Consents {
    /// The one that was used last comes first; at most 200.
    items: Vec<ShownConsent>,
}

/// Logins that are over.
#[derive(Serialize, JsonSchema)]
struct Ended {
    /// Their ids.
    sessions: Vec<SessionId>,
}

/// A consent that is withdrawn.
#[derive(Serialize, JsonSchema)]
struct Withdrawn {
    /// The subject's id.
    sub: SubjectId,
    /// The client's id.
    client_id: String,
}

const SESSIONS: About = About::get(
    "/admin/users/{sub}/sessions",
    ("listSessions", "List the browser logins of a user that hold now"),
);
const END_ALL: About = About::post(
    AdminScope::Operate,
    "/admin/users/{sub}/sessions/end",
    ("endSessions", "End every browser login of a user"),
);
const END: About = About::post(
    AdminScope::Operate,
    "/admin/users/{sub}/sessions/{session}/end",
    ("endSession", "End one browser login of a user"),
);
const CONSENTS: About = About::get(
    "/admin/users/{sub}/consents",
    ("listConsents", "List what a user allows clients"),
);
const WITHDRAW: About = About::post(
    AdminScope::Operate,
    "/admin/users/{sub}/consents/withdraw",
    (
        "withdrawConsent",
        "Take back all that a user allowed a client; its grants of the user end at once",
    ),
);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(SESSIONS, sessions),
        operation(END_ALL, end_all),
        operation(END, end),
        operation(CONSENTS, consents),
        operation(WITHDRAW, withdraw),
    ]
}

async fn sessions(call: Call, asked: Asked<Named, Shown>) -> Result<Logins, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    let reveal = asked.query.reveal;
    call.looked.at(|reading| reading.revealed = reveal);
    let items = call.operations().shown_logins(subject, reveal).await?;
    Ok(Logins { items })
}

fn failed(error: EndError) -> Rejected {
    match error {
        EndError::Behind => LedgerError::Unavailable.into(),
        EndError::Ledger(error) => error.into(),
    }
}

async fn end_all(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<Ended, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    let context = call.because(Some(asked.body.0.reason.0));
    let revokes = call.app.settings.session_end_revokes;
    let ended = call
        .operations()
        .end_sessions(&context, (subject, None), (revokes, EndedBy::Administrator))
        .await;
    let sessions = ended.map_err(failed)?;
    Ok(Ended { sessions })
}

async fn end(call: Call, asked: Asked<NamedLogin, Nothing, JsonBody<Because>>) -> Result<Ended, Rejected> {
    let NamedLogin { sub, session } = asked.path;
    let subject = call.user(sub).await?;
    let id = SessionId(session.0);
    let context = call.because(Some(asked.body.0.reason.0));
    let revokes = call.app.settings.session_end_revokes;
    let ended = call
        .operations()
        .end_session(&context, subject, id, (revokes, EndedBy::Administrator))
        .await?;
    if !ended {
        return Err(call.missing("The user has no such login, or it is over."));
    }
    Ok(Ended { sessions: vec![id] })
}

async fn consents(call: Call, asked: Asked<Named>) -> Result<Consents, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    let items = call.operations().shown_consents(subject).await?;
    Ok(Consents { items })
}

async fn withdraw(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<Withdrawal>>,
) -> Result<Withdrawn, Rejected> {
    let sub = call.user(asked.path.sub).await?;
    let Withdrawal { client, reason } = asked.body.0;
    let key = call.named_client(&client).await?;
    let context: Context = call.because(Some(reason.0));
    let ended = call
        .operations()
        .end_application(&context, (sub, key), EndedBy::Administrator)
        .await;
    if !ended.map_err(failed)? {
        return Err(call.missing("The user allows this client nothing."));
    }
    Ok(Withdrawn {
        sub,
        client_id: client,
    })
}
