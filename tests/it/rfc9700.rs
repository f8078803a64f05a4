//! The attacks of RFC 9700 §4, and what becomes of each here.

use std::net::IpAddr;

use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use crate::flow::{self, Answer, PASSWORD, REDIRECT_URI, USERNAME, with};
use crate::harness::{TestServer, browser};
use crate::rfc6749::post_as;
use crate::token::{Party, error, text};

async fn redeem(server: &TestServer, client: &CreatedClient, form: &[(&str, &str)]) -> (u16, Value) {
    let basic = (
        client.client_id.as_str(),
        client.client_secret.as_deref().unwrap(),
    );
    let mut form = form.to_vec();
    form.push(("grant_type", "authorization_code"));
    if !form.iter().any(|(name, _)| *name == "redirect_uri") {
        form.push(("redirect_uri", REDIRECT_URI));
    }
    post_as((server, "/oauth/token"), Some(basic), &form).await
}

/// §4.4, RFC 9207 §2: a client of several servers is told by every answer which of them it is from.
#[tokio::test]
async fn every_answer_names_its_issuer_however_it_comes() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    flow::authorize(&server, &browser, &query).await;
    let issuer: String = url::form_urlencoded::byte_serialize(server.base.as_bytes()).collect();
    for (changes, what) in [
        (&[][..], "code="),
        (&[("scope", "unknown")], "error=invalid_scope"),
        (
            &[("prompt", "none"), ("scope", "server-operations")],
            "error=consent_required",
        ),
    ] {
        for mode in ["query", "fragment"] {
            let query = with(&with(&query, changes), &[("response_mode", mode)]);
            let answer = flow::request(&server, &browser, &query).await;
            let location = answer.location().unwrap();
            assert!(location.contains(what), "{location}");
            assert_eq!(
                location.matches(&format!("iss={issuer}")).count(),
                1,
                "{location}"
            );
        }
        let query = with(&with(&query, changes), &[("response_mode", "form_post")]);
        assert_eq!(
            flow::request(&server, &browser, &query).await.hidden("iss"),
            server.base
        );
    }
    let metadata: Value = reqwest::get(server.url("/.well-known/oauth-authorization-server"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        metadata["issuer"],
        server.base.as_str(),
        "and that is the metadata's issuer"
    );
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
}

/// §4.5: a code that was stolen from one flow is injected into another flow of the same client.
#[tokio::test]
async fn a_stolen_code_is_worth_nothing_in_another_flow() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let stolen = flow::authorize(&server, &browser(), &flow::query(&client)).await;
    // The thief's own flow, in which the client made another verifier.
    let verifier = "the-verifier-of-another-flow-of-the-client-0";
    let form = [("code", stolen["code"].as_str()), ("code_verifier", verifier)];
    assert_eq!(
        error(&redeem(&server, &client, &form).await),
        (400, "invalid_grant")
    );
    let form = [
        ("code", stolen["code"].as_str()),
        ("code_verifier", flow::VERIFIER),
    ];
    assert_eq!(redeem(&server, &client, &form).await.0, 200);
}

/// §2.1.1, §4.8.2: the challenge is taken out of the request on its way; or the verifier out of the exchange.
#[tokio::test]
async fn pkce_cannot_be_taken_out_on_the_way() {
    let server = TestServer::start().await;
    server.user(USERNAME, PASSWORD).await;
    let browser = browser();
    let strict = server.client(flow::confidential()).await;
    let mut metadata = flow::confidential();
    metadata["legacy"] = json!(true);
    // One that may go without, and does not.
    let legacy = server.client(metadata).await;
    let without = [("code_challenge", ""), ("code_challenge_method", "")];
    let returned = flow::request(&server, &browser, &with(&flow::query(&strict), &without)).await;
    assert_eq!(returned.parameters()["error"], "invalid_request");
    let returned = flow::authorize(&server, &browser, &with(&flow::query(&legacy), &without)).await;
    let form = [
        ("code", returned["code"].as_str()),
        ("code_verifier", flow::VERIFIER),
    ];
    assert_eq!(
        error(&redeem(&server, &legacy, &form).await),
        (400, "invalid_grant")
    );
    let returned = flow::authorize(&server, &browser, &flow::query(&legacy)).await;
    let form = [("code", returned["code"].as_str())];
    assert_eq!(
        error(&redeem(&server, &legacy, &form).await),
        (400, "invalid_grant")
    );
}

