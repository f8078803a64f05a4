//! What comes with a request: forms, headers, parameters.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantlog::http::client_auth::Credentials;
use grantlog::http::context;
use grantlog::http::cookie::Cookie;
use grantlog::http::form::{self, Form};
use grantlog::http::oauth::{authorize, device, par, resource};
use grantlog::http::oidc::claims_request::ClaimsRequest;
use grantlog::http::preference;
use grantlog::http::session::Presented;
use url::form_urlencoded;

use super::{Read, text};

fn headers(name: HeaderName, value: &[u8]) -> Option<HeaderMap> {
    // What is no header at all, hyper refuses before us.
    let value = HeaderValue::from_bytes(value).ok()?;
    Some([(name, value)].into_iter().collect())
}

/// A form's parameters, as a form.
pub(super) fn form(bytes: &[u8]) -> Read {
    let read = Form::parse_bytes(bytes).ok();
    Read::text(read.map(|form| {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form.iter())
            .finish()
    }))
}

/// The same, as a flat JSON object whose doubled members stay doubled.
pub(super) fn json_form(bytes: &[u8]) -> Read {
    let read = Form::parse_json(bytes).ok();
    Read::text(read.map(|form| {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let members: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)))
            .collect();
        format!("{{{}}}", members.join(","))
    }))
}

pub(super) fn content_type(bytes: &[u8]) -> Read {
    let Some(headers) = headers(header::CONTENT_TYPE, bytes) else {
        return Read::Refused;
    };
    let (form, json) = (
        form::check_content_type(&headers).is_ok(),
        form::check_json_type(&headers).is_ok(),
    );
    assert!(!(form && json), "it is both");
    Read::when(form || json)
}

/// The header as it is, or, where it has no scheme, what stands encoded in it.
pub(super) fn basic_header(bytes: &[u8]) -> Read {
    let value = if bytes.contains(&b' ') && !bytes.contains(&b':') {
        bytes.to_vec()
    } else {
        format!("Basic {}", STANDARD.encode(bytes)).into_bytes()
    };
    let Some(headers) = headers(header::AUTHORIZATION, &value) else {
        return Read::Refused;
    };
    Read::when(Credentials::read(&headers, &Form::default()).is_ok())
}

/// What is carried on through our own forms is the query as it came.
pub(super) fn authorization_query(bytes: &[u8]) -> Read {
    text(bytes, |query| Read::text(authorize::query_in(query)))
}

pub(super) fn claims(bytes: &[u8]) -> Read {
    text(bytes, |parameter| {
        Read::when(ClaimsRequest::parse(parameter).is_ok())
    })
}

/// A value that is found stands in the header.
pub(super) fn cookie(bytes: &[u8]) -> Read {
    let Some(headers) = headers(header::COOKIE, bytes) else {
        return Read::Refused;
    };
    let settings = crate::harness::settings("postgres://x");
    let value = Cookie("grantlog_session").read(&settings, &headers);
    Read::text(value.map(|value| format!("grantlog_session={value}")))
}

/// What a caller prefers, as a header that says the same; whatever has no weight in it is passed over.
pub(super) fn accept(bytes: &[u8]) -> Read {
    let Some(headers) = headers(header::ACCEPT, bytes) else {
        return Read::Refused;
    };
    let members = preference::members(&headers, &header::ACCEPT);
    let written: Vec<String> = members
        .map(|(name, weight)| {
            assert!(weight <= preference::MOST && !name.contains([',', ';']), "{name}");
            format!("{name};q={}.{:03}", weight / 1000, weight % 1000)
        })
        .collect();
    Read::text((!written.is_empty()).then(|| written.join(",")))
}

/// Whatever the header says, the sender is its peer or an address in it.
pub(super) fn forwarded(bytes: &[u8]) -> Read {
    let Some(headers) = headers(HeaderName::from_static("x-forwarded-for"), bytes) else {
        return Read::Refused;
    };
    let peer: IpAddr = "10.0.0.1".parse().unwrap();
    let trusted = [peer, "10.0.0.2".parse().unwrap()];
    let sender = context::sender(peer, &headers, &trusted);
    assert_eq!(
        context::sender("198.51.100.1".parse().unwrap(), &headers, &trusted).to_string(),
        "198.51.100.1",
        "a stranger's header was believed"
    );
    Read::text((sender != peer).then(|| sender.to_string()))
}

pub(super) fn user_code(bytes: &[u8]) -> Read {
    text(bytes, |typed| Read::text(device::user_code_in(typed)))
}

/// The session cookie's value.
pub(super) fn session_cookie(bytes: &[u8]) -> Read {
    text(bytes, |value| Read::when(Presented::parse(value).is_some()))
}

pub(super) fn request_uri(bytes: &[u8]) -> Read {
    text(bytes, |value| Read::when(par::is_request_uri(value)))
}

/// What a query asks for, as a query.
pub(super) fn resource(bytes: &[u8]) -> Read {
    text(bytes, |query| {
        Read::text(resource::resources_in(query).map(|resources| {
            assert!(
                resources.iter().all(|one| !one.contains('#')),
                "a fragment was taken"
            );
            form_urlencoded::Serializer::new(String::new())
                .extend_pairs(resources.iter().map(|one| ("resource", one)))
                .finish()
        }))
    })
}
