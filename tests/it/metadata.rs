//! A walk through the metadata documents: what they advertise works, what they do not advertise is refused, and what is
//! switched off is not there. A new member is unknown to [`every_member_is_walked`] until it has its place here.

use grantlog::config::{DpopNonce, RegistrationMode};
use grantlog::domain::client::PublicJwks;
use grantlog::operations::describe;
use serde_json::{Value, json};

use crate::flow::{self, Query};
use crate::harness::{TestServer, browser};
use crate::openid::{Provider, SCOPES, define_scopes, text};
use crate::private_key_jwt::Keys;
use crate::registration::define_detail_type;

/// Where clients with certificates are sent.
const MTLS: &str = "https://mtls.id.example";
const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

async fn document(server: &TestServer, path: &str) -> Option<Value> {
    let response = browser().get(server.url(path)).send().await.unwrap();
    match response.status().as_u16() {
        200 => Some(response.json().await.unwrap()),
        404 => None,
        other => panic!("{path}: {other}"),
    }
}

fn list(document: &Value, name: &str) -> Vec<String> {
    let members = document[name].as_array();
    let members = members.unwrap_or_else(|| panic!("no {name} in {document}"));
    members
        .iter()
        .map(|member| member.as_str().unwrap().to_owned())
        .collect()
}

/// Checks every candidate, and every advertised value whether it is a candidate or not: it works if, and only if, it is
/// advertised.
async fn walk<F: Future<Output = bool>>(
    document: &Value,
    name: &str,
    candidates: &[&str],
    works: impl Fn(String) -> F,
) {
    let advertised = list(document, name);
    assert!(!advertised.is_empty(), "{name}");
    let mut values = advertised.clone();
    values.extend(candidates.iter().map(|value| (*value).to_owned()));
    for value in values {
        let expected = advertised.contains(&value);
        assert_eq!(works(value.clone()).await, expected, "{name}: {value}");
    }
}

/// A provider with a feature of every kind switched on, and a client that may use all of them.
async fn everything() -> Provider {
    let server = TestServer::start_with(|settings| {
        settings.registration = RegistrationMode::Open;
        settings.allow_password_grant = true;
        settings.allow_client_secret_jwt = true;
        settings.status_list = true;
        settings.client_certificate_header = Some("client-cert".to_owned());
        settings.trusted_proxies = vec!["192.0.2.1".parse().unwrap()];
        settings.mtls_url = Some(MTLS.to_owned());
        settings.dpop_nonce = DpopNonce::Off;
    })
    .await;
    define_scopes(&server).await;
    define_detail_type(&server, "payment").await;
    let subject = server.user(flow::USERNAME, flow::PASSWORD).await;
    let client = server.client(client()).await;
    Provider {
        server,
        client,
        subject,
    }
}

fn client() -> Value {
    let mut metadata = flow::confidential();
    metadata.as_object_mut().unwrap().extend(
        json!({
            "scope": "view-user openid profile email address phone offline_access",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "authorization_details_types": ["payment"],
        })
        .as_object()
        .unwrap()
        .clone(),
    );
    metadata
}

/// The same without what can be switched on.
async fn bare() -> Provider {
    let server = TestServer::start().await;
    let subject = server.user(flow::USERNAME, flow::PASSWORD).await;
    let client = server
        .client(json!({
            "client_name": "App", "redirect_uris": [flow::REDIRECT_URI], "scope": "view-user",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        }))
        .await;
    Provider {
        server,
        client,
        subject,
    }
}

/// The error of an authorization request; none where a page asks the user to log in.
async fn refused(provider: &Provider, query: &Query) -> Option<String> {
    let answer = flow::request(&provider.server, &browser(), query).await;
    if answer.is_login_page() {
        return None;
    }
    let location = answer.location().unwrap_or_else(|| panic!("{}", answer.body));
    let (_, parameters) = location.split_once(['?', '#']).unwrap();
    let parameters: Vec<(String, String)> = url::form_urlencoded::parse(parameters.as_bytes())
        .into_owned()
        .collect();
    let error = parameters.into_iter().find(|(name, _)| name == "error");
    Some(error.unwrap().1)
}

