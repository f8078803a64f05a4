//! Security profiles over HTTP: what FAPI 2.0's two demand of a client's registration and of its requests, and what
//! weakens the others.

use std::sync::Arc;
use std::time::Duration;

use grantlog::config::DpopNonce;
use grantlog::domain::client::PublicJwks;
use grantlog::domain::trusted_issuer::{IssuerKeys, SubjectMapping, Trust};
use grantlog::domain::value::ScopeSet;
use grantlog::operations::client::CreatedClient;
use grantlog::operations::describe;
use serde_json::{Value, json};

use crate::flow::{self, Query};
use crate::harness::{TestServer, browser};
use crate::jarm;
use crate::private_key_jwt::{Keys, TYPE};
use crate::races::Node;
use crate::request_objects;

/// A client that is held to a profile of FAPI 2.0, and the browser of its user.
struct Fapi {
    server: TestServer,
    client: CreatedClient,
    keys: Keys,
    browser: reqwest::Client,
    /// What another node, which asks for one, gave out.
    nonce: Option<String>,
}

fn metadata(keys: &Keys, profile: &str) -> Value {
    json!({
        "client_name": "Bank", "redirect_uris": [flow::REDIRECT_URI], "scope": "view-user server-operations",
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_method": "private_key_jwt", "jwks": keys.jwks(), "profile": profile,
    })
}

impl Fapi {
    async fn new(profile: &str) -> Self {
        let server = TestServer::start_with(|settings| {
            settings.dpop_nonce = DpopNonce::Off;
            settings.code_lifetime = 300;
            settings.pushed_request_lifetime = 600;
        })
        .await;
        server.user(flow::USERNAME, flow::PASSWORD).await;
        let keys = Keys::generate();
        let client = server.client(metadata(&keys, profile)).await;
        Self {
            server,
            client,
            keys,
            browser: browser(),
            nonce: None,
        }
    }

    fn now(&self) -> i64 {
        self.server.clock.now().timestamp()
    }

    fn assertion(&self, alg: &str, audience: &Value) -> String {
        let id = &self.client.client_id;
        self.keys.sign(
            &json!({ "alg": alg }),
            &json!({
                "iss": id, "sub": id, "aud": audience, "jti": uuid::Uuid::new_v4(), "exp": self.now() + 60,
            }),
        )
    }

    fn proof(&self, url: &str) -> String {
        self.proof_under("ES256", url)
    }

    fn proof_under(&self, alg: &str, url: &str) -> String {
        let key = if alg == "ES256" { 0 } else { 2 };
        let mut jwk = self.keys.jwks()["keys"][key].clone();
        jwk.as_object_mut().unwrap().remove("kid");
        self.keys.sign(
            &json!({"alg": alg, "typ": "application/DPoP+jwt", "jwk": jwk}),
            &json!({
                "htm": "POST", "htu": url, "iat": self.now(), "jti": uuid::Uuid::new_v4(), "nonce": self.nonce,
            }),
        )
    }

