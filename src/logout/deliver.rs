//! The call to a client's `backchannel_logout_uri` (OpenID Connect Back-Channel Logout §2.5), and the note of its outcome.

use axum::http::StatusCode;
use url::form_urlencoded;

use super::token;
use crate::app::App;
use crate::domain::client::{Client, Registration, Standing};
use crate::domain::session::{
    BackchannelLogoutAbandoned, BackchannelLogoutDelivered, Session, SessionCommand, SessionEvent,
};
use crate::ids::{ClientKey, SessionId, SubjectId};
use crate::ledger::{Context, LedgerError};
use crate::outbound::{Fetcher, Outgoing};

/// What is read of a client's answer, which is to be empty (§2.8).
const MAX_ANSWER: usize = 16 * 1024;

/// Whom to tell of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    pub(super) session: SessionId,
    pub(super) subject: SubjectId,
    pub(super) client: ClientKey,
    /// This attempt's number, from 1.
    pub(super) attempt: u32,
    /// Whether it is the last.
    pub(super) last: bool,
}

/// Tries once. True: nothing is left to do, and the ledger says how it went.
pub(super) async fn tell(
    app: &App,
    (fetcher, context): (&Fetcher, &Context),
    telling: Telling,
) -> Result<bool, LedgerError> {
    let client = app.operations.load::<Client>(telling.client.0).await?;
    let registration = client.registration.as_ref();
    let Some(registration) = registration.filter(|known| known.standing != Standing::Revoked) else {
        return Ok(true);
    };
    let Some(uri) = &registration.metadata.backchannel_logout_uri else {
        return Ok(true);
    };
    let outcome = call(app, fetcher, (uri, registration), telling).await?;
    let (label, event): (_, Option<SessionEvent>) = match outcome {
        Ok(()) => {
            let delivered = BackchannelLogoutDelivered {
                client: telling.client,
                attempts: telling.attempt,
            };
            ("delivered", Some(delivered.into()))
        }
        Err(error) if telling.last => {
            tracing::warn!(client = %telling.client, session = %telling.session, error, "a client was not told of a logout, and is not tried again");
            let abandoned = BackchannelLogoutAbandoned {
                client: telling.client,
                attempts: telling.attempt,
                error,
            };
            ("abandoned", Some(abandoned.into()))
        }
        Err(error) => {
            tracing::info!(client = %telling.client, attempt = telling.attempt, error, "a client was not told of a logout yet");
            ("failed", None)
        }
    };
    metrics::counter!("grantlog_backchannel_logout_total", "outcome" => label).increment(1);
    match event {
        Some(event) => note(app, context, telling.session, event).await.map(|()| true),
        None => Ok(false),
    }
}

/// The call; what went wrong, in a word.
async fn call(
    app: &App,
    fetcher: &Fetcher,
    (uri, registration): (&str, &Registration),
    telling: Telling,
) -> Result<Result<(), String>, LedgerError> {
    let token = match token::sign(app, registration, (telling.session, telling.subject)) {
        Ok(token) => token,
        // There is no key: one may come back, and otherwise this ends like a client that is never there.
        Err(LedgerError::Crypto(_)) => return Ok(Err("not_signed".to_owned())),
        Err(error) => return Err(error),
    };
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("logout_token", &token)
        .finish();
    let request = Outgoing::post_form(uri, form).max_bytes(MAX_ANSWER);
    Ok(match fetcher.send(request).await {
        // 204 is what some frameworks make of an empty 200 (§2.8).
        Ok(answer) if matches!(answer.status, StatusCode::OK | StatusCode::NO_CONTENT) => Ok(()),
        Ok(answer) => Err(format!("status_{}", answer.status.as_u16())),
        Err(error) => Err(error.code().to_owned()),
    })
}

/// Writes the outcome down, once per session and client.
async fn note(
    app: &App,
    context: &Context,
    session: SessionId,
    event: SessionEvent,
) -> Result<(), LedgerError> {
    let command = SessionCommand::Told(event);
    let mut unit = app.ledger.unit_of_work(context);
    loop {
        let session = unit.load::<Session>(session.0).await?;
        if unit.conclude(&session, session.decide(&command)).await?.is_some() {
            return Ok(());
        }
    }
}