fn request(provider: &Provider, changes: &[(&str, &str)]) -> Query {
    flow::with(&flow::query(&provider.client), changes)
}

async fn token_error(provider: &Provider, grant_type: &str) -> String {
    let form = [
        ("grant_type", grant_type),
        ("username", "x"),
        ("password", "x"),
        ("code", "x"),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let post = browser()
        .post(provider.server.url("/oauth/token"))
        .basic_auth(
            &provider.client.client_id,
            provider.client.client_secret.as_deref(),
        )
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer: Value = post.send().await.unwrap().json().await.unwrap();
    answer["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn every_advertised_endpoint_answers() {
    for provider in [everything().await, bare().await] {
        let server = &provider.server;
        let metadata = document(server, OAUTH).await.unwrap();
        let openid = document(server, OPENID).await;
        assert!(openid.is_none_or(|openid| openid == metadata), "one document");
        let mut seen = 0;
        for (name, value) in metadata.as_object().unwrap() {
            if !name.ends_with("_endpoint") && !name.ends_with("_uri") {
                continue;
            }
            let url = value.as_str().unwrap();
            assert!(url.starts_with(&server.base), "{name}: {url}");
            // Grants are below theirs (Grant Management §6.1).
            let below = if name == "grant_management_endpoint" {
                "/some"
            } else {
                ""
            };
            let response = browser().get(format!("{url}{below}")).send().await.unwrap();
            assert_ne!(response.status(), 404, "{name}: {url}");
            seen += 1;
        }
        assert!(seen >= 6, "{seen}");
        assert_eq!(metadata["issuer"], server.base.as_str());
    }
}

#[tokio::test]
async fn what_is_switched_off_is_not_advertised_and_not_there() {
    let (on, off) = (everything().await, bare().await);
    assert!(document(&off.server, OPENID).await.is_none());
    let (on_document, off_document) = (
        document(&on.server, OAUTH).await.unwrap(),
        document(&off.server, OAUTH).await.unwrap(),
    );
    for (name, path) in [("registration_endpoint", "/oauth/register")] {
        assert!(
            on_document.get(name).is_some() && off_document.get(name).is_none(),
            "{name}"
        );
        let response = browser().post(off.server.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
    }
    for openid in [
        "userinfo_endpoint",
        "scopes_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
        "claims_supported",
        "acr_values_supported",
        "prompt_values_supported",
        "ui_locales_supported",
        "display_values_supported",
    ] {
        assert!(
            on_document.get(openid).is_some() && off_document.get(openid).is_none(),
            "{openid}"
        );
    }
    assert!(list(&on_document, "grant_types_supported").contains(&"password".to_owned()));
    assert!(!list(&off_document, "grant_types_supported").contains(&"password".to_owned()));
}

#[tokio::test]
async fn each_value_of_an_authorization_request_works_if_it_is_advertised() {
    for provider in [everything().await, bare().await] {
        let provider = &provider;
        let metadata = document(&provider.server, OAUTH).await.unwrap();
        let error_of = |name: &'static str, value: String| async move {
            refused(provider, &request(provider, &[(name, &value)])).await
        };
        walk(
            &metadata,
            "response_types_supported",
            &["token", "id_token", "code id_token", "code token", "none"],
            |value| async move { error_of("response_type", value).await.is_none() },
        )
        .await;
        walk(
            &metadata,
            "response_modes_supported",
            &["query.JWT", "form_post_jwt", "web_message", "Query"],
            |value| async move { error_of("response_mode", value).await.is_none() },
        )
        .await;
        walk(
            &metadata,
            "code_challenge_methods_supported",
            &["plain", "s256", "S512"],
            |value| async move { error_of("code_challenge_method", value).await.is_none() },
        )
        .await;
        if metadata.get("prompt_values_supported").is_none() {
            continue;
        }
        walk(
            &metadata,
            "prompt_values_supported",
            &["create", "None", "page"],
            |value| async move {
                let silent = value == "none";
                let error = error_of("prompt", value).await;
                error.is_none() || (silent && error.as_deref() == Some("login_required"))
            },
        )
        .await;
        // A page in the language that was asked for, whoever's browser it is.
        walk(
            &metadata,
            "ui_locales_supported",
            &["nl", "tlh", "eng", "x"],
            |value| async move {
                let query = request(provider, &[("ui_locales", &value)]);
                let page = flow::request(&provider.server, &browser(), &query).await;
                let is_asked_for = !page.headers.contains_key("vary");
                is_asked_for && page.body.contains(&format!("<html lang=\"{value}\""))
            },
        )
        .await;
        walk(
            &metadata,
            "display_values_supported",
            &["wap", "Popup", "kiosk"],
            |value| async move {
                let query = request(provider, &[("display", &value)]);
                let page = flow::request(&provider.server, &browser(), &query).await;
                let attribute = page.body.split_once(" data-display=\"");
                let shown = attribute.map(|(_, rest)| rest.split('"').next().unwrap_or_default());
                shown.unwrap_or("page") == value
            },
        )
        .await;
        walk(
            &metadata,
            "scopes_supported",
            &["address", "phone", "admin", "OpenID"],
            |value| async move { error_of("scope", value).await.is_none() },
        )
        .await;
        walk(
            &metadata,
            "authorization_details_types_supported",
            &["Payment", "other"],
            |value| async move {
                let asked = json!([{ "type": value }]).to_string();
                error_of("authorization_details", asked).await.is_none()
            },
        )
        .await;
        assert_eq!(metadata["request_parameter_supported"], true);
        assert_eq!(metadata["request_uri_parameter_supported"], false);
        let came = error_of("request_uri", "https://app.example/x".to_owned()).await;
        assert_eq!(came.as_deref(), Some("request_uri_not_supported"));
    }
}

#[tokio::test]
async fn each_grant_type_works_if_it_is_advertised() {
    for provider in [everything().await, bare().await] {
        let provider = &provider;
        let metadata = document(&provider.server, OAUTH).await.unwrap();
        walk(
            &metadata,
            "grant_types_supported",
            &[
                "authorization_code",
                "refresh_token",
                "client_credentials",
                "password",
                "implicit",
                "urn:ietf:params:oauth:grant-type:device_code",
                "urn:ietf:params:oauth:grant-type:token-exchange",
                "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "urn:ietf:params:oauth:grant-type:saml2-bearer",
                "urn:openid:params:grant-type:ciba",
            ],
            |value| async move { token_error(provider, &value).await != "unsupported_grant_type" },
        )
        .await;
    }
}

/// Whether a client can be registered so.
fn registers(changes: Value) -> bool {
    let mut metadata = client();
    let members = metadata.as_object_mut().unwrap();
    let Value::Object(changes) = changes else {
        unreachable!()
    };
    members.extend(changes);
    describe::parse(metadata)
        .and_then(|registration| registration.metadata())
        .is_ok()
}

/// The key of RFC 8037 appendix A.2.
const ED25519: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// A point of the curve: its generator.
const P256: (&str, &str) = (
    "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
    "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
);

fn jwks(alg: &str) -> Value {
    let number = |bytes: usize| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(vec![0xff; bytes])
    };
    let key = match alg.get(..2) {
        Some("RS" | "PS") => json!({"kty": "RSA", "n": number(256), "e": "AQAB", "alg": alg}),
        Some("Ed") => json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519, "alg": alg}),
        Some("HS") => json!({"kty": "oct", "k": number(32), "alg": alg}),
        _ => json!({"kty": "EC", "crv": "P-256", "x": P256.0, "y": P256.1, "alg": alg}),
    };
    json!({ "keys": [key] })
}

