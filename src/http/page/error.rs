//! Errors that are shown to a person, because there is nowhere safe to send them (RFC 6749 §4.1.2.1), or
//! because the person can do something about them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::html;

use super::{Forms, Page};
use crate::http::error::WireError;
use crate::ids::RequestId;

/// Errors that are shown as a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// The request cannot be read.
    Malformed,
    /// The same, where it was to end a login.
    LogoutMalformed,
    /// The same, where it was to connect a device.
    DeviceMalformed,
    /// `client_id` or `redirect_uri` is there twice.
    Doubled,
    /// There is no `client_id`.
    ClientMissing,
    /// There is no such client.
    ClientUnknown,
    /// The client is blocked for good.
    ClientRevoked,
    /// There is no `redirect_uri`, and the client has not exactly one.
    RedirectUriMissing,
    /// The `redirect_uri` is not one of the client's.
    RedirectUriUnknown,
    /// The `request_uri` is not one that may be used (any more).
    RequestUriInvalid,
    /// The request object is not good, and there is no one address to say so to.
    RequestObjectInvalid,
    /// No device waits under the user code.
    UserCodeUnknown,
    /// What the device asks for may not be had (any more).
    DeviceRefused,
    /// The `id_token_hint` of a logout request is not an ID token of this server for this client.
    LogoutHintInvalid,
    /// A logout request names an unknown client, or none where one is needed.
    LogoutClientUnknown,
    /// The `post_logout_redirect_uri` is not one of the client's.
    PostLogoutRedirectUriUnknown,
    /// The form did not come from our page, or the page was too old.
    ForgedForm,
    /// What the page asked has changed since it was shown.
    ConsentOutdated,
    /// The form was sent by another site's page.
    ForeignForm,
    /// Too many failed logins: come back after so many seconds.
    TooMany(u32),
    /// The form is too large.
    TooLarge,
    /// What was sent is not said to be a form.
    NotAForm,
    /// Something is broken here.
    ServerError,
    /// The database cannot be reached, or too many log in at once.
    TemporarilyUnavailable,
}

