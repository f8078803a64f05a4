//! What the pages are made of: nothing of what strangers wrote runs, nothing secret is in them.

use serde_json::json;

use crate::flow::{self, PASSWORD, USERNAME};
use crate::harness::{TestServer, browser};

const ATTACK: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&";

#[tokio::test]
async fn what_strangers_wrote_is_text() {
    let server = TestServer::start().await;
    server.user(USERNAME, PASSWORD).await;
    let mut metadata = flow::confidential();
    metadata["client_name"] = json!(format!("Evil{ATTACK}"));
    metadata["home_page_url"] = json!("https://app.example/'onmouseover='alert(2)'&lt;script");
    let client = server.client(metadata).await;
    let (browser, query) = (browser(), flow::with(&flow::query(&client), &[("state", ATTACK)]));
    let login = flow::request(&server, &browser, &query).await;
    let wrong = flow::log_in(&server, &browser, &query, (ATTACK, "wrong password")).await;
    assert!(
        wrong.body.contains("value=\"&quot;&gt;&lt;script&gt;"),
        "the name is kept, escaped"
    );
    let raw = format!(
        "/oauth/authorize?client_id={}&x=%22><script>alert(1)</script>",
        client.client_id
    );
    let raw = flow::get(&server, &browser, &raw).await;
    let after = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    let consent = flow::follow(&server, &browser, &after).await;
    assert!(login.is_login_page() && consent.is_consent_page());
    assert!(
        consent.body.contains("&amp;lt;script"),
        "a URL has no quotes, and is escaped like the rest"
    );
    for page in [&login, &wrong, &raw, &consent] {
        assert!(
            !page.body.contains("<script") && !page.body.contains("<img"),
            "{}",
            page.body
        );
        assert!(!page.body.contains(PASSWORD));
    }
    let answer = flow::decide(&server, &browser, &query, (&consent, "approve")).await;
    assert_eq!(answer.parameters()["state"], ATTACK);
}

#[tokio::test]
async fn pages_are_not_framed_stored_sniffed_or_scripted() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let (browser, query) = (browser(), flow::query(&client));
    let login = flow::request(&server, &browser, &query).await;
    let after = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    let consent = flow::follow(&server, &browser, &after).await;
    let logout = flow::get(&server, &browser, "/logout").await;
    let error = flow::get(&server, &browser, "/oauth/authorize").await;
    for (page, forms) in [
        (&login, ""),
        (&consent, ""),
        (&logout, "; form-action 'self'"),
        (&error, "; form-action 'none'"),
    ] {
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        let start = "default-src 'none'; style-src 'sha256-";
        let end = format!("'; base-uri 'none'; frame-ancestors 'none'{forms}");
        assert!(policy.starts_with(start) && policy.ends_with(&end), "{policy}");
        assert!(page.body.starts_with("<!DOCTYPE html><html lang=\"en\">"));
        assert_eq!(page.body.matches("<h1").count(), 1);
        assert!(
            !page.body.contains("style=") && !page.body.contains(" on"),
            "no inline code"
        );
    }
    for answer in [&login, &after, &consent, &logout, &error] {
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("pragma", "no-cache"),
        ] {
            assert_eq!(answer.headers[name], value, "{name}");
        }
    }
}

