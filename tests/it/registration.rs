//! Clients that register themselves and manage their registration (RFC 7591, RFC 7592).

mod manage;
mod statements;

use grantlog::config::{RegistrationMode, Settings};
use grantlog::domain::authorization_detail::{AuthorizationDetailTypeCommand, DetailTypeTerms};
use grantlog::domain::client::GrantType;
use grantlog::domain::initial_access_token::RegistrationPermit;
use grantlog::domain::value::ScopeSet;
use grantlog::operations::initial_access_token::{NewInitialToken, PresentedInitialToken};
use grantlog::operations::self_registration::{self, NewRegistration, Terms};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::blast_radius::{radius, request_of};
use crate::flow::{self, REDIRECT_URI};
use crate::harness::{TestServer, browser};
use crate::openid::{Provider, define_scopes};

/// A server where registration is in this mode.
pub(crate) async fn registering(mode: RegistrationMode, change: impl FnOnce(&mut Settings)) -> TestServer {
    let server = TestServer::start_with(|settings| {
        settings.registration = mode;
        settings.registrations_per_minute = 1000;
        change(settings);
    })
    .await;
    define_scopes(&server).await;
    server
}

/// One where everybody may register.
pub(crate) async fn open() -> TestServer {
    registering(RegistrationMode::Open, |_| {}).await
}

/// An answer of the endpoints.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

pub(crate) async fn send((method, url): (&str, &str), token: Option<&str>, body: Option<&Value>) -> Answer {
    let mut request = browser().request(method.parse().unwrap(), url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default(),
    }
}

/// Registers a client.
pub(crate) async fn register(server: &TestServer, token: Option<&str>, metadata: &Value) -> Answer {
    send(("POST", &server.url("/oauth/register")), token, Some(metadata)).await
}

/// An initial access token.
pub(crate) async fn initial(server: &TestServer, uses: u32, permits: RegistrationPermit) -> (Uuid, String) {
    let new = NewInitialToken {
        label: "partners".to_owned(),
        uses,
        lifetime: 3600,
        permits,
    };
    let operations = &server.app.operations;
    operations
        .issue_initial_token(&TestServer::context(), new)
        .await
        .unwrap()
}

fn minimal() -> Value {
    json!({ "redirect_uris": [REDIRECT_URI] })
}