#[tokio::test]
async fn each_way_of_client_authentication_can_be_registered_if_it_is_advertised() {
    let provider = everything().await;
    let metadata = document(&provider.server, OAUTH).await.unwrap();
    for endpoint in ["token", "introspection", "revocation"] {
        let methods = format!("{endpoint}_endpoint_auth_methods_supported");
        let advertised = list(&metadata, &methods);
        for method in &advertised {
            let mut changes = json!({"token_endpoint_auth_method": method});
            if ["private_key_jwt", "self_signed_tls_client_auth"].contains(&method.as_str()) {
                changes["jwks"] = jwks("ES256");
            }
            if method == "tls_client_auth" {
                changes["tls_client_auth_san_dns"] = json!("client.example");
            }
            if method == "none" {
                changes["grant_types"] = json!(["authorization_code"]);
            }
            assert!(registers(changes), "{method}");
        }
        assert!(!registers(json!({"token_endpoint_auth_method": "other"})));
        // A public client has nothing to ask at introspection (RFC 7662 §2.1).
        let public = advertised.iter().any(|method| method == "none");
        assert_eq!(public, endpoint != "introspection");
        let algorithms = format!("{endpoint}_endpoint_auth_signing_alg_values_supported");
        walk(
            &metadata,
            &algorithms,
            &["none", "ES384", "ES512", "RS384", "RS512", "PS512", "ES256K"],
            |alg| async move { alg.starts_with("HS") || PublicJwks::parse(&jwks(&alg)).is_ok() },
        )
        .await;
    }
}

