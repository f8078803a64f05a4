//! What a part of the administration API must not open: the rest of it.

use serde_json::json;

use super::{Administered, error};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_configure_does_not_make_itself_an_administrator() {
    let administered = Administered::new().await;
    let client = administered.party.client_id.clone();
    let other = administered
        .party
        .server
        .client(json!({"client_name": "Another", "client_id": "another",
        "grant_types": ["client_credentials"], "scope": "view-user admin detail-user"}))
        .await;
    let (part, full) = (
        administered.token("admin:configure").await,
        administered.token("admin").await,
    );
    let reason = json!({"reason": "an attempt"});
    let calls = [
        (
            "patch",
            format!("/admin/clients/{client}"),
            json!({"client_name": "Mine"}),
        ),
        (
            "post",
            format!("/admin/clients/{client}/rotate-secret"),
            json!({}),
        ),
        (
            "post",
            format!("/admin/clients/{client}/registration-token"),
            json!({}),
        ),
        ("post", format!("/admin/clients/{client}/revoke"), reason.clone()),
        (
            "post",
            "/admin/clients/another/approvals".to_owned(),
            json!({"scope": "admin", "step": "approved"}),
        ),
        (
            "patch",
            "/admin/scopes/admin".to_owned(),
            json!({"restricted": false}),
        ),
        ("post", "/admin/scopes/admin:read/retire".to_owned(), reason),
        // Nor by rules, which would stop whoever undoes them.
        (
            "post",
            "/admin/policies/client-secret-brute-force/enable".to_owned(),
            json!({"action": "suspend_client"}),
        ),
        (
            "post",
            "/admin/policies/mine/enable".to_owned(),
            json!({"action": "revoke_grant", "sigma": "title: x"}),
        ),
    ];
    for (method, path, body) in &calls {
        let answer = administered.send((method, path), Some(&part), Some(body)).await;
        assert_eq!(
            (answer.status, error(&answer.body)),
            (403, "permission_denied"),
            "{path}"
        );
    }
    let refused = "event_type = 'RequestRefused' AND payload->>'reason' = 'administration_of_administrators'";
    assert_eq!(administered.count(refused).await, 9);
    // Nor does whoever may operate put out of action who may administer, which it could not undo.
    let operate = administered.token("admin:operate").await;
    let whole =
        json!({"by": "client", "value": client, "whole": true, "reason": "an attempt", "dry_run": false});
    for (path, body) in [
        (format!("/admin/clients/{client}/suspend"), &calls[3].2),
        ("/admin/contain".to_owned(), &whole),
    ] {
        let answer = administered
            .send(("post", &path), Some(&operate), Some(body))
            .await;
        assert_eq!(
            (answer.status, error(&answer.body)),
            (403, "permission_denied"),
            "{path}"
        );
    }
    assert_eq!(administered.count(refused).await, 11);
    let other_suspended = administered
        .send(
            ("post", "/admin/clients/another/suspend"),
            Some(&operate),
            Some(&calls[3].2),
        )
        .await;
    assert_eq!(other_suspended.status, 200, "{}", other_suspended.body);
    let reinstated = administered
        .send(
            ("post", "/admin/clients/another/reinstate"),
            Some(&operate),
            Some(&json!({})),
        )
        .await;
    assert_eq!(reinstated.status, 200, "{}", reinstated.body);
    // The same of another client and scope.
    let approval = json!({"scope": "detail-user", "step": "approved", "reason": "it shows addresses"});
    for (path, body) in [
        ("/admin/clients/another/approvals", approval),
        ("/admin/clients/another/rotate-secret", json!({})),
    ] {
        let answer = administered.send(("post", path), Some(&part), Some(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    // And whoever may do all may do that.
    let (_, path, body) = &calls[4];
    let answer = administered.send(("post", path), Some(&full), Some(body)).await;
    assert_eq!(
        (answer.status, &answer.body["approvals"]["admin"]["state"]),
        (200, &json!("approved"))
    );
    let actor = format!("metadata->>'actor' = 'client:{}'", administered.party.key);
    let approved = format!(
        "event_type = 'ScopeApproved' AND aggregate_id = '{}' AND {actor}",
        other.key
    );
    assert_eq!(administered.count(&approved).await, 2);
    // A token of a user is none of an administrator, whatever its scope.
    let (_, tokens) = administered
        .party
        .redeem(&administered.party.code("admin:read").await)
        .await;
    let users = tokens["access_token"].as_str().unwrap();
    let answer = administered
        .send(("get", "/admin/clients"), Some(users), None)
        .await;
    assert_eq!((answer.status, error(&answer.body)), (403, "permission_denied"));
    // Nor is one of whom the approval was taken from.
    let withdrawal = json!({"scope": "admin:configure", "step": "withdrawn", "reason": "a drill"});
    let path = format!("/admin/clients/{client}/approvals");
    let answer = administered
        .send(("post", &path), Some(&full), Some(&withdrawal))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = administered
        .send(("post", "/admin/keys/rotate"), Some(&part), Some(&json!({})))
        .await;
    assert_eq!((answer.status, error(&answer.body)), (403, "unapproved_scope"));
}