/// §4.12, OpenID Connect Core §16.22: no redirect has the browser repeat a password at the other end.
#[tokio::test]
async fn every_redirect_after_a_form_is_a_303() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let login = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    let page = flow::follow(&server, &browser, &login).await;
    let approved = flow::decide(&server, &browser, &query, (&page, "approve")).await;
    let consent = with(&query, &[("prompt", "consent")]);
    let page = flow::request(&server, &browser, &consent).await;
    let switched = flow::decide(&server, &browser, &consent, (&page, "switch")).await;
    flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    let page = flow::request(&server, &browser, &consent).await;
    let denied = flow::decide(&server, &browser, &consent, (&page, "deny")).await;
    let posted = flow::encode(&query);
    let posted: Vec<(&str, &str)> = vec![("x", &posted)];
    let posted = flow::post(&server, &browser, &Vec::new(), &posted).await;
    for answer in [&login, &approved, &switched, &denied, &posted] {
        assert_eq!(answer.status, 303, "{}", answer.body);
        assert!(answer.body.is_empty(), "{}", answer.body);
    }
}

/// §4.2, §4.3, §4.16: pages are in no frame, in no cache, and their address is told to nobody.
#[tokio::test]
async fn no_page_can_be_framed_or_tells_its_address() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let mut pages: Vec<(&str, Answer)> = Vec::new();
    for path in [
        "/oauth/authorize",
        "/oauth/logout?state=a&state=b",
        "/account",
        "/account/password",
    ] {
        pages.push((path, flow::get(&server, &browser, path).await));
    }
    pages.push(("login", flow::request(&server, &browser, &query).await));
    let after = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    pages.push(("consent", flow::follow(&server, &browser, &after).await));
    for path in [
        "/logout",
        "/oauth/logout",
        "/oauth/device",
        "/account",
        "/account/applications",
        "/account/sessions",
        "/account/password",
    ] {
        pages.push((path, flow::get(&server, &browser, path).await));
    }
    let posts = with(&query, &[("response_mode", "form_post"), ("scope", "unknown")]);
    pages.push(("form_post", flow::request(&server, &browser, &posts).await));
    pages.push(("after the login", after));
    for (what, page) in pages {
        let header = |name: &str| page.headers[name].to_str().unwrap();
        assert_eq!(header("x-frame-options"), "DENY", "{what}");
        let policy = header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
        assert!(policy.starts_with("default-src 'none'"), "{what}: {policy}");
        assert_eq!(header("cache-control"), "no-store", "{what}");
        // `strict-origin`, of the page that posts itself, tells the issuer's name alone.
        let expected = if what == "form_post" {
            "strict-origin"
        } else {
            "same-origin"
        };
        assert_eq!(header("referrer-policy"), expected, "{what}");
    }
}

/// §4.3.2, RFC 6750 §2.3: an address is in histories and logs, so a token in it opens nothing.
#[tokio::test]
async fn a_token_in_the_address_opens_nothing() {
    let party = Party::new().await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let token = text(&tokens, "access_token");
    assert_eq!(party.api("/api/user", token).await.0, 200);
    for path in ["/api/user", "/oauth/userinfo"] {
        let url = party.server.url(&format!("{path}?access_token={token}"));
        let answer = party.http.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(
            challenge.starts_with("Bearer ") && !challenge.contains("error="),
            "{challenge}"
        );
    }
    // Nor is a form of the API's looked at: only UserInfo has one (OpenID Connect Core §5.3.1).
    let form = party
        .http
        .get(party.server.url("/api/user"))
        .form(&[("access_token", token)]);
    assert_eq!(form.send().await.unwrap().status(), 401);
}

