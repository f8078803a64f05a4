//! Every error code of the token endpoint, the API and HTTP itself, as `docs/errors.md` lists them.

use grantlog::domain::client::{Approval, ClientCommand};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::TestServer;
use crate::token::{Party, text};

/// An answer with its headers.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answered {
    pub(crate) async fn to(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: no JSON in {text:?}"));
        Self {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn code(&self) -> (u16, &str) {
        (self.status, text(&self.body, "error"))
    }

    /// What every error answer has: words, the request's id twice, and no place in a cache.
    fn is_complete(&self, members: &[&str]) {
        for member in members {
            assert!(!text(&self.body, member).is_empty(), "{}", self.body);
        }
        assert_eq!(text(&self.body, "request_id"), self.header("x-request-id"));
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("content-type"), "application/json");
    }
}

async fn token(party: &Party, form: &[(&str, &str)]) -> Answered {
    let request = party
        .http
        .post(party.server.url("/oauth/token"))
        .basic_auth(&party.client_id, Some(&party.secret))
        .form_body(form);
    Answered::to(request).await
}

trait FormBody {
    fn form_body(self, form: &[(&str, &str)]) -> Self;
}

impl FormBody for reqwest::RequestBuilder {
    fn form_body(self, form: &[(&str, &str)]) -> Self {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        self.header("content-type", "application/x-www-form-urlencoded")
            .body(body.extend_pairs(form).finish())
    }
}

/// A form's fields.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// Puts an event on the ledger that this build does not know, as a newer node would.
async fn from_the_future(party: &Party) {
    let owner = party.server.database.owner().await;
    let insert = "INSERT INTO grantlog.ledger SELECT 0, 'client', $1, \
        (SELECT max(sequence) + 1 FROM grantlog.ledger WHERE aggregate_id = $1), position + 1, \
        gen_random_uuid(), 'ClientPainted', 1, '{}', '{}', now() FROM grantlog.head";
    sqlx::query(insert)
        .bind(party.key.0)
        .execute(&owner)
        .await
        .unwrap();
    sqlx::query("UPDATE grantlog.head SET position = position + 1")
        .execute(&owner)
        .await
        .unwrap();
}

#[tokio::test]
async fn every_oauth_error_of_the_token_endpoint_is_reached_and_complete() {
    let party = Party::with(json!({"grant_types": ["client_credentials", "authorization_code"]})).await;
    let machine = [("grant_type", "client_credentials")];
    let cases: [(u16, &str, Fields<'_>); 6] = [
        (400, "invalid_request", &[("scope", "view-user")]),
        (400, "unsupported_grant_type", &[("grant_type", "implicit")]),
        (
            400,
            "unauthorized_client",
            &[("grant_type", "refresh_token"), ("refresh_token", "x")],
        ),
        (
            400,
            "invalid_grant",
            &[("grant_type", "authorization_code"), ("code", "glc_x")],
        ),
        (
            400,
            "invalid_scope",
            &[machine[0], ("scope", "nobody-defined-this")],
        ),
        (400, "invalid_scope", &[machine[0], ("scope", "detail-user")]),
    ];
    let members = ["error", "error_description", "message", "hint"];
    for (status, code, form) in cases {
        let answer = token(&party, form).await;
        assert_eq!(answer.code(), (status, code), "{form:?}");
        answer.is_complete(&members);
    }
    let stranger = party
        .http
        .post(party.server.url("/oauth/token"))
        .basic_auth(&party.client_id, Some("wrong"))
        .form_body(&machine);
    let answer = Answered::to(stranger).await;
    assert_eq!(answer.code(), (401, "invalid_client"));
    answer.is_complete(&members);
    assert!(answer.header("www-authenticate").starts_with("Basic realm="));

    from_the_future(&party).await;
    let answer = token(&party, &machine).await;
    assert_eq!(answer.code(), (500, "server_error"));
    answer.is_complete(&members);

    let party = Party::new().await;
    assert_eq!(token(&party, &machine).await.status, 200);
    party.server.app.ledger.pool().close().await;
    let answer = token(&party, &[("grant_type", "authorization_code"), ("code", "glc_x")]).await;
    assert_eq!(answer.code(), (503, "temporarily_unavailable"));
    assert_eq!(answer.header("retry-after"), "1");
    answer.is_complete(&members);
}

#[tokio::test]
async fn a_form_in_another_charset_is_refused() {
    let party = Party::new().await;
    for (content_type, status) in [
        ("application/x-www-form-urlencoded", 200),
        ("application/x-www-form-urlencoded; charset=UTF-8", 200),
        ("application/x-www-form-urlencoded; charset=iso-8859-1", 400),
        ("application/x-www-form-urlencoded; charset=\"utf-16\"", 400),
        ("text/plain", 400),
    ] {
        let request = party
            .http
            .post(party.server.url("/oauth/token"))
            .basic_auth(&party.client_id, Some(&party.secret))
            .header("content-type", content_type)
            .body("grant_type=client_credentials");
        assert_eq!(Answered::to(request).await.status, status, "{content_type}");
    }
    let owner = party.server.database.owner().await;
    let reasons: Vec<String> = sqlx::query_scalar(
        "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' ORDER BY position",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert_eq!(reasons, ["wrong_charset", "wrong_charset", "wrong_content_type"]);
}

struct Api<'a>(&'a Party);

impl Api<'_> {
    async fn get(&self, path: &str, token: Option<&str>) -> Answered {
        let request = self.0.http.get(self.0.server.url(path));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = Answered::to(request).await;
        if answer.status != 200 {
            answer.is_complete(&["error", "message"]);
        }
        answer
    }
}

