//! Errors that are shown to a person, because there is nowhere safe to send them (RFC 6749 §4.1.2.1), or
//! because the person can do something about them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::html;

use super::text;
use super::{Forms, Page, Presentation};
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
    /// A form of our own pages cannot be read.
    FormMalformed,
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
            | Self::FormMalformed
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

    fn title(self, texts: &text::ErrorTitles) -> &'static str {
        match self {
            Self::Malformed
            | Self::Doubled
            | Self::ClientMissing
            | Self::ClientUnknown
            | Self::ClientRevoked
            | Self::RedirectUriMissing
            | Self::RedirectUriUnknown
            | Self::RequestUriInvalid
            | Self::RequestObjectInvalid => texts.login_link,
            Self::UserCodeUnknown => texts.code,
            Self::DeviceRefused => texts.device,
            Self::DeviceMalformed => texts.device_link,
            Self::LogoutMalformed
            | Self::LogoutHintInvalid
            | Self::LogoutClientUnknown
            | Self::PostLogoutRedirectUriUnknown => texts.logout_link,
            Self::ForgedForm | Self::ConsentOutdated => texts.out_of_date,
            Self::ForeignForm => texts.foreign_form,
            Self::TooMany(_) => texts.too_many,
            Self::TooLarge => texts.too_large,
            Self::NotAForm | Self::FormMalformed => texts.not_a_form,
            Self::ServerError => texts.server_error,
            Self::TemporarilyUnavailable => texts.unavailable,
        }
    }

    /// What happened, and what the reader can do.
    pub(super) fn text(self, texts: &text::Errors) -> &'static str {
        match self {
            Self::Malformed => texts.malformed,
            Self::LogoutMalformed => texts.logout_malformed,
            Self::DeviceMalformed => texts.device_malformed,
            Self::FormMalformed => texts.form_malformed,
            Self::Doubled => texts.doubled,
            Self::ClientMissing => texts.client_missing,
            Self::ClientUnknown => texts.client_unknown,
            Self::ClientRevoked => texts.client_revoked,
            Self::RedirectUriMissing => texts.redirect_uri_missing,
            Self::RedirectUriUnknown => texts.redirect_uri_unknown,
            Self::RequestUriInvalid => texts.request_uri_invalid,
            Self::RequestObjectInvalid => texts.request_object_invalid,
            Self::UserCodeUnknown => texts.user_code_unknown,
            Self::DeviceRefused => texts.device_refused,
            Self::LogoutHintInvalid => texts.logout_hint_invalid,
            Self::LogoutClientUnknown => texts.logout_client_unknown,
            Self::PostLogoutRedirectUriUnknown => texts.post_logout_redirect_uri_unknown,
            Self::ForgedForm => texts.forged_form,
            Self::ConsentOutdated => texts.consent_outdated,
            Self::ForeignForm => texts.foreign_form,
            Self::TooMany(_) => texts.too_many,
            Self::TooLarge => texts.too_large,
            Self::NotAForm => texts.not_a_form,
            Self::ServerError => texts.server_error,
            Self::TemporarilyUnavailable => texts.temporarily_unavailable,
        }
    }

    /// What is wrong with the request, for the application's developers; none where it is not the request.
    fn description(self) -> Option<&'static str> {
        match self {
            Self::Malformed | Self::LogoutMalformed | Self::DeviceMalformed | Self::FormMalformed => {
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
        self.status() == StatusCode::BAD_REQUEST && self != Self::FormMalformed
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
            | Self::FormMalformed
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
            | Self::FormMalformed
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
    /// How it is shown.
    pub presentation: Presentation,
    /// What happened.
    pub error: PageError,
    /// Which request.
    pub request: RequestId,
}

impl IntoResponse for ErrorPage {
    fn into_response(self) -> Response {
        let Self {
            presentation,
            error,
            request,
        } = self;
        let texts = presentation.texts();
        let title = error.title(&texts.error_titles);
        let body = html! {
            h1 { (title) }
            p { (error.text(&texts.errors)) }
            @if error.is_the_applications() {
                p { (texts.error_page.ask_application) }
            } @else {
                p { (texts.error_page.ask_here) }
            }
            dl {
                dt { (texts.common.error) } dd { code { (error.code()) } }
                dt { (texts.common.request) } dd { code { (request) } }
            }
        };
        let mut response = Page {
            presentation,
            status: error.status(),
            title: title.to_owned(),
            body,
            forms: Forms::None,
            images: None,
        }
        .into_response();
        error.mark(&mut response);
        response
    }
}
