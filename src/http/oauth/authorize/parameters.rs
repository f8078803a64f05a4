//! The parameters of an authorization request, which our forms carry on in their address.

use url::form_urlencoded;

use crate::domain::refusal::RefusalReason;
use crate::http::error::Rejection;
use crate::http::form::{self, Form, FormError};
use crate::http::page::PageError;

/// The parameters that mean something here. What else cannot be read is ignored like what can (RFC 6749 §3.1).
pub(super) const KNOWN: &[&str] = &[
    "acr_values",
    "authorization_details",
    "claims",
    "claims_locales",
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "display",
    "dpop_jkt",
    "grant_id",
    "grant_management_action",
    "id_token_hint",
    "login_hint",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "registration",
    "request",
    "request_opened",
    "request_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "ui_locales",
];

/// The query of an authorization request, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Parameters {
    pub(super) form: Form,
    /// A parameter is there twice; its values are left out of `form`.
    doubled: bool,
    /// As it came, for our forms to carry on.
    pub(super) query: String,
}

/// Seconds that a user who has just logged in has for the consent page: more than anybody takes.
const TIME_TO_ANSWER: u64 = 86_400;

impl Parameters {
    /// Reads a query. A parameter that is there twice is an error that can be sent back, unless it is one of
    /// the two that say where to.
    pub(super) fn parse(query: &str) -> Result<Self, Rejection<PageError>> {
        // Each name that is there twice is one more reading below.
        if query.split('&').count() > form::MAX_PARAMETERS {
            return Err(Rejection::new(
                PageError::Malformed,
                RefusalReason::MalformedQuery,
            ));
        }
        let (mut text, mut doubled) = (without_unreadable(query), false);
        loop {
            match Form::parse(&text) {
                Ok(form) => {
                    let query = query.to_owned();
                    return Ok(Self { form, doubled, query });
                }
                Err(FormError::Duplicate(name)) if name == "client_id" || name == "redirect_uri" => {
                    return Err(Rejection::new(
                        PageError::Doubled,
                        RefusalReason::ClientOrRedirectUriDoubled,
                    ));
                }
                Err(FormError::Duplicate(name)) => {
                    doubled = true;
                    text = without(&text, &name);
                }
                Err(
                    FormError::NotUtf8
                    | FormError::Nul
                    | FormError::TooMany
                    | FormError::NotFlatJson
                    | FormError::ContentType
                    | FormError::Charset,
                ) => {
                    return Err(Rejection::new(
                        PageError::Malformed,
                        RefusalReason::MalformedQuery,
                    ));
                }
            }
        }
    }

    /// The parameters that were pushed, in place of what the query says (RFC 9126 §4); the query stays as it came.
    pub(super) fn pushed(self, text: &str) -> Result<Self, Rejection<PageError>> {
        let query = self.query;
        Ok(Self {
            query,
            ..Self::parse(text)?
        })
    }

    /// The parameters of a signed request object, in place of what the query says (RFC 9101 §6.3).
    pub(super) fn signed(self, text: &str, query: String) -> Result<Self, Rejection<PageError>> {
        let signed = Self::parse(text)?;
        Ok(Self {
            form: signed.form,
            doubled: signed.doubled || self.doubled,
            query,
        })
    }

    /// The query without the parameters of that name.
    pub(super) fn without(&self, name: &str) -> String {
        without(&self.query, name)
    }

    /// A parameter's value; none where it is absent or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.form.get(name)
    }

    /// Whether a parameter is there twice.
    pub(super) fn has_doubled(&self) -> bool {
        self.doubled
    }

    /// The query for after the login: `prompt=login` is done, an account has been chosen, and a shorter `max_age` than the
    /// time that a user has to answer is met: that time stands for it, since without one the client's default would count.
    pub(super) fn after_login(&self) -> String {
        let mut query = self.query.clone();
        let max_age = self
            .get("max_age")
            .and_then(|seconds| seconds.parse::<u64>().ok());
        if max_age.is_some_and(|seconds| seconds < TIME_TO_ANSWER) {
            query = form_urlencoded::Serializer::new(without(&query, "max_age"))
                .append_pair("max_age", &TIME_TO_ANSWER.to_string())
                .finish();
        }
        let Some(prompt) = self.get("prompt") else {
            return query;
        };
        let rest = without(&query, "prompt");
        let values = prompt.split(' ');
        let left: Vec<&str> = values
            .filter(|value| !matches!(*value, "login" | "select_account"))
            .collect();
        if left.is_empty() {
            return rest;
        }
        form_urlencoded::Serializer::new(rest)
            .append_pair("prompt", &left.join(" "))
            .finish()
    }
}