async fn approval(party: &Party, step: Approval) {
    let command = ClientCommand::Approval {
        scope: "detail-user".to_owned(),
        step,
        reason: "test".to_owned(),
    };
    let operations = &party.server.app.operations;
    operations
        .command_client(&TestServer::context(), party.key, &command)
        .await
        .unwrap();
}

#[tokio::test]
async fn every_error_of_the_api_is_reached_with_its_challenge() {
    let server = TestServer::start_with(|settings| settings.api_requests_per_minute = 4).await;
    let party = Party::on(server, json!({"access_token_lifetime": 50})).await;
    let api = Api(&party);
    approval(&party, Approval::Approved).await;

    let answer = api.get("/api/user", None).await;
    assert_eq!(answer.code(), (401, "unauthenticated"));
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="grantlog""#);
    let basic = party
        .http
        .get(party.server.url("/api/user"))
        .basic_auth("a", Some("b"));
    assert_eq!(Answered::to(basic).await.code(), (401, "unauthenticated"));

    let answer = api.get("/api/user", Some("nonsense")).await;
    assert_eq!(answer.code(), (401, "token_invalid"));
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.starts_with(r#"Bearer realm="grantlog", error="invalid_token", error_description=""#),
        "{challenge}"
    );

    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let narrow = text(&tokens, "access_token");
    let answer = api.get("/api/user/details", Some(narrow)).await;
    assert_eq!(answer.code(), (403, "insufficient_scope"));
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.contains(r#"error="insufficient_scope""#) && challenge.ends_with(r#"scope="detail-user""#),
        "{challenge}"
    );

    let answer = api.get("/api/users/42", Some(narrow)).await;
    assert_eq!(answer.code(), (400, "validation_error"));
    assert!(
        answer
            .header("www-authenticate")
            .contains(r#"error="invalid_request""#)
    );
    let answer = api
        .get(&format!("/api/users/{}", uuid::Uuid::new_v4()), Some(narrow))
        .await;
    assert_eq!(answer.code(), (403, "permission_denied"));
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="grantlog""#);
    let form = [("grant_type", "client_credentials"), ("scope", "view-user")];
    let (_, machine) = party.post("/oauth/token", &form).await;
    let answer = api.get("/api/user", Some(text(&machine, "access_token"))).await;
    assert_eq!(answer.code(), (403, "permission_denied"));
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="grantlog""#);

    let (_, tokens) = party.redeem(&party.code("view-user detail-user").await).await;
    let wide = text(&tokens, "access_token");
    assert_eq!(api.get("/api/user/details", Some(wide)).await.status, 200);
    approval(&party, Approval::Withdrawn).await;
    let answer = api.get("/api/user/details", Some(wide)).await;
    assert_eq!(answer.code(), (403, "unapproved_scope"));
    assert!(
        answer
            .header("www-authenticate")
            .contains(r#"scope="detail-user""#)
    );

    assert_eq!(api.get("/api/user", Some(narrow)).await.status, 200);
    let answer = api.get("/api/user", Some(narrow)).await;
    assert_eq!(answer.code(), (429, "rate_limit_exceeded"));
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);

    party.server.clock.advance(std::time::Duration::from_secs(51));
    let answer = api.get("/api/user", Some(narrow)).await;
    assert_eq!(answer.code(), (401, "token_expired"));
    assert!(
        answer
            .header("www-authenticate")
            .contains(r#"error="invalid_token""#)
    );
}

#[tokio::test]
async fn the_api_says_when_the_trouble_is_its_own() {
    let party = Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let access = text(&tokens, "access_token");
    assert_eq!(Api(&party).get("/api/user", Some(access)).await.status, 200);
    from_the_future(&party).await;
    let answer = Api(&party).get("/api/user", Some(access)).await;
    assert_eq!(answer.code(), (500, "server_error"));
    party.server.app.ledger.pool().close().await;
    let answer = Api(&party).get("/api/user", Some(access)).await;
    assert_eq!(answer.code(), (503, "service_unavailable"));
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn more_than_one_authorization_header_is_a_malformed_request() {
    let server = TestServer::start().await;
    let request = reqwest::Client::new()
        .get(server.url("/api/user"))
        .header("authorization", "Bearer a")
        .header("authorization", "Bearer b");
    assert_eq!(Answered::to(request).await.code(), (400, "validation_error"));
}

#[tokio::test]
async fn what_no_endpoint_has_seen_is_answered_in_json_with_the_requests_id() {
    let server = TestServer::start().await;
    let http = reqwest::Client::new();
    let huge = "x".repeat(70_000);
    for (request, status, code) in [
        (http.get(server.url("/nothing/here")), 404, "resource_not_found"),
        (http.get(server.url("/api/nothing")), 404, "resource_not_found"),
        (http.get(server.url("/oauth/token")), 405, "method_not_allowed"),
        (http.delete(server.url("/api/user")), 405, "method_not_allowed"),
        (
            http.get(server.url("/api/user")).header("x-huge", &huge),
            431,
            "head_too_large",
        ),
    ] {
        let answer = Answered::to(request).await;
        assert_eq!(answer.code(), (status, code));
        answer.is_complete(&["error", "error_description", "message"]);
        if status == 405 {
            assert!(!answer.header("allow").is_empty());
        }
    }
    let many = (0..101).fold(http.get(server.url("/healthz")), |request, number| {
        request.header(format!("x-{number}"), "1")
    });
    // axum's own listener, which tests use, reads no more than 100 fields: either way it is 431.
    assert_eq!(many.send().await.unwrap().status(), 431);
}

/// RFC 9110 §15.5.6: what `GET` does here, a link's checker must not, and so `HEAD` is not said to be taken.
#[tokio::test]
async fn a_method_that_is_refused_is_not_said_to_be_allowed() {
    let server = TestServer::start().await;
    let http = reqwest::Client::new();
    for path in ["/oauth/authorize", "/oauth/logout"] {
        let url = server.url(path);
        let head = http.head(&url).send().await.unwrap();
        assert_eq!(
            (head.status().as_u16(), &head.headers()["allow"]),
            (405, &"GET, POST".parse().unwrap())
        );
        assert_eq!(head.headers()["cache-control"], "no-store");
        let put = Answered::to(http.put(&url)).await;
        assert_eq!(
            (put.code(), put.header("allow")),
            ((405, "method_not_allowed"), "GET, POST")
        );
    }
}

/// OpenID Connect Core §13.2: what is posted there is a form, whoever has made it.
#[tokio::test]
async fn a_posted_request_is_a_form_and_leads_to_an_address_that_is_one() {
    let server = TestServer::start().await;
    let browser = crate::harness::browser();
    for path in ["/oauth/authorize", "/oauth/logout"] {
        let post = |content_type: &str, body: &str| {
            let request = browser.post(server.url(path));
            let request = request.header("content-type", content_type.to_owned());
            crate::flow::Answer::of(request.body(body.to_owned()))
        };
        for other in [
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=x",
        ] {
            let answer = post(other, "client_id=a").await;
            assert_eq!(
                (answer.status.as_u16(), answer.location()),
                (415, None),
                "{path} {other}"
            );
        }
        let form = "application/x-www-form-urlencoded";
        let answer = post(form, r#"client_id=a&state={"b":1}#<c>&d=%7B+e"#).await;
        let location = answer.location().unwrap();
        let expected = "?client_id=a&state=%7B%22b%22:1%7D%23%3Cc%3E&d=%7B+e";
        assert!(location.ends_with(expected), "{location}");
    }
}

/// Sends bytes as they are; everything that comes back until the server closes.
async fn raw(server: &TestServer, request: &str) -> String {
    let address = server.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, stream.read_to_string(&mut answer))
        .await
        .expect("the server closes the connection")
        .unwrap();
    answer
}

#[tokio::test]
async fn a_request_needs_exactly_one_host() {
    let server = TestServer::start().await;
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let request = format!("GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        let answer = raw(&server, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("\"request_id\""), "{answer}");
    }
    let answer = raw(
        &server,
        "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = raw(&server, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

/// RFC 9112 §6.3: what follows on such a connection may be smuggled, so nothing that follows is read.
#[tokio::test]
async fn a_request_with_two_lengths_is_the_last_of_its_connection() {
    let server = TestServer::start().await;
    for lengths in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let request = format!(
            "POST /oauth/token HTTP/1.1\r\nHost: a\r\n{lengths}\r\n0\r\n\r\n\
             GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answer = raw(&server, &request).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}
