//! Tokens that are bound to a certificate (RFC 8705 §3, §4).

use grantlog::ids::{ClientKey, SubjectId};
use serde_json::{Value, json};

use super::{Identity, Secured, last_reason};
use crate::code::{self, REDIRECT_URI, VERIFIER};
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
        let secured = Secured::start().await;
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
        let mut form = form.to_vec();
        form.push(("client_id", &self.client_id));
        form.extend(self.secret.as_deref().map(|secret| ("client_secret", secret)));
        self.secured.post(path, &form, identity).await
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

    async fn last_reason(&self) -> String {
        last_reason(&self.secured.server).await
    }
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
        assert_eq!(bound.api(access, wrong).await, 401);
        assert_eq!(bound.last_reason().await, "other_certificate");
    }
    // Without TLS there is no certificate either.
    let plain = reqwest::Client::new()
        .get(bound.secured.server.url("/api/user"))
        .bearer_auth(access);
    assert_eq!(plain.send().await.unwrap().status(), 401);
    let (status, _) = bound.secured.get("/oauth/userinfo", access, Some(&other)).await;
    assert_eq!(status, 401);
    assert_eq!(bound.last_reason().await, "other_certificate");
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
    let bound = Bound::new("client_secret_post").await;
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

    let mut query: crate::flow::Query = with_key
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    query.push(("client_id".to_owned(), bound.client_id.clone()));
    let server = &bound.secured.server;
    let answer = crate::flow::request(server, &crate::harness::browser(), &query).await;
    assert_eq!(answer.parameters()["error"], "invalid_request");
    assert_eq!(bound.last_reason().await, "dpop_jkt_of_certificate_client");
}
