//! Logging in and out: passwords, forged forms, floods, session fixation.

use super::{event_types, refusals};
use crate::flow::{self, PASSWORD, USERNAME};
use crate::harness::{TestServer, browser};

#[tokio::test]
async fn a_login_that_fails_says_nothing_about_why() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let disabled = server.user("carol", "carol's long password").await;
    let operations = &server.app.operations;
    operations
        .disable_user(&TestServer::context(), disabled, "test")
        .await
        .unwrap();
    let query = flow::query(&client);
    let mut texts = Vec::new();
    for (username, password) in [
        (USERNAME, "wrong password"),
        ("mallory", PASSWORD),
        ("carol", "not carol's password"),
    ] {
        let answer = flow::log_in(&server, &browser(), &query, (username, password)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.location()),
            (403, None),
            "{username}"
        );
        assert!(
            answer.body.contains(&format!("value=\"{username}\"")),
            "the name is kept"
        );
        assert!(!answer.body.contains(password), "the password is not");
        assert!(answer.body.contains("id=\"login-problem\" role=\"alert\""));
        assert!(
            answer
                .body
                .contains("aria-describedby=\"login-problem\" aria-invalid=\"true\"")
        );
        assert!(
            !answer.headers.contains_key("set-cookie"),
            "no session, and the form's cookie is there"
        );
        let token = answer.hidden("form_token");
        texts.push(answer.body.replace(username, "NAME").replace(&token, "TOKEN"));
    }
    assert!(
        texts.iter().all(|text| *text == texts[0]),
        "the three pages are the same"
    );
    let recorded = refusals(&server.database.owner().await).await;
    let expected = ["wrong_password", "unknown_user", "wrong_password"];
    assert_eq!(
        recorded,
        expected.map(|reason| ("access_denied".to_owned(), reason.to_owned()))
    );
    let answer = flow::log_in(&server, &browser(), &query, (USERNAME, "")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("Enter your user name and your password."));
}

#[tokio::test]
async fn a_login_form_from_elsewhere_is_refused() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let query = flow::query(&client);
    let (ours, theirs) = (browser(), browser());
    let theirs = flow::request(&server, &theirs, &query).await.hidden("form_token");
    let other_query = flow::with(&query, &[("state", "other")]);
    let other = flow::request(&server, &ours, &other_query)
        .await
        .hidden("form_token");
    let login = |token: &str| {
        let fields = [
            ("step", "login"),
            ("form_token", token),
            ("username", USERNAME),
            ("password", PASSWORD),
        ];
        fields.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    for (what, token) in [
        ("another browser's", theirs.as_str()),
        ("another request's", other.as_str()),
        ("none", ""),
        ("rubbish", "00"),
    ] {
        let fields = login(token);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let answer = flow::post(&server, &ours, &query, &fields).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (403, None), "{what}");
        assert!(
            answer.is_login_page() && !answer.hidden("form_token").is_empty(),
            "a fresh form"
        );
    }
    let stranger = browser();
    let fields = login(&theirs);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let answer = flow::post(&server, &stranger, &query, &fields).await;
    assert_eq!(answer.status, 403, "no cookie at all");
    let pool = server.database.owner().await;
    assert!(!event_types(&pool).await.contains(&"SessionStarted".to_owned()));
    assert!(
        refusals(&pool)
            .await
            .iter()
            .all(|(_, reason)| reason == "form_token_wrong")
    );
}

#[tokio::test]
async fn a_consent_form_from_elsewhere_is_refused() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    server.user("mallory", "mallory's password").await;
    let query = flow::query(&client);
    let (alice, mallory) = (browser(), browser());
    flow::log_in(&server, &alice, &query, (USERNAME, PASSWORD)).await;
    flow::log_in(&server, &mallory, &query, ("mallory", "mallory's password")).await;
    let page = flow::request(&server, &alice, &query).await;
    let hers = flow::request(&server, &mallory, &query).await;
    let other_query = flow::with(&query, &[("scope", "server-operations")]);
    let other = flow::request(&server, &alice, &other_query).await;
    let (session, token) = (page.hidden("session"), page.hidden("form_token"));
    for (what, session, token, decision) in [
        ("no token", session.as_str(), "", "approve"),
        (
            "another user's form",
            &hers.hidden("session"),
            hers.hidden("form_token").as_str(),
            "approve",
        ),
        (
            "another user's token",
            &session,
            hers.hidden("form_token").as_str(),
            "approve",
        ),
        (
            "another request's token",
            &session,
            other.hidden("form_token").as_str(),
            "approve",
        ),
        ("no such decision", &session, &token, "perhaps"),
    ] {
        let fields = [
            ("step", "consent"),
            ("session", session),
            ("form_token", token),
            ("decision", decision),
        ];
        let answer = flow::post(&server, &alice, &query, &fields).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (403, None), "{what}");
        assert!(answer.is_consent_page(), "{what}");
    }
    let types = event_types(&server.database.owner().await).await;
    assert!(!types.contains(&"CodeIssued".to_owned()) && !types.contains(&"ConsentGiven".to_owned()));
}

#[tokio::test]
async fn a_flood_of_logins_is_stopped() {
    let server = TestServer::start_with(|settings| settings.failures_per_minute = 3).await;
    let client = flow::client_and_user(&server).await;
    let (browser, query) = (browser(), flow::query(&client));
    for _ in 0..3 {
        let answer = flow::log_in(&server, &browser, &query, (USERNAME, "wrong password")).await;
        assert_eq!(answer.status, 403);
    }
    let answer = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    assert_eq!(answer.status, 429);
    let seconds: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds) && answer.is_login_page());
    server.clock.advance(std::time::Duration::from_secs(61));
    let answer = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    assert_eq!(answer.status, 303);
    let recorded = refusals(&server.database.owner().await).await;
    assert_eq!(
        recorded[3],
        ("access_denied".to_owned(), "too_many_failures".to_owned())
    );
}

