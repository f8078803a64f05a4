//! Certificates that a proxy hands on in a header.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantlog::config::CertificateFormat;
use grantlog::operations::client::CreatedClient;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Authority, Identity, client, last_reason};
use crate::harness::TestServer;

async fn behind(proxy: &str, header: &str, format: CertificateFormat) -> TestServer {
    let proxy: IpAddr = proxy.parse().unwrap();
    TestServer::start_with(|settings| {
        settings.trusted_proxies = vec![proxy];
        settings.client_certificate_header = Some(header.to_owned());
        settings.client_certificate_format = format;
    })
    .await
}

async fn token(server: &TestServer, client: &CreatedClient, headers: &[(&str, &str)]) -> (u16, Value) {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &client.client_id),
    ];
    let request = reqwest::Client::new()
        .post(server.url("/oauth/token"))
        .form(&form);
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn binary(identity: &Identity) -> String {
    format!(":{}:", STANDARD.encode(identity.certificate.der()))
}

fn escaped(identity: &Identity) -> String {
    utf8_percent_encode(&identity.certificate.pem(), NON_ALPHANUMERIC).to_string()
}

async fn own(server: &TestServer, identity: &Identity) -> CreatedClient {
    let jwks = json!({"keys": [identity.jwk()]});
    let extra = json!({"jwks": jwks, "default_scopes": "server-operations"});
    client(server, "self_signed_tls_client_auth", extra).await
}

#[tokio::test]
async fn a_certificate_in_a_header_is_believed_from_a_trusted_proxy_only() {
    let identity = Identity::self_signed(|_| {});
    for (format, value) in [
        (CertificateFormat::Rfc9440, binary(&identity)),
        (CertificateFormat::Pem, escaped(&identity)),
    ] {
        let trusting = behind("127.0.0.1", "Client-Cert", format).await;
        let client = own(&trusting, &identity).await;
        let (status, body) = token(&trusting, &client, &[("client-cert", &value)]).await;
        assert_eq!(status, 200, "{format:?}: {body}");
        let stranger = Identity::self_signed(|_| {});
        let twice = [("client-cert", value.as_str()), ("client-cert", &value)];
        for (headers, reason) in [
            (&[][..], "certificate_missing"),
            (&[("client-cert", "")], "certificate_missing"),
            (&[("client-cert", ":AAAA:")], "certificate_missing"),
            (&[("x-ssl-client-cert", &value)], "certificate_missing"),
            (&twice, "certificate_missing"),
            (
                &[(
                    "client-cert",
                    &*if format == CertificateFormat::Pem {
                        escaped(&stranger)
                    } else {
                        binary(&stranger)
                    },
                )],
                "certificate_unknown",
            ),
        ] {
            let (status, body) = token(&trusting, &client, headers).await;
            assert_eq!(
                (status, body["error"].as_str()),
                (401, Some("invalid_client")),
                "{reason}"
            );
            assert_eq!(last_reason(&trusting).await, reason);
        }
        // Whoever connects from elsewhere says nothing with that header.
        let other = behind("192.0.2.1", "Client-Cert", format).await;
        let client = own(&other, &identity).await;
        let forwarded = [("client-cert", value.as_str()), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(token(&other, &client, &forwarded).await.0, 401);
        assert_eq!(last_reason(&other).await, "certificate_missing");
    }
}

#[tokio::test]
async fn a_proxys_word_for_an_authority_is_enough_unless_authorities_are_configured() {
    let (authority, stranger) = (Authority::new("clients"), Authority::new("clients"));
    let named = json!({"tls_client_auth_san_dns": "client.example", "default_scopes": "server-operations"});
    let value = binary(&stranger.issue(|_| {}));
    let trusting = behind("127.0.0.1", "Client-Cert", CertificateFormat::Rfc9440).await;
    let created = client(&trusting, "tls_client_auth", named.clone()).await;
    assert_eq!(
        token(&trusting, &created, &[("client-cert", &value)]).await.0,
        200
    );

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.certificate.pem()).unwrap();
    let verifying = TestServer::start_with(|settings| {
        settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        settings.client_certificate_header = Some("Client-Cert".to_owned());
        settings.tls_client_ca = Some(file.path().to_owned());
    })
    .await;
    let created = client(&verifying, "tls_client_auth", named).await;
    assert_eq!(
        token(&verifying, &created, &[("client-cert", &value)]).await.0,
        401
    );
    assert_eq!(last_reason(&verifying).await, "certificate_untrusted");
    let good = binary(&authority.issue(|_| {}));
    assert_eq!(
        token(&verifying, &created, &[("client-cert", &good)]).await.0,
        200
    );
}
