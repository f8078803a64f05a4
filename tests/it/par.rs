//! Pushed authorization requests over HTTP (RFC 9126).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::domain::client::ClientCommand;
use grantlog::http::one_time::OneTime;
use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use crate::flow::{self, Query, with};
use crate::harness::{TestServer, browser};
use crate::races::Node;

/// A client that pushes, and the browser of its user.
struct Pushing {
    server: TestServer,
    client: CreatedClient,
    browser: reqwest::Client,
}

impl Pushing {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(extra: Value) -> Self {
        Self::on(TestServer::start().await, extra).await
    }

    async fn on(server: TestServer, extra: Value) -> Self {
        server.user(flow::USERNAME, flow::PASSWORD).await;
        let mut metadata = flow::confidential();
        metadata
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let client = server.client(metadata).await;
        Self {
            server,
            client,
            browser: browser(),
        }
    }

    fn query(&self) -> Query {
        flow::query(&self.client)
    }

    /// Pushes parameters to a node.
    async fn push_to(&self, base: &str, query: &Query) -> (u16, Value) {
        let mut request = self.browser.post(format!("{base}/oauth/par"));
        if let Some(secret) = &self.client.client_secret {
            request = request.basic_auth(&self.client.client_id, Some(secret));
        }
        let response = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(flow::encode(query))
            .send()
            .await
            .unwrap();
        assert!(
            response.headers()["cache-control"]
                .to_str()
                .unwrap()
                .contains("no-store")
        );
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn push(&self, query: &Query) -> (u16, Value) {
        self.push_to(&self.server.base, query).await
    }

    /// Pushes a good request; the query that a browser is sent with.
    async fn pushed(&self, query: &Query) -> Query {
        let (status, body) = self.push(query).await;
        assert_eq!(status, 201, "{body}");
        self.named(&body)
    }

    fn named(&self, body: &Value) -> Query {
        named(&self.client.client_id, body["request_uri"].as_str().unwrap())
    }

    /// The reasons of the recorded refusals, in order.
    async fn reasons(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' ORDER BY position",
        )
        .fetch_all(&self.server.database.owner().await)
        .await
        .unwrap()
    }

    async fn waiting(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM grantlog.pushed_requests")
            .fetch_one(&self.server.database.owner().await)
            .await
            .unwrap()
    }

    /// Brings a `request_uri` that is not good: a page says so, and nothing is sent anywhere.
    async fn is_over(&self, query: &Query) {
        let page = flow::request(&self.server, &self.browser, query).await;
        assert_eq!(
            (page.status.as_u16(), page.location()),
            (400, None),
            "{}",
            page.body
        );
        assert!(page.body.contains("invalid_request_uri"), "{}", page.body);
    }
}

/// The reason, the answer, and what is changed of a good request.
type Case = (
    &'static str,
    u16,
    &'static str,
    &'static [(&'static str, &'static str)],
);

fn named(client_id: &str, request_uri: &str) -> Query {
    vec![
        ("client_id".to_owned(), client_id.to_owned()),
        ("request_uri".to_owned(), request_uri.to_owned()),
    ]
}

