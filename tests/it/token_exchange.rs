//! Token exchange over HTTP (RFC 8693).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::crypto::jwt::AccessClaims;
use grantlog::domain::client::{ClientCommand, ExchangeMode, ExchangeRule, TokenAlgorithm};
use grantlog::domain::consent::{Consent, ConsentCommand};
use grantlog::domain::grant::{Act, MayAct};
use grantlog::domain::openid::{Claim, IndividualClaims};
use grantlog::domain::value::ScopeSet;
use grantlog::ids::ClientKey;
use grantlog::operations::client::{ClientRegistration, CreatedClient};
use serde_json::{Value, json};

use crate::code;
use crate::harness::TestServer;
use crate::openid::define_scopes;
use crate::races::Node;
use crate::token::{Party, error, text};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const INVENTORY: &str = "https://inventory.example";

type Answer = (u16, Value);

/// A shop that users log in at, and a service that the shop's tokens reach.
struct World {
    shop: Party,
    service: CreatedClient,
}

fn service_metadata(name: &str) -> Value {
    json!({
        "client_id": name, "client_name": name, "grant_types": ["client_credentials", EXCHANGE],
        "scope": "view-user detail-user server-operations email", "default_scopes": "server-operations",
    })
}

/// What a token says, whoever signed it.
fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

impl World {
    async fn new() -> Self {
        let server = TestServer::start().await;
        define_scopes(&server).await;
        let shop = Party::on(
            server,
            json!({"client_id": "shop", "scope": "view-user detail-user server-operations openid email"}),
        )
        .await;
        let mut metadata = service_metadata("service");
        metadata["audience"] = json!([shop.server.base, INVENTORY]);
        let service = shop.server.client(metadata).await;
        Self { shop, service }
    }

    /// Where the service may impersonate the shop's users, with `view-user` and `server-operations`.
    async fn impersonating() -> Self {
        let world = Self::new().await;
        world.allow(ExchangeMode::Impersonation).await;
        world
    }

    async fn allow(&self, mode: ExchangeMode) {
        self.rule(self.service.key, self.shop.key, mode).await;
    }

    async fn rule(&self, client: ClientKey, subject_client: ClientKey, mode: ExchangeMode) {
        self.rule_for(client, (subject_client, mode), "view-user server-operations")
            .await;
    }

    async fn rule_for(
        &self,
        client: ClientKey,
        (subject_client, mode): (ClientKey, ExchangeMode),
        scope: &str,
    ) {
        let rule = ExchangeRule {
            subject_client,
            mode,
            scope: ScopeSet::parse(scope).unwrap(),
            audience: vec![self.shop.server.base.clone(), INVENTORY.to_owned()],
        };
        let operations = &self.shop.server.app.operations;
        let context = TestServer::context();
        operations.allow_exchange(&context, client, rule).await.unwrap();
    }

    /// A service more, which the shop's users reach by way of the first.
    async fn another(&self, name: &str) -> CreatedClient {
        let mut metadata = service_metadata(name);
        metadata["audience"] = json!([self.shop.server.base, INVENTORY]);
        let another = self.shop.server.client(metadata).await;
        for mode in [ExchangeMode::Impersonation, ExchangeMode::Delegation] {
            self.rule(another.key, self.service.key, mode).await;
        }
        another
    }

