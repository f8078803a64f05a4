//! The administration API: what the OpenAPI document says is what is served.

mod access;
mod document;
mod guarded;
mod lookers;
mod resources;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::token::{Party, text};
use crate::users::approve;

/// The parts of the administration API, by their scopes.
pub(crate) const PARTS: [&str; 4] = ["admin:read", "admin:operate", "admin:configure", "admin:evidence"];

/// A server with a client that is approved for `admin` and each of its parts.
pub(crate) struct Administered {
    pub(crate) party: Party,
    pub(crate) document: Value,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) challenge: String,
    pub(crate) body: Value,
}

impl Administered {
    pub(crate) async fn new() -> Self {
        let server = TestServer::start_with(|settings| settings.api_requests_per_minute = 100_000).await;
        let scopes: Vec<&str> = std::iter::once("admin").chain(PARTS).collect();
        let operations = server.app.operations.clone();
        for scope in &scopes {
            operations
                .define_scope(&TestServer::context(), scope, "Administer", true)
                .await
                .unwrap();
        }
        let all = format!("view-user detail-user server-operations {}", scopes.join(" "));
        let party = Party::on(server, json!({"scope": all})).await;
        approve(&party.server, party.key, &scopes).await;
        party.server.settle().await;
        let document = reqwest::get(party.server.url("/openapi.json")).await.unwrap();
        assert_eq!(document.status(), 200);
        let document = document.json().await.unwrap();
        Self { party, document }
    }

    /// The client's own token.
    pub(crate) async fn token(&self, scope: &str) -> String {
        crate::users::own_token(&self.party, scope).await
    }

    pub(crate) async fn send(
        &self,
        (method, path): (&str, &str),
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let method: Method = method.to_uppercase().parse().unwrap();
        let mut request = self.party.http.request(method, self.party.server.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let challenge = response.headers().get("www-authenticate");
        Answer {
            status: response.status().as_u16(),
            challenge: challenge.map_or_else(String::new, |value| value.to_str().unwrap().to_owned()),
            body: response.json().await.unwrap_or(Value::Null),
        }
    }

    /// Does a call by its `operationId`, with what its path and query are filled with, and compares the answer with the
    /// document.
    pub(crate) async fn call(
        &self,
        id: &str,
        (path, query): (&[(&str, &str)], &str),
        body: Option<Value>,
    ) -> (u16, Value) {
        let (template, method) = self.place(id);
        let mut filled = template.clone();
        for (name, value) in path {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
        assert!(!filled.contains('{'), "{filled}");
        let token = self.token("admin").await;
        let answer = self
            .send(
                (&method, &format!("{filled}{query}")),
                Some(&token),
                body.as_ref(),
            )
            .await;
        self.conforms((&template, &method), &answer);
        (answer.status, answer.body)
    }

    /// As [`Self::call`], where it is done.
    pub(crate) async fn done(
        &self,
        id: &str,
        (path, query): (&[(&str, &str)], &str),
        body: Option<Value>,
    ) -> Value {
        let (status, body) = self.call(id, (path, query), body).await;
        assert!((200..300).contains(&status), "{id}: {status} {body}");
        body
    }

    fn place(&self, id: &str) -> (String, String) {
        let paths = self.document["paths"].as_object().unwrap();
        let mut all = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (path, method, operation))
        });
        let found = all.find(|(.., operation)| operation["operationId"] == id);
        let (path, method, _) = found.unwrap_or_else(|| panic!("no call {id}"));
        (path.clone(), method.clone())
    }

    /// The answer is what the document says of this call and status.
    fn conforms(&self, (template, method): (&str, &str), answer: &Answer) {
        let operation = &self.document["paths"][template][method];
        let response = &operation["responses"][answer.status.to_string()];
        let response = match response["$ref"].as_str() {
            Some(pointer) => self.document.pointer(pointer.trim_start_matches('#')).unwrap(),
            None => response,
        };
        let schema = &response["content"]["application/json"]["schema"];
        assert!(
            schema.is_object(),
            "{method} {template} has no answer {}",
            answer.status
        );
        let mut whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": self.document["components"],
        });
        let members = schema.as_object().unwrap().clone();
        whole.as_object_mut().unwrap().extend(members);
        let validator = jsonschema::validator_for(&whole).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&answer.body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(
            errors.is_empty(),
            "{method} {template}: {errors:?} in {}",
            answer.body
        );
    }

    /// How many events there are of this kind.
    pub(crate) async fn count(&self, condition: &str) -> i64 {
        let query = format!("SELECT count(*) FROM grantlog.ledger WHERE {condition}");
        let pool = self.party.server.app.ledger.pool();
        sqlx::query_scalar(&query).fetch_one(pool).await.unwrap()
    }
}

/// The error code of an answer.
pub(crate) fn error(body: &Value) -> &str {
    text(body, "error")
}
