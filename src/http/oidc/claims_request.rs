//! The `claims` parameter (OpenID Connect Core §5.5): which claims a client wants, and where.
//!
//! A claim that the granted scope opens is in `UserInfo` anyway, and moves into the ID token where that is asked for. One
//! that it does not open is asked of the user by itself. Essential or voluntary makes no difference to that: a claim that
//! is not there is no error (§5.5.1). `sub` and `acr` are conditions, and are checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::openid::Claim;
use crate::unique_json::Unique;

/// The most bytes of the parameter.
const MAX_BYTES: usize = 8192;

/// What a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimsRequest {
    /// Claims of the user for the ID token.
    pub id_token: Vec<Claim>,
    /// Claims of the user for `UserInfo`.
    pub userinfo: Vec<Claim>,
    /// Those that only a particular value of will do: what a user's value is, is nobody's to try out.
    pub particular: Vec<Claim>,
    /// The only users that will do (`sub` with a value).
    pub subjects: Option<Vec<String>>,
    /// The authentication context classes one of which the login must have (`acr`, essential, with values).
    pub acr: Option<Vec<String>>,
}

/// The parameter is not what §5.5 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claims parameter is malformed")]
pub struct MalformedClaims;

/// The claims of one place, by name; none where nothing more is said of one.
type Requested = BTreeMap<String, Option<Individual>>;

/// §5.5.1.
#[derive(Deserialize)]
struct Individual {
    #[serde(default)]
    essential: bool,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    values: Option<Vec<Value>>,
}

impl Individual {
    /// The strings that are asked for; none where any value will do.
    fn wanted(&self) -> Option<Vec<String>> {
        let values = self.values.iter().flatten().chain(&self.value);
        let asked = self.value.is_some() || self.values.is_some();
        asked.then(|| values.filter_map(Value::as_str).map(str::to_owned).collect())
    }
}

fn requested(member: Option<Value>) -> Result<Requested, MalformedClaims> {
    let Some(member) = member.filter(|member| !member.is_null()) else {
        return Ok(Requested::new());
    };
    let Value::Object(claims) = member else {
        return Err(MalformedClaims);
    };
    let claims = claims.into_iter().map(|(name, request)| {
        if !request.is_null() && !request.is_object() {
            return Err(MalformedClaims);
        }
        let request = serde_json::from_value(request).map_err(|_| MalformedClaims)?;
        Ok((name, request))
    });
    claims.collect()
}

impl ClaimsRequest {
    /// Reads the parameter.
    pub fn parse(text: &str) -> Result<Self, MalformedClaims> {
        if text.len() > MAX_BYTES {
            return Err(MalformedClaims);
        }
        let Unique(parsed) = serde_json::from_str(text).map_err(|_| MalformedClaims)?;
        let Value::Object(mut members) = parsed else {
            return Err(MalformedClaims);
        };
        // Members that are not known here are ignored (§5.5).
        let (userinfo, id_token) = (
            requested(members.remove("userinfo"))?,
            requested(members.remove("id_token"))?,
        );
        let individual = |name: &str| {
            let asked = [id_token.get(name), userinfo.get(name)];
            asked.into_iter().flatten().flatten()
        };
        let mut subjects: Option<Vec<String>> = None;
        for wanted in individual("sub").filter_map(Individual::wanted) {
            // Asked in both places, both must hold.
            subjects = Some(match subjects {
                None => wanted,
                Some(before) => before.into_iter().filter(|one| wanted.contains(one)).collect(),
            });
        }
        let acr = id_token.get("acr").and_then(Option::as_ref);
        let known = |requested: &Requested| {
            let known = Claim::ALL.into_iter();
            known
                .filter(|claim| requested.contains_key(claim.name()))
                .collect()
        };
        let is_particular = |claim: &Claim| {
            let mut asked = individual(claim.name());
            asked.any(|asked| asked.wanted().is_some())
        };
        Ok(Self {
            particular: Claim::ALL.into_iter().filter(is_particular).collect(),
            acr: acr.filter(|acr| acr.essential).and_then(Individual::wanted),
            subjects,
            id_token: known(&id_token),
            userinfo: known(&userinfo),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_read() {
        // OpenID Connect Core §5.5.
        let request = ClaimsRequest::parse(
            r#"{"userinfo": {"given_name": {"essential": true}, "nickname": null,
                "email": {"essential": true}, "email_verified": {"essential": true}, "picture": null,
                "http://example.info/claims/groups": null},
               "id_token": {"auth_time": {"essential": true},
                "acr": {"values": ["urn:mace:incommon:iap:silver"]}}}"#,
        )
        .unwrap();
        let expected = ClaimsRequest {
            userinfo: vec![
                Claim::GivenName,
                Claim::Nickname,
                Claim::Picture,
                Claim::Email,
                Claim::EmailVerified,
            ],
            ..ClaimsRequest::default()
        };
        assert_eq!(request, expected, "a voluntary acr is no condition");
    }

    #[test]
    fn claims_for_the_id_token_and_conditions_are_found() {
        let request = ClaimsRequest::parse(
            r#"{"id_token": {"email": null, "name": {"essential": true}, "sub": {"value": "a"},
                "acr": {"essential": true, "values": ["x", "y"]}}, "userinfo": null, "other": 1}"#,
        )
        .unwrap();
        assert_eq!(request.id_token, [Claim::Name, Claim::Email]);
        assert!(request.particular.is_empty());
        let valued = r#"{"userinfo": {"email": {"values": ["a@example.com"]}, "name": null}}"#;
        assert_eq!(ClaimsRequest::parse(valued).unwrap().particular, [Claim::Email]);
        assert_eq!(request.subjects, Some(vec!["a".to_owned()]));
        assert_eq!(request.acr, Some(vec!["x".to_owned(), "y".to_owned()]));
        let both = r#"{"id_token": {"sub": {"value": "a"}}, "userinfo": {"sub": {"values": ["b", "c"]}}}"#;
        assert_eq!(ClaimsRequest::parse(both).unwrap().subjects, Some(vec![]));
        let number = r#"{"id_token": {"sub": {"value": 1}}}"#;
        assert_eq!(ClaimsRequest::parse(number).unwrap().subjects, Some(vec![]));
    }

    #[test]
    fn malformed_claims_are_refused() {
        let long = format!("{{\"x\": \"{}\"}}", "x".repeat(MAX_BYTES));
        for text in [
            "x",
            "[]",
            "null",
            "{\"id_token\": []}",
            "{\"id_token\": {\"acr\": []}}",
            "{\"userinfo\": {\"name\": null, \"name\": null}}",
            "{\"userinfo\": {\"email\": true}}",
            "{\"id_token\": {\"acr\": {\"values\": \"x\"}}}",
            "{\"id_token\": {\"acr\": {\"essential\": \"yes\"}}}",
            long.as_str(),
        ] {
            assert_eq!(ClaimsRequest::parse(text), Err(MalformedClaims), "{text}");
        }
    }
}
