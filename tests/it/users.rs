//! Users by id: who may see whom.

use grantlog::domain::client::{Approval, ClientCommand};
use grantlog::ids::ClientKey;
use serde_json::{Value, json};

use crate::code;
use crate::harness::TestServer;
use crate::token::{Party, text};

/// Approves scopes for a client.
pub(crate) async fn approve(server: &TestServer, client: ClientKey, scopes: &[&str]) {
    for scope in scopes {
        let command = ClientCommand::Approval {
            scope: (*scope).to_owned(),
            step: Approval::Approved,
            reason: String::new(),
        };
        let operations = &server.app.operations;
        operations
            .command_client(&TestServer::context(), client, &command)
            .await
            .unwrap();
    }
}

/// A client with all scopes and the restricted ones among them that it is given.
async fn party(approved: &[&str]) -> Party {
    let server = TestServer::start().await;
    let operations = &server.app.operations;
    operations
        .define_scope(&TestServer::context(), "read-users", "Read users", true)
        .await
        .unwrap();
    let party = Party::on(server, json!({"scope": "view-user detail-user read-users"})).await;
    approve(&party.server, party.key, approved).await;
    party
}

/// A token of the client itself.
pub(crate) async fn own_token(party: &Party, scope: &str) -> String {
    let form = [("grant_type", "client_credentials"), ("scope", scope)];
    let (status, body) = party.post("/oauth/token", &form).await;
    assert_eq!(status, 200, "{body}");
    text(&body, "access_token").to_owned()
}

async fn users_token(party: &Party, scope: &str) -> String {
    let code = code::issue(&party.server, party.key, party.subject, scope)
        .await
        .1;
    let (status, tokens) = party.redeem(&code).await;
    assert_eq!(status, 200, "{tokens}");
    text(&tokens, "access_token").to_owned()
}

fn error((status, body): &(u16, Value)) -> (u16, &str) {
    (*status, text(body, "error"))
}