/// §4.13: what a request says of its host and scheme is not who the server is.
#[tokio::test]
async fn no_header_says_who_the_server_is() {
    let server = TestServer::start_with(|settings| {
        settings.trusted_proxies = vec![IpAddr::from([127, 0, 0, 1])];
    })
    .await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let forged = |request: reqwest::RequestBuilder| {
        request
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "gopher")
            .header("x-original-url", "/admin")
            .header("forwarded", "host=evil.example;proto=gopher")
    };
    for path in ["/.well-known/oauth-authorization-server", "/oauth/jwks"] {
        let honest = browser
            .get(server.url(path))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let answer = forged(browser.get(server.url(path))).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), honest, "{path}");
    }
    let query = with(&flow::query(&client), &[("prompt", "none")]);
    let url = server.url(&format!("/oauth/authorize?{}", flow::encode(&query)));
    let answer = forged(browser.get(url)).send().await.unwrap();
    let location = answer.headers()["location"].to_str().unwrap();
    assert!(
        location.starts_with(REDIRECT_URI) && !location.contains("evil"),
        "{location}"
    );
    let url = server.url(&format!(
        "/oauth/authorize?{}",
        flow::encode(&flow::query(&client))
    ));
    let page = forged(browser.get(url))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        page.contains("<h1>Log in</h1>") && !page.contains("evil.example"),
        "{page}"
    );
}

/// §4.13: guesses are counted by the address that the proxy vouches for, and by no other that the caller writes.
#[tokio::test]
async fn a_caller_cannot_write_its_own_address() {
    let server = TestServer::start_with(|settings| settings.failures_per_minute = 3).await;
    let client = server.client(flow::confidential()).await;
    let mut statuses = Vec::new();
    for number in 0..6 {
        let request = browser()
            .post(server.url("/oauth/token"))
            .basic_auth(&client.client_id, Some("a wrong secret of some length"))
            .header("x-forwarded-for", format!("203.0.113.{number}"))
            .header("forwarded", format!("for=203.0.113.{number}"))
            .header("x-real-ip", format!("203.0.113.{number}"))
            .form(&[("grant_type", "client_credentials")]);
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429, 429]);
}

/// §4.15: the token of a client that acts for itself is told from a user's.
#[tokio::test]
async fn a_clients_own_token_is_not_taken_for_a_users() {
    let party = Party::new().await;
    let form = [("grant_type", "client_credentials"), ("scope", "view-user")];
    let (_, tokens) = party.post("/oauth/token", &form).await;
    let claims = crate::tokens::part(text(&tokens, "access_token"), 1);
    assert_eq!(claims["sub"], claims["client_id"]);
    assert_ne!(claims["sub"], party.subject.to_string());
    let answer = party.api("/api/user", text(&tokens, "access_token")).await;
    assert_eq!(error(&answer), (403, "permission_denied"));
    // Nor is a user's id the name of a client.
    let form = [("grant_type", "client_credentials")];
    let subject = party.subject.to_string();
    let answer = post_as((&party.server, "/oauth/token"), Some((&subject, "x")), &form).await;
    assert_eq!(error(&answer), (401, "invalid_client"));
}

/// §2.1.2: no token comes through the browser.
#[tokio::test]
async fn no_response_type_gives_a_token_to_the_browser() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    flow::authorize(&server, &browser, &flow::query(&client)).await;
    for kind in [
        "token",
        "id_token",
        "id_token token",
        "token id_token",
        "code token",
        "code id_token",
        "code id_token token",
        "none",
        "code code",
    ] {
        let query = with(&flow::query(&client), &[("response_type", kind)]);
        let returned = flow::request(&server, &browser, &query).await.parameters();
        assert_eq!(returned["error"], "unsupported_response_type", "{kind}");
        for token in ["access_token", "id_token", "code"] {
            assert!(!returned.contains_key(token), "{kind}");
        }
    }
}