    /// The answer with the tokens of a login at the shop.
    async fn login(&self, scope: &str) -> Value {
        let (status, tokens) = self.shop.redeem(&self.shop.code(scope).await).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    async fn subject(&self) -> String {
        text(&self.login("view-user").await, "access_token").to_owned()
    }

    async fn post(
        &self,
        client: &CreatedClient,
        (base, path): (&str, &str),
        form: &[(&str, &str)],
    ) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form.iter().filter(|(_, value)| !value.is_empty()))
            .finish();
        let request = self.shop.http.post(format!("{base}{path}"));
        let response = request
            .basic_auth(&client.client_id, client.client_secret.as_deref())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        (
            response.status().as_u16(),
            response.json().await.unwrap_or_default(),
        )
    }

    /// An exchange by a client, with more parameters.
    async fn exchange_as(&self, client: &CreatedClient, token: &str, extra: &[(&str, &str)]) -> Answer {
        let base = &self.shop.server.base;
        self.exchange_at(base, client, token, extra).await
    }

    async fn exchange_at(
        &self,
        base: &str,
        client: &CreatedClient,
        token: &str,
        extra: &[(&str, &str)],
    ) -> Answer {
        let mut form = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        form.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
        form.extend_from_slice(extra);
        self.post(client, (base, "/oauth/token"), &form).await
    }

    async fn exchange(&self, token: &str, extra: &[(&str, &str)]) -> Answer {
        self.exchange_as(&self.service, token, extra).await
    }

    /// A token that an exchange gave.
    async fn exchanged(&self, token: &str, extra: &[(&str, &str)]) -> String {
        let (status, answer) = self.exchange(token, extra).await;
        assert_eq!(status, 200, "{answer}");
        text(&answer, "access_token").to_owned()
    }

    /// A service's token of its own.
    async fn own_token(&self, client: &CreatedClient) -> String {
        let form = [("grant_type", "client_credentials")];
        let (status, answer) = self
            .post(client, (&self.shop.server.base, "/oauth/token"), &form)
            .await;
        assert_eq!(status, 200, "{answer}");
        text(&answer, "access_token").to_owned()
    }

    async fn introspect(&self, base: &str, client: &CreatedClient, token: &str) -> Value {
        let answer = self
            .post(client, (base, "/oauth/introspect"), &[("token", token)])
            .await;
        assert_eq!(answer.0, 200, "{}", answer.1);
        answer.1
    }

    async fn is_active(&self, base: &str, client: &CreatedClient, token: &str) -> bool {
        self.introspect(base, client, token).await["active"] == true
    }

    async fn last_reason(&self) -> String {
        sqlx::query_scalar(
            "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' \
             ORDER BY position DESC LIMIT 1",
        )
        .fetch_one(&self.shop.server.database.owner().await)
        .await
        .unwrap()
    }

    async fn is_refused(&self, answer: Answer, wire: &str, reason: &str) {
        assert_eq!(error(&answer), (400, wire), "{reason}: {}", answer.1);
        assert_eq!(self.last_reason().await, reason);
    }
}

/// What is changed, and what it is refused with.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

#[tokio::test]
async fn an_exchanged_token_is_the_subjects_for_another_service() {
    let world = World::impersonating().await;
    let subject = world.subject().await;
    let (status, answer) = world.exchange(&subject, &[("resource", INVENTORY)]).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["issued_token_type"], ACCESS_TOKEN);
    assert_eq!(
        (text(&answer, "token_type"), text(&answer, "scope")),
        ("Bearer", "view-user")
    );
    assert!(answer.get("refresh_token").is_none() && answer["expires_in"].as_i64().unwrap() <= 3600);
    let said = claims(text(&answer, "access_token"));
    assert_eq!(said["sub"], world.shop.subject.to_string());
    assert_eq!(
        (&said["client_id"], &said["aud"]),
        (&json!("service"), &json!(INVENTORY))
    );
    assert!(said.get("act").is_none(), "{said}");

    // At this server's API it works where it is made for that.
    let base = world.shop.server.base.clone();
    let (status, answer) = world
        .exchange(&subject, &[("audience", &base), ("requested_token_type", JWT)])
        .await;
    assert_eq!(
        (status, &answer["issued_token_type"]),
        (200, &json!(JWT)),
        "{answer}"
    );
    let (status, user) = world.shop.api("/api/user", text(&answer, "access_token")).await;
    assert_eq!((status, text(&user, "username")), (200, "ada"), "{user}");
    // Several targets, by URI and by name.
    let token = world
        .exchanged(&subject, &[("audience", &base), ("resource", INVENTORY)])
        .await;
    assert_eq!(claims(&token)["aud"], json!([INVENTORY, base]));
}