#[tokio::test]
async fn a_users_token_shows_that_user_and_is_no_oracle_for_others() {
    let party = party(&["detail-user"]).await;
    let other = party.server.user("grace", "correct horse battery").await;
    let token = users_token(&party, "view-user detail-user").await;
    let own = format!("/api/users/{}", party.subject);
    let (status, body) = party.api(&own, &token).await;
    assert_eq!((status, text(&body, "username")), (200, "ada"));
    assert!(body.get("email").is_none());
    let (status, body) = party.api(&format!("{own}/details"), &token).await;
    assert_eq!((status, text(&body, "email")), (200, "ada@example.com"));
    let mut answers = Vec::new();
    for somebody in [other.0, uuid::Uuid::new_v4()] {
        for path in ["", "/details"] {
            let (status, mut body) = party.api(&format!("/api/users/{somebody}{path}"), &token).await;
            assert_eq!((status, text(&body, "error")), (403, "permission_denied"));
            body["request_id"] = Value::Null;
            answers.push(body.to_string());
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_client_that_may_read_users_sees_each_until_it_is_erased() {
    let party = party(&["read-users", "detail-user"]).await;
    let token = own_token(&party, "read-users").await;
    let path = format!("/api/users/{}", party.subject);
    let (status, body) = party.api(&path, &token).await;
    assert_eq!((status, text(&body, "username")), (200, "ada"));
    let details = format!("{path}/details");
    let refused = party.api(&details, &token).await;
    assert_eq!(
        error(&refused),
        (403, "insufficient_scope"),
        "details need detail-user too"
    );
    let wide = own_token(&party, "read-users detail-user").await;
    let (status, body) = party.api(&details, &wide).await;
    assert_eq!((status, text(&body, "email")), (200, "ada@example.com"));

    let nobody = party
        .api(&format!("/api/users/{}", uuid::Uuid::new_v4()), &token)
        .await;
    assert_eq!(error(&nobody), (404, "resource_not_found"));
    for malformed in ["42", "%ff", &party.subject.0.simple().to_string()] {
        let refused = party.api(&format!("/api/users/{malformed}"), &token).await;
        assert_eq!(error(&refused), (400, "validation_error"), "{malformed}");
    }
    let operations = &party.server.app.operations;
    operations
        .erase_user(&TestServer::context(), party.subject)
        .await
        .unwrap();
    assert_eq!(
        error(&party.api(&path, &token).await),
        (404, "resource_not_found")
    );
    assert_eq!(
        error(&party.api(&details, &wide).await),
        (404, "resource_not_found")
    );
}

#[tokio::test]
async fn reading_users_needs_an_approval_even_where_the_scope_is_not_restricted() {
    let party = party(&["read-users"]).await;
    let operations = &party.server.app.operations;
    operations
        .define_scope(&TestServer::context(), "read-users", "Read users", false)
        .await
        .unwrap();
    let token = own_token(&party, "read-users").await;
    let path = format!("/api/users/{}", party.subject);
    assert_eq!(party.api(&path, &token).await.0, 200);
    withdraw(&party).await;
    let refused = party.api(&path, &token).await;
    assert_eq!(error(&refused), (403, "unapproved_scope"));
}

async fn withdraw(party: &Party) {
    let withdrawn = ClientCommand::Approval {
        scope: "read-users".to_owned(),
        step: Approval::Withdrawn,
        reason: "over".to_owned(),
    };
    let operations = &party.server.app.operations;
    operations
        .command_client(&TestServer::context(), party.key, &withdrawn)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_without_the_scope_or_its_approval_sees_nobody() {
    let party = party(&["detail-user", "read-users"]).await;
    let paths = [party.subject.0, uuid::Uuid::new_v4()].map(|id| format!("/api/users/{id}"));
    let without = own_token(&party, "view-user detail-user").await;
    let with = own_token(&party, "read-users").await;
    for path in &paths {
        let refused = party.api(path, &without).await;
        assert_eq!(error(&refused), (403, "insufficient_scope"), "{path}");
    }
    let refused = party.api("/api/user", &with).await;
    assert_eq!(
        error(&refused),
        (403, "permission_denied"),
        "it stands for no user"
    );
    withdraw(&party).await;
    for path in &paths {
        let refused = party.api(path, &with).await;
        assert_eq!(error(&refused), (403, "unapproved_scope"), "{path}");
    }
}

#[tokio::test]
async fn a_client_that_acts_for_itself_asks_for_users_by_the_subjects_that_it_knows() {
    let server = TestServer::start().await;
    let operations = &server.app.operations;
    operations
        .define_scope(&TestServer::context(), "read-users", "Read users", true)
        .await
        .unwrap();
    let party = Party::on(
        server,
        json!({"scope": "view-user detail-user read-users", "subject_type": "pairwise"}),
    )
    .await;
    approve(&party.server, party.key, &["read-users", "detail-user"]).await;
    let (_, own) = party
        .api("/api/user", &users_token(&party, "view-user").await)
        .await;
    let sub = text(&own, "id").to_owned();
    assert_ne!(sub, party.subject.to_string());
    let token = own_token(&party, "read-users detail-user").await;
    for path in ["", "/details"] {
        let (status, body) = party.api(&format!("/api/users/{sub}{path}"), &token).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(
            (text(&body, "id"), text(&body, "username")),
            (sub.as_str(), "ada")
        );
    }
    // A subject of nobody here, and one of another sector's.
    let stranger = party
        .server
        .client(json!({
            "client_name": "Other", "grant_types": ["client_credentials"], "scope": "read-users",
            "redirect_uris": ["https://other.example/cb"], "subject_type": "pairwise",
        }))
        .await;
    let client = party
        .server
        .app
        .operations
        .load::<grantlog::domain::client::Client>(stranger.key.0)
        .await
        .unwrap();
    let elsewhere = party
        .server
        .app
        .operations
        .subject_for(client.registration.as_ref().unwrap(), party.subject);
    for unknown in [elsewhere, "A".repeat(43)] {
        let refused = party.api(&format!("/api/users/{unknown}"), &token).await;
        assert_eq!(error(&refused), (404, "resource_not_found"), "{unknown}");
    }
    let operations = &party.server.app.operations;
    operations
        .erase_user(&TestServer::context(), party.subject)
        .await
        .unwrap();
    let refused = party.api(&format!("/api/users/{sub}"), &token).await;
    assert_eq!(error(&refused), (404, "resource_not_found"));
}
