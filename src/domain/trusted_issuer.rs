//! The `trusted_issuer` aggregate: another server whose assertions are good here (RFC 7523 §2.1, RFC 7521 §3).

use aws_lc_rs::digest::{Context, SHA256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::{KeySource, PublicJwks};
use super::value::ScopeSet;
use super::{Decision, aggregate};
use crate::ids::{ClientKey, IssuerKey};

/// The longest issuer identifier, in bytes.
const MAX_ISSUER: usize = 1000;
/// The most clients, and the most subjects, of one trust.
const MAX_ENTRIES: usize = 200;
/// The longest that a trust lets an access token live, in seconds.
const MAX_LIFETIME: u32 = 86_400;

events! {
    /// Events of the trust in one issuer.
    pub enum TrustedIssuerEvent of "trusted_issuer" {
        /// Its assertions are good from now on; replaces what was said of it before.
        IssuerTrusted 1 {
            /// The `iss` of its assertions.
            issuer: String,
            /// How far the trust goes.
            trust: Trust,
        },
        /// Its assertions are good no more, and what came of them is not active any more.
        IssuerDistrusted 1 {
            /// Why, in the administrator's words.
            reason: String,
        },
    }
}

/// How far an issuer is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The keys that its assertions are verified with.
    #[serde(flatten)]
    pub keys: IssuerKeys,
    /// Whom an assertion's subject is here.
    pub subject_is: SubjectMapping,
    /// The only `sub` values that are taken; empty means any, which a mapping to the client does not allow.
    pub subjects: Vec<String>,
    /// The clients that may use its assertions.
    pub clients: Vec<ClientKey>,
    /// The widest scope of their tokens.
    pub scope: ScopeSet,
    /// The types of authorization details that their tokens may have (RFC 9396).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details_types: Vec<String>,
    /// Seconds that an access token lives at most.
    pub max_lifetime: u32,
    /// Whether an assertion may have no `jti`; the digest of what was signed is then what it is known by.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub jti_optional: bool,
}

/// The keys of an issuer: as a member of the trust, `jwks` or `jwks_uri`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IssuerKeys {
    /// These.
    #[serde(rename = "jwks")]
    Given(PublicJwks),
    /// Those that it publishes at this URL.
    #[serde(rename = "jwks_uri")]
    Published(String),
}

impl IssuerKeys {
    /// The one of both that there is.
    pub fn of(given: Option<PublicJwks>, published: Option<String>) -> Result<Self, TrustedIssuerRefusal> {
        match (given, published) {
            (Some(jwks), None) => Ok(Self::Given(jwks)),
            (None, Some(uri)) => Ok(Self::Published(uri)),
            (Some(_), Some(_)) | (None, None) => Err(TrustedIssuerRefusal::Keys),
        }
    }

    /// Where they are found.
    #[must_use]
    pub fn source(&self) -> KeySource<'_> {
        match self {
            Self::Given(jwks) => KeySource::Given(jwks),
            Self::Published(uri) => KeySource::Published(uri),
        }
    }
}

/// Whom the subject of an assertion is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectMapping {
    /// The user whose id is `sub`.
    UserId,
    /// The user whose login name is the claim `preferred_username`.
    Username,
    /// The user whose e-mail address is the claim `email`, where `email_verified` is true.
    Email,
    /// The client itself, which then acts for no user: a workload that another server identifies.
    Client,
}

impl SubjectMapping {
    /// The word in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::Username => "username",
            Self::Email => "email",
            Self::Client => "client",
        }
    }
}

/// The state of a trust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedIssuer {
    /// The `iss` of its assertions; none where it was never trusted.
    pub issuer: Option<String>,
    /// How far it is trusted; none where it is not.
    pub trust: Option<Trust>,
}

/// Commands on a trust.
#[derive(Clone, Debug)]
pub enum TrustedIssuerCommand {
    /// Trust it so far.
    Trust {
        /// The `iss` of its assertions.
        issuer: String,
        /// How far.
        trust: Box<Trust>,
    },
    /// Trust it no more.
    Distrust {
        /// Why.
        reason: String,
    },
}

/// Why a command on a trust was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrustedIssuerRefusal {
    /// Not trusted.
    #[error("this issuer is not trusted")]
    Unknown,
    /// It could not be compared, or not be shown.
    #[error("an issuer has 1 to 1000 printable ASCII characters without spaces")]
    MalformedIssuer,
    /// It would not be known which keys are the issuer's.
    #[error(
        "a trust needs the issuer's keys (jwks) or the URL where it publishes them (jwks_uri), and not both"
    )]
    Keys,
    /// Nobody could use it.
    #[error("a trust needs 1 to 200 clients")]
    Clients,
    /// Anybody whom the issuer knows would be the client.
    #[error("a trust whose subject is the client needs 1 to 200 subjects, any other at most 200")]
    Subjects,
    /// Too long, or nothing.
    #[error("the longest lifetime is 1 to 86400 seconds")]
    Lifetime,
}

