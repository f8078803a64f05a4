//! The token endpoint and what its tokens are good for, over HTTP.

use serde_json::{Value, json};

use crate::code::{self, REDIRECT_URI, VERIFIER};
use crate::harness::{TestServer, browser};

/// A client with a secret, a user, and what a test asks them for.
pub(crate) struct Party {
    pub(crate) server: TestServer,
    pub(crate) key: grantlog::ids::ClientKey,
    pub(crate) client_id: String,
    pub(crate) secret: String,
    pub(crate) subject: grantlog::ids::SubjectId,
    pub(crate) http: reqwest::Client,
}

impl Party {
    pub(crate) async fn new() -> Self {
        Self::with(json!({})).await
    }

    pub(crate) async fn with(extra: Value) -> Self {
        Self::on(TestServer::start().await, extra).await
    }

    pub(crate) async fn on(server: TestServer, extra: Value) -> Self {
        let mut metadata = json!({
            "client_name": "Example",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "scope": "view-user detail-user server-operations",
            "default_scopes": "view-user",
        });
        metadata
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let client = server.client(metadata).await;
        let subject = server.user("ada", "correct horse battery").await;
        Self {
            key: client.key,
            client_id: client.client_id,
            secret: client.client_secret.unwrap_or_default(),
            subject,
            server,
            http: browser(),
        }
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let response = self
            .http
            .post(self.server.url(path))
            .basic_auth(&self.client_id, Some(&self.secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn code(&self, scope: &str) -> String {
        code::issue(&self.server, self.key, self.subject, scope).await.1
    }

    pub(crate) async fn redeem(&self, code: &str) -> (u16, Value) {
        self.post(
            "/oauth/token",
            &[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", REDIRECT_URI),
                ("code_verifier", VERIFIER),
            ],
        )
        .await
    }

    pub(crate) async fn refresh(&self, token: &str) -> (u16, Value) {
        self.post(
            "/oauth/token",
            &[("grant_type", "refresh_token"), ("refresh_token", token)],
        )
        .await
    }

    pub(crate) async fn is_active(&self, token: &str) -> bool {
        let (status, body) = self.post("/oauth/introspect", &[("token", token)]).await;
        assert_eq!(status, 200, "{body}");
        body["active"].as_bool().unwrap()
    }

    pub(crate) async fn api(&self, path: &str, token: &str) -> (u16, Value) {
        let response = self
            .http
            .get(self.server.url(path))
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

pub(crate) fn text<'a>(body: &'a Value, member: &str) -> &'a str {
    body[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member} in {body}"))
}

/// The status and code of a refusal.
pub(crate) fn error(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, text(&answer.1, "error"))
}

#[tokio::test]
async fn a_code_becomes_tokens_that_work_until_they_are_revoked() {
    let party = Party::new().await;
    let (status, tokens) = party.redeem(&party.code("view-user").await).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 3600);
    assert_eq!(tokens["scope"], "view-user");
    let access = text(&tokens, "access_token");
    let (status, user) = party.api("/api/user", access).await;
    assert_eq!((status, text(&user, "username")), (200, "ada"), "{user}");
    let (status, error) = party.api("/api/user/details", access).await;
    assert_eq!((status, text(&error, "error")), (403, "insufficient_scope"));

    let (status, next) = party.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!(status, 200, "{next}");
    assert!(party.is_active(text(&next, "access_token")).await);
    assert!(party.is_active(text(&next, "refresh_token")).await);
    assert!(!party.is_active(text(&tokens, "refresh_token")).await);

    let (status, _) = party
        .post("/oauth/revoke", &[("token", text(&next, "refresh_token"))])
        .await;
    assert_eq!(status, 200);
    for token in [access, text(&next, "access_token"), text(&next, "refresh_token")] {
        assert!(!party.is_active(token).await);
    }
    let (status, error) = party.api("/api/user", access).await;
    assert_eq!((status, text(&error, "error")), (401, "token_invalid"));
    let (status, error) = party.refresh(text(&next, "refresh_token")).await;
    assert_eq!((status, text(&error, "error")), (400, "invalid_grant"));
}

#[tokio::test]
async fn client_credentials_give_a_token_without_a_refresh_token() {
    let party = Party::new().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let (status, tokens) = party.post("/oauth/token", &form).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["scope"], "server-operations");
    assert!(tokens.get("refresh_token").is_none());
    assert!(party.is_active(text(&tokens, "access_token")).await);
    let (status, error) = party.api("/api/user", text(&tokens, "access_token")).await;
    assert_eq!((status, text(&error, "error")), (403, "permission_denied"));
}