    /// Posts a form to a node, authenticated by this assertion, with a proof of the key where `proves`.
    async fn post_to(
        &self,
        (base, path): (&str, &str),
        form: &Query,
        assertion: &str,
        proves: bool,
    ) -> (u16, Value) {
        let mut form = form.clone();
        form.push(("client_assertion_type".to_owned(), TYPE.to_owned()));
        form.push(("client_assertion".to_owned(), assertion.to_owned()));
        let mut request = self
            .browser
            .post(format!("{base}{path}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(flow::encode(&form));
        if proves {
            request = request.header("dpop", self.proof(&self.server.url(path)));
        }
        let response = request.send().await.unwrap();
        (
            response.status().as_u16(),
            response.json().await.unwrap_or_default(),
        )
    }

    async fn post(&self, path: &str, form: &Query, proves: bool) -> (u16, Value) {
        let assertion = self.assertion("PS256", &json!(self.server.base));
        self.post_to((&self.server.base, path), form, &assertion, proves)
            .await
    }

    fn query(&self) -> Query {
        flow::query(&self.client)
            .into_iter()
            .filter(|(name, _)| name != "client_id")
            .collect()
    }

    /// The query that a browser is sent with once this was pushed.
    async fn pushed(&self, form: &Query) -> Query {
        let (status, body) = self.post("/oauth/par", form, false).await;
        assert_eq!(status, 201, "{body}");
        form_of(&[
            ("client_id", &self.client.client_id),
            ("request_uri", body["request_uri"].as_str().unwrap()),
        ])
    }

    fn object(&self, header: &Value, changes: &Value) -> Query {
        let now = self.now();
        let mut claims = json!({
            "iss": self.client.client_id, "aud": self.server.base, "nbf": now, "exp": now + 60,
        });
        let members = claims.as_object_mut().unwrap();
        for (name, value) in flow::query(&self.client) {
            members.insert(name, value.into());
        }
        members.extend(changes.as_object().unwrap().clone());
        form_of(&[("request", &self.keys.sign(header, &claims))])
    }

    /// As [`Self::tokens`], with a proof under this algorithm.
    async fn tokens_of(&self, alg: &str) -> Value {
        let query = self.pushed(&self.query()).await;
        let parameters = flow::authorize(&self.server, &self.browser, &query).await;
        let (url, assertion) = (
            self.server.url("/oauth/token"),
            self.assertion("PS256", &json!(self.server.base)),
        );
        let form = form_of(&[
            ("grant_type", "authorization_code"),
            ("code", &parameters["code"]),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code_verifier", flow::VERIFIER),
            ("client_assertion_type", TYPE),
            ("client_assertion", &assertion),
        ]);
        let request = self
            .browser
            .post(&url)
            .header("dpop", self.proof_under(alg, &url));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request
            .body(flow::encode(&form))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    async fn redeem(&self, code: &str) -> Value {
        let form = form_of(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code_verifier", flow::VERIFIER),
        ]);
        let (status, body) = self.post("/oauth/token", &form, true).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn tokens(&self) -> Value {
        let query = self.pushed(&self.query()).await;
        let parameters = flow::authorize(&self.server, &self.browser, &query).await;
        self.redeem(&parameters["code"]).await
    }

    async fn learn_nonce(&self, base: &str) -> String {
        let proof = self.proof(&self.server.url("/oauth/token"));
        let request = self.browser.post(format!("{base}/oauth/token"));
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", proof)
            .body(format!(
                "grant_type=refresh_token&client_id={}",
                self.client.client_id
            ));
        let response = request.send().await.unwrap();
        response.headers()["dpop-nonce"].to_str().unwrap().to_owned()
    }

    async fn is_active(&self, token: &str) -> bool {
        let form = form_of(&[("token", token)]);
        let (status, body) = self.post("/oauth/introspect", &form, false).await;
        assert_eq!(status, 200, "{body}");
        body["active"].as_bool().unwrap()
    }
}

fn form_of(pairs: &[(&str, &str)]) -> Query {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn text<'a>(body: &'a Value, member: &str) -> &'a str {
    body[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member} in {body}"))
}

#[tokio::test]
async fn a_fapi_client_pushes_proves_and_keeps_its_refresh_token() {
    let fapi = Fapi::new("fapi2-security").await;
    let tokens = fapi.tokens().await;
    assert_eq!(tokens["token_type"], "DPoP");
    let form = form_of(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&tokens, "refresh_token")),
    ]);
    for _ in 0..3 {
        let (status, body) = fapi.post("/oauth/token", &form, true).await;
        assert_eq!(status, 200, "{body}");
        assert!(body.get("refresh_token").is_none(), "it does not rotate: {body}");
        assert!(fapi.is_active(text(&body, "access_token")).await);
        fapi.server.clock.advance(Duration::from_mins(1));
    }
    let narrow = flow::with(&form, &[("scope", "server-operations")]);
    let (status, body) = fapi.post("/oauth/token", &narrow, true).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_scope"));
    // It ends when it would have ended unused.
    fapi.server.clock.advance(Duration::from_hours(720));
    let (status, body) = fapi.post("/oauth/token", &form, true).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_grant"));
}

