//! Which errors are shown and which are sent back (RFC 6749 §4.1.2.1).

use grantlog::domain::client::{Approval, ClientCommand};
use serde_json::json;

use super::{error_of, refusals};
use crate::flow::{self, CHALLENGE, REDIRECT_URI, VERIFIER, with};
use crate::harness::{TestServer, browser};
use crate::rfc6749::post_as;

/// Addresses that look like the registered one, or try to be another.
const NOT_REGISTERED: &[&str] = &[
    "https://evil.example/cb",
    "https://app.example/cb/",
    "https://app.example/cb?x",
    "https://app.example/cb#x",
    "https://app.example/cb/../x",
    "https://app.example:443/cb",
    "https://app.example@evil.example/cb",
    "https://app.example.evil.example/cb",
    "https://APP.example/cb",
    "http://app.example/cb",
    "//app.example/cb",
    "/cb",
    "javascript:alert(1)",
    " https://app.example/cb",
    "https://app.example/cb\r\nx: y",
];

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_known_to_be_good() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let mut cases = vec![
        ("client_id_missing", with(&query, &[("client_id", "")])),
        ("unknown_client", with(&query, &[("client_id", "nobody")])),
        (
            "unknown_client",
            with(&query, &[("client_id", &uuid::Uuid::new_v4().to_string())]),
        ),
    ];
    for evil in NOT_REGISTERED {
        cases.push((
            "redirect_uri_not_registered",
            with(&query, &[("redirect_uri", evil)]),
        ));
    }
    let mut doubled = query.clone();
    doubled.push(("redirect_uri".into(), REDIRECT_URI.into()));
    cases.push(("client_or_redirect_uri_doubled", doubled));
    let mut doubled = query.clone();
    doubled.push(("client_id".into(), client.client_id.clone()));
    cases.push(("client_or_redirect_uri_doubled", doubled));
    for (reason, query) in &cases {
        let answer = flow::request(&server, &browser, query).await;
        assert_eq!(
            (answer.status.as_u16(), answer.location()),
            (400, None),
            "{reason} {query:?}"
        );
        let request = answer.headers["x-request-id"].to_str().unwrap();
        assert!(answer.body.contains(request), "{reason}");
        assert!(!answer.body.contains("evil.example"), "{reason}");
    }
    let recorded: Vec<String> = refusals(&server.database.owner().await)
        .await
        .into_iter()
        .map(|(_, reason)| reason)
        .collect();
    assert_eq!(
        recorded,
        cases.iter().map(|(reason, _)| *reason).collect::<Vec<_>>()
    );
    // RFC 6749 §3.1: what nobody knows is not looked at.
    let odd = format!("{}&utm=%E4&sale=100%", flow::encode(&query));
    let answer = flow::get(&server, &browser, &format!("/oauth/authorize?{odd}")).await;
    assert!(answer.is_login_page(), "{}", answer.body);
    for malformed in ["client_id=%ff", "client_id=%00", "client_id=%zz"] {
        let answer = flow::get(&server, &browser, &format!("/oauth/authorize?{malformed}")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.location()),
            (400, None),
            "{malformed}"
        );
    }
}

#[tokio::test]
async fn two_registered_addresses_must_be_told_apart() {
    let server = TestServer::start().await;
    let mut metadata = flow::confidential();
    metadata["redirect_uris"] = json!([REDIRECT_URI, "https://app.example/other"]);
    let client = server.client(metadata).await;
    let query = with(&flow::query(&client), &[("redirect_uri", "")]);
    let answer = flow::request(&server, &browser(), &query).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("redirect_uri is missing"));
}