#[tokio::test]
async fn a_client_registers_itself_and_logs_a_user_in() {
    let server = open().await;
    let metadata = json!({
        "redirect_uris": [REDIRECT_URI], "client_name": "Example App", "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"], "token_endpoint_auth_method": "client_secret_post", "scope": "openid profile",
        "client_uri": "https://app.example/", "logo_uri": "https://app.example/logo.png", "contacts": ["ops@app.example"],
        "policy_uri": "https://app.example/privacy", "tos_uri": "https://app.example/terms", "software_id": "app-1",
        "software_version": "2.1", "application_type": "web", "id_token_signed_response_alg": "ES256",
        "client_name#de": "Beispiel", "unheard_of": {"x": [1]}, "initiate_login_uri": null, "client_id": "mine",
    });
    let answer = register(&server, None, &metadata).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["pragma"], "no-cache");
    // RFC 9700 §4.15: the id is the server's to choose, lest it be a user's.
    assert_ne!(answer.body["client_id"], metadata["client_id"]);
    for (name, value) in metadata.as_object().unwrap() {
        if name == "client_id" {
            continue;
        }
        let ignored = ["client_name#de", "unheard_of", "initiate_login_uri"].contains(&name.as_str());
        let expected = if ignored { None } else { Some(value) };
        assert_eq!(answer.body.get(name), expected, "{name}");
    }
    let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
    assert!(answer.body["client_id_issued_at"].as_i64().unwrap() > 1_700_000_000);
    assert_eq!(answer.body["client_secret_expires_at"], 0);
    assert_eq!(
        text("registration_client_uri"),
        format!("{}/oauth/register/{}", server.base, text("client_id"))
    );
    assert!(text("registration_access_token").starts_with("glm_"));
    assert!(answer.body.get("owner").is_none());

    server.user(flow::USERNAME, flow::PASSWORD).await;
    let client = grantlog::operations::client::CreatedClient {
        key: grantlog::ids::ClientKey(text("client_id").parse().unwrap()),
        client_id: text("client_id"),
        client_secret: Some(text("client_secret")),
    };
    let query = flow::with(&flow::query(&client), &[("scope", "openid profile")]);
    let page = flow::log_in(&server, &browser(), &query, (flow::USERNAME, flow::PASSWORD)).await;
    assert_eq!(page.status, 303, "{}", page.body);
    let returned = flow::authorize(&server, &browser(), &query).await;
    let (id, secret) = (text("client_id"), text("client_secret"));
    let form = [
        ("grant_type", "authorization_code"),
        ("code", returned["code"].as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", flow::VERIFIER),
        ("client_id", &id),
        ("client_secret", &secret),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let tokens: Value = browser()
        .post(server.url("/oauth/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    for name in ["access_token", "refresh_token", "id_token"] {
        assert!(tokens[name].is_string(), "{name} in {tokens}");
    }
}

#[tokio::test]
async fn where_registration_is_off_there_is_no_endpoint() {
    let server = TestServer::start().await;
    for (method, path) in [
        ("POST", "/oauth/register"),
        ("GET", "/oauth/register/x"),
        ("DELETE", "/oauth/register/x"),
    ] {
        let answer = send((method, &server.url(path)), None, Some(&minimal())).await;
        assert_eq!(answer.status, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn a_registration_that_is_not_acceptable_is_refused_with_its_code() {
    let server = open().await;
    for (change, code) in [
        (
            json!({"redirect_uris": ["http://app.example/cb"]}),
            "invalid_redirect_uri",
        ),
        (
            json!({"redirect_uris": ["https://app.example/cb#x"]}),
            "invalid_redirect_uri",
        ),
        (json!({"redirect_uris": []}), "invalid_redirect_uri"),
        (
            json!({"redirect_uris": ["com.example.app:/cb"], "application_type": "web"}),
            "invalid_redirect_uri",
        ),
        (json!({"grant_types": ["password"]}), "invalid_client_metadata"),
        (json!({"grant_types": ["implicit"]}), "invalid_client_metadata"),
        (
            json!({"grant_types": ["client_credentials"]}),
            "invalid_client_metadata",
        ),
        (json!({"response_types": ["token"]}), "invalid_client_metadata"),
        (
            json!({"token_endpoint_auth_method": "private_key_jwt"}),
            "invalid_client_metadata",
        ),
        (
            json!({"token_endpoint_auth_method": "any"}),
            "invalid_client_metadata",
        ),
        (json!({"scope": "view-user"}), "invalid_client_metadata"),
        (json!({"scope": "detail-user"}), "invalid_client_metadata"),
        (
            json!({"id_token_signed_response_alg": "none"}),
            "invalid_client_metadata",
        ),
        (
            json!({"userinfo_signed_response_alg": "none"}),
            "invalid_client_metadata",
        ),
        (
            json!({"logo_uri": "data:image/png;base64,xx"}),
            "invalid_client_metadata",
        ),
        (json!({"policy_uri": "nowhere"}), "invalid_client_metadata"),
        (json!({"client_uri": "https://127.1/"}), "invalid_client_metadata"),
        (
            json!({"redirect_uris": ["https://app.example/cb?a[]=1"]}),
            "invalid_redirect_uri",
        ),
        (
            json!({"redirect_uris": ["HTTPS://app.example/cb"]}),
            "invalid_redirect_uri",
        ),
        (json!({"client_name": "\u{202e}evil"}), "invalid_client_metadata"),
        (json!({"client_name": "a\u{0}b"}), "invalid_client_metadata"),
        (
            json!({"software_statement": "x.y.z"}),
            "invalid_software_statement",
        ),
        (json!({"software_statement": 1}), "invalid_software_statement"),
    ] {
        let mut metadata = minimal();
        metadata
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let answer = register(&server, None, &metadata).await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (400, &json!(code)),
            "{change}"
        );
        let description = answer.body["error_description"].as_str().unwrap();
        assert!(!description.is_empty() && description.is_ascii(), "{description}");
        if let Some(member) = ["logo_uri", "policy_uri", "client_uri"]
            .iter()
            .find(|member| change.get(**member).is_some())
        {
            assert!(description.starts_with(&format!("{member}: ")), "{description}");
        }
        assert!(answer.body["request_id"].is_string());
    }
    let url = server.url("/oauth/register");
    for (content_type, body, status) in [
        ("application/x-www-form-urlencoded", "{}".to_owned(), 400),
        ("application/json", "[]".to_owned(), 400),
        (
            "application/json",
            r#"{"redirect_uris":["https://app.example/cb"],"redirect_uris":["https://evil.example/cb"]}"#
                .to_owned(),
            400,
        ),
        ("application/json", "{".to_owned(), 400),
        (
            "application/json",
            format!("{{\"x\":\"{}\"}}", "x".repeat(33_000)),
            413,
        ),
        (
            "application/json",
            format!("{{\"x\":\"{}\"}}", "x".repeat(70_000)),
            413,
        ),
    ] {
        let request = browser().post(&url).header("content-type", content_type);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), status, "{content_type}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"], "invalid_client_metadata");
    }
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger WHERE event_type = 'ClientRegistered'")
            .fetch_one(server.app.ledger.pool())
            .await
            .unwrap();
    assert_eq!(count, 0, "nothing of it was registered");
}

#[tokio::test]
async fn one_address_registers_a_few_clients_a_minute() {
    let server = registering(RegistrationMode::Open, |settings| {
        settings.registrations_per_minute = 2;
    })
    .await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(register(&server, None, &minimal()).await);
    }
    let codes: Vec<u16> = statuses.iter().map(|answer| answer.status).collect();
    assert_eq!(codes, [201, 201, 429]);
    assert!(statuses[2].headers.contains_key("retry-after"));
    // An administrator's leave is not held up by strangers.
    let (_, token) = initial(&server, 1, RegistrationPermit::default()).await;
    assert_eq!(register(&server, Some(&token), &minimal()).await.status, 201);
    server.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(register(&server, None, &minimal()).await.status, 201);
}

