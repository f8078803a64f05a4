//! What a client's assertions are signed with (`token_endpoint_auth_signing_alg`, OpenID Connect Dynamic Client
//! Registration §2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::jwks::AssertionAlgorithm;
use super::metadata::{AuthMethod, ClientMetadata};

/// An algorithm of assertions. Which kind a client may use is registered (`token_endpoint_auth_method`): a public key is
/// never taken for a secret, nor the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "it is not RS256, PS256, ES256, EdDSA or HS256")]
pub enum AuthAlgorithm {
    /// Under a key of the client's own (`private_key_jwt`).
    Key(AssertionAlgorithm),
    /// Under the client's secret (`client_secret_jwt`).
    Secret(SecretAlgorithm),
}

/// An algorithm under a secret: those made here are long enough for this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecretAlgorithm {
    /// HMAC with SHA-256.
    HS256,
}

impl SecretAlgorithm {
    /// The JWS name (RFC 7518 §3.1).
    pub const NAME: &'static str = "HS256";
}

impl AuthAlgorithm {
    /// The algorithm of that name; none for `none` and for all others.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name == SecretAlgorithm::NAME {
            return Some(Self::Secret(SecretAlgorithm::HS256));
        }
        AssertionAlgorithm::named(name).map(Self::Key)
    }

    /// The authentication method that it is of.
    #[must_use]
    pub fn method(self) -> AuthMethod {
        match self {
            Self::Key(_) => AuthMethod::PrivateKeyJwt,
            Self::Secret(_) => AuthMethod::ClientSecretJwt,
        }
    }
}

impl ClientMetadata {
    /// Whether it may sign the assertions that authenticate it with this algorithm.
    #[must_use]
    pub fn may_authenticate_with(&self, algorithm: AuthAlgorithm) -> bool {
        let registered = self.token_endpoint_auth_signing_alg;
        let fits = match algorithm {
            AuthAlgorithm::Key(algorithm) => self.may_sign_with(algorithm),
            AuthAlgorithm::Secret(_) => true,
        };
        fits && registered.is_none_or(|one| one == algorithm)
    }

    /// Whether `token_endpoint_auth_signing_alg` fits the method that it is for. Beside a method without assertions it
    /// means nothing.
    #[must_use]
    pub fn auth_algorithm_fits(&self) -> bool {
        let method = self.token_endpoint_auth_method;
        let signs = matches!(method, AuthMethod::PrivateKeyJwt | AuthMethod::ClientSecretJwt);
        let registered = self.token_endpoint_auth_signing_alg;
        !signs || registered.is_none_or(|algorithm| algorithm.method() == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_algorithm_of_assertions_is_read_and_written_by_its_name() {
        for name in ["RS256", "PS256", "ES256", "EdDSA", "HS256"] {
            let algorithm: AuthAlgorithm = serde_json::from_value(json!(name)).unwrap();
            assert_eq!(AuthAlgorithm::named(name), Some(algorithm));
            assert_eq!(json!(algorithm), json!(name));
            let of_secret = algorithm.method() == AuthMethod::ClientSecretJwt;
            assert_eq!(of_secret, name == "HS256");
        }
        for other in ["none", "HS512", "rs256", ""] {
            assert_eq!(AuthAlgorithm::named(other), None);
            let error = serde_json::from_value::<AuthAlgorithm>(json!(other)).unwrap_err();
            assert!(error.to_string().contains("HS256"), "{error}");
        }
    }
}