/// The error, the recorded reason, and what is wrong with the request.
type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const SENT_BACK: &[Case] = &[
    (
        "invalid_request",
        "response_type_missing",
        &[("response_type", "")],
    ),
    (
        "unsupported_response_type",
        "response_type_unsupported",
        &[("response_type", "token")],
    ),
    (
        "unsupported_response_type",
        "response_type_unsupported",
        &[("response_type", "code id_token")],
    ),
    ("invalid_scope", "scope_malformed", &[("scope", "a  b")]),
    ("invalid_scope", "scope_not_allowed", &[("scope", "nothing")]),
    (
        "invalid_scope",
        "scope_not_approved",
        &[("scope", "view-user detail-user")],
    ),
    (
        "invalid_request",
        "pkce_missing",
        &[("code_challenge", ""), ("code_challenge_method", "")],
    ),
    ("invalid_request", "pkce_missing", &[("code_challenge", "")]),
    (
        "invalid_request",
        "pkce_method_unsupported",
        &[("code_challenge_method", "")],
    ),
    (
        "invalid_request",
        "pkce_method_unsupported",
        &[("code_challenge_method", "plain")],
    ),
    (
        "invalid_request",
        "pkce_malformed",
        &[("code_challenge", "short")],
    ),
    ("invalid_request", "prompt_unknown", &[("prompt", "create")]),
    (
        "invalid_request",
        "prompt_none_with_others",
        &[("prompt", "none login")],
    ),
    (
        "invalid_request_object",
        "request_object_malformed",
        &[("request", "x")],
    ),
    (
        "request_uri_not_supported",
        "request_uri",
        &[("request_uri", "urn:x")],
    ),
    (
        "registration_not_supported",
        "registration",
        &[("registration", "{}")],
    ),
    (
        "invalid_request",
        "response_mode_unsupported",
        &[("response_mode", "web_message")],
    ),
];

#[tokio::test]
async fn other_errors_are_sent_back_with_state_and_issuer() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    for (error, reason, changes) in SENT_BACK {
        let query = with(&query, changes);
        assert_eq!(error_of(&server, &browser, &query).await, *error, "{reason}");
        let state = flow::request(&server, &browser, &query).await.parameters();
        let state = state.get("state").map(String::as_str);
        assert_eq!(state, Some("s t&ä"), "{reason}");
    }
    let mut doubled = query.clone();
    doubled.push(("scope".into(), "view-user".into()));
    assert_eq!(error_of(&server, &browser, &doubled).await, "invalid_request");
    let recorded = refusals(&server.database.owner().await).await;
    for (error, reason, _) in SENT_BACK {
        assert!(
            recorded.contains(&((*error).to_owned(), (*reason).to_owned())),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_state_that_no_header_should_carry_is_not_sent_back() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = flow::query(&client);
    let longest = "ä".repeat(2048);
    let page = flow::request(&server, &browser, &with(&query, &[("state", &longest)])).await;
    assert!(page.is_login_page());
    let too_long = with(&query, &[("state", &format!("{longest}x"))]);
    assert_eq!(error_of(&server, &browser, &too_long).await, "invalid_request");
    let answer = flow::request(&server, &browser, &too_long).await.parameters();
    assert!(!answer.contains_key("state"));
}

#[tokio::test]
async fn a_client_gets_codes_only_if_it_is_registered_for_them_and_names_a_scope() {
    let server = TestServer::start().await;
    let mut metadata = flow::confidential();
    metadata["grant_types"] = json!(["client_credentials"]);
    let machine = server.client(metadata).await;
    let browser = browser();
    let error = error_of(&server, &browser, &flow::query(&machine)).await;
    assert_eq!(error, "unauthorized_client");
    let mut metadata = flow::confidential();
    metadata.as_object_mut().unwrap().remove("default_scopes");
    let client = server.client(metadata).await;
    let error = error_of(&server, &browser, &with(&flow::query(&client), &[("scope", "")])).await;
    assert_eq!(error, "invalid_scope");
}

#[tokio::test]
async fn a_legacy_client_may_leave_pkce_out_or_use_plain() {
    let server = TestServer::start().await;
    let mut metadata = flow::confidential();
    metadata["legacy"] = json!(true);
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let client = server.client(metadata).await;
    let (browser, query) = (browser(), flow::query(&client));
    let basic = (
        client.client_id.as_str(),
        client.client_secret.as_deref().unwrap(),
    );
    let redeem = async |code: &str, verifier: Option<&'static str>| {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
        ];
        form.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        let (status, body) = post_as((&server, "/oauth/token"), Some(basic), &form).await;
        (status, body["error"].as_str().unwrap_or_default().to_owned())
    };
    let (good, refused) = ((200, String::new()), (400, "invalid_grant".to_owned()));
    // RFC 7636 §4.3: without a method the challenge is the verifier itself.
    for method in ["plain", ""] {
        let changes = [("code_challenge", CHALLENGE), ("code_challenge_method", method)];
        let returned = flow::authorize(&server, &browser, &with(&query, &changes)).await;
        for (verifier, expected) in [
            (Some(VERIFIER), &refused),
            (None, &refused),
            (Some(CHALLENGE), &good),
        ] {
            assert_eq!(
                redeem(&returned["code"], verifier).await,
                *expected,
                "{method:?} {verifier:?}"
            );
        }
    }
    let without = with(&query, &[("code_challenge", ""), ("code_challenge_method", "")]);
    let returned = flow::authorize(&server, &browser, &without).await;
    assert_eq!(redeem(&returned["code"], None).await, good);
}

