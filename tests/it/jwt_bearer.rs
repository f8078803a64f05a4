//! Another server's assertions as grants, over HTTP (RFC 7523 §2.1, §3).

mod published;

use grantlog::domain::client::{Approval, ClientCommand, PublicJwks};
use grantlog::domain::trusted_issuer::{IssuerKeys, SubjectMapping, Trust};
use grantlog::domain::value::ScopeSet;
use grantlog::http::one_time::OneTime;
use serde_json::{Value, json};

use crate::blast_radius::{radius, request_of};
use crate::harness::TestServer;
use crate::private_key_jwt::Keys;
use crate::races::Node;
use crate::token::{Party, error, text};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ISSUER: &str = "https://ci.example";

type Answer = (u16, Value);

/// A client that an issuer's assertions are good for.
struct World {
    party: Party,
    keys: Keys,
}

impl World {
    async fn new() -> Self {
        Self::on(TestServer::start().await).await
    }

    async fn on(server: TestServer) -> Self {
        let grants = json!({"client_id": "deploy", "grant_types": ["client_credentials", JWT_BEARER]});
        Self {
            party: Party::on(server, grants).await,
            keys: Keys::generate(),
        }
    }

    /// Where the subject is a user by the given claim.
    async fn trusting(mapping: SubjectMapping) -> Self {
        let world = Self::new().await;
        world.trust(world.far(mapping)).await;
        world
    }

    fn far(&self, subject_is: SubjectMapping) -> Trust {
        Trust {
            keys: IssuerKeys::Given(PublicJwks::parse(&self.keys.jwks()).unwrap()),
            subject_is,
            subjects: Vec::new(),
            clients: vec![self.party.key],
            scope: ScopeSet::parse("view-user detail-user").unwrap(),
            authorization_details_types: Vec::new(),
            max_lifetime: 600,
            jti_optional: false,
        }
    }

    async fn trust(&self, trust: Trust) {
        let operations = &self.party.server.app.operations;
        let context = TestServer::context();
        operations.trust_issuer(&context, ISSUER, trust).await.unwrap();
    }

    /// Good claims with some changed; null leaves one out.
    fn claims(&self, changes: &Value) -> Value {
        let now = self.party.server.clock.now().timestamp();
        let mut claims = json!({
            "iss": ISSUER, "sub": self.party.subject, "aud": self.party.server.base, "jti": uuid::Uuid::new_v4(),
            "iat": now, "exp": now + 300, "preferred_username": "ada", "email": "Ada@example.com",
            "email_verified": true,
        });
        let members = claims.as_object_mut().unwrap();
        members.extend(changes.as_object().unwrap().clone());
        members.retain(|_, value| !value.is_null());
        claims
    }

    fn assertion(&self, changes: &Value) -> String {
        self.keys
            .sign(&json!({"alg": "ES256", "kid": "ec"}), &self.claims(changes))
    }

    async fn redeem(&self, assertion: &str, extra: &[(&str, &str)]) -> Answer {
        let mut form = vec![("grant_type", JWT_BEARER), ("assertion", assertion)];
        form.extend_from_slice(extra);
        self.party.post("/oauth/token", &form).await
    }

    async fn token(&self, changes: &Value) -> String {
        let (status, answer) = self.redeem(&self.assertion(changes), &[]).await;
        assert_eq!(status, 200, "{answer}");
        text(&answer, "access_token").to_owned()
    }

    async fn is_refused(&self, answer: Answer, wire: &str, reason: &str) {
        assert_eq!(error(&answer), (400, wire), "{reason}: {}", answer.1);
        let last: String = sqlx::query_scalar(
            "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' \
             ORDER BY position DESC LIMIT 1",
        )
        .fetch_one(&self.party.server.database.owner().await)
        .await
        .unwrap();
        assert_eq!(last, reason);
    }
}

