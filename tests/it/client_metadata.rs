//! What no client may be registered with.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog::operations::client::ClientRegistration;
use serde_json::{Value, json};

use crate::flow;
use crate::harness::TestServer;

/// Why a client with these members is not registered; none where it is.
async fn problem(server: &TestServer, changes: Value) -> Option<String> {
    let mut metadata = flow::confidential();
    let members = metadata.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    let registration: ClientRegistration = serde_json::from_value(metadata).unwrap();
    let operations = &server.app.operations;
    let context = TestServer::context();
    let created = operations.create_client(&context, registration).await;
    created.err().map(|error| error.to_string())
}

#[tokio::test]
async fn a_redirect_uri_without_a_host_is_not_registered() {
    let server = TestServer::start().await;
    for uri in [
        "https:rp.example/cb",
        "https:/rp.example/cb",
        "https:///rp.example/cb",
        "https://@rp.example/",
        "http:127.0.0.1/cb",
    ] {
        let problem = problem(&server, json!({"redirect_uris": [uri]})).await.unwrap();
        assert!(
            problem.contains("redirect_uris") && problem.contains(uri),
            "{uri}: {problem}"
        );
    }
    for uri in ["https://rp.example", "http://[::1]/cb", "com.example.app:/cb"] {
        let public = json!({"redirect_uris": [uri], "token_endpoint_auth_method": "none"});
        assert_eq!(problem(&server, public).await, None);
    }
}

#[tokio::test]
async fn a_client_name_is_seen_as_it_is() {
    let server = TestServer::start().await;
    for name in [
        "\u{200b}",
        "\u{3164}",
        "\u{ad}",
        "\u{feff}",
        "\u{e0041}\u{e0042}",
        " \u{200d} ",
    ] {
        let problem = problem(&server, json!({"client_name": name})).await.unwrap();
        assert!(
            problem.contains("client_name") && problem.contains("seen"),
            "{problem}"
        );
    }
    let hidden = problem(&server, json!({"client_name": "Ban\u{200b}k"}))
        .await
        .unwrap();
    assert!(hidden.contains("U+200B"), "{hidden}");
    assert_eq!(
        problem(&server, json!({"client_name": "\u{645}\u{6cc}\u{200c}\u{62e}"})).await,
        None
    );
}

#[tokio::test]
async fn an_allowed_origin_has_no_wildcard() {
    let server = TestServer::start().await;
    for origin in ["https://*.example", "https://*", "*"] {
        let problem = problem(&server, json!({"allowed_origins": [origin]}))
            .await
            .unwrap();
        assert!(problem.contains("no wildcards"), "{problem}");
    }
    for origin in ["com.example.app:/x", "file:///", "null", "https://app.example/"] {
        let problem = problem(&server, json!({"allowed_origins": [origin]}))
            .await
            .unwrap();
        assert!(problem.contains("allowed_origins"), "{problem}");
    }
    assert_eq!(
        problem(&server, json!({"allowed_origins": ["https://app.example"]})).await,
        None
    );
}

#[tokio::test]
async fn a_key_that_verifies_nothing_or_everything_is_not_registered() {
    let server = TestServer::start().await;
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let good = json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])});
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let ed = |x: [u8; 32]| json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&x)});
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut off_curve = point[33..].to_vec();
    off_curve[31] ^= 1;
    for (key, expected) in [
        (ed([0; 32]), "small order"),
        (ed(identity), "small order"),
        (with("y", json!(encode(&off_curve))), "point of P-256"),
        (with("key_ops", json!(["sign"])), "key_ops"),
    ] {
        let changes = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key]}});
        let problem = problem(&server, changes).await.unwrap();
        assert!(problem.contains(expected), "{problem}");
    }
    let usable = with("key_ops", json!(["verify"]));
    let changes = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [usable]}});
    assert_eq!(problem(&server, changes).await, None);
}
