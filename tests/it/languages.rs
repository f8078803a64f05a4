//! The language and the form of the pages (OpenID Connect Core §3.1.2.1, `ui_locales` and `display`; RFC 9110 §12.5.4,
//! `Accept-Language`).

use grantlog::http::page::Language;
use serde_json::json;

use crate::flow::{self, Answer, Query, with};
use crate::harness::{TestServer, browser};
use crate::private_key_jwt::Keys;

/// A browser that asks for languages.
fn speaking(languages: &'static str) -> reqwest::Client {
    let header = (
        reqwest::header::ACCEPT_LANGUAGE,
        reqwest::header::HeaderValue::from_static(languages),
    );
    reqwest::Client::builder()
        .cookie_store(true)
        .redirect(reqwest::redirect::Policy::none())
        .default_headers([header].into_iter().collect())
        .build()
        .unwrap()
}

/// The page is in this language, says so in two places, and says whether the browser was asked.
#[track_caller]
fn is_in(page: &Answer, tag: &str, browsers: bool, words: &str) {
    let body = &page.body;
    assert!(body.contains(&format!("<html lang=\"{tag}\"")), "{tag}: {body}");
    assert!(body.contains(words), "{words}: {body}");
    assert_eq!(page.headers["content-language"], tag);
    let vary = page.headers.get("vary").map(|vary| vary.to_str().unwrap());
    assert_eq!(vary, browsers.then_some("Accept-Language"), "{tag}: {words}");
}

fn form_display(page: &Answer) -> Option<&str> {
    let (_, rest) = page.body.split_once(" data-display=\"")?;
    rest.split('"').next()
}

/// The query of a redirect to this server.
fn query_of(answer: &Answer) -> Query {
    let (_, query) = answer.location().unwrap().split_once('?').unwrap();
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

#[tokio::test]
async fn the_request_says_the_language_then_the_browser_then_the_setting() {
    let server = TestServer::start_with(|settings| settings.default_language = Language::French).await;
    let client = flow::client_and_user(&server).await;
    let query = flow::query(&client);
    let german = with(&query, &[("ui_locales", "tlh xx- de-AT fr")]);
    let (english, nobodys) = (speaking("nl,en-GB;q=0.9,de;q=0.8"), browser());
    for (http, query, tag, browsers, title) in [
        (&english, &german, "de", false, "<h1>Anmelden</h1>"),
        (
            &nobodys,
            &german,
            "de",
            false,
            "weiter zu <strong><bdi>Example App",
        ),
        (&english, &query, "en", true, "<h1>Log in</h1>"),
        (&nobodys, &query, "fr", true, "<h1>Se connecter</h1>"),
        (&speaking("es;q=1,*;q=0"), &query, "fr", true, "Mot de passe"),
        (&speaking("de;q=zwei, fr;q="), &query, "fr", true, "Mot de passe"),
    ] {
        is_in(&flow::request(&server, http, query).await, tag, browsers, title);
    }
    let unknown = with(&query, &[("ui_locales", "tlh"), ("display", "kiosk")]);
    let page = flow::request(&server, &english, &unknown).await;
    is_in(&page, "en", true, "<h1>Log in</h1>");
    assert_eq!(form_display(&page), None);
    // Errors are pages, too: of a request that is understood, and of one that is not.
    let nobody = with(&german, &[("client_id", "nobody"), ("display", "touch")]);
    let page = flow::request(&server, &english, &nobody).await;
    is_in(
        &page,
        "de",
        false,
        "Die Anwendung ist hier nicht registriert: Die angegebene client_id",
    );
    assert_eq!((page.status.as_u16(), form_display(&page)), (400, Some("touch")));
    let malformed = format!("/oauth/authorize?ui_locales=de&{}", "a&".repeat(101));
    let page = flow::get(&server, &english, &malformed).await;
    is_in(
        &page,
        "de",
        false,
        "eine Anfrage gesendet, die nicht gelesen werden kann",
    );
    // So are the pages for a device, and those of other origins' forms; what a link adds to them counts for nothing.
    let page = flow::get(&server, &speaking("de"), "/oauth/device?ui_locales=fr").await;
    is_in(
        &page,
        "de",
        true,
        "Geben Sie den Code ein, den Ihr Gerät anzeigt.",
    );
    let page = flow::get(&server, &english, "/oauth/device/denied").await;
    is_in(&page, "en", true, "It gets no access to your account.");
    // And the form that carries an answer to the application.
    let silent = with(&german, &[("prompt", "none"), ("response_mode", "form_post")]);
    let page = flow::request(&server, &english, &silent).await;
    is_in(&page, "de", false, "<h1>Zurück zur Anwendung</h1>");
    assert_eq!(page.hidden("error"), "login_required");
}

#[tokio::test]
async fn a_login_and_its_consent_go_on_as_the_request_asks_for() {
    let server = TestServer::start().await;
    let client = flow::client_and_user(&server).await;
    let http = speaking("fr");
    let query = with(
        &flow::query(&client),
        &[("ui_locales", "de"), ("display", "popup"), ("prompt", "login")],
    );
    let page = flow::request(&server, &http, &query).await;
    is_in(&page, "de", false, "<h1>Anmelden</h1>");
    assert_eq!(form_display(&page), Some("popup"));
    let again = flow::log_in(&server, &http, &query, (flow::USERNAME, "wrong")).await;
    is_in(&again, "de", false, "<title>Fehler: Anmelden</title>");
    assert!(
        again
            .body
            .contains("Benutzername und Passwort passen nicht zusammen.")
    );
    let after = flow::log_in(&server, &http, &query, (flow::USERNAME, flow::PASSWORD)).await;
    let query = query_of(&after);
    let page = flow::follow(&server, &http, &after).await;
    is_in(
        &page,
        "de",
        false,
        "<h1><bdi>Example App</bdi> bittet um Zugriff</h1>",
    );
    assert_eq!(form_display(&page), Some("popup"));
    assert!(
        page.body
            .contains("Wenn Sie zustimmen, kann <bdi>Example App</bdi>:")
    );
    // What operators wrote is as they wrote it.
    assert!(
        page.body.contains("<bdi>See your name and user name</bdi>"),
        "{}",
        page.body
    );
    let approved = flow::decide(&server, &http, &query, (&page, "approve")).await;
    assert!(approved.parameters().contains_key("code"));
    // A form is good in whatever language it is sent back.
    let query = with(&flow::query(&client), &[("prompt", "consent")]);
    let page = flow::request(&server, &http, &query).await;
    is_in(&page, "fr", true, "<bdi>Example App</bdi> demande un accès</h1>");
    let token = page.hidden("form_token");
    let fields = [
        ("step", "consent"),
        ("form_token", token.as_str()),
        ("session", &page.hidden("session")),
        ("decision", "approve"),
    ];
    let form = http
        .post(server.url(&format!("/oauth/authorize?{}", flow::encode(&query))))
        .header("accept-language", "de")
        .form(&fields);
    let response = form.send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.contains("code="), "{location}");
    // The account has no application that asks for a language.
    let page = flow::get(&server, &http, "/account").await;
    is_in(&page, "fr", true, "<h1>Votre compte</h1>");
    let page = flow::get(&server, &http, "/account/password").await;
    is_in(&page, "fr", true, "Nouveau mot de passe, encore une fois");
    // A logout has, where one asks for it.
    let page = flow::get(&server, &http, "/oauth/logout?ui_locales=de&display=popup").await;
    is_in(&page, "de", false, "<h1>Abmelden?</h1>");
    assert_eq!(form_display(&page), None);
    let form = http
        .post(server.url("/oauth/logout?ui_locales=de&display=popup"))
        .form(&[("form_token", page.hidden("form_token"))]);
    let body = form.send().await.unwrap().text().await.unwrap();
    assert!(body.contains("<h1>Sie sind abgemeldet</h1>"), "{body}");
    let page = flow::get(&server, &http, "/oauth/logout?ui_locales=de&client_id=nobody").await;
    is_in(&page, "de", false, "Dieser Link zum Abmelden funktioniert nicht");
    let page = flow::get(&server, &http, "/logout").await;
    is_in(&page, "fr", true, "<h1>Vous êtes déconnecté</h1>");
}

