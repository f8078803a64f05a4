//! How a client authenticated stands beside what it then did.

use serde_json::{Value, json};

use crate::command_line::{finish, grantlog_on, stdout};
use crate::token::Party;

/// How the client of the last event of a type had authenticated.
pub(crate) async fn last(server: &crate::harness::TestServer, event_type: &str) -> Value {
    let how: Option<Value> = sqlx::query_scalar(
        "SELECT metadata->'authentication' FROM grantlog.ledger WHERE event_type = $1 ORDER BY position DESC LIMIT 1",
    )
    .bind(event_type)
    .fetch_one(&server.database.owner().await)
    .await
    .unwrap();
    how.unwrap_or_default()
}

#[tokio::test]
async fn an_event_says_how_its_client_authenticated() {
    let party = Party::new().await;
    let (status, tokens) = party.redeem(&party.code("view-user").await).await;
    assert_eq!(status, 200, "{tokens}");
    let basic = |number: u32| json!({"method": "client_secret_basic", "secret": number});
    assert_eq!(last(&party.server, "CodeRedeemed").await, basic(1));
    assert_eq!(last(&party.server, "TokenIssued").await, basic(1));
    // Nobody authenticates as the client where the user gets the code.
    assert_eq!(last(&party.server, "CodeIssued").await, Value::Null);

    let rotated = party
        .server
        .app
        .operations
        .rotate_client_secret(&crate::harness::TestServer::context(), party.key, 60)
        .await
        .unwrap();
    let party = Party {
        secret: rotated,
        ..party
    };
    let (status, _) = party.refresh(tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(
        (status, last(&party.server, "RefreshRotated").await),
        (200, basic(2))
    );

    for arguments in [
        &["audit", "tail", "--lines", "3"][..],
        &["grant", "show", tokens["refresh_token"].as_str().unwrap()],
    ] {
        let mut command = grantlog_on(&party.server.database);
        command.args(arguments);
        let text = stdout(&finish(command, None).await);
        let expected = format!("client:{} (client_secret_basic secret=2)", party.key);
        assert!(text.contains(&expected), "{text}");
    }
}

#[tokio::test]
async fn a_public_client_and_one_with_a_key_are_told_apart() {
    let public = Party::with(json!({
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"],
    }))
    .await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &public.client_id),
        ("code", &public.code("view-user").await),
        ("redirect_uri", crate::code::REDIRECT_URI),
        ("code_verifier", crate::code::VERIFIER),
    ];
    let request = public.http.post(public.server.url("/oauth/token")).form(&form);
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(
        last(&public.server, "TokenIssued").await,
        json!({"method": "none"})
    );

    let keys = crate::private_key_jwt::Keys::generate();
    let mut jwks = keys.jwks();
    // Without a name of its own, a key is known by its thumbprint.
    jwks["keys"][1].as_object_mut().unwrap().remove("kid");
    let signing = Party::with(json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks})).await;
    for (alg, kid) in [("ES256", Some("ec")), ("EdDSA", None)] {
        let claims = json!({
            "iss": signing.client_id, "sub": signing.client_id, "aud": signing.server.base,
            "jti": uuid::Uuid::new_v4(), "exp": signing.server.clock.now().timestamp() + 60,
        });
        let request = signing.http.post(signing.server.url("/oauth/token")).form(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", crate::private_key_jwt::TYPE),
            ("client_assertion", &keys.sign(&json!({"alg": alg}), &claims)),
        ]);
        assert_eq!(request.send().await.unwrap().status(), 200);
        let how = last(&signing.server, "TokenIssued").await;
        assert_eq!(how["method"], "private_key_jwt");
        let name = how["kid"].as_str().unwrap();
        assert!(kid.map_or(name.len() == 43, |kid| kid == name), "{name}");
    }
}
