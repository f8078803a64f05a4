//! Requests that the server makes itself, to URLs that somebody else named: a client's `jwks_uri`,
//! `sector_identifier_uri` or `backchannel_logout_uri`, the receiver of a stream.
//!
//! Such a URL is an attempt to make this server call what its author cannot reach (server-side request forgery, RFC
//! 9700 §4.8 has a like case). So:
//!
//! - `https` only; `http` for hosts that the setting `outbound_allow` names.
//! - The host's name is resolved here, **every** address of it must be public ([`is_public`]) or on the allow-list, and
//!   the connection is made to an address that was checked: no second look-up, so no rebinding.
//! - No redirect is followed (a 3xx is an [`Answer`] like any other), no proxy of the environment is used, no cookie is
//!   kept, no encoding is undone, no connection is used twice.
//! - An answer has a greatest length and a greatest total time, from the wait for a turn to the last byte; only so many
//!   requests are under way at once, in all and per host.
//!
//! What the status, the content type and the body mean is the caller's business. Typical use:
//!
//! ```text
//! let fetcher = app.outbound.apart("jwks_uri");             // once, at the start: turns of its own
//! let answer = fetcher.send(Outgoing::get(url).accept("application/jwk-set+json, application/json")).await?;
//! if answer.status == StatusCode::OK && answer.is_json() { parse(&answer.body) } …
//! ```

mod address;
mod allow;
mod connection;
mod error;
mod resolve;
mod turns;

pub use address::{is_public, may_be_inside};
pub use allow::{Allowed, NotAllowable};
#[cfg(test)]
pub(crate) use connection::connector;
use connection::tls;
pub use error::OutboundError;
pub use resolve::{Lookup, Resolve};

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use resolve::SystemResolver;
use turns::Turns;

/// The total time of a request, unless it says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of an answer's body, unless the request says otherwise.
pub const MAX_BYTES: usize = 64 * 1024;
const AGENT: &str = concat!("grantlog/", env!("CARGO_PKG_VERSION"));

/// Makes requests to URLs that somebody else named. Cheap to clone; clones share their turns.
#[derive(Clone)]
pub struct Fetcher {
    reach: Arc<Reach>,
    turns: Arc<Turns>,
    purpose: &'static str,
}

struct Reach {
    allow: Vec<Allowed>,
    resolver: Box<dyn Resolve>,
    tls: TlsConnector,
}

/// A request about to be made.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    url: &'a str,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    max_bytes: usize,
    timeout: Duration,
}

/// What came back, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status. A 3xx was not followed.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

impl Answer {
    /// Whether the body says that it is JSON: `application/json` or any `application/…+json`.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let value = self.headers.get(header::CONTENT_TYPE);
        let media_type = value
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .map(|value| value.trim().to_ascii_lowercase());
        media_type.is_some_and(|media_type| {
            media_type
                .strip_prefix("application/")
                .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
        })
    }
}

impl<'a> Outgoing<'a> {
    /// `GET`.
    #[must_use]
    pub fn get(url: &'a str) -> Self {
        Self {
            url,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            max_bytes: MAX_BYTES,
            timeout: TIMEOUT,
        }
    }

    /// `POST` of a form (`application/x-www-form-urlencoded`), already encoded.
    #[must_use]
    pub fn post_form(url: &'a str, form: String) -> Self {
        let mut request = Self::get(url);
        request.method = Method::POST;
        request.body = form.into();
        let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(header::CONTENT_TYPE, media_type);
        request
    }

    /// `POST` of a body of that media type.
    #[must_use]
    pub fn post(url: &'a str, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut request = Self::get(url);
        request.method = Method::POST;
        request.body = body.into();
        let media_type = HeaderValue::from_static(media_type);
        request.headers.insert(header::CONTENT_TYPE, media_type);
        request
    }

    /// A header of the caller's own.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// `POST` of plain text.
    #[must_use]
    pub fn post_text(url: &'a str, text: String) -> Self {
        let mut request = Self::post_form(url, text);
        let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
        request.headers.insert(header::CONTENT_TYPE, media_type);
        request
    }

    /// The media types that are asked for.
    #[must_use]
    pub fn accept(mut self, media_types: &'static str) -> Self {
        let value = HeaderValue::from_static(media_types);
        self.headers.insert(header::ACCEPT, value);
        self
    }

    /// The most bytes of the answer's body, [`MAX_BYTES`] unless set.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The total time, [`TIMEOUT`] unless set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn into_request(self, url: &Url) -> Option<hyper::Request<Full<Bytes>>> {
        let mut path = url.path().to_owned();
        if let Some(query) = url.query() {
            path.push('?');
            path.push_str(query);
        }
        let mut host = url.host_str()?.to_owned();
        if let Some(port) = url.port() {
            host = format!("{host}:{port}");
        }
        let mut request = hyper::Request::builder().method(self.method).uri(path);
        *request.headers_mut()? = self.headers;
        request
            .header(header::HOST, host)
            .header(header::USER_AGENT, AGENT)
            .header(header::CONNECTION, "close")
            .body(Full::new(self.body))
            .ok()
    }
}

impl Fetcher {
    /// One that reaches the public internet, and what `allow` names; that trusts the system's authorities, and `own`.
    pub fn new(allow: Vec<Allowed>, own: Option<RootCertStore>) -> Result<Self, rustls::Error> {
        let resolver = Box::new(SystemResolver::default());
        Ok(Self::with(allow, resolver, tls(own)?))
    }

