//! The user's own account: changing the password, and what that ends.

use reqwest::StatusCode;

use crate::flow::{self, Answer, PASSWORD, USERNAME};
use crate::harness::{TestServer, browser};
use crate::races::Node;
use crate::token::{Party, text};

const NEW: &str = "a wholly different one";
const PATH: &str = "/account/password";

/// Posts a form to a page of the server at `base`.
async fn post(base: &str, http: &reqwest::Client, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = http
        .post(format!("{base}{PATH}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let response = request.send().await.unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}

/// Logs in at the account's own login page.
async fn log_in(server: &TestServer, http: &reqwest::Client, (username, password): (&str, &str)) -> Answer {
    let page = flow::get(server, http, PATH).await;
    assert!(page.is_login_page(), "{}", page.body);
    let token = page.hidden("form_token");
    let fields = [
        ("step", "login"),
        ("form_token", token.as_str()),
        ("username", username),
        ("password", password),
    ];
    post(&server.base, http, &fields).await
}

/// Fills in the form that is shown to whoever is logged in.
async fn change(
    server: &TestServer,
    http: &reqwest::Client,
    (current, new, again): (&str, &str, &str),
) -> Answer {
    let page = flow::get(server, http, PATH).await;
    assert!(is_form(&page), "{}", page.body);
    let token = page.hidden("form_token");
    let fields = [
        ("step", "password"),
        ("form_token", token.as_str()),
        ("current", current),
        ("new", new),
        ("again", again),
    ];
    post(&server.base, http, &fields).await
}

fn is_form(answer: &Answer) -> bool {
    answer.body.contains("<h1>Change your password</h1>")
}

async fn count(server: &TestServer, event_type: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM grantlog.ledger WHERE event_type = $1")
        .bind(event_type)
        .fetch_one(&server.database.owner().await)
        .await
        .unwrap()
}

async fn reasons(server: &TestServer) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' ORDER BY position",
    )
    .fetch_all(&server.database.owner().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_user_logs_in_changes_the_password_and_is_logged_out() {
    let server = TestServer::start().await;
    server.user(USERNAME, PASSWORD).await;
    let http = browser();
    let after = log_in(&server, &http, (USERNAME, PASSWORD)).await;
    assert_eq!(
        (after.status, after.location()),
        (StatusCode::SEE_OTHER, Some("password"))
    );
    let page = flow::get(&server, &http, PATH).await;
    assert!(
        is_form(&page) && page.body.contains("<bdi>alice</bdi>"),
        "{}",
        page.body
    );
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.ends_with("frame-ancestors 'none'; form-action 'self'"),
        "{policy}"
    );
    assert_eq!(page.headers["cache-control"], "no-store");
    let answer = change(&server, &http, (PASSWORD, NEW, NEW)).await;
    assert_eq!(
        (answer.status, answer.location()),
        (StatusCode::SEE_OTHER, Some("password/changed"))
    );
    let cleared = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cleared.starts_with("grantlog_session=;") && cleared.contains("Max-Age=0"));
    let told = flow::get(&server, &http, "/account/password/changed").await;
    assert!(
        told.body.contains("Log in again with the new password."),
        "{}",
        told.body
    );
    assert!(flow::get(&server, &http, PATH).await.is_login_page());
    assert_eq!(log_in(&server, &http, (USERNAME, PASSWORD)).await.status, 403);
    assert_eq!(log_in(&server, &http, (USERNAME, NEW)).await.status, 303);
    assert_eq!(
        (
            count(&server, "PasswordChanged").await,
            count(&server, "SessionEnded").await
        ),
        (1, 1)
    );
    let one_append: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT command_id) FROM grantlog.ledger \
         WHERE event_type IN ('PasswordChanged', 'SessionEnded')",
    )
    .fetch_one(&server.database.owner().await)
    .await
    .unwrap();
    assert_eq!(one_append, 1);
    let kept: String =
        sqlx::query_scalar("SELECT string_agg(payload::text || metadata::text, '') FROM grantlog.ledger")
            .fetch_one(&server.database.owner().await)
            .await
            .unwrap();
    assert!(!kept.contains(NEW) && !kept.contains(PASSWORD) && !kept.contains("argon2id"));
}