#[tokio::test]
async fn each_kind_of_subject_and_id_token_can_be_had_if_it_is_advertised() {
    let provider = everything().await;
    let metadata = document(&provider.server, OPENID).await.unwrap();
    walk(
        &metadata,
        "subject_types_supported",
        &["pairwise", "public", "ephemeral", "Public"],
        |value| async move { registers(json!({"subject_type": value})) },
    )
    .await;
    let provider = &provider;
    walk(
        &metadata,
        "id_token_signing_alg_values_supported",
        &["none", "HS256", "ES384", "PS256", "EdDSA", "RS512"],
        |alg| async move {
            let patch = json!({"id_token_signed_response_alg": alg});
            if provider
                .server
                .update_client(provider.client.key, patch)
                .await
                .is_err()
            {
                return false;
            }
            let tokens = provider.tokens(&[]).await;
            let header = jsonwebtoken::decode_header(text(&tokens, "id_token")).unwrap();
            assert_eq!(format!("{:?}", header.alg), alg);
            true
        },
    )
    .await;
    let signed = list(&metadata, "userinfo_signing_alg_values_supported");
    assert_eq!(signed, list(&metadata, "id_token_signing_alg_values_supported"));
    for alg in signed {
        assert!(registers(json!({"userinfo_signed_response_alg": alg})), "{alg}");
    }
    for alg in list(&metadata, "introspection_signing_alg_values_supported") {
        assert!(
            registers(json!({"introspection_signed_response_alg": alg})),
            "{alg}"
        );
    }
    assert_eq!(list(&metadata, "claim_types_supported"), ["normal"]);
}