#[tokio::test]
async fn what_public_clients_push_is_limited_by_address_and_what_throttled_ones_push_too() {
    let server = TestServer::start_with(|settings| settings.pushed_requests_per_minute = 2).await;
    let public = Pushing::on(server, json!({"token_endpoint_auth_method": "none"})).await;
    let too_many = |answer: &(u16, Value)| {
        let error = answer.1["error"].as_str();
        assert_eq!((answer.0, error), (429, Some("temporarily_unavailable")));
    };
    // What is refused is not kept, and does not count.
    let bad = with(&public.query(), &[("response_type", "token")]);
    assert_eq!(public.push(&bad).await.0, 400);
    for _ in 0..2 {
        assert_eq!(public.push(&public.query()).await.0, 201);
    }
    too_many(&public.push(&public.query()).await);
    assert_eq!(public.waiting().await, 2);
    assert_eq!(public.reasons().await.pop().unwrap(), "too_many_pushed_requests");
    let metadata = flow::confidential();
    let confidential = Pushing {
        client: public.server.client(metadata).await,
        server: public.server,
        browser: browser(),
    };
    for _ in 0..3 {
        assert_eq!(confidential.push(&confidential.query()).await.0, 201);
    }
    // A policy's throttle holds for whoever authenticates.
    let command = ClientCommand::Throttle {
        per_minute: 1,
        until: confidential.server.clock.now() + chrono::TimeDelta::hours(1),
        reason: "test".to_owned(),
    };
    confidential
        .server
        .app
        .operations
        .command_client(&TestServer::context(), confidential.client.key, &command)
        .await
        .unwrap();
    assert_eq!(confidential.push(&confidential.query()).await.0, 201);
    too_many(&confidential.push(&confidential.query()).await);
    assert_eq!(confidential.reasons().await.pop().unwrap(), "client_throttled");
    confidential.server.clock.advance(Duration::from_secs(61));
    assert_eq!(confidential.push(&confidential.query()).await.0, 201);
}

#[tokio::test]
async fn a_pushed_request_is_answered_as_if_the_browser_had_brought_it_and_once() {
    let par = Pushing::new().await;
    let (status, body) = par.push(&par.query()).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(body["expires_in"], 90);
    assert_eq!(body.as_object().unwrap().len(), 2);
    let uri = body["request_uri"].as_str().unwrap();
    assert!(
        uri.starts_with("urn:ietf:params:oauth:request_uri:") && uri.len() == 34 + 43,
        "{uri}"
    );
    let query = par.named(&body);
    let parameters = flow::authorize(&par.server, &par.browser, &query).await;
    assert_eq!(parameters["state"], "s t&ä");
    assert!(parameters["code"].starts_with("glc_"));
    par.is_over(&query).await;
    assert_eq!(par.reasons().await, ["request_uri_unknown"]);
    assert_eq!(par.waiting().await, 0);
}

#[tokio::test]
async fn what_the_query_says_beside_the_request_uri_counts_for_nothing() {
    let par = Pushing::new().await;
    let query = par.pushed(&with(&par.query(), &[("prompt", "none")])).await;
    let evil = with(
        &query,
        &[
            ("redirect_uri", "https://evil.example/cb"),
            ("state", "evil"),
            ("scope", "server-operations"),
            ("prompt", "consent"),
        ],
    );
    let answer = flow::request(&par.server, &par.browser, &evil).await;
    assert!(answer.location().unwrap().starts_with(flow::REDIRECT_URI));
    let parameters = answer.parameters();
    assert_eq!(parameters["error"], "login_required");
    assert_eq!(parameters["state"], "s t&ä");
    // That was the answer.
    par.is_over(&query).await;
}

#[tokio::test]
async fn a_pushed_request_is_checked_when_it_is_pushed() {
    let par = Pushing::new().await;
    let cases: [Case; 10] = [
        (
            "redirect_uri_not_registered",
            400,
            "invalid_request",
            &[("redirect_uri", "https://evil.example/cb")],
        ),
        (
            "response_type_missing",
            400,
            "invalid_request",
            &[("response_type", "")],
        ),
        (
            "response_type_unsupported",
            400,
            "unsupported_response_type",
            &[("response_type", "token")],
        ),
        ("scope_not_allowed", 400, "invalid_scope", &[("scope", "admin")]),
        (
            "scope_not_approved",
            400,
            "invalid_scope",
            &[("scope", "detail-user")],
        ),
        ("pkce_missing", 400, "invalid_request", &[("code_challenge", "")]),
        ("prompt_unknown", 400, "invalid_request", &[("prompt", "dance")]),
        (
            "request_object_malformed",
            400,
            "invalid_request_object",
            &[("request", "e30.e30.")],
        ),
        (
            "request_uri_pushed",
            400,
            "invalid_request",
            &[("request_uri", "urn:ietf:params:oauth:request_uri:x")],
        ),
        (
            "two_client_ids",
            400,
            "invalid_request",
            &[("client_id", "another")],
        ),
    ];
    for (reason, status, error, changes) in &cases {
        let (found, body) = par.push(&with(&par.query(), changes)).await;
        assert_eq!(
            (found, body["error"].as_str().unwrap()),
            (*status, *error),
            "{reason}: {body}"
        );
        assert!(body["error_description"].is_string() && body["request_id"].is_string());
    }
    let reasons: Vec<&str> = cases.iter().map(|case| case.0).collect();
    assert_eq!(par.reasons().await, reasons);
    let huge = "x".repeat(17_000);
    let (status, _) = par.push(&with(&par.query(), &[("login_hint", &huge)])).await;
    assert_eq!(status, 413);
    assert_eq!(par.waiting().await, 0);
}

