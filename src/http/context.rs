//! Who sent a request, and its id.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use axum::middleware::Next;
use axum::response::Response;

use super::client_certificate;
use super::error::ProtocolError;
use super::page::Presentation;
use tracing::Instrument as _;

use crate::app::App;
use crate::config::Settings;
use crate::crypto::certificate::ClientCertificate;
use crate::ids::RequestId;
use crate::ledger::{Actor, Context};

/// The header by which a caller can quote its request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a request may take, its body and its answer. Longer than the appender tries.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The most bytes of a request's address and headers. An authorization request carries its parameters there.
/// The listener reads a little more, so that a request that is too large gets an answer.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The most header fields.
pub const MAX_HEADERS: usize = 100;

/// The most bytes of a user agent that are kept.
const MAX_AGENT: usize = 256;

/// What the middleware found out about a request.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its id.
    pub request: RequestId,
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// Its sender's address.
    pub address: Option<IpAddr>,
    /// How its sender is shown pages.
    pub presentation: Presentation,
    agent: Option<String>,
    trace: Option<String>,
    certificate: Option<Arc<ClientCertificate>>,
}

impl Origin {
    /// The same, shown pages otherwise.
    #[must_use]
    pub fn presented(&self, presentation: Presentation) -> Self {
        Self {
            presentation,
            ..self.clone()
        }
    }

    /// The context of events that this request causes at `endpoint`.
    #[must_use]
    pub fn context(&self, endpoint: &'static str, actor: Actor) -> Context {
        Context {
            request: self.request,
            actor,
            subject: None,
            endpoint,
            trace: self.trace.clone(),
            address: self.address,
            agent: self.agent.clone(),
            note: None,
            certificate: self.certificate.clone(),
            authentication: OnceLock::new(),
            operator: None,
            appended: Arc::default(),
        }
    }
}

impl Settings {
    /// What tells browsers to come with https only (RFC 6797 §6.1). Other names below the host's are not ours to speak for.
    fn strict_transport_security(&self) -> Option<HeaderValue> {
        if self.hsts_seconds == 0 || !self.issuer.starts_with("https://") {
            return None;
        }
        HeaderValue::from_str(&format!("max-age={}", self.hsts_seconds)).ok()
    }
}

/// Gives each request its id, and each answer the header that names it and the one that keeps browsers to TLS.
pub async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    // Without randomness nothing can be issued anyway; the nil id marks such a request.
    let id = app.ledger.random().uuid().unwrap_or_default();
    let certificate = client_certificate::take(&app.settings, peer, &mut request);
    let origin = Origin {
        request: RequestId(id),
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        address: peer.map(|peer| sender(peer, request.headers(), &app.settings.trusted_proxies)),
        // Known where the request is for a page.
        presentation: Presentation::default(),
        agent: agent(request.headers()),
        trace: trace(request.headers()),
        certificate,
    };
    let checked = check_head(&request);
    request.extensions_mut().insert(origin);
    let answered = match checked {
        Ok(()) => to_its_end(next.run(request)).await,
        Err(error) => Err(error),
    };
    let mut response = answered.unwrap_or_else(|error| error.respond(RequestId(id)));
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if let Some(value) = app.settings.strict_transport_security() {
        response
            .headers_mut()
            .insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}

/// Answers a request whether or not its sender waits: whoever guesses and hangs up is counted and recorded like
/// anybody else, and what was begun holds its place in the queues until it is over. The time limit is for its body
/// too: whoever sends that a byte at a time must not hold a connection, or a shutdown, for ever.
async fn to_its_end(
    answer: impl Future<Output = Response> + Send + 'static,
) -> Result<Response, ProtocolError> {
    let mut task = tokio::spawn(answer.in_current_span());
    match tokio::time::timeout(TIME_LIMIT, &mut task).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(ended)) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ProtocolError::Timeout),
        },
        Err(_) => {
            task.abort();
            Err(ProtocolError::Timeout)
        }
    }
}

/// What a request's head must be. Of a length and a transfer coding at once, hyper believes the coding, drops the
/// length and closes the connection afterwards (RFC 9112 §6.3): that is not seen here any more.
fn check_head(request: &Request) -> Result<(), ProtocolError> {
    let headers = request.headers();
    if request.version() == Version::HTTP_11 && headers.get_all(header::HOST).iter().count() != 1 {
        return Err(ProtocolError::Host);
    }
    let address = request
        .uri()
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    let fields: usize = headers
        .iter()
        // As on the wire: colon, space and line end.
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if headers.len() > MAX_HEADERS || address + fields > MAX_HEAD_BYTES {
        return Err(ProtocolError::HeadTooLarge);
    }
    Ok(())
}

/// The last address of `X-Forwarded-For` that is not a trusted proxy's, where the peer is one.
#[must_use]
pub fn sender(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted.contains(&peer) {
        return peer;
    }
    let hops: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let mut nearest = peer;
    for hop in hops.iter().rev() {
        let Ok(address) = hop.parse::<IpAddr>() else { break };
        nearest = address.to_canonical();
        if !trusted.contains(&nearest) {
            break;
        }
    }
    nearest
}

fn agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(MAX_AGENT).collect())
}

/// The trace id of a W3C `traceparent`.
fn trace(headers: &HeaderMap) -> Option<String> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let trace = parent.split('-').nth(1)?;
    (trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_address_is_believed_from_a_trusted_proxy_only() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-forwarded-for",
            "6.6.6.6, 203.0.113.9, 10.0.0.2".parse().unwrap(),
        );
        let (proxy, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
        let trusted = [proxy, "10.0.0.2".parse().unwrap()];
        assert_eq!(sender(other, &headers, &trusted), other);
        assert_eq!(
            sender(proxy, &headers, &trusted),
            "203.0.113.9".parse::<IpAddr>().unwrap()
        );
        assert_eq!(sender(proxy, &HeaderMap::new(), &trusted), proxy);
    }
}
