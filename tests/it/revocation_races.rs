//! Every way to end access, amid every way to get it, on two nodes: once the end is acknowledged, nothing that was ever
//! issued is active anywhere, and nothing more is issued (invariants 4 and 5 of the ledger).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use grantlog::config::RegistrationMode;
use grantlog::domain::client::{ClientCommand, TokenAlgorithm};
use grantlog::ids::{ClientKey, GrantId, SubjectId};
use grantlog::operations::account::{EndError, EndedBy};
use serde_json::{Value, json};

use crate::code::{self, REDIRECT_URI, VERIFIER};
use crate::command_line::{finish, grantlog_on, stdout};
use crate::harness::{TestServer, browser};
use crate::races::Node;
use crate::token::text;

const PASSWORD: &str = "correct horse battery";
const FORM: &str = "application/x-www-form-urlencoded";
/// How many tokens there are before the end comes.
const BEFORE: usize = 24;
/// How many there may be: a worker that gets more was never refused.
const MOST: usize = 3_000;

/// Two nodes, and a resource server that may ask about every token.
struct Stage {
    server: TestServer,
    node: Node,
    http: reqwest::Client,
    watcher: (String, String),
}

/// A client and its user.
struct Pair {
    key: ClientKey,
    client_id: String,
    secret: String,
    username: String,
    subject: SubjectId,
}

/// How tokens are got, over and over.
enum Way {
    /// Each refresh token of a family after the other.
    Refresh(String),
    /// A code at a time, until there are no more.
    Codes(Vec<String>),
    Password,
    ClientCredentials,
}

/// How access ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ClientSuspended,
    ClientRevoked,
    ClientContained,
    ClientDeletesItself,
    PasswordChanged,
    UserDisabled,
    UserErased,
    ConsentWithdrawn,
    GrantsRevoked,
}

impl End {
    /// What it ends, of 8 workers.
    fn ways(self, families: Vec<String>, codes: Vec<String>) -> Vec<Way> {
        let mut ways: Vec<Way> = families.into_iter().map(Way::Refresh).collect();
        if self != Self::GrantsRevoked {
            let mut codes = codes;
            let rest = codes.split_off(codes.len() / 2);
            ways.extend([Way::Codes(codes), Way::Codes(rest)]);
        }
        match self {
            Self::ClientSuspended
            | Self::ClientRevoked
            | Self::ClientContained
            | Self::ClientDeletesItself => ways.extend([Way::Password, Way::ClientCredentials]),
            Self::PasswordChanged | Self::UserDisabled | Self::UserErased => {
                ways.extend([Way::Password, Way::Password]);
            }
            Self::ConsentWithdrawn | Self::GrantsRevoked => {}
        }
        ways
    }
}

impl Stage {
    async fn new() -> Self {
        let server = TestServer::start_with(|settings| {
            settings.allow_password_grant = true;
            settings.registration = RegistrationMode::Open;
            settings.failures_per_minute = 100_000;
        })
        .await;
        let environment = [
            ("GRANTLOG_ALLOW_PASSWORD_GRANT", "true"),
            ("GRANTLOG_REGISTRATION", "open"),
        ];
        let node = Node::beside_with(&server, &environment).await;
        let metadata =
            json!({"client_name": "RS", "grant_types": ["client_credentials"], "introspects": [server.base]});
        let watcher = server.client(metadata).await;
        Self {
            server,
            node,
            http: browser(),
            watcher: (watcher.client_id, watcher.client_secret.unwrap()),
        }
    }

    fn base(&self, number: usize) -> &str {
        if number.is_multiple_of(2) {
            &self.server.base
        } else {
            &self.node.base
        }
    }

    async fn pair(&self, name: &str) -> Pair {
        let metadata = json!({
            "client_name": "Example",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials", "password"],
            "scope": "view-user server-operations",
            "default_scopes": "view-user",
            "legacy": true,
        });
        let client = self.server.client(metadata).await;
        Pair {
            key: client.key,
            client_id: client.client_id,
            secret: client.client_secret.unwrap(),
            username: name.to_owned(),
            subject: self.server.user(name, PASSWORD).await,
        }
    }

