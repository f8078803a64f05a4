//! Tokens that are bound to a certificate (RFC 8705 §3, §4).

use grantlog::config::DpopNonce;
use grantlog::ids::{ClientKey, SubjectId};
use serde_json::{Value, json};

use super::{Identity, Secured, last_reason};
use crate::code::{self, REDIRECT_URI, VERIFIER};
use crate::flow;
use crate::harness::{TestServer, browser};
use crate::private_key_jwt::Keys;
use crate::token::text;

/// A client whose tokens are bound, and a user.
struct Bound {
    secured: Secured,
    key: ClientKey,
    client_id: String,
    secret: Option<String>,
    subject: SubjectId,
}

impl Bound {
    async fn new(method: &str) -> Self {
        Self::on(Secured::start().await, method).await
    }

    async fn on(secured: Secured, method: &str) -> Self {
        let metadata = json!({
            "client_name": "Bound", "redirect_uris": [REDIRECT_URI], "scope": "view-user",
            "token_endpoint_auth_method": method, "tls_client_certificate_bound_access_tokens": true,
        });
        let client = secured.server.client(metadata).await;
        Self {
            subject: secured.server.user("ada", "correct horse battery").await,
            secured,
            key: client.key,
            client_id: client.client_id,
            secret: client.client_secret,
        }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)], identity: Option<&Identity>) -> (u16, Value) {
        self.post_with(path, "", form, identity).await
    }

    /// With further header lines.
    async fn post_with(
        &self,
        path: &str,
        headers: &str,
        form: &[(&str, &str)],
        identity: Option<&Identity>,
    ) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .append_pair("client_id", &self.client_id)
            .extend_pairs(self.secret.as_deref().map(|secret| ("client_secret", secret)))
            .finish();
        let headers = format!("Content-Type: application/x-www-form-urlencoded\r\n{headers}");
        let ask = format!("POST {path}");
        self.secured.send(&ask, &headers, &body, identity).await
    }

    async fn redeem(&self, code: &str, identity: Option<&Identity>) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.post("/oauth/token", &form, identity).await
    }

    async fn tokens(&self, identity: &Identity) -> Value {
        let (_, code) = code::issue(&self.secured.server, self.key, self.subject, "view-user").await;
        let (status, tokens) = self.redeem(&code, Some(identity)).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    async fn refresh(&self, token: &str, identity: Option<&Identity>) -> (u16, Value) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post("/oauth/token", &form, identity).await
    }

    /// The status of a request to the API.
    async fn api(&self, token: &str, identity: Option<&Identity>) -> u16 {
        self.secured.get("/api/user", token, identity).await.0
    }

    /// A protected resource refuses the token as invalid, and the ledger says of which grant.
    async fn is_refused(&self, token: &str, identity: Option<&Identity>) {
        for (path, error) in [
            ("/api/user", "token_invalid"),
            ("/oauth/userinfo", "invalid_token"),
        ] {
            let (status, body) = self.secured.get(path, token, identity).await;
            assert_eq!((status, text(&body, "error")), (401, error), "{path}");
            let last: (String, Option<String>) = sqlx::query_as(
                "SELECT payload->>'reason', payload->>'grant' FROM grantlog.ledger \
                 WHERE event_type = 'RequestRefused' ORDER BY position DESC LIMIT 1",
            )
            .fetch_one(&self.secured.server.database.owner().await)
            .await
            .unwrap();
            assert_eq!(last.0, "other_certificate", "{path}");
            assert!(last.1.is_some(), "{path}");
        }
    }

    async fn last_reason(&self) -> String {
        last_reason(&self.secured.server).await
    }
}