    /// TLS as this trusts it, for other protocols and for hosts that an administrator named.
    #[must_use]
    pub fn tls(&self) -> &TlsConnector {
        &self.reach.tls
    }

    fn with(allow: Vec<Allowed>, resolver: Box<dyn Resolve>, tls: TlsConnector) -> Self {
        let reach = Reach { allow, resolver, tls };
        Self {
            reach: Arc::new(reach),
            turns: Arc::default(),
            purpose: "other",
        }
    }

    /// The same reach with turns of its own, so that one purpose does not hold up another. `purpose` labels its
    /// metrics.
    #[must_use]
    pub fn apart(&self, purpose: &'static str) -> Self {
        Self {
            reach: Arc::clone(&self.reach),
            turns: Arc::default(),
            purpose,
        }
    }

    /// Checks what can be checked of a URL without asking anybody, for its registration: scheme, host, literal
    /// addresses.
    pub fn check(&self, url: &str) -> Result<Url, OutboundError> {
        let url = Url::parse(url).map_err(|_| OutboundError::Url)?;
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(OutboundError::Url);
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OutboundError::Url);
        }
        let named = self.names(&host, port);
        if url.scheme() != "https" && !(url.scheme() == "http" && named) {
            return Err(OutboundError::Scheme);
        }
        match literal(&host) {
            Some(address) if !named && !is_public(address) => Err(OutboundError::Address),
            Some(_) | None => Ok(url),
        }
    }

    /// Connects to a host that an administrator named, for other protocols than HTTP: one inside, as a rule. Every address
    /// of it must be one that [`may_be_inside`], or on the allow-list.
    pub async fn connect_inside(
        &self,
        host: &Host<&str>,
        port: u16,
    ) -> Result<tokio::net::TcpStream, OutboundError> {
        let addresses = self.inside(host, port).await?;
        connection::connect(&addresses, port).await
    }

    /// The addresses of such a host, each of them checked.
    pub async fn inside(&self, host: &Host<&str>, port: u16) -> Result<Vec<IpAddr>, OutboundError> {
        self.addresses((host, port), may_be_inside).await
    }

    /// Checks what can be checked of such a host without asking anybody.
    pub fn check_inside(&self, host: &Host<&str>, port: u16) -> Result<(), OutboundError> {
        match literal(host) {
            Some(address) if !self.names(host, port) && !may_be_inside(address) => {
                Err(OutboundError::Address)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Makes a request.
    pub async fn send(&self, request: Outgoing<'_>) -> Result<Answer, OutboundError> {
        let timeout = request.timeout;
        let answer = tokio::time::timeout(timeout, self.exchange(request)).await;
        let answer = answer.unwrap_or(Err(OutboundError::Timeout));
        let outcome = answer.as_ref().map_or_else(OutboundError::code, |_| "answered");
        metrics::counter!("grantlog_outbound_requests_total", "purpose" => self.purpose, "outcome" => outcome)
            .increment(1);
        answer
    }

    async fn exchange(&self, request: Outgoing<'_>) -> Result<Answer, OutboundError> {
        let url = self.check(request.url)?;
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(OutboundError::Url);
        };
        let _turn = self.turns.take(&format!("{host}:{port}")).await;
        let addresses = self.addresses((&host, port), is_public).await?;
        let stream = connection::connect(&addresses, port).await?;
        let tls = match (url.scheme(), &host) {
            ("https", Host::Domain(name)) => {
                let name = ServerName::try_from((*name).to_owned()).map_err(|_| OutboundError::Url)?;
                Some((&self.reach.tls, name))
            }
            ("https", Host::Ipv4(address)) => Some((&self.reach.tls, IpAddr::V4(*address).into())),
            ("https", Host::Ipv6(address)) => Some((&self.reach.tls, IpAddr::V6(*address).into())),
            _ => None,
        };
        let max_bytes = request.max_bytes;
        let request = request.into_request(&url).ok_or(OutboundError::Url)?;
        connection::exchange(stream, tls, request, max_bytes).await
    }

    /// The addresses of a host, each of them checked. One bad address spoils all: a name that is public and private at
    /// once means harm.
    async fn addresses(
        &self,
        (host, port): (&Host<&str>, u16),
        fits: fn(IpAddr) -> bool,
    ) -> Result<Vec<IpAddr>, OutboundError> {
        let named = self.names(host, port);
        let found = match host {
            Host::Domain(name) => {
                let found = self.reach.resolver.resolve(name).await;
                found.map_err(|_| OutboundError::Unresolved)?
            }
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        };
        let reachable =
            |address: IpAddr| named || fits(address) || self.reaches(address.to_canonical(), port);
        if found.is_empty() {
            Err(OutboundError::Unresolved)
        } else if found.iter().all(|address| reachable(*address)) {
            Ok(found)
        } else {
            Err(OutboundError::Address)
        }
    }

    fn names(&self, host: &Host<&str>, port: u16) -> bool {
        self.reach.allow.iter().any(|allowed| allowed.names(host, port))
    }

    fn reaches(&self, address: IpAddr, port: u16) -> bool {
        self.reach
            .allow
            .iter()
            .any(|allowed| allowed.reaches(address, port))
    }
}

/// A host, borrowed.
#[must_use]
pub fn borrowed(host: &Host<String>) -> Host<&str> {
    match host {
        Host::Domain(name) => Host::Domain(name.as_str()),
        Host::Ipv4(address) => Host::Ipv4(*address),
        Host::Ipv6(address) => Host::Ipv6(*address),
    }
}

/// The address that a host is spelled as.
fn literal(host: &Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address)),
    }
}

#[cfg(test)]
mod tests;
