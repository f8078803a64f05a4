//! RFC 8414: where the metadata document is.

use serde_json::Value;

use crate::harness::{TestServer, browser};
use crate::openid::define_scopes;

/// RFC 8414 §3, OpenID Connect Discovery §4: of an issuer with a path the one is named before that path, the other after.
#[tokio::test]
async fn the_metadata_of_an_issuer_with_a_path_is_where_clients_look_for_it() {
    let server = TestServer::start_with(|settings| settings.issuer.push_str("/tenant")).await;
    define_scopes(&server).await;
    for path in [
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        // As a proxy that takes the issuer's path away asks for them.
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let response = browser().get(server.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let document: Value = response.json().await.unwrap();
        assert_eq!(document["issuer"], format!("{}/tenant", server.base), "{path}");
        assert_eq!(
            document["token_endpoint"],
            format!("{}/tenant/oauth/token", server.base)
        );
    }
    for path in [
        "/.well-known/oauth-authorization-server/another",
        "/.well-known/oauth-authorization-server/tenant/x",
    ] {
        let response = browser().get(server.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}: no other issuer is here");
    }
}
