//! From the id of a failed request to why it failed, over the administration API.

use grantlog::ids::RequestId;
use serde_json::{Value, json};

use crate::errors::Answered;
use crate::harness::TestServer;
use crate::token::{Party, text};
use crate::users::{approve, own_token};

/// A client whose requests fail, and an administrator's token.
pub(crate) async fn party(server: TestServer) -> (Party, String) {
    let operations = &server.app.operations;
    operations
        .define_scope(&TestServer::context(), "admin", "Administer", true)
        .await
        .unwrap();
    let extra = json!({"scope": "view-user detail-user server-operations admin"});
    let party = Party::on(server, extra).await;
    approve(&party.server, party.key, &["admin"]).await;
    let token = own_token(&party, "admin").await;
    (party, token)
}

async fn look_up(party: &Party, token: &str, request: &str) -> (u16, Value) {
    party.api(&format!("/admin/refusals/{request}"), token).await
}

#[tokio::test]
async fn a_request_id_leads_to_the_check_that_failed_and_to_what_helps() {
    let (party, admin) = party(TestServer::start().await).await;
    let form = [("grant_type", "client_credentials"), ("scope", "detail-user")];
    let (_, refused) = party.post("/oauth/token", &form).await;
    assert!(
        !refused.to_string().contains("scope_not_approved"),
        "the caller is not told: {refused}"
    );
    let (status, found) = look_up(&party, &admin, text(&refused, "request_id")).await;
    assert_eq!(status, 200, "{found}");
    for (member, value) in [
        ("endpoint", "/oauth/token"),
        ("error", "invalid_scope"),
        ("reason", "scope_not_approved"),
        ("client_id", &party.client_id),
        ("request_id", text(&refused, "request_id")),
        ("severity", "medium"),
    ] {
        assert_eq!(text(&found, member), value);
    }
    assert!(text(&found, "check").contains("no approval"));
    for member in ["causes", "resolution", "prevention"] {
        assert!(!found[member].as_array().unwrap().is_empty(), "{member}");
    }
    let (_, refused) = party.api("/api/user", "nonsense").await;
    let (_, found) = look_up(&party, &admin, text(&refused, "request_id")).await;
    assert_eq!(
        (text(&found, "reason"), text(&found, "endpoint")),
        ("not_our_token", "/api/user")
    );
    assert!(!found.to_string().contains("127.0.0"), "no network data: {found}");
}

#[tokio::test]
async fn replays_are_found_even_where_their_refusal_was_suppressed() {
    let server = TestServer::start_with(|settings| settings.refusals_per_minute = 0).await;
    let (party, admin) = party(server).await;
    let code = party.code("view-user").await;
    let (_, tokens) = party.redeem(&code).await;
    let (_, replayed) = party.redeem(&code).await;
    let (status, found) = look_up(&party, &admin, text(&replayed, "request_id")).await;
    assert_eq!((status, text(&found, "reason")), (200, "code_replayed"));
    assert_eq!(text(&found, "severity"), "high");
    assert_eq!(text(&found, "subject"), party.subject.to_string());
    assert!(tokens["access_token"].is_string());

    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let first = text(&tokens, "refresh_token");
    party.refresh(first).await;
    party.server.clock.advance(std::time::Duration::from_mins(1));
    let (_, replayed) = party.refresh(first).await;
    assert_eq!(text(&replayed, "error"), "invalid_grant");
    let (status, found) = look_up(&party, &admin, text(&replayed, "request_id")).await;
    assert_eq!((status, text(&found, "reason")), (200, "refresh_replayed"));

    let (_, refused) = party.api("/api/user", "nonsense").await;
    let (status, missing) = look_up(&party, &admin, text(&refused, "request_id")).await;
    assert_eq!((status, text(&missing, "error")), (404, "resource_not_found"));
    assert!(
        text(&missing, "message").contains("suppressed under load"),
        "{missing}"
    );
}

#[tokio::test]
async fn replays_are_found_where_their_refusal_was_recorded() {
    let (party, admin) = party(TestServer::start().await).await;
    let code = party.code("view-user").await;
    party.redeem(&code).await;
    let (_, replayed) = party.redeem(&code).await;
    let (_, found) = look_up(&party, &admin, text(&replayed, "request_id")).await;
    assert_eq!(text(&found, "reason"), "code_replayed");
    assert!(
        found["grant"].is_string() && found["client_id"].is_string(),
        "{found}"
    );
}

#[tokio::test]
async fn only_an_administrator_that_acts_for_itself_and_is_approved_may_ask() {
    let (party, admin) = party(TestServer::start().await).await;
    let path = format!("/admin/refusals/{}", uuid::Uuid::new_v4());
    let url = party.server.url(&path);
    let nobody = Answered::to(party.http.get(&url)).await;
    assert_eq!(
        (nobody.status, text(&nobody.body, "error")),
        (401, "unauthenticated")
    );
    assert_eq!(nobody.header("www-authenticate"), r#"Bearer realm="grantlog""#);
    let other = own_token(&party, "server-operations").await;
    let (_, tokens) = party.redeem(&party.code("admin").await).await;
    let person = text(&tokens, "access_token");
    for (token, status, error) in [
        ("nonsense", 401, "token_invalid"),
        (other.as_str(), 403, "insufficient_scope"),
        (person, 403, "permission_denied"),
        (admin.as_str(), 404, "resource_not_found"),
    ] {
        let (came, body) = party.api(&path, token).await;
        assert_eq!((came, text(&body, "error")), (status, error));
    }
    let (status, body) = party.api("/admin/refusals/42", &admin).await;
    assert_eq!((status, text(&body, "error")), (400, "validation_error"));
    let withdraw = grantlog::domain::client::ClientCommand::Approval {
        scope: "admin".to_owned(),
        step: grantlog::domain::client::Approval::Withdrawn,
        reason: "left".to_owned(),
    };
    let operations = &party.server.app.operations;
    operations
        .command_client(&TestServer::context(), party.key, &withdraw)
        .await
        .unwrap();
    let (status, body) = party.api(&path, &admin).await;
    assert_eq!((status, text(&body, "error")), (403, "unapproved_scope"));
}

#[tokio::test]
async fn a_refusal_is_found_by_an_index_on_every_partition() {
    let (party, _) = party(TestServer::start().await).await;
    let owner = party.server.database.owner().await;
    for (table, types) in [
        ("ledger_refusal", "'RequestRefused'"),
        ("ledger_grant", "'CodeReplayed', 'RefreshReplayed'"),
    ] {
        let mut connection = owner.acquire().await.unwrap();
        // An empty table would be scanned whatever index it has.
        sqlx::query("SET enable_seqscan = off")
            .execute(&mut *connection)
            .await
            .unwrap();
        let query = format!(
            "EXPLAIN SELECT position FROM grantlog.{table} \
             WHERE (metadata->>'request_id')::uuid = '{}' AND event_type IN ({types}) AND lane = 0 \
             ORDER BY position LIMIT 1",
            RequestId(uuid::Uuid::new_v4())
        );
        let plan: Vec<String> = sqlx::query_scalar(&query)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let plan = plan.join("\n");
        assert!(
            plan.contains("request_id") && plan.contains("Index Cond"),
            "{plan}"
        );
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
}
