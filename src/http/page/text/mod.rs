//! The texts of all pages, once in each language: one that is missing in a language does not compile.
//!
//! They are plain text, escaped like all else. What operators and applications wrote is in no language of ours.

mod english;
mod french;
mod german;
mod sentence;

pub(super) use english::ENGLISH;
pub(super) use french::FRENCH;
pub(super) use german::GERMAN;
pub(super) use sentence::Sentence;

use crate::domain::openid::Claim;

/// All texts in one language.
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Texts {
    pub(super) common: Common,
    pub(super) login: Login,
    pub(super) asked: Asked,
    pub(super) consent: Consent,
    pub(super) claims: Claims,
    pub(super) device: Device,
    pub(super) account: Account,
    pub(super) password: Password,
    pub(super) logout: Logout,
    pub(super) go_back: GoBack,
    pub(super) form_post: FormPost,
    pub(super) error_page: ErrorPage,
    /// What kind of thing went wrong.
    pub(super) error_titles: ErrorTitles,
    /// What happened, and what the reader can do.
    pub(super) errors: Errors,
}

/// Of more than one kind of page.
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Common {
    /// January to December.
    pub(super) months: [&'static str; 12],
    /// Before the title of a form that is shown again.
    pub(super) error_title: Sentence,
    pub(super) logged_in_as: Sentence,
    pub(super) your_account: &'static str,
    pub(super) change_password: &'static str,
    pub(super) log_out: &'static str,
    pub(super) logged_out: &'static str,
    pub(super) go_on: &'static str,
    /// Labels of an error's particulars.
    pub(super) error: &'static str,
    pub(super) description: &'static str,
    pub(super) request: &'static str,
}

impl Common {
    /// A page's title, which says first that something went wrong.
    pub(super) fn titled(&self, title: &str, failed: bool) -> String {
        if failed {
            self.error_title.with(title)
        } else {
            title.to_owned()
        }
    }
}

#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Login {
    pub(super) title: &'static str,
    pub(super) to_application: Sentence,
    pub(super) to_account: &'static str,
    pub(super) username: &'static str,
    pub(super) password: &'static str,
    pub(super) incomplete: &'static str,
    pub(super) wrong: &'static str,
    pub(super) other_account: &'static str,
}

/// Of the pages that ask for access.
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Asked {
    pub(super) not_you: &'static str,
    pub(super) use_another: &'static str,
    pub(super) in_development: &'static str,
    pub(super) self_registered: &'static str,
    pub(super) resources: &'static str,
    /// Around the name of a type of authorization details.
    pub(super) all_of_detail: Sentence,
    pub(super) approve: &'static str,
    pub(super) deny: &'static str,
    pub(super) about: Sentence,
    pub(super) home_page: &'static str,
    pub(super) privacy_policy: &'static str,
    pub(super) terms_of_service: &'static str,
    pub(super) new_tab: Sentence,
    /// In the place of a host, in [`Consent::returns`], [`GoBack::wants`] and [`GoBack::go`].
    pub(super) this_device: &'static str,
}

#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Consent {
    pub(super) title: Sentence,
    pub(super) can: Sentence,
    /// Before the claims that are asked for one by one.
    pub(super) learns: Sentence,
    pub(super) may: Sentence,
    pub(super) replaces: Sentence,
    pub(super) nothing_lost: &'static str,
    pub(super) no_longer: &'static str,
    pub(super) returns: Sentence,
}

/// What each claim tells of the user, to whom the page speaks.
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Claims {
    pub(super) name: &'static str,
    pub(super) given_name: &'static str,
    pub(super) family_name: &'static str,
    pub(super) middle_name: &'static str,
    pub(super) nickname: &'static str,
    pub(super) preferred_username: &'static str,
    pub(super) profile: &'static str,
    pub(super) picture: &'static str,
    pub(super) website: &'static str,
    pub(super) gender: &'static str,
    pub(super) birthdate: &'static str,
    pub(super) zoneinfo: &'static str,
    pub(super) locale: &'static str,
    pub(super) updated_at: &'static str,
    pub(super) email: &'static str,
    pub(super) email_verified: &'static str,
    pub(super) address: &'static str,
    pub(super) phone_number: &'static str,
    pub(super) phone_number_verified: &'static str,
}