#[tokio::test]
async fn an_assertion_of_a_trusted_issuer_is_good_for_a_token_of_its_user() {
    for mapping in [
        SubjectMapping::UserId,
        SubjectMapping::Username,
        SubjectMapping::Email,
    ] {
        let world = World::trusting(mapping).await;
        let subject = if mapping == SubjectMapping::UserId {
            json!({})
        } else {
            json!({"sub": "ci|17"})
        };
        let (status, answer) = world.redeem(&world.assertion(&subject), &[]).await;
        assert_eq!(status, 200, "{mapping:?}: {answer}");
        assert_eq!(
            (&answer["token_type"], &answer["scope"]),
            (&json!("Bearer"), &json!("view-user"))
        );
        assert!(answer.get("refresh_token").is_none() && answer.get("issued_token_type").is_none());
        // No longer than the trust says, whatever the client may have.
        assert_eq!(answer["expires_in"], 600);
        let (status, user) = world.party.api("/api/user", text(&answer, "access_token")).await;
        assert_eq!((status, text(&user, "username")), (200, "ada"), "{mapping:?}");
    }
}

#[tokio::test]
async fn what_an_assertion_is_good_for_is_bound_to_the_key_that_the_client_proves() {
    let world = World::trusting(SubjectMapping::UserId).await;
    let assertion = world.assertion(&json!({}));
    let form = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
    let party = &world.party;
    let basic = Some((party.client_id.as_str(), party.secret.as_str()));
    crate::dpop::prover::has_bound_tokens(&party.server, basic, &form).await;
}

#[tokio::test]
async fn a_workload_that_the_trust_names_acts_for_the_client_itself() {
    let world = World::new().await;
    let mut trust = world.far(SubjectMapping::Client);
    trust.subjects = vec!["repo:shop:main".to_owned()];
    trust.scope = ScopeSet::parse("server-operations").unwrap();
    world.trust(trust).await;
    let main = json!({"sub": "repo:shop:main"});
    let (status, answer) = world
        .redeem(&world.assertion(&main), &[("scope", "server-operations")])
        .await;
    assert_eq!(status, 200, "{answer}");
    let (_, state) = world
        .party
        .post("/oauth/introspect", &[("token", text(&answer, "access_token"))])
        .await;
    assert_eq!(
        (&state["active"], &state["sub"]),
        (&json!(true), &json!("deploy"))
    );
    let other = world.assertion(&json!({"sub": "repo:shop:fork"}));
    let answer = world.redeem(&other, &[("scope", "server-operations")]).await;
    world
        .is_refused(answer, "invalid_grant", "grant_assertion_subject")
        .await;
}

#[tokio::test]
async fn each_bad_assertion_is_refused_with_its_reason() {
    let world = World::trusting(SubjectMapping::UserId).await;
    let now = world.party.server.clock.now().timestamp();
    let base = &world.party.server.base;
    for (changes, reason) in [
        (json!({"iss": "https://evil.example"}), "issuer_not_trusted"),
        (json!({"iss": null}), "grant_assertion_malformed"),
        (json!({"sub": null}), "grant_assertion_malformed"),
        (json!({"aud": null}), "grant_assertion_malformed"),
        (json!({"exp": null}), "grant_assertion_malformed"),
        (json!({"jti": null}), "grant_assertion_malformed"),
        (json!({"jti": "x".repeat(256)}), "grant_assertion_malformed"),
        (
            json!({"padding": "x".repeat(20_000)}),
            "grant_assertion_malformed",
        ),
        (
            json!({"aud": "https://elsewhere.example"}),
            "grant_assertion_audience",
        ),
        (
            json!({"aud": [base, "https://elsewhere.example"]}),
            "grant_assertion_audience",
        ),
        (json!({"exp": now - 1}), "grant_assertion_time"),
        (json!({"exp": now + 3700}), "grant_assertion_time"),
        (json!({"nbf": now + 120}), "grant_assertion_time"),
        (json!({"iat": now + 120}), "grant_assertion_time"),
        (json!({"sub": uuid::Uuid::new_v4()}), "grant_assertion_subject"),
        (json!({"sub": "ada"}), "grant_assertion_subject"),
    ] {
        let answer = world.redeem(&world.assertion(&changes), &[]).await;
        world.is_refused(answer, "invalid_grant", reason).await;
    }
    let claims = world.claims(&json!({}));
    let strangers = Keys::generate();
    for (assertion, reason) in [
        (
            world.keys.sign(&json!({"alg": "none"}), &claims),
            "grant_assertion_malformed",
        ),
        (
            world.keys.sign(&json!({"alg": "HS256"}), &claims),
            "grant_assertion_malformed",
        ),
        (
            world
                .keys
                .sign(&json!({"alg": "ES256", "crit": ["exp"]}), &claims),
            "grant_assertion_malformed",
        ),
        (
            world
                .keys
                .sign(&json!({"alg": "ES256", "typ": "at+jwt"}), &claims),
            "grant_assertion_malformed",
        ),
        (
            world.keys.sign(&json!({"alg": "ES256", "kid": "rsa"}), &claims),
            "grant_assertion_signature",
        ),
        (
            strangers.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims),
            "grant_assertion_signature",
        ),
        ("x".to_owned(), "grant_assertion_malformed"),
    ] {
        let answer = world.redeem(&assertion, &[]).await;
        world.is_refused(answer, "invalid_grant", reason).await;
    }
    let answer = world
        .party
        .post("/oauth/token", &[("grant_type", JWT_BEARER)])
        .await;
    world
        .is_refused(answer, "invalid_request", "parameter_missing")
        .await;
    // None of all that had used the assertion up; and the token endpoint may be its audience (RFC 7523 §3).
    let (status, _) = world
        .redeem(&world.keys.sign(&json!({"alg": "EdDSA"}), &claims), &[])
        .await;
    assert_eq!(status, 200);
    world.token(&json!({"aud": format!("{base}/oauth/token")})).await;
}

