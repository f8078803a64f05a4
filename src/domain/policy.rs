//! The `policy` aggregate: how a rule that watches the ledger is set. One aggregate per rule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::value::Digest;
use super::{Decision, aggregate};

/// The longest name of a rule.
pub const MAX_RULE: usize = 64;
/// The most bytes of a Sigma rule.
pub const MAX_SIGMA: usize = 32 * 1024;

events! {
    /// Events of one policy.
    pub enum PolicyEvent of "policy" {
        /// A rule watches from now on.
        PolicyEnabled 1 {
            /// The rule's name.
            rule: String,
            /// How it is set.
            settings: PolicySettings,
        },
        /// A rule that watches is set anew.
        PolicyChanged 1 {
            /// The rule's name.
            rule: String,
            /// How it is set from now on.
            settings: PolicySettings,
        },
        /// A rule watches no more.
        PolicyDisabled 1 {
            /// The rule's name.
            rule: String,
            /// Why, in the administrator's words.
            reason: String,
        },
    }
}

/// How a rule is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicySettings {
    /// What it does when it fires.
    pub action: Action,
    /// How much is too much; none means the rule's own measure.
    #[serde(default)]
    pub threshold: Option<u32>,
    /// Within how many seconds; none means the rule's own measure.
    #[serde(default)]
    pub window_seconds: Option<u32>,
    /// The rule itself, where it was brought along: Sigma rules in YAML.
    #[serde(default)]
    pub sigma: Option<String>,
}

/// What a policy does when its rule fires, besides raising an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing besides.
    #[default]
    Alert,
    /// The client gets few tokens a minute for a while.
    Throttle,
    /// The network gets few logins, device codes and tokens a minute for a while.
    ThrottleNetwork,
    /// The user's logins so far are good no more.
    RequireFreshLogin,
    /// The grant ends, and everything that came of it.
    RevokeGrant,
    /// The client is suspended.
    SuspendClient,
}

impl Action {
    /// All of them, the mildest first.
    pub const ALL: [Self; 6] = [
        Self::Alert,
        Self::Throttle,
        Self::ThrottleNetwork,
        Self::RequireFreshLogin,
        Self::RevokeGrant,
        Self::SuspendClient,
    ];

    /// The word in the ledger and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Throttle => "throttle",
            Self::ThrottleNetwork => "throttle_network",
            Self::RequireFreshLogin => "require_fresh_login",
            Self::RevokeGrant => "revoke_grant",
            Self::SuspendClient => "suspend_client",
        }
    }

    /// The action of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A policy's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The rule's name; none where nothing was ever said of it.
    pub rule: Option<String>,
    /// How it stands.
    pub standing: Standing,
}

/// Whether a rule watches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing was said: a rule that Grantlog brings along watches, and raises alerts.
    #[default]
    Unsaid,
    /// It watches.
    Enabled(PolicySettings),
    /// It does not.
    Disabled,
}

/// Commands on a policy.
#[derive(Clone, Debug)]
pub enum PolicyCommand {
    /// Let the rule watch, set so.
    Enable {
        /// The rule's name.
        rule: String,
        /// How it is set.
        settings: PolicySettings,
    },
    /// Let it watch no more.
    Disable {
        /// The rule's name.
        rule: String,
        /// Whether Grantlog brings it along.
        built_in: bool,
        /// Why.
        reason: String,
    },
}

/// Why a command on a policy was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// Nobody knows it.
    #[error("there is no such policy")]
    Unknown,
    /// It could not be typed or shown.
    #[error("a rule's name has 1 to 64 characters of a-z, 0-9 and -")]
    MalformedName,
    /// It would fire always, or never be counted.
    #[error("a threshold is 1 to 100000, a window 1 second to 366 days")]
    Measure,
    /// It does not fit into an event.
    #[error("a Sigma file has at most 32 KiB")]
    TooLong,
}