#[tokio::test]
async fn what_is_wrong_with_a_new_password_is_said_where_it_is_wrong() {
    let server = TestServer::start().await;
    server.user("alice.anderson", PASSWORD).await;
    let http = browser();
    log_in(&server, &http, ("alice.anderson", PASSWORD)).await;
    let long = "x".repeat(1025);
    for ((current, new, again), status, field, said) in [
        ((PASSWORD, "", ""), 400, "current", "Fill in all three fields."),
        (
            ("wrong", NEW, NEW),
            403,
            "current",
            "That is not your current password.",
        ),
        (
            (PASSWORD, NEW, "another new one"),
            400,
            "again",
            "are not the same",
        ),
        (
            (PASSWORD, "seven77", "seven77"),
            400,
            "new",
            "needs 8 to 1024 characters",
        ),
        (
            (PASSWORD, long.as_str(), long.as_str()),
            400,
            "new",
            "needs 8 to 1024 characters",
        ),
        (
            (PASSWORD, "ALICE.Anderson", "ALICE.Anderson"),
            400,
            "new",
            "must not be your user name",
        ),
        (
            (PASSWORD, PASSWORD, PASSWORD),
            400,
            "new",
            "must not be your current one",
        ),
    ] {
        let answer = change(&server, &http, (current, new, again)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.location()),
            (status, None),
            "{said}"
        );
        assert!(answer.body.contains(said), "{said} in {}", answer.body);
        assert!(answer.body.contains("<title>Error: Change your password</title>"));
        assert!(answer.body.contains("id=\"password-problem\" role=\"alert\""));
        let (_, input) = answer.body.split_once(&format!("<input id=\"{field}\"")).unwrap();
        let (input, _) = input.split_once('>').unwrap();
        assert!(
            input.contains("aria-describedby=\"password-problem") && input.contains("aria-invalid=\"true\""),
            "{said}: {input}"
        );
        for typed in [current, new]
            .into_iter()
            .filter(|typed| typed.len() > 10 && *typed != "ALICE.Anderson")
        {
            assert!(!answer.body.contains(typed), "nothing that was typed is repeated");
        }
    }
    assert_eq!(count(&server, "PasswordChanged").await, 0);
    assert_eq!(reasons(&server).await, ["wrong_password"]);
}

#[tokio::test]
async fn a_password_form_from_elsewhere_changes_nothing() {
    let server = TestServer::start().await;
    server.user(USERNAME, PASSWORD).await;
    server.user("mallory", "mallory's password").await;
    let (alice, mallory) = (browser(), browser());
    log_in(&server, &alice, (USERNAME, PASSWORD)).await;
    log_in(&server, &mallory, ("mallory", "mallory's password")).await;
    let theirs = flow::get(&server, &mallory, PATH).await.hidden("form_token");
    let logout = flow::get(&server, &alice, "/logout").await.hidden("form_token");
    for token in ["", "00", theirs.as_str(), logout.as_str()] {
        let fields = [
            ("step", "password"),
            ("form_token", token),
            ("current", PASSWORD),
            ("new", NEW),
            ("again", NEW),
        ];
        let answer = post(&server.base, &alice, &fields).await;
        assert!(answer.status == 403 && is_form(&answer), "{}", answer.body);
    }
    let stranger = browser();
    let fields = [
        ("step", "password"),
        ("current", PASSWORD),
        ("new", NEW),
        ("again", NEW),
    ];
    let answer = post(&server.base, &stranger, &fields).await;
    assert!(answer.status == 403 && answer.is_login_page(), "{}", answer.body);
    let fields = [("step", "login"), ("username", USERNAME), ("password", PASSWORD)];
    let answer = post(&server.base, &stranger, &fields).await;
    assert!(answer.status == 403 && !answer.headers.contains_key("location"));
    assert_eq!(count(&server, "PasswordChanged").await, 0);
    let expected = [
        ["form_token_wrong"; 4].as_slice(),
        &["session_expired", "form_token_wrong"],
    ]
    .concat();
    assert_eq!(reasons(&server).await, expected);
}

