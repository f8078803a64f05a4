//! Errors for clients that manage their own registration (RFC 7592). Nobody has vouched for where they send people, so
//! nobody who has not logged in is sent there unasked (RFC 9700 §4.11.2): a page says what is wrong and has a link.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::error::{AuthorizeError, Failure};
use super::redirect::ReturnAddress;
use super::visit::{Visit, destination};
use crate::domain::client::{Client, Standing};
use crate::http::error::WireError;
use crate::http::page::{self, GoBackPage};
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
        let is_somebody = self.context.subject.is_some() || rejection.subject.is_some();
        let Some(client) = rejection.client.filter(|_| !is_somebody) else {
            return Ok(false);
        };
        let client = self.app.operations.load::<Client>(client.0).await?;
        let registration = client.registration.as_deref();
        // A client that is suspended gets nobody, asked for silently or not.
        Ok(registration.is_some_and(|known| {
            let silent = is_silent && known.standing != Standing::Suspended;
            known.registration_access_token.is_some() && !silent
        }))
    }

    /// The answer that would have been a redirect.
    pub(super) fn by_hand(&self, back: &ReturnAddress, error: AuthorizeError) -> Response {
        let mut response = back.error(&self.app, self.origin.presentation, error);
        let location = response.headers().get(header::LOCATION);
        if let Some(location) = location.and_then(|location| location.to_str().ok()) {
            return GoBackPage {
                presentation: self.origin.presentation,
                location,
                destination: &destination(&back.redirect_uri),
                error: Some((error.code(), error.description())),
                request: self.context.request,
            }
            .into_response();
        }
        page::without_script(&mut response);
        response
    }
}