#[tokio::test]
async fn a_code_redeemed_twice_revokes_its_tokens() {
    let party = Party::new().await;
    let code = party.code("view-user").await;
    let (_, tokens) = party.redeem(&code).await;
    let (status, error) = party.redeem(&code).await;
    assert_eq!((status, text(&error, "error")), (400, "invalid_grant"));
    assert!(!party.is_active(text(&tokens, "access_token")).await);
    assert!(!party.is_active(text(&tokens, "refresh_token")).await);
    let events: Vec<String> =
        sqlx::query_scalar("SELECT event_type FROM grantlog.ledger_grant ORDER BY position")
            .fetch_all(party.server.app.ledger.pool())
            .await
            .unwrap();
    assert_eq!(
        events,
        [
            "CodeIssued",
            "CodeRedeemed",
            "TokenIssued",
            "CodeReplayed",
            "TokenRevoked"
        ]
    );
}

#[tokio::test]
async fn a_refresh_token_used_again_after_the_grace_period_revokes_the_family() {
    let party = Party::new().await;
    let (_, first) = party.redeem(&party.code("view-user").await).await;
    let (_, second) = party.refresh(text(&first, "refresh_token")).await;
    party.server.clock.advance(std::time::Duration::from_secs(11));
    let (status, error) = party.refresh(text(&first, "refresh_token")).await;
    assert_eq!((status, text(&error, "error")), (400, "invalid_grant"));
    assert!(!party.is_active(text(&second, "refresh_token")).await);
    assert!(!party.is_active(text(&second, "access_token")).await);
}

#[tokio::test]
async fn a_retry_within_the_grace_period_gets_a_new_generation_and_kills_the_unused_one() {
    let party = Party::new().await;
    let (_, first) = party.redeem(&party.code("view-user").await).await;
    let (_, second) = party.refresh(text(&first, "refresh_token")).await;
    let (status, third) = party.refresh(text(&first, "refresh_token")).await;
    assert_eq!(status, 200, "{third}");
    assert!(!party.is_active(text(&second, "refresh_token")).await);
    assert!(party.is_active(text(&third, "refresh_token")).await);
    // The killed generation is a replay, and so is a second retry.
    let (status, _) = party.refresh(text(&second, "refresh_token")).await;
    assert_eq!(status, 400);
    assert!(!party.is_active(text(&third, "refresh_token")).await);
}

#[tokio::test]
async fn an_old_generation_is_recognised_however_long_ago_it_was() {
    let party = Party::new().await;
    let (_, first) = party.redeem(&party.code("view-user").await).await;
    let mut last = first.clone();
    for _ in 0..5 {
        last = party.refresh(text(&last, "refresh_token")).await.1;
    }
    let (status, _) = party.refresh(text(&first, "refresh_token")).await;
    assert_eq!(status, 400);
    assert!(!party.is_active(text(&last, "refresh_token")).await);
}

#[tokio::test]
async fn a_guessed_address_touches_nothing() {
    let party = Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let refresh = text(&tokens, "refresh_token");
    // The right address with a wrong random part.
    let forged = format!("{}AAAAAAAAAAAAAAAAAAAA", &refresh[..refresh.len() - 20]);
    let (status, error) = party.refresh(&forged).await;
    assert_eq!((status, text(&error, "error")), (400, "invalid_grant"));
    // What says where it is, altered: it is encrypted, and leads to no event of the grant.
    let altered = |at: usize| {
        let other = if &refresh[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &refresh[..at], &refresh[at + 1..])
    };
    for forged in [altered(4), altered(15), altered(30)] {
        let (status, error) = party.refresh(&forged).await;
        assert_eq!(
            (status, text(&error, "error")),
            (400, "invalid_grant"),
            "{forged}"
        );
    }
    assert!(party.is_active(refresh).await);
}

/// RFC 9700 §4.14.2: it is decided for each client.
#[tokio::test]
async fn a_client_without_the_refresh_token_grant_gets_no_refresh_token() {
    let party = Party::with(json!({"grant_types": ["authorization_code"]})).await;
    let (status, tokens) = party.redeem(&party.code("view-user").await).await;
    assert_eq!(status, 200, "{tokens}");
    assert!(tokens["access_token"].is_string() && tokens.get("refresh_token").is_none());
}

#[tokio::test]
async fn another_client_can_neither_use_nor_kill_a_refresh_token() {
    let party = Party::new().await;
    let other = party
        .server
        .client(json!({"client_name": "Other", "redirect_uris": [REDIRECT_URI]}))
        .await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let refresh = text(&tokens, "refresh_token").to_owned();
    let thief = Party {
        key: other.key,
        client_id: other.client_id,
        secret: other.client_secret.unwrap(),
        subject: party.subject,
        http: browser(),
        server: party.server,
    };
    let (status, error) = thief.refresh(&refresh).await;
    assert_eq!((status, text(&error, "error")), (400, "invalid_grant"));
    assert!(!thief.is_active(&refresh).await);
    let (status, _) = thief.post("/oauth/revoke", &[("token", &refresh)]).await;
    assert_eq!(status, 400);
    let owner = Party {
        key: party.key,
        client_id: party.client_id,
        secret: party.secret,
        ..thief
    };
    assert!(owner.is_active(&refresh).await);
}

