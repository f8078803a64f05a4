//! RFC 7636 (PKCE) over HTTP.

use grantlog::domain::pkce::{Challenge, Method};
use serde_json::json;

use crate::code::{self, REDIRECT_URI, VERIFIER};
use crate::flow::{self, with};
use crate::harness::{TestServer, browser};
use crate::token::{Party, error};

/// §4.6: whatever does not prove the challenge is `invalid_grant`, and uses nothing up.
#[tokio::test]
async fn only_the_verifier_of_its_challenge_redeems_a_code() {
    let party = Party::with(json!({"legacy": true})).await;
    let plain = "a-plain-verifier.of_43~characters-or-more-0";
    for (method, challenge, verifier) in [
        (Method::S256, code::CHALLENGE, VERIFIER),
        (Method::Plain, plain, plain),
    ] {
        let change = |event: &mut grantlog::domain::grant::CodeIssued| {
            event.challenge = Some(Challenge::parse(challenge, method).unwrap());
        };
        let (_, code) =
            code::issue_with(&party.server, (party.key, party.subject), "view-user", change).await;
        let redeem = async |verifier: &str| {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("redirect_uri", REDIRECT_URI),
                ("code_verifier", verifier),
            ];
            party.post("/oauth/token", &form).await
        };
        let long = verifier.repeat(3);
        let other = "x".repeat(43);
        let upper = verifier.to_uppercase();
        let wrong = [
            other.as_str(),
            "short",
            long.as_str(),
            upper.as_str(),
            "",
            "ä".repeat(43).as_str(),
        ]
        .map(str::to_owned);
        for wrong in wrong {
            assert_eq!(
                error(&redeem(&wrong).await),
                (400, "invalid_grant"),
                "{method:?} {wrong}"
            );
        }
        if method == Method::S256 {
            let answer = redeem(challenge).await;
            assert_eq!(
                error(&answer),
                (400, "invalid_grant"),
                "the challenge is no verifier"
            );
        }
        let (status, tokens) = redeem(verifier).await;
        assert_eq!(status, 200, "{tokens}");
    }
}

/// §4.4: nobody can read a challenge, which may be the verifier, in a code or in what is stored.
#[tokio::test]
async fn a_challenge_is_neither_in_the_code_nor_in_the_database() {
    let server = TestServer::start().await;
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let mut metadata = flow::confidential();
    metadata["legacy"] = json!(true);
    let client = server.client(metadata).await;
    let plain = "a-plain-verifier.of_43~characters-or-more-1";
    let query = with(
        &flow::query(&client),
        &[("code_challenge", plain), ("code_challenge_method", "plain")],
    );
    let returned = flow::authorize(&server, &browser(), &query).await;
    assert!(!returned["code"].contains(plain));
    let stored: Vec<String> =
        sqlx::query_scalar("SELECT payload::text || metadata::text FROM grantlog.ledger")
            .fetch_all(&server.database.owner().await)
            .await
            .unwrap();
    assert!(
        stored.iter().any(|row| row.contains("\"challenge\"")),
        "the code's event is there"
    );
    assert!(stored.iter().all(|row| !row.contains(plain)));
}

/// §4.4.1.
#[tokio::test]
async fn a_request_without_a_challenge_or_with_an_unknown_method_is_invalid() {
    let server = TestServer::start().await;
    let (client, browser) = (flow::client_and_user(&server).await, browser());
    for changes in [
        &[("code_challenge", ""), ("code_challenge_method", "")][..],
        &[("code_challenge", "")],
        &[("code_challenge_method", "S512")],
        &[("code_challenge_method", "plain")],
        &[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=")],
        &[("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c+")],
    ] {
        let query = with(&flow::query(&client), changes);
        let returned = flow::request(&server, &browser, &query).await.parameters();
        assert_eq!(returned["error"], "invalid_request", "{changes:?}");
        assert!(
            returned["error_description"].contains("code_challenge"),
            "{returned:?}"
        );
    }
}
