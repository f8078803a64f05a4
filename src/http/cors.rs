//! Cross-origin requests (Fetch standard, "CORS protocol"): pages of registered origins may call what browser
//! applications call. Never with cookies: credentials are not allowed for any origin.
//!
//! A preflight says nothing of the client, so an origin is let where any active client registers it. The answer
//! to a client that was authenticated may be read by pages of that client's own origins only.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::domain::client::Registration;
use crate::ledger::{LANE, Ledger};

/// How long what was read of the clients' origins is used.
const REREAD_AFTER_SECONDS: i64 = 10;
const EXPOSED: HeaderValue =
    HeaderValue::from_static("WWW-Authenticate, X-Request-Id, Retry-After, DPoP-Nonce");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static("Authorization, Content-Type, DPoP");
/// Seconds that a browser may remember a preflight's answer.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Who may read an endpoint's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// Pages of registered origins, with these methods.
    Registered(&'static str),
    /// Every page: it is public.
    Everybody,
    /// No page.
    Nobody,
}

fn audience(path: &str) -> Audience {
    match path {
        "/oauth/token" | "/oauth/revoke" | "/oauth/par" | "/oauth/device_authorization" => {
            Audience::Registered("POST")
        }
        "/oauth/userinfo" => Audience::Registered("GET, POST"),
        "/oauth/jwks" | "/oauth/jwks.json" | "/jwks" | "/jwks.json" => Audience::Everybody,
        _ if path.starts_with("/.well-known/") || path.starts_with("/oauth/status-lists") => {
            Audience::Everybody
        }
        _ if path == "/api" || path.starts_with("/api/") => {
            Audience::Registered("GET, POST, PUT, PATCH, DELETE")
        }
        _ => Audience::Nobody,
    }
}

/// Set on an answer whose client is known: only pages of that client's own origins may read it.
#[derive(Clone, Debug)]
pub struct OriginsOf(pub Arc<Registration>);

impl OriginsOf {
    fn has(&self, origin: &HeaderValue) -> bool {
        let mut allowed = self.0.metadata.allowed_origins.iter();
        allowed.any(|one| one.as_bytes() == origin.as_bytes())
    }
}

/// The middleware.
pub async fn cross_origin(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let audience = audience(request.uri().path());
    let origin = request.headers().get(header::ORIGIN).cloned();
    if audience == Audience::Nobody {
        return next.run(request).await;
    }
    let preflight = origin.is_some() && is_preflight(&request);
    let allowed = match (audience, origin) {
        (Audience::Everybody, _) => Some(HeaderValue::from_static("*")),
        (Audience::Registered(_), Some(origin)) if origins.has(&origin).await => Some(origin),
        (Audience::Registered(_) | Audience::Nobody, _) => None,
    };
    let mut response = if preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let of_client = response.extensions().get::<OriginsOf>();
    let allowed = allowed.filter(|origin| of_client.is_none_or(|client| client.has(origin)));
    let headers = response.headers_mut();
    if let Audience::Registered(methods) = audience {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if preflight && allowed.is_some() {
            set(
                headers,
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static(methods),
            );
            set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            set(headers, header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
    } else if preflight {
        let methods = HeaderValue::from_static("GET");
        set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Some(allowed) = allowed {
        set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    headers.insert(name, value);
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The origins that active clients register. Read from the ledger, each event once: what clients were before is
/// kept, and only what was appended since is folded in.
#[derive(Clone)]
pub struct Origins {
    pool: PgPool,
    clock: Clock,
    allowed: Arc<RwLock<Allowed>>,
    reading: Arc<Mutex<Folded>>,
}

#[derive(Default)]
struct Allowed {
    origins: HashSet<String>,
    read_at: Option<Timestamp>,
}

#[derive(Default)]
struct Folded {
    position: i64,
    clients: HashMap<Uuid, ClientOrigins>,
}

#[derive(Default)]
struct ClientOrigins {
    origins: Vec<String>,
    blocked: bool,
}

impl Origins {
    /// Nothing is read before the first question.
    #[must_use]
    pub fn new(ledger: &Ledger) -> Self {
        Self {
            pool: ledger.pool().clone(),
            clock: ledger.clock().clone(),
            allowed: Arc::default(),
            reading: Arc::default(),
        }
    }

    async fn has(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        if self.is_stale()
            && let Err(error) = self.read().await
        {
            // What was known before goes on to hold.
            tracing::warn!(%error, "the clients' origins could not be read");
        }
        let allowed = self.allowed.read().unwrap_or_else(PoisonError::into_inner);
        allowed.origins.contains(origin)
    }

    fn is_stale(&self) -> bool {
        let allowed = self.allowed.read().unwrap_or_else(PoisonError::into_inner);
        let age = |read_at: Timestamp| (self.clock.now() - read_at).abs();
        allowed
            .read_at
            .is_none_or(|read_at| age(read_at) > TimeDelta::seconds(REREAD_AFTER_SECONDS))
    }

    async fn read(&self) -> Result<(), sqlx::Error> {
        let mut folded = self.reading.lock().await;
        if !self.is_stale() {
            return Ok(());
        }
        let rows: Vec<(i64, Uuid, String, Option<String>)> = sqlx::query_as(
            "SELECT position, aggregate_id, event_type, (payload #> '{metadata,allowed_origins}')::text \
             FROM grantlog.ledger_client WHERE lane = $1 AND position > $2 \
             AND event_type IN ('ClientRegistered', 'ClientUpdated', 'ClientSuspended', 'ClientReinstated', 'ClientRevoked') \
             ORDER BY position",
        )
        .bind(LANE)
        .bind(folded.position)
        .fetch_all(&self.pool)
        .await?;
        for (position, client, event_type, origins) in rows {
            folded.apply(client, &event_type, origins.as_deref());
            folded.position = position;
        }
        let active = folded.clients.values().filter(|client| !client.blocked);
        let origins = active.flat_map(|client| client.origins.iter().cloned()).collect();
        let mut allowed = self.allowed.write().unwrap_or_else(PoisonError::into_inner);
        *allowed = Allowed {
            origins,
            read_at: Some(self.clock.now()),
        };
        Ok(())
    }
}

impl Folded {
    fn apply(&mut self, client: Uuid, event_type: &str, origins: Option<&str>) {
        let client = self.clients.entry(client).or_default();
        match event_type {
            "ClientSuspended" | "ClientRevoked" => client.blocked = true,
            "ClientReinstated" => client.blocked = false,
            _ => {
                let origins = origins.and_then(|json| serde_json::from_str(json).ok());
                client.origins = origins.unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_browser_applications_call_is_open_to_pages() {
        assert_eq!(audience("/oauth/token"), Audience::Registered("POST"));
        assert_eq!(audience("/.well-known/jwks.json"), Audience::Everybody);
        for closed in [
            "/oauth/introspect",
            "/oauth/authorize",
            "/login",
            "/healthz",
            "/apis",
            "/",
        ] {
            assert_eq!(audience(closed), Audience::Nobody, "{closed}");
        }
        assert!(matches!(audience("/api/user"), Audience::Registered(_)));
    }
}
