//! OpenID Connect over HTTP: what a relying party asks, gets and checks.

mod claims;
mod discovery;
mod id_token;
mod login;
mod response_mode;
pub(crate) mod standard_claims;
mod statements;
mod userinfo;

use grantlog::ids::SubjectId;
use grantlog::operations::client::CreatedClient;
use grantlog::operations::profile::ProfilePatch;
use serde_json::{Value, json};

use crate::flow::{self, Query};
use crate::harness::{TestServer, browser};

/// The scopes of OpenID Connect, with what the consent page says of them.
pub(crate) const SCOPES: [(&str, &str); 6] = [
    ("openid", "Know who you are"),
    ("profile", "See your name and user name"),
    ("email", "See your e-mail address"),
    ("address", "See your postal address"),
    ("phone", "See your telephone number"),
    ("offline_access", "Keep this access while you are away"),
];

/// An OpenID provider, a client of it and a user.
pub(crate) struct Provider {
    pub(crate) server: TestServer,
    pub(crate) client: CreatedClient,
    pub(crate) subject: SubjectId,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// With other members in the client's metadata.
    pub(crate) async fn with(extra: Value) -> Self {
        let server = TestServer::start().await;
        define_scopes(&server).await;
        let subject = server.user(flow::USERNAME, flow::PASSWORD).await;
        let mut metadata = flow::confidential();
        let members = metadata.as_object_mut().unwrap();
        members.insert(
            "scope".to_owned(),
            json!("view-user openid profile email address phone offline_access"),
        );
        members.extend(extra.as_object().unwrap().clone());
        let client = server.client(metadata).await;
        Self {
            server,
            client,
            subject,
        }
    }

    /// Gives the user claims; null takes one away.
    pub(crate) async fn update_user(&self, claims: Value) {
        let patch = ProfilePatch::read(claims.as_object().unwrap().clone()).unwrap();
        let operations = &self.server.app.operations;
        let context = TestServer::context();
        let updated = operations.update_user(&context, self.subject, &patch);
        updated.await.unwrap();
    }

    /// An authentication request with some parameters changed.
    pub(crate) fn query(&self, changes: &[(&str, &str)]) -> Query {
        let query = flow::with(
            &flow::query(&self.client),
            &[("scope", "openid"), ("nonce", "n-0S6_WzA2Mj")],
        );
        flow::with(&query, changes)
    }

    /// The tokens of an authentication.
    pub(crate) async fn tokens(&self, changes: &[(&str, &str)]) -> Value {
        let returned = flow::authorize(&self.server, &browser(), &self.query(changes)).await;
        self.redeem(&returned["code"]).await
    }

    pub(crate) async fn redeem(&self, code: &str) -> Value {
        self.token_request(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", flow::REDIRECT_URI),
            ("code_verifier", flow::VERIFIER),
        ])
        .await
    }

    pub(crate) async fn token_request(&self, form: &[(&str, &str)]) -> Value {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = browser()
            .post(self.server.url("/oauth/token"))
            .basic_auth(&self.client.client_id, self.client.client_secret.as_deref())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let response = request.send().await.unwrap();
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// The claims of an ID token, checked as a relying party must (OpenID Connect Core §3.1.3.7).
    pub(crate) async fn claims(&self, id_token: &str, algorithm: &str) -> Value {
        self.signed(id_token, "JWT", algorithm).await
    }

    /// The claims of a JWT that this issuer signed for the client.
    pub(crate) async fn signed(&self, jwt: &str, typ: &str, algorithm: &str) -> Value {
        let header = jsonwebtoken::decode_header(jwt).unwrap();
        assert_eq!(header.typ.as_deref(), Some(typ));
        let url = self.server.url("/oauth/jwks");
        let keys = browser().get(url).send().await.unwrap();
        let keys: jsonwebtoken::jwk::JwkSet = keys.json().await.unwrap();
        let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
        let mut validation = jsonwebtoken::Validation::new(algorithm.parse().unwrap());
        validation.set_audience(&[&self.client.client_id]);
        validation.set_issuer(&[&self.server.base]);
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["iss", "aud", "sub"]);
        jsonwebtoken::decode::<Value>(jwt, &key, &validation)
            .unwrap()
            .claims
    }
}

pub(crate) async fn define_scopes(server: &TestServer) {
    for (name, description) in SCOPES {
        server
            .app
            .operations
            .define_scope(&TestServer::context(), name, description, false)
            .await
            .unwrap();
    }
}

/// A member that is a string.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}