#[tokio::test]
async fn an_address_that_nobody_verified_names_no_user() {
    let world = World::trusting(SubjectMapping::Email).await;
    for changes in [
        json!({"email_verified": false}),
        json!({"email_verified": null}),
        json!({"email": "eve@example.com"}),
        json!({"email": null}),
    ] {
        let answer = world.redeem(&world.assertion(&changes), &[]).await;
        world
            .is_refused(answer, "invalid_grant", "grant_assertion_subject")
            .await;
    }
    world.token(&json!({})).await;
}

#[tokio::test]
async fn an_assertion_is_for_the_clients_users_and_scopes_that_the_trust_and_the_client_allow() {
    let world = World::trusting(SubjectMapping::UserId).await;
    let assertion = || world.assertion(&json!({}));
    let answer = world
        .redeem(&assertion(), &[("scope", "server-operations")])
        .await;
    world
        .is_refused(answer, "invalid_scope", "scope_not_allowed")
        .await;
    // Restricted: the trust does not stand for the approval.
    let detail = [("scope", "detail-user")];
    let answer = world.redeem(&assertion(), &detail).await;
    world
        .is_refused(answer, "invalid_scope", "scope_not_approved")
        .await;
    let (operations, context) = (&world.party.server.app.operations, TestServer::context());
    let approve = ClientCommand::Approval {
        scope: "detail-user".to_owned(),
        step: Approval::Approved,
        reason: String::new(),
    };
    operations
        .command_client(&context, world.party.key, &approve)
        .await
        .unwrap();
    assert_eq!(world.redeem(&assertion(), &detail).await.0, 200);
    let answer = world
        .redeem(&assertion(), &[("resource", "https://elsewhere.example")])
        .await;
    world
        .is_refused(answer, "invalid_target", "resource_not_allowed")
        .await;

    // Another client is not among those of the trust.
    let mut trust = world.far(SubjectMapping::UserId);
    let other = world
        .party
        .server
        .client(json!({"client_name": "other", "grant_types": ["client_credentials"]}))
        .await;
    trust.clients = vec![other.key];
    world.trust(trust).await;
    let answer = world.redeem(&assertion(), &[]).await;
    world
        .is_refused(answer, "invalid_grant", "issuer_not_trusted")
        .await;
    world.trust(world.far(SubjectMapping::UserId)).await;

    operations
        .disable_user(&context, world.party.subject, "test")
        .await
        .unwrap();
    let answer = world.redeem(&assertion(), &[]).await;
    world.is_refused(answer, "invalid_grant", "user_disabled").await;
    let patch = json!({"grant_types": ["client_credentials"]});
    world
        .party
        .server
        .update_client(world.party.key, patch)
        .await
        .unwrap();
    let answer = world.redeem(&assertion(), &[]).await;
    world
        .is_refused(answer, "unauthorized_client", "grant_type_not_allowed")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_uses_of_one_assertion_on_two_nodes_one_is_good() {
    let world = World::trusting(SubjectMapping::UserId).await;
    let nodes = [
        Node::beside(&world.party.server).await,
        Node::beside(&world.party.server).await,
    ];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", JWT_BEARER)
        .append_pair("assertion", &world.assertion(&json!({})))
        .finish();
    let tasks: Vec<_> = (0..32)
        .map(|number| {
            let request = world
                .party
                .http
                .post(format!("{}/oauth/token", nodes[number % 2].base));
            let request = request
                .basic_auth(&world.party.client_id, Some(&world.party.secret))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone());
            tokio::spawn(async move {
                let response = request.send().await.unwrap();
                (
                    response.status().as_u16(),
                    response.json::<Value>().await.unwrap(),
                )
            })
        })
        .collect();
    let mut good = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        if answer.0 == 200 {
            good += 1;
        } else {
            assert_eq!(error(&answer), (400, "invalid_grant"));
        }
    }
    assert_eq!(good, 1);
    // What is over is forgotten.
    let prune = || OneTime::GrantAssertions.prune(&world.party.server.app);
    assert_eq!(prune().await.unwrap(), 0);
    world
        .party
        .server
        .clock
        .advance(std::time::Duration::from_secs(400));
    assert_eq!(prune().await.unwrap(), 1);
}