#[tokio::test]
async fn clients_authenticate_when_they_push_and_public_ones_need_not() {
    let mut par = Pushing::new().await;
    let secret = par.client.client_secret.replace("wrong".to_owned());
    let (status, body) = par.push(&par.query()).await;
    assert_eq!((status, body["error"].as_str().unwrap()), (401, "invalid_client"));
    par.client.client_secret = None;
    let (status, body) = par.push(&par.query()).await;
    assert_eq!((status, body["error"].as_str().unwrap()), (401, "invalid_client"));
    par.client.client_secret = secret;
    assert_eq!(par.push(&par.query()).await.0, 201);

    let public = Pushing::with(json!({"token_endpoint_auth_method": "none"})).await;
    let query = public.pushed(&public.query()).await;
    let parameters = flow::authorize(&public.server, &public.browser, &query).await;
    assert!(parameters.contains_key("code"));
}

/// RFC 9126 §2.2: the random part differs from push to push, all of it.
#[tokio::test]
async fn each_request_that_is_pushed_has_another_request_uri() {
    let par = Pushing::new().await;
    let mut random = Vec::new();
    for _ in 0..20 {
        let query = par.pushed(&par.query()).await;
        let uri = query.iter().find(|(name, _)| name == "request_uri").unwrap();
        random.push(URL_SAFE_NO_PAD.decode(uri.1.rsplit(':').next().unwrap()).unwrap());
    }
    assert!(random.iter().all(|bytes| bytes.len() == 32));
    for byte in 0..32 {
        let first = random[0][byte];
        assert!(
            random.iter().any(|bytes| bytes[byte] != first),
            "byte {byte} is always {first}"
        );
    }
}

#[tokio::test]
async fn a_request_uri_is_for_the_client_that_pushed_it() {
    let par = Pushing::new().await;
    let other = par.server.client(flow::confidential()).await;
    let query = par.pushed(&par.query()).await;
    par.is_over(&with(&query, &[("client_id", &other.client_id)]))
        .await;
    let nobody = with(&query, &[("client_id", "nobody")]);
    assert_eq!(
        flow::request(&par.server, &par.browser, &nobody).await.status,
        400
    );
    let unnamed = with(&query, &[("client_id", "")]);
    assert_eq!(
        flow::request(&par.server, &par.browser, &unnamed).await.status,
        400
    );
    par.is_over(&named(
        &par.client.client_id,
        "urn:ietf:params:oauth:request_uri:guess",
    ))
    .await;
    assert_eq!(
        par.reasons().await,
        [
            "request_uri_other_client",
            "unknown_client",
            "client_id_missing",
            "request_uri_unknown"
        ]
    );
    // Nobody else's attempt has ended it.
    assert!(
        flow::authorize(&par.server, &par.browser, &query)
            .await
            .contains_key("code")
    );
}