impl TrustedIssuer {
    /// The aggregate of the trust in an issuer.
    #[must_use]
    pub fn id(issuer: &str) -> IssuerKey {
        let mut context = Context::new(&SHA256);
        context.update(b"grantlog trusted issuer ");
        context.update(issuer.as_bytes());
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(context.finish().as_ref())
            .for_each(|(to, from)| *to = *from);
        IssuerKey(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// How far its assertions are trusted for a client; none where they are not.
    #[must_use]
    pub fn trust_for(&self, client: ClientKey) -> Option<&Trust> {
        self.trust
            .as_ref()
            .filter(|trust| trust.clients.contains(&client))
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(
        &self,
        command: &TrustedIssuerCommand,
    ) -> Decision<TrustedIssuerEvent, (), TrustedIssuerRefusal> {
        match command {
            TrustedIssuerCommand::Trust { issuer, trust } => {
                if let Err(refusal) = check(issuer, trust) {
                    return Decision::refuse(refusal);
                }
                if self.trust.as_ref() == Some(trust) {
                    return Decision::accept(Vec::new(), ());
                }
                let event = IssuerTrusted {
                    issuer: issuer.clone(),
                    trust: (**trust).clone(),
                };
                Decision::accept(vec![event.into()], ())
            }
            TrustedIssuerCommand::Distrust { .. } if self.trust.is_none() => {
                Decision::refuse(TrustedIssuerRefusal::Unknown)
            }
            TrustedIssuerCommand::Distrust { reason } => {
                let event = IssuerDistrusted {
                    reason: reason.clone(),
                };
                Decision::accept(vec![event.into()], ())
            }
        }
    }

    fn evolve(&mut self, event: TrustedIssuerEvent) {
        match event {
            TrustedIssuerEvent::IssuerTrusted(event) => {
                self.issuer = Some(event.issuer);
                self.trust = Some(event.trust);
            }
            TrustedIssuerEvent::IssuerDistrusted(_) => self.trust = None,
        }
    }
}

fn check(issuer: &str, trust: &Trust) -> Result<(), TrustedIssuerRefusal> {
    let printable = issuer.bytes().all(|byte| byte.is_ascii_graphic());
    if issuer.is_empty() || issuer.len() > MAX_ISSUER || !printable {
        return Err(TrustedIssuerRefusal::MalformedIssuer);
    }
    if trust.clients.is_empty() || trust.clients.len() > MAX_ENTRIES {
        return Err(TrustedIssuerRefusal::Clients);
    }
    let unnamed = trust.subject_is == SubjectMapping::Client && trust.subjects.is_empty();
    if unnamed || trust.subjects.len() > MAX_ENTRIES {
        return Err(TrustedIssuerRefusal::Subjects);
    }
    if !(1..=MAX_LIFETIME).contains(&trust.max_lifetime) {
        return Err(TrustedIssuerRefusal::Lifetime);
    }
    Ok(())
}

aggregate!(
    TrustedIssuer,
    TrustedIssuer,
    "trusted_issuer",
    TrustedIssuerCommand,
    TrustedIssuerEvent,
    TrustedIssuerRefusal
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::LedgerEvent;
    use serde_json::{Value, json};

    #[test]
    fn a_trust_has_one_of_both_members_for_its_keys_as_earlier_versions_wrote_it() {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let event = |keys: &Value| {
            let mut trust = json!({"clients": [], "max_lifetime": 600, "scope": ["a"], "subject_is": "client", "subjects": ["s"]});
            trust
                .as_object_mut()
                .unwrap()
                .extend(keys.as_object().unwrap().clone());
            crate::canonical::to_string(&json!({"issuer": "https://i.example", "trust": trust})).unwrap()
        };
        for keys in [
            json!({"jwks": {"keys": [key]}}),
            json!({"jwks_uri": "https://i.example/jwks"}),
        ] {
            let written = event(&keys);
            let read = TrustedIssuerEvent::decode("IssuerTrusted", 1, &written).unwrap();
            assert_eq!(read.payload().unwrap(), written);
        }
        assert!(TrustedIssuerEvent::decode("IssuerTrusted", 1, &event(&json!({}))).is_err());
        assert_eq!(IssuerKeys::of(None, None), Err(TrustedIssuerRefusal::Keys));
    }
}