#[tokio::test]
async fn an_initial_access_token_registers_as_many_clients_as_it_says() {
    let server = registering(RegistrationMode::InitialAccessToken, |_| {}).await;
    let missing = register(&server, None, &minimal()).await;
    assert_eq!(
        (missing.status, &missing.body["error"]),
        (401, &json!("invalid_token"))
    );
    let challenges: Vec<_> = missing.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Bearer realm=\"grantlog\""], "nor does DPoP open it");
    let (id, token) = initial(&server, 2, RegistrationPermit::default()).await;
    let refused = |answer: Answer| {
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (401, &json!("invalid_token"))
        );
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        let [challenge] = challenges[..] else {
            panic!("{challenges:?}")
        };
        let challenge = challenge.to_str().unwrap();
        assert!(
            challenge.starts_with("Bearer ") && challenge.contains("invalid_token"),
            "{challenge}"
        );
    };
    for wrong in ["gli_x", "x", &token[..token.len() - 2], &format!("{token}AA")] {
        refused(register(&server, Some(wrong), &minimal()).await);
    }
    // What is refused uses nothing up.
    assert_eq!(register(&server, Some(&token), &json!({})).await.status, 400);
    for _ in 0..2 {
        assert_eq!(register(&server, Some(&token), &minimal()).await.status, 201);
    }
    refused(register(&server, Some(&token), &minimal()).await);
    let state = server
        .app
        .operations
        .load::<grantlog::domain::initial_access_token::InitialAccessToken>(id)
        .await
        .unwrap();
    assert_eq!((state.used, state.uses_left()), (2, 0));

    let (_, short) = initial(&server, 9, RegistrationPermit::default()).await;
    let (revoked_id, revoked) = initial(&server, 9, RegistrationPermit::default()).await;
    let operations = &server.app.operations;
    operations
        .revoke_initial_token(&TestServer::context(), revoked_id, "leaked")
        .await
        .unwrap();
    refused(register(&server, Some(&revoked), &minimal()).await);
    assert_eq!(register(&server, Some(&short), &minimal()).await.status, 201);
    server.clock.advance(std::time::Duration::from_secs(3601));
    refused(register(&server, Some(&short), &minimal()).await);
}

