//! OpenID Connect: its scopes (Core §5.4), the claims that are known of a user (Core §5.1), and what a grant keeps of
//! the authentication that it rests on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::value::ScopeSet;
use crate::clock::Timestamp;

/// Makes a request an authentication request (OpenID Connect Core §3.1.2.1).
pub const OPENID: &str = "openid";
/// Opens the user's names.
pub const PROFILE: &str = "profile";
/// Opens the user's e-mail address.
pub const EMAIL: &str = "email";
/// Asks for access while the user is away (OpenID Connect Core §11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// Opens the user's postal address.
pub const ADDRESS: &str = "address";
/// Opens the user's telephone number.
pub const PHONE: &str = "phone";

/// The scopes that OpenID Connect defines and this server gives a meaning.
pub const SCOPES: [&str; 6] = [OPENID, PROFILE, EMAIL, ADDRESS, PHONE, OFFLINE_ACCESS];

/// The authentication context class of a login with a password alone, over TLS (SAML 2.0 Authentication Context,
/// `PasswordProtectedTransport`; its class `Password` is of sessions that nothing protects).
pub const ACR_PASSWORD: &str = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport";

/// A claim about the user (OpenID Connect Core §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The display name.
    Name,
    /// Given or first names.
    GivenName,
    /// Surnames or last names.
    FamilyName,
    /// Middle names.
    MiddleName,
    /// A casual name.
    Nickname,
    /// The login name.
    PreferredUsername,
    /// The URL of a page about the user.
    Profile,
    /// The URL of an image of the user.
    Picture,
    /// The URL of the user's own site.
    Website,
    /// The gender, in any words.
    Gender,
    /// The birthday (ISO 8601 `YYYY-MM-DD`), the year of birth, or, with year 0000, the day without it.
    Birthdate,
    /// The time zone, by its IANA name.
    Zoneinfo,
    /// The language (BCP 47).
    Locale,
    /// When the claims were last changed, seconds since 1970.
    UpdatedAt,
    /// The e-mail address.
    Email,
    /// Whether the user was seen to control that address.
    EmailVerified,
    /// The postal address (§5.1.1).
    Address,
    /// The telephone number (E.164).
    PhoneNumber,
    /// Whether the user was seen to control that number.
    PhoneNumberVerified,
}

impl Claim {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Name,
        Self::GivenName,
        Self::FamilyName,
        Self::MiddleName,
        Self::Nickname,
        Self::PreferredUsername,
        Self::Profile,
        Self::Picture,
        Self::Website,
        Self::Gender,
        Self::Birthdate,
        Self::Zoneinfo,
        Self::Locale,
        Self::UpdatedAt,
        Self::Email,
        Self::EmailVerified,
        Self::Address,
        Self::PhoneNumber,
        Self::PhoneNumberVerified,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::GivenName => "given_name",
            Self::FamilyName => "family_name",
            Self::MiddleName => "middle_name",
            Self::Nickname => "nickname",
            Self::PreferredUsername => "preferred_username",
            Self::Profile => "profile",
            Self::Picture => "picture",
            Self::Website => "website",
            Self::Gender => "gender",
            Self::Birthdate => "birthdate",
            Self::Zoneinfo => "zoneinfo",
            Self::Locale => "locale",
            Self::UpdatedAt => "updated_at",
            Self::Email => "email",
            Self::EmailVerified => "email_verified",
            Self::Address => "address",
            Self::PhoneNumber => "phone_number",
            Self::PhoneNumberVerified => "phone_number_verified",
        }
    }

    /// The claim of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|claim| claim.name() == name)
    }

    /// The scope that opens it (OpenID Connect Core §5.4).
    #[must_use]
    pub fn scope(self) -> &'static str {
        match self {
            Self::Name
            | Self::GivenName
            | Self::FamilyName
            | Self::MiddleName
            | Self::Nickname
            | Self::PreferredUsername
            | Self::Profile
            | Self::Picture
            | Self::Website
            | Self::Gender
            | Self::Birthdate
            | Self::Zoneinfo
            | Self::Locale
            | Self::UpdatedAt => PROFILE,
            Self::Email | Self::EmailVerified => EMAIL,
            Self::Address => ADDRESS,
            Self::PhoneNumber | Self::PhoneNumberVerified => PHONE,
        }
    }
}

/// Claims that a request asked for one by one (OpenID Connect Core §5.5.1) and that the scope which it asked for does not
/// open: the user consented to each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndividualClaims {
    /// For the ID tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub id_token: Vec<Claim>,
    /// For `UserInfo`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub userinfo: Vec<Claim>,
}

impl IndividualClaims {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.id_token.is_empty() && self.userinfo.is_empty()
    }

    /// Those whose scope is among the allowed ones: a claim is had where its scope could be.
    #[must_use]
    pub fn within(&self, allowed: &ScopeSet) -> Self {
        let those = |claims: &[Claim]| {
            let claims = claims.iter().filter(|claim| allowed.contains(claim.scope()));
            claims.copied().collect()
        };
        Self {
            id_token: those(&self.id_token),
            userinfo: those(&self.userinfo),
        }
    }

    /// All of them, wherever they go.
    #[must_use]
    pub fn all(&self) -> BTreeSet<Claim> {
        self.id_token.iter().chain(&self.userinfo).copied().collect()
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
    /// Which claims the user consented to besides.
    #[serde(default)]
    pub individual_claims: IndividualClaims,
}

/// The authentication context class of a login by these methods; none where it has no name.
#[must_use]
pub fn acr(amr: &[String]) -> Option<&'static str> {
    match amr {
        [only] if only == "pwd" => Some(ACR_PASSWORD),
        _ => None,
    }
}