/// A DPoP proof of a new key for a request to the server.
fn proof(server: &TestServer, path: &str) -> String {
    let keys = Keys::generate();
    let mut jwk = keys.jwks()["keys"][0].clone();
    jwk.as_object_mut().unwrap().remove("kid");
    keys.sign(
        &json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk}),
        &json!({
            "htm": "POST", "htu": server.url(path), "iat": server.clock.now().timestamp(),
            "jti": uuid::Uuid::new_v4(),
        }),
    )
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_is_good_with_its_certificate_only() {
    let bound = Bound::new("client_secret_post").await;
    let (own, other) = (Identity::self_signed(|_| {}), Identity::self_signed(|_| {}));
    let tokens = bound.tokens(&own).await;
    let access = text(&tokens, "access_token");
    let cnf = json!({"x5t#S256": own.thumbprint()});
    assert_eq!(
        (claims(access)["cnf"].clone(), &tokens["token_type"]),
        (cnf.clone(), &json!("Bearer"))
    );
    let (_, state) = bound
        .post("/oauth/introspect", &[("token", access)], Some(&own))
        .await;
    assert_eq!((&state["active"], &state["cnf"]), (&json!(true), &cnf));
    assert_eq!(bound.api(access, Some(&own)).await, 200);
    for wrong in [Some(&other), None] {
        bound.is_refused(access, wrong).await;
    }
    // Without TLS there is no certificate either. RFC 8705 §3: the code is RFC 6750's, in the challenge.
    let plain = reqwest::Client::new()
        .get(bound.secured.server.url("/api/user"))
        .bearer_auth(access);
    let refused = plain.send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    // The ledger says which certificate each token is bound to.
    let recorded: Value = sqlx::query_scalar(
        "SELECT payload->'access'->'confirmation' FROM grantlog.ledger WHERE event_type = 'TokenIssued'",
    )
    .fetch_one(&bound.secured.server.database.owner().await)
    .await
    .unwrap();
    assert_eq!(recorded, cnf);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_registered_for_bound_tokens_gets_none_without_a_certificate() {
    for method in ["client_secret_post", "none"] {
        let bound = Bound::new(method).await;
        let (_, code) = code::issue(&bound.secured.server, bound.key, bound.subject, "view-user").await;
        let (status, body) = bound.redeem(&code, None).await;
        assert_eq!((status, body["error"].as_str()), (400, Some("invalid_request")));
        assert_eq!(bound.last_reason().await, "certificate_missing");
        // The code is not used up.
        assert_eq!(
            bound.redeem(&code, Some(&Identity::self_signed(|_| {}))).await.0,
            200
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_clients_refresh_token_is_bound_to_its_certificate() {
    let bound = Bound::new("none").await;
    let (own, other) = (Identity::self_signed(|_| {}), Identity::self_signed(|_| {}));
    let first = bound.tokens(&own).await;
    let refresh = text(&first, "refresh_token");
    let (status, body) = bound.refresh(refresh, Some(&other)).await;
    assert_eq!((status, body["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(bound.last_reason().await, "other_key");
    assert_eq!(bound.refresh(refresh, None).await.0, 400);
    let (status, second) = bound.refresh(refresh, Some(&own)).await;
    assert_eq!(status, 200, "{second}");
    assert_eq!(
        claims(text(&second, "access_token"))["cnf"]["x5t#S256"],
        own.thumbprint()
    );
    // Whoever stole the old token without the key ends nothing with it; with the key it is a replay.
    bound
        .secured
        .server
        .clock
        .advance(std::time::Duration::from_mins(1));
    assert_eq!(bound.refresh(refresh, Some(&other)).await.0, 400);
    assert_eq!(bound.last_reason().await, "other_key");
    let (status, third) = bound.refresh(text(&second, "refresh_token"), Some(&own)).await;
    assert_eq!(status, 200, "{third}");
    assert_eq!(bound.refresh(refresh, Some(&own)).await.0, 400);
    assert_eq!(bound.last_reason().await, "refresh_replayed");
    assert_eq!(
        bound.refresh(text(&third, "refresh_token"), Some(&own)).await.0,
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confidential_client_may_refresh_with_its_next_certificate() {
    let bound = Bound::new("client_secret_post").await;
    let (own, next) = (Identity::self_signed(|_| {}), Identity::self_signed(|_| {}));
    let tokens = bound.tokens(&own).await;
    let (status, refreshed) = bound.refresh(text(&tokens, "refresh_token"), Some(&next)).await;
    assert_eq!(status, 200, "{refreshed}");
    let access = text(&refreshed, "access_token");
    assert_eq!(
        (
            bound.api(access, Some(&next)).await,
            bound.api(access, Some(&own)).await
        ),
        (200, 401)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_a_client_that_is_bound_to_its_certificate_is_bound_to_no_other_key() {
    let secured = Secured::start_with(|settings| settings.dpop_nonce = DpopNonce::Off).await;
    let bound = Bound::on(secured, "client_secret_post").await;
    let identity = Identity::self_signed(|_| {});
    let form = [
        ("response_type", "code"),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "view-user"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let mut with_key = form.to_vec();
    with_key.push(("dpop_jkt", "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"));
    let (status, body) = bound.post("/oauth/par", &with_key, Some(&identity)).await;
    assert_eq!(
        (status, body["error"].as_str()),
        (400, Some("invalid_request")),
        "{body}"
    );
    assert_eq!(bound.last_reason().await, "dpop_jkt_of_certificate_client");
    let (status, body) = bound.post("/oauth/par", &form, Some(&identity)).await;
    assert_eq!(status, 201, "{body}");

    // A proof beside the certificate counts for nothing.
    let server = &bound.secured.server;
    let proof = format!("DPoP: {}\r\n", proof(server, "/oauth/par"));
    let (status, pushed) = bound
        .post_with("/oauth/par", &proof, &form, Some(&identity))
        .await;
    assert_eq!(status, 201, "{pushed}");
    let query = vec![
        ("client_id".to_owned(), bound.client_id.clone()),
        ("request_uri".to_owned(), text(&pushed, "request_uri").to_owned()),
    ];
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let returned = flow::authorize(server, &browser(), &query).await;
    let (status, tokens) = bound.redeem(&returned["code"], Some(&identity)).await;
    assert_eq!(status, 200, "{tokens}");
    let cnf = json!({"x5t#S256": identity.thumbprint()});
    assert_eq!(claims(text(&tokens, "access_token"))["cnf"], cnf);

    let mut query: flow::Query = with_key
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    query.push(("client_id".to_owned(), bound.client_id.clone()));
    let answer = flow::request(server, &browser(), &query).await;
    assert_eq!(answer.parameters()["error"], "invalid_request");
    assert_eq!(bound.last_reason().await, "dpop_jkt_of_certificate_client");
}
