//! Issuers that publish their keys, and assertions without a `jti`: the tokens of workloads.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::domain::client::PublicJwk;
use grantlog::domain::value::Digest;
use grantlog::policy::contain::{By, Containment};

use super::*;
use crate::command_line::{finish, grantlog_on, stdout};
use crate::jwks_uri::Published;

const SUBJECT: &str = "repo:shop:main";

impl World {
    /// A client of a server that may call what this machine publishes.
    async fn reaching() -> Self {
        let allow = vec!["127.0.0.1".parse().unwrap()];
        let server = TestServer::start_with(|settings| settings.outbound_allow = allow).await;
        Self::on(server).await
    }

    /// What an issuer of workloads says, signed with its key by then.
    fn of_workload(&self, keys: &Keys, changes: &Value) -> String {
        let mut claims = self.claims(&json!({"sub": SUBJECT, "email": null, "preferred_username": null}));
        let members = claims.as_object_mut().unwrap();
        members.extend(changes.as_object().unwrap().clone());
        members.retain(|_, value| !value.is_null());
        keys.sign(&json!({"alg": "RS256", "kid": "rsa"}), &claims)
    }

    async fn redeem_for_itself(&self, assertion: &str) -> Answer {
        self.redeem(assertion, &[("scope", "server-operations")]).await
    }
}

fn keys_of(keys: &Keys) -> Vec<Value> {
    keys.jwks()["keys"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_an_issuer_publishes_are_fetched_kept_and_followed() {
    let world = World::reaching().await;
    let (published, server) = (Published::start().await, &world.party.server);
    let trust = async |allow: &str| {
        let mut command = grantlog_on(&server.database);
        command.env("GRANTLOG_OUTBOUND_ALLOW", allow);
        command.args(["trust", "add", ISSUER, "--jwks-uri", &published.url, "--json"]);
        command.args(["--subject-is", "client", "--subject", SUBJECT]);
        command.args(["--client", "deploy", "--scope", "server-operations"]);
        finish(command, None).await
    };
    // Plain http is for hosts that the operator allows.
    let refused = trust("").await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("outbound_allow"));
    let shown: Value = serde_json::from_str(&stdout(&trust("127.0.0.1").await)).unwrap();
    assert_eq!(shown["jwks_uri"], json!(published.url));
    assert!(
        shown.get("jwks").is_none() && shown["jti_optional"] == json!(false),
        "{shown}"
    );

    // Nothing is good while there are no keys.
    published.publish(503, &[]);
    let answer = world
        .redeem_for_itself(&world.of_workload(&world.keys, &json!({})))
        .await;
    world
        .is_refused(answer, "invalid_grant", "grant_assertion_signature")
        .await;
    published.publish(200, &keys_of(&world.keys));
    server.clock.advance(Duration::from_secs(31));
    let assertions: Vec<String> = (0..3)
        .map(|_| world.of_workload(&world.keys, &json!({})))
        .collect();
    let [first, second, third] = &assertions[..] else {
        unreachable!()
    };
    let all = tokio::join!(
        world.redeem_for_itself(first),
        world.redeem_for_itself(second),
        world.redeem_for_itself(third)
    );
    assert_eq!((all.0.0, all.1.0, all.2.0), (200, 200, 200), "{all:?}");
    assert_eq!(published.asked(), 2);

    // Which of its keys it was is on the ledger, though the keys are not.
    let key = PublicJwk::parse(&keys_of(&world.keys)[2]).unwrap();
    let noted: (String, String) = sqlx::query_as(
        "SELECT payload->>'kid', payload->>'jkt' FROM grantlog.ledger WHERE event_type = 'AssertionAccepted' LIMIT 1",
    )
    .fetch_one(&server.database.owner().await)
    .await
    .unwrap();
    let thumbprint = key.thumbprint().to_string();
    assert_eq!(noted, ("rsa".to_owned(), thumbprint.clone()));
    let of_that_key = Containment {
        by: By::Key(thumbprint),
        since: None,
        until: None,
        whole: false,
        reason: "the key was stolen".to_owned(),
    };
    let found = of_that_key.find(&server.app.operations).await.unwrap();
    assert_eq!(found.grants.len(), 3, "by it the grants are found, and revoked");

    // The issuer takes another key, by the same name: it is found, and the one before is none any more.
    let next = Keys::generate();
    published.publish(200, &keys_of(&next));
    let early = world
        .redeem_for_itself(&world.of_workload(&next, &json!({})))
        .await;
    world
        .is_refused(early, "invalid_grant", "grant_assertion_signature")
        .await;
    assert_eq!(published.asked(), 2, "not more often than twice a minute");
    server.clock.advance(Duration::from_secs(31));
    assert_eq!(
        world
            .redeem_for_itself(&world.of_workload(&next, &json!({})))
            .await
            .0,
        200
    );
    let late = world
        .redeem_for_itself(&world.of_workload(&world.keys, &json!({})))
        .await;
    world
        .is_refused(late, "invalid_grant", "grant_assertion_signature")
        .await;
    assert_eq!(published.asked(), 3);
}

/// The same signature of P-256, spelled with the other of its two `s`.
fn spelled_otherwise(assertion: &str) -> String {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order = Digest::from_hex(order).unwrap().0;
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrowed = false;
    for place in (0..32).rev() {
        let taken = u16::from(signature[32 + place]) + u16::from(borrowed);
        borrowed = u16::from(order[place]) < taken;
        let byte = u16::from(order[place]) + if borrowed { 256 } else { 0 } - taken;
        signature[32 + place] = u8::try_from(byte).unwrap();
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn an_assertion_without_an_id_is_good_where_the_trust_says_so_and_once() {
    let world = World::trusting(SubjectMapping::UserId).await;
    let unnamed = |minutes: i64| {
        let exp = world.party.server.clock.now().timestamp() + 60 * minutes;
        world.assertion(&json!({"jti": null, "exp": exp}))
    };
    let answer = world.redeem(&unnamed(1), &[]).await;
    world
        .is_refused(answer, "invalid_grant", "grant_assertion_malformed")
        .await;
    let mut trust = world.far(SubjectMapping::UserId);
    trust.jti_optional = true;
    world.trust(trust).await;
    for minutes in [1, 2] {
        let assertion = unnamed(minutes);
        assert_eq!(world.redeem(&assertion, &[]).await.0, 200);
        for again in [spelled_otherwise(&assertion), assertion] {
            let answer = world.redeem(&again, &[]).await;
            world
                .is_refused(answer, "invalid_grant", "grant_assertion_replayed")
                .await;
        }
    }
    // One that can be told apart needs no digest of all of it, and one that cannot be kept is none.
    let named = |number: i64| world.assertion(&json!({"jti": "1", "number": number}));
    assert_eq!(world.redeem(&named(1), &[]).await.0, 200);
    let answer = world.redeem(&named(2), &[]).await;
    world
        .is_refused(answer, "invalid_grant", "grant_assertion_replayed")
        .await;
    let answer = world.redeem(&world.assertion(&json!({"jti": ""})), &[]).await;
    world
        .is_refused(answer, "invalid_grant", "grant_assertion_malformed")
        .await;
}