#[tokio::test]
async fn an_assertion_is_good_once() {
    let world = World::trusting(SubjectMapping::UserId).await;
    let assertion = world.assertion(&json!({}));
    assert_eq!(world.redeem(&assertion, &[]).await.0, 200);
    let answer = world.redeem(&assertion, &[]).await;
    world
        .is_refused(answer, "invalid_grant", "grant_assertion_replayed")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_an_assertion_ends_with_the_trust_on_every_node() {
    let world = World::trusting(SubjectMapping::UserId).await;
    let other = Node::beside(&world.party.server).await;
    let token = world.token(&json!({})).await;
    let state = async |base: &str| {
        let response = world
            .party
            .http
            .post(format!("{base}/oauth/introspect"))
            .basic_auth(&world.party.client_id, Some(&world.party.secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"))
            .send()
            .await
            .unwrap();
        response.json::<Value>().await.unwrap()
    };
    let bases = [world.party.server.base.clone(), other.base.clone()];
    for base in &bases {
        assert_eq!(state(base).await["scope"], "view-user");
    }
    // Trusted less far: the scope is lost. No more: the token is.
    let mut less = world.far(SubjectMapping::UserId);
    less.scope = ScopeSet::parse("detail-user").unwrap();
    world.trust(less).await;
    for base in &bases {
        assert_eq!(state(base).await["scope"], "");
    }
    world.trust(world.far(SubjectMapping::UserId)).await;
    let (operations, context) = (&world.party.server.app.operations, TestServer::context());
    operations
        .distrust_issuer(&context, ISSUER, "test")
        .await
        .unwrap();
    for base in &bases {
        assert_eq!(state(base).await["active"], false);
    }
    let answer = world.redeem(&world.assertion(&json!({})), &[]).await;
    world
        .is_refused(answer, "invalid_grant", "issuer_not_trusted")
        .await;
    // A user's token ends with the user's password as any other.
    world.trust(world.far(SubjectMapping::UserId)).await;
    let operations = &world.party.server.app.operations;
    let subject = world.party.subject;
    operations
        .set_password(&context, subject, "another password".to_owned())
        .await
        .unwrap();
    for base in &bases {
        assert_eq!(state(base).await["active"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_trust_is_in_the_blast_radius_of_the_act_that_trusted() {
    let world = World::trusting(SubjectMapping::UserId).await;
    world.token(&json!({})).await;
    let server = &world.party.server;
    let (request, _) = request_of(server, "IssuerTrusted").await;
    let act = radius(server, "request", &request).await;
    assert_eq!(
        act["could"]["access_tokens"].as_array().unwrap().len(),
        1,
        "{act}"
    );
}
