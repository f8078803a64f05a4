//! The discovery document: what it says is so.

use serde_json::{Value, json};

use super::Provider;
use crate::harness::{TestServer, browser};

const PATH: &str = "/.well-known/openid-configuration";

async fn get(server: &TestServer, path: &str) -> (u16, Value) {
    let response = browser().get(server.url(path)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn list<'a>(document: &'a Value, name: &str) -> Vec<&'a str> {
    let members = document[name].as_array();
    let members = members.unwrap_or_else(|| panic!("no {name} in {document}"));
    members.iter().map(|member| member.as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_discovery_document_says_what_is_so() {
    let provider = Provider::start().await;
    let (status, document) = get(&provider.server, PATH).await;
    assert_eq!(status, 200);
    let (_, metadata) = get(&provider.server, "/.well-known/oauth-authorization-server").await;
    assert_eq!(document, metadata, "one document under both names");
    // Discovery §3: what is required, and whose default would be wrong here.
    assert_eq!(document["issuer"], provider.server.base.as_str());
    assert_eq!(list(&document, "response_types_supported"), ["code"]);
    assert_eq!(list(&document, "subject_types_supported"), ["public", "pairwise"]);
    assert_eq!(document["request_uri_parameter_supported"], false);
    for (name, value) in document.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let url = value.as_str().unwrap();
            assert!(url.starts_with(&provider.server.base), "{name}: {url}");
            // Grants are below theirs (Grant Management §6.1).
            let below = if name == "grant_management_endpoint" {
                "/some"
            } else {
                ""
            };
            let answer = browser().get(format!("{url}{below}")).send().await.unwrap();
            assert_ne!(answer.status(), 404, "{name}");
        }
    }
    for algorithm in list(&document, "id_token_signing_alg_values_supported") {
        let signed = Provider::with(json!({"id_token_signed_response_alg": algorithm})).await;
        let tokens = signed.tokens(&[]).await;
        signed.claims(super::text(&tokens, "id_token"), algorithm).await;
    }
    // Every claim that is named is given somewhere, and none besides.
    let scope = list(&document, "scopes_supported").join(" ");
    assert_eq!(scope, "openid profile email address phone offline_access");
    provider.update_user(super::standard_claims::every_claim()).await;
    let tokens = provider.tokens(&[("scope", &scope)]).await;
    let mut given = provider.claims(super::text(&tokens, "id_token"), "RS256").await;
    let user_info = browser()
        .get(document["userinfo_endpoint"].as_str().unwrap())
        .bearer_auth(super::text(&tokens, "access_token"));
    let user_info: Value = user_info.send().await.unwrap().json().await.unwrap();
    let given = given.as_object_mut().unwrap();
    given.extend(user_info.as_object().unwrap().clone());
    let mut given: Vec<&str> = given.keys().map(String::as_str).collect();
    let mut named = list(&document, "claims_supported");
    given.sort_unstable();
    named.sort_unstable();
    assert_eq!(given, named);
    assert_eq!(list(&document, "acr_values_supported").len(), 1);
}

#[tokio::test]
async fn without_the_scope_openid_there_is_no_openid_provider() {
    let server = TestServer::start().await;
    assert_eq!(get(&server, PATH).await.0, 404);
    let (_, metadata) = get(&server, "/.well-known/oauth-authorization-server").await;
    assert!(metadata.get("userinfo_endpoint").is_none(), "{metadata}");
    super::define_scopes(&server).await;
    assert_eq!(get(&server, PATH).await.0, 200);
    let retire = grantlog::domain::scope::ScopeCommand::Retire;
    let operations = &server.app.operations;
    operations
        .command_scope(&TestServer::context(), "email", &retire)
        .await
        .unwrap();
    let (_, document) = get(&server, PATH).await;
    assert!(!list(&document, "scopes_supported").contains(&"email"));
    assert!(!list(&document, "claims_supported").contains(&"email_verified"));
}
