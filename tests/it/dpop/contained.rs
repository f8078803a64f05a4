//! `grantlog contain --by key`, and what a key could do and did.

use serde_json::{Value, json};

use super::prover::{Key, Prover};
use crate::command_line::{finish, grantlog_on, stdout};
use crate::policies::events;

async fn asked(prover: &Prover, arguments: &[&str]) -> Value {
    let mut command = grantlog_on(&prover.server.database);
    command.args(arguments).arg("--json");
    serde_json::from_str(&stdout(&finish(command, None).await)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containment_by_key_ends_what_is_bound_to_the_key_and_nothing_else() {
    let prover = Prover::confidential().await;
    let (key, other) = (Key::new("ES256"), Key::new("ES256"));
    let mut tokens = Vec::new();
    for proof in [Some(&key), Some(&other), None] {
        let proof = proof.map(|key| prover.proof(key, json!({})));
        let issued = prover.own_token(proof.as_deref()).await;
        tokens.push(issued.text("access_token").to_owned());
    }
    let thumbprint = key.thumbprint();
    let of_key = asked(&prover, &["blast-radius", "--of", "key", &thumbprint]).await;
    assert_eq!(
        of_key["could"]["access_tokens"].as_array().unwrap().len(),
        1,
        "{of_key}"
    );
    assert_eq!(of_key["did"]["events"][0]["event_type"], "TokenIssued");

    let done = asked(
        &prover,
        &[
            "contain",
            "--by",
            "key",
            &thumbprint,
            "--reason",
            "stolen",
            "--yes",
        ],
    )
    .await;
    assert_eq!(done["grants"].as_array().unwrap().len(), 1);
    let active = async |token: &str| {
        let answer = prover.post("/oauth/introspect", &[("token", token)], None).await;
        answer.body["active"].as_bool().unwrap()
    };
    assert!(!active(&tokens[0]).await);
    assert!(active(&tokens[1]).await && active(&tokens[2]).await);
    let revoked = events(&prover.server, "TokenRevoked").await;
    assert_eq!(
        (revoked.len(), revoked[0].0.to_string()),
        (1, done["grants"][0].as_str().unwrap().to_owned())
    );
    let records = events(&prover.server, "ContainmentApplied").await;
    assert_eq!(records[0].1["cause"]["administrator"]["value"], thumbprint);
}
