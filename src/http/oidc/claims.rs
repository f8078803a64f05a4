//! The claims about a user (OpenID Connect Core §5.1), as far as the granted scope opens them (§5.4).

use serde::Serialize;

use crate::domain::openid::Claim;
use crate::domain::value::ScopeSet;
use crate::operations::user::Profile;

/// Claims about a user; what is not known or not opened is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UserClaims {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
}

impl UserClaims {
    /// Those of `claims` that `scope` opens and the user has.
    #[must_use]
    pub fn of(profile: Profile, claims: &[Claim], scope: &ScopeSet) -> Self {
        let given = |claim: Claim| claims.contains(&claim) && scope.contains(claim.scope());
        let Profile {
            username,
            name,
            email,
        } = profile;
        // Nobody has ever been asked to prove an address here.
        let email_verified = email.is_some().then_some(false);
        Self {
            name: name.filter(|_| given(Claim::Name)),
            preferred_username: Some(username).filter(|_| given(Claim::PreferredUsername)),
            email: email.filter(|_| given(Claim::Email)),
            email_verified: email_verified.filter(|_| given(Claim::EmailVerified)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(claims: &[Claim], scope: &str, email: Option<&str>) -> String {
        let profile = Profile {
            username: "ada".to_owned(),
            name: Some("Ada".to_owned()),
            email: email.map(str::to_owned),
        };
        let scope = ScopeSet::parse(scope).unwrap();
        serde_json::to_string(&UserClaims::of(profile, claims, &scope)).unwrap()
    }

    #[test]
    fn a_claim_is_given_where_its_scope_was_granted() {
        let (all, email) = (Claim::ALL.as_slice(), Some("a@example.com"));
        assert_eq!(claims(all, "openid", email), "{}");
        assert_eq!(
            claims(all, "openid profile", email),
            r#"{"name":"Ada","preferred_username":"ada"}"#
        );
        assert_eq!(
            claims(all, "email", email),
            r#"{"email":"a@example.com","email_verified":false}"#
        );
        assert_eq!(claims(all, "email", None), "{}", "no address, no word of it");
        assert_eq!(
            claims(&[Claim::Name], "email profile", email),
            r#"{"name":"Ada"}"#
        );
    }
}
