//! Opaque access tokens over HTTP: whatever takes access tokens takes them, and the ledger alone says what they are.

use grantlog::credential::{self, Address, Kind};
use grantlog::domain::client::{ExchangeMode, ExchangeRule};
use grantlog::domain::grant::CodeIssued;
use grantlog::domain::value::ScopeSet;
use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use crate::code;
use crate::harness::TestServer;
use crate::openid::Provider;
use crate::races::Node;
use crate::token::{Party, error, text};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

async fn party() -> Party {
    Party::with(json!({"access_token_format": "opaque"})).await
}

async fn tokens(party: &Party) -> Value {
    let (status, tokens) = party.redeem(&party.code("view-user").await).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

#[tokio::test]
async fn an_opaque_token_of_every_flow_works_until_it_is_revoked() {
    let server = TestServer::start_with(|settings| settings.allow_password_grant = true).await;
    let grant_types = json!([
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "password"
    ]);
    let party = Party::on(
        server,
        json!({"access_token_format": "opaque", "grant_types": grant_types, "legacy": true}),
    )
    .await;
    let of_code = tokens(&party).await;
    let (_, refreshed) = party.refresh(text(&of_code, "refresh_token")).await;
    let (_, retried) = party.refresh(text(&of_code, "refresh_token")).await;
    let form = [
        ("grant_type", "password"),
        ("username", "ada"),
        ("password", "correct horse battery"),
        ("scope", "view-user"),
    ];
    let (_, password) = party.post("/oauth/token", &form).await;
    for tokens in [&of_code, &refreshed, &retried, &password] {
        assert_eq!(tokens["expires_in"], 3600, "{tokens}");
        let token = text(tokens, "access_token");
        assert!(token.starts_with("gla_") && !token.contains('.'), "{token}");
        let (status, user) = party.api("/api/user", token).await;
        assert_eq!((status, text(&user, "username")), (200, "ada"), "{user}");
        assert_eq!(
            error(&party.api("/api/user/details", token).await),
            (403, "insufficient_scope")
        );
        assert!(party.is_active(token).await);
    }
    // One goes alone.
    let alone = text(&refreshed, "access_token");
    assert_eq!(party.post("/oauth/revoke", &[("token", alone)]).await.0, 200);
    assert!(!party.is_active(alone).await);
    assert_eq!(
        error(&party.api("/api/user", alone).await),
        (401, "token_invalid")
    );
    assert!(party.is_active(text(&of_code, "access_token")).await);
    // With the refresh token goes all.
    let (status, _) = party
        .post("/oauth/revoke", &[("token", text(&retried, "refresh_token"))])
        .await;
    assert_eq!(status, 200);
    for gone in [&of_code, &retried] {
        assert!(!party.is_active(text(gone, "access_token")).await);
    }
    assert!(party.is_active(text(&password, "access_token")).await);
}

#[tokio::test]
async fn introspection_says_of_an_opaque_token_what_a_jwt_says_of_itself() {
    let party = Party::with(json!({"audience": ["api-1", "api-2"]})).await;
    let tokens = async || {
        let audience = |event: &mut CodeIssued| event.audience = vec!["api-1".to_owned(), "api-2".to_owned()];
        let (_, code) =
            code::issue_with(&party.server, (party.key, party.subject), "view-user", audience).await;
        party.redeem(&code).await.1
    };
    let jwt = tokens().await;
    party
        .server
        .update_client(party.key, json!({"access_token_format": "opaque"}))
        .await
        .unwrap();
    let opaque = tokens().await;
    let machine = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let (_, machine) = party.post("/oauth/token", &machine).await;
    let mut states = Vec::new();
    for token in [&jwt, &opaque, &machine] {
        let form = [("token", text(token, "access_token"))];
        let (_, mut state) = party.post("/oauth/introspect", &form).await;
        let lives = state["exp"].as_i64().unwrap() - state["iat"].as_i64().unwrap();
        assert_eq!(lives, 3600);
        let members = state.as_object_mut().unwrap();
        for changing in ["exp", "iat"] {
            members.remove(changing);
        }
        states.push(state);
    }
    // Its address is nobody's business.
    assert!(states[0].as_object_mut().unwrap().remove("jti").is_some());
    assert_eq!(states[0], states[1]);
    assert_eq!(states[2]["sub"], party.client_id.as_str());
    assert_eq!(states[2]["aud"], json!(["api-1", "api-2"]));
}

#[tokio::test]
async fn an_opaque_token_that_is_over_has_expired() {
    let party = party().await;
    let tokens = tokens(&party).await;
    let token = text(&tokens, "access_token");
    party.server.clock.advance(std::time::Duration::from_secs(3601));
    assert_eq!(
        error(&party.api("/api/user", token).await),
        (401, "token_expired")
    );
    assert!(!party.is_active(token).await);
}

#[tokio::test]
async fn a_guessed_opaque_token_opens_nothing_and_touches_nothing() {
    let party = party().await;
    let tokens = tokens(&party).await;
    let token = text(&tokens, "access_token");
    let key = party.server.app.ledger.vault().master().address_key();
    let address = credential::parse(Kind::Access, key, token).unwrap().address;
    let elsewhere = |sequence: u32| {
        let address = Address { sequence, ..address };
        credential::format(Kind::Access, key, address, &[7; 32])
    };
    let mut forged: Vec<String> = [0, 1, 2, 3, 4, u32::MAX].map(elsewhere).into();
    // The right random part at another event, a refresh token's value under the other prefix, and noise.
    let refresh = text(&tokens, "refresh_token");
    forged.extend([
        format!("gla_{}", &refresh[4..]),
        format!("gla_{}", &token[5..]),
        format!("{token}A"),
        token.to_uppercase(),
        "gla_".to_owned(),
    ]);
    let before = grant_events(&party).await;
    for forged in &forged {
        assert!(!party.is_active(forged).await, "{forged}");
        assert_eq!(
            error(&party.api("/api/user", forged).await),
            (401, "token_invalid"),
            "{forged}"
        );
        assert_eq!(party.post("/oauth/revoke", &[("token", forged)]).await.0, 200);
    }
    assert_eq!(grant_events(&party).await, before);
    assert!(party.is_active(token).await && party.is_active(refresh).await);
}

async fn grant_events(party: &Party) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger_grant")
        .fetch_one(party.server.app.ledger.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_stranger_learns_nothing_of_an_opaque_token_and_cannot_revoke_it() {
    let party = party().await;
    let tokens = tokens(&party).await;
    let token = text(&tokens, "access_token");
    let metadata = json!({"client_name": "Stranger", "grant_types": ["client_credentials"]});
    let stranger = party.server.client(metadata).await;
    let answer = post(&party, &stranger, "/oauth/introspect", &[("token", token)]).await;
    assert_eq!(answer, (200, json!({"active": false})));
    let (status, _) = post(&party, &stranger, "/oauth/revoke", &[("token", token)]).await;
    assert_eq!(status, 400);
    assert!(party.is_active(token).await);
}

async fn post(party: &Party, client: &CreatedClient, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = party.http.post(party.server.url(path));
    let response = request
        .basic_auth(&client.client_id, client.client_secret.as_deref())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn user_info_takes_an_opaque_token_and_the_id_token_beside_it_gives_nothing_of_it_away() {
    let provider = Provider::with(json!({"access_token_format": "opaque"})).await;
    let tokens = provider.tokens(&[("scope", "openid profile")]).await;
    let token = text(&tokens, "access_token");
    let response = reqwest::Client::new()
        .get(provider.server.url("/oauth/userinfo"))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let user: Value = response.json().await.unwrap();
    assert_eq!(user["preferred_username"], crate::flow::USERNAME);
    let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
    let key = provider.server.app.ledger.vault().master().address_key();
    let jti = credential::parse(Kind::TokenId, key, text(&claims, "jti")).unwrap();
    let access = credential::parse(Kind::Access, key, token).unwrap();
    assert_eq!(jti.address, access.address);
    // The last 16 bytes of either are random, and none of one's are the other's.
    let tail = &text(&claims, "jti")[30..];
    assert!(!token.contains(tail));
}

#[tokio::test]
async fn opaque_tokens_are_exchanged_for_opaque_tokens_and_end_with_them() {
    let party = party().await;
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    let service = json!({
        "client_name": "Service", "grant_types": [exchange], "scope": "view-user",
        "access_token_format": "opaque", "audience": [party.server.base],
    });
    let service = party.server.client(service).await;
    let rule = ExchangeRule {
        subject_client: party.key,
        mode: ExchangeMode::Delegation,
        scope: ScopeSet::parse("view-user").unwrap(),
        audience: vec![party.server.base.clone()],
    };
    let operations = &party.server.app.operations;
    let context = TestServer::context();
    operations
        .allow_exchange(&context, service.key, rule)
        .await
        .unwrap();
    let tokens = tokens(&party).await;
    let subject = text(&tokens, "access_token");
    let form = |subject_type, requested| {
        [
            ("grant_type", exchange),
            ("subject_token", subject),
            ("subject_token_type", subject_type),
            ("requested_token_type", requested),
        ]
    };
    // RFC 8693 §3: neither is a JWT.
    for (subject_type, requested) in [(JWT, ACCESS_TOKEN), (ACCESS_TOKEN, JWT)] {
        let answer = post(&party, &service, "/oauth/token", &form(subject_type, requested)).await;
        assert_eq!(error(&answer), (400, "invalid_request"), "{}", answer.1);
    }
    let (status, exchanged) = post(
        &party,
        &service,
        "/oauth/token",
        &form(ACCESS_TOKEN, ACCESS_TOKEN),
    )
    .await;
    assert_eq!(
        (status, &exchanged["issued_token_type"]),
        (200, &json!(ACCESS_TOKEN)),
        "{exchanged}"
    );
    let token = text(&exchanged, "access_token");
    let (_, state) = post(&party, &service, "/oauth/introspect", &[("token", token)]).await;
    assert_eq!(state["act"]["sub"], service.client_id.as_str(), "{state}");
    let (_, of_subject) = party.post("/oauth/introspect", &[("token", subject)]).await;
    assert_eq!(state["sub"], of_subject["sub"]);
    assert_eq!(party.api("/api/user", token).await.0, 200);
    assert_eq!(party.post("/oauth/revoke", &[("token", subject)]).await.0, 200);
    assert_eq!(
        error(&party.api("/api/user", token).await),
        (401, "token_invalid")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_opaque_token_is_active_on_no_node() {
    let party = party().await;
    let other = Node::beside(&party.server).await;
    for _ in 0..10 {
        let tokens = tokens(&party).await;
        let token = text(&tokens, "access_token");
        let api = || {
            party
                .http
                .get(format!("{}/api/user", other.base))
                .bearer_auth(token)
                .send()
        };
        // Both nodes know the grant by now.
        assert_eq!(api().await.unwrap().status(), 200);
        let askers: Vec<_> = (0..8).map(|_| tokio::spawn(api())).collect();
        assert_eq!(party.post("/oauth/revoke", &[("token", token)]).await.0, 200);
        assert_eq!(api().await.unwrap().status(), 401);
        assert!(!party.is_active(token).await);
        for asker in askers {
            assert!([200, 401].contains(&asker.await.unwrap().unwrap().status().as_u16()));
        }
    }
}

#[tokio::test]
async fn the_table_of_access_tokens_has_opaque_ones_too() {
    let party = party().await;
    let tokens = tokens(&party).await;
    let token = text(&tokens, "access_token");
    assert_eq!(party.post("/oauth/revoke", &[("token", token)]).await.0, 200);
    party.server.settle().await;
    let key = party.server.app.ledger.vault().master().address_key();
    let presented = credential::parse(Kind::Access, key, token).unwrap();
    let row: (String, i32, Option<String>) = sqlx::query_as(
        "SELECT access_token, sequence, revoked_reason FROM client_access_tokens WHERE family = $1",
    )
    .bind(presented.address.grant.0)
    .fetch_one(&party.server.database.owner().await)
    .await
    .unwrap();
    let sequence = i32::try_from(presented.address.sequence).unwrap();
    assert_eq!(
        row,
        (
            presented.digest.to_string(),
            sequence,
            Some("client_request".to_owned())
        )
    );
}
