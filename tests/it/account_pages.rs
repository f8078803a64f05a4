//! The pages of the user's own account: the applications that have access, and the browser logins.

use grantlog::http::csrf::Purpose;
use grantlog::ids::SessionId;
use grantlog::operations::client::CreatedClient;
use grantlog::projection::ProjectionRunner;
use serde_json::{Value, json};

use crate::flow::{self, Answer, PASSWORD, REDIRECT_URI, USERNAME, VERIFIER};
use crate::harness::{TestServer, browser};
use crate::races::Node;

const APPLICATIONS: &str = "/account/applications";
const SESSIONS: &str = "/account/sessions";

async fn post(base: &str, http: &reqwest::Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = http
        .post(format!("{base}{path}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let response = request.send().await.unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}

/// A browser that says who it is, logged in at a page of the account.
async fn logged_in(server: &TestServer, (username, agent): (&str, &str), path: &str) -> reqwest::Client {
    let http = reqwest::Client::builder()
        .cookie_store(true)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(agent)
        .build()
        .unwrap();
    let page = flow::get(server, &http, path).await;
    assert!(page.is_login_page(), "{}", page.body);
    let token = page.hidden("form_token");
    let fields = [
        ("step", "login"),
        ("form_token", token.as_str()),
        ("username", username),
        ("password", PASSWORD),
    ];
    let answer = post(&server.base, &http, path, &fields).await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.location(), path.rsplit('/').next());
    http
}

/// Exchanges a code.
async fn redeem(server: &TestServer, client: &CreatedClient, code: &str) -> Value {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    token(&server.base, client, &form).await.1
}

async fn token(base: &str, client: &CreatedClient, form: &[(&str, &str)]) -> (u16, Value) {
    at(base, "/oauth/token", client, form).await
}

async fn at(base: &str, path: &str, client: &CreatedClient, form: &[(&str, &str)]) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let answer = reqwest::Client::new()
        .post(format!("{base}{path}"))
        .basic_auth(&client.client_id, client.client_secret.as_deref())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn is_active(base: &str, client: &CreatedClient, tokens: &Value) -> [bool; 2] {
    let mut active = [false; 2];
    for (place, member) in ["access_token", "refresh_token"].into_iter().enumerate() {
        let form = [("token", tokens[member].as_str().unwrap())];
        let (_, answer) = at(base, "/oauth/introspect", client, &form).await;
        active[place] = answer["active"].as_bool().unwrap();
    }
    active
}

/// The last event's type, actor and endpoint.
async fn last(server: &TestServer) -> (String, String, String) {
    sqlx::query_as(
        "SELECT event_type, metadata->>'actor', metadata->>'endpoint' FROM grantlog.ledger ORDER BY position DESC LIMIT 1",
    )
    .fetch_one(&server.database.owner().await)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_what_applications_may_do_and_takes_it_back_on_every_node() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let alice = server.app.operations.find_user(USERNAME).await.unwrap().unwrap();
    let http = browser();
    let code = flow::authorize(&server, &http, &flow::query(&client)).await["code"].clone();
    let tokens = redeem(&server, &client, &code).await;
    let other = Node::beside(&server).await;
    let runner = ProjectionRunner::start(&server.app.ledger);
    runner.wait_for(*server.app.ledger.head().borrow()).await.unwrap();

    let overview = flow::get(&server, &http, "/account").await;
    assert!(
        overview.body.contains("<h1>Your account</h1>") && overview.body.contains("account/applications")
    );
    let page = flow::get(&server, &http, APPLICATIONS).await;
    for expected in [
        "Example App",
        "See your name and user name",
        "view-user",
        "Last used",
    ] {
        assert!(page.body.contains(expected), "no {expected} in {}", page.body);
    }
    assert_eq!(page.headers["cache-control"], "no-store");
    assert_eq!(is_active(&other.base, &client, &tokens).await, [true, true]);

    // Another site's page cannot press the button, nor can a form of another purpose.
    let key = client.key.to_string();
    let forged = flow::get(&server, &http, "/logout").await.hidden("form_token");
    let fields = [
        ("step", "remove"),
        ("form_token", forged.as_str()),
        ("client", key.as_str()),
    ];
    assert_eq!(post(&server.base, &http, APPLICATIONS, &fields).await.status, 403);
    assert_eq!(is_active(&server.base, &client, &tokens).await, [true, true]);

    let token_field = page.hidden("form_token");
    let fields = [
        ("step", "remove"),
        ("form_token", token_field.as_str()),
        ("client", key.as_str()),
    ];
    let removed = post(&server.base, &http, APPLICATIONS, &fields).await;
    assert_eq!(
        (removed.status.as_u16(), removed.location()),
        (303, Some("applications"))
    );
    let event = last(&server).await;
    let actor = format!("user:{alice}");
    assert_eq!(
        event,
        ("ConsentWithdrawn".to_owned(), actor, APPLICATIONS.to_owned())
    );
    for base in [&server.base, &other.base] {
        assert_eq!(is_active(base, &client, &tokens).await, [false, false]);
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
        ];
        assert_eq!(token(base, &client, &form).await.0, 400);
    }
    let page = flow::get(&server, &http, APPLICATIONS).await;
    assert!(page.body.contains("No application has access"), "{}", page.body);
    // The next time the user is asked again.
    assert!(
        flow::request(&server, &http, &flow::query(&client))
            .await
            .is_consent_page()
    );
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_that_rests_on_a_password_is_taken_back_too() {
    let server = TestServer::start_with(|settings| settings.allow_password_grant = true).await;
    server.user(USERNAME, PASSWORD).await;
    let client = server
        .client(json!({
            "client_name": "Old App", "legacy": true, "grant_types": ["password", "refresh_token"], "scope": "view-user",
            "default_scopes": "view-user",
        }))
        .await;
    let form = [
        ("grant_type", "password"),
        ("username", USERNAME),
        ("password", PASSWORD),
    ];
    let (status, tokens) = token(&server.base, &client, &form).await;
    assert_eq!(status, 200, "{tokens}");
    let http = logged_in(&server, (USERNAME, "A"), APPLICATIONS).await;
    let key = client.key.to_string();
    let runner = ProjectionRunner::start(&server.app.ledger);
    runner.wait_for(*server.app.ledger.head().borrow()).await.unwrap();
    let page = flow::get(&server, &http, APPLICATIONS).await;
    assert!(page.body.contains("Old App"), "{}", page.body);
    let token_field = page.hidden("form_token");
    let fields = [
        ("step", "remove"),
        ("form_token", token_field.as_str()),
        ("client", key.as_str()),
    ];
    assert_eq!(post(&server.base, &http, APPLICATIONS, &fields).await.status, 303);
    assert_eq!(last(&server).await.0, "TokenRevoked");
    assert_eq!(is_active(&server.base, &client, &tokens).await, [false, false]);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tables_are_behind_a_user_is_told_to_try_again_and_consents_have_ended() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let http = browser();
    let code = flow::authorize(&server, &http, &flow::query(&client)).await["code"].clone();
    let tokens = redeem(&server, &client, &code).await;
    server.settle().await;
    let page = flow::get(&server, &http, APPLICATIONS).await;
    let (token_field, key) = (page.hidden("form_token"), client.key.to_string());
    // Nobody folds: what was issued lately cannot be found.
    let fields = [
        ("step", "remove"),
        ("form_token", token_field.as_str()),
        ("client", key.as_str()),
    ];
    let answer = post(&server.base, &http, APPLICATIONS, &fields).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(is_active(&server.base, &client, &tokens).await, [false, false]);
    assert!(
        !answer.body.contains("Example App"),
        "a consent that is withdrawn is not shown, however old the table"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_browser_logins_and_ends_one_or_all_others() {
    let server = TestServer::start().await;
    server.user(USERNAME, PASSWORD).await;
    let phone = logged_in(&server, (USERNAME, "Phone/1"), "/account").await;
    let tablet = logged_in(&server, (USERNAME, "Tablet/2"), SESSIONS).await;
    server.settle().await;
    let desk = logged_in(&server, (USERNAME, "Desk/3"), SESSIONS).await;
    // Not in the table yet: the one that looks is shown all the same.
    let page = flow::get(&server, &desk, SESSIONS).await;
    assert!(page.body.contains("Desk/3"), "{}", page.body);
    server.settle().await;
    let page = flow::get(&server, &desk, SESSIONS).await;
    let order: Vec<usize> = ["Desk/3</bdi> (this one)", "Tablet/2", "Phone/1", "127.0.0.1"]
        .map(|text| {
            page.body
                .find(text)
                .unwrap_or_else(|| panic!("no {text} in {}", page.body))
        })
        .into();
    assert!(order[0] < order[1] && order[0] < order[2]);

    let ids: Vec<(uuid::Uuid,)> = sqlx::query_as(
        "SELECT aggregate_id FROM grantlog.ledger WHERE event_type = 'SessionStarted' ORDER BY position",
    )
    .fetch_all(&server.database.owner().await)
    .await
    .unwrap();
    let token_field = page.hidden("form_token");
    let of_phone = ids[0].0.to_string();
    let fields = [
        ("step", "end"),
        ("form_token", token_field.as_str()),
        ("session", of_phone.as_str()),
    ];
    assert_eq!(post(&server.base, &desk, SESSIONS, &fields).await.status, 303);
    assert!(flow::get(&server, &phone, "/account").await.is_login_page());
    assert!(!flow::get(&server, &tablet, SESSIONS).await.is_login_page());
    // Gone at once, though the table still has it.
    assert!(!flow::get(&server, &desk, SESSIONS).await.body.contains("Phone/1"));
    assert_eq!(last(&server).await.0, "SessionEnded");

    let phone = logged_in(&server, (USERNAME, "Phone/1"), SESSIONS).await;
    server.settle().await;
    let fields = [("step", "others"), ("form_token", token_field.as_str())];
    assert_eq!(post(&server.base, &desk, SESSIONS, &fields).await.status, 303);
    for ended in [&phone, &tablet] {
        assert!(flow::get(&server, ended, SESSIONS).await.is_login_page());
    }
    assert!(!flow::get(&server, &desk, SESSIONS).await.is_login_page());

    // Its own: logged out here.
    let own = ids[2].0.to_string();
    let fields = [
        ("step", "end"),
        ("form_token", token_field.as_str()),
        ("session", own.as_str()),
    ];
    let answer = post(&server.base, &desk, SESSIONS, &fields).await;
    assert!(
        answer.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert!(flow::get(&server, &desk, SESSIONS).await.is_login_page());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_ends_what_is_anothers() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    server.user("mallory", PASSWORD).await;
    let alice = browser();
    let code = flow::authorize(&server, &alice, &flow::query(&client)).await["code"].clone();
    let tokens = redeem(&server, &client, &code).await;
    let mallory = logged_in(&server, ("mallory", "Mallory/1"), SESSIONS).await;
    let runner = ProjectionRunner::start(&server.app.ledger);
    runner.wait_for(*server.app.ledger.head().borrow()).await.unwrap();
    let theirs = flow::get(&server, &alice, SESSIONS).await;
    let page = flow::get(&server, &mallory, APPLICATIONS).await;
    assert!(page.body.contains("No application has access"), "{}", page.body);
    let sessions = flow::get(&server, &mallory, SESSIONS).await;
    assert_eq!(sessions.body.matches("name=\"session\"").count(), 1);

    // With their own forms: another's session and consent stay.
    let (of_alice, own) = (theirs.hidden("session"), sessions.hidden("form_token"));
    let fields = [
        ("step", "end"),
        ("form_token", own.as_str()),
        ("session", of_alice.as_str()),
    ];
    assert_eq!(post(&server.base, &mallory, SESSIONS, &fields).await.status, 303);
    let fields = [("step", "others"), ("form_token", own.as_str())];
    assert_eq!(post(&server.base, &mallory, SESSIONS, &fields).await.status, 303);
    let session = SessionId(sessions.hidden("session").parse().unwrap());
    let own = Purpose::Account(session)
        .token(&server.app, APPLICATIONS)
        .to_string();
    let key = client.key.to_string();
    let fields = [
        ("step", "remove"),
        ("form_token", own.as_str()),
        ("client", key.as_str()),
    ];
    assert_eq!(
        post(&server.base, &mallory, APPLICATIONS, &fields).await.status,
        303
    );
    // With the other's form token: it is refused.
    let stolen = theirs.hidden("form_token");
    let fields = [
        ("step", "end"),
        ("form_token", stolen.as_str()),
        ("session", of_alice.as_str()),
    ];
    assert_eq!(post(&server.base, &mallory, SESSIONS, &fields).await.status, 403);
    assert!(!flow::get(&server, &alice, SESSIONS).await.is_login_page());
    assert_eq!(is_active(&server.base, &client, &tokens).await, [true, true]);
    let ended: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM grantlog.ledger WHERE event_type IN ('SessionEnded', 'ConsentWithdrawn', 'TokenRevoked')",
    )
    .fetch_one(&server.database.owner().await)
    .await
    .unwrap();
    assert_eq!(ended, 0);
    runner.stop().await;
}
