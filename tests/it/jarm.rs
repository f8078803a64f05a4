//! Signed authorization responses over HTTP (JARM).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::flow::{self, Answer};
use crate::harness::{TestServer, browser};
use crate::openid::Provider;

/// The claims of a signed answer, its signature checked against the published keys.
pub(crate) async fn verified(server: &TestServer, jwt: &str) -> (String, Value) {
    let jwks: jsonwebtoken::jwk::JwkSet = browser()
        .get(server.url("/oauth/jwks"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let header = jsonwebtoken::decode_header(jwt).unwrap();
    assert_eq!(header.typ, None);
    let key = jwks.find(header.kid.as_deref().unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(header.alg);
    validation.validate_aud = false;
    validation.set_issuer(&[&server.base]);
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    let claims = jsonwebtoken::decode(jwt, &key, &validation).unwrap().claims;
    (format!("{:?}", header.alg), claims)
}

/// The one parameter of an answer in the query or the fragment.
pub(crate) fn response(answer: &Answer, separator: char) -> String {
    let location = answer.location().unwrap_or_else(|| panic!("{}", answer.body));
    let (uri, parameters) = location.split_once(separator).unwrap();
    assert_eq!(uri, flow::REDIRECT_URI);
    let all: Vec<(String, String)> = url::form_urlencoded::parse(parameters.as_bytes())
        .into_owned()
        .collect();
    assert_eq!(all.len(), 1, "nothing stands beside the JWT: {location}");
    assert_eq!(all[0].0, "response");
    all[0].1.clone()
}

#[tokio::test]
async fn a_signed_answer_is_a_jwt_for_the_client_in_each_mode() {
    let provider = Provider::start().await;
    let (server, browser) = (&provider.server, browser());
    flow::authorize(server, &browser, &provider.query(&[])).await;
    for (mode, separator) in [
        ("jwt", Some('?')),
        ("query.jwt", Some('?')),
        ("fragment.jwt", Some('#')),
        ("form_post.jwt", None),
    ] {
        let query = provider.query(&[("response_mode", mode)]);
        let answer = flow::request(server, &browser, &query).await;
        let jwt = if let Some(separator) = separator {
            response(&answer, separator)
        } else {
            assert_eq!((answer.status.as_u16(), answer.location()), (200, None));
            assert!(!answer.body.contains("name=\"code\""), "{}", answer.body);
            answer.hidden("response")
        };
        let (alg, claims) = verified(server, &jwt).await;
        assert_eq!(alg, "RS256", "JARM's default");
        assert_eq!(claims["aud"], provider.client.client_id.as_str());
        assert_eq!(claims["state"], "s t&ä");
        let left = claims["exp"].as_i64().unwrap() - server.clock.now().timestamp();
        assert!((1..=600).contains(&left), "{left}");
        assert_eq!(claims.as_object().unwrap().len(), 5, "{claims}");
        provider.redeem(claims["code"].as_str().unwrap()).await;
        let refused = flow::with(&query, &[("scope", "unknown")]);
        let refused = flow::request(server, &browser, &refused).await;
        let jwt = separator.map_or_else(
            || refused.hidden("response"),
            |separator| response(&refused, separator),
        );
        let (_, claims) = verified(server, &jwt).await;
        assert_eq!(
            (&claims["error"], &claims["state"]),
            (&json!("invalid_scope"), &json!("s t&ä"))
        );
        assert!(claims["error_description"].is_string() && claims.get("code").is_none());
    }
}

#[tokio::test]
async fn a_signed_answer_has_the_clients_algorithm() {
    for alg in ["RS256", "ES256", "PS256", "EdDSA"] {
        let provider = Provider::with(json!({"authorization_signed_response_alg": alg})).await;
        let query = provider.query(&[("response_mode", "jwt"), ("prompt", "none")]);
        let answer = flow::request(&provider.server, &browser(), &query).await;
        let (found, claims) = verified(&provider.server, &response(&answer, '?')).await;
        assert_eq!(
            (found.as_str(), &claims["error"]),
            (alg, &json!("login_required"))
        );
    }
}

#[tokio::test]
async fn a_signed_answer_is_no_id_token() {
    let provider = Provider::start().await;
    let (server, browser) = (&provider.server, browser());
    flow::authorize(server, &browser, &provider.query(&[])).await;
    let query = provider.query(&[("response_mode", "jwt")]);
    let jwt = response(&flow::request(server, &browser, &query).await, '?');
    let hint = provider.query(&[("id_token_hint", &jwt), ("prompt", "none")]);
    let answer = flow::request(server, &browser, &hint).await;
    assert_eq!(answer.parameters()["error"], "invalid_request");
    let claims = jwt.split('.').nth(1).unwrap();
    assert!(URL_SAFE_NO_PAD.decode(claims).is_ok());
}

#[tokio::test]
async fn an_algorithm_that_signs_nothing_is_not_registered() {
    for alg in ["none", "HS256", "ES384"] {
        let mut metadata = flow::confidential();
        metadata["authorization_signed_response_alg"] = json!(alg);
        assert!(grantlog::operations::describe::parse(metadata).is_err(), "{alg}");
    }
}
