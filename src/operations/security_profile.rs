//! A registration's security profile: what it sets where the registration is silent, and what contradicts it.

use serde_json::{Map, Value};

use super::OperationError;
use super::registration::ClientRegistration;
use crate::domain::client::{ClientMetadata, IdTokenAlgorithm, SecurityProfile};

/// The members that a profile sets where they are not stated.
#[expect(clippy::struct_excessive_bools, reason = "members of the metadata")]
pub(super) struct Profiled {
    /// One of FAPI 2.0's; none for `oauth21` and `legacy`, which `legacy` tells apart.
    pub(super) profile: Option<SecurityProfile>,
    pub(super) legacy: bool,
    pub(super) require_pushed_authorization_requests: bool,
    pub(super) require_signed_request_object: bool,
    pub(super) dpop_bound_access_tokens: bool,
    pub(super) id_token_signed_response_alg: IdTokenAlgorithm,
    pub(super) authorization_signed_response_alg: Option<IdTokenAlgorithm>,
}

impl Profiled {
    /// What the registration comes to.
    pub(super) fn of(stated: &ClientRegistration) -> Result<Self, OperationError> {
        if stated.legacy && !matches!(stated.profile, None | Some(SecurityProfile::Legacy)) {
            return Err(OperationError::invalid(
                "legacy",
                "legacy: true and a profile other than legacy contradict each other",
            ));
        }
        let profile = stated.profile.filter(|profile| profile.is_fapi2());
        let fapi = profile.is_some();
        let signs = profile == Some(SecurityProfile::Fapi2MessageSigning);
        let bound = stated.tls_client_certificate_bound_access_tokens;
        let algorithm = if fapi {
            IdTokenAlgorithm::ES256
        } else {
            IdTokenAlgorithm::default()
        };
        let response = stated.authorization_signed_response_alg;
        Ok(Self {
            profile,
            legacy: stated.legacy || stated.profile == Some(SecurityProfile::Legacy),
            require_pushed_authorization_requests: stated
                .require_pushed_authorization_requests
                .unwrap_or(fapi),
            require_signed_request_object: stated.require_signed_request_object.unwrap_or(signs),
            dpop_bound_access_tokens: stated.dpop_bound_access_tokens.unwrap_or(fapi && !bound),
            id_token_signed_response_alg: stated.id_token_signed_response_alg.unwrap_or(algorithm),
            authorization_signed_response_alg: response.or(signs.then_some(algorithm)),
        })
    }
}

/// Refuses what contradicts the profile, and request objects that nothing could verify.
pub(super) fn check(metadata: &ClientMetadata) -> Result<(), OperationError> {
    metadata
        .check_profile()
        .map_err(|(field, problem)| OperationError::invalid(field, problem))?;
    let has_keys = metadata.jwks.is_some() || metadata.jwks_uri.is_some();
    let asked = [
        (
            "require_signed_request_object",
            metadata.require_signed_request_object,
        ),
        (
            "request_object_signing_alg",
            metadata.request_object_signing_alg.is_some(),
        ),
    ];
    match asked.into_iter().find(|(_, asked)| *asked && !has_keys) {
        Some((field, _)) => Err(OperationError::invalid(
            field,
            "request objects are verified with the client's keys: it needs jwks or jwks_uri",
        )),
        None => Ok(()),
    }
}

/// Refuses what OAuth 2.1 has removed, where a client has it neither by a mark nor from before.
pub(super) fn check_oauth21(
    metadata: &ClientMetadata,
    before: Option<&ClientMetadata>,
) -> Result<(), OperationError> {
    match metadata.removed_by_oauth21(before) {
        Some((field, problem)) => Err(OperationError::invalid(field, problem)),
        None => Ok(()),
    }
}

/// Prepares the members that a client has for a patch that changes its profile: what only said the old one's defaults
/// makes room for the new one's, unless the patch states it too.
pub(super) fn make_room(members: &mut Map<String, Value>, patch: &Map<String, Value>) {
    if patch.contains_key("legacy") && !patch.contains_key("profile") {
        let fapi = [
            SecurityProfile::Fapi2Security,
            SecurityProfile::Fapi2MessageSigning,
        ];
        let stays = fapi
            .iter()
            .any(|known| members.get("profile") == Some(&known.name().into()));
        if !stays {
            members.remove("profile");
        }
    }
    if !patch.contains_key("profile") {
        return;
    }
    members.remove("legacy");
    for (member, default) in [
        ("require_pushed_authorization_requests", Value::Bool(false)),
        ("require_signed_request_object", Value::Bool(false)),
        ("dpop_bound_access_tokens", Value::Bool(false)),
        ("id_token_signed_response_alg", "RS256".into()),
        ("authorization_signed_response_alg", "RS256".into()),
    ] {
        if members.get(member) == Some(&default) {
            members.remove(member);
        }
    }
}