/// A client that registered itself, its secret, and a good request of it.
pub(crate) async fn self_registered(server: &TestServer) -> (CreatedClient, flow::Query) {
    let metadata = json!({
        "redirect_uris": ["https://phish.example/cb"], "scope": "openid profile",
        "post_logout_redirect_uris": ["https://phish.example/bye"], "id_token_signed_response_alg": "ES256",
    });
    let answer = crate::registration::register(server, None, &metadata).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let client = CreatedClient {
        key: grantlog::ids::ClientKey(text(&answer.body, "client_id").parse().unwrap()),
        client_id: text(&answer.body, "client_id").to_owned(),
        client_secret: Some(text(&answer.body, "client_secret").to_owned()),
    };
    let good = with(
        &flow::query(&client),
        &[("redirect_uri", "https://phish.example/cb"), ("scope", "openid")],
    );
    (client, good)
}

/// §4.11.2: a login that is over is none.
#[tokio::test]
async fn nobody_whose_login_is_over_is_sent_unasked_to_a_client_that_registered_itself() {
    let server = crate::registration::open().await;
    let subject = server.user(USERNAME, PASSWORD).await;
    let (_, good) = self_registered(&server).await;
    let bad = with(&good, &[("scope", "unheard-of")]);
    let (late, outdated) = (browser(), browser());
    flow::log_in(&server, &late, &good, (USERNAME, PASSWORD)).await;
    assert_eq!(flow::request(&server, &late, &bad).await.status, 303);
    server.clock.advance(std::time::Duration::from_secs(43_201));
    flow::log_in(&server, &outdated, &good, (USERNAME, PASSWORD)).await;
    assert_eq!(flow::request(&server, &outdated, &bad).await.status, 303);
    let (operations, context) = (&server.app.operations, TestServer::context());
    operations
        .set_password(&context, subject, "another password".to_owned())
        .await
        .unwrap();
    for (was_there, why) in [(late, "expired"), (outdated, "the password changed")] {
        let page = flow::request(&server, &was_there, &bad).await;
        assert_eq!((page.status.as_u16(), page.location()), (400, None), "{why}");
    }
}

/// §4.11.2: an attacker has an account here, too, and so an ID token to put into a link.
#[tokio::test]
async fn an_id_token_in_a_link_sends_nobody_to_a_client_that_registered_itself() {
    let server = crate::registration::open().await;
    server.user(USERNAME, PASSWORD).await;
    let (client, good) = self_registered(&server).await;
    let (owner, stranger) = (browser(), browser());
    let code = flow::authorize(&server, &owner, &good).await["code"].clone();
    let form = [
        ("redirect_uri", "https://phish.example/cb"),
        ("code", &code),
        ("code_verifier", flow::VERIFIER),
    ];
    let (status, tokens) = redeem(&server, &client, &form).await;
    assert_eq!(status, 200, "{tokens}");
    let leaving = [
        ("id_token_hint", text(&tokens, "id_token")),
        ("post_logout_redirect_uri", "https://phish.example/bye"),
    ];
    let leaving = leaving.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let path = format!("/oauth/logout?{}", flow::encode(&leaving.into()));
    let page = flow::get(&server, &stranger, &path).await;
    assert_eq!((page.status.as_u16(), page.location()), (200, None));
    let link = "<a href=\"https://phish.example/bye\"";
    assert!(page.body.contains(link), "{}", page.body);
    // The user whose login the token is of goes at once.
    let gone = flow::get(&server, &owner, &path).await;
    assert_eq!(gone.location(), Some("https://phish.example/bye"));
    // Whoever has another login is asked first.
    flow::log_in(&server, &stranger, &good, (USERNAME, PASSWORD)).await;
    let page = flow::get(&server, &stranger, &path).await;
    assert_eq!((page.status.as_u16(), page.location()), (200, None));
    assert!(page.body.contains("Log out?"), "{}", page.body);
}

