//! Which grants end with the login that they were given in.

use grantlog::domain::session::SessionEndRevokes;
use grantlog::logout::LogoutFollower;
use serde_json::{Value, json};

use super::{Desk, text};
use crate::races::Node;

#[tokio::test]
async fn the_end_of_a_login_ends_the_grants_that_the_setting_says_at_once() {
    for (revokes, online, offline, plain) in [
        (SessionEndRevokes::None, true, true, true),
        (SessionEndRevokes::Online, false, true, true),
        (SessionEndRevokes::All, false, false, false),
    ] {
        let desk = Desk::with(json!({}), |settings| settings.session_end_revokes = revokes).await;
        let mut grants = Vec::new();
        for (scope, lives) in [
            ("openid view-user", online),
            ("openid offline_access", offline),
            ("view-user", plain),
        ] {
            grants.push((desk.tokens(&desk.client, scope).await, scope, lives));
        }
        // Without a follower: what must hold at once waits for nobody.
        desk.log_out().await;
        for (tokens, scope, lives) in &grants {
            for member in ["access_token", "refresh_token"] {
                let active = desk.is_active(&desk.client, text(tokens, member)).await;
                assert_eq!(active, *lives, "{revokes:?} {scope} {member}");
            }
            let (status, body) = desk.refresh(&desk.client, tokens).await;
            assert_eq!(status == 200, *lives, "{revokes:?} {scope}: {body}");
        }
        let dead = grants.iter().filter(|(_, _, lives)| !lives).count();
        let refused = desk.events("RequestRefused").await;
        let ended = refused
            .iter()
            .filter(|refused| refused["reason"] == "session_ended");
        assert_eq!(ended.count(), dead, "{refused:?}");
        // The follower writes it on the grants, so that tables show it.
        let follower = LogoutFollower::start(&desk.server.app);
        let revoked = desk.wait_for("TokenRevoked", dead).await;
        follower.stop().await;
        assert_eq!(revoked.len(), dead);
        assert!(
            revoked.iter().all(|event| event["reason"] == "session_ended"),
            "{revoked:?}"
        );
    }
}

#[tokio::test]
async fn a_code_of_a_login_that_is_over_gives_no_id_token() {
    let desk = Desk::new().await;
    let (code, plain) = (
        desk.code(&desk.client, "openid offline_access").await,
        desk.code(&desk.client, "view-user").await,
    );
    desk.log_out().await;
    let (status, body) = desk.redeem(&desk.client, &code).await;
    assert_eq!((status, text(&body, "error")), (400, "invalid_grant"));
    assert_eq!(desk.redeem(&desk.client, &plain).await.0, 200);
}

/// Invariant 4, against the end of a login.
#[tokio::test(flavor = "multi_thread")]
async fn a_logout_beside_refreshes_on_two_nodes_leaves_nothing_active() {
    let desk = Desk::new().await;
    let node = Node::beside(&desk.server).await;
    let mut families = Vec::new();
    for _ in 0..6 {
        families.push(desk.tokens(&desk.client, "openid view-user").await);
    }
    let refreshes = families.iter().enumerate().map(|(number, tokens)| {
        let base = if number % 2 == 0 {
            &desk.server.base
        } else {
            &node.base
        };
        let desk = &desk;
        async move {
            let mut known: Vec<Value> = vec![tokens.clone()];
            loop {
                let token = text(&known[known.len() - 1], "refresh_token").to_owned();
                let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
                let (status, body) = desk.post(base, &desk.client, ("/oauth/token", &form)).await;
                if status != 200 {
                    assert_eq!((status, text(&body, "error")), (400, "invalid_grant"));
                    return known;
                }
                known.push(body);
            }
        }
    });
    let logout = async {
        desk.wait_for("RefreshRotated", 12).await;
        desk.log_out().await;
    };
    let refreshes = all_of(refreshes.collect());
    let (known, ()) = tokio::join!(refreshes, logout);
    let known = known.concat();
    assert!(known.len() >= families.len());
    for base in [&desk.server.base, &node.base] {
        for tokens in &known {
            for member in ["access_token", "refresh_token"] {
                let form = [("token", text(tokens, member))];
                let (_, body) = desk.post(base, &desk.client, ("/oauth/introspect", &form)).await;
                assert_eq!(body["active"], false, "{member}");
            }
        }
    }
}

/// All of them at once, in this task.
pub(crate) async fn all_of<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    std::future::poll_fn(move |context| {
        for (future, output) in &mut running {
            if output.is_none()
                && let std::task::Poll::Ready(done) = future.as_mut().poll(context)
            {
                *output = Some(done);
            }
        }
        if running.iter().all(|(_, output)| output.is_some()) {
            let outputs = running.iter_mut().filter_map(|(_, output)| output.take());
            return std::task::Poll::Ready(outputs.collect());
        }
        std::task::Poll::Pending
    })
    .await
}
