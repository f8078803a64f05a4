//! Native applications, and the secrets that administrators do not give them (RFC 6749 §10.1).

use super::{ApplicationType, ClientCommand, ClientMetadata, ClientRefusal, Registration};
use crate::domain::redirect_uri;

impl ClientMetadata {
    /// Whether it runs on its users' devices: it is said to, or, where nothing is said, all its redirect URIs stay there
    /// and one is of a private-use scheme. Loopback addresses alone say nothing: so web applications are developed.
    #[must_use]
    pub fn is_native(&self) -> bool {
        if let Some(kind) = self.application_type {
            return kind == ApplicationType::Native;
        }
        let mut uris = self.redirect_uris.iter();
        uris.clone().all(|uri| redirect_uri::is_native(uri))
            && uris.any(|uri| redirect_uri::is_private_use(uri))
    }

    /// Whether one secret would be on the devices of all its users.
    #[must_use]
    pub fn is_native_with_secret(&self) -> bool {
        self.is_native() && self.has_secret()
    }
}

impl Registration {
    /// Refuses to give a native application a secret. Each installation that registered itself has one of its own; and what
    /// has a secret from before, or from an import, keeps it.
    pub(super) fn check_secret_of_native(&self, command: &ClientCommand) -> Result<(), ClientRefusal> {
        let metadata = if let ClientCommand::Update(metadata) = command {
            metadata
        } else if matches!(command, ClientCommand::RotateSecret { .. }) {
            &self.metadata
        } else {
            return Ok(());
        };
        let has_one = self.metadata.is_native_with_secret() && !self.secrets.is_empty();
        if metadata.is_native_with_secret() && !has_one && self.registration_access_token.is_none() {
            return Err(ClientRefusal::NativeSecret);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::client::{Client, SecretVerifier};
    use crate::domain::value::Digest;
    use serde_json::json;

    fn metadata(redirect_uris: &[&str], method: &str) -> ClientMetadata {
        let members = json!({
            "client_name": "x", "redirect_uris": redirect_uris, "grant_types": ["authorization_code"],
            "token_endpoint_auth_method": method, "scope": [], "default_scopes": [], "audience": [], "introspects": [],
            "legacy": false, "access_token_algorithm": "ES256", "access_token_lifetime": 60,
            "refresh_token_lifetime": 60, "refresh_grace": null, "allowed_origins": [], "home_page_url": null,
            "logo_url": null, "privacy_policy_url": null, "is_live": true, "owner": null,
        });
        serde_json::from_value(members).unwrap()
    }

    /// As an import, or an earlier version, has registered it.
    fn registered(metadata: &ClientMetadata, verifier: Option<SecretVerifier>) -> Client {
        let mut client = Client::default();
        let command = ClientCommand::Register {
            client_id: "x".to_owned(),
            metadata: Box::new(metadata.clone()),
            verifier,
            imported: None,
        };
        let decision = client.decide(&command);
        decision.events.into_iter().for_each(|event| client.evolve(event));
        client
    }

    #[test]
    fn who_says_nothing_is_native_by_a_scheme_of_its_own_and_by_nothing_that_servers_have() {
        for (uris, native) in [
            (&["com.example.app:/cb"][..], true),
            (&["com.example.app:/cb", "http://127.0.0.1/cb"], true),
            (&["http://127.0.0.1/cb", "http://localhost:3000/cb"], false),
            (&["com.example.app:/cb", "https://app.example/cb"], false),
            (&["https://app.example/cb"], false),
            (&[], false),
        ] {
            let mut metadata = metadata(uris, "none");
            assert_eq!(metadata.is_native(), native, "{uris:?}");
            metadata.application_type = Some(ApplicationType::Native);
            assert!(metadata.is_native(), "{uris:?}");
            metadata.application_type = Some(ApplicationType::Web);
            assert!(!metadata.is_native(), "{uris:?}");
        }
    }

    #[test]
    fn a_secret_from_before_is_kept_and_none_is_given() {
        let native = metadata(&["com.example.app:/cb"], "client_secret_basic");
        let verifier = SecretVerifier::Sha256(Digest::of(b"x"));
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let rotate = ClientCommand::RotateSecret {
            verifier: verifier.clone(),
            retire_at: at,
            at,
        };
        let renamed = ClientCommand::Update(Box::new(ClientMetadata {
            client_name: "y".to_owned(),
            ..native.clone()
        }));
        let with = registered(&native, Some(verifier.clone()));
        let without = registered(&native, None);
        for command in [rotate, renamed] {
            assert_eq!(with.decide(&command).outcome, Ok(()), "{command:?}");
            let refused = without.decide(&command).outcome;
            assert_eq!(refused, Err(ClientRefusal::NativeSecret), "{command:?}");
        }
        let web = metadata(&["https://app.example/cb"], "client_secret_basic");
        let moved = registered(&web, Some(verifier)).decide(&ClientCommand::Update(Box::new(native)));
        assert_eq!(moved.outcome, Err(ClientRefusal::NativeSecret));
    }
}