#[tokio::test]
async fn a_restricted_scope_needs_an_approval_that_holds_now() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = with(&flow::query(&client), &[("scope", "detail-user")]);
    assert_eq!(error_of(&server, &browser, &query).await, "invalid_scope");
    let step = |step| ClientCommand::Approval {
        scope: "detail-user".into(),
        step,
        reason: "test".into(),
    };
    for (approval, allowed) in [
        (Approval::Requested, false),
        (Approval::Approved, true),
        (Approval::Withdrawn, false),
    ] {
        let operations = &server.app.operations;
        operations
            .command_client(&TestServer::context(), client.key, &step(approval))
            .await
            .unwrap();
        if allowed {
            let parameters = flow::authorize(&server, &browser, &query).await;
            assert!(parameters.contains_key("code"));
        } else {
            assert_eq!(error_of(&server, &browser, &query).await, "invalid_scope");
        }
    }
}

#[tokio::test]
async fn a_suspended_client_is_told_and_a_revoked_one_is_sent_nothing() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let (query, operations) = (flow::query(&client), &server.app.operations);
    let command = async |command: ClientCommand| {
        operations
            .command_client(&TestServer::context(), client.key, &command)
            .await
            .unwrap();
    };
    command(ClientCommand::Suspend { reason: "x".into() }).await;
    assert_eq!(error_of(&server, &browser, &query).await, "access_denied");
    command(ClientCommand::Reinstate).await;
    assert!(flow::request(&server, &browser, &query).await.is_login_page());
    command(ClientCommand::Revoke { reason: "x".into() }).await;
    let answer = flow::request(&server, &browser, &query).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, None));
    let recorded = refusals(&server.database.owner().await).await;
    let reasons: Vec<&str> = recorded.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(reasons, ["client_suspended", "client_revoked"]);
}

#[tokio::test]
async fn a_confidential_client_has_no_free_port() {
    let server = TestServer::start().await;
    let mut metadata = flow::confidential();
    metadata["redirect_uris"] = serde_json::json!(["http://127.0.0.1:8481/callback"]);
    let client = server.client(metadata).await;
    let exact = with(
        &flow::query(&client),
        &[("redirect_uri", "http://127.0.0.1:8481/callback")],
    );
    let page = flow::request(&server, &browser(), &exact).await;
    assert!(page.is_login_page(), "{}", page.body);
    let other = with(&exact, &[("redirect_uri", "http://127.0.0.1:9999/callback")]);
    let answer = flow::request(&server, &browser(), &other).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, None));
}