impl Claims {
    /// That of one.
    pub(super) fn of(&self, claim: Claim) -> &'static str {
        match claim {
            Claim::Name => self.name,
            Claim::GivenName => self.given_name,
            Claim::FamilyName => self.family_name,
            Claim::MiddleName => self.middle_name,
            Claim::Nickname => self.nickname,
            Claim::PreferredUsername => self.preferred_username,
            Claim::Profile => self.profile,
            Claim::Picture => self.picture,
            Claim::Website => self.website,
            Claim::Gender => self.gender,
            Claim::Birthdate => self.birthdate,
            Claim::Zoneinfo => self.zoneinfo,
            Claim::Locale => self.locale,
            Claim::UpdatedAt => self.updated_at,
            Claim::Email => self.email,
            Claim::EmailVerified => self.email_verified,
            Claim::Address => self.address,
            Claim::PhoneNumber => self.phone_number,
            Claim::PhoneNumberVerified => self.phone_number_verified,
        }
    }
}

#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Device {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) code: &'static str,
    pub(super) hint: &'static str,
    pub(super) asks: Sentence,
    pub(super) must_show: &'static str,
    pub(super) caution: &'static str,
    pub(super) can: Sentence,
    pub(super) may: Sentence,
    pub(super) connected: &'static str,
    pub(super) connected_text: &'static str,
    pub(super) denied: &'static str,
    pub(super) denied_text: &'static str,
}

#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Account {
    pub(super) applications: &'static str,
    pub(super) sessions: &'static str,
    pub(super) no_application: &'static str,
    pub(super) what_it_can: Sentence,
    pub(super) access_since: &'static str,
    pub(super) last_used: &'static str,
    pub(super) never: &'static str,
    pub(super) remove_of: Sentence,
    pub(super) remove: &'static str,
    pub(super) log_out_others: &'static str,
    /// Around a link to the applications.
    pub(super) keep_access: Sentence,
    pub(super) see_which: &'static str,
    pub(super) unknown_browser: &'static str,
    pub(super) this_one: Sentence,
    pub(super) address: &'static str,
    pub(super) since: &'static str,
    pub(super) confirmed: &'static str,
    pub(super) ends: &'static str,
    pub(super) log_out_here: &'static str,
    pub(super) log_out_there: &'static str,
}

#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Password {
    pub(super) current: &'static str,
    pub(super) new: &'static str,
    pub(super) again: &'static str,
    pub(super) hint: &'static str,
    pub(super) note: &'static str,
    pub(super) button: &'static str,
    pub(super) incomplete: &'static str,
    pub(super) wrong_current: &'static str,
    pub(super) not_repeated: &'static str,
    pub(super) length: &'static str,
    pub(super) is_username: &'static str,
    pub(super) is_current: &'static str,
    pub(super) changed: &'static str,
    pub(super) changed_text: &'static str,
    pub(super) changed_note: &'static str,
}

#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Logout {
    pub(super) question: &'static str,
    pub(super) asks: Sentence,
    pub(super) logged_in_as: Sentence,
    pub(super) done_text: &'static str,
}

/// Of the page in place of a redirect.
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct GoBack {
    pub(super) cannot_have: &'static str,
    pub(super) not_logged_in: &'static str,
    pub(super) unvouched: &'static str,
    pub(super) wants: Sentence,
    pub(super) go: Sentence,
}

#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct FormPost {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
}

/// Whom to turn to.
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct ErrorPage {
    pub(super) ask_application: &'static str,
    pub(super) ask_here: &'static str,
}

#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct ErrorTitles {
    pub(super) login_link: &'static str,
    pub(super) code: &'static str,
    pub(super) device: &'static str,
    pub(super) device_link: &'static str,
    pub(super) logout_link: &'static str,
    pub(super) out_of_date: &'static str,
    pub(super) foreign_form: &'static str,
    pub(super) too_many: &'static str,
    pub(super) too_large: &'static str,
    pub(super) not_a_form: &'static str,
    pub(super) server_error: &'static str,
    pub(super) unavailable: &'static str,
}