/// §4.11.2: whoever registers a client may not use this server's name to send people wherever they like.
#[tokio::test]
async fn nobody_is_sent_unasked_to_a_client_that_registered_itself() {
    let server = crate::registration::open().await;
    server.user(USERNAME, PASSWORD).await;
    let (_, good) = self_registered(&server).await;
    let bad = with(&good, &[("scope", "unheard-of")]);
    let stranger = browser();
    for mode in ["query", "fragment"] {
        let page = flow::request(&server, &stranger, &with(&bad, &[("response_mode", mode)])).await;
        assert_eq!((page.status.as_u16(), page.location()), (400, None), "{mode}");
        let mark = if mode == "query" { '?' } else { '#' };
        let link = format!("<a href=\"https://phish.example/cb{mark}error=invalid_scope&amp;");
        assert!(page.body.contains(&link), "{}", page.body);
        assert!(
            page.body.contains("nobody at this server has checked"),
            "{}",
            page.body
        );
        assert!(!page.body.contains("<script") && !page.body.contains("http-equiv"));
    }
    for mode in ["form_post", "form_post.jwt"] {
        let page = flow::request(&server, &stranger, &with(&bad, &[("response_mode", mode)])).await;
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("script-src"),
            "{policy}"
        );
        assert_eq!(page.status, 400);
        for shown in [
            "<form method=\"post\" action=\"https://phish.example/cb\">",
            "Go to <bdi>phish.example</bdi></button>",
            "nobody at this server has checked",
        ] {
            assert!(page.body.contains(shown), "{mode}, {shown}: {}", page.body);
        }
        assert!(!page.body.contains("sent back now") && !page.body.contains("<script"));
        if mode == "form_post" {
            assert_eq!(page.hidden("error"), "invalid_scope");
        } else {
            assert!(page.hidden("response").contains('.') && !page.body.contains("name=\"error\""));
        }
    }
    // A link to a logout leads nobody there either.
    let (leaver, _) = self_registered(&server).await;
    let leaving = [
        ("client_id".to_owned(), leaver.client_id.clone()),
        (
            "post_logout_redirect_uri".to_owned(),
            "https://phish.example/bye".to_owned(),
        ),
    ];
    let path = format!("/oauth/logout?{}", flow::encode(&leaving.into()));
    let page = flow::get(&server, &stranger, &path).await;
    assert_eq!((page.status.as_u16(), page.location()), (200, None));
    assert!(
        page.body.contains("<a href=\"https://phish.example/bye\""),
        "{}",
        page.body
    );
    let head = stranger.head(server.url(&path)).send().await.unwrap();
    assert_eq!(head.status(), 405);
    let operations = &server.app.operations;
    let context = TestServer::context();
    let suspend = grantlog::domain::client::ClientCommand::Suspend {
        reason: "phishing".to_owned(),
    };
    operations
        .command_client(&context, leaver.key, &suspend)
        .await
        .unwrap();
    let page = flow::get(&server, &stranger, &path).await;
    assert!(!page.body.contains("phish.example"), "{}", page.body);
    // Silence is answered in silence, and whoever has logged in goes where the application says.
    let silent = flow::request(&server, &stranger, &with(&good, &[("prompt", "none")])).await;
    assert_eq!(silent.parameters()["error"], "login_required");
    let user = browser();
    flow::log_in(&server, &user, &good, (USERNAME, PASSWORD)).await;
    let returned = flow::request(&server, &user, &bad).await;
    assert_eq!(returned.parameters()["error"], "invalid_scope");
    // Where an administrator registered the client, its redirect URI was seen by somebody.
    let known = flow::query(&server.client(flow::confidential()).await);
    let returned = flow::request(&server, &stranger, &with(&known, &[("scope", "unheard-of")])).await;
    assert_eq!(returned.parameters()["error"], "invalid_scope");
}
