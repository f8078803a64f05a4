//! Errors for clients that manage their own registration (RFC 7592). Nobody has vouched for where they send people, so
//! nobody without a login that holds is sent there unasked (RFC 9700 §4.11.2): a page says what is wrong and has a link.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::error::{AuthorizeError, Failure};
use super::redirect::ReturnAddress;
use super::visit::{Visit, destination};
use crate::domain::client::{Client, Standing};
use crate::http::error::WireError;
use crate::http::page::GoBackPage;
use crate::http::session;
use crate::ledger::LedgerError;

impl Visit {
    /// Whether this refusal is sent on by the user's own hand only. `prompt=none` asks for an answer without a page, and
    /// has one.
    pub(super) async fn asks_before_going(&self, failure: &Failure) -> Result<bool, LedgerError> {
        let Failure::Redirect(_, rejection) = failure else {
            return Ok(false);
        };
        let prompt = self.parameters.get("prompt").unwrap_or_default();
        let is_silent = prompt.split(' ').any(|value| value == "none");
        let Some(client) = rejection.client else {
            return Ok(false);
        };
        let client = self.app.operations.load::<Client>(client.0).await?;
        let registration = client.registration.as_deref();
        // A client that is suspended gets nobody, asked for silently or not.
        let is_unvouched = registration.is_some_and(|known| {
            let silent = is_silent && known.standing != Standing::Suspended;
            known.registration_access_token.is_some() && !silent
        });
        Ok(is_unvouched && !self.is_logged_in().await?)
    }

    /// Whether the browser has a login that holds. Whose session it brought, which the context has, is no proof: it may be
    /// over.
    async fn is_logged_in(&self) -> Result<bool, LedgerError> {
        let live = session::confirmed(&self.app, &self.context, self.session.as_ref()).await?;
        Ok(live.is_some())
    }

    /// The answer that would have been sent on.
    pub(super) fn by_hand(&self, back: &ReturnAddress, error: AuthorizeError) -> Response {
        let Some(way) = back.way_of_error(&self.app, error) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        GoBackPage {
            presentation: self.origin.presentation,
            way: &way,
            destination: &destination(&back.redirect_uri),
            error: Some((error.code(), error.description())),
            request: self.context.request,
        }
        .into_response()
    }
}