#[tokio::test]
async fn the_claims_that_are_advertised_are_those_that_can_be_had() {
    let provider = everything().await;
    let metadata = document(&provider.server, OPENID).await.unwrap();
    let advertised = list(&metadata, "claims_supported");
    assert_eq!(metadata["claims_parameter_supported"], true);
    let scope = SCOPES.map(|(name, _)| name).join(" ");
    provider
        .update_user(crate::openid::standard_claims::every_claim())
        .await;
    let asked = json!({"id_token": {"email": null, "name": null}}).to_string();
    let tokens = provider.tokens(&[("scope", &scope), ("claims", &asked)]).await;
    let id_token = provider.claims(text(&tokens, "id_token"), "RS256").await;
    let request = browser().get(provider.server.url("/oauth/userinfo"));
    let response = request
        .bearer_auth(text(&tokens, "access_token"))
        .send()
        .await
        .unwrap();
    let userinfo: Value = response.json().await.unwrap();
    let (id_token, userinfo) = (id_token.as_object().unwrap(), userinfo.as_object().unwrap());
    for claim in &advertised {
        assert!(
            id_token.contains_key(claim) || userinfo.contains_key(claim),
            "{claim}"
        );
    }
    for claim in id_token.keys().chain(userinfo.keys()) {
        assert!(advertised.contains(claim), "{claim} is not advertised");
    }
    let acr = id_token["acr"].as_str().unwrap().to_owned();
    assert!(list(&metadata, "acr_values_supported").contains(&acr));
}

#[tokio::test]
async fn each_algorithm_of_signed_requests_and_responses_can_be_registered_if_it_is_advertised() {
    let provider = everything().await;
    let metadata = document(&provider.server, OAUTH).await.unwrap();
    for (member, registered) in [
        (
            "request_object_signing_alg_values_supported",
            "request_object_signing_alg",
        ),
        (
            "authorization_signing_alg_values_supported",
            "authorization_signed_response_alg",
        ),
    ] {
        walk(
            &metadata,
            member,
            &["none", "HS256", "ES384", "RS512"],
            |alg| async move { registers(json!({registered: alg, "jwks": jwks("ES256")})) },
        )
        .await;
    }
    assert_eq!(metadata["require_signed_request_object"], false);
}

#[tokio::test]
async fn switches_say_what_the_server_does() {
    let provider = everything().await;
    let metadata = document(&provider.server, OAUTH).await.unwrap();
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    let query = request(&provider, &[("prompt", "none")]);
    let answer = flow::request(&provider.server, &browser(), &query).await;
    assert_eq!(answer.parameters()["iss"], provider.server.base);
    // What these promise is tested with logout, DPoP and certificates.
    assert_eq!(metadata["backchannel_logout_supported"], true);
    assert_eq!(metadata["backchannel_logout_session_supported"], true);
    assert!(registers(
        json!({"backchannel_logout_uri": "https://app.example/logout"})
    ));
    assert!(registers(json!({"dpop_bound_access_tokens": true})));
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    assert_eq!(metadata["require_pushed_authorization_requests"], false);
    assert_eq!(metadata["grant_management_action_required"], false);
    let actions = list(&metadata, "grant_management_actions_supported");
    for (action, error) in [("create", "login_required"), ("merge", "invalid_request")] {
        let query = request(
            &provider,
            &[("prompt", "none"), ("grant_management_action", action)],
        );
        let answer = flow::request(&provider.server, &browser(), &query).await;
        assert_eq!(answer.parameters()["error"], error, "{action}");
        assert_eq!(actions.contains(&action.to_owned()), error == "login_required");
    }
    let strict =
        TestServer::start_with(|settings| settings.require_pushed_authorization_requests = true).await;
    let metadata = document(&strict, OAUTH).await.unwrap();
    assert_eq!(metadata["require_pushed_authorization_requests"], true);
    let client = flow::client_and_user(&strict).await;
    let answer = flow::request(&strict, &browser(), &flow::query(&client)).await;
    assert_eq!(answer.parameters()["error"], "invalid_request");
}