#[tokio::test]
async fn of_a_pushed_or_signed_request_its_own_parameters_count() {
    let server = TestServer::start().await;
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let keys = Keys::generate();
    let mut metadata = flow::confidential();
    metadata["jwks"] = keys.jwks();
    let client = server.client(metadata).await;
    let own = [("ui_locales", "de"), ("display", "touch")];
    let beside = [("ui_locales", "fr"), ("display", "popup")];
    let push = browser()
        .post(server.url("/oauth/par"))
        .basic_auth(&client.client_id, client.client_secret.as_ref())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(flow::encode(&with(&flow::query(&client), &own)));
    let pushed: serde_json::Value = push.send().await.unwrap().json().await.unwrap();
    let now = server.clock.now().timestamp();
    let mut claims = json!({"iss": client.client_id, "aud": server.base, "nbf": now, "exp": now + 60});
    for (name, value) in with(&flow::query(&client), &own) {
        claims[name] = value.into();
    }
    let object = keys.sign(&json!({"alg": "ES256", "typ": "oauth-authz-req+jwt"}), &claims);
    for (name, value) in [
        ("request_uri", pushed["request_uri"].as_str().unwrap()),
        ("request", &object),
    ] {
        let pairs = [("client_id", client.client_id.as_str()), (name, value)];
        let query: Query = pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let page = flow::request(&server, &browser(), &with(&query, &beside)).await;
        is_in(&page, "de", false, "<h1>Anmelden</h1>");
        assert_eq!(form_display(&page), Some("touch"), "{name}");
        // Nothing is known of one that is not good but what stands beside it.
        let bad = with(
            &query,
            &[(name, &value.replace('.', "_")), ("client_id", "nobody")],
        );
        let page = flow::request(&server, &browser(), &with(&bad, &beside)).await;
        is_in(&page, "fr", false, "Ce lien de connexion ne fonctionne pas");
    }
}
