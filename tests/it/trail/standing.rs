//! How a grant and a pasted credential stand: as the endpoints would take them, with all that they rest on.

use std::time::Duration;

use grantlog::domain::client::{Approval, ClientCommand};
use grantlog::domain::refusal::{Refusal, RequestRefused};
use grantlog::ids::GrantId;
use grantlog::operations::grant_list::GrantFilter;
use grantlog::standing::GrantState;
use grantlog::trail::history::{History, MAX_MENTIONS};
use grantlog::trail::pasted::Pasted;
use serde_json::{Value, json};

use super::{exchange, run};
use crate::command_line::stdout;
use crate::harness::TestServer;
use crate::openid::Provider;
use crate::token::{Party, text};

async fn show(server: &TestServer, credential: &str, more: &[&str]) -> Value {
    let command = [&["grant", "show", credential, "--json"], more].concat();
    serde_json::from_str(&stdout(&run(server, &command).await)).unwrap()
}

/// How the grant stands, whether the credential can be used, and at what it fails.
fn standing(shown: &Value) -> (&str, bool, Option<&str>) {
    assert_eq!(shown["credential"]["authentic"], true, "{shown}");
    (
        text(&shown["standing"], "state"),
        shown["credential"]["usable"].as_bool().unwrap(),
        shown["credential"]["failed"]["reason"].as_str(),
    )
}