#[tokio::test]
async fn a_request_uri_expires_but_a_user_who_was_shown_a_page_has_time_to_answer() {
    let par = Pushing::new().await;
    let late = par.pushed(&par.query()).await;
    let shown = par.pushed(&par.query()).await;
    assert!(
        flow::request(&par.server, &par.browser, &shown)
            .await
            .is_login_page()
    );
    par.server.clock.advance(Duration::from_secs(90));
    par.is_over(&late).await;
    assert!(
        flow::authorize(&par.server, &par.browser, &shown)
            .await
            .contains_key("code")
    );

    let left = par.pushed(&with(&par.query(), &[("prompt", "consent")])).await;
    assert!(
        flow::request(&par.server, &par.browser, &left)
            .await
            .is_consent_page()
    );
    par.server.clock.advance(Duration::from_secs(1801));
    par.is_over(&left).await;
    assert_eq!(par.waiting().await, 2);
    assert_eq!(OneTime::PushedRequests.prune(&par.server.app).await.unwrap(), 2);
    assert_eq!(par.waiting().await, 0);
}

#[tokio::test]
async fn a_pushed_prompt_for_the_password_is_met_by_a_login_that_came_after() {
    let par = Pushing::new().await;
    // Logged in before, so that there is a session that must not do.
    flow::authorize(&par.server, &par.browser, &par.query()).await;
    for asks in [("prompt", "login"), ("max_age", "0")] {
        let query = par.pushed(&with(&par.query(), &[asks])).await;
        for _ in 0..2 {
            assert!(
                flow::request(&par.server, &par.browser, &query)
                    .await
                    .is_login_page()
            );
        }
        let parameters = flow::authorize(&par.server, &par.browser, &query).await;
        assert!(parameters.contains_key("code"), "{asks:?}");
    }
}

#[tokio::test]
async fn a_request_that_must_be_pushed_is_refused_otherwise() {
    let of_client = Pushing::with(json!({"require_pushed_authorization_requests": true})).await;
    let server =
        TestServer::start_with(|settings| settings.require_pushed_authorization_requests = true).await;
    let of_server = Pushing::on(server, json!({})).await;
    for (par, everybody) in [(of_client, false), (of_server, true)] {
        let answer = flow::request(&par.server, &par.browser, &par.query()).await;
        assert_eq!(answer.parameters()["error"], "invalid_request");
        assert_eq!(par.reasons().await, ["not_pushed"]);
        let query = par.pushed(&par.query()).await;
        assert!(
            flow::authorize(&par.server, &par.browser, &query)
                .await
                .contains_key("code")
        );
        let url = par.server.url("/.well-known/oauth-authorization-server");
        let metadata: Value = par.browser.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(
            metadata["pushed_authorization_request_endpoint"],
            par.server.url("/oauth/par")
        );
        assert_eq!(metadata["require_pushed_authorization_requests"], everybody);
    }
}

