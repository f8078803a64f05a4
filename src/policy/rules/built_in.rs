//! A rule that comes with the server: what it is, how it begins, and how it can be set.

use crate::domain::alert::Severity;
use crate::domain::policy::{Action, PolicySettings};
use crate::policy::rule::{Definition, Rule};
use crate::policy::setting::SettingError;

/// A rule that Grantlog brings along: what it is, and how it begins.
pub struct BuiltIn {
    pub(super) id: &'static str,
    pub(super) version: u32,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) severity: Severity,
    pub(super) technique: &'static str,
    pub(super) threshold: u32,
    pub(super) window: u32,
    pub(super) lookback: u32,
    pub(super) takes: Takes,
    pub(super) actions: &'static [Action],
    pub(super) begin: fn(&Definition) -> Box<dyn Rule>,
}

/// Which of its measures a policy can set.
#[derive(Clone, Copy)]
pub(super) struct Takes {
    threshold: bool,
    /// The longest window in days; 0 where there is none to set.
    window_days: u32,
}

impl Takes {
    pub(super) const NOTHING: Self = Self {
        threshold: false,
        window_days: 0,
    };
    pub(super) const THRESHOLD: Self = Self {
        threshold: true,
        window_days: 0,
    };
    pub(super) const WINDOW: Self = Self {
        threshold: false,
        window_days: 30,
    };
    /// What is remembered is one moment for each client, however long ago it is.
    pub(super) const LONG_WINDOW: Self = Self {
        threshold: false,
        window_days: 366,
    };
    pub(super) const BOTH: Self = Self {
        threshold: true,
        window_days: 30,
    };
}

impl BuiltIn {
    /// Whether it can be run with these measures: what it has no use for is refused.
    pub fn check(&self, settings: &PolicySettings) -> Result<(), SettingError> {
        settings.check_measures()?;
        let rule = || self.id.to_owned();
        let Takes {
            threshold,
            window_days: days,
        } = self.takes;
        match (settings.threshold, settings.window_seconds) {
            (Some(_), _) if !threshold => Err(SettingError::NoThreshold(rule())),
            (_, Some(_)) if days == 0 => Err(SettingError::NoWindow(rule())),
            (_, Some(window)) if window > days * 86_400 => {
                Err(SettingError::LongWindow { rule: rule(), days })
            }
            (None | Some(_), None | Some(_)) => Ok(()),
        }
    }

    /// The rule as data.
    #[must_use]
    pub fn definition(&self) -> Definition {
        Definition {
            id: self.id.to_owned(),
            version: self.version,
            title: self.title.to_owned(),
            description: self.description.to_owned(),
            severity: self.severity,
            technique: self.technique.to_owned(),
            threshold: self.threshold,
            window_seconds: self.window,
            lookback_seconds: self.lookback.max(self.window),
            actions: self.actions.to_vec(),
            sigma: None,
        }
    }

    /// The rule at work, with nothing to remember.
    #[must_use]
    pub fn begin(&self, definition: &Definition) -> Box<dyn Rule> {
        (self.begin)(definition)
    }
}