/// A type of authorization details without members.
pub(crate) async fn define_detail_type(server: &TestServer, name: &str) {
    let schema = json!({"properties": {"type": {}}, "additionalProperties": false}).to_string();
    let command = AuthorizationDetailTypeCommand::Define {
        name: name.to_owned(),
        terms: DetailTypeTerms {
            schema,
            template: None,
            resources: Vec::new(),
            asked_each_time: false,
        },
    };
    let operations = &server.app.operations;
    let context = TestServer::context();
    operations
        .command_authorization_detail_type(&context, name, &command)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_initial_access_token_says_what_may_be_registered() {
    let server = registering(RegistrationMode::InitialAccessToken, |_| {}).await;
    let permits = RegistrationPermit {
        scope: Some(ScopeSet::parse("server-operations detail-user").unwrap()),
        grant_types: Some(vec![GrantType::ClientCredentials]),
        authorization_details_types: Some(vec!["payment".to_owned()]),
        software_statement: false,
        pkce_optional: false,
    };
    let (_, token) = initial(&server, 9, permits).await;
    for name in ["payment", "other"] {
        define_detail_type(&server, name).await;
    }
    let machine = json!({"grant_types": ["client_credentials"], "response_types": []});
    let answer = register(&server, Some(&token), &machine).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    // What needs an approval is named by whoever wants it, and is approved apart.
    assert_eq!(answer.body["scope"], "server-operations");
    let restricted = json!({"grant_types": ["client_credentials"], "scope": "detail-user"});
    let answer = register(&server, Some(&token), &restricted).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let (id, secret) = (
        answer.body["client_id"].as_str(),
        answer.body["client_secret"].as_str(),
    );
    let response = browser()
        .post(server.url("/oauth/token"))
        .basic_auth(id.unwrap(), secret)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials&scope=detail-user")
        .send()
        .await
        .unwrap();
    assert_eq!(response.json::<Value>().await.unwrap()["error"], "invalid_scope");
    for other in [
        json!({"grant_types": ["authorization_code"], "redirect_uris": [REDIRECT_URI]}),
        json!({"grant_types": ["client_credentials"], "scope": "openid"}),
        json!({"grant_types": ["client_credentials"], "authorization_details_types": ["payment", "other"]}),
    ] {
        let answer = register(&server, Some(&token), &other).await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (400, &json!("invalid_client_metadata"))
        );
    }
    let paying = json!({"grant_types": ["client_credentials"], "authorization_details_types": ["payment"]});
    let answer = register(&server, Some(&token), &paying).await;
    assert_eq!(
        (answer.status, &answer.body["authorization_details_types"]),
        (201, &json!(["payment"])),
        "{}",
        answer.body
    );
    let (_, strict) = initial(
        &server,
        9,
        RegistrationPermit {
            software_statement: true,
            ..RegistrationPermit::default()
        },
    )
    .await;
    let answer = register(&server, Some(&strict), &minimal()).await;
    assert_eq!(answer.body["error"], "unapproved_software_statement");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_uses_of_one_initial_access_token_on_two_nodes_as_many_succeed_as_it_allows() {
    let server = registering(RegistrationMode::InitialAccessToken, |settings| {
        settings.failures_per_minute = 100_000;
    })
    .await;
    let other = server.second_node().await.1;
    let (_, token) = initial(&server, 3, RegistrationPermit::default()).await;
    let tasks: Vec<_> = (0..32)
        .map(|number| {
            let base = if number % 2 == 0 { &server.base } else { &other };
            let (url, token) = (format!("{base}/oauth/register"), token.clone());
            tokio::spawn(async move { send(("POST", &url), Some(&token), Some(&minimal())).await.status })
        })
        .collect();
    let mut registered = 0;
    for task in tasks {
        match task.await.unwrap() {
            201 => registered += 1,
            // A loser of every round is told to come back.
            401 | 503 => {}
            other => panic!("{other}"),
        }
    }
    assert!((1..=3).contains(&registered), "{registered}");
    let events = |name: &'static str| {
        let pool = server.app.ledger.pool();
        let query =
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM grantlog.ledger WHERE event_type = $1");
        async move { query.bind(name).fetch_one(pool).await.unwrap() }
    };
    assert_eq!(events("ClientRegistered").await, registered);
    assert_eq!(events("InitialAccessTokenUsed").await, registered);
    while registered < 3 {
        assert_eq!(register(&server, Some(&token), &minimal()).await.status, 201);
        registered += 1;
    }
    assert_eq!(register(&server, Some(&token), &minimal()).await.status, 401);
}

