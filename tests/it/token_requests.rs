//! What a token request may leave out, ask for, and be refused with, whichever grant type it has.

use grantlog::domain::client::ClientCommand;
use serde_json::{Value, json};

use crate::code::{self, REDIRECT_URI, VERIFIER};
use crate::harness::{TestServer, browser};
use crate::token::{Party, error, text};

const PASSWORD: &str = "correct horse battery";

/// Two texts: an id and its secret, or a parameter and its value.
type Pair<'a> = (&'a str, &'a str);

async fn with_password_grant(extra: Value) -> Party {
    let server = TestServer::start_with(|settings| settings.allow_password_grant = true).await;
    let mut metadata = json!({"legacy": true});
    let members = metadata.as_object_mut().unwrap();
    members.extend(extra.as_object().unwrap().clone());
    Party::on(server, metadata).await
}

/// Sends a form without a client's authentication, or with another than the party's.
async fn send(server: &TestServer, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> (u16, Value) {
    let mut request = browser().post(server.url("/oauth/token")).form(form);
    if let Some((id, secret)) = basic {
        request = request.basic_auth(id, Some(secret));
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn an_empty_parameter_counts_as_absent() {
    let party = with_password_grant(
        json!({"grant_types": ["authorization_code", "refresh_token", "client_credentials", "password"]}),
    )
    .await;
    // What is required must not be empty.
    for form in [
        &[("grant_type", "")][..],
        &[("grant_type", "authorization_code"), ("code", "")],
        &[("grant_type", "refresh_token"), ("refresh_token", "")],
        &[
            ("grant_type", "password"),
            ("username", ""),
            ("password", PASSWORD),
        ],
        &[("grant_type", "password"), ("username", "ada"), ("password", "")],
    ] {
        let answer = party.post("/oauth/token", form).await;
        assert_eq!(error(&answer), (400, "invalid_request"), "{form:?}");
    }
    // What is not needed may be.
    let empty = [
        ("code", ""),
        ("refresh_token", ""),
        ("redirect_uri", ""),
        ("client_id", ""),
        ("client_secret", ""),
        ("scope", ""),
        ("code_verifier", ""),
    ];
    let machine = [&[("grant_type", "client_credentials")], &empty[..]].concat();
    let (status, tokens) = party.post("/oauth/token", &machine).await;
    assert_eq!((status, text(&tokens, "scope")), (200, "view-user"), "{tokens}");

    let of_party = (party.key, party.subject);
    let bare = |event: &mut grantlog::domain::grant::CodeIssued| {
        event.challenge = None;
        event.redirect_uri_required = false;
    };
    let redeem = |code: String, change: Vec<(&'static str, &'static str)>| {
        let party = &party;
        async move {
            let mut form = vec![("grant_type", "authorization_code"), ("code", code.as_str())];
            form.extend(change);
            party.post("/oauth/token", &form).await
        }
    };
    let code = async || {
        code::issue_with(&party.server, of_party, "view-user", bare)
            .await
            .1
    };
    let answer = redeem(
        code().await,
        vec![("redirect_uri", ""), ("code_verifier", VERIFIER)],
    )
    .await;
    assert_eq!(
        error(&answer),
        (400, "invalid_grant"),
        "a verifier that nothing asks for"
    );
    let (status, tokens) = redeem(
        code().await,
        vec![("redirect_uri", ""), ("code_verifier", ""), ("scope", "")],
    )
    .await;
    assert_eq!(status, 200, "{tokens}");
    for missing in [
        [("redirect_uri", ""), ("code_verifier", VERIFIER)],
        [("redirect_uri", REDIRECT_URI), ("code_verifier", "")],
    ] {
        let answer = redeem(party.code("view-user").await, missing.to_vec()).await;
        assert_eq!(error(&answer), (400, "invalid_grant"), "{missing:?}");
    }

    let (id, secret, refresh) = (
        &party.client_id,
        &party.secret,
        text(&tokens, "refresh_token").to_owned(),
    );
    let answer = party
        .post(
            "/oauth/token",
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", &refresh),
                ("code", ""),
                ("redirect_uri", ""),
                ("code_verifier", ""),
                ("scope", ""),
            ],
        )
        .await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    for (basic, client_id, client_secret) in [
        (None, "", secret.as_str()),
        (None, id.as_str(), ""),
        (None, "", ""),
    ] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", client_secret),
        ];
        let answer = send(&party.server, basic, &form).await;
        assert_eq!(error(&answer), (401, "invalid_client"), "{form:?}");
    }
}