/// Whether a proof under this algorithm is taken (RFC 9449 §5).
async fn proves(provider: &Provider, keys: &Keys, alg: &str) -> bool {
    let place = match alg.get(..2) {
        Some("ES") => 0,
        Some("Ed") => 1,
        _ => 2,
    };
    let mut jwk = keys.jwks()["keys"][place].clone();
    for member in ["kid", "use"] {
        jwk.as_object_mut().unwrap().remove(member);
    }
    let url = provider.server.url("/oauth/token");
    let proof = keys.sign(
        &json!({"alg": alg, "typ": "dpop+jwt", "jwk": jwk}),
        &json!({
            "htm": "POST", "htu": url, "iat": provider.server.clock.now().timestamp(),
            "jti": uuid::Uuid::new_v4(),
        }),
    );
    let request = browser()
        .post(&url)
        .header("dpop", proof)
        .basic_auth(&provider.client.client_id, provider.client.client_secret.as_ref())
        .form(&[("grant_type", "client_credentials")]);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    match answer["error"].as_str() {
        None => assert_eq!(answer["token_type"], "DPoP"),
        Some(error) => assert_eq!(error, "invalid_dpop_proof", "{alg}"),
    }
    answer["error"].is_null()
}

#[tokio::test]
async fn proofs_and_certificates_are_taken_as_it_is_advertised() {
    let (provider, bare) = (everything().await, bare().await);
    let metadata = document(&provider.server, OAUTH).await.unwrap();
    let (keys, provider) = (Keys::generate(), &provider);
    walk(
        &metadata,
        "dpop_signing_alg_values_supported",
        &[
            "none", "HS256", "ES256", "ES384", "RS256", "RS512", "PS256", "EdDSA",
        ],
        |alg| {
            let keys = &keys;
            async move { proves(provider, keys, &alg).await }
        },
    )
    .await;
    // The same endpoints, elsewhere (RFC 8705 §5).
    let aliases = metadata["mtls_endpoint_aliases"].as_object().unwrap();
    assert!(aliases.len() >= 5, "{aliases:?}");
    for (name, url) in aliases {
        let path = url.as_str().unwrap().strip_prefix(MTLS).unwrap();
        assert_eq!(metadata[name], provider.server.url(path), "{name}");
    }
    let off = document(&bare.server, OAUTH).await.unwrap();
    assert!(off.get("mtls_endpoint_aliases").is_none());
    assert_eq!(off["tls_client_certificate_bound_access_tokens"], false);
    assert!(off.get("authorization_details_types_supported").is_none());
    let methods = |document: &Value| list(document, "token_endpoint_auth_methods_supported").join(" ");
    assert!(methods(&metadata).contains("tls_client_auth") && !methods(&off).contains("tls_client_auth"));
    // A node that sends clients with certificates elsewhere, and says whom is trusted there.
    let authority = tempfile::NamedTempFile::new().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap()
        .pem();
    std::fs::write(authority.path(), pem).unwrap();
    for (trusts, advertised) in [(false, false), (true, true)] {
        let beside = TestServer::start_with(|settings| {
            settings.mtls_url = Some(MTLS.to_owned());
            settings.tls_client_ca = trusts.then(|| authority.path().to_owned());
        })
        .await;
        let document = document(&beside, OAUTH).await.unwrap();
        let methods = list(&document, "token_endpoint_auth_methods_supported");
        assert_eq!(methods.contains(&"tls_client_auth".to_owned()), advertised);
        assert!(methods.contains(&"self_signed_tls_client_auth".to_owned()));
    }
}

#[tokio::test]
async fn every_member_is_walked() {
    let provider = everything().await;
    let metadata = document(&provider.server, OAUTH).await.unwrap();
    let own = include_str!("metadata.rs");
    for name in metadata.as_object().unwrap().keys() {
        let is_address = name.ends_with("_endpoint") || name.ends_with("_uri");
        let of_endpoint = ["token", "introspection", "revocation"].iter().any(|endpoint| {
            name.strip_prefix(endpoint).is_some_and(|rest| {
                rest == "_endpoint_auth_methods_supported"
                    || rest == "_endpoint_auth_signing_alg_values_supported"
            })
        });
        let walked = is_address || of_endpoint || own.contains(&format!("\"{name}\""));
        assert!(
            walked,
            "{name} is advertised and not walked in tests/it/metadata.rs"
        );
    }
}
