//! What the metadata document says of authorization requests and responses that are JWTs (RFC 9101 §10.5, JARM §6).

use serde::Serialize;

use crate::config::Settings;
use crate::domain::client::{AssertionAlgorithm, IdTokenAlgorithm};

/// The members.
#[derive(Serialize)]
pub(in crate::http::oauth) struct AuthorizationMetadata {
    request_parameter_supported: bool,
    request_uri_parameter_supported: bool,
    request_object_signing_alg_values_supported: [&'static str; 4],
    require_signed_request_object: bool,
    authorization_signing_alg_values_supported: Vec<&'static str>,
}

impl AuthorizationMetadata {
    /// With these settings.
    pub(in crate::http::oauth) fn of(settings: &Settings) -> Self {
        let algorithms = IdTokenAlgorithm::ALL.into_iter();
        Self {
            request_parameter_supported: true,
            // Pushed ones are no references of the client's own.
            request_uri_parameter_supported: false,
            request_object_signing_alg_values_supported: AssertionAlgorithm::NAMES,
            require_signed_request_object: settings.require_signed_request_objects,
            authorization_signing_alg_values_supported: algorithms
                .map(|algorithm| algorithm.key().name())
                .collect(),
        }
    }
}
