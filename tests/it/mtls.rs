//! Clients with certificates (RFC 8705), over real TLS and behind a proxy.

mod bound;
mod proxy;

use std::sync::Arc;

use grantlog::app::App;
use grantlog::config::Settings;
use grantlog::crypto::master::MasterKey;
use grantlog::operations::client::CreatedClient;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::client_authentication::last;
use crate::harness::{TestServer, settings};
use crate::jwks_uri::Published;
use crate::private_key_jwt::base64;

/// An authority.
pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(parameters, key),
        }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let (mut parameters, key) = (parameters(), KeyPair::generate().unwrap());
        change(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key }
    }
}

/// What a client of the tests certifies of itself.
fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CountryName, "DE");
    parameters
        .distinguished_name
        .push(DnType::OrganizationName, "Example, Inc.");
    parameters.distinguished_name.push(DnType::CommonName, "client");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters.subject_alt_names = vec![
        SanType::DnsName("client.example".try_into().unwrap()),
        SanType::URI("spiffe://example/client".try_into().unwrap()),
        SanType::IpAddress("192.0.2.7".parse().unwrap()),
        SanType::Rfc822Name("client@example.com".try_into().unwrap()),
    ];
    parameters
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: Certificate,
    key: KeyPair,
}

impl Identity {
    pub(crate) fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::of(KeyPair::generate().unwrap(), change)
    }

    fn of(key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut parameters = parameters();
        change(&mut parameters);
        let certificate = parameters.self_signed(&key).unwrap();
        Self { certificate, key }
    }

    /// Another certificate of the same key.
    fn renewed(&self) -> Self {
        let key = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        Self::of(key, |parameters| {
            parameters.serial_number = Some(7.into());
        })
    }

    pub(crate) fn thumbprint(&self) -> String {
        base64(aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            self.certificate.der(),
        ))
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key_raw();
        json!({"kty": "EC", "kid": "own", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])})
    }
}

/// A server that terminates TLS itself and asks clients for certificates, and what its clients know of it.
struct Secured {
    /// The same ledger without TLS: for administration.
    server: TestServer,
    app: App,
    base: String,
    authority: Authority,
    root: CertificateDer<'static>,
    _stop: watch::Sender<bool>,
    _files: tempfile::TempDir,
}

impl Secured {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let (authority, own) = (Authority::new("clients"), Authority::new("servers"));
        let identity = own.issue(|parameters| {
            parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            parameters.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
        });
        let files = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let authorities = write("clients.pem", authority.certificate.pem());
        // A node beside the one that asks for certificates.
        let server = TestServer::start_with(|settings| {
            settings.mtls_url = Some("https://mtls.id.example".to_owned());
            settings.tls_client_ca.clone_from(&authorities);
        })
        .await;
        let listener = grantlog::server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let mut settings = settings(&server.database.app_url);
        settings.issuer.clone_from(&server.base);
        settings.tls_cert = write("cert.pem", identity.certificate.pem());
        settings.tls_key = write("key.pem", identity.key.serialize_pem());
        settings.tls_client_ca = authorities;
        settings.tls_client_certificates = true;
        change(&mut settings);
        let (stop, stopped) = watch::channel(false);
        let app = App::open(settings, MasterKey::from_bytes([42; 32]), server.clock.clone())
            .await
            .unwrap();
        tokio::spawn(grantlog::server::serve(app.clone(), listener, stopped));
        Self {
            root: own.certificate.der().clone(),
            server,
            app,
            base,
            authority,
            _stop: stop,
            _files: files,
        }
    }

    /// One request (its method and path, and further header lines) on a TLS connection of its own.
    async fn send(&self, ask: &str, headers: &str, body: &str, identity: Option<&Identity>) -> (u16, Value) {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
                config
                    .with_client_auth_cert(vec![identity.certificate.der().clone()], key)
                    .unwrap()
            }
        };
        let address = self.base.strip_prefix("https://").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        let length = body.len();
        let request = format!(
            "{ask} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    async fn post(&self, path: &str, form: &[(&str, &str)], identity: Option<&Identity>) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        self.send(&format!("POST {path}"), headers, &body, identity).await
    }

    /// Uses an access token.
    async fn get(&self, path: &str, token: &str, identity: Option<&Identity>) -> (u16, Value) {
        let headers = format!("Authorization: Bearer {token}\r\n");
        self.send(&format!("GET {path}"), &headers, "", identity).await
    }

    /// Asks for a token of the client's own.
    async fn token(&self, client: &CreatedClient, identity: Option<&Identity>) -> (u16, Value) {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &client.client_id),
            ("scope", "server-operations"),
        ];
        self.post("/oauth/token", &form, identity).await
    }

    async fn is_refused(&self, client: &CreatedClient, identity: Option<&Identity>, reason: &str) {
        let (status, body) = self.token(client, identity).await;
        assert_eq!(
            (status, body["error"].as_str()),
            (401, Some("invalid_client")),
            "{reason}"
        );
        assert_eq!(last_reason(&self.server).await, reason);
    }
}

