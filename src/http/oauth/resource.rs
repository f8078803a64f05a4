//! Resource indicators, RFC 8707: a client says for which of its resource servers it wants a token, so that the token
//! is worth nothing at the others.

use url::Url;

use crate::app::App;
use crate::domain::client::Registration;
use crate::domain::openid::OPENID;
use crate::domain::refusal::RefusalReason;
use crate::domain::value::ScopeSet;
use crate::http::form::Form;
use crate::http::oidc::userinfo;

/// The parameter, which may be there several times.
const PARAMETER: &str = "resource";

/// What the `resource` parameters ask for; none where there are none.
pub(super) fn requested(form: &Form) -> Result<Option<Vec<String>>, RefusalReason> {
    let mut asked: Vec<String> = Vec::new();
    for resource in form.all(PARAMETER) {
        if !is_resource(resource) {
            return Err(RefusalReason::ResourceMalformed);
        }
        if !asked.iter().any(|known| known == resource) {
            asked.push(resource.to_owned());
        }
    }
    Ok((!asked.is_empty()).then_some(asked))
}

/// The resources that a query asks for; for the tests of all parsers.
#[doc(hidden)]
#[must_use]
pub fn resources_in(query: &str) -> Option<Vec<String>> {
    requested(&Form::parse(query).ok()?).ok().flatten()
}

/// The audience of a grant about to be made: what is asked for, or all that the client may have.
pub(super) fn audience(form: &Form, allowed: Vec<String>) -> Result<Vec<String>, RefusalReason> {
    match requested(form)? {
        None => Ok(allowed),
        Some(asked) if asked.iter().all(|one| allowed.contains(one)) => Ok(asked),
        Some(_) => Err(RefusalReason::ResourceNotAllowed),
    }
}

/// The audience that tokens of a grant may have now. With `openid`, whatever the client's own is, `UserInfo` is in it.
pub(super) fn allowed_now(app: &App, client: &Registration, scope: &ScopeSet) -> Vec<String> {
    let mut allowed = client.metadata.audience_or(&app.settings.issuer);
    if scope.contains(OPENID) {
        allowed.push(userinfo::own_audience(&app.settings));
    }
    allowed
}

/// RFC 8707 §2: an absolute URI without a fragment. Nothing of it is normalised: it is compared as it is written.
fn is_resource(text: &str) -> bool {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    printable && !text.contains('#') && Url::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(resources: &[&str]) -> Form {
        let pairs = resources.iter().map(|resource| (PARAMETER, *resource));
        let text = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        Form::parse(&text).unwrap()
    }

    #[test]
    fn a_resource_is_an_absolute_uri_without_a_fragment() {
        for good in [
            "https://api.example",
            "https://api.example/v1?x=1",
            "urn:example:api",
        ] {
            assert_eq!(
                requested(&form(&[good])),
                Ok(Some(vec![good.to_owned()])),
                "{good}"
            );
        }
        for bad in [
            "api",
            "/api",
            "//api.example",
            "https://api.example#x",
            "https://api.example/#",
            " https://api.example",
            "https://api.example/ä",
            "https://",
        ] {
            assert_eq!(
                requested(&form(&[bad])),
                Err(RefusalReason::ResourceMalformed),
                "{bad}"
            );
        }
        assert_eq!(requested(&form(&["", ""])), Ok(None));
        let twice = form(&["urn:a", "urn:b", "urn:a"]);
        assert_eq!(
            requested(&twice),
            Ok(Some(vec!["urn:a".to_owned(), "urn:b".to_owned()]))
        );
    }

    proptest! {
        #[test]
        fn an_audience_is_never_wider_than_allowed(
            asked in proptest::collection::vec("urn:[abc]", 0..4),
            allowed in proptest::collection::vec("urn:[abc]", 1..3),
        ) {
            let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
            match audience(&form(&asked), allowed.clone()) {
                Ok(audience) => {
                    prop_assert!(!audience.is_empty());
                    prop_assert!(audience.iter().all(|one| allowed.contains(one)));
                    prop_assert!(asked.is_empty() || audience.iter().all(|one| asked.contains(&one.as_str())));
                }
                Err(_) => prop_assert!(asked.iter().any(|one| !allowed.iter().any(|known| known == one))),
            }
        }
    }
}
