//! OpenID Connect: its scopes (Core §5.4), the claims that are known of a user (Core §5.1), and what a grant keeps of
//! the authentication that it rests on.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Makes a request an authentication request (OpenID Connect Core §3.1.2.1).
pub const OPENID: &str = "openid";
/// Opens the user's names.
pub const PROFILE: &str = "profile";
/// Opens the user's e-mail address.
pub const EMAIL: &str = "email";
/// Asks for access while the user is away (OpenID Connect Core §11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// The scopes that OpenID Connect defines and this server gives a meaning.
pub const SCOPES: [&str; 4] = [OPENID, PROFILE, EMAIL, OFFLINE_ACCESS];

/// The authentication context class of a login with a password alone (SAML 2.0 Authentication Context §3.4.6).
pub const ACR_PASSWORD: &str = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password";

/// A claim about the user (OpenID Connect Core §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The display name.
    Name,
    /// The login name.
    PreferredUsername,
    /// The e-mail address.
    Email,
    /// Whether the user was seen to control that address.
    EmailVerified,
}

impl Claim {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Name,
        Self::PreferredUsername,
        Self::Email,
        Self::EmailVerified,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::PreferredUsername => "preferred_username",
            Self::Email => "email",
            Self::EmailVerified => "email_verified",
        }
    }

    /// The scope that opens it (OpenID Connect Core §5.4).
    #[must_use]
    pub fn scope(self) -> &'static str {
        match self {
            Self::Name | Self::PreferredUsername => PROFILE,
            Self::Email | Self::EmailVerified => EMAIL,
        }
    }
}

/// What ID tokens say of the login that a grant was given in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// When the user was authenticated (`auth_time`).
    pub time: Option<Timestamp>,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// The `nonce` of the request.
    pub nonce: Option<String>,
    /// Which claims of the user the ID tokens carry, as far as the granted scope opens them.
    pub claims: Vec<Claim>,
}

/// The authentication context class of a login by these methods; none where it has no name.
#[must_use]
pub fn acr(amr: &[String]) -> Option<&'static str> {
    match amr {
        [only] if only == "pwd" => Some(ACR_PASSWORD),
        _ => None,
    }
}
