//! The standard claims (OpenID Connect Core §5.1): set by administrators, opened by scopes, gone with the user.

use grantlog::operations::profile::ProfilePatch;
use serde_json::{Value, json};

use super::{Provider, text};
use crate::harness::{TestServer, browser};

/// All that can be set of a user, but for name and e-mail address.
pub(crate) fn every_claim() -> Value {
    json!({
        "given_name": "Alicia", "family_name": "Liddell", "middle_name": "Pleasance", "nickname": "Al",
        "profile": "https://people.example/alice", "picture": "https://people.example/alice.png",
        "website": "https://alice.example/", "gender": "female", "birthdate": "1852-05-04",
        "zoneinfo": "Europe/London", "locale": "en-GB", "email_verified": true,
        "address": {"street_address": "1 High Street\nChrist Church", "locality": "Oxford", "country": "GB"},
        "phone_number": "+441865000000", "phone_number_verified": true,
    })
}

async fn user_info(provider: &Provider, scope: &str) -> Value {
    let tokens = provider.tokens(&[("scope", scope)]).await;
    let request = browser()
        .get(provider.server.url("/oauth/userinfo"))
        .bearer_auth(text(&tokens, "access_token"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

fn names(claims: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn each_scope_opens_its_claims_and_no_others() {
    let provider = Provider::start().await;
    provider.update_user(every_claim()).await;
    let opened = |scope: &'static str| {
        let provider = &provider;
        async move { user_info(provider, scope).await }
    };
    let profile = opened("openid profile").await;
    assert_eq!(
        names(&profile),
        [
            "birthdate",
            "family_name",
            "gender",
            "given_name",
            "locale",
            "middle_name",
            "name",
            "nickname",
            "picture",
            "preferred_username",
            "profile",
            "sub",
            "updated_at",
            "website",
            "zoneinfo"
        ]
    );
    let now = provider.server.clock.now().timestamp();
    let updated_at = profile["updated_at"].as_i64().unwrap();
    assert!((now - 600..=now).contains(&updated_at), "{updated_at}");
    let email = opened("openid email").await;
    assert_eq!(names(&email), ["email", "email_verified", "sub"]);
    assert_eq!(email["email_verified"], true);
    let address = opened("openid address").await;
    assert_eq!(names(&address), ["address", "sub"]);
    assert_eq!(address["address"], every_claim()["address"]);
    let phone = opened("openid phone").await;
    assert_eq!(names(&phone), ["phone_number", "phone_number_verified", "sub"]);
    assert_eq!(names(&opened("openid").await), ["sub"]);
    let all = opened("openid profile email address phone").await;
    for (name, value) in every_claim().as_object().unwrap() {
        assert_eq!(&all[name], value, "{name}");
    }
}

#[tokio::test]
async fn the_claims_parameter_moves_standard_claims_into_the_id_token() {
    let provider = Provider::start().await;
    provider.update_user(every_claim()).await;
    let asked =
        json!({"id_token": {"given_name": null, "address": {"essential": true}, "phone_number": null}});
    let scope = "openid profile address";
    let tokens = provider
        .tokens(&[("scope", scope), ("claims", &asked.to_string())])
        .await;
    let claims = provider.claims(text(&tokens, "id_token"), "RS256").await;
    assert_eq!(claims["given_name"], "Alicia");
    assert_eq!(claims["address"]["locality"], "Oxford");
    assert_eq!(
        claims["phone_number"], "+441865000000",
        "by itself, no scope opens it"
    );
    assert_eq!(claims.get("family_name"), None, "nobody asked for it");
}

#[tokio::test]
async fn claims_change_go_away_and_lose_their_verification() {
    let provider = Provider::start().await;
    provider.update_user(every_claim()).await;
    let scope = "openid profile email phone";
    provider
        .update_user(json!({"nickname": null, "given_name": "Alice", "phone_number": "+441865000001"}))
        .await;
    let claims = user_info(&provider, scope).await;
    assert_eq!(claims.get("nickname"), None);
    assert_eq!(
        (&claims["given_name"], &claims["family_name"]),
        (&json!("Alice"), &json!("Liddell"))
    );
    assert_eq!(claims["phone_number_verified"], false, "it was another number");
    assert_eq!(claims["email_verified"], true);
    provider
        .update_user(json!({"email": "alice@wonderland.example", "name": "Alice L."}))
        .await;
    let claims = user_info(&provider, scope).await;
    assert_eq!(claims["email"], "alice@wonderland.example");
    assert_eq!(
        (&claims["name"], &claims["email_verified"]),
        (&json!("Alice L."), &json!(false))
    );
    provider
        .update_user(json!({"email": "alice@example.org", "email_verified": true}))
        .await;
    assert_eq!(user_info(&provider, scope).await["email_verified"], true);
}

#[tokio::test]
async fn an_e_mail_address_has_one_user_also_after_changes() {
    let provider = Provider::start().await;
    let server = &provider.server;
    let other = server.user("bob", "another good password").await;
    let take =
        |email: &str| ProfilePatch::read(json!({"email": email}).as_object().unwrap().clone()).unwrap();
    let context = TestServer::context();
    let update = async |email: &str| {
        let operations = &server.app.operations;
        operations.update_user(&context, other, &take(email)).await
    };
    assert!(update("Alice@Example.com").await.is_err(), "it is Alice's");
    provider.update_user(json!({"email": "alice@new.example"})).await;
    update("alice@example.com").await.unwrap();
    assert!(update("alice@new.example").await.is_err());
    // The same once more, in another spelling, is no change of whose it is.
    update("ALICE@example.com").await.unwrap();
    assert!(update("no address").await.is_err());
}

#[tokio::test]
async fn the_ledger_holds_no_claim_in_clear_and_erasure_reaches_all() {
    let provider = Provider::start().await;
    provider.update_user(every_claim()).await;
    provider.server.settle().await;
    let rows: Vec<String> = sqlx::query_scalar("SELECT payload::text FROM grantlog.ledger_user")
        .fetch_all(provider.server.app.ledger.pool())
        .await
        .unwrap();
    let all = rows.concat();
    assert!(all.contains("phone_number"));
    for datum in [
        "Alicia",
        "Liddell",
        "people.example",
        "1852",
        "High Street",
        "441865",
    ] {
        assert!(!all.contains(datum), "{datum} is in the ledger");
    }
    let operations = &provider.server.app.operations;
    let tokens = provider.tokens(&[("scope", "openid profile")]).await;
    let context = TestServer::context();
    operations.erase_user(&context, provider.subject).await.unwrap();
    let request = browser()
        .get(provider.server.url("/oauth/userinfo"))
        .bearer_auth(text(&tokens, "access_token"));
    assert_eq!(request.send().await.unwrap().status(), 401);
    let patch = ProfilePatch::read(json!({"nickname": "Al"}).as_object().unwrap().clone()).unwrap();
    let late = operations.update_user(&context, provider.subject, &patch).await;
    assert!(late.is_err(), "an erased user gets no key and no claims");
}

#[tokio::test]
async fn the_answers_of_the_api_know_nothing_of_standard_claims() {
    let provider = Provider::start().await;
    provider.update_user(every_claim()).await;
    let tokens = provider.tokens(&[("scope", "openid view-user")]).await;
    let request = browser()
        .get(provider.server.url("/api/user"))
        .bearer_auth(text(&tokens, "access_token"));
    let answer = request.send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("alice") && !answer.contains("Alicia"), "{answer}");
}

#[test]
fn a_patch_of_claims_is_refused_by_name() {
    for (patch, member) in [
        (json!({"given_names": "A"}), "claims"),
        (json!({"preferred_username": "x"}), "preferred_username"),
        (json!({"preferred_username": null}), "preferred_username"),
        (json!({"updated_at": 1}), "updated_at"),
        (json!({"name": null}), "name"),
        (json!({"birthdate": "today"}), "birthdate"),
        (json!({"address": {"planet": "Earth"}}), "address"),
    ] {
        let refused = ProfilePatch::read(patch.as_object().unwrap().clone()).unwrap_err();
        assert!(
            refused.to_string().starts_with(&format!("{member}: ")),
            "{refused}"
        );
    }
}
