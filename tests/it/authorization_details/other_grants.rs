//! Authorization details at the grants that ask no user: token exchange, assertions, passwords (RFC 9396 §5).

use grantlog::domain::client::{ExchangeMode, ExchangeRule, PublicJwks};
use grantlog::domain::trusted_issuer::{IssuerKeys, SubjectMapping, Trust};
use grantlog::domain::value::ScopeSet;
use grantlog::ids::ClientKey;
use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use super::{BANK, DRIVE, FILES, INVALID, PAYMENT, Rich, claimed, error, files, payment};
use crate::flow;
use crate::harness::TestServer;
use crate::private_key_jwt::Keys;
use crate::token::text;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ISSUER: &str = "https://ci.example";

/// A service that may exchange the client's tokens, and its own.
async fn service(rich: &Rich) -> CreatedClient {
    let service = rich
        .server
        .client(json!({
            "client_name": "Service", "grant_types": ["client_credentials", EXCHANGE], "scope": "view-user",
            "audience": [BANK, DRIVE], "authorization_details_types": [PAYMENT, FILES],
        }))
        .await;
    for subject_client in [rich.client.key, service.key] {
        allow(rich, service.key, subject_client).await;
    }
    service
}

async fn allow(rich: &Rich, service: ClientKey, subject_client: ClientKey) {
    let rule = ExchangeRule {
        subject_client,
        mode: ExchangeMode::Impersonation,
        scope: ScopeSet::parse("view-user").unwrap(),
        audience: vec![BANK.to_owned(), DRIVE.to_owned()],
    };
    let operations = &rich.server.app.operations;
    let context = TestServer::context();
    operations.allow_exchange(&context, service, rule).await.unwrap();
}

async fn exchange(
    rich: &Rich,
    service: &CreatedClient,
    tokens: &Value,
    extra: &[(&str, &str)],
) -> (u16, Value) {
    let mut form = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", text(tokens, "access_token")),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
    ];
    form.extend(extra);
    rich.post_as(service, "/oauth/token", &form).await
}

#[tokio::test]
async fn an_exchanged_token_has_of_the_subject_tokens_details_what_is_asked_for_and_never_more() {
    let rich = Rich::new().await;
    let service = service(&rich).await;
    let whole = json!([payment("5.00"), files(&["read", "write"])]);
    let tokens = rich.tokens(&whole).await;
    let asking = |details: Value| details.to_string();
    let (status, plain) = exchange(&rich, &service, &tokens, &[]).await;
    assert_eq!(
        (status, plain.get("authorization_details")),
        (200, None),
        "{plain}"
    );

    let narrow = json!([files(&["read"])]);
    let (status, first) = exchange(
        &rich,
        &service,
        &tokens,
        &[("authorization_details", &asking(narrow.clone()))],
    )
    .await;
    assert_eq!(
        (status, &first["authorization_details"]),
        (200, &narrow),
        "{first}"
    );
    assert_eq!(claimed(&first), narrow);
    assert_eq!(
        rich.introspected(&rich.drive, text(&first, "access_token")).await,
        narrow
    );

    // More than the subject token has: of its grant, of its own grant when it was exchanged itself, at other servers.
    let (_, less) = rich
        .refresh(&tokens, &[("authorization_details", &asking(narrow.clone()))])
        .await;
    for (subject, details, resource) in [
        (&tokens, json!([files(&["read", "delete"])]), DRIVE),
        (&tokens, json!([payment("5.01")]), BANK),
        (&tokens, json!([{"type": "unheard_of"}]), BANK),
        (&tokens, json!("text"), BANK),
        (&tokens, narrow.clone(), BANK),
        (&less, whole.clone(), DRIVE),
        (&less, json!([files(&["write"])]), DRIVE),
        (&first, json!([files(&["write"])]), DRIVE),
        (&plain, narrow.clone(), DRIVE),
    ] {
        let details = asking(details);
        let extra = [
            ("authorization_details", details.as_str()),
            ("resource", resource),
        ];
        let answer = exchange(&rich, &service, subject, &extra).await;
        assert_eq!(error(&answer), INVALID, "{details}: {}", answer.1);
    }
    // Again, and opaque; without any scope.
    let opaque = json!({"access_token_format": "opaque"});
    rich.server.update_client(service.key, opaque).await.unwrap();
    let extra = [("authorization_details", asking(narrow.clone()))];
    let (status, second) = exchange(&rich, &service, &first, &[(extra[0].0, &extra[0].1)]).await;
    assert_eq!(
        (status, &second["authorization_details"]),
        (200, &narrow),
        "{second}"
    );
    let token = text(&second, "access_token");
    assert!(token.starts_with("gla_"));
    assert_eq!(rich.introspected(&rich.drive, token).await, narrow);

    // A type that any of the clients loses is lost by all that came of its token, and comes back with it.
    for client in [service.key, rich.client.key] {
        let types = |types: Value| {
            rich.server
                .update_client(client, json!({"authorization_details_types": types}))
        };
        types(json!([PAYMENT])).await.unwrap();
        assert_eq!(rich.introspected(&rich.drive, token).await, Value::Null);
        let answer = exchange(&rich, &service, &tokens, &[(extra[0].0, &extra[0].1)]).await;
        assert_eq!(error(&answer), INVALID, "{}", answer.1);
        types(json!([PAYMENT, FILES])).await.unwrap();
        assert_eq!(rich.introspected(&rich.drive, token).await, narrow);
    }
    let clear: i64 =
        sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger WHERE payload::text LIKE '%/photos%'")
            .fetch_one(rich.server.app.ledger.pool())
            .await
            .unwrap();
    assert_eq!(clear, 0);
}

