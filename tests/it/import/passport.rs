//! Laravel Passport: its refresh tokens and its passwords.

use grantlog::import::Kind;
use serde_json::json;

use super::{
    CLIENT, KEY, SECRET, Source, counts, introspect, old_token, post, refresh, refusals, store_key, token_id,
};
use crate::flow;
use crate::harness::{TestServer, browser};

/// "correct horse battery" by PHP's `password_hash(…, PASSWORD_BCRYPT, ['cost' => 4])`.
pub(super) const BCRYPT: &str = "$2y$04$tVBJyNVd71WJ3usnhTjxsOv1YiWGJaAeyGB3FoZy08SzijhjvPmbm";

/// A server's tables with one user, one client and one live refresh token, named `r1`.
pub(super) fn passport() -> Source {
    let source = Source::new(Kind::Passport);
    source
        .file(
            "oauth_clients.csv",
            &format!(
                "id,user_id,name,secret,provider,redirect,personal_access_client,password_client,revoked,created_at\n\
                 {CLIENT},NULL,Example App,{SECRET},NULL,{},0,0,0,2024-01-01 00:00:00\n",
                flow::REDIRECT_URI
            ),
        )
        .file(
            "users.csv",
            &format!("id,name,email,email_verified_at,password\n1,Alice Example,Alice@example.com,NULL,{BCRYPT}\n"),
        )
        .file(
            "oauth_access_tokens.csv",
            &format!(
                "id,user_id,client_id,name,scopes,revoked,created_at,updated_at,expires_at\n\
                 {},1,{CLIENT},,\"[\"\"view-user\"\"]\",0,2026-01-01 00:00:00,,2026-01-02 00:00:00\n",
                token_id("a1")
            ),
        )
        .file(
            "oauth_refresh_tokens.csv",
            &format!(
                "id,access_token_id,revoked,expires_at\n{},{},0,2090-01-01 00:00:00\n",
                token_id("r1"),
                token_id("a1")
            ),
        );
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passport_refresh_token_is_exchanged_once() {
    let server = TestServer::start().await;
    let report = passport().import(&server).await;
    assert_eq!(
        counts(&report, "oauth_refresh_tokens"),
        (1, 1, 0, 0),
        "{:?}",
        report.skipped
    );
    let old = old_token(CLIENT, "r1", &KEY);
    let app = (CLIENT, SECRET);

    // Without the key it cannot be opened, and nothing is lost by having tried.
    assert_eq!(refresh(&server, app, &old).await.0, 400);
    store_key(&server).await;
    assert_eq!(introspect(&server, app, &old).await["active"], true);

    let (status, tokens) = refresh(&server, app, &old).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["scope"], "view-user");
    let new = tokens["refresh_token"].as_str().unwrap();
    assert!(new.starts_with("glr_"));
    let access = introspect(&server, app, tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(access["active"], true);
    let alice = server
        .app
        .operations
        .find_user("alice@example.com")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(access["sub"], json!(alice));

    let (status, next) = refresh(&server, app, new).await;
    assert_eq!(status, 200, "{next}");
    server.settle().await;
    let rows: Vec<(i32, String, bool)> = sqlx::query_as(
        "SELECT generation::int, refresh_token::text, used_at IS NOT NULL FROM client_refresh_tokens ORDER BY generation",
    )
    .fetch_all(&server.database.owner().await)
    .await
    .unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.0, row.2)).collect::<Vec<_>>(),
        [(1, true), (2, true), (3, false)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_use_of_a_passport_refresh_token_revokes_the_family() {
    let server = TestServer::start().await;
    passport().import(&server).await;
    store_key(&server).await;
    let (old, app) = (old_token(CLIENT, "r1", &KEY), (CLIENT, SECRET));
    let (_, tokens) = refresh(&server, app, &old).await;
    let (status, body) = refresh(&server, app, &old).await;
    assert_eq!((status.as_u16(), &body["error"]), (400, &json!("invalid_grant")));
    assert_eq!(refusals(&server).await[0], "refresh_replayed");
    for name in ["access_token", "refresh_token"] {
        let state = introspect(&server, app, tokens[name].as_str().unwrap()).await;
        assert_eq!(state["active"], false, "{name}");
    }
    assert_eq!(
        refresh(&server, app, tokens["refresh_token"].as_str().unwrap())
            .await
            .0,
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_16_uses_of_one_passport_refresh_token_one_succeeds_and_the_family_dies() {
    let server = TestServer::start().await;
    passport().import(&server).await;
    store_key(&server).await;
    let (old, app) = (old_token(CLIENT, "r1", &KEY), (CLIENT, SECRET));
    let uses = (0..16).map(|_| refresh(&server, app, &old));
    let mut won = Vec::new();
    for (status, body) in join(uses).await {
        if status == 200 {
            won.push(body["access_token"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(introspect(&server, app, &won[0]).await["active"], false);
}

/// Awaits all of them at once.
async fn join<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(|future| (Some(Box::pin(future)), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in &mut pending {
            if let Some(running) = future
                && let std::task::Poll::Ready(value) = running.as_mut().poll(context)
            {
                (*future, *done) = (None, Some(value));
            }
        }
        if pending.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pending.into_iter().map(|(_, done)| done.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_def502_token_with_a_flipped_bit_is_refused() {
    let server = TestServer::start_with(|settings| settings.failures_per_minute = 3).await;
    passport().import(&server).await;
    store_key(&server).await;
    let (old, app) = (old_token(CLIENT, "r1", &KEY), (CLIENT, SECRET));
    for place in [8, old.len() / 2, old.len() - 1] {
        let mut bytes = old.clone().into_bytes();
        bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_eq!(refresh(&server, app, &changed).await.0, 400, "{place}");
    }
    // Each of them cost a key derivation: no more for a while, though other requests of the client are answered.
    assert_eq!(refresh(&server, app, &old).await.0, 429);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("scope", "view-user"),
    ];
    assert_eq!(post(&server, "/oauth/token", &form).await.0, 200);
    server.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(refresh(&server, app, &old).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passport_token_is_for_its_client_its_key_and_its_time() {
    let server = TestServer::start().await;
    let source = passport();
    let other = "11111111-2222-4333-8444-555555555555";
    let clients = std::fs::read_to_string(source.path().join("oauth_clients.csv")).unwrap();
    let line = format!("{other},NULL,Other,{SECRET},NULL,https://other.example/cb,0,0,0,\n");
    source.file("oauth_clients.csv", &format!("{clients}{line}"));
    let tokens = std::fs::read_to_string(source.path().join("oauth_refresh_tokens.csv")).unwrap();
    let soon = (server.clock.now() + chrono::TimeDelta::hours(1)).format("%Y-%m-%d %H:%M:%S");
    let line = format!("{},{},0,{soon}\n", token_id("r3"), token_id("a1"));
    source.file("oauth_refresh_tokens.csv", &format!("{tokens}{line}"));
    source.import(&server).await;
    store_key(&server).await;
    // Another client's token, one that names itself in it, another key, another id.
    for (client, token) in [
        (other, old_token(CLIENT, "r1", &KEY)),
        (other, old_token(other, "r1", &KEY)),
        (CLIENT, old_token(CLIENT, "r1", &[8; 32])),
        (CLIENT, old_token(CLIENT, "r2", &KEY)),
    ] {
        assert_eq!(refresh(&server, (client, SECRET), &token).await.0, 400);
    }
    // A wrong secret is told so before anything is opened.
    let (status, _) = refresh(&server, (CLIENT, "wrong"), &old_token(CLIENT, "r1", &KEY)).await;
    assert_eq!(status, 401);
    let old = old_token(CLIENT, "r3", &KEY);
    server.clock.advance(std::time::Duration::from_hours(2));
    assert_eq!(refresh(&server, (CLIENT, SECRET), &old).await.0, 400);
    assert_eq!(refusals(&server).await[0], "refresh_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_refresh_token_can_be_revoked() {
    let server = TestServer::start().await;
    passport().import(&server).await;
    store_key(&server).await;
    let old = old_token(CLIENT, "r1", &KEY);
    let form = [("client_id", CLIENT), ("client_secret", SECRET), ("token", &old)];
    assert_eq!(post(&server, "/oauth/revoke", &form).await.0, 200);
    assert_eq!(refresh(&server, (CLIENT, SECRET), &old).await.0, 400);
    assert_eq!(refusals(&server).await[0], "grant_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bcrypt_password_is_rehashed_at_login_without_ending_sessions() {
    let server = TestServer::start().await;
    let source = passport();
    source.import(&server).await;
    store_key(&server).await;
    let alice = server
        .app
        .operations
        .find_user("alice@example.com")
        .await
        .unwrap()
        .unwrap();
    let hash = || async {
        let context = TestServer::context();
        let mut unit = server.app.ledger.unit_of_work(&context);
        let user = unit.load::<grantlog::domain::user::User>(alice.0).await.unwrap();
        let account = user.account.clone().unwrap();
        server
            .app
            .operations
            .password_hash(alice, &account)
            .await
            .unwrap()
            .unwrap()
    };
    assert_eq!(hash().await, BCRYPT);
    let client = grantlog::operations::client::CreatedClient {
        key: grantlog::ids::ClientKey(CLIENT.parse().unwrap()),
        client_id: CLIENT.to_owned(),
        client_secret: None,
    };
    let (agent, query) = (browser(), flow::query(&client));
    let wrong = flow::log_in(&server, &agent, &query, ("alice@example.com", "wrong horse")).await;
    assert!(wrong.is_login_page());
    assert_eq!(hash().await, BCRYPT);

    let after = flow::log_in(&server, &agent, &query, ("ALICE@example.com", flow::PASSWORD)).await;
    assert_eq!(after.status, 303, "{}", after.body);
    assert!(hash().await.starts_with("$argon2id$"));
    // The session that began before the new hash goes on; the consent that came with the token stands for the user's.
    let answer = flow::follow(&server, &agent, &after).await;
    assert!(!answer.is_login_page(), "{}", answer.body);
    // So does what the old server had granted.
    let (status, _) = refresh(&server, (CLIENT, SECRET), &old_token(CLIENT, "r1", &KEY)).await;
    assert_eq!(status, 200);
    // The new hash is good for the next login.
    let again = flow::log_in(&server, &browser(), &query, ("alice@example.com", flow::PASSWORD)).await;
    assert_eq!(again.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_changed_here_ends_what_the_other_server_had_granted() {
    let server = TestServer::start().await;
    let source = passport();
    source.import(&server).await;
    store_key(&server).await;
    let (operations, context) = (&server.app.operations, TestServer::context());
    let alice = operations.find_user("alice@example.com").await.unwrap().unwrap();
    operations
        .set_password(&context, alice, "another password".to_owned())
        .await
        .unwrap();
    let (status, _) = refresh(&server, (CLIENT, SECRET), &old_token(CLIENT, "r1", &KEY)).await;
    assert_eq!(status, 400);
    assert_eq!(refusals(&server).await[0], "password_changed");
}
