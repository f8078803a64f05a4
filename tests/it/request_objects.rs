//! Signed request objects over HTTP (RFC 9101), by value and pushed.

use std::time::Duration;

use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use crate::flow::{self, Answer, Query, with};
use crate::harness::{TestServer, browser};
use crate::private_key_jwt::Keys;
use crate::token::text;

/// What a request object's header says it is.
const TYPE: &str = "oauth-authz-req+jwt";

/// A client that signs its requests, and the browser of its user.
struct Signing {
    server: TestServer,
    client: CreatedClient,
    keys: Keys,
    browser: reqwest::Client,
}

impl Signing {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(extra: Value) -> Self {
        Self::on(TestServer::start().await, extra).await
    }

    async fn on(server: TestServer, extra: Value) -> Self {
        server.user(flow::USERNAME, flow::PASSWORD).await;
        let keys = Keys::generate();
        let mut metadata = flow::confidential();
        metadata["jwks"] = keys.jwks();
        let members = metadata.as_object_mut().unwrap();
        members.extend(extra.as_object().unwrap().clone());
        let client = server.client(metadata).await;
        Self {
            server,
            client,
            keys,
            browser: browser(),
        }
    }

    /// The claims of a good request object, with some changed; null leaves one out.
    #[expect(clippy::needless_pass_by_value, reason = "the calls are easier to read")]
    fn claims(&self, changes: Value) -> Value {
        let now = self.server.clock.now().timestamp();
        let mut claims = json!({
            "iss": self.client.client_id, "aud": self.server.base, "nbf": now, "exp": now + 60, "iat": now,
        });
        let members = claims.as_object_mut().unwrap();
        for (name, value) in flow::query(&self.client) {
            members.insert(name, value.into());
        }
        members.extend(changes.as_object().unwrap().clone());
        members.retain(|_, value| !value.is_null());
        claims
    }

    fn object(&self, changes: Value) -> String {
        self.keys
            .sign(&json!({"alg": "ES256", "typ": TYPE}), &self.claims(changes))
    }

    /// What a browser is sent with.
    fn query(&self, object: &str) -> Query {
        vec![
            ("client_id".to_owned(), self.client.client_id.clone()),
            ("request".to_owned(), object.to_owned()),
        ]
    }

    async fn request(&self, query: &Query) -> Answer {
        flow::request(&self.server, &self.browser, query).await
    }