#[tokio::test]
async fn guesses_of_the_current_password_are_limited_like_logins() {
    let server = TestServer::start_with(|settings| settings.failures_per_minute = 3).await;
    server.user(USERNAME, PASSWORD).await;
    let http = browser();
    log_in(&server, &http, (USERNAME, PASSWORD)).await;
    for _ in 0..3 {
        assert_eq!(change(&server, &http, ("a guess", NEW, NEW)).await.status, 403);
    }
    let answer = change(&server, &http, (PASSWORD, NEW, NEW)).await;
    assert!(answer.status == 429 && is_form(&answer));
    let seconds: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert_eq!(count(&server, "PasswordChanged").await, 0);
    let elsewhere = log_in(&server, &browser(), (USERNAME, PASSWORD)).await;
    assert_eq!(elsewhere.status, 429, "one account, one count");
}

#[tokio::test]
async fn an_administrators_password_must_be_fit_too() {
    let server = TestServer::start().await;
    let subject = server.user("long-enough", PASSWORD).await;
    let operations = &server.app.operations;
    for (password, problem) in [
        ("short", "8 to 1024 characters"),
        ("LONG-enough", "it is the user name"),
        (PASSWORD, "it is the current password"),
    ] {
        let refused = operations
            .set_password(&TestServer::context(), subject, password.to_owned())
            .await;
        assert!(refused.unwrap_err().to_string().contains(problem), "{password}");
    }
    assert_eq!(count(&server, "PasswordChanged").await, 0);
}

#[tokio::test]
async fn password_managers_find_the_page() {
    let server = TestServer::start().await;
    let answer = flow::get(&server, &browser(), "/.well-known/change-password").await;
    assert_eq!(
        (answer.status, answer.location()),
        (StatusCode::SEE_OTHER, Some("../account/password"))
    );
}

/// How an account's sessions and tokens are ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Page,
    Administrator,
    Disable,
    Erase,
}

