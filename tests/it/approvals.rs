//! Approvals of restricted scopes, from the first request to the withdrawal, over HTTP.

use grantlog::domain::client::{Approval, ClientCommand, ClientRefusal};
use grantlog::operations::OperationError;

use crate::flow::{self, with};
use crate::harness::{TestServer, browser};
use crate::token::{Party, text};

async fn take(party: &Party, step: Approval, reason: &str) -> Result<(), OperationError> {
    let command = ClientCommand::Approval {
        scope: "detail-user".to_owned(),
        step,
        reason: reason.to_owned(),
    };
    let operations = &party.server.app.operations;
    operations
        .command_client(&TestServer::context(), party.key, &command)
        .await
}

/// What the authorization and the token endpoint say of the restricted scope.
async fn asked(party: &Party) -> [String; 2] {
    let query = [
        ("response_type", "code"),
        ("client_id", &party.client_id),
        ("redirect_uri", crate::code::REDIRECT_URI),
        ("scope", "view-user detail-user"),
        ("code_challenge", flow::CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let query: flow::Query = query
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let page = flow::request(&party.server, &browser(), &with(&query, &[])).await;
    let authorize = if page.is_login_page() {
        "asks".to_owned()
    } else {
        page.parameters()["error"].clone()
    };
    let form = [("grant_type", "client_credentials"), ("scope", "detail-user")];
    let (status, body) = party.post("/oauth/token", &form).await;
    let token = if status == 200 {
        "issues"
    } else {
        text(&body, "error")
    };
    [authorize, token.to_owned()]
}

#[tokio::test]
async fn a_restricted_scope_is_granted_only_while_it_is_approved() {
    let party = Party::new().await;
    let (no, yes) = (["invalid_scope", "invalid_scope"], ["asks", "issues"]);
    assert_eq!(asked(&party).await, no);
    for (step, reason, allowed) in [
        (Approval::Requested, "for the profile page", false),
        (Approval::Rejected, "not yet", false),
        (Approval::Requested, "the profile page is ready", false),
        (Approval::Approved, "", true),
        (Approval::Approved, "again", true),
        (Approval::Withdrawn, "it leaked", false),
        (Approval::Approved, "mended", true),
    ] {
        take(&party, step, reason).await.unwrap();
        assert_eq!(asked(&party).await, if allowed { yes } else { no }, "{step:?}");
    }
    let approvals = party.server.app.operations.approvals(&[party.key]).await.unwrap();
    let last = &approvals[&party.key]["detail-user"];
    assert_eq!(
        (last.state, last.actor.as_str(), last.reason.as_str()),
        (Approval::Approved, "command_line", "mended")
    );
    let owner = party.server.database.owner().await;
    let events: Vec<String> = sqlx::query_scalar(
        "SELECT event_type FROM grantlog.ledger_client WHERE event_type LIKE 'Scope%' ORDER BY position",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert_eq!(
        events.len(),
        6,
        "a step that was taken already appends nothing: {events:?}"
    );
}

#[tokio::test]
async fn a_token_issued_before_loses_the_scope_whatever_the_user_consented_to() {
    let party = Party::new().await;
    take(&party, Approval::Approved, "").await.unwrap();
    let (_, tokens) = party.redeem(&party.code("view-user detail-user").await).await;
    let access = text(&tokens, "access_token");
    assert_eq!(party.api("/api/user/details", access).await.0, 200);
    take(&party, Approval::Withdrawn, "the contract ended")
        .await
        .unwrap();
    for (step, reason) in [
        (Approval::Requested, "please"),
        (Approval::Rejected, "no"),
        (Approval::Requested, "please?"),
    ] {
        let (status, body) = party.api("/api/user/details", access).await;
        assert_eq!((status, text(&body, "error")), (403, "unapproved_scope"));
        assert_eq!(
            party.api("/api/user", access).await.0,
            200,
            "the other scope holds"
        );
        take(&party, step, reason).await.unwrap();
    }
    take(&party, Approval::Approved, "").await.unwrap();
    assert_eq!(party.api("/api/user/details", access).await.0, 200);
}

#[tokio::test]
async fn steps_that_make_no_sense_are_refused_in_words() {
    let party = Party::new().await;
    let scope = || "detail-user".to_owned();
    for (step, reason, refusal) in [
        (Approval::Withdrawn, "x", ClientRefusal::NotApproved(scope())),
        (Approval::Rejected, "x", ClientRefusal::NotRequested(scope())),
        (Approval::Rejected, " ", ClientRefusal::ReasonMissing),
        (Approval::Withdrawn, "", ClientRefusal::ReasonMissing),
    ] {
        match take(&party, step, reason).await {
            Err(OperationError::Client(came)) => assert_eq!(came, refusal),
            other => panic!("{step:?}: {other:?}"),
        }
    }
    let operations = &party.server.app.operations;
    for (scope, step, problem) in [
        ("server-operations", Approval::Requested, "not restricted"),
        ("nobody-defined-this", Approval::Requested, "not defined"),
        ("nobody-defined-this", Approval::Approved, "not defined"),
    ] {
        let command = ClientCommand::Approval {
            scope: scope.to_owned(),
            step,
            reason: "x".to_owned(),
        };
        let came = operations
            .command_client(&TestServer::context(), party.key, &command)
            .await;
        let said = came.unwrap_err().to_string();
        assert!(said.contains(problem), "{said}");
    }
}
