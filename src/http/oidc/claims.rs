//! The claims about a user (OpenID Connect Core §5.1), as far as the granted scope opens them (§5.4) or the user
//! consented to each (§5.5.1).

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::openid::Claim;
use crate::domain::value::ScopeSet;
use crate::operations::user::Profile;

/// Claims about a user; what is not known or not opened is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct UserClaims(Map<String, Value>);

impl UserClaims {
    /// Those of `claims` that `scope` opens, and those that the user consented to one by one, where the user has them.
    #[must_use]
    pub fn of(profile: &Profile, (claims, scope): (&[Claim], &ScopeSet), individual: &[Claim]) -> Self {
        let opened = claims.iter().filter(|claim| scope.contains(claim.scope()));
        let given = opened
            .chain(individual)
            .filter_map(|claim| Some((claim.name().to_owned(), value(profile, *claim)?)));
        Self(given.collect())
    }
}

/// What is known of the user.
fn value(profile: &Profile, claim: Claim) -> Option<Value> {
    // Of no address, nothing is said; of one that nobody vouched for, that.
    let verified = |known: bool| {
        let said = || profile.claims.get(&claim).cloned();
        known.then(|| said().unwrap_or(Value::Bool(false)))
    };
    match claim {
        Claim::Name => profile.name.clone().map(Value::String),
        Claim::PreferredUsername => Some(Value::String(profile.username.clone())),
        Claim::Email => profile.email.clone().map(Value::String),
        Claim::UpdatedAt => profile.updated_at.map(|at| at.timestamp().into()),
        Claim::EmailVerified => verified(profile.email.is_some()),
        Claim::PhoneNumberVerified => verified(profile.claims.contains_key(&Claim::PhoneNumber)),
        Claim::GivenName
        | Claim::FamilyName
        | Claim::MiddleName
        | Claim::Nickname
        | Claim::Profile
        | Claim::Picture
        | Claim::Website
        | Claim::Gender
        | Claim::Birthdate
        | Claim::Zoneinfo
        | Claim::Locale
        | Claim::Address
        | Claim::PhoneNumber => profile.claims.get(&claim).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(claims: &[Claim], scope: &str, email: Option<&str>, individual: &[Claim]) -> String {
        let profile = Profile {
            username: "ada".to_owned(),
            name: Some("Ada".to_owned()),
            email: email.map(str::to_owned),
            claims: std::collections::BTreeMap::new(),
            updated_at: None,
        };
        let scope = ScopeSet::parse(scope).unwrap();
        serde_json::to_string(&UserClaims::of(&profile, (claims, &scope), individual)).unwrap()
    }

    #[test]
    fn a_claim_is_given_where_its_scope_was_granted() {
        let (all, email) = (Claim::ALL.as_slice(), Some("a@example.com"));
        assert_eq!(claims(all, "openid", email, &[]), "{}");
        assert_eq!(
            claims(all, "openid profile", email, &[]),
            r#"{"name":"Ada","preferred_username":"ada"}"#
        );
        assert_eq!(
            claims(all, "email", email, &[]),
            r#"{"email":"a@example.com","email_verified":false}"#
        );
        assert_eq!(claims(all, "email", None, &[]), "{}", "no address, no word of it");
        assert_eq!(
            claims(&[Claim::Name], "email profile", email, &[]),
            r#"{"name":"Ada"}"#
        );
    }

    #[test]
    fn a_claim_that_was_consented_to_is_given_whatever_the_scope() {
        let email = Some("a@example.com");
        assert_eq!(claims(&[], "openid", email, &[Claim::Name]), r#"{"name":"Ada"}"#);
        assert_eq!(
            claims(&[Claim::Name], "profile", email, &[Claim::Name, Claim::Email]),
            r#"{"name":"Ada","email":"a@example.com"}"#
        );
        assert_eq!(claims(&[], "openid", None, &[Claim::Email]), "{}");
    }
}