#[tokio::test]
async fn a_fapi_client_that_does_not_push_or_prove_or_says_too_little_is_refused() {
    let fapi = Fapi::new("fapi2-security").await;
    let plain = flow::query(&fapi.client);
    let answer = flow::request(&fapi.server, &fapi.browser, &plain).await;
    assert_eq!(answer.parameters()["error"], "invalid_request", "not pushed");
    for (changes, what) in [
        ([("redirect_uri", "")], "redirect_uri"),
        ([("code_challenge", "")], "code_challenge"),
        ([("code_challenge_method", "plain")], "S256"),
        ([("response_type", "token")], "response_type"),
    ] {
        let (status, body) = fapi
            .post("/oauth/par", &flow::with(&fapi.query(), &changes), false)
            .await;
        assert_eq!(status, 400, "{body}");
        assert!(text(&body, "error_description").contains(what), "{body}");
    }
    let form = form_of(&[
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ]);
    let (status, body) = fapi.post("/oauth/token", &form, false).await;
    assert_eq!(
        (status, text(&body, "error")),
        (400, "invalid_request"),
        "no proof"
    );
    assert_eq!(fapi.post("/oauth/token", &form, true).await.0, 200);
}

#[tokio::test]
async fn a_fapi_clients_assertion_names_the_issuer_alone_and_is_signed_well() {
    let fapi = Fapi::new("fapi2-security").await;
    let form = form_of(&[
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ]);
    let issuer = json!(fapi.server.base);
    for (alg, audience, expected) in [
        ("PS256", issuer.clone(), 200),
        ("ES256", issuer.clone(), 200),
        ("EdDSA", issuer.clone(), 200),
        ("RS256", issuer.clone(), 401),
        ("PS256", json!([fapi.server.base]), 401),
        ("PS256", json!(fapi.server.url("/oauth/token")), 401),
    ] {
        let assertion = fapi.assertion(alg, &audience);
        let (status, body) = fapi
            .post_to((&fapi.server.base, "/oauth/token"), &form, &assertion, true)
            .await;
        assert_eq!(status, expected, "{alg} {audience}: {body}");
    }
}

#[tokio::test]
async fn an_assertion_that_a_fapi_client_brings_as_a_grant_is_signed_well() {
    let fapi = Fapi::new("fapi2-security").await;
    let (issuer, grant) = (
        "https://ci.example",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    );
    let may = json!({"grant_types": ["client_credentials", grant]});
    fapi.server.update_client(fapi.client.key, may).await.unwrap();
    let trust = Trust {
        keys: IssuerKeys::Given(PublicJwks::parse(&fapi.keys.jwks()).unwrap()),
        subject_is: SubjectMapping::Client,
        subjects: vec!["job".to_owned()],
        clients: vec![fapi.client.key],
        scope: ScopeSet::parse("server-operations").unwrap(),
        authorization_details_types: Vec::new(),
        max_lifetime: 600,
        jti_optional: false,
    };
    let (operations, context) = (&fapi.server.app.operations, TestServer::context());
    operations.trust_issuer(&context, issuer, trust).await.unwrap();
    for (alg, expected) in [("RS256", 400), ("PS256", 200), ("ES256", 200), ("EdDSA", 200)] {
        let claims = json!({
            "iss": issuer, "sub": "job", "aud": fapi.server.base, "jti": uuid::Uuid::new_v4(),
            "iat": fapi.now(), "exp": fapi.now() + 60,
        });
        let assertion = fapi.keys.sign(&json!({ "alg": alg }), &claims);
        let form = form_of(&[
            ("grant_type", grant),
            ("assertion", &assertion),
            ("scope", "server-operations"),
        ]);
        let (status, body) = fapi.post("/oauth/token", &form, true).await;
        assert_eq!(status, expected, "{alg}: {body}");
        if status == 400 {
            assert_eq!(text(&body, "error"), "invalid_grant");
        }
    }
}

