//! The document against the server, call by call.

use serde_json::{Value, json};

use super::{Administered, PARTS};

/// A path with ids of nothing.
fn filled(template: &str) -> String {
    let words = template.split('/').map(|word| match word {
        "{id}" | "{sub}" | "{session}" | "{alert}" | "{request_id}" => "0190a5b5-0000-7000-8000-000000000000",
        "{position}" => "1",
        "{class}" => "grant",
        word if word.starts_with('{') => "nothing",
        word => word,
    });
    words.collect::<Vec<_>>().join("/")
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if name == "$ref" {
                    found.push(value.as_str().unwrap().to_owned());
                }
                references(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_call_needs_a_token_with_its_own_scope() {
    let administered = Administered::new().await;
    let document = &administered.document;
    assert_eq!(document["openapi"], "3.1.0");
    let issuer = &administered.party.server.app.settings.issuer;
    assert_eq!(*document, grantlog::http::admin::openapi::document(Some(issuer)));
    assert_eq!(document["servers"], json!([{"url": issuer}]));
    let flow = &document["components"]["securitySchemes"]["clientCredentials"]["flows"]["clientCredentials"];
    assert_eq!(flow["tokenUrl"], format!("{issuer}/oauth/token"));
    let mut pointers = Vec::new();
    references(document, &mut pointers);
    assert!(pointers.len() > 100);
    for pointer in pointers {
        let target = document.pointer(pointer.strip_prefix('#').unwrap());
        assert!(target.is_some(), "{pointer} leads nowhere");
    }
    let mut tokens = Vec::new();
    for part in PARTS {
        tokens.push((part, administered.token(part).await));
    }
    let other = administered.token("view-user").await;
    let mut ids = std::collections::HashSet::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        let path = filled(template);
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap()),
                "{operation}"
            );
            let scope = operation["security"][0]["clientCredentials"][0].as_str().unwrap();
            let call = format!("{method} {template}");
            // What no call takes: nothing is done, whoever asks.
            let ask = async |token| {
                administered
                    .send((method, &format!("{path}?nothing=1")), token, None)
                    .await
            };
            let without = ask(None).await;
            assert_eq!(
                (without.status, &without.body["error"]),
                (401, &json!("unauthenticated")),
                "{call}"
            );
            assert!(without.challenge.starts_with("Bearer "), "{call}");
            for (part, token) in &tokens {
                let answer = ask(Some(token)).await;
                if *part == scope {
                    assert_eq!(
                        (answer.status, &answer.body["error"]),
                        (400, &json!("validation_error")),
                        "{call}"
                    );
                } else {
                    assert_eq!(
                        (answer.status, &answer.body["error"]),
                        (403, &json!("insufficient_scope")),
                        "{call}"
                    );
                    let named = format!(
                        r#"error="insufficient_scope", error_description="{}", scope="{scope}""#,
                        answer.body["message"].as_str().unwrap()
                    );
                    assert!(answer.challenge.ends_with(&named), "{call}: {}", answer.challenge);
                }
            }
            assert_eq!(ask(Some(&other)).await.status, 403, "{call}");
        }
        // Nothing else is there.
        for method in ["get", "put", "post", "patch", "delete"] {
            if item.get(method).is_none() {
                let answer = administered.send((method, &path), None, None).await;
                assert_eq!(answer.status, 405, "{method} {template}");
            }
        }
    }
    assert!(ids.len() > 60, "{ids:?}");
    assert_eq!(
        administered
            .send(("get", "/admin/nothing"), None, None)
            .await
            .status,
        404
    );
    // Whoever was refused is on the trail with the reason.
    let refused = "event_type = 'RequestRefused' AND payload->>'reason' = 'insufficient_scope'";
    assert!(administered.count(refused).await > 10);
}