impl Policy {
    /// The aggregate of a rule.
    #[must_use]
    pub fn id(rule: &str) -> Uuid {
        derived_id(&["grantlog policy", rule])
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &PolicyCommand) -> Decision<PolicyEvent, (), PolicyRefusal> {
        match command {
            PolicyCommand::Enable { rule, settings } => {
                if let Err(refusal) = check(rule, settings) {
                    return Decision::refuse(refusal);
                }
                let (rule, settings) = (rule.clone(), settings.clone());
                let event = match &self.standing {
                    Standing::Enabled(before) if *before == settings => {
                        return Decision::accept(Vec::new(), ());
                    }
                    Standing::Enabled(_) => PolicyChanged { rule, settings }.into(),
                    Standing::Unsaid | Standing::Disabled => PolicyEnabled { rule, settings }.into(),
                };
                Decision::accept(vec![event], ())
            }
            PolicyCommand::Disable {
                rule,
                built_in,
                reason,
            } => match self.standing {
                Standing::Unsaid if !built_in => Decision::refuse(PolicyRefusal::Unknown),
                Standing::Disabled => Decision::accept(Vec::new(), ()),
                Standing::Unsaid | Standing::Enabled(_) => {
                    let (rule, reason) = (rule.clone(), reason.clone());
                    Decision::accept(vec![PolicyDisabled { rule, reason }.into()], ())
                }
            },
        }
    }

    fn evolve(&mut self, event: PolicyEvent) {
        match event {
            PolicyEvent::PolicyEnabled(PolicyEnabled { rule, settings })
            | PolicyEvent::PolicyChanged(PolicyChanged { rule, settings }) => {
                self.rule = Some(rule);
                self.standing = Standing::Enabled(settings);
            }
            PolicyEvent::PolicyDisabled(event) => {
                self.rule = Some(event.rule);
                self.standing = Standing::Disabled;
            }
        }
    }
}

impl PolicySettings {
    /// Whether a rule can be run with these measures.
    pub fn check_measures(&self) -> Result<(), PolicyRefusal> {
        let fits =
            |measure: Option<u32>, most: u32| measure.is_none_or(|measure| (1..=most).contains(&measure));
        if fits(self.threshold, 100_000) && fits(self.window_seconds, 366 * 86_400) {
            Ok(())
        } else {
            Err(PolicyRefusal::Measure)
        }
    }
}

fn check(rule: &str, settings: &PolicySettings) -> Result<(), PolicyRefusal> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if rule.is_empty() || rule.len() > MAX_RULE || !rule.bytes().all(plain) {
        return Err(PolicyRefusal::MalformedName);
    }
    settings.check_measures()?;
    if settings
        .sigma
        .as_ref()
        .is_some_and(|sigma| sigma.len() > MAX_SIGMA)
    {
        return Err(PolicyRefusal::TooLong);
    }
    Ok(())
}

/// An id that is the same wherever it is derived from the same words.
#[must_use]
pub fn derived_id(words: &[&str]) -> Uuid {
    let digest = Digest::of(words.join("\0").as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.0).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

aggregate!(
    Policy,
    Policy,
    "policy",
    PolicyCommand,
    PolicyEvent,
    PolicyRefusal
);

#[cfg(test)]
mod tests {
    use cqrs_es::Aggregate;

    use super::*;

    #[test]
    fn a_policy_is_enabled_once_changed_and_disabled_once() {
        let mut policy = Policy::default();
        let enable = |threshold| PolicyCommand::Enable {
            rule: "scope-probing".into(),
            settings: PolicySettings {
                threshold,
                ..PolicySettings::default()
            },
        };
        let disable = |built_in| PolicyCommand::Disable {
            rule: "scope-probing".into(),
            built_in,
            reason: "noise".into(),
        };
        assert_eq!(
            policy.decide(&disable(false)).outcome,
            Err(PolicyRefusal::Unknown)
        );
        assert_eq!(
            policy.decide(&enable(Some(0))).outcome,
            Err(PolicyRefusal::Measure)
        );
        let mut names = Vec::new();
        for command in [
            enable(None),
            enable(None),
            enable(Some(9)),
            disable(true),
            disable(true),
        ] {
            for event in policy.decide(&command).events {
                names.push(cqrs_es::DomainEvent::event_type(&event));
                policy.apply(event);
            }
        }
        assert_eq!(names, ["PolicyEnabled", "PolicyChanged", "PolicyDisabled"]);
    }
}