#[tokio::test]
async fn a_fapi_client_proves_and_is_answered_with_algorithms_of_fapi_only() {
    let fapi = Fapi::new("fapi2-security").await;
    let url = fapi.server.url("/oauth/token");
    for (alg, expected) in [
        ("PS256", None),
        ("ES256", None),
        ("RS256", Some("invalid_dpop_proof")),
    ] {
        let assertion = fapi.assertion("PS256", &json!(fapi.server.base));
        let form = form_of(&[
            ("grant_type", "client_credentials"),
            ("scope", "server-operations"),
            ("client_assertion_type", TYPE),
            ("client_assertion", &assertion),
        ]);
        let request = fapi
            .browser
            .post(&url)
            .header("dpop", fapi.proof_under(alg, &url));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer: Value = request
            .body(flow::encode(&form))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(answer["error"].as_str(), expected, "{alg}: {answer}");
    }
    // Nor at a resource, with a token that is bound to the key.
    let tokens = fapi.tokens_of("PS256").await;
    let access = text(&tokens, "access_token");
    let url = fapi.server.url("/api/user");
    for (alg, status) in [("PS256", 200), ("RS256", 401)] {
        let key = fapi.keys.jwks()["keys"][2].clone();
        let jwk = json!({"kty": "RSA", "n": key["n"], "e": key["e"]});
        let ath = crate::private_key_jwt::base64(grantlog::domain::value::Digest::of(access.as_bytes()).0);
        let proof = fapi.keys.sign(
            &json!({"alg": alg, "typ": "dpop+jwt", "jwk": jwk}),
            &json!({"htm": "GET", "htu": url, "iat": fapi.now(), "jti": uuid::Uuid::new_v4(), "ath": ath}),
        );
        let request = fapi.browser.get(&url).header("dpop", proof);
        let answer = request
            .header("authorization", format!("DPoP {access}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{alg}");
    }
    // What it is told as a resource server.
    let assertion = fapi.assertion("PS256", &json!(fapi.server.base));
    let form = form_of(&[
        ("token", access),
        ("client_assertion_type", TYPE),
        ("client_assertion", &assertion),
    ]);
    let request = fapi.browser.post(fapi.server.url("/oauth/introspect"));
    let request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/token-introspection+jwt");
    let jwt = request
        .body(flow::encode(&form))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(crate::tokens::part(&jwt, 0)["alg"], "ES256");
}

#[tokio::test]
async fn a_request_beside_a_pushed_one_is_refused_and_not_ignored() {
    let fapi = Fapi::new("fapi2-security").await;
    let pushed = fapi.pushed(&fapi.query()).await;
    let unknown = "urn:ietf:params:oauth:request_uri:unknown";
    for mut query in [pushed.clone(), flow::with(&pushed, &[("request_uri", unknown)])] {
        query.extend(fapi.object(&json!({"alg": "PS256", "typ": "oauth-authz-req+jwt"}), &json!({})));
        let answer = flow::request(&fapi.server, &fapi.browser, &query).await;
        assert_eq!(answer.parameters()["error"], "invalid_request", "{query:?}");
    }
}

#[tokio::test]
async fn a_fapi_clients_code_lives_a_minute_whatever_the_server_gives_others() {
    let fapi = Fapi::new("fapi2-security").await;
    // And what it pushes waits for less than ten.
    let (status, body) = fapi.post("/oauth/par", &fapi.query(), false).await;
    assert_eq!((status, &body["expires_in"]), (201, &json!(599)), "{body}");
    let query = fapi.pushed(&fapi.query()).await;
    let parameters = flow::authorize(&fapi.server, &fapi.browser, &query).await;
    fapi.server.clock.advance(Duration::from_mins(1));
    let form = form_of(&[
        ("grant_type", "authorization_code"),
        ("code", &parameters["code"]),
        ("redirect_uri", flow::REDIRECT_URI),
        ("code_verifier", flow::VERIFIER),
    ]);
    let (status, body) = fapi.post("/oauth/token", &form, true).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_grant"));
}

#[tokio::test]
async fn a_message_signing_client_signs_its_requests_and_gets_signed_answers() {
    let fapi = Fapi::new("fapi2-message-signing").await;
    let good = json!({"alg": "PS256", "typ": "oauth-authz-req+jwt"});
    let (status, body) = fapi.post("/oauth/par", &fapi.query(), false).await;
    assert_eq!(
        (status, text(&body, "error")),
        (400, "invalid_request"),
        "unsigned"
    );
    let now = fapi.now();
    for (header, changes) in [
        (json!({"alg": "PS256", "typ": "at+jwt"}), json!({})),
        (json!({"alg": "RS256", "typ": "oauth-authz-req+jwt"}), json!({})),
        (good.clone(), json!({"exp": now + 3700})),
        (good.clone(), json!({"nbf": now - 3700})),
        (good.clone(), json!({"nbf": null})),
        (good.clone(), json!({"iss": null})),
    ] {
        let form = fapi.object(&header, &changes);
        let (status, body) = fapi.post("/oauth/par", &form, false).await;
        assert_eq!(
            (status, text(&body, "error")),
            (400, "invalid_request_object"),
            "{header} {changes}"
        );
    }
    let form = fapi.object(&good, &json!({"response_mode": "query"}));
    let (status, body) = fapi.post("/oauth/par", &form, false).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_request"), "{body}");
    for (header, changes) in [
        (&good, json!({})),
        (&good, json!({"response_mode": "jwt"})),
        (&json!({"alg": "PS256"}), json!({})),
        (&json!({"alg": "PS256", "typ": "JWT"}), json!({})),
    ] {
        let query = fapi.pushed(&fapi.object(header, &changes)).await;
        let answer = request_objects::authorize(&fapi.server, &fapi.browser, &query).await;
        let (alg, claims) = jarm::verified(&fapi.server, &jarm::response(&answer, '?')).await;
        assert_eq!(alg, "ES256");
        fapi.redeem(text(&claims, "code")).await;
    }
    // Errors, too.
    let plain = flow::query(&fapi.client);
    let answer = flow::request(&fapi.server, &fapi.browser, &plain).await;
    let (_, claims) = jarm::verified(&fapi.server, &jarm::response(&answer, '?')).await;
    assert_eq!(claims["error"], "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_stays_is_used_by_many_at_once_until_it_is_revoked_on_any_node() {
    let mut fapi = Fapi::new("fapi2-security").await;
    let other = Node::beside(&fapi.server).await;
    fapi.nonce = Some(fapi.learn_nonce(&other.base).await);
    let fapi = Arc::new(fapi);
    let tokens = fapi.tokens().await;
    let refresh = text(&tokens, "refresh_token");
    let form = form_of(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]);
    let bases = [fapi.server.base.clone(), other.base.clone()];
    let revoke = form_of(&[("token", refresh)]);
    let mut uses = tokio::task::JoinSet::new();
    for place in 0..24 {
        // One in the middle revokes.
        let (path, form) = if place == 12 {
            ("/oauth/revoke", revoke.clone())
        } else {
            ("/oauth/token", form.clone())
        };
        let (fapi, base) = (Arc::clone(&fapi), bases[place % 2].clone());
        uses.spawn(async move {
            let assertion = fapi.assertion("PS256", &json!(fapi.server.base));
            let answer = fapi.post_to((&base, path), &form, &assertion, place != 12).await;
            (place, answer)
        });
    }
    let answers = uses.join_all().await;
    for (place, (status, body)) in &answers {
        assert!([200, 400, 503].contains(status), "{body}");
        assert!(*place != 12 || *status == 200, "{body}");
        if let Some(token) = body["access_token"].as_str() {
            assert!(!fapi.is_active(token).await, "revoked with its family");
        }
    }
    assert!(!fapi.is_active(refresh).await);
    for base in &bases {
        let assertion = fapi.assertion("PS256", &json!(fapi.server.base));
        let (status, body) = fapi
            .post_to((base, "/oauth/token"), &form, &assertion, true)
            .await;
        assert_eq!((status, text(&body, "error")), (400, "invalid_grant"));
    }
    crate::ledger::assert_gapless(&fapi.server).await;
}

/// What a registration with these members comes to.
#[expect(clippy::needless_pass_by_value, reason = "the calls are easier to read")]
fn registered(profile: &str, changes: Value) -> Result<Value, String> {
    let mut stated = metadata(&Keys::generate(), profile);
    let members = stated.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    let registration = describe::parse(stated).map_err(|error| error.to_string())?;
    let metadata = registration.metadata().map_err(|error| error.to_string())?;
    Ok(Value::Object(describe::document(&metadata)))
}

#[test]
fn a_profile_sets_what_the_registration_leaves_out() {
    let security = registered("fapi2-security", json!({})).unwrap();
    assert_eq!(security["profile"], "fapi2-security");
    assert_eq!(security["require_pushed_authorization_requests"], true);
    assert_eq!(security["dpop_bound_access_tokens"], true);
    assert_eq!(security["require_signed_request_object"], false);
    assert_eq!(security["id_token_signed_response_alg"], "ES256");
    let signing = registered("fapi2-message-signing", json!({})).unwrap();
    assert_eq!(signing["require_signed_request_object"], true);
    assert_eq!(signing["authorization_signed_response_alg"], "ES256");
    let mtls = registered(
        "fapi2-security",
        json!({"tls_client_certificate_bound_access_tokens": true}),
    )
    .unwrap();
    assert_eq!(mtls["dpop_bound_access_tokens"], false);
    assert_eq!(registered("legacy", json!({})).unwrap()["legacy"], true);
    assert_eq!(
        registered("oauth21", json!({"profile": null, "legacy": true})).unwrap()["profile"],
        "legacy"
    );
    assert_eq!(registered("oauth21", json!({})).unwrap()["profile"], "oauth21");
}

#[test]
fn what_contradicts_a_profile_is_not_registered() {
    for (member, changes) in [
        ("legacy", json!({"legacy": true})),
        (
            "token_endpoint_auth_method",
            json!({"token_endpoint_auth_method": "client_secret_basic"}),
        ),
        (
            "token_endpoint_auth_method",
            json!({"token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code"]}),
        ),
        (
            "dpop_bound_access_tokens",
            json!({"dpop_bound_access_tokens": false}),
        ),
        (
            "require_pushed_authorization_requests",
            json!({"require_pushed_authorization_requests": false}),
        ),
        (
            "require_signed_request_object",
            json!({"require_signed_request_object": false}),
        ),
        ("grant_types", json!({"grant_types": ["password"]})),
        (
            "grant_types",
            json!({"grant_types": ["urn:ietf:params:oauth:grant-type:device_code"]}),
        ),
        ("redirect_uris", json!({"redirect_uris": ["http://127.0.0.1/cb"]})),
        ("redirect_uris", json!({"redirect_uris": ["com.example.app:/cb"]})),
        ("response_profile", json!({"response_profile": "camel_case"})),
        (
            "access_token_algorithm",
            json!({"access_token_algorithm": "RS256"}),
        ),
        (
            "id_token_signed_response_alg",
            json!({"id_token_signed_response_alg": "RS256"}),
        ),
        (
            "userinfo_signed_response_alg",
            json!({"userinfo_signed_response_alg": "RS256"}),
        ),
        (
            "authorization_signed_response_alg",
            json!({"authorization_signed_response_alg": "RS256"}),
        ),
        (
            "request_object_signing_alg",
            json!({"request_object_signing_alg": "RS256"}),
        ),
        (
            "introspection_signed_response_alg",
            json!({"introspection_signed_response_alg": "RS256"}),
        ),
        (
            "token_endpoint_auth_signing_alg",
            json!({"token_endpoint_auth_signing_alg": "RS256"}),
        ),
    ] {
        let problem = registered("fapi2-message-signing", changes).unwrap_err();
        assert!(problem.starts_with(&format!("{member}: ")), "{member}: {problem}");
    }
    let keyless = json!({
        "jwks": null, "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "a.example",
    });
    assert!(registered("fapi2-security", keyless.clone()).is_ok());
    assert!(
        registered("fapi2-message-signing", keyless)
            .unwrap_err()
            .starts_with("jwks: ")
    );
    assert!(registered("fapi1", json!({})).is_err());
}

