//! Introspection answers as JWTs, over HTTP (RFC 9701).

use grantlog::operations::client::CreatedClient;
use serde_json::{Value, json};

use crate::code;
use crate::token::{Party, text};

const MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// A client whose tokens are for `api-1`, and the resource server of that.
struct World {
    party: Party,
    resource_server: CreatedClient,
    token: String,
    refresh: String,
}

impl World {
    async fn new(extra: Value) -> Self {
        let party = Party::with(json!({"audience": ["api-1"]})).await;
        let resource_server = resource_server(&party, "api-1", extra).await;
        let issue =
            |event: &mut grantlog::domain::grant::CodeIssued| event.audience = vec!["api-1".to_owned()];
        let (_, code) = code::issue_with(&party.server, (party.key, party.subject), "view-user", issue).await;
        let (status, tokens) = party.redeem(&code).await;
        assert_eq!(status, 200, "{tokens}");
        Self {
            token: text(&tokens, "access_token").to_owned(),
            refresh: text(&tokens, "refresh_token").to_owned(),
            party,
            resource_server,
        }
    }

    /// Content type and body of an answer.
    async fn ask(&self, client: (&str, &str), token: &str, accept: &str) -> (u16, String, String) {
        let response = self
            .party
            .http
            .post(self.party.server.url("/oauth/introspect"))
            .basic_auth(client.0, Some(client.1))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", accept)
            .body(format!("token={token}"))
            .send()
            .await
            .unwrap();
        let headers = response.headers();
        assert_eq!(headers["cache-control"], "no-store");
        let media_type = headers["content-type"].to_str().unwrap().to_owned();
        (
            response.status().as_u16(),
            media_type,
            response.text().await.unwrap(),
        )
    }

    /// The claims of an answer to a resource server, checked as RFC 9701 §5 says.
    async fn verified(&self, client: (&str, &str), token: &str, algorithm: &str) -> Value {
        let (status, media_type, jwt) = self.ask(client, token, MEDIA_TYPE).await;
        assert_eq!((status, media_type.as_str()), (200, MEDIA_TYPE), "{jwt}");
        let header = jsonwebtoken::decode_header(&jwt).unwrap();
        assert_eq!(header.typ.as_deref(), Some("token-introspection+jwt"));
        let url = self.party.server.url("/oauth/jwks");
        let keys = self.party.http.get(url).send().await.unwrap();
        let keys: jsonwebtoken::jwk::JwkSet = keys.json().await.unwrap();
        let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
        let mut validation = jsonwebtoken::Validation::new(algorithm.parse().unwrap());
        validation.set_audience(&[client.0]);
        validation.set_issuer(&[&self.party.server.base]);
        validation.set_required_spec_claims(&["iss", "aud"]);
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Value>(&jwt, &key, &validation);
        decoded.unwrap().claims
    }

    fn resource_server(&self) -> (&str, &str) {
        credentials(&self.resource_server)
    }
}

async fn resource_server(party: &Party, audience: &str, extra: Value) -> CreatedClient {
    let mut metadata =
        json!({"client_name": "Resource", "grant_types": ["client_credentials"], "introspects": [audience]});
    metadata
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    party.server.client(metadata).await
}

fn credentials(client: &CreatedClient) -> (&str, &str) {
    (&client.client_id, client.client_secret.as_deref().unwrap())
}

#[tokio::test]
async fn a_resource_server_gets_a_signed_answer_for_itself() {
    for (extra, algorithm) in [
        (json!({}), "RS256"),
        (json!({"introspection_signed_response_alg": "ES256"}), "ES256"),
        (json!({"introspection_signed_response_alg": "PS256"}), "PS256"),
        (json!({"introspection_signed_response_alg": "EdDSA"}), "EdDSA"),
    ] {
        let world = World::new(extra).await;
        let claims = world
            .verified(world.resource_server(), &world.token, algorithm)
            .await;
        let mut members: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(
            members,
            ["aud", "iat", "iss", "token_introspection"],
            "no sub, no exp: it is no ID token and no access token"
        );
        let (_, _, json) = world
            .ask(world.resource_server(), &world.token, "application/json")
            .await;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["active"], true);
        assert_eq!(claims["token_introspection"], json);
    }
}

#[tokio::test]
async fn a_jwt_says_active_to_resource_servers_of_the_audience_alone() {
    let world = World::new(json!({})).await;
    let inactive = json!({"active": false});
    let other = resource_server(&world.party, "api-2", json!({})).await;
    let own = (world.party.client_id.as_str(), world.party.secret.as_str());
    for (client, token) in [
        (credentials(&other), world.token.as_str()),
        // Not even to the client that has it: it is no resource server.
        (own, &world.token),
        (own, &world.refresh),
        (world.resource_server(), &world.refresh),
        (world.resource_server(), "x"),
    ] {
        let claims = world.verified(client, token, "RS256").await;
        assert_eq!(claims["token_introspection"], inactive, "{token}");
    }
    let (status, _) = world
        .party
        .post("/oauth/revoke", &[("token", &world.token)])
        .await;
    assert_eq!(status, 200);
    let claims = world
        .verified(world.resource_server(), &world.token, "RS256")
        .await;
    assert_eq!(claims["token_introspection"], inactive);
}

#[tokio::test]
async fn whoever_does_not_ask_for_a_jwt_gets_json_and_errors_stay_json() {
    let world = World::new(json!({"introspection_signed_response_alg": "ES256"})).await;
    for accept in [
        "*/*",
        "application/json",
        "application/json, application/token-introspection+jwt;q=0.1",
    ] {
        let (status, media_type, body) = world.ask(world.resource_server(), &world.token, accept).await;
        assert_eq!(
            (status, media_type.as_str()),
            (200, "application/json"),
            "{accept}"
        );
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["active"], true);
    }
    let stranger = (world.resource_server.client_id.as_str(), "wrong");
    let (status, media_type, body) = world.ask(stranger, &world.token, MEDIA_TYPE).await;
    assert_eq!((status, media_type.as_str()), (401, "application/json"));
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap()["error"],
        "invalid_client"
    );
}

#[tokio::test]
async fn the_metadata_lists_the_algorithms_of_introspection_answers() {
    let party = Party::new().await;
    let url = party.server.url("/.well-known/oauth-authorization-server");
    let metadata: Value = party.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        metadata["introspection_signing_alg_values_supported"],
        json!(["RS256", "ES256", "PS256", "EdDSA"])
    );
    for alg in metadata["introspection_signing_alg_values_supported"]
        .as_array()
        .unwrap()
    {
        resource_server(&party, "a", json!({"introspection_signed_response_alg": alg})).await;
    }
    assert!(
        metadata
            .get("introspection_encryption_alg_values_supported")
            .is_none()
    );
}