#[tokio::test]
async fn a_default_max_age_counts_where_a_request_names_none() {
    let provider = Provider::with(json!({"default_max_age": 60})).await;
    let http = browser();
    flow::authorize(&provider.server, &http, &provider.query(&[])).await;
    provider.server.clock.advance(std::time::Duration::from_mins(2));
    for (max_age, error) in [("", Some("login_required")), ("100000", None)] {
        let query = provider.query(&[("prompt", "none"), ("max_age", max_age)]);
        let answer = flow::request(&provider.server, &http, &query).await;
        let came = answer.parameters().get("error").cloned();
        assert_eq!(came.as_deref(), error, "{max_age}");
    }
}

#[tokio::test]
async fn a_default_max_age_of_less_than_a_minute_asks_nobody_who_has_just_logged_in() {
    let provider = Provider::with(json!({"default_max_age": 0})).await;
    let http = browser();
    let answer = flow::authorize(&provider.server, &http, &provider.query(&[])).await;
    assert!(answer.contains_key("code"), "{answer:?}");
    for (wait, error) in [(50, None), (11, Some("login_required"))] {
        provider
            .server
            .clock
            .advance(std::time::Duration::from_secs(wait));
        let query = provider.query(&[("prompt", "none")]);
        let answer = flow::request(&provider.server, &http, &query).await;
        let came = answer.parameters().get("error").cloned();
        assert_eq!(came.as_deref(), error, "{wait}");
    }
    let answer = flow::authorize(&provider.server, &http, &provider.query(&[])).await;
    assert!(answer.contains_key("code"), "{answer:?}");
}

/// The private keys and secrets that are stored.
async fn stored_keys(server: &TestServer) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM grantlog.key_material")
        .fetch_one(server.app.ledger.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_secret_that_was_made_for_a_refused_registration_is_forgotten() {
    let mode = RegistrationMode::InitialAccessToken;
    let server = registering(mode, |settings| settings.allow_client_secret_jwt = true).await;
    let (_, token) = initial(&server, 1, RegistrationPermit::default()).await;
    let before = stored_keys(&server).await;
    let mut stated = minimal();
    stated["token_endpoint_auth_method"] = json!("client_secret_jwt");
    let answer = register(&server, Some(&token), &stated).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(stored_keys(&server).await, before + 1);
    // The token's only use is taken in the moment between its check and the append.
    let terms = Terms {
        scope: ScopeSet::default(),
        default_scope: ScopeSet::default(),
        grant_types: vec![GrantType::AuthorizationCode],
        authorization_details_types: Vec::new(),
        pkce_optional: false,
    };
    let new = NewRegistration {
        metadata: self_registration::metadata(stated.as_object().unwrap().clone(), &terms, None).unwrap(),
        statement: None,
        initial: PresentedInitialToken::parse(&token),
    };
    let operations = &server.app.operations;
    let refused = operations
        .register_self(&TestServer::context(), new)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("uses"), "{refused}");
    assert_eq!(stored_keys(&server).await, before + 1);
    // Nor does a replacement leave one behind that it was refused with.
    let (_, other) = initial(&server, 1, RegistrationPermit::default()).await;
    let answer = register(&server, Some(&other), &minimal()).await.body;
    let update = json!({
        "client_id": answer["client_id"], "redirect_uris": [REDIRECT_URI], "client_secret": "guessed",
        "token_endpoint_auth_method": "client_secret_jwt",
    });
    let uri = answer["registration_client_uri"].as_str().unwrap();
    let token = answer["registration_access_token"].as_str();
    assert_eq!(send(("PUT", uri), token, Some(&update)).await.status, 400);
    assert_eq!(stored_keys(&server).await, before + 1);
}

