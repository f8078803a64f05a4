//! Whether a rule can be set so. What would be ignored is refused: a threshold that a rule has no use for would change its
//! hash, and nothing that it finds.

use super::rules;
use super::sigma::SigmaError;
use super::watch::{self, Begun};
use crate::domain::policy::{PolicyRefusal, PolicySettings};

/// Why a rule cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Nobody knows it.
    #[error("there is no rule {0}: bring yours along as Sigma")]
    UnknownRule(String),
    /// The name is taken.
    #[error("{0} is a rule that Grantlog brings along: give yours another name")]
    BuiltIn(String),
    /// It cannot be run.
    #[error(transparent)]
    Sigma(#[from] SigmaError),
    /// Its text says how much and within what time.
    #[error("threshold and window of a Sigma rule are in its text")]
    MeasuresOfSigma,
    /// No rule takes such.
    #[error(transparent)]
    Measures(#[from] PolicyRefusal),
    /// It counts nothing.
    #[error("{0} counts nothing: it has no threshold to set")]
    NoThreshold(String),
    /// It looks at no stretch of time, or always at the same.
    #[error("{0} has no window to set")]
    NoWindow(String),
    /// It would have to remember for too long.
    #[error("the window of {rule} is at most {days} days")]
    LongWindow {
        /// The rule.
        rule: String,
        /// How long it may be.
        days: u32,
    },
    /// It has nobody to do it to.
    #[error("{rule} can do {actions}")]
    Action {
        /// The rule.
        rule: String,
        /// What it can do.
        actions: String,
    },
}

impl SettingError {
    /// The setting that is to blame.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::UnknownRule(_) | Self::BuiltIn(_) => "rule",
            Self::Sigma(_) | Self::MeasuresOfSigma => "sigma",
            Self::Measures(_) | Self::NoThreshold(_) => "threshold",
            Self::NoWindow(_) | Self::LongWindow { .. } => "window_seconds",
            Self::Action { .. } => "action",
        }
    }
}

/// A rule and its definition, where it can be set so.
pub fn begin(rule: &str, settings: &PolicySettings) -> Result<Begun, SettingError> {
    let measured = settings.threshold.is_some() || settings.window_seconds.is_some();
    match (rules::named(rule), &settings.sigma) {
        (Some(_), Some(_)) => return Err(SettingError::BuiltIn(rule.to_owned())),
        (None, Some(_)) if measured => return Err(SettingError::MeasuresOfSigma),
        (Some(built_in), None) => built_in.check(settings)?,
        (None, _) => {}
    }
    let begun = watch::begin(rule, settings)?;
    let (definition, running) = begun.ok_or_else(|| SettingError::UnknownRule(rule.to_owned()))?;
    if !definition.actions.contains(&settings.action) {
        let names: Vec<&str> = definition.actions.iter().map(|action| action.name()).collect();
        return Err(SettingError::Action {
            rule: rule.to_owned(),
            actions: names.join(", "),
        });
    }
    Ok((definition, running))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Action;

    fn refused(rule: &str, threshold: Option<u32>, window_seconds: Option<u32>) -> Option<String> {
        let settings = PolicySettings {
            threshold,
            window_seconds,
            ..PolicySettings::default()
        };
        begin(rule, &settings).err().map(|error| error.to_string())
    }

    #[test]
    fn measures_that_a_rule_has_no_use_for_are_refused() {
        for rule in [
            "refresh-replay",
            "code-replay",
            "first-sensitive-consent",
            "machine-new-network",
            "device-approver-mismatch",
            "dormant-client",
            "client-changed",
        ] {
            let why = refused(rule, Some(5), None).unwrap();
            assert_eq!(why, format!("{rule} counts nothing: it has no threshold to set"));
        }
        for rule in [
            "refresh-replay",
            "code-replay",
            "device-approver-mismatch",
            "issuance-rate",
        ] {
            let why = refused(rule, None, Some(60)).unwrap();
            assert_eq!(why, format!("{rule} has no window to set"));
        }
        assert_eq!(refused("issuance-rate", Some(500), None), None);
        assert_eq!(refused("scope-probing", Some(5), Some(60)), None);
        for (threshold, window) in [
            (Some(0), None),
            (Some(100_001), None),
            (None, Some(0)),
            (None, Some(u32::MAX)),
        ] {
            assert!(refused("scope-probing", threshold, window).is_some());
        }
    }

    #[test]
    fn a_window_is_as_long_as_the_rule_can_remember() {
        let days = |rule, days: u32| refused(rule, None, Some(days * 86_400));
        assert_eq!(days("scope-probing", 30), None);
        assert_eq!(
            days("scope-probing", 31).unwrap(),
            "the window of scope-probing is at most 30 days"
        );
        assert_eq!(days("dormant-client", 366), None);
        assert_eq!(
            days("dormant-client", 367).unwrap(),
            PolicyRefusal::Measure.to_string()
        );
        // Every rule can be set to what it is.
        for rule in rules::ALL {
            let definition = rule.definition();
            let unset = refused(
                &definition.id,
                Some(definition.threshold),
                Some(definition.window_seconds),
            );
            let takes_both = unset.as_ref().is_none_or(|why| why.contains("to set"));
            assert!(takes_both, "{}: {unset:?}", definition.id);
        }
    }

    #[test]
    fn an_action_that_has_nobody_to_be_done_to_is_refused() {
        let settings = PolicySettings {
            action: Action::SuspendClient,
            ..PolicySettings::default()
        };
        let why = begin("password-spray", &settings).err().unwrap().to_string();
        assert_eq!(why, "password-spray can do alert, throttle_network");
        assert!(begin("scope-probing", &settings).is_ok());
    }
}