/// Named after the [`super::PageError`].
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct Errors {
    pub(super) malformed: &'static str,
    pub(super) logout_malformed: &'static str,
    pub(super) device_malformed: &'static str,
    pub(super) form_malformed: &'static str,
    pub(super) doubled: &'static str,
    pub(super) client_missing: &'static str,
    pub(super) client_unknown: &'static str,
    pub(super) client_revoked: &'static str,
    pub(super) redirect_uri_missing: &'static str,
    pub(super) redirect_uri_unknown: &'static str,
    pub(super) request_uri_invalid: &'static str,
    pub(super) request_object_invalid: &'static str,
    pub(super) user_code_unknown: &'static str,
    pub(super) device_refused: &'static str,
    pub(super) logout_hint_invalid: &'static str,
    pub(super) logout_client_unknown: &'static str,
    pub(super) post_logout_redirect_uri_unknown: &'static str,
    pub(super) forged_form: &'static str,
    pub(super) consent_outdated: &'static str,
    pub(super) foreign_form: &'static str,
    pub(super) too_many: &'static str,
    pub(super) too_large: &'static str,
    pub(super) not_a_form: &'static str,
    pub(super) server_error: &'static str,
    pub(super) temporarily_unavailable: &'static str,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    /// All texts by where they stand; a sentence with its `{}`.
    fn all(texts: &Texts) -> BTreeMap<String, String> {
        fn walk(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
            let below: Vec<(String, &Value)> = match value {
                Value::Object(members) => members
                    .iter()
                    .map(|(name, value)| (name.clone(), value))
                    .collect(),
                Value::Array(items) => (0..).map(|place: usize| place.to_string()).zip(items).collect(),
                Value::String(text) => {
                    found.insert(path.to_owned(), text.clone());
                    return;
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => panic!("{path}: {value}"),
            };
            for (name, value) in below {
                walk(&format!("{path}/{name}"), value, found);
            }
        }
        let mut found = BTreeMap::new();
        walk("", &serde_json::to_value(texts).unwrap(), &mut found);
        found
    }

    #[test]
    fn every_text_of_each_language_says_something_and_is_plain_text() {
        let english = all(&ENGLISH);
        assert!(english.len() > 140, "{}", english.len());
        for (name, texts) in [
            ("de", all(&GERMAN)),
            ("fr", all(&FRENCH)),
            ("en", english.clone()),
        ] {
            assert!(texts.keys().eq(english.keys()), "{name}");
            for (path, text) in &texts {
                let letters = text.chars().filter(|c| c.is_alphabetic()).count();
                assert!(letters > 2, "{name}{path}: {text:?}");
                assert_eq!(text.trim(), text, "{name}{path}");
                // Nothing that would look like markup once it is escaped, or that steers the direction of writing.
                let odd = |c: char| "<>&\"".contains(c) || c.is_control() || crate::domain::value::steers(c);
                assert!(!text.contains(odd), "{name}{path}: {text:?}");
                let places = english[path].matches("{}").count();
                assert!(
                    places <= 1 && text.matches("{}").count() == places,
                    "{name}{path}"
                );
                assert_eq!(text.matches(['{', '}']).count(), places * 2, "{name}{path}");
                // A sentence ends as one in each language; a label does not.
                let end = |text: &str| {
                    let text = text.replace("{}", "x");
                    text.chars().last().filter(char::is_ascii_punctuation)
                };
                assert_eq!(end(text), end(&english[path]), "{name}{path}: {text:?}");
            }
        }
    }

    #[test]
    fn texts_of_other_languages_are_not_left_in_english() {
        let english = all(&ENGLISH);
        for (name, texts) in [("de", all(&GERMAN)), ("fr", all(&FRENCH))] {
            for (path, text) in texts {
                // Words that are the same there, and protocol terms.
                let short = text.split(' ').count() < 2;
                assert!(short || text != english[&path], "{name}{path}: {text:?}");
            }
        }
    }
}