#[tokio::test]
async fn a_client_registers_itself_for_assertions_under_their_whole_name_and_where_it_is_permitted() {
    let server = registering(RegistrationMode::InitialAccessToken, |_| {}).await;
    let permits = |grant_types| RegistrationPermit {
        grant_types,
        ..RegistrationPermit::default()
    };
    let (_, usual) = initial(&server, 5, permits(None)).await;
    let (_, permitted) = initial(&server, 5, permits(Some(vec![GrantType::JwtBearer]))).await;
    let whole = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    for (token, name, status) in [
        (&usual, whole, 400),
        (&permitted, whole, 201),
        (&permitted, "jwt-bearer", 400),
        (&permitted, "jwt_bearer", 400),
        (&permitted, "client_credentials", 400),
    ] {
        let answer = register(&server, Some(token), &json!({"grant_types": [name]})).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        if status == 201 {
            assert_eq!(answer.body["grant_types"], json!([whole]));
        } else {
            assert_eq!(answer.body["error"], "invalid_client_metadata");
        }
    }
}

#[tokio::test]
async fn tokens_of_registration_are_stored_as_digests() {
    let server = open().await;
    let (_, initial) = initial(&server, 1, RegistrationPermit::default()).await;
    let answer = register(&server, Some(&initial), &minimal()).await;
    let rows: Vec<String> = sqlx::query_scalar("SELECT payload::text || metadata::text FROM grantlog.ledger")
        .fetch_all(server.app.ledger.pool())
        .await
        .unwrap();
    for secret in ["client_secret", "registration_access_token"] {
        let secret = answer.body[secret].as_str().unwrap();
        assert!(!rows.iter().any(|row| row.contains(secret)), "{secret}");
    }
    assert!(!rows.iter().any(|row| row.contains(&initial[4..])));
}

#[tokio::test]
async fn a_way_of_logout_that_is_not_supported_is_refused_and_not_ignored() {
    let server = open().await;
    let mut metadata = minimal();
    metadata["frontchannel_logout_uri"] = json!("https://app.example/front");
    let answer = register(&server, None, &metadata).await;
    assert_eq!(
        (answer.status, answer.body["error"].as_str()),
        (400, Some("invalid_client_metadata")),
        "{}",
        answer.body
    );
    let what = answer.body["error_description"].as_str().unwrap();
    assert!(what.contains("frontchannel_logout_uri"), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_registered_with_an_initial_access_token_are_in_the_blast_radius_of_the_act_that_issued_it() {
    let server = registering(RegistrationMode::InitialAccessToken, |_| {}).await;
    let (_, token) = initial(&server, 1, RegistrationPermit::default()).await;
    let (request, _) = request_of(&server, "InitialAccessTokenIssued").await;
    let registered = register(&server, Some(&token), &minimal()).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    let act = radius(&server, "request", &request).await;
    let power = &act["could"]["clients"][0];
    assert_eq!(power["client_id"], registered.body["client_id"], "{act}");
}