    async fn push(&self, query: &Query) -> (u16, Value) {
        let request = self
            .browser
            .post(self.server.url("/oauth/par"))
            .basic_auth(&self.client.client_id, self.client.client_secret.as_ref())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(flow::encode(query));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn reason(&self) -> String {
        sqlx::query_scalar(
            "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' \
             ORDER BY position DESC LIMIT 1",
        )
        .fetch_one(&self.server.database.owner().await)
        .await
        .unwrap()
    }

    /// The object is refused, by value and pushed, and for this reason.
    async fn is_refused(&self, object: &str, reason: &str) {
        let answer = self.request(&self.query(object)).await;
        let location = answer
            .location()
            .unwrap_or_else(|| panic!("{reason}: {}", answer.body));
        assert!(location.starts_with(flow::REDIRECT_URI), "{location}");
        let parameters = answer.parameters();
        assert_eq!(parameters["error"], "invalid_request_object", "{reason}");
        assert_eq!(parameters["iss"], self.server.base);
        assert!(!parameters.contains_key("state"), "nothing of it is believed");
        assert_eq!(self.reason().await, reason);
        let (status, body) = self.push(&self.query(object)).await;
        assert_eq!(
            (status, body["error"].as_str()),
            (400, Some("invalid_request_object")),
            "{reason}: {body}"
        );
        assert_eq!(
            body["error_description"],
            parameters["error_description"].as_str()
        );
        assert_eq!(self.reason().await, reason);
    }
}

#[tokio::test]
async fn a_signed_request_is_answered_whatever_key_of_the_client_signed_it() {
    let jar = Signing::new().await;
    for (alg, kid) in [
        ("ES256", "ec"),
        ("EdDSA", "ed"),
        ("RS256", "rsa"),
        ("PS256", "rsa"),
    ] {
        for header in [
            json!({"alg": alg, "kid": kid, "typ": TYPE}),
            json!({"alg": alg, "typ": "JWT"}),
            json!({"alg": alg}),
        ] {
            let object = jar.keys.sign(&header, &jar.claims(json!({})));
            let parameters = authorize(&jar.server, &jar.browser, &jar.query(&object))
                .await
                .parameters();
            assert!(parameters.contains_key("code"), "{header}: {parameters:?}");
            assert_eq!(parameters["state"], "s t&ä");
        }
    }
    let object = jar.object(json!({}));
    let (status, body) = jar.push(&jar.query(&object)).await;
    assert_eq!(status, 201, "{body}");
    let pushed = vec![
        ("client_id".to_owned(), jar.client.client_id.clone()),
        (
            "request_uri".to_owned(),
            body["request_uri"].as_str().unwrap().to_owned(),
        ),
    ];
    let parameters = flow::authorize(&jar.server, &jar.browser, &pushed).await;
    assert!(parameters.contains_key("code"), "{parameters:?}");
}

#[tokio::test]
async fn only_what_is_in_the_request_object_counts() {
    let jar = Signing::new().await;
    let object = jar.object(json!({"prompt": "none", "scope": "server-operations"}));
    let beside = with(
        &jar.query(&object),
        &[
            ("state", "evil"),
            ("scope", "view-user"),
            ("prompt", "consent"),
            ("response_mode", "fragment"),
            ("redirect_uri", "https://evil.example/cb"),
        ],
    );
    let answer = jar.request(&beside).await;
    let parameters = answer.parameters();
    assert_eq!(parameters["error"], "login_required");
    assert_eq!(parameters["state"], "s t&ä");
    // Pushed, too.
    let (status, body) = jar.push(&beside).await;
    assert_eq!(status, 201, "{body}");
    let pushed = vec![
        ("client_id".to_owned(), jar.client.client_id.clone()),
        ("request_uri".to_owned(), text(&body, "request_uri").to_owned()),
    ];
    let parameters = jar.request(&pushed).await.parameters();
    assert_eq!(
        (parameters["error"].as_str(), parameters["state"].as_str()),
        ("login_required", "s t&ä")
    );
    // What is left out of it is not taken from beside it.
    let object = jar.object(json!({"response_type": null}));
    let beside = with(&jar.query(&object), &[("response_type", "code")]);
    assert_eq!(
        jar.request(&beside).await.parameters()["error"],
        "invalid_request"
    );
    assert_eq!(jar.reason().await, "response_type_missing");
    // A parameter beside it that says otherwise of what must agree.
    let object = jar.object(json!({}));
    let differs = with(&jar.query(&object), &[("response_type", "token")]);
    assert_eq!(
        jar.request(&differs).await.parameters()["error"],
        "invalid_request_object"
    );
    assert_eq!(jar.reason().await, "request_object_client");
    let doubled = format!("{}&scope=a&scope=b", flow::encode(&jar.query(&object)));
    let answer = flow::get(&jar.server, &jar.browser, &format!("/oauth/authorize?{doubled}")).await;
    assert_eq!(answer.parameters()["error"], "invalid_request");
}

#[tokio::test]
async fn a_request_object_that_is_not_the_clients_or_not_for_this_server_is_refused() {
    let jar = Signing::new().await;
    let now = jar.server.clock.now().timestamp();
    let client_id = jar.client.client_id.clone();
    for (reason, changes) in [
        ("request_object_client", json!({"iss": "other"})),
        ("request_object_client", json!({"client_id": "other"})),
        ("request_object_client", json!({"client_id": null})),
        ("request_object_client", json!({"sub": client_id})),
        ("request_object_audience", json!({"aud": "https://other.example"})),
        ("request_object_audience", json!({"aud": null})),
        (
            "request_object_audience",
            json!({"aud": [format!("{}/", jar.server.base)]}),
        ),
        ("request_object_time", json!({"exp": now})),
        ("request_object_time", json!({"nbf": now + 120, "exp": now + 200})),
        ("request_object_time", json!({"iat": now + 120, "exp": now + 200})),
        ("request_object_time", json!({"exp": "soon"})),
        ("request_object_nested", json!({"request": "e30.e30."})),
        (
            "request_object_nested",
            json!({"request_uri": "urn:ietf:params:oauth:request_uri:x"}),
        ),
        ("request_object_malformed", json!({"scope": ["view-user"]})),
    ] {
        jar.is_refused(&jar.object(changes), reason).await;
    }
    for good in [json!({"iss": null}), json!({"exp": null, "nbf": null})] {
        let object = jar.object(good);
        assert!(jar.request(&jar.query(&object)).await.is_login_page());
    }
    let several = jar.object(json!({"aud": ["https://other.example", jar.server.base]}));
    assert!(jar.request(&jar.query(&several)).await.is_login_page());
}

#[tokio::test]
async fn a_request_object_that_is_not_signed_as_the_client_signs_is_refused() {
    let jar = Signing::with(json!({"request_object_signing_alg": "PS256"})).await;
    let claims = jar.claims(json!({}));
    let good = jar.keys.sign(&json!({"alg": "PS256", "typ": TYPE}), &claims);
    assert!(jar.request(&jar.query(&good)).await.is_login_page());
    let stranger = Keys::generate();
    let nested = jar
        .keys
        .sign(&json!({"alg": "PS256", "cty": "JWT"}), &json!(good));
    let huge = jar.claims(json!({"login_hint": "x".repeat(17_000)}));
    for (reason, object) in [
        (
            "request_object_algorithm",
            jar.keys.sign(&json!({"alg": "none"}), &claims),
        ),
        (
            "request_object_algorithm",
            jar.keys.sign(&json!({"alg": "HS256"}), &claims),
        ),
        (
            "request_object_algorithm",
            jar.keys.sign(&json!({"alg": "ES256"}), &claims),
        ),
        (
            "request_object_signature",
            stranger.sign(&json!({"alg": "PS256"}), &claims),
        ),
        (
            "request_object_signature",
            jar.keys.sign(&json!({"alg": "PS256", "kid": "ec"}), &claims),
        ),
        ("request_object_signature", format!("{good}A")),
        (
            "request_object_malformed",
            jar.keys
                .sign(&json!({"alg": "PS256", "crit": ["b64"], "b64": false}), &claims),
        ),
        (
            "request_object_malformed",
            jar.keys.sign(&json!({"alg": "PS256", "typ": "at+jwt"}), &claims),
        ),
        ("request_object_malformed", nested),
        ("request_object_malformed", format!("{good}.x.y")),
        (
            "request_object_malformed",
            jar.keys.sign(&json!({"alg": "PS256"}), &huge),
        ),
        ("request_object_malformed", "x".to_owned()),
    ] {
        jar.is_refused(&object, reason).await;
    }
}

#[tokio::test]
async fn an_object_without_one_address_to_answer_to_is_refused_on_a_page() {
    let jar =
        Signing::with(json!({"redirect_uris": [flow::REDIRECT_URI, "https://app.example/other"]})).await;
    let good = jar.query(&jar.object(json!({})));
    assert!(jar.request(&good).await.is_login_page());
    let bad = jar.query(&jar.object(json!({"aud": "x"})));
    let page = jar.request(&bad).await;
    assert_eq!((page.status.as_u16(), page.location()), (400, None));
    assert!(page.body.contains("invalid_request_object"), "{}", page.body);
    let named = with(&bad, &[("redirect_uri", flow::REDIRECT_URI), ("state", "s")]);
    let parameters = jar.request(&named).await.parameters();
    assert_eq!(
        (parameters["error"].as_str(), parameters["state"].as_str()),
        ("invalid_request_object", "s")
    );
    let evil = with(&bad, &[("redirect_uri", "https://evil.example/cb")]);
    assert_eq!(jar.request(&evil).await.location(), None);
}

#[tokio::test]
async fn a_user_has_time_to_answer_a_request_object_that_is_over_meanwhile() {
    let jar = Signing::new().await;
    let object = jar.object(json!({"prompt": "login consent"}));
    let query = jar.query(&object);
    let page = jar.request(&query).await;
    assert!(page.is_login_page());
    let marked = form_query(&page);
    jar.server.clock.advance(Duration::from_mins(10));
    // Who comes with the object alone is too late; who was shown a page is not, and logs in once.
    assert_eq!(
        jar.request(&query).await.parameters()["error"],
        "invalid_request_object"
    );
    let after = flow::log_in(
        &jar.server,
        &jar.browser,
        &marked,
        (flow::USERNAME, flow::PASSWORD),
    )
    .await;
    assert_eq!(after.status, 303, "{}", after.body);
    let consent = flow::follow(&jar.server, &jar.browser, &after).await;
    assert!(consent.is_consent_page(), "{}", consent.body);
    let answer = flow::decide(&jar.server, &jar.browser, &marked, (&consent, "approve")).await;
    assert!(answer.parameters().contains_key("code"));
    // The mark is of that object, and of no later time.
    let later: Query = marked
        .iter()
        .map(|(name, value)| {
            let value = match name.as_str() {
                "request_opened" => format!("9{value}"),
                _ => value.clone(),
            };
            (name.clone(), value)
        })
        .collect();
    for query in [
        later,
        with(&marked, &[("request", &jar.object(json!({"exp": 1})))]),
    ] {
        assert_eq!(
            jar.request(&query).await.parameters()["error"],
            "invalid_request_object"
        );
    }
    jar.server.clock.advance(Duration::from_secs(1300));
    assert_eq!(
        jar.request(&marked).await.parameters()["error"],
        "invalid_request_object"
    );
}

/// Logs in and approves where asked, as a browser does: at the address that each page's form names.
pub(crate) async fn authorize(server: &TestServer, browser: &reqwest::Client, query: &Query) -> Answer {
    let mut answer = flow::request(server, browser, query).await;
    if answer.is_login_page() {
        let marked = form_query(&answer);
        let after = flow::log_in(server, browser, &marked, (flow::USERNAME, flow::PASSWORD)).await;
        answer = flow::follow(server, browser, &after).await;
    }
    if answer.is_consent_page() {
        let marked = form_query(&answer);
        answer = flow::decide(server, browser, &marked, (&answer, "approve")).await;
    }
    answer
}

/// The query that a page's form is posted with.
fn form_query(page: &Answer) -> Query {
    let (_, rest) = page.body.split_once("action=\"?").unwrap();
    let query = rest.split_once('"').unwrap().0.replace("&amp;", "&");
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

#[tokio::test]
async fn where_a_signed_request_is_required_any_other_is_refused() {
    let of_client = Signing::with(json!({"require_signed_request_object": true})).await;
    let server = TestServer::start_with(|settings| settings.require_signed_request_objects = true).await;
    let of_server = Signing::on(server, json!({})).await;
    for (jar, everybody) in [(of_client, false), (of_server, true)] {
        let plain = flow::query(&jar.client);
        assert_eq!(jar.request(&plain).await.parameters()["error"], "invalid_request");
        assert_eq!(jar.reason().await, "request_not_signed");
        let (status, body) = jar.push(&plain).await;
        assert_eq!((status, body["error"].as_str()), (400, Some("invalid_request")));
        let signed = jar.query(&jar.object(json!({})));
        assert!(jar.request(&signed).await.is_login_page());
        assert_eq!(jar.push(&signed).await.0, 201);
        let url = jar.server.url("/.well-known/oauth-authorization-server");
        let metadata: Value = jar.browser.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(metadata["require_signed_request_object"], everybody);
    }
}

#[tokio::test]
async fn a_request_uri_that_was_not_pushed_is_not_fetched() {
    let jar = Signing::new().await;
    for uri in ["https://app.example/request.jwt", "urn:x"] {
        let query = with(&flow::query(&jar.client), &[("request_uri", uri)]);
        assert_eq!(
            jar.request(&query).await.parameters()["error"],
            "request_uri_not_supported"
        );
        // Whatever else is in the object, and not beside its reference (OpenID Connect Core §6.2).
        let alone: Query = [
            ("client_id", jar.client.client_id.as_str()),
            ("response_type", "code"),
            ("scope", "openid"),
            ("request_uri", uri),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        assert_eq!(
            jar.request(&alone).await.parameters()["error"],
            "request_uri_not_supported"
        );
    }
}

#[test]
fn a_client_without_keys_cannot_be_registered_for_request_objects() {
    for member in [
        json!({"require_signed_request_object": true}),
        json!({"request_object_signing_alg": "ES256"}),
    ] {
        let mut metadata = flow::confidential();
        metadata
            .as_object_mut()
            .unwrap()
            .extend(member.as_object().unwrap().clone());
        let registration = grantlog::operations::describe::parse(metadata).unwrap();
        let problem = registration.metadata().unwrap_err().to_string();
        assert!(problem.contains("jwks"), "{problem}");
    }
    let mut metadata = flow::confidential();
    metadata["request_object_signing_alg"] = json!("none");
    assert!(grantlog::operations::describe::parse(metadata).is_err());
}