#[tokio::test]
async fn a_client_changes_its_profile_by_an_update_and_back() {
    let fapi = Fapi::new("oauth21").await;
    let key = fapi.client.key;
    let shown = || async {
        let operations = &fapi.server.app.operations;
        let client = operations
            .load::<grantlog::domain::client::Client>(key.0)
            .await
            .unwrap();
        Value::Object(describe::document(
            &client.registration.as_ref().unwrap().metadata,
        ))
    };
    let update = |patch: Value| fapi.server.update_client(key, patch);
    update(json!({"profile": "fapi2-message-signing"})).await.unwrap();
    let now = shown().await;
    assert_eq!(now["require_pushed_authorization_requests"], true);
    assert_eq!(now["require_signed_request_object"], true);
    for contradiction in [
        json!({"legacy": true}),
        json!({"require_pushed_authorization_requests": false}),
    ] {
        assert!(update(contradiction).await.is_err());
    }
    update(json!({"profile": "legacy"})).await.unwrap();
    assert_eq!(shown().await["legacy"], true);
    update(json!({"legacy": false})).await.unwrap();
    assert_eq!(shown().await["profile"], "oauth21");
    update(json!({"legacy": true})).await.unwrap();
    assert_eq!(shown().await["profile"], "legacy");
    update(json!({"profile": "oauth21"})).await.unwrap();
    assert_eq!(shown().await["legacy"], false);
}