#[tokio::test]
async fn the_consent_page_says_who_asks_for_what_of_whom() {
    let server = TestServer::start().await;
    server.user(USERNAME, PASSWORD).await;
    let mut metadata = flow::confidential();
    metadata["home_page_url"] = json!("https://app.example/");
    metadata["privacy_policy_url"] = json!("https://app.example/privacy");
    metadata["logo_url"] = json!("https://cdn.example/logo.png");
    let client = server.client(metadata).await;
    let (browser, query) = (browser(), flow::query(&client));
    let query = flow::with(&query, &[("scope", "view-user server-operations")]);
    let after = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    let page = flow::follow(&server, &browser, &after).await;
    for said in [
        "<h1><bdi>Example App</bdi> asks for access</h1>",
        "<bdi>alice</bdi>",
        "<bdi>alice Example</bdi>",
        "<li><span><bdi>See your name and user name</bdi></span> <code>view-user</code></li>",
        "<li><span><bdi>Operate servers</bdi></span> <code>server-operations</code></li>",
        "<bdi>app.example</bdi>",
        "href=\"https://app.example/privacy\" target=\"_blank\" rel=\"noreferrer noopener\"",
        "name=\"decision\" value=\"approve\"",
        "name=\"decision\" value=\"deny\"",
        "<img class=\"logo\" src=\"https://cdn.example/logo.png\" alt=\"\" width=\"48\" height=\"48\" \
         referrerpolicy=\"no-referrer\">",
    ] {
        assert!(page.body.contains(said), "{said} in {}", page.body);
    }
    assert!(!page.body.contains("in development"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("; img-src https://cdn.example; base-uri"),
        "{policy}"
    );
}

#[tokio::test]
async fn a_logo_that_would_be_fetched_in_clear_is_a_letter() {
    let server = TestServer::start().await;
    server.user(USERNAME, PASSWORD).await;
    for logo in ["http://cdn.example/logo.png", "https://[2001:db8::1]/logo.png"] {
        let mut metadata = flow::confidential();
        metadata["logo_url"] = json!(logo);
        let query = flow::query(&server.client(metadata).await);
        let browser = browser();
        let after = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
        let page = flow::follow(&server, &browser, &after).await;
        assert!(
            page.is_consent_page() && !page.body.contains("<img"),
            "{}",
            page.body
        );
        assert!(
            page.body
                .contains("<div class=\"monogram\" aria-hidden=\"true\">E</div>")
        );
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(!policy.contains("img-src"), "{policy}");
    }
}

#[tokio::test]
async fn a_name_cannot_steer_the_page() {
    let server = TestServer::start().await;
    let operations = &server.app.operations;
    for steering in [
        "Safe\u{202e}knaB",
        "Bank\u{2067}",
        "Bank\u{200f}",
        "Bank\u{1b}[31m",
        "Bank\n",
    ] {
        let mut metadata = flow::confidential();
        metadata["client_name"] = json!(format!("{steering}x"));
        let registration = serde_json::from_value(metadata).unwrap();
        let refused = operations
            .create_client(&TestServer::context(), registration)
            .await;
        assert!(
            refused.unwrap_err().to_string().contains("client_name"),
            "{steering:?}"
        );
        let refused = operations
            .define_scope(&TestServer::context(), "s", steering, false)
            .await;
        assert!(refused.is_err(), "{steering:?}");
    }
    // A name that is written from right to left is one word among ours.
    let mut metadata = flow::confidential();
    metadata["client_name"] = json!("\u{5d0}\u{5d1}\u{5d2} Bank");
    let client = server.client(metadata).await;
    let query = flow::query(&client);
    server.user(USERNAME, PASSWORD).await;
    let browser = browser();
    let login = flow::log_in(&server, &browser, &query, (USERNAME, PASSWORD)).await;
    let page = flow::follow(&server, &browser, &login).await.body;
    assert!(
        page.contains("<title>\u{2068}\u{5d0}\u{5d1}\u{5d2} Bank\u{2069} asks for access</title>"),
        "{page}"
    );
    assert!(page.contains("<h1><bdi>\u{5d0}\u{5d1}\u{5d2} Bank</bdi> asks for access</h1>"));
}

#[tokio::test]
async fn a_form_that_the_browser_says_is_another_sites_is_refused() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let token = flow::request(&server, &browser, &query)
        .await
        .hidden("form_token");
    let url = server.url(&format!("/oauth/authorize?{}", flow::encode(&query)));
    let send = async |path: &str, header: (&str, &str)| {
        let fields = [
            ("step", "login"),
            ("form_token", &token),
            ("username", USERNAME),
            ("password", PASSWORD),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = browser
            .post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header(header.0, header.1)
            .body(body);
        request.send().await.unwrap()
    };
    for path in [
        url.as_str(),
        &server.url("/logout"),
        &server.url("/account/password"),
    ] {
        for header in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let answer = send(path, header).await;
            assert_eq!(answer.status(), 403, "{path} {header:?}");
            assert!(!answer.headers().contains_key("set-cookie"), "{path} {header:?}");
            let body = answer.text().await.unwrap();
            assert!(
                body.contains("<h1>This form came from another site</h1>"),
                "{body}"
            );
        }
    }
    let recorded = super::refusals(&server.database.owner().await).await;
    assert_eq!(recorded.len(), 9);
    assert!(recorded.iter().all(|(_, reason)| reason == "cross_site_form"));
    let ours = server.base.clone();
    assert_eq!(send(&url, ("origin", &ours)).await.status(), 303);
}

#[tokio::test]
async fn a_form_that_is_too_large_or_malformed_is_refused_with_a_page() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let large = "x".repeat(100_000);
    let answer = flow::post(&server, &browser, &query, &[("step", &large)]).await;
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("<h1>Too much was sent</h1>"));
    let answer = flow::post(&server, &browser, &query, &[("step", "login"), ("step", "login")]).await;
    assert_eq!(answer.status, 400);
}

/// FAPI 2.0 Security Profile §5.2.3 (1), RFC 6797: browsers come back with TLS only, wherever they were.
#[tokio::test]
async fn every_answer_of_an_issuer_with_https_tells_browsers_to_come_with_https_only() {
    for (issuer, seconds, expected) in [
        (Some("https://id.example"), None, Some("max-age=31536000")),
        (Some("https://id.example"), Some(600), Some("max-age=600")),
        (Some("https://id.example"), Some(0), None),
        (None, None, None),
    ] {
        let server = TestServer::start_with(|settings| {
            settings.issuer = issuer.map_or(settings.issuer.clone(), str::to_owned);
            settings.hsts_seconds = seconds.unwrap_or(settings.hsts_seconds);
        })
        .await;
        for path in [
            "/oauth/authorize",
            "/oauth/token",
            "/oauth/userinfo",
            "/.well-known/oauth-authorization-server",
            "/nowhere",
        ] {
            let answer = flow::get(&server, &browser(), path).await;
            let found = answer.headers.get_all("strict-transport-security").iter();
            let found: Vec<&str> = found.map(|value| value.to_str().unwrap()).collect();
            assert_eq!(
                found,
                expected.into_iter().collect::<Vec<_>>(),
                "{path} of {issuer:?}"
            );
        }
    }
}