#[tokio::test]
async fn passwords_and_assertions_are_good_for_the_details_that_client_and_trust_may_have() {
    let server = TestServer::start_with(|settings| settings.allow_password_grant = true).await;
    let grants = json!({"legacy": true, "grant_types": ["authorization_code", "refresh_token", "password", JWT_BEARER]});
    let rich = Rich::on(server, grants).await;
    let whole = json!([payment("5.00"), files(&["read", "write"])]);
    let (asked, unheard) = (whole.to_string(), json!([{"type": "unheard_of"}]).to_string());
    let password = |details: &str| {
        let (username, password) = (flow::USERNAME, flow::PASSWORD);
        [
            ("grant_type", "password"),
            ("username", username),
            ("password", password),
            ("authorization_details", details),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let send = |form: Vec<(String, String)>| {
        let rich = &rich;
        async move {
            let form: Vec<_> = form
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            rich.post("/oauth/token", &form).await
        }
    };
    assert_eq!(error(&send(password(&unheard).to_vec()).await), INVALID);
    let (status, tokens) = send(password(&asked).to_vec()).await;
    assert_eq!(
        (status, &tokens["authorization_details"]),
        (200, &whole),
        "{tokens}"
    );
    assert_eq!(
        rich.introspected(&rich.drive, text(&tokens, "access_token"))
            .await,
        json!([whole[1]])
    );
    let narrow = json!([files(&["write"])]);
    let (_, refreshed) = rich
        .refresh(&tokens, &[("authorization_details", &narrow.to_string())])
        .await;
    assert_eq!(claimed(&refreshed), narrow);

    let keys = Keys::generate();
    let trust = |types: &[&str]| Trust {
        keys: IssuerKeys::Given(PublicJwks::parse(&keys.jwks()).unwrap()),
        subject_is: SubjectMapping::Username,
        subjects: Vec::new(),
        clients: vec![rich.client.key],
        scope: ScopeSet::parse("view-user").unwrap(),
        authorization_details_types: types.iter().map(|name| (*name).to_owned()).collect(),
        max_lifetime: 600,
        jti_optional: false,
    };
    let (operations, context) = (&rich.server.app.operations, TestServer::context());
    let now = rich.server.clock.now().timestamp();
    let claims = json!({
        "iss": ISSUER, "sub": "ci|1", "aud": rich.server.base, "jti": "1", "exp": now + 300, "preferred_username": flow::USERNAME,
    });
    let assertion = keys.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims);
    let files_alone = json!([whole[1]]).to_string();
    let assert = |details: &str| {
        let form = [
            ("grant_type", JWT_BEARER),
            ("assertion", assertion.as_str()),
            ("authorization_details", details),
        ];
        send(
            form.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        )
    };
    // What is refused uses the assertion not up.
    operations
        .trust_issuer(&context, ISSUER, trust(&[]))
        .await
        .unwrap();
    assert_eq!(error(&assert(&files_alone).await), INVALID);
    operations
        .trust_issuer(&context, ISSUER, trust(&[FILES]))
        .await
        .unwrap();
    assert_eq!(error(&assert(&asked).await), INVALID);
    let (status, tokens) = assert(&files_alone).await;
    assert_eq!((status, claimed(&tokens)), (200, json!([whole[1]])), "{tokens}");
    let token = text(&tokens, "access_token");
    assert_eq!(rich.introspected(&rich.drive, token).await, json!([whole[1]]));
    operations
        .trust_issuer(&context, ISSUER, trust(&[]))
        .await
        .unwrap();
    assert_eq!(rich.introspected(&rich.drive, token).await, Value::Null);
    assert!(
        operations
            .trust_issuer(&context, ISSUER, trust(&["unheard_of"]))
            .await
            .is_err()
    );
}
