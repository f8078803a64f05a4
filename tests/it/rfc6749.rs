//! RFC 6749, the statements that no other file is about.

mod credentials;

use grantlog::operations::client::ClientRegistration;
use serde_json::{Value, json};

use crate::code::REDIRECT_URI;
use crate::flow::{self, with};
use crate::harness::{TestServer, browser};
use crate::token::{Party, error, text};

/// A form's fields.
type Fields<'a> = Vec<(&'a str, &'a str)>;

/// Posts a form as somebody else than the party, or as nobody.
pub(crate) async fn post_as(
    (server, path): (&TestServer, &str),
    basic: Option<(&str, &str)>,
    form: &[(&str, &str)],
) -> (u16, Value) {
    let mut request = browser().post(server.url(path)).form(form);
    if let Some((id, secret)) = basic {
        request = request.basic_auth(id, Some(secret));
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// §2.3.1, §3.2: what is in the address of a request is not looked at, least of all a secret.
#[tokio::test]
async fn what_is_in_the_address_of_a_token_request_counts_for_nothing() {
    let party = Party::new().await;
    let (id, secret) = (party.client_id.as_str(), party.secret.as_str());
    let address = format!("/oauth/token?client_id={id}&client_secret={secret}&grant_type=client_credentials");
    let machine = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let answer = post_as((&party.server, &address), None, &machine).await;
    assert_eq!(error(&answer), (401, "invalid_client"));
    let answer = post_as((&party.server, &address), Some((id, secret)), &machine[1..]).await;
    assert_eq!(
        error(&answer),
        (400, "invalid_request"),
        "the grant_type is not read there"
    );
    let answer = post_as((&party.server, &address), Some((id, secret)), &machine).await;
    assert_eq!(answer.0, 200, "and it does no harm: {}", answer.1);
}

/// §3.1, §3.2.
#[tokio::test]
async fn parameters_that_nobody_knows_are_ignored_at_every_endpoint() {
    let party = Party::new().await;
    let more = [("unheard_of", "x"), ("another", "")];
    let form = [
        &[
            ("grant_type", "client_credentials"),
            ("scope", "server-operations"),
        ],
        &more[..],
    ]
    .concat();
    let (status, tokens) = party.post("/oauth/token", &form).await;
    assert_eq!(status, 200, "{tokens}");
    let token = text(&tokens, "access_token");
    let form = [&[("token", token)], &more[..]].concat();
    let (status, body) = party.post("/oauth/introspect", &form).await;
    assert_eq!((status, &body["active"]), (200, &json!(true)));
    assert_eq!(party.post("/oauth/revoke", &form).await.0, 200);

    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let query = with(&flow::query(&client), &more);
    assert!(
        flow::authorize(&server, &browser, &query)
            .await
            .contains_key("code")
    );
    let secret = client.client_secret.as_deref().unwrap();
    let pairs: Fields<'_> = query
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let pushed = post_as((&server, "/oauth/par"), Some((&client.client_id, secret)), &pairs).await;
    assert_eq!(pushed.0, 201, "{}", pushed.1);
}

/// §3.1.
#[tokio::test]
async fn an_empty_parameter_of_an_authorization_request_counts_as_absent() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    flow::authorize(&server, &browser, &flow::query(&client)).await;
    let mut query = flow::query(&client);
    for name in [
        "prompt",
        "max_age",
        "nonce",
        "request",
        "request_uri",
        "response_mode",
        "resource",
        "claims",
    ] {
        query.push((name.to_owned(), String::new()));
    }
    assert!(
        flow::authorize(&server, &browser, &query)
            .await
            .contains_key("code")
    );
    for (name, expected) in [
        ("response_type", "invalid_request"),
        ("code_challenge", "invalid_request"),
    ] {
        let mut query = with(&flow::query(&client), &[(name, "")]);
        query.push((name.to_owned(), String::new()));
        let answer = flow::request(&server, &browser, &query).await.parameters();
        assert_eq!(answer["error"], expected, "{name}");
    }
    let mut nobody = with(&flow::query(&client), &[("client_id", "")]);
    nobody.push(("client_id".to_owned(), String::new()));
    let answer = flow::request(&server, &browser, &nobody).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, None));
}