/// A query without the parameters that nobody knows and that cannot be decoded; the others as they are.
fn without_unreadable(query: &str) -> String {
    let kept = query.split('&').filter(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match form::decode(name) {
            Ok(name) => KNOWN.contains(&name.as_str()) || form::decode(value).is_ok(),
            Err(_) => false,
        }
    });
    kept.collect::<Vec<_>>().join("&")
}

/// A query without the parameters of that name; the others as they are.
fn without(query: &str, name: &str) -> String {
    let kept = query.split('&').filter(|pair| {
        let (found, _) = pair.split_once('=').unwrap_or((pair, ""));
        form::decode(found).as_deref() != Ok(name)
    });
    kept.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_login_only_what_it_has_done_is_gone() {
        for (before, after) in [
            ("a=1&prompt=login&b=%2f", "a=1&b=%2f"),
            ("prompt=login+consent&a=+%20", "a=+%20&prompt=consent"),
            ("prompt=login", ""),
            ("prompt=consent%20login", "prompt=consent"),
            ("a=1", "a=1"),
            ("max_age=0&a=1&prompt=select_account+login", "a=1&max_age=86400"),
            ("max_age=86401&a=1", "max_age=86401&a=1"),
            ("max_age=many&a=1&prompt=none", "max_age=many&a=1&prompt=none"),
        ] {
            let parameters = Parameters::parse(before).unwrap();
            assert_eq!(parameters.after_login(), after, "{before}");
        }
    }

    #[test]
    fn a_query_of_many_doubled_parameters_is_refused_before_each_is_looked_for() {
        let doubled = |names: usize| {
            let pairs: Vec<String> = (0..names).map(|name| format!("x{name}&x{name}")).collect();
            pairs.join("&")
        };
        assert!(Parameters::parse(&doubled(50)).unwrap().doubled);
        let refused = Parameters::parse(&doubled(51)).unwrap_err();
        assert_eq!(
            (refused.error, refused.reason),
            (PageError::Malformed, RefusalReason::MalformedQuery)
        );
    }

    #[test]
    fn what_cannot_be_read_counts_only_where_it_is_known() {
        let query = "client_id=a&utm=%E4&%ff=x&sale=100%&nul=%00&state=s";
        let parameters = Parameters::parse(query).unwrap();
        assert_eq!(
            (
                parameters.get("client_id"),
                parameters.get("state"),
                parameters.doubled
            ),
            (Some("a"), Some("s"), false)
        );
        assert_eq!(parameters.query, query, "as it came");
        assert_eq!(parameters.after_login(), query);
        for name in KNOWN {
            for value in ["%E4", "%00", "%zz"] {
                let refused = Parameters::parse(&format!("utm=%E4&{name}={value}")).unwrap_err();
                assert_eq!(refused.error, PageError::Malformed, "{name}={value}");
            }
        }
    }

    #[test]
    fn a_doubled_parameter_can_be_sent_back_unless_it_says_where_to() {
        let parameters = Parameters::parse("client_id=a&scope=x&%73cope=y&state=s").unwrap();
        assert!(parameters.doubled);
        assert_eq!(
            (parameters.get("scope"), parameters.get("state")),
            (None, Some("s"))
        );
        for query in [
            "client_id=a&client_id=b",
            "redirect_uri=a&redirect%5furi=a&client_id=c",
        ] {
            assert_eq!(Parameters::parse(query).unwrap_err().error, PageError::Doubled);
        }
    }
}