#[tokio::test]
async fn a_password_change_ends_every_token_of_the_user() {
    let party = Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let context = TestServer::context();
    let password = "another long password".to_owned();
    party
        .server
        .app
        .operations
        .set_password(&context, party.subject, password)
        .await
        .unwrap();
    assert!(!party.is_active(text(&tokens, "access_token")).await);
    let (status, error) = party.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!((status, text(&error, "error")), (400, "invalid_grant"));
}

#[tokio::test]
async fn the_answers_are_never_cached_and_name_the_request() {
    let party = Party::new().await;
    let response = party
        .http
        .post(party.server.url("/oauth/token"))
        .basic_auth(&party.client_id, Some("wrong"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("cache-control"), "no-store");
    assert!(header("www-authenticate").starts_with("Basic "));
    let request = header("x-request-id");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"], "invalid_client");
    for member in ["error_description", "message", "hint"] {
        assert!(!text(&body, member).is_empty());
    }
    let reason: String = sqlx::query_scalar(
        "SELECT payload->>'reason' FROM grantlog.ledger_refusal WHERE metadata->>'request_id' = $1",
    )
    .bind(request)
    .fetch_one(party.server.app.ledger.pool())
    .await
    .unwrap();
    assert_eq!(reason, "wrong_client_secret");
}

#[tokio::test]
async fn malformed_requests_are_refused_cleanly() {
    let party = Party::new().await;
    let good = "grant_type=client_credentials&scope=server-operations";
    let form = "application/x-www-form-urlencoded";
    let cases: &[(&str, &[u8], u16, &str)] = &[
        (form, b"", 400, "invalid_request"),
        (form, b"grant_type=", 400, "invalid_request"),
        (
            form,
            b"grant_type=client_credentials&grant_type=client_credentials",
            400,
            "invalid_request",
        ),
        (
            form,
            b"grant_type=client_credentials&scope=%ff",
            400,
            "invalid_request",
        ),
        (
            form,
            b"grant_type=client_credentials&scope=a%00",
            400,
            "invalid_request",
        ),
        (
            form,
            b"grant_type=client_credentials&client_secret=x",
            400,
            "invalid_request",
        ),
        (
            form,
            b"grant_type=client_credentials&client_id=other",
            400,
            "invalid_request",
        ),
        (
            form,
            b"grant_type=client_credentials&scope=unknown",
            400,
            "invalid_scope",
        ),
        (
            form,
            b"grant_type=client_credentials&scope=detail-user",
            400,
            "invalid_scope",
        ),
        (
            form,
            b"grant_type=client_credentials&scope=a%20%20b",
            400,
            "invalid_scope",
        ),
        (form, b"grant_type=urn:unknown", 400, "unsupported_grant_type"),
        (
            form,
            b"grant_type=password&username=ada&password=x",
            400,
            "unsupported_grant_type",
        ),
        (form, b"grant_type=authorization_code", 400, "invalid_request"),
        (
            form,
            b"grant_type=authorization_code&code=nonsense",
            400,
            "invalid_grant",
        ),
        (
            form,
            b"grant_type=refresh_token&refresh_token=glr_nonsense",
            400,
            "invalid_grant",
        ),
        ("application/json", good.as_bytes(), 400, "invalid_request"),
        ("", good.as_bytes(), 400, "invalid_request"),
    ];
    for (content_type, body, status, error) in cases {
        let response = party
            .http
            .post(party.server.url("/oauth/token"))
            .basic_auth(&party.client_id, Some(&party.secret))
            .header("content-type", *content_type)
            .body(body.to_vec())
            .send()
            .await
            .unwrap();
        let shown = String::from_utf8_lossy(body);
        assert_eq!(response.status().as_u16(), *status, "{shown}");
        assert_eq!(text(&response.json().await.unwrap(), "error"), *error, "{shown}");
    }
    let large = format!("{good}&padding={}", "x".repeat(70_000));
    for path in ["/oauth/token", "/oauth/revoke"] {
        let request = party.http.post(party.server.url(path));
        let request = request.header("content-type", form).body(large.clone());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 413, "{path}");
        assert_eq!(text(&response.json().await.unwrap(), "error"), "invalid_request");
    }
    assert_eq!(
        party
            .http
            .get(party.server.url("/oauth/token"))
            .send()
            .await
            .unwrap()
            .status(),
        405
    );
}