/// Tokens and a browser session of a user, known on two nodes; then the end, on one of them.
async fn ends_everything_on_two_nodes(end: End) {
    let party = Party::new().await;
    let server = &party.server;
    let node = Node::beside(server).await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let password = "correct horse battery";
    let (here, there) = (browser(), browser());
    for http in [&here, &there] {
        assert_eq!(log_in(server, http, ("ada", password)).await.status, 303);
    }
    let introspected = async |token: &str| {
        let request = party
            .http
            .post(format!("{}/oauth/introspect", node.base))
            .basic_auth(&party.client_id, Some(&party.secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"));
        let body: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        body["active"].as_bool().unwrap()
    };
    let shown = async || {
        let page = there.get(format!("{}{PATH}", node.base)).send().await.unwrap();
        page.text()
            .await
            .unwrap()
            .contains("<h1>Change your password</h1>")
    };
    // Both nodes have all of it in memory.
    assert!(introspected(access).await && introspected(refresh).await && shown().await);
    let operations = &server.app.operations;
    let context = TestServer::context();
    match end {
        End::Page => assert_eq!(change(server, &here, (password, NEW, NEW)).await.status, 303),
        End::Administrator => operations
            .set_password(&context, party.subject, NEW.to_owned())
            .await
            .unwrap(),
        End::Disable => operations
            .disable_user(&context, party.subject, "test")
            .await
            .unwrap(),
        End::Erase => drop(operations.erase_user(&context, party.subject).await.unwrap()),
    }
    assert!(
        !introspected(access).await && !introspected(refresh).await,
        "{end:?}"
    );
    assert!(
        !party.is_active(access).await && !party.is_active(refresh).await,
        "{end:?}"
    );
    assert!(!shown().await, "{end:?}: the other session, on the other node");
    assert!(flow::get(server, &here, PATH).await.is_login_page(), "{end:?}");
    let response = party
        .http
        .post(format!("{}/oauth/token", node.base))
        .basic_auth(&party.client_id, Some(&party.secret))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("grant_type=refresh_token&refresh_token={refresh}"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400, "{end:?}");
    let error: serde_json::Value = response.json().await.unwrap();
    assert_eq!(text(&error, "error"), "invalid_grant");
}

#[tokio::test]
async fn the_password_page_ends_every_session_and_token_on_every_node() {
    ends_everything_on_two_nodes(End::Page).await;
}

#[tokio::test]
async fn a_password_set_by_an_administrator_ends_every_session_and_token_on_every_node() {
    ends_everything_on_two_nodes(End::Administrator).await;
}

#[tokio::test]
async fn disabling_a_user_ends_every_session_and_token_on_every_node() {
    ends_everything_on_two_nodes(End::Disable).await;
}

#[tokio::test]
async fn erasing_a_user_ends_every_session_and_token_on_every_node() {
    ends_everything_on_two_nodes(End::Erase).await;
}

#[tokio::test]
async fn what_is_not_said_to_be_a_form_is_refused_and_changes_nothing() {
    let party = Party::new().await;
    let server = &party.server;
    let http = browser();
    assert_eq!(log_in(server, &http, ("ada", PASSWORD)).await.status, 303);
    let token = flow::get(server, &http, PATH).await.hidden("form_token");
    let body = format!("step=password&form_token={token}&current={PASSWORD}&new={NEW}&again={NEW}");
    let client = server.client(flow::confidential()).await;
    let query = flow::query(&client);
    let authorize = format!("/oauth/authorize?{}", flow::encode(&query));
    let consent = flow::request(server, &http, &query).await;
    assert!(consent.is_consent_page(), "{}", consent.body);
    let (token, session) = (consent.hidden("form_token"), consent.hidden("session"));
    let approval = format!("step=consent&form_token={token}&session={session}&decision=approve");
    for content_type in [
        Some("text/plain"),
        Some("application/json"),
        Some("multipart/form-data; boundary=x"),
        Some("application/x-www-form-urlencoded; charset=utf-16"),
        None,
    ] {
        for (path, body) in [(PATH, &body), ("/logout", &body), (&authorize, &approval)] {
            let mut request = http.post(server.url(path)).body(body.clone());
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            let response = request.send().await.unwrap();
            assert_eq!(
                response.status(),
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{path} {content_type:?}"
            );
        }
    }
    // One that cannot be read is no fault of an application's.
    for (path, body) in [
        (PATH, &body),
        ("/account/applications", &body),
        ("/logout", &body),
        (&authorize, &approval),
    ] {
        let request = http
            .post(server.url(path))
            .body(format!("{body}&form_token=again"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.body.contains("That was not a form"), "{}", answer.body);
        assert!(
            !answer.body.contains("application and try again"),
            "{}",
            answer.body
        );
    }
    assert_eq!(count(server, "PasswordChanged").await, 0);
    assert_eq!(count(server, "SessionEnded").await, 0);
    assert_eq!(count(server, "CodeIssued").await, 0);
    let expected = ["wrong_content_type", "wrong_charset", "malformed_body"];
    assert!(
        reasons(server)
            .await
            .iter()
            .all(|reason| expected.contains(&reason.as_str()))
    );
    // As a form the same is an approval.
    let approved = flow::decide(server, &http, &query, (&consent, "approve")).await;
    assert!(approved.parameters().contains_key("code"));
    assert_eq!(count(server, "CodeIssued").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_is_not_called_wrong_at_the_account_while_guesses_wait() {
    let server = TestServer::start_with(|settings| settings.failures_per_minute = 3).await;
    server.user(USERNAME, PASSWORD).await;
    let server = std::sync::Arc::new(server);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..24 {
        let server = std::sync::Arc::clone(&server);
        // Each from a browser of its own.
        all.spawn(async move {
            let password = if number % 2 == 0 {
                "a wrong password"
            } else {
                PASSWORD
            };
            let answer = log_in(&server, &browser(), (USERNAME, password)).await;
            (password == PASSWORD, answer)
        });
    }
    for (right, answer) in all.join_all().await {
        let status = answer.status.as_u16();
        assert!(!right || matches!(status, 303 | 429), "{status}: {}", answer.body);
        assert_eq!(status == 429, answer.headers.contains_key("retry-after"));
    }
}