/// §3.1.2.2, §4.4, §10.2.
#[tokio::test]
async fn a_client_of_codes_has_a_redirect_uri_and_a_public_one_does_not_act_for_itself() {
    let server = TestServer::start().await;
    let register = async |metadata: Value| {
        let registration: ClientRegistration = serde_json::from_value(metadata).unwrap();
        let operations = &server.app.operations;
        let created = operations
            .create_client(&TestServer::context(), registration)
            .await;
        created.map_err(|error| error.to_string())
    };
    for method in ["none", "client_secret_basic"] {
        let refused = register(json!({"client_name": "x", "token_endpoint_auth_method": method})).await;
        let words = refused.unwrap_err();
        assert!(
            words.contains("authorization_code grant needs at least one"),
            "{words}"
        );
    }
    let public = |grant_types: Value| {
        json!({
            "client_name": "x", "token_endpoint_auth_method": "none", "redirect_uris": [REDIRECT_URI],
            "grant_types": grant_types,
        })
    };
    let refused = register(public(json!(["authorization_code", "client_credentials"]))).await;
    assert!(
        refused
            .unwrap_err()
            .contains("a public client cannot use client_credentials")
    );
    let mut keeps = public(json!(["authorization_code"]));
    keeps["client_secret"] = json!("a secret that is long enough");
    assert!(
        register(keeps).await.is_err(),
        "§10.1: a public client has no secret"
    );
    let created = register(public(json!(["authorization_code"]))).await.unwrap();
    assert_eq!(created.client_secret, None);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &created.client_id),
    ];
    let answer = post_as((&server, "/oauth/token"), None, &form).await;
    assert_eq!(error(&answer), (400, "unauthorized_client"));
}

/// §3.3: names are told apart by case; their order means nothing.
#[tokio::test]
async fn scopes_are_told_apart_by_case_and_come_in_any_order() {
    let party = Party::new().await;
    let ask = async |scope: &str| {
        party
            .post(
                "/oauth/token",
                &[("grant_type", "client_credentials"), ("scope", scope)],
            )
            .await
    };
    let (_, one) = ask("view-user server-operations").await;
    let (_, other) = ask("server-operations view-user").await;
    assert_eq!(text(&one, "scope"), text(&other, "scope"));
    assert_eq!(error(&ask("View-User").await), (400, "invalid_scope"));
}

