//! Token Status Lists over HTTP (draft-ietf-oauth-status-list).

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::domain::client::ClientCommand;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::token::{Party, text};
use crate::tokens::part;

async fn party() -> Party {
    let server = TestServer::start_with(|settings| settings.status_list = true).await;
    Party::on(server, json!({})).await
}

async fn tokens(party: &Party) -> Value {
    let (status, tokens) = party.redeem(&party.code("view-user").await).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

/// Where a token says that its status is.
fn reference(token: &str) -> (usize, String) {
    let status = part(token, 1)["status"]["status_list"].clone();
    let idx = usize::try_from(status["idx"].as_u64().unwrap()).unwrap();
    (idx, text(&status, "uri").to_owned())
}

/// The claims of a list, checked as §8.3 says.
async fn list(party: &Party, uri: &str) -> Value {
    let response = party.http.get(uri).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/statuslist+jwt");
    assert_eq!(response.headers()["cache-control"], "public, max-age=5");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let jwt = response.text().await.unwrap();
    let header = jsonwebtoken::decode_header(&jwt).unwrap();
    assert_eq!(header.typ.as_deref(), Some("statuslist+jwt"));
    let keys = party
        .http
        .get(party.server.url("/oauth/jwks"))
        .send()
        .await
        .unwrap();
    let keys: jsonwebtoken::jwk::JwkSet = keys.json().await.unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_issuer(&[&party.server.base]);
    validation.sub = Some(uri.to_owned());
    validation.validate_exp = false;
    validation.set_required_spec_claims(&["iss", "sub", "exp"]);
    jsonwebtoken::decode::<Value>(&jwt, &key, &validation)
        .unwrap()
        .claims
}

/// A token's status, as a resource server reads it after a few seconds.
async fn status(party: &Party, token: &str) -> u8 {
    party.server.settle().await;
    party.server.clock.advance(std::time::Duration::from_secs(6));
    let (idx, uri) = reference(token);
    let claims = list(party, &uri).await;
    assert_eq!(claims["status_list"]["bits"], 2);
    let compressed = URL_SAFE_NO_PAD
        .decode(text(&claims["status_list"], "lst"))
        .unwrap();
    let mut bytes = Vec::new();
    flate2::read::ZlibDecoder::new(compressed.as_slice())
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes.len(), 65_536);
    (bytes[idx / 4] >> (idx % 4 * 2)) & 3
}

#[tokio::test]
async fn a_revoked_token_is_invalid_in_its_list_and_others_stay_valid() {
    let party = party().await;
    let (one, other) = (tokens(&party).await, tokens(&party).await);
    let (_, refreshed) = party.refresh(text(&other, "refresh_token")).await;
    let access = |tokens: &Value| text(tokens, "access_token").to_owned();
    let (one, other, refreshed) = (access(&one), access(&other), access(&refreshed));
    for token in [&one, &other, &refreshed] {
        assert_eq!(status(&party, token).await, 0);
    }
    assert_ne!(reference(&one), reference(&other));
    assert_eq!(party.post("/oauth/revoke", &[("token", &one)]).await.0, 200);
    let statuses = [
        status(&party, &one).await,
        status(&party, &other).await,
        status(&party, &refreshed).await,
    ];
    assert_eq!(statuses, [1, 0, 0]);
    // What ends a user's tokens ends them here, too.
    let operations = &party.server.app.operations;
    let context = TestServer::context();
    operations
        .disable_user(&context, party.subject, "left")
        .await
        .unwrap();
    assert_eq!(status(&party, &refreshed).await, 1);
}

#[tokio::test]
async fn tokens_of_a_suspended_client_are_suspended_until_it_is_back() {
    let party = party().await;
    let token = text(&tokens(&party).await, "access_token").to_owned();
    let operations = &party.server.app.operations;
    let suspend = ClientCommand::Suspend {
        reason: "looked into".to_owned(),
    };
    for (command, expected) in [(suspend, 2), (ClientCommand::Reinstate, 0)] {
        let context = TestServer::context();
        operations
            .command_client(&context, party.key, &command)
            .await
            .unwrap();
        assert_eq!(status(&party, &token).await, expected);
    }
}

#[tokio::test]
async fn a_list_that_did_not_change_is_not_sent_again() {
    let party = party().await;
    let token = text(&tokens(&party).await, "access_token").to_owned();
    party.server.settle().await;
    let (_, uri) = reference(&token);
    let first = party.http.get(&uri).send().await.unwrap();
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    party.server.clock.advance(std::time::Duration::from_secs(6));
    let again = || party.http.get(&uri).header("if-none-match", &etag).send();
    assert_eq!(again().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    assert_eq!(party.post("/oauth/revoke", &[("token", &token)]).await.0, 200);
    assert_eq!(status(&party, &token).await, 1);
    assert_eq!(again().await.unwrap().status(), 200);
    let claims = list(&party, &uri).await;
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert_eq!((exp - iat, &claims["ttl"]), (120, &json!(45)));
}

#[tokio::test]
async fn lists_that_are_behind_the_ledger_are_not_served() {
    let party = party().await;
    let token = text(&tokens(&party).await, "access_token").to_owned();
    party.server.settle().await;
    let (_, uri) = reference(&token);
    assert_eq!(party.post("/oauth/revoke", &[("token", &token)]).await.0, 200);
    party.server.clock.advance(std::time::Duration::from_mins(1));
    let answer = party.http.get(&uri).send().await.unwrap();
    assert_eq!(answer.status(), 503, "it would say that the token is valid");
    assert_eq!(status(&party, &token).await, 1);
}

#[tokio::test]
async fn the_aggregation_names_the_lists_and_unknown_ones_are_not_found() {
    let party = party().await;
    let token = text(&tokens(&party).await, "access_token").to_owned();
    party.server.settle().await;
    let (_, uri) = reference(&token);
    let url = party.server.url("/.well-known/oauth-authorization-server");
    let metadata: Value = party.http.get(url).send().await.unwrap().json().await.unwrap();
    let aggregation = text(&metadata, "status_list_aggregation_endpoint");
    let lists: Value = party
        .http
        .get(aggregation)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(lists, json!({"status_lists": [uri]}));
    for unknown in ["x", "AAAAAAAAAAAAAAAAAAAAAA", "../token", "%00"] {
        let answer = party
            .http
            .get(format!("{aggregation}/{unknown}"))
            .send()
            .await
            .unwrap();
        assert!([404, 405].contains(&answer.status().as_u16()), "{unknown}");
    }
    // Of neither another time nor another format.
    let past = party
        .http
        .get(format!("{uri}?time=1686925000"))
        .send()
        .await
        .unwrap();
    assert_eq!(past.status(), StatusCode::NOT_IMPLEMENTED);
    let cwt = party
        .http
        .get(&uri)
        .header("accept", "application/statuslist+cwt");
    assert_eq!(cwt.send().await.unwrap().status(), StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn without_the_setting_there_is_no_list_and_no_word_of_one() {
    let party = Party::new().await;
    let token = text(&tokens(&party).await, "access_token").to_owned();
    assert_eq!(part(&token, 1).get("status"), None);
    let url = party.server.url("/.well-known/oauth-authorization-server");
    let metadata: Value = party.http.get(url).send().await.unwrap().json().await.unwrap();
    assert!(metadata.get("status_list_aggregation_endpoint").is_none());
    let url = party.server.url("/oauth/status-lists");
    assert_eq!(party.http.get(url).send().await.unwrap().status(), 404);
}