    async fn post(&self, url: String, (id, secret): (&str, &str), form: &[(&str, &str)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self.http.post(url).basic_auth(id, Some(secret));
        let answer = request
            .header("content-type", FORM)
            .body(body)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// The token endpoint of a node.
    async fn token(&self, base: &str, pair: &Pair, form: &[(&str, &str)]) -> (u16, Value) {
        let caller = (pair.client_id.as_str(), pair.secret.as_str());
        self.post(format!("{base}/oauth/token"), caller, form).await
    }

    async fn redeem(&self, base: &str, pair: &Pair, code: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.token(base, pair, &form).await
    }

    /// The next token of a way; none where a code way has no more codes.
    async fn next(&self, base: &str, pair: &Pair, way: &mut Way) -> Option<(u16, Value)> {
        Some(match way {
            Way::Refresh(token) => {
                let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
                let answer = self.token(base, pair, &form).await;
                if answer.0 == 200 {
                    text(&answer.1, "refresh_token").clone_into(token);
                }
                answer
            }
            Way::Codes(codes) => self.redeem(base, pair, &codes.pop()?).await,
            Way::Password => {
                let form = [
                    ("grant_type", "password"),
                    ("username", &pair.username),
                    ("password", PASSWORD),
                ];
                self.token(base, pair, &form).await
            }
            Way::ClientCredentials => {
                let form = [
                    ("grant_type", "client_credentials"),
                    ("scope", "server-operations"),
                ];
                self.token(base, pair, &form).await
            }
        })
    }

    /// Gets tokens until it is refused; the first of them, and the last, of which some raced with the end.
    async fn work(&self, number: usize, pair: &Pair, mut way: Way, issued: &AtomicUsize) -> Vec<Value> {
        let mut known = Vec::new();
        while let Some((status, body)) = self.next(self.base(number + known.len()), pair, &mut way).await {
            match status {
                200 => known.push(body),
                // Too many changes at once: to be tried again.
                503 => continue,
                _ => {
                    let refused = (status, text(&body, "error"));
                    assert!(
                        [(400, "invalid_grant"), (401, "invalid_client")].contains(&refused),
                        "{body}"
                    );
                    break;
                }
            }
            issued.fetch_add(1, Ordering::Relaxed);
            assert!(known.len() < MOST, "it is never refused");
        }
        if known.len() > 16 {
            known.drain(4..known.len() - 12);
        }
        known
    }

    async fn end(&self, end: End, pair: &Pair, grants: &[GrantId], deletes: &str) {
        let (operations, context) = (&self.server.app.operations, TestServer::context());
        let reason = || "test".to_owned();
        match end {
            End::ClientSuspended => {
                let command = ClientCommand::Suspend { reason: reason() };
                operations
                    .command_client(&context, pair.key, &command)
                    .await
                    .unwrap();
            }
            End::ClientRevoked => {
                let command = ClientCommand::Revoke { reason: reason() };
                operations
                    .command_client(&context, pair.key, &command)
                    .await
                    .unwrap();
            }
            End::ClientContained => {
                let mut command = grantlog_on(&self.server.database);
                command.args(["contain", "--by", "client", &pair.client_id, "--whole"]);
                command.args(["--reason", "test", "--yes", "--json"]);
                stdout(&finish(command, None).await);
            }
            End::ClientDeletesItself => {
                let url = format!("{}/oauth/register/{}", self.node.base, pair.client_id);
                let answer = self.http.delete(url).bearer_auth(deletes).send().await.unwrap();
                assert_eq!(answer.status(), 204);
            }
            End::PasswordChanged => {
                let password = "another battery staple".to_owned();
                operations
                    .set_password(&context, pair.subject, password)
                    .await
                    .unwrap();
            }
            End::UserDisabled => operations
                .disable_user(&context, pair.subject, "test")
                .await
                .unwrap(),
            End::UserErased => drop(operations.erase_user(&context, pair.subject).await.unwrap()),
            End::ConsentWithdrawn => {
                // The tables are behind, for nobody folds; the consent is withdrawn all the same.
                let ended = operations
                    .end_application(&context, (pair.subject, pair.key), EndedBy::User)
                    .await;
                assert!(matches!(ended, Ok(true) | Err(EndError::Behind)));
            }
            End::GrantsRevoked => {
                for grant in grants {
                    operations.revoke_grant(&context, *grant).await.unwrap();
                }
            }
        }
    }

    /// Whether a token is active, asked on both nodes.
    async fn is_active(&self, token: &str) -> bool {
        let watcher = (self.watcher.0.as_str(), self.watcher.1.as_str());
        let mut active = Vec::new();
        for base in [&self.server.base, &self.node.base] {
            let (status, body) = self
                .post(format!("{base}/oauth/introspect"), watcher, &[("token", token)])
                .await;
            assert_eq!(status, 200, "{body}");
            active.push(body["active"] == true);
        }
        assert_eq!(active[0], active[1], "the nodes differ");
        active[0]
    }

    async fn race(&self, end: End) {
        let pair = self.pair(&format!("user-{end:?}").to_lowercase()).await;
        let (mut families, mut grants, mut codes, mut known) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 0..4 {
            let (grant, code) = code::issue(&self.server, pair.key, pair.subject, "view-user").await;
            let (status, tokens) = self.redeem(self.base(number), &pair, &code).await;
            assert_eq!(status, 200, "{tokens}");
            families.push(text(&tokens, "refresh_token").to_owned());
            grants.push(grant);
            known.push(tokens);
        }
        for _ in 0..20 {
            codes.push(
                code::issue(&self.server, pair.key, pair.subject, "view-user")
                    .await
                    .1,
            );
        }
        let unused = code::issue(&self.server, pair.key, pair.subject, "view-user")
            .await
            .1;
        let operations = &self.server.app.operations;
        let deletes = operations
            .issue_registration_token(&TestServer::context(), pair.key)
            .await
            .unwrap();
        assert!(self.is_active(text(&known[0], "access_token")).await);

        let issued = AtomicUsize::new(0);
        let ways = end.ways(families, codes).into_iter().enumerate();
        let workers: Vec<_> = ways
            .map(|(number, way)| self.work(number, &pair, way, &issued))
            .collect();
        let ended = async {
            while issued.load(Ordering::Relaxed) < BEFORE {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.end(end, &pair, &grants, &deletes).await;
        };
        let (worked, ()) = tokio::join!(crate::logout::all_of(workers), ended);
        known.extend(worked.into_iter().flatten());
        assert!(known.len() >= BEFORE, "{end:?}");
        for (number, tokens) in known.iter().enumerate() {
            assert!(
                !self.is_active(text(tokens, "access_token")).await,
                "{end:?}: {number}"
            );
            if let Some(token) = tokens["refresh_token"].as_str() {
                let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
                assert_ne!(
                    self.token(self.base(number), &pair, &form).await.0,
                    200,
                    "{end:?}: {number}"
                );
            }
        }
        if end != End::GrantsRevoked {
            assert_ne!(
                self.redeem(&self.node.base, &pair, &unused).await.0,
                200,
                "{end:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_client_amid_issuance_on_two_nodes_leaves_nothing_active() {
    let stage = Stage::new().await;
    for end in [
        End::ClientSuspended,
        End::ClientRevoked,
        End::ClientContained,
        End::ClientDeletesItself,
    ] {
        stage.race(end).await;
    }
    crate::ledger::assert_gapless(&stage.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_users_access_amid_issuance_on_two_nodes_leaves_nothing_active() {
    let stage = Stage::new().await;
    for end in [
        End::PasswordChanged,
        End::UserDisabled,
        End::UserErased,
        End::ConsentWithdrawn,
        End::GrantsRevoked,
    ] {
        stage.race(end).await;
    }
    crate::ledger::assert_gapless(&stage.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_a_key_and_a_registration_token_that_are_replaced_are_over_on_every_node() {
    let stage = Stage::new().await;
    let pair = stage.pair("ada").await;
    let (operations, context) = (&stage.server.app.operations, TestServer::context());

    // A signing key, amid tokens that it signs.
    let (over, issued) = (AtomicBool::new(false), AtomicUsize::new(0));
    let sign = async |number: usize| {
        let mut known = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let base = stage.base(number + known.len());
            let (status, body) = stage
                .next(base, &pair, &mut Way::ClientCredentials)
                .await
                .unwrap();
            assert_eq!(status, 200, "{body}");
            known.push(text(&body, "access_token").to_owned());
            issued.fetch_add(1, Ordering::Relaxed);
        }
        known
    };
    let retire = async {
        while issued.load(Ordering::Relaxed) < BEFORE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let before = stage.server.app.keys.accepted();
        operations
            .rotate_signing_key(&context, TokenAlgorithm::ES256)
            .await
            .unwrap();
        for key in before.iter().filter(|key| key.algorithm == TokenAlgorithm::ES256) {
            operations.retire_signing_key(&context, key.id).await.unwrap();
        }
        let retired: Vec<String> = before.iter().map(|key| key.kid.clone()).collect();
        let upto = issued.load(Ordering::Relaxed);
        while issued.load(Ordering::Relaxed) < upto + BEFORE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        over.store(true, Ordering::Relaxed);
        retired
    };
    let (first, second, retired) = tokio::join!(sign(0), sign(1), retire);
    let mut living = 0;
    for token in [first, second].concat() {
        let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
        let is_active = stage.is_active(&token).await;
        assert_eq!(is_active, !retired.contains(&kid));
        living += usize::from(is_active);
    }
    assert!(living >= BEFORE / 2, "{living}");

    // The client's secret, amid its use.
    let issued = AtomicUsize::new(0);
    let workers: Vec<_> = (0..4)
        .map(|number| stage.work(number, &pair, Way::ClientCredentials, &issued))
        .collect();
    let rotate = async {
        while issued.load(Ordering::Relaxed) < BEFORE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        operations
            .rotate_client_secret(&context, pair.key, 0)
            .await
            .unwrap()
    };
    // Each worker ends when it is refused.
    let (_, secret) = tokio::join!(crate::logout::all_of(workers), rotate);
    for base in [&stage.server.base, &stage.node.base] {
        for (secret, expected) in [(&pair.secret, 401), (&secret, 200)] {
            let form = [
                ("grant_type", "client_credentials"),
                ("scope", "server-operations"),
            ];
            let caller = (pair.client_id.as_str(), secret.as_str());
            let (status, body) = stage.post(format!("{base}/oauth/token"), caller, &form).await;
            assert_eq!(status, expected, "{body}");
        }
    }

    // The token of its registration.
    let read = async |base: &str, token: &str| {
        let url = format!("{base}/oauth/register/{}", pair.client_id);
        let answer = stage.http.get(url).bearer_auth(token).send().await;
        answer.unwrap().status().as_u16()
    };
    let mut before = operations
        .issue_registration_token(&context, pair.key)
        .await
        .unwrap();
    for _ in 0..3 {
        for base in [&stage.server.base, &stage.node.base] {
            assert_eq!(read(base, &before).await, 200);
        }
        let after = operations
            .issue_registration_token(&context, pair.key)
            .await
            .unwrap();
        for base in [&stage.server.base, &stage.node.base] {
            assert_eq!((read(base, &before).await, read(base, &after).await), (401, 200));
        }
        before = after;
    }
}