#[tokio::test]
async fn a_refresh_gives_two_new_tokens_and_may_narrow_the_scope_but_never_widen_it() {
    let party = Party::new().await;
    let (_, first) = party
        .redeem(&party.code("view-user server-operations").await)
        .await;
    let refresh = async |from: &Value, scope: &str| {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", text(from, "refresh_token")),
            ("scope", scope),
        ];
        party.post("/oauth/token", &form).await
    };
    // Narrower, and new.
    let (status, narrowed) = refresh(&first, "view-user").await;
    assert_eq!(
        (status, text(&narrowed, "scope")),
        (200, "view-user"),
        "{narrowed}"
    );
    for member in ["access_token", "refresh_token"] {
        assert_ne!(text(&first, member), text(&narrowed, member));
    }
    let (status, body) = party
        .post("/oauth/introspect", &[("token", text(&narrowed, "access_token"))])
        .await;
    assert_eq!((status, text(&body, "scope")), (200, "view-user"));
    // Never wider: neither what the client may ask for besides, nor what nobody knows.
    for wider in [
        "view-user detail-user",
        "view-user server-operations detail-user",
        "unknown",
    ] {
        let answer = refresh(&narrowed, wider).await;
        assert_eq!(error(&answer), (400, "invalid_scope"), "{wider}");
    }
    assert!(
        party.is_active(text(&narrowed, "refresh_token")).await,
        "a refused request used it up"
    );
    // What was narrowed is not lost: all of the grant comes back, asked for or not.
    let (_, named) = refresh(&narrowed, "server-operations").await;
    assert_eq!(named["scope"], "server-operations");
    let (_, whole) = refresh(&named, "").await;
    assert_eq!(whole["scope"], "server-operations view-user");
}

#[tokio::test]
async fn a_grant_type_that_the_client_is_not_registered_for_is_unauthorized() {
    let party = with_password_grant(json!({})).await;
    let code = party.code("view-user").await;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let refresh = text(&tokens, "refresh_token").to_owned();
    let forms = [
        vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ],
        vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
        ],
        vec![("grant_type", "client_credentials")],
        vec![
            ("grant_type", "password"),
            ("username", "ada"),
            ("password", PASSWORD),
        ],
    ];
    for form in &forms {
        let others: Vec<&str> = forms
            .iter()
            .map(|other| other[0].1)
            .filter(|other| *other != form[0].1)
            .collect();
        let patch = json!({"grant_types": others});
        party.server.update_client(party.key, patch).await.unwrap();
        let answer = party.post("/oauth/token", form).await;
        assert_eq!(error(&answer), (400, "unauthorized_client"), "{form:?}");
    }
    // Nothing of it was used up: with the last update the code's grant type is there again.
    assert_eq!(party.redeem(&code).await.0, 200);
}

#[tokio::test]
async fn a_client_that_is_unknown_blocked_or_authenticated_wrongly_is_invalid() {
    let server = TestServer::start_with(|settings| settings.allow_password_grant = true).await;
    let grant_types = [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "password",
    ];
    let party = Party::on(server, json!({"grant_types": grant_types, "legacy": true})).await;
    let register = async |method: &str| {
        let types = if method == "none" {
            &grant_types[..2]
        } else {
            &grant_types[..]
        };
        let metadata = json!({
            "client_name": method, "redirect_uris": [REDIRECT_URI], "grant_types": types, "scope": "view-user",
            "token_endpoint_auth_method": method, "legacy": true,
        });
        let created = party.server.client(metadata).await;
        (
            created.key,
            created.client_id,
            created.client_secret.unwrap_or_default(),
        )
    };
    let (suspended, revoked) = (
        register("client_secret_basic").await,
        register("client_secret_basic").await,
    );
    for (key, command) in [
        (
            suspended.0,
            ClientCommand::Suspend {
                reason: "test".into(),
            },
        ),
        (
            revoked.0,
            ClientCommand::Revoke {
                reason: "test".into(),
            },
        ),
    ] {
        let operations = &party.server.app.operations;
        operations
            .command_client(&TestServer::context(), key, &command)
            .await
            .unwrap();
    }
    let (_, post_id, post_secret) = register("client_secret_post").await;
    let (_, public_id, _) = register("none").await;
    let unknown = uuid::Uuid::new_v4().to_string();
    // Basic, then what is in the body.
    let cases: Vec<(Option<Pair<'_>>, Vec<Pair<'_>>)> = vec![
        (Some((&unknown, "x")), vec![]),
        (Some(("no such client", "x")), vec![]),
        (None, vec![("client_id", &unknown), ("client_secret", "x")]),
        (None, vec![]),
        (Some((&suspended.1, &suspended.2)), vec![]),
        (Some((&revoked.1, &revoked.2)), vec![]),
        (Some((&party.client_id, "wrong")), vec![]),
        (
            None,
            vec![("client_id", &party.client_id), ("client_secret", &party.secret)],
        ),
        (None, vec![("client_id", &party.client_id)]),
        (Some((&post_id, &post_secret)), vec![]),
        (None, vec![("client_id", &post_id)]),
        (Some((&public_id, "x")), vec![]),
        (None, vec![("client_id", &public_id), ("client_secret", "x")]),
    ];
    let code = party.code("view-user").await;
    let forms = [
        vec![("grant_type", "authorization_code"), ("code", code.as_str())],
        vec![("grant_type", "refresh_token"), ("refresh_token", "glr_x")],
        vec![("grant_type", "client_credentials")],
        vec![
            ("grant_type", "password"),
            ("username", "ada"),
            ("password", PASSWORD),
        ],
        vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", "gld_x"),
        ],
        vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", "x"),
        ],
        vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", "x"),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
        ],
    ];
    for (basic, body) in &cases {
        for form in &forms {
            let form = [form.as_slice(), body].concat();
            let answer = send(&party.server, *basic, &form).await;
            assert_eq!(error(&answer), (401, "invalid_client"), "{basic:?} {form:?}");
        }
    }
    assert_eq!(party.redeem(&code).await.0, 200, "none of it used the code up");
}
