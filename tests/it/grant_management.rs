//! Grant Management for OAuth 2.0, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::code::{CHALLENGE, REDIRECT_URI};
use crate::flow::{self, Query, with};
use crate::harness::{TestServer, browser};
use crate::races::Node;
use crate::token::{Party, error, text};

const QUERY: &str = "grant_management_query";
const REVOKE: &str = "grant_management_revoke";

/// A client that manages its grants, with a token for it, and the browser of its user.
struct Managing {
    party: Party,
    browser: reqwest::Client,
    token: String,
}

impl Managing {
    async fn new() -> Self {
        Self::on(TestServer::start().await).await
    }

    async fn on(server: TestServer) -> Self {
        let context = TestServer::context();
        for name in [QUERY, REVOKE] {
            let defined = server
                .app
                .operations
                .define_scope(&context, name, "Manage grants", false);
            defined.await.unwrap();
        }
        server.user(flow::USERNAME, flow::PASSWORD).await;
        let party = Party::on(
            server,
            json!({"scope": format!("view-user server-operations {QUERY} {REVOKE}")}),
        )
        .await;
        let token = own_token(&party, &format!("{QUERY} {REVOKE}")).await;
        Self {
            party,
            browser: browser(),
            token,
        }
    }

    fn query(&self, changes: &[(&str, &str)]) -> Query {
        let pairs = [
            ("response_type", "code"),
            ("client_id", self.party.client_id.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("scope", "view-user"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let query = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        with(&query.into(), changes)
    }

    /// What the redirect of a request says.
    async fn authorize(&self, changes: &[(&str, &str)]) -> std::collections::HashMap<String, String> {
        flow::authorize(&self.party.server, &self.browser, &self.query(changes)).await
    }

    async fn code(&self, changes: &[(&str, &str)]) -> String {
        let answer = self.authorize(changes).await;
        answer.get("code").unwrap_or_else(|| panic!("{answer:?}")).clone()
    }

    async fn tokens(&self, changes: &[(&str, &str)]) -> Value {
        let (status, tokens) = self.party.redeem(&self.code(changes).await).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    async fn created(&self) -> Value {
        self.tokens(&[("grant_management_action", "create")]).await
    }

    async fn call(&self, method: Method, id: &str) -> (u16, Value) {
        call(&self.party, (&self.party.server.base, &self.token), method, id).await
    }

    async fn are_dead(&self, tokens: &Value) {
        for member in ["access_token", "refresh_token"] {
            assert!(!self.party.is_active(text(tokens, member)).await, "{member}");
        }
    }
}

async fn own_token(party: &Party, scope: &str) -> String {
    token_of(party, (&party.client_id, &party.secret), scope).await
}

/// A client's own token.
async fn token_of(party: &Party, (client_id, secret): (&str, &str), scope: &str) -> String {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("grant_type", "client_credentials"), ("scope", scope)])
        .finish();
    let request = party
        .http
        .post(party.server.url("/oauth/token"))
        .basic_auth(client_id, Some(secret));
    let request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let tokens: Value = request.send().await.unwrap().json().await.unwrap();
    text(&tokens, "access_token").to_owned()
}

async fn call(party: &Party, (base, token): (&str, &str), method: Method, id: &str) -> (u16, Value) {
    let mut request = party.http.request(method, format!("{base}/oauth/grants/{id}"));
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_grant_is_queried_replaced_and_revoked_by_its_id() {
    let managing = Managing::new().await;
    // Nobody asks for an id, nobody gets one.
    assert!(managing.tokens(&[]).await.get("grant_id").is_none());
    let first = managing.created().await;
    let id = text(&first, "grant_id");
    let (status, grant) = managing.call(Method::GET, id).await;
    let base = &managing.party.server.base;
    assert_eq!(status, 200, "{grant}");
    assert_eq!(
        grant,
        json!({"scopes": [{"scope": "view-user", "resources": [base]}]})
    );
    let (_, refreshed) = managing.party.refresh(text(&first, "refresh_token")).await;
    assert_eq!(refreshed["grant_id"], id);

    // The code alone changes nothing; its redemption does, under the same id, and again.
    let replacing = [
        ("grant_management_action", "replace"),
        ("grant_id", id),
        ("scope", "server-operations"),
    ];
    let code = managing.code(&replacing).await;
    assert!(managing.party.is_active(text(&refreshed, "access_token")).await);
    let (_, second) = managing.party.redeem(&code).await;
    assert_eq!(second["grant_id"], id, "{second}");
    managing.are_dead(&refreshed).await;
    let (status, grant) = managing.call(Method::GET, id).await;
    assert_eq!(
        (status, &grant["scopes"][0]["scope"]),
        (200, &json!("server-operations"))
    );
    let third = managing.tokens(&replacing).await;
    managing.are_dead(&second).await;
    assert!(managing.party.is_active(text(&third, "access_token")).await);

    // A code that waits does not bring back what is revoked meanwhile.
    let waiting = managing.code(&replacing).await;
    assert_eq!(managing.call(Method::DELETE, id).await, (204, Value::Null));
    managing.are_dead(&third).await;
    assert_eq!(
        error(&managing.party.redeem(&waiting).await),
        (400, "invalid_grant")
    );
    for method in [Method::GET, Method::DELETE] {
        let answer = managing.call(method, id).await;
        assert_eq!(error(&answer), (404, "resource_not_found"));
    }
    assert_eq!(managing.authorize(&replacing).await["error"], "invalid_grant_id");
    let reasons: Vec<(String, bool)> = sqlx::query_as(
        "SELECT payload->>'reason', metadata->>'actor' LIKE '%' || $1 || '%' FROM grantlog.ledger \
         WHERE event_type = 'TokenRevoked' ORDER BY position",
    )
    .bind(managing.party.key.to_string())
    .fetch_all(managing.party.server.app.ledger.pool())
    .await
    .unwrap();
    let by_client = |reason: &str| (reason.to_owned(), true);
    assert_eq!(reasons, ["replaced", "replaced", "client_request"].map(by_client));
}

#[tokio::test]
async fn a_grant_id_opens_a_grant_to_its_own_client_and_scope_only() {
    let managing = Managing::new().await;
    let party = &managing.party;
    let (created, plain) = (managing.created().await, party.code("view-user").await);
    let id = text(&created, "grant_id");
    let stranger = party
        .server
        .client(json!({"client_name": "Other", "grant_types": ["client_credentials"], "scope": format!("{QUERY} {REVOKE}")}))
        .await;
    let named = (
        stranger.client_id.as_str(),
        stranger.client_secret.as_deref().unwrap(),
    );
    let others = token_of(party, named, &format!("{QUERY} {REVOKE}")).await;
    let (queries, revokes) = (own_token(party, QUERY).await, own_token(party, REVOKE).await);
    let unknown = uuid::Uuid::now_v7().to_string();
    // A grant that no client was given an id of.
    let plain = {
        let (_, tokens) = party.redeem(&plain).await;
        let key = party.server.app.ledger.vault().master().address_key();
        let refresh = text(&tokens, "refresh_token");
        let presented = grantlog::credential::parse(grantlog::credential::Kind::Refresh, key, refresh);
        presented.unwrap().address.grant.to_string()
    };
    let upper = id.to_uppercase();
    for (token, method, id, expected) in [
        ("nonsense", Method::GET, id, (401, "invalid_token")),
        ("nonsense", Method::DELETE, id, (401, "invalid_token")),
        (&others, Method::GET, id, (403, "permission_denied")),
        (&others, Method::DELETE, id, (403, "permission_denied")),
        (&queries, Method::DELETE, id, (403, "insufficient_scope")),
        (&revokes, Method::GET, id, (403, "insufficient_scope")),
        (&queries, Method::GET, &unknown, (404, "resource_not_found")),
        (&revokes, Method::DELETE, &plain, (404, "resource_not_found")),
        (&queries, Method::GET, "x%00", (404, "resource_not_found")),
        (&queries, Method::GET, &upper, (404, "resource_not_found")),
    ] {
        let answer = call(party, (&party.server.base, token), method.clone(), id).await;
        assert_eq!(error(&answer), expected, "{method} {id}");
    }
    let (status, body) = call(party, (&party.server.base, ""), Method::GET, id).await;
    assert_eq!((status, body.get("error")), (401, None));
    assert!(party.is_active(text(&created, "access_token")).await);
    // What has ended by itself is gone too, and can still be revoked.
    let operations = &party.server.app.operations;
    let alice = operations.find_user(flow::USERNAME).await.unwrap().unwrap();
    operations
        .disable_user(&TestServer::context(), alice, "left")
        .await
        .unwrap();
    assert_eq!(managing.call(Method::GET, id).await.0, 404);
    assert_eq!(managing.call(Method::DELETE, id).await.0, 204);
}

#[tokio::test]
async fn a_request_for_a_grant_that_cannot_be_is_refused() {
    let managing = Managing::on(
        TestServer::start_with(|settings| settings.grant_management_action_required = true).await,
    )
    .await;
    let id = text(&managing.created().await, "grant_id").to_owned();
    let unknown = uuid::Uuid::now_v7().to_string();
    for (action, grant, expected) in [
        ("", "", "invalid_request"),
        ("", id.as_str(), "invalid_request"),
        ("create", &id, "invalid_request"),
        ("replace", "", "invalid_request"),
        ("merge", &id, "invalid_request"),
        ("Create", "", "invalid_request"),
        ("replace", "x", "invalid_grant_id"),
        ("replace", &unknown, "invalid_grant_id"),
    ] {
        let changes = [("grant_management_action", action), ("grant_id", grant)];
        let answer = managing.authorize(&changes).await;
        assert_eq!(answer["error"], expected, "{action} {grant}");
        let pushed = managing.query(&changes);
        let pushed: Vec<(&str, &str)> = pushed
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = managing.party.post("/oauth/par", &pushed).await;
        assert_eq!(error(&answer), (400, expected), "{action} {grant}");
    }
    let metadata = managing
        .party
        .server
        .url("/.well-known/oauth-authorization-server");
    let metadata: Value = managing
        .browser
        .get(metadata)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (
            &metadata["grant_management_actions_supported"],
            &metadata["grant_management_action_required"]
        ),
        (&json!(["create", "replace", "query", "revoke"]), &json!(true))
    );
    assert_eq!(
        metadata["grant_management_endpoint"],
        managing.party.server.url("/oauth/grants")
    );

    // Another user's login is not enough to replace a grant.
    let replacing = [("grant_management_action", "replace"), ("grant_id", id.as_str())];
    let other = browser();
    let ada = ("ada", "correct horse battery");
    let query = managing.query(&replacing);
    let server = &managing.party.server;
    let after = flow::log_in(server, &other, &query, ada).await;
    let page = flow::follow(server, &other, &after).await;
    assert!(page.is_login_page(), "{}", page.body);
    let silent = managing.query(&[replacing[0], replacing[1], ("prompt", "none")]);
    let answer = flow::request(server, &other, &silent).await;
    assert_eq!(answer.parameters()["error"], "login_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_found_at_every_moment_while_it_is_replaced() {
    let managing = Managing::new().await;
    let id = text(&managing.created().await, "grant_id").to_owned();
    let replacing = [("grant_management_action", "replace"), ("grant_id", id.as_str())];
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(managing.code(&replacing).await);
    }
    let replaced = std::cell::Cell::new(false);
    let replace = async {
        for code in &codes {
            let answer = managing.party.redeem(code).await;
            assert_eq!(answer.0, 200, "{}", answer.1);
        }
        replaced.set(true);
    };
    let look = || async {
        let mut looks = 0;
        while !replaced.get() {
            let (status, grant) = managing.call(Method::GET, &id).await;
            assert_eq!(status, 200, "{grant}");
            looks += 1;
        }
        looks
    };
    let ((), first, second, third) = tokio::join!(replace, look(), look(), look());
    assert!(first + second + third > 0);
    assert_eq!(managing.call(Method::DELETE, &id).await.0, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_by_its_id_is_neither_refreshed_nor_replaced_on_another_node() {
    let managing = Managing::new().await;
    let party = &managing.party;
    let other = Node::beside(&party.server).await;
    for round in 0..4 {
        let tokens = managing.created().await;
        let id = text(&tokens, "grant_id");
        let replacing = [("grant_management_action", "replace"), ("grant_id", id)];
        let code = managing.code(&replacing).await;
        let (first, second) = match round % 2 {
            0 => (&party.server.base, &other.base),
            _ => (&other.base, &party.server.base),
        };
        let send = |form: Vec<(&'static str, String)>| {
            let body = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(form)
                .finish();
            let request = party
                .http
                .post(format!("{second}/oauth/token"))
                .basic_auth(&party.client_id, Some(&party.secret))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body);
            async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
        };
        let refresh = send(vec![
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", text(&tokens, "refresh_token").to_owned()),
        ]);
        let redeem = send(vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code),
            ("redirect_uri", REDIRECT_URI.to_owned()),
            ("code_verifier", crate::code::VERIFIER.to_owned()),
        ]);
        let revoke = call(party, (first, &managing.token), Method::DELETE, id);
        let (refreshed, redeemed, revoked) = tokio::join!(refresh, redeem, revoke);
        assert_eq!(revoked.0, 204, "{revoked:?}");
        for answer in [&tokens, &refreshed, &redeemed] {
            if answer.get("error").is_none() {
                managing.are_dead(answer).await;
            } else {
                assert_eq!(text(answer, "error"), "invalid_grant");
            }
        }
        assert_eq!(managing.call(Method::GET, id).await.0, 404);
    }
    crate::ledger::assert_gapless(&party.server).await;
}