async fn listed(party: &Party, state: GrantState) -> Vec<GrantId> {
    let filter = GrantFilter {
        client: Some(party.key),
        subject: Some(party.subject),
        state: Some(state),
    };
    let operations = &party.server.app.operations;
    let (rows, _) = operations.list_grants(&filter, i64::MAX, 100).await.unwrap();
    rows.into_iter().map(|row| row.grant).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_every_endpoint_refuses_is_not_shown_as_usable() {
    let party = Party::new().await;
    let server = &party.server;
    let operations = &server.app.operations;
    let context = TestServer::context();
    let (_, first) = party.redeem(&party.code("view-user").await).await;
    let exchanged = exchange(&party, text(&first, "access_token")).await;
    let exchanged = text(&exchanged, "access_token");
    for token in [
        text(&first, "refresh_token"),
        text(&first, "access_token"),
        exchanged,
    ] {
        assert_eq!(standing(&show(server, token, &[]).await), ("live", true, None));
    }

    // What was exchanged for a token ends with it.
    party
        .post("/oauth/revoke", &[("token", text(&first, "refresh_token"))])
        .await;
    assert_eq!(
        standing(&show(server, exchanged, &[]).await),
        ("blocked", false, Some("subject_token_inactive"))
    );
    assert_eq!(
        standing(&show(server, text(&first, "access_token"), &[]).await),
        ("revoked", false, Some("grant_revoked"))
    );

    // With the password; not before.
    let (_, second) = party.redeem(&party.code("view-user").await).await;
    let refresh = text(&second, "refresh_token");
    assert_eq!(listed(&party, GrantState::Live).await.len(), 1);
    let before: i64 = sqlx::query_scalar("SELECT position FROM grantlog.head")
        .fetch_one(server.app.ledger.pool())
        .await
        .unwrap();
    operations
        .set_password(&context, party.subject, "wrong donkey charger".to_owned())
        .await
        .unwrap();
    assert!(!party.is_active(refresh).await);
    let refused = ("blocked", false, Some("password_changed"));
    for token in [refresh, text(&second, "access_token")] {
        assert_eq!(standing(&show(server, token, &[]).await), refused);
    }
    let at = before.to_string();
    let then = show(server, refresh, &["--at", &at]).await;
    assert_eq!(standing(&then), ("live", true, None));
    let printed = stdout(&run(server, &["grant", "show", refresh]).await);
    for words in [
        "blocked, its tokens are refused: The user's password was changed since, or the account was disabled meanwhile (password_changed)",
        "refresh token: authentic, no longer usable",
    ] {
        assert!(printed.contains(words), "{printed}");
    }
    assert!(listed(&party, GrantState::Live).await.is_empty());
    assert_eq!(listed(&party, GrantState::Blocked).await.len(), 1);

    // With the client's standing, which can come back; and with its own time.
    let (_, third) = party.redeem(&party.code("view-user").await).await;
    let refresh = text(&third, "refresh_token");
    let reason = "looked into".to_owned();
    operations
        .command_client(&context, party.key, &ClientCommand::Suspend { reason })
        .await
        .unwrap();
    assert_eq!(
        standing(&show(server, refresh, &[]).await),
        ("blocked", false, Some("client_suspended"))
    );
    operations
        .command_client(&context, party.key, &ClientCommand::Reinstate)
        .await
        .unwrap();
    assert_eq!(standing(&show(server, refresh, &[]).await), ("live", true, None));
    server.clock.advance(Duration::from_hours(2));
    let pasted = Pasted::find(operations, text(&third, "access_token"))
        .await
        .unwrap();
    let events = operations.grant_events(pasted.grant).await.unwrap();
    let then = (i64::MAX, server.clock.now());
    let history = History::read(operations, (&pasted, events), then).await.unwrap();
    let expired = history.unwrap().credential.unwrap();
    assert!(expired.usable_unless_expired && !expired.usable);
    assert_eq!(expired.failed.unwrap().reason, "token_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_that_a_grants_tokens_have_lost_are_named() {
    let party = Party::new().await;
    let server = &party.server;
    let approval = async |step: Approval| {
        let command = ClientCommand::Approval {
            scope: "detail-user".to_owned(),
            step,
            reason: "looked into".to_owned(),
        };
        let (operations, context) = (&server.app.operations, TestServer::context());
        operations
            .command_client(&context, party.key, &command)
            .await
            .unwrap();
        *server.app.ledger.head().borrow()
    };
    let approved = async || {
        approval(Approval::Approved).await;
        let (_, tokens) = party.redeem(&party.code("view-user detail-user").await).await;
        text(&tokens, "refresh_token").to_owned()
    };
    let refresh = approved().await;
    let before = show(server, &refresh, &[]).await;
    assert_eq!(
        before["standing"],
        json!({"state": "live", "failed": null, "lapsed": [], "lapsed_claims": []})
    );
    let withdrawn = approval(Approval::Withdrawn).await;
    let after = show(server, &refresh, &[]).await;
    assert_eq!(standing(&after), ("live", true, None));
    assert_eq!(after["standing"]["lapsed"], json!(["detail-user"]));
    assert_eq!(
        after["state"]["scope"], before["state"]["scope"],
        "what was granted stays"
    );
    let then = show(server, &refresh, &["--at", &(withdrawn - 1).to_string()]).await;
    assert_eq!(then["standing"], before["standing"]);
    let printed = stdout(&run(server, &["grant", "show", &refresh]).await);
    let line = printed.lines().find(|line| line.starts_with("lapsed"));
    assert!(line.is_some_and(|line| line.contains("detail-user")), "{printed}");
    let operations = &server.app.operations;
    let (rows, _) = operations
        .list_grants(&GrantFilter::default(), i64::MAX, 1)
        .await
        .unwrap();
    assert_eq!(rows[0].lapsed, ["detail-user"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_a_grants_tokens_have_lost_are_named() {
    let provider = Provider::with(json!({"default_scopes": "openid"})).await;
    let server = &provider.server;
    let claims = json!({"userinfo": {"email": null, "name": null}}).to_string();
    let tokens = provider.tokens(&[("claims", &claims)]).await;
    let refresh = text(&tokens, "refresh_token").to_owned();
    assert_eq!(
        show(server, &refresh, &[]).await["standing"]["lapsed_claims"],
        json!([])
    );
    let narrower = json!({"scope": "openid profile"});
    server.update_client(provider.client.key, narrower).await.unwrap();
    let shown = show(server, &refresh, &[]).await;
    let standing = &shown["standing"];
    assert_eq!(
        (
            &standing["state"],
            &standing["lapsed"],
            &standing["lapsed_claims"]
        ),
        (&json!("live"), &json!([]), &json!(["email"]))
    );
    let printed = stdout(&run(server, &["grant", "show", &refresh]).await);
    let line = printed.lines().find(|line| line.starts_with("lapsed"));
    assert!(
        line.is_some_and(|line| line.contains("the claim email (")),
        "{printed}"
    );
    let operations = &server.app.operations;
    let (rows, _) = operations
        .list_grants(&GrantFilter::default(), i64::MAX, 1)
        .await
        .unwrap();
    assert_eq!(rows[0].lapsed_claims, ["email"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_do_not_push_an_exchange_out_of_a_grants_lineage() {
    let party = Party::new().await;
    let server = &party.server;
    let ledger = &server.app.ledger;
    let (_, tokens) = party.redeem(&party.code("view-user").await).await;
    let access = text(&tokens, "access_token");
    exchange(&party, access).await;
    let grant = Pasted::find(&server.app.operations, access).await.unwrap().grant;
    let context = TestServer::context();
    let mut unit = ledger.unit_of_work(&context);
    let at = ledger.clock().now();
    let mut last = unit.create::<Refusal>(ledger.random().uuid_at(at).unwrap());
    for _ in 0..=MAX_MENTIONS {
        let refused = RequestRefused {
            endpoint: "/oauth/token".to_owned(),
            error: "invalid_grant".to_owned(),
            reason: "other_key".to_owned(),
            client: None,
            subject: None,
            grant: Some(grant),
        };
        unit.also(&last, &[refused.into()]).unwrap();
        last = unit.create::<Refusal>(ledger.random().uuid_at(at).unwrap());
    }
    let nothing = grantlog::domain::Decision::<_, (), ()>::accept(Vec::new(), ());
    assert!(unit.conclude(&last, nothing).await.unwrap().is_some());

    let shown = show(server, &grant.0.to_string(), &[]).await;
    let token = &shown["lineage"]["tokens"][0];
    assert_eq!(token["exchanged"].as_array().unwrap().len(), 1, "{token}");
    assert_eq!(shown["mentions"].as_array().unwrap().len(), MAX_MENTIONS);
    assert_eq!(shown["truncated"], json!(["mentions"]));
}