#[tokio::test]
async fn nobody_exchanges_tokens_without_a_rule_for_that_pair_and_mode() {
    let world = World::new().await;
    let subject = world.subject().await;
    let answer = world.exchange(&subject, &[]).await;
    world
        .is_refused(answer, "invalid_request", "exchange_not_allowed")
        .await;
    // A rule for another client's tokens, or for another mode, is none for these.
    world
        .rule(world.service.key, world.service.key, ExchangeMode::Impersonation)
        .await;
    let answer = world.exchange(&subject, &[]).await;
    world
        .is_refused(answer, "invalid_request", "exchange_not_allowed")
        .await;
    world.allow(ExchangeMode::Impersonation).await;
    let own = world.own_token(&world.service).await;
    let delegated = [("actor_token", own.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    let answer = world.exchange(&subject, &delegated).await;
    world
        .is_refused(answer, "invalid_request", "exchange_not_allowed")
        .await;
    // The rule alone does not do: the client must be registered for the grant type.
    let patch = json!({"grant_types": ["client_credentials"]});
    world
        .shop
        .server
        .update_client(world.service.key, patch)
        .await
        .unwrap();
    let answer = world.exchange(&subject, &[]).await;
    world
        .is_refused(answer, "unauthorized_client", "grant_type_not_allowed")
        .await;
    let public = json!({"client_name": "p", "token_endpoint_auth_method": "none", "grant_types": [EXCHANGE]});
    let public: ClientRegistration = serde_json::from_value(public).unwrap();
    public.metadata().unwrap_err();
}

#[tokio::test]
async fn each_bad_exchange_is_refused_with_its_reason() {
    let world = World::impersonating().await;
    world.allow(ExchangeMode::Delegation).await;
    let tokens = world.login("view-user").await;
    let subject = text(&tokens, "access_token");
    let refresh = text(&tokens, "refresh_token");
    let strangers = world.own_token(&world.another("stranger").await).await;
    let damaged = format!("{}x", &subject[..subject.len() - 1]);
    let saml = "urn:ietf:params:oauth:token-type:saml2";
    let refresh_type = "urn:ietf:params:oauth:token-type:refresh_token";
    let cases: [Case<'_>; 17] = [
        (&[("subject_token", "")], "invalid_request", "parameter_missing"),
        (
            &[("subject_token_type", "")],
            "invalid_request",
            "parameter_missing",
        ),
        (
            &[("subject_token_type", saml)],
            "invalid_request",
            "token_type_unsupported",
        ),
        (
            &[("subject_token_type", ID_TOKEN)],
            "invalid_request",
            "subject_token_inactive",
        ),
        (
            &[("subject_token", "x.y.z")],
            "invalid_request",
            "subject_token_inactive",
        ),
        (
            &[("subject_token", &damaged)],
            "invalid_request",
            "subject_token_inactive",
        ),
        (
            &[("subject_token", refresh)],
            "invalid_request",
            "subject_token_inactive",
        ),
        (
            &[("requested_token_type", refresh_type)],
            "invalid_request",
            "requested_type_unsupported",
        ),
        (
            &[("requested_token_type", ID_TOKEN)],
            "invalid_request",
            "requested_type_unsupported",
        ),
        (
            &[("actor_token", subject)],
            "invalid_request",
            "parameter_missing",
        ),
        (
            &[("actor_token_type", JWT)],
            "invalid_request",
            "token_type_unsupported",
        ),
        (
            &[("actor_token", "x"), ("actor_token_type", JWT)],
            "invalid_request",
            "actor_token_inactive",
        ),
        (
            &[("actor_token", &strangers), ("actor_token_type", JWT)],
            "invalid_request",
            "actor_other_client",
        ),
        (
            &[("resource", "https://inventory.example/#f")],
            "invalid_target",
            "resource_malformed",
        ),
        (
            &[("resource", "inventory")],
            "invalid_target",
            "resource_malformed",
        ),
        (
            &[("audience", "https://elsewhere.example")],
            "invalid_target",
            "resource_exceeded",
        ),
        (&[("scope", "view-user  x")], "invalid_scope", "scope_malformed"),
    ];
    for (extra, wire, reason) in cases {
        let answer = world.exchange(subject, extra).await;
        world.is_refused(answer, wire, reason).await;
    }
}

#[tokio::test]
async fn scope_and_audience_stay_within_subject_token_rule_and_client() {
    let world = World::impersonating().await;
    let refused = async |subject: &str, scope: &str| {
        let answer = world.exchange(subject, &[("scope", scope)]).await;
        world.is_refused(answer, "invalid_scope", "scope_exceeded").await;
    };
    let narrow = world.subject().await;
    refused(&narrow, "server-operations").await;
    let wide = world.login("view-user server-operations").await;
    let wide = text(&wide, "access_token");
    let token = world.exchanged(wide, &[("scope", "server-operations")]).await;
    assert_eq!(claims(&token)["scope"], "server-operations");
    let token = world.exchanged(wide, &[]).await;
    assert_eq!(claims(&token)["scope"], "server-operations view-user");
    // Within the subject token and the client, but not the rule.
    refused(wide, "detail-user").await;
    // No longer within the client: the exchanged token loses it, too.
    let patch = json!({"scope": "view-user", "default_scopes": "view-user", "audience": [INVENTORY]});
    world
        .shop
        .server
        .update_client(world.service.key, patch)
        .await
        .unwrap();
    refused(wide, "server-operations").await;
    let base = &world.shop.server.base;
    let state = world.introspect(base, &world.service, &token).await;
    assert_eq!(state["scope"], "view-user");
    let answer = world.exchange(wide, &[("audience", base)]).await;
    world
        .is_refused(answer, "invalid_target", "resource_exceeded")
        .await;
    // What the subject token's own client may no longer use is lost as well.
    let patch = json!({"scope": "detail-user", "default_scopes": ""});
    world
        .shop
        .server
        .update_client(world.shop.key, patch)
        .await
        .unwrap();
    let state = world.introspect(base, &world.service, &token).await;
    assert_eq!((&state["active"], &state["scope"]), (&json!(true), &json!("")));
    // A rule that is no longer for its audience is none for it.
    let rule = ExchangeRule {
        subject_client: world.shop.key,
        mode: ExchangeMode::Impersonation,
        scope: ScopeSet::parse("view-user").unwrap(),
        audience: vec![INVENTORY.to_owned()],
    };
    let (operations, context) = (&world.shop.server.app.operations, TestServer::context());
    operations
        .allow_exchange(&context, world.service.key, rule)
        .await
        .unwrap();
    assert!(!world.is_active(base, &world.service, &token).await);
}

#[tokio::test]
async fn a_restricted_scope_is_exchanged_only_where_it_is_approved_for_the_client() {
    let world = World::new().await;
    let rule = ExchangeRule {
        subject_client: world.shop.key,
        mode: ExchangeMode::Impersonation,
        scope: ScopeSet::parse("detail-user").unwrap(),
        audience: vec![INVENTORY.to_owned()],
    };
    let operations = &world.shop.server.app.operations;
    let context = TestServer::context();
    operations
        .allow_exchange(&context, world.service.key, rule)
        .await
        .unwrap();
    let approve = async |client, step| {
        let command = ClientCommand::Approval {
            scope: "detail-user".to_owned(),
            step,
            reason: "test".to_owned(),
        };
        operations
            .command_client(&context, client, &command)
            .await
            .unwrap();
    };
    approve(world.shop.key, grantlog::domain::client::Approval::Approved).await;
    let subject = world.login("detail-user").await;
    let subject = text(&subject, "access_token");
    let answer = world.exchange(subject, &[("scope", "detail-user")]).await;
    world.is_refused(answer, "invalid_scope", "scope_exceeded").await;
    approve(world.service.key, grantlog::domain::client::Approval::Approved).await;
    let token = world.exchanged(subject, &[("scope", "detail-user")]).await;
    approve(world.service.key, grantlog::domain::client::Approval::Withdrawn).await;
    let state = world
        .introspect(&world.shop.server.base, &world.service, &token)
        .await;
    assert_eq!(state["scope"], "");
}

#[tokio::test]
async fn delegation_names_the_actor_and_those_before() {
    let world = World::new().await;
    world.allow(ExchangeMode::Delegation).await;
    let subject = world.subject().await;
    // Without an actor token the client itself is the actor.
    let first = world.exchanged(&subject, &[]).await;
    let service = json!({"sub": "service", "client_id": "service"});
    assert_eq!(claims(&first)["act"], service);
    // Another acts on: its own token says so, and the actor before it is inside.
    let another = world.another("billing").await;
    let own = world.own_token(&another).await;
    let (status, answer) = world
        .exchange_as(
            &another,
            &first,
            &[("actor_token", &own), ("actor_token_type", ACCESS_TOKEN)],
        )
        .await;
    assert_eq!(status, 200, "{answer}");
    let second = text(&answer, "access_token");
    let chain = json!({"sub": "billing", "client_id": "billing", "act": service});
    let said = claims(second);
    assert_eq!(
        (&said["act"], &said["sub"]),
        (&chain, &json!(world.shop.subject.to_string()))
    );
    let state = world.introspect(&world.shop.server.base, &another, second).await;
    assert_eq!((&state["active"], &state["act"]), (&json!(true), &chain));
    // Who impersonates is not named, and hides nobody who was.
    let (status, answer) = world.exchange_as(&another, &first, &[]).await;
    assert_eq!(
        (status, &claims(text(&answer, "access_token"))["act"]),
        (200, &service),
        "{answer}"
    );

    // A token whose actor's token is revoked is over.
    world
        .post(
            &another,
            (&world.shop.server.base, "/oauth/revoke"),
            &[("token", &own)],
        )
        .await;
    assert!(!world.is_active(&world.shop.server.base, &another, second).await);
}

#[tokio::test]
async fn a_subject_token_that_says_who_may_act_lets_nobody_else() {
    let world = World::impersonating().await;
    let subject = world.subject().await;
    let keys = &world.shop.server.app.keys;
    let saying = |sub: &str, client_id: Option<&str>| {
        let mut said: AccessClaims = serde_json::from_value(claims(&subject)).unwrap();
        said.may_act = Some(MayAct {
            sub: sub.to_owned(),
            client_id: client_id.map(str::to_owned),
        });
        keys.sign(TokenAlgorithm::ES256, &said).unwrap()
    };
    for (sub, client_id) in [("billing", None), ("service", Some("billing"))] {
        let answer = world.exchange(&saying(sub, client_id), &[]).await;
        world
            .is_refused(answer, "invalid_request", "actor_not_allowed")
            .await;
    }
    world.exchanged(&saying("service", Some("service")), &[]).await;
    // Who acts already is not who asks: of a chain only the present actor counts, and that is the one that asks now.
    let billing = world.another("billing").await;
    let mut said: AccessClaims =
        serde_json::from_value(claims(&world.exchanged(&subject, &[]).await)).unwrap();
    said.act = Some(Act {
        sub: "service".to_owned(),
        client_id: "service".to_owned(),
        act: None,
    });
    said.may_act = Some(MayAct {
        sub: "service".to_owned(),
        client_id: None,
    });
    let delegated = world
        .shop
        .server
        .app
        .keys
        .sign(TokenAlgorithm::ES256, &said)
        .unwrap();
    let answer = world.exchange_as(&billing, &delegated, &[]).await;
    world
        .is_refused(answer, "invalid_request", "actor_not_allowed")
        .await;
}

#[tokio::test]
async fn a_clients_own_token_is_exchanged_for_one_of_its_own_subject() {
    let world = World::impersonating().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let (_, own) = world.shop.post("/oauth/token", &form).await;
    let token = world.exchanged(text(&own, "access_token"), &[]).await;
    assert_eq!(
        (&claims(&token)["sub"], &claims(&token)["client_id"]),
        (&json!("shop"), &json!("service"))
    );
    assert!(
        world
            .is_active(&world.shop.server.base, &world.service, &token)
            .await
    );
}

#[tokio::test]
async fn an_id_token_is_exchanged_while_its_grant_stands() {
    let world = World::impersonating().await;
    let tokens = world.login("openid view-user").await;
    let id_token = text(&tokens, "id_token");
    let typed = [("subject_token_type", ID_TOKEN)];
    let token = world.exchanged(id_token, &typed).await;
    assert_eq!(claims(&token)["scope"], "view-user");
    assert_eq!(claims(&token)["sub"], world.shop.subject.to_string());
    // An ID token opens nothing by itself, under another name neither.
    let answer = world.exchange(id_token, &[]).await;
    world
        .is_refused(answer, "invalid_request", "subject_token_inactive")
        .await;
    world
        .shop
        .post("/oauth/revoke", &[("token", text(&tokens, "refresh_token"))])
        .await;
    assert!(
        !world
            .is_active(&world.shop.server.base, &world.service, &token)
            .await
    );
    let answer = world.exchange(id_token, &typed).await;
    world
        .is_refused(answer, "invalid_request", "subject_token_inactive")
        .await;
}

#[tokio::test]
async fn a_claim_that_was_consented_to_alone_is_no_scope_that_an_id_token_is_exchanged_for() {
    let world = World::new().await;
    let (service, shop) = (world.service.key, world.shop.key);
    let mode = (shop, ExchangeMode::Impersonation);
    world.rule_for(service, mode, "view-user email").await;
    let server = &world.shop.server;
    let whose = (shop, world.shop.subject);
    let (_, code) = code::issue_with(server, whose, "openid view-user", |event| {
        event.individual_claims = Some(IndividualClaims {
            id_token: Vec::new(),
            userinfo: vec![Claim::Email],
        });
    })
    .await;
    let (_, tokens) = world.shop.redeem(&code).await;
    let typed = [("subject_token_type", ID_TOKEN)];
    let token = world.exchanged(text(&tokens, "id_token"), &typed).await;
    assert_eq!(claims(&token)["scope"], "view-user");
    let wider = [("subject_token_type", ID_TOKEN), ("scope", "view-user email")];
    let answer = world.exchange(text(&tokens, "id_token"), &wider).await;
    assert_eq!(error(&answer), (400, "invalid_scope"));
    let form = [("token", text(&tokens, "refresh_token"))];
    let (_, introspected) = world.shop.post("/oauth/introspect", &form).await;
    assert_eq!(introspected["scope"], "openid view-user");
}

#[tokio::test]
async fn an_exchanged_token_lives_no_longer_than_the_subject_token() {
    let world = World::impersonating().await;
    let subject = world.subject().await;
    world
        .shop
        .server
        .clock
        .advance(std::time::Duration::from_mins(50));
    let (status, answer) = world.exchange(&subject, &[]).await;
    assert_eq!(status, 200, "{answer}");
    assert!(
        (1..=600).contains(&answer["expires_in"].as_i64().unwrap()),
        "{answer}"
    );
    assert!(claims(text(&answer, "access_token"))["exp"].as_i64() <= claims(&subject)["exp"].as_i64());
    world
        .shop
        .server
        .clock
        .advance(std::time::Duration::from_secs(700));
    let answer = world.exchange(&subject, &[]).await;
    world
        .is_refused(answer, "invalid_request", "subject_token_inactive")
        .await;
}

#[tokio::test]
async fn a_chain_of_exchanges_ends_after_five() {
    let world = World::impersonating().await;
    world
        .rule(world.service.key, world.service.key, ExchangeMode::Impersonation)
        .await;
    let mut token = world.subject().await;
    for _ in 0..5 {
        token = world.exchanged(&token, &[]).await;
    }
    let answer = world.exchange(&token, &[]).await;
    world
        .is_refused(answer, "invalid_request", "too_many_exchanges")
        .await;
}

#[tokio::test]
async fn the_ledger_says_what_an_exchange_rests_on() {
    let world = World::new().await;
    world.allow(ExchangeMode::Delegation).await;
    let subject = world.subject().await;
    let own = world.own_token(&world.service).await;
    let extra = [("actor_token", own.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    world.exchanged(&subject, &extra).await;
    let owner = world.shop.server.database.owner().await;
    let event: Value =
        sqlx::query_scalar("SELECT payload FROM grantlog.ledger WHERE event_type = 'TokenExchanged'")
            .fetch_one(&owner)
            .await
            .unwrap();
    let grants: Vec<uuid::Uuid> = sqlx::query_scalar(
        "SELECT aggregate_id FROM grantlog.ledger WHERE event_type = 'TokenIssued' ORDER BY position",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    let token = |member: &str| (event[member]["grant"].clone(), event[member]["sequence"].clone());
    // Of the code: CodeIssued, CodeRedeemed, TokenIssued.
    assert_eq!(token("subject_token"), (json!(grants[0]), json!(3)));
    assert_eq!(token("actor_token"), (json!(grants[1]), json!(1)));
    assert_eq!(
        (&event["mode"], &event["act"]["sub"]),
        (&json!("delegation"), &json!("service"))
    );
    let version: i64 = sqlx::query_scalar(
        "SELECT max(sequence) FROM grantlog.ledger WHERE event_type = 'ExchangeAllowed' AND aggregate_id = $1",
    )
    .bind(world.service.key.0)
    .fetch_one(&owner)
    .await
    .unwrap();
    assert_eq!(event["client_version"], json!(version));
    // The table of access tokens has it with its grant type.
    world.shop.server.settle().await;
    let kinds: Vec<String> =
        sqlx::query_scalar("SELECT grant_type FROM client_access_tokens ORDER BY id DESC LIMIT 1")
            .fetch_all(&owner)
            .await
            .unwrap();
    assert_eq!(kinds, [EXCHANGE]);
}

/// What ends the tokens of a login, and with them what they were exchanged for.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Token,
    Family,
    Password,
    Disabled,
    Consent,
    SubjectClient,
    MiddleClient,
    Rule,
}

impl Ending {
    async fn happens(self, world: &World, tokens: &Value) {
        let shop = &world.shop;
        let (operations, context) = (&shop.server.app.operations, TestServer::context());
        let suspend = ClientCommand::Suspend {
            reason: "test".to_owned(),
        };
        match self {
            Self::Token | Self::Family => {
                let member = if matches!(self, Self::Token) {
                    "access_token"
                } else {
                    "refresh_token"
                };
                let (status, _) = shop
                    .post("/oauth/revoke", &[("token", text(tokens, member))])
                    .await;
                assert_eq!(status, 200);
            }
            Self::Password => {
                let password = "another password".to_owned();
                operations
                    .set_password(&context, shop.subject, password)
                    .await
                    .unwrap();
            }
            Self::Disabled => operations
                .disable_user(&context, shop.subject, "test")
                .await
                .unwrap(),
            Self::Consent => {
                let id = Consent::id(shop.subject, shop.key);
                let mut unit = shop.server.app.ledger.unit_of_work(&context);
                loop {
                    let consent = unit.load::<Consent>(id).await.unwrap();
                    let withdraw = ConsentCommand::Withdraw { at: unit.at() };
                    let decision = consent.decide(&withdraw);
                    if let Some(concluded) = unit.conclude(&consent, decision).await.unwrap() {
                        concluded.outcome.unwrap();
                        break;
                    }
                }
            }
            Self::SubjectClient => {
                operations
                    .command_client(&context, shop.key, &suspend)
                    .await
                    .unwrap();
            }
            Self::MiddleClient => {
                operations
                    .command_client(&context, world.service.key, &suspend)
                    .await
                    .unwrap();
            }
            Self::Rule => {
                let command = ClientCommand::DisallowExchange {
                    subject_client: shop.key,
                    mode: ExchangeMode::Impersonation,
                    reason: "test".to_owned(),
                };
                operations
                    .command_client(&context, world.service.key, &command)
                    .await
                    .unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchanged_token_ends_at_once_on_every_node_with_what_it_rests_on() {
    let world = World::impersonating().await;
    let last = world.another("last").await;
    let other = Node::beside(&world.shop.server).await;
    let bases = [world.shop.server.base.clone(), other.base.clone()];
    // Those that can be undone, or end one login only, come first.
    for ending in [
        Ending::Token,
        Ending::Family,
        Ending::Consent,
        Ending::Password,
        Ending::Rule,
        Ending::MiddleClient,
        Ending::SubjectClient,
        Ending::Disabled,
    ] {
        let context = TestServer::context();
        let operations = &world.shop.server.app.operations;
        for client in [world.shop.key, world.service.key] {
            operations
                .command_client(&context, client, &ClientCommand::Reinstate)
                .await
                .unwrap();
        }
        world.allow(ExchangeMode::Impersonation).await;
        let tokens = world.login("view-user").await;
        let first = world.exchanged(text(&tokens, "access_token"), &[]).await;
        let (status, answer) = world.exchange_as(&last, &first, &[]).await;
        assert_eq!(status, 200, "{answer}");
        let second = text(&answer, "access_token");
        for base in &bases {
            assert!(world.is_active(base, &last, second).await, "{ending:?}");
        }
        ending.happens(&world, &tokens).await;
        for base in &bases {
            assert!(!world.is_active(base, &last, second).await, "{ending:?}");
            let answer = world.exchange_at(base, &last, &first, &[]).await;
            assert_eq!(error(&answer), (400, "invalid_request"), "{ending:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_exchanges_that_race_with_a_revocation_on_two_nodes_none_leaves_a_live_token() {
    let world = World::impersonating().await;
    let nodes = [
        Node::beside(&world.shop.server).await,
        Node::beside(&world.shop.server).await,
    ];
    let (mut before, mut after) = (0, 0);
    for round in 0..6 {
        let tokens = world.login("view-user").await;
        let subject = text(&tokens, "access_token");
        let exchange = async |number: usize| {
            let base = &nodes[number % 2].base;
            world.exchange_at(base, &world.service, subject, &[]).await
        };
        let revoke = async {
            // Somewhere among the exchanges, in one round first.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            world
                .shop
                .post("/oauth/revoke", &[("token", text(&tokens, "refresh_token"))])
                .await
        };
        let (first, second, third, revoked, fourth, fifth, sixth) = tokio::join!(
            exchange(0),
            exchange(1),
            exchange(2),
            revoke,
            exchange(3),
            exchange(4),
            exchange(5)
        );
        assert_eq!(revoked.0, 200);
        let raced = [first, second, third, fourth, fifth, sixth];
        for answer in raced.into_iter().chain([exchange(0).await, exchange(1).await]) {
            if answer.0 == 200 {
                before += 1;
                for node in &nodes {
                    let token = text(&answer.1, "access_token");
                    assert!(!world.is_active(&node.base, &world.service, token).await);
                }
            } else {
                after += 1;
                assert_eq!(error(&answer), (400, "invalid_request"));
            }
        }
    }
    // At least the last two of each round came after the revocation.
    assert!(after >= 12, "{before} before, {after} after");
    crate::ledger::assert_gapless(&world.shop.server).await;
}