impl PageError {
    /// The status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed
            | Self::LogoutMalformed
            | Self::DeviceMalformed
            | Self::Doubled
            | Self::ClientMissing
            | Self::ClientUnknown
            | Self::ClientRevoked
            | Self::RedirectUriMissing
            | Self::RedirectUriUnknown
            | Self::RequestUriInvalid
            | Self::RequestObjectInvalid
            | Self::UserCodeUnknown
            | Self::DeviceRefused
            | Self::LogoutHintInvalid
            | Self::LogoutClientUnknown
            | Self::PostLogoutRedirectUriUnknown => StatusCode::BAD_REQUEST,
            Self::ForgedForm | Self::ForeignForm => StatusCode::FORBIDDEN,
            Self::ConsentOutdated => StatusCode::CONFLICT,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Malformed
            | Self::Doubled
            | Self::ClientMissing
            | Self::ClientUnknown
            | Self::ClientRevoked
            | Self::RedirectUriMissing
            | Self::RedirectUriUnknown
            | Self::RequestUriInvalid
            | Self::RequestObjectInvalid => "This login link does not work",
            Self::UserCodeUnknown => "This code does not work",
            Self::DeviceRefused => "This device cannot be connected",
            Self::DeviceMalformed => "This device link does not work",
            Self::LogoutMalformed
            | Self::LogoutHintInvalid
            | Self::LogoutClientUnknown
            | Self::PostLogoutRedirectUriUnknown => "This logout link does not work",
            Self::ForgedForm | Self::ConsentOutdated => "The page was out of date",
            Self::ForeignForm => "This form came from another site",
            Self::TooMany(_) => "Too many attempts",
            Self::TooLarge => "Too much was sent",
            Self::NotAForm => "That was not a form",
            Self::ServerError => "Something went wrong",
            Self::TemporarilyUnavailable => "Not available just now",
        }
    }

    /// What happened, and what the reader can do.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Malformed => "The application sent a request that cannot be read.",
            Self::LogoutMalformed => {
                "The application sent a logout request that cannot be read. You are still logged in."
            }
            Self::DeviceMalformed => {
                "The address cannot be read. Open the one that the device shows, and type its code there. Nothing was done."
            }
            Self::Doubled => "The application named itself, or the address to return to, more than once.",
            Self::ClientMissing => "The application did not say who it is: client_id is missing.",
            Self::ClientUnknown => "The application is not registered here: its client_id is unknown.",
            Self::ClientRevoked => "The application is blocked here.",
            Self::RedirectUriMissing => {
                "The application did not say where to return to: redirect_uri is missing."
            }
            Self::RedirectUriUnknown => {
                "The application asked to return to an address that is not registered for it: redirect_uri does not match. Nothing was sent there."
            }
            Self::RequestUriInvalid => {
                "This login is over: it was finished before, or took too long. Nothing was done."
            }
            Self::RequestObjectInvalid => {
                "The application sent a signed request that is not good: it is too old, or not signed as it is registered. Nothing was done."
            }
            Self::UserCodeUnknown => {
                "No device is waiting under this code. Check it against the one that the device shows; it may also have run out, or been used already. Then let the device show a new one."
            }
            Self::DeviceRefused => {
                "The application on the device may not be used with your account: it is blocked or in development, or asks for something that it may not have. Nothing was approved."
            }

            Self::LogoutHintInvalid => {
                "The application sent an id_token_hint that is not an ID token of this server for it. You are still logged in."
            }
            Self::LogoutClientUnknown => {
                "The application that sent you here is not registered, or did not say who it is. You are still logged in."
            }
            Self::PostLogoutRedirectUriUnknown => {
                "The application asked to return to an address that is not registered for it: post_logout_redirect_uri does not match. You are still logged in."
            }
            Self::ForgedForm => {
                "The form could not be checked: it was out of date, or your browser did not send our cookie. Nothing was done. Please try again."
            }
            Self::ConsentOutdated => {
                "What the application asks for has changed since this page was shown. Nothing was done. Please read it again."
            }
            Self::ForeignForm => {
                "Your browser says that the form was sent by a page of another site. Nothing was done. Go back to the application that you were using and start again there."
            }
            Self::TooMany(_) => "There were too many failed attempts. Please wait a minute, then try again.",
            Self::TooLarge => "The form is larger than this server accepts.",
            Self::NotAForm => {
                "What was sent is not a form of this page (application/x-www-form-urlencoded). Nothing was done."
            }
            Self::ServerError => "This is a fault of this server, not yours.",
            Self::TemporarilyUnavailable => "The server is busy. Please try again in a moment.",
        }
    }

    /// What is wrong with the request, for the application's developers; none where it is not the request.
    fn description(self) -> Option<&'static str> {
        match self {
            Self::Malformed | Self::LogoutMalformed | Self::DeviceMalformed => {
                Some("The request is not a form in UTF-8, or has a parameter twice.")
            }
            Self::Doubled => Some("The client_id or the redirect_uri is included more than once."),
            Self::ClientMissing => Some("The client_id is missing."),
            Self::ClientUnknown => Some("The client_id is unknown."),
            Self::ClientRevoked => Some("The client is revoked."),
            Self::RedirectUriMissing => Some(
                "The redirect_uri is missing, and the client has not exactly one, or the scope has openid.",
            ),
            Self::RedirectUriUnknown => {
                Some("The redirect_uri is not one that is registered for the client.")
            }
            Self::RequestUriInvalid => Some("The request_uri is unknown, is over, or was answered."),
            Self::RequestObjectInvalid => Some("The request object is not good for this client."),
            Self::LogoutHintInvalid => {
                Some("The id_token_hint is not an ID token of this server for this client.")
            }
            Self::LogoutClientUnknown => Some("The client_id is missing or unknown."),
            Self::PostLogoutRedirectUriUnknown => {
                Some("The post_logout_redirect_uri is not one that is registered for the client.")
            }
            Self::ForgedForm
            | Self::ConsentOutdated
            | Self::ForeignForm
            | Self::UserCodeUnknown
            | Self::DeviceRefused
            | Self::NotAForm
            | Self::TooMany(_)
            | Self::TooLarge
            | Self::ServerError
            | Self::TemporarilyUnavailable => None,
        }
    }

    /// Whether the people to turn to are the application's.
    fn is_the_applications(self) -> bool {
        self.status() == StatusCode::BAD_REQUEST
    }

    /// The seconds after which it is worth coming back.
    #[must_use]
    pub fn retry_after(self) -> Option<u32> {
        match self {
            Self::TooMany(seconds) => Some(seconds),
            Self::TemporarilyUnavailable => Some(1),
            Self::Malformed
            | Self::LogoutMalformed
            | Self::DeviceMalformed
            | Self::Doubled
            | Self::ClientMissing
            | Self::ClientUnknown
            | Self::ClientRevoked
            | Self::RedirectUriMissing
            | Self::RedirectUriUnknown
            | Self::RequestUriInvalid
            | Self::RequestObjectInvalid
            | Self::UserCodeUnknown
            | Self::DeviceRefused
            | Self::LogoutHintInvalid
            | Self::LogoutClientUnknown
            | Self::PostLogoutRedirectUriUnknown
            | Self::ForgedForm
            | Self::ConsentOutdated
            | Self::ForeignForm
            | Self::TooLarge
            | Self::NotAForm
            | Self::ServerError => None,
        }
    }

    /// Gives a page that shows this error its status and headers.
    pub fn mark(self, response: &mut Response) {
        *response.status_mut() = self.status();
        if let Some(seconds) = self.retry_after() {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}

impl WireError for PageError {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed
            | Self::LogoutMalformed
            | Self::DeviceMalformed
            | Self::Doubled
            | Self::ClientMissing
            | Self::RedirectUriMissing
            | Self::RedirectUriUnknown
            | Self::UserCodeUnknown
            | Self::LogoutHintInvalid
            | Self::PostLogoutRedirectUriUnknown
            | Self::ForgedForm
            | Self::ConsentOutdated
            | Self::ForeignForm
            | Self::TooLarge
            | Self::NotAForm => "invalid_request",
            Self::RequestUriInvalid => "invalid_request_uri",
            Self::RequestObjectInvalid => "invalid_request_object",
            Self::ClientUnknown | Self::LogoutClientUnknown => "invalid_client",
            Self::ClientRevoked | Self::DeviceRefused | Self::TooMany(_) => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    fn unavailable() -> Self {
        Self::TemporarilyUnavailable
    }

    fn broken() -> Self {
        Self::ServerError
    }

    fn is_ours(&self) -> bool {
        matches!(self, Self::ServerError | Self::TemporarilyUnavailable)
    }

    fn what(&self) -> Option<&'static str> {
        self.description()
    }
}

/// An error as a page of its own, with the request's id for whoever is asked about it.
#[derive(Clone, Copy, Debug)]
pub struct ErrorPage {
    /// What happened.
    pub error: PageError,
    /// Which request.
    pub request: RequestId,
}

impl IntoResponse for ErrorPage {
    fn into_response(self) -> Response {
        let Self { error, request } = self;
        let body = html! {
            h1 { (error.title()) }
            p { (error.text()) }
            @if error.is_the_applications() {
                p { "Go back to the application and try again. If it happens again, its developers can help; give them this:" }
            } @else {
                p { "If you ask for help, give this:" }
            }
            dl {
                dt { "Error" } dd { code { (error.code()) } }
                dt { "Request" } dd { code { (request) } }
            }
        };
        let mut response = Page {
            status: error.status(),
            title: error.title().to_owned(),
            body,
            forms: Forms::None,
            images: None,
        }
        .into_response();
        error.mark(&mut response);
        response
    }
}