/// §4.1.2.1, §5.2, §8.5 and appendices A.7, A.8.
#[tokio::test]
async fn errors_and_their_descriptions_are_of_the_characters_that_are_allowed() {
    let allowed = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| matches!(c, '\u{20}' | '\u{21}' | '\u{23}'..='\u{5b}' | '\u{5d}'..='\u{7e}'))
    };
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    let mut seen = 0;
    for change in [
        ("response_type", "\"\\ä"),
        ("scope", "\"\\"),
        ("code_challenge", "\"\\ä"),
        ("code_challenge_method", "\"\\ä"),
        ("prompt", "\"\\ä"),
        ("max_age", "\"\\ä"),
        ("resource", "\"\\ä"),
        ("claims", "\"\\ä"),
        ("id_token_hint", "\"\\ä"),
        ("response_mode", "\"\\ä"),
        ("dpop_jkt", "\"\\ä"),
        ("prompt", "none"),
    ] {
        let query = with(&flow::query(&client), &[change]);
        let returned = flow::request(&server, &browser, &query).await.parameters();
        assert!(
            allowed(&returned["error"]) && allowed(&returned["error_description"]),
            "{returned:?}"
        );
        seen += 1;
    }
    assert_eq!(seen, 12);
    let secret = client.client_secret.as_deref().unwrap();
    for (basic, form) in [
        (Some(secret), vec![]),
        (Some("wrong"), vec![("grant_type", "client_credentials")]),
        (Some(secret), vec![("grant_type", "\"\\ä")]),
        (
            Some(secret),
            vec![("grant_type", "client_credentials"), ("scope", "\"\\ä")],
        ),
        (
            Some(secret),
            vec![("grant_type", "authorization_code"), ("code", "\"\\ä")],
        ),
        (
            Some(secret),
            vec![("grant_type", "refresh_token"), ("refresh_token", "\"\\ä")],
        ),
    ] {
        let basic = basic.map(|secret| (client.client_id.as_str(), secret));
        let (status, body) = post_as((&server, "/oauth/token"), basic, &form).await;
        assert!(matches!(status, 400 | 401), "{body}");
        assert!(
            allowed(text(&body, "error")) && allowed(text(&body, "error_description")),
            "{body}"
        );
    }
    // RFC 6750 §3: of a resource, beside its answer.
    for path in ["/api/user", "/api/users/42", "/oauth/userinfo"] {
        let request = browser.get(server.url(path)).bearer_auth("\"\\");
        let response = request.send().await.unwrap();
        let challenge = response.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .to_owned();
        for attribute in ["error", "error_description"] {
            let (_, rest) = challenge.split_once(&format!("{attribute}=\"")).unwrap();
            assert!(allowed(rest.split_once('"').unwrap().0), "{challenge}");
        }
        let body: Value = response.json().await.unwrap();
        assert!(
            allowed(text(&body, "error")) && allowed(text(&body, "message")),
            "{body}"
        );
    }
}

/// §2.3.1: a client that sends Basic gets a challenge in that scheme; what is no Basic is no authentication.
#[tokio::test]
async fn a_client_that_authenticates_wrongly_is_challenged_with_basic() {
    let party = Party::new().await;
    for authorization in ["Basic !!!", "Bearer x", "Basic", "Digest username=x"] {
        for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/par"] {
            let request = party.http.post(party.server.url(path));
            let request = request
                .header("authorization", authorization)
                .form(&[("token", "x")]);
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{path} {authorization}");
            let challenge = response.headers()["www-authenticate"]
                .to_str()
                .unwrap()
                .to_owned();
            assert!(challenge.starts_with("Basic realm="), "{challenge}");
            assert_eq!(response.json::<Value>().await.unwrap()["error"], "invalid_client");
        }
    }
}

/// Appendix A.1, A.2: ids and secrets are printable ASCII.
#[tokio::test]
async fn a_chosen_id_or_secret_with_other_characters_is_refused() {
    let server = TestServer::start().await;
    for (member, value) in [
        ("client_id", "a\u{7f}b"),
        ("client_id", "ä"),
        ("client_id", ""),
        ("client_secret", "long enough but ä"),
        ("client_secret", "long enough but \n"),
    ] {
        let mut metadata = flow::confidential();
        metadata[member] = json!(value);
        let registration: ClientRegistration = serde_json::from_value(metadata).unwrap();
        let operations = &server.app.operations;
        let refused = operations
            .create_client(&TestServer::context(), registration)
            .await;
        assert!(
            refused.unwrap_err().to_string().starts_with(member),
            "{member} {value:?}"
        );
    }
}

/// §2.2.
#[tokio::test]
async fn two_clients_never_have_one_id() {
    let server = TestServer::start().await;
    let generated = server.client(flow::confidential()).await;
    let mut metadata = flow::confidential();
    metadata["client_id"] = json!("chosen");
    server.client(metadata).await;
    for taken in ["chosen", generated.client_id.as_str()] {
        let mut metadata = flow::confidential();
        metadata["client_id"] = json!(taken);
        let registration: ClientRegistration = serde_json::from_value(metadata).unwrap();
        let operations = &server.app.operations;
        let refused = operations
            .create_client(&TestServer::context(), registration)
            .await;
        assert!(refused.is_err(), "{taken}");
    }
}