/// The value that a `Set-Cookie` of that name gives.
fn cookie(answer: &flow::Answer, name: &str) -> Option<String> {
    let start = format!("{name}=");
    let cookies = answer.headers.get_all("set-cookie").iter();
    cookies
        .map(|cookie| cookie.to_str().unwrap())
        .find_map(|cookie| cookie.strip_prefix(&start))
        .map(str::to_owned)
}

#[tokio::test]
async fn a_session_cookie_is_worth_nothing_after_the_next_login() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    server.user("bob", "bob's long password").await;
    let (browser, query) = (browser(), flow::query(&client));
    let again = flow::with(&query, &[("prompt", "login")]);
    let mut worthless = Vec::new();
    for user in [
        (USERNAME, PASSWORD),
        (USERNAME, PASSWORD),
        ("bob", "bob's long password"),
    ] {
        let answer = flow::log_in(&server, &browser, &again, user).await;
        let set = cookie(&answer, "grantlog_session").unwrap();
        worthless.push(set.split_once(';').unwrap().0.to_owned());
    }
    let live = worthless.pop().unwrap();
    let shown = async |cookie: String| {
        let url = server.url(&format!("/oauth/authorize?{}", flow::encode(&query)));
        let request = reqwest::Client::new()
            .get(url)
            .header("cookie", format!("x=y; grantlog_session={cookie}"));
        request.send().await.unwrap().text().await.unwrap()
    };
    assert!(shown(live).await.contains("<bdi>bob</bdi>"));
    for cookie in worthless {
        assert!(shown(cookie).await.contains("<h1>Log in</h1>"));
    }
    let types = event_types(&server.database.owner().await).await;
    let count = |name: &str| types.iter().filter(|found| *found == name).count();
    let counts = ["SessionStarted", "SessionReauthenticated", "SessionEnded"].map(count);
    assert_eq!(counts, [2, 1, 1]);
}

#[tokio::test]
async fn a_changed_password_or_a_disabled_user_ends_the_login() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let query = flow::query(&client);
    let operations = &server.app.operations;
    let subject = operations.find_user(USERNAME).await.unwrap().unwrap();
    let browser = browser();
    flow::authorize(&server, &browser, &query).await;
    operations
        .set_password(&TestServer::context(), subject, "another password".into())
        .await
        .unwrap();
    assert!(flow::request(&server, &browser, &query).await.is_login_page());
    let answer = flow::log_in(&server, &browser, &query, (USERNAME, "another password")).await;
    assert!(
        flow::follow(&server, &browser, &answer)
            .await
            .parameters()
            .contains_key("code")
    );
    operations
        .disable_user(&TestServer::context(), subject, "test")
        .await
        .unwrap();
    assert!(flow::request(&server, &browser, &query).await.is_login_page());
    let none = flow::with(&query, &[("prompt", "none")]);
    let answer = flow::request(&server, &browser, &none).await.parameters();
    assert_eq!(answer["error"], "login_required");
}

#[tokio::test]
async fn behind_https_cookies_are_bound_to_the_host() {
    let server = TestServer::start_with(|settings| settings.issuer = "https://id.example".into()).await;
    let client = flow::client_and_user(&server).await;
    let query = flow::query(&client);
    // A browser that keeps no cookies: these may not be sent back over HTTP.
    let page = flow::request(&server, &reqwest::Client::new(), &query).await;
    let mark = cookie(&page, "__Host-grantlog_form").unwrap();
    let (mark, attributes) = mark.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax; Secure");
    let browser = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .default_headers(
            [(
                reqwest::header::COOKIE,
                format!("__Host-grantlog_form={mark}").parse().unwrap(),
            )]
            .into_iter()
            .collect(),
        )
        .build()
        .unwrap();
    let answer = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    assert_eq!(answer.status, 303);
    let session = cookie(&answer, "__Host-grantlog_session").unwrap();
    let (value, attributes) = session.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax; Secure");
    let pool = server.database.owner().await;
    let found: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM grantlog.ledger WHERE strpos(payload::text, $1) > 0 OR strpos(metadata::text, $1) > 0",
    )
    .bind(&value[24..])
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(found, 0, "the ledger has only the digest");
}

#[tokio::test]
async fn logging_out_asks_first_and_ends_the_session() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let (browser, query) = (browser(), flow::query(&client));
    assert!(
        flow::get(&server, &browser, "/logout")
            .await
            .body
            .contains("You are logged out")
    );
    flow::authorize(&server, &browser, &query).await;
    let page = flow::get(&server, &browser, "/logout").await;
    assert!(page.body.contains("<h1>Log out?</h1>") && page.body.contains("<bdi>alice</bdi>"));
    let token = page.hidden("form_token");
    let submit = async |token: &str| {
        let request = browser.post(server.url("/logout"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(format!("form_token={token}")).send().await.unwrap()
    };
    assert_eq!(submit("").await.status(), 403);
    assert!(
        flow::request(&server, &browser, &query)
            .await
            .parameters()
            .contains_key("code")
    );
    let response = submit(&token).await;
    assert_eq!(response.status(), 303);
    let cleared = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert_eq!(
        cleared,
        "grantlog_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
    );
    assert!(flow::request(&server, &browser, &query).await.is_login_page());
    let pool = server.database.owner().await;
    assert!(event_types(&pool).await.contains(&"SessionEnded".to_owned()));
    assert_eq!(
        refusals(&pool).await,
        [("invalid_request".to_owned(), "form_token_wrong".to_owned())]
    );
}