async fn last_reason(server: &TestServer) -> String {
    sqlx::query_scalar(
        "SELECT payload->>'reason' FROM grantlog.ledger WHERE event_type = 'RequestRefused' \
         ORDER BY position DESC LIMIT 1",
    )
    .fetch_one(&server.database.owner().await)
    .await
    .unwrap()
}

/// A client that authenticates with a certificate.
async fn client(server: &TestServer, method: &str, extra: Value) -> CreatedClient {
    let mut metadata = json!({
        "client_name": "Machine", "grant_types": ["client_credentials"], "scope": "server-operations view-user",
        "token_endpoint_auth_method": method,
    });
    metadata
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    let client = server.client(metadata).await;
    assert!(client.client_secret.is_none());
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_trusted_authority_authenticates_by_each_kind_of_name() {
    let secured = Secured::start().await;
    let identity = secured.authority.issue(|_| {});
    for (member, name) in [
        ("subject_dn", r"cn=Client, O=Example\, Inc., C=DE"),
        ("san_dns", "CLIENT.example"),
        ("san_uri", "spiffe://example/client"),
        ("san_ip", "192.0.2.7"),
        ("san_email", "client@example.com"),
    ] {
        let extra = json!({ format!("tls_client_auth_{member}"): name });
        let client = client(&secured.server, "tls_client_auth", extra).await;
        let (status, body) = secured.token(&client, Some(&identity)).await;
        assert_eq!(status, 200, "{member}: {body}");
        let how = json!({"method": "tls_client_auth", "certificate": identity.thumbprint()});
        assert_eq!(last(&secured.server, "TokenIssued").await, how);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_the_clients_or_not_trusted_is_refused() {
    let secured = Secured::start().await;
    let (authority, stranger) = (&secured.authority, Authority::new("clients"));
    let extra = json!({"tls_client_auth_san_dns": "client.example"});
    let client = client(&secured.server, "tls_client_auth", extra).await;
    let years = |from, to| {
        move |parameters: &mut CertificateParams| {
            parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
        }
    };
    let other_name = |parameters: &mut CertificateParams| {
        parameters.subject_alt_names = vec![SanType::DnsName("other.example".try_into().unwrap())];
    };
    let for_servers = |parameters: &mut CertificateParams| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    for (identity, reason) in [
        (authority.issue(other_name), "certificate_subject"),
        (
            authority.issue(|parameters| parameters.subject_alt_names.clear()),
            "certificate_subject",
        ),
        (authority.issue(years(2001, 2002)), "certificate_time"),
        (authority.issue(years(2900, 2901)), "certificate_time"),
        (authority.issue(for_servers), "certificate_untrusted"),
        (stranger.issue(|_| {}), "certificate_untrusted"),
        (Identity::self_signed(|_| {}), "certificate_untrusted"),
    ] {
        secured.is_refused(&client, Some(&identity), reason).await;
    }
    secured.is_refused(&client, None, "certificate_missing").await;
    let good = authority.issue(|_| {});
    let (status, body) = secured.token(&client, Some(&good)).await;
    assert_eq!(status, 200, "{body}");
    // §2: the certificate alone does not say which client it is.
    let unnamed = [
        ("grant_type", "client_credentials"),
        ("scope", "server-operations"),
    ];
    let (status, body) = secured.post("/oauth/token", &unnamed, Some(&good)).await;
    assert_eq!(
        (status, body["error"].as_str()),
        (401, Some("invalid_client")),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_authenticates_by_its_registered_key_or_certificate() {
    let secured = Secured::start_with(|settings| settings.tls_client_ca = None).await;
    let own = Identity::self_signed(|_| {});
    let renewed = own.renewed();
    let method = "self_signed_tls_client_auth";
    let by_key = client(&secured.server, method, json!({"jwks": {"keys": [own.jwk()]}})).await;
    for identity in [&own, &renewed] {
        let (status, body) = secured.token(&by_key, Some(identity)).await;
        assert_eq!(status, 200, "{body}");
        let how = json!({"method": method, "kid": "own", "certificate": identity.thumbprint()});
        assert_eq!(last(&secured.server, "TokenIssued").await, how);
    }
    let mut jwk = own.jwk();
    jwk["x5c"] = json!([base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        own.certificate.der()
    )]);
    let by_certificate = client(&secured.server, method, json!({"jwks": {"keys": [jwk]}})).await;
    assert_eq!(secured.token(&by_certificate, Some(&own)).await.0, 200);
    secured
        .is_refused(&by_certificate, Some(&renewed), "certificate_unknown")
        .await;
    for client in [&by_key, &by_certificate] {
        let stranger = Identity::self_signed(|_| {});
        secured
            .is_refused(client, Some(&stranger), "certificate_unknown")
            .await;
        secured.is_refused(client, None, "certificate_missing").await;
    }
    let expired = Identity::self_signed(|parameters| parameters.not_after = rcgen::date_time_ymd(2002, 1, 1));
    let late = client(
        &secured.server,
        method,
        json!({"jwks": {"keys": [expired.jwk()]}}),
    )
    .await;
    secured
        .is_refused(&late, Some(&expired), "certificate_time")
        .await;
    // Without authorities nobody vouches for a name.
    let extra = json!({"tls_client_auth_san_dns": "client.example"});
    let named = client(&secured.server, "tls_client_auth", extra).await;
    secured
        .is_refused(&named, Some(&own), "certificate_untrusted")
        .await;
    assert!(secured.app.authorities.is_none());
}

/// RFC 8705 §2.2.2.
#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_may_be_published_and_renewed_without_telling_the_server() {
    let published = Published::start().await;
    let secured =
        Secured::start_with(|settings| settings.outbound_allow = vec!["127.0.0.1".parse().unwrap()]).await;
    let (own, next) = (Identity::self_signed(|_| {}), Identity::self_signed(|_| {}));
    published.publish(200, &[own.jwk()]);
    let registration = serde_json::from_value(json!({
        "client_name": "Machine", "grant_types": ["client_credentials"], "scope": "server-operations",
        "token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks_uri": published.url,
    }));
    let (operations, context) = (&secured.app.operations, TestServer::context());
    let created = operations.create_client(&context, registration.unwrap());
    let client = created.await.unwrap();
    assert_eq!(secured.token(&client, Some(&own)).await.0, 200);
    secured
        .is_refused(&client, Some(&next), "certificate_unknown")
        .await;
    published.publish(200, &[next.jwk()]);
    secured.server.clock.advance(std::time::Duration::from_secs(31));
    assert_eq!(secured.token(&client, Some(&next)).await.0, 200);
    secured
        .is_refused(&client, Some(&own), "certificate_unknown")
        .await;
}

#[tokio::test]
async fn a_client_is_registered_with_one_name_of_a_certificate_and_keys_that_are_its_own() {
    let server = TestServer::start_with(|settings| {
        settings.client_certificate_header = Some("client-cert".to_owned());
        settings.trusted_proxies = vec!["192.0.2.1".parse().unwrap()];
    })
    .await;
    let own = Identity::self_signed(|_| {});
    let mut wrong = Identity::self_signed(|_| {}).jwk();
    wrong["x5c"] = json!([base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        own.certificate.der()
    )]);
    for (method, extra, problem) in [
        ("tls_client_auth", json!({}), "exactly one"),
        (
            "tls_client_auth",
            json!({"tls_client_auth_san_dns": "a", "tls_client_auth_san_ip": "192.0.2.1"}),
            "exactly one",
        ),
        (
            "tls_client_auth",
            json!({"tls_client_auth_subject_dn": "client"}),
            "such as CN=client",
        ),
        (
            "tls_client_auth",
            json!({"tls_client_auth_san_ip": "client"}),
            "not an IP address",
        ),
        (
            "client_secret_basic",
            json!({"tls_client_auth_san_dns": "a"}),
            "is tls_client_auth",
        ),
        (
            "self_signed_tls_client_auth",
            json!({}),
            "needs the client's public keys",
        ),
        (
            "self_signed_tls_client_auth",
            json!({"jwks": {"keys": [wrong]}}),
            "not of its key",
        ),
    ] {
        let mut metadata = json!({
            "client_name": "x", "grant_types": ["client_credentials"], "token_endpoint_auth_method": method,
        });
        metadata
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let registration = serde_json::from_value(metadata).unwrap();
        let refused = server
            .app
            .operations
            .create_client(&TestServer::context(), registration)
            .await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    // What is shown can be given back, changed.
    let extra = json!({"tls_client_auth_subject_dn": "CN=client"});
    let created = client(&server, "tls_client_auth", extra).await;
    let patch = json!({"tls_client_auth_subject_dn": null, "tls_client_auth_san_dns": "client.example"});
    server.update_client(created.key, patch).await.unwrap();
    server
        .update_client(created.key, json!({"client_name": "Renamed"}))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_names_what_is_enabled_and_where_clients_with_certificates_go() {
    const PATH: &str = "/.well-known/oauth-authorization-server";
    let document = async |secured: &Secured| secured.send(&format!("GET {PATH}"), "", "", None).await.1;
    let has = |document: &Value, method: &str| {
        let methods = document["token_endpoint_auth_methods_supported"]
            .as_array()
            .unwrap();
        methods.contains(&json!(method))
    };
    let secured = Secured::start_with(|settings| {
        settings.mtls_url = Some("https://mtls.id.example".to_owned());
        settings.allow_client_secret_jwt = true;
    })
    .await;
    let on = document(&secured).await;
    let plain = async |server: &TestServer| -> Value {
        reqwest::get(server.url(PATH))
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let off = plain(&TestServer::start().await).await;
    for method in [
        "tls_client_auth",
        "self_signed_tls_client_auth",
        "client_secret_jwt",
    ] {
        assert!(has(&on, method) && !has(&off, method), "{method}");
    }
    let aliases = &on["mtls_endpoint_aliases"];
    assert_eq!(aliases["token_endpoint"], "https://mtls.id.example/oauth/token");
    assert!(off["mtls_endpoint_aliases"].is_null());
    for (document, expected) in [(&on, true), (&off, false)] {
        assert_eq!(document["tls_client_certificate_bound_access_tokens"], expected);
        let algorithms = document["token_endpoint_auth_signing_alg_values_supported"]
            .as_array()
            .unwrap();
        assert_eq!(algorithms.contains(&json!("HS256")), expected);
    }
    let without = Secured::start_with(|settings| settings.tls_client_ca = None).await;
    let document = document(&without).await;
    assert!(has(&document, "self_signed_tls_client_auth") && !has(&document, "tls_client_auth"));
}

#[tokio::test]
async fn a_node_beside_the_one_for_certificates_says_the_same_of_them() {
    const PATH: &str = "/.well-known/oauth-authorization-server";
    let secured = Secured::start().await;
    let document: Value = reqwest::get(secured.server.url(PATH))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let methods = document["token_endpoint_auth_methods_supported"]
        .as_array()
        .unwrap();
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        assert!(methods.contains(&json!(method)), "{method}: {document}");
    }
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    let aliases = &document["mtls_endpoint_aliases"];
    assert_eq!(aliases["token_endpoint"], "https://mtls.id.example/oauth/token");
    // Without the authorities nobody says whom they would trust.
    let alone = TestServer::start_with(|settings| {
        settings.mtls_url = Some("https://mtls.id.example".to_owned());
    })
    .await;
    let document: Value = reqwest::get(alone.url(PATH)).await.unwrap().json().await.unwrap();
    let methods = document["token_endpoint_auth_methods_supported"]
        .as_array()
        .unwrap();
    assert!(methods.contains(&json!("self_signed_tls_client_auth")));
    assert!(!methods.contains(&json!("tls_client_auth")));
}

#[tokio::test]
async fn nobody_is_registered_for_certificates_where_none_can_arrive() {
    let server = TestServer::start().await;
    let identity = Identity::self_signed(|_| {});
    let jwks = json!({"keys": [identity.jwk()]});
    for (extra, problem) in [
        (
            json!({"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "a.example"}),
            "token_endpoint_auth_method: ",
        ),
        (
            json!({"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": jwks}),
            "token_endpoint_auth_method: ",
        ),
        (
            json!({"tls_client_certificate_bound_access_tokens": true}),
            "tls_client_certificate_bound_access_tokens: ",
        ),
    ] {
        let mut metadata = json!({"client_name": "x", "grant_types": ["client_credentials"]});
        metadata
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let refused = server
            .app
            .operations
            .create_client(&TestServer::context(), serde_json::from_value(metadata).unwrap())
            .await;
        let error = refused.unwrap_err().to_string();
        assert!(
            error.starts_with(problem) && error.contains("certificate"),
            "{error}"
        );
    }
}

/// What the server answers to the greeting of a client that knows TLS 1.1 at most: the content type, and of an alert how
/// grave it is.
async fn greet_as_tls_1_1(address: &str) -> (u8, u8) {
    let mut hello = vec![0x03, 0x02];
    hello.extend([7; 32]);
    // No session; TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_128_CBC_SHA; no compression.
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
    let len = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 0x03, 0x01, 0, len + 4, 1, 0, 0, len];
    record.extend(hello);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    (answer[0], answer[5])
}

/// The version that is agreed on with a client that has these suites and this version only; none: it is sent away.
async fn agreed(
    secured: &Secured,
    suites: &[rustls::SupportedCipherSuite],
    version: &'static rustls::SupportedProtocolVersion,
) -> Option<rustls::ProtocolVersion> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(secured.root.clone()).unwrap();
    let provider = rustls::crypto::CryptoProvider {
        cipher_suites: suites.to_vec(),
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = secured.base.strip_prefix("https://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    stream.ok()?.get_ref().1.protocol_version()
}

/// RFC 6749 §1.6, RFC 7662 §4, OpenID Connect Core §16.17.
#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let secured = Secured::start().await;
    let suites = rustls::crypto::aws_lc_rs::DEFAULT_CIPHER_SUITES;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert_eq!(agreed(&secured, suites, version).await, Some(version.version));
    }
    // A fatal alert (RFC 5246 §7.2), and nothing after it.
    let address = secured.base.strip_prefix("https://").unwrap();
    assert_eq!(greet_as_tls_1_1(address).await, (21, 2));
}

/// FAPI 2.0 Security Profile §5.2.2; RFC 9325 §4.2 recommends four, two of which are for certificates of either kind.
#[tokio::test]
async fn under_tls_1_2_no_other_suites_than_bcp_195_recommends_are_spoken() {
    let secured = Secured::start().await;
    let under_tls_1_2 = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES
        .iter()
        .filter(|suite| suite.tls13().is_none());
    let mut spoken = Vec::new();
    for suite in under_tls_1_2 {
        if agreed(&secured, &[*suite], &rustls::version::TLS12)
            .await
            .is_some()
        {
            spoken.push(suite.suite());
        }
    }
    // The server's certificate has an EC key.
    let recommended = [
        rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ];
    assert_eq!(spoken, recommended);
}