#[test]
fn weak_settings_are_named_with_the_section_that_advises_against_them() {
    let weaknesses = |changes: Value| -> Vec<(String, String)> {
        let mut stated = flow::confidential();
        stated
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        let metadata = describe::parse(stated).unwrap().metadata().unwrap();
        let found = metadata.weaknesses();
        found
            .iter()
            .map(|one| (one.member.to_owned(), one.section.to_owned()))
            .collect()
    };
    assert!(weaknesses(json!({})).is_empty());
    let public = json!({"token_endpoint_auth_method": "none"});
    for (changes, member, section) in [
        (json!({"legacy": true}), "legacy", "RFC 9700 §2.1.1"),
        (
            json!({"redirect_uris": ["http://127.0.0.1/cb"]}),
            "redirect_uris",
            "RFC 9700 §2.6",
        ),
        (
            json!({"grant_types": ["password"]}),
            "grant_types",
            "RFC 9700 §2.4",
        ),
        (
            json!({"token_endpoint_auth_method": "any"}),
            "token_endpoint_auth_method",
            "RFC 9700 §2.5",
        ),
        (public, "dpop_bound_access_tokens", "RFC 9700 §2.2.2"),
        (
            json!({"access_token_lifetime": 86400}),
            "access_token_lifetime",
            "RFC 6750 §5.3",
        ),
        (
            json!({"response_profile": "camel_case"}),
            "response_profile",
            "RFC 6749 §5.1",
        ),
        (json!({"require_pkce": false}), "require_pkce", "RFC 9700 §2.1.1"),
        (
            json!({
                "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"], "refresh_grace": 5,
            }),
            "refresh_grace",
            "RFC 9700 §4.14.2",
        ),
    ] {
        assert_eq!(
            weaknesses(changes),
            [(member.to_owned(), section.to_owned())],
            "{member}"
        );
    }
    let bound = json!({"token_endpoint_auth_method": "none", "dpop_bound_access_tokens": true});
    assert!(weaknesses(bound).is_empty());
}

#[tokio::test]
async fn the_consent_page_names_the_resources_that_are_asked_for() {
    let server = TestServer::start().await;
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let mut metadata = flow::confidential();
    metadata["audience"] = json!(["https://files.example/v1", "https://mail.example"]);
    let client = server.client(metadata).await;
    let browser = browser();
    let mut query = flow::query(&client);
    query.push(("resource".to_owned(), "https://files.example/v1".to_owned()));
    let after = flow::log_in(&server, &browser, &query, (flow::USERNAME, flow::PASSWORD)).await;
    let page = flow::follow(&server, &browser, &after).await;
    assert!(page.is_consent_page());
    assert!(page.body.contains("https://files.example/v1"), "{}", page.body);
    assert!(!page.body.contains("https://mail.example"));
    // A request that names none is shown none.
    let none = flow::request(&server, &browser, &flow::query(&client)).await;
    assert!(none.is_consent_page() && !none.body.contains("files.example/v1"));
}