#[tokio::test]
async fn nothing_of_a_pushed_request_lies_in_the_database_in_clear() {
    let par = Pushing::new().await;
    let hint = with(&par.query(), &[("login_hint", "alice@example.com")]);
    let query = par.pushed(&hint).await;
    let rows: Vec<String> = sqlx::query_scalar("SELECT t::text FROM grantlog.pushed_requests t")
        .fetch_all(&par.server.database.owner().await)
        .await
        .unwrap();
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let random = query[1].1.rsplit(':').next().unwrap();
    for clear in ["alice", "view-user", "app.example", random] {
        assert!(!row.contains(clear), "{clear}: {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_to_one_node_is_answered_by_another() {
    let par = Pushing::new().await;
    let other = Node::beside(&par.server).await;
    let (status, body) = par.push_to(&other.base, &par.query()).await;
    assert_eq!(status, 201, "{body}");
    let query = par.named(&body);
    assert!(
        flow::authorize(&par.server, &par.browser, &query)
            .await
            .contains_key("code")
    );
    let again = par
        .browser
        .get(format!("{}/oauth/authorize?{}", other.base, flow::encode(&query)))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_uses_of_one_request_uri_on_two_nodes_one_has_a_code() {
    let par = Pushing::new().await;
    let other = Node::beside(&par.server).await;
    // The session and the consent, so that each use would be answered at once.
    flow::authorize(&par.server, &par.browser, &par.query()).await;
    let before = codes(&par).await;
    let query = flow::encode(&par.pushed(&par.query()).await);
    let uses: Vec<_> = (0..64)
        .map(|number| {
            let base = [&par.server.base, &other.base][number % 2];
            let request = par.browser.get(format!("{base}/oauth/authorize?{query}"));
            tokio::spawn(async move {
                let response = request.send().await.unwrap();
                let location = response.headers().get("location");
                (
                    response.status().as_u16(),
                    location.map(|location| location.to_str().unwrap().to_owned()),
                )
            })
        })
        .collect();
    let mut with_code = 0;
    for answer in uses {
        match answer.await.unwrap() {
            (303, Some(location)) if location.contains("code=glc_") => with_code += 1,
            (status, location) => assert_eq!((status, location), (400, None)),
        }
    }
    assert_eq!(with_code, 1);
    assert_eq!(codes(&par).await - before, 1);
    assert_eq!(par.waiting().await, 0);
}

async fn codes(par: &Pushing) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger WHERE event_type = 'CodeIssued'")
        .fetch_one(&par.server.database.owner().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_pushed_request_is_answered_with_one_error_at_most() {
    let par = Pushing::new().await;
    let page = with(&par.query(), &[("prompt", "consent")]);
    let (first, second) = (par.pushed(&page).await, browser());
    // Two windows of the same browser, and one that somebody else had been sent to.
    let login = flow::log_in(
        &par.server,
        &par.browser,
        &first,
        (flow::USERNAME, flow::PASSWORD),
    )
    .await;
    let shown = flow::follow(&par.server, &par.browser, &login).await;
    assert!(shown.is_consent_page(), "{}", shown.body);
    let other = flow::request(&par.server, &second, &first).await;
    assert!(other.is_login_page());
    let denied = flow::decide(&par.server, &par.browser, &first, (&shown, "deny")).await;
    assert_eq!(denied.parameters()["error"], "access_denied");
    let again = flow::decide(&par.server, &par.browser, &first, (&shown, "deny")).await;
    assert_eq!((again.status.as_u16(), again.location()), (400, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_uses_of_a_request_that_is_refused_one_reaches_the_client() {
    let par = Pushing::new().await;
    let other = Node::beside(&par.server).await;
    let query = flow::encode(&par.pushed(&with(&par.query(), &[("prompt", "none")])).await);
    let uses: Vec<_> = (0..32)
        .map(|number| {
            let base = [&par.server.base, &other.base][number % 2];
            let request = par.browser.get(format!("{base}/oauth/authorize?{query}"));
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        })
        .collect();
    let mut sent = 0;
    for answer in uses {
        match answer.await.unwrap() {
            303 => sent += 1,
            status => assert_eq!(status, 400),
        }
    }
    assert_eq!(sent, 1);
}

#[tokio::test]
async fn a_pushed_request_is_refused_in_the_authorization_endpoints_own_words() {
    let par = Pushing::new().await;
    for (changes, code) in [
        ([("code_challenge", "")], "invalid_request"),
        ([("code_challenge_method", "plain")], "invalid_request"),
        ([("response_type", "")], "invalid_request"),
        ([("response_type", "token")], "unsupported_response_type"),
        ([("prompt", "dance")], "invalid_request"),
        ([("max_age", "soon")], "invalid_request"),
        ([("response_mode", "smoke")], "invalid_request"),
        ([("scope", "admin")], "invalid_scope"),
        ([("resource", "https://other.example")], "invalid_target"),
        ([("registration", "{}")], "invalid_request"),
    ] {
        let query = with(&par.query(), &changes);
        let asked = flow::request(&par.server, &par.browser, &query)
            .await
            .parameters();
        let (status, body) = par.push(&query).await;
        assert_eq!((status, body["error"].as_str()), (400, Some(code)), "{changes:?}");
        assert_eq!(
            body["error_description"], asked["error_description"],
            "{changes:?}"
        );
    }
    let elsewhere = with(&par.query(), &[("redirect_uri", "https://evil.example/cb")]);
    let (_, body) = par.push(&elsewhere).await;
    assert!(
        body["error_description"]
            .as_str()
            .unwrap()
            .contains("redirect_uri"),
        "{body}"
    );
}
