//! The `alert` aggregate: one thing that somebody should look at, and what was done about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::Action;
use super::value::Digest;
use super::{Decision, aggregate};
use crate::clock::Timestamp;
use crate::ids::{ClientKey, GrantId, RequestId, SessionId, SubjectId};

events! {
    /// Events of one alert.
    pub enum AlertEvent of "alert" {
        /// A rule fired.
        #[derive(JsonSchema)]
        AlertRaised 1 {
            /// The rule's name.
            rule: String,
            /// The rule's version.
            rule_version: u32,
            /// SHA-256 of the rule and how it was set.
            rule_hash: Digest,
            /// What the rule looks for, in a line.
            title: String,
            /// How grave it is.
            severity: Severity,
            /// The ATT&CK technique that it points to, such as `T1528`.
            technique: String,
            /// Whom it is about.
            about: About,
            /// The position of the event that the rule fired at.
            position: u64,
            /// When that was recorded.
            at: Timestamp,
            /// The positions of events that it rests on, the last ones.
            evidence: Vec<u64>,
            /// How much there was of what the rule counts.
            count: u64,
            /// What was found, in a sentence.
            summary: String,
            /// Of a replay: both who presented the token, and what that means.
            dossier: Option<Dossier>,
        },
        /// Somebody looked at it.
        AlertAcknowledged 1 {
            /// What came of that, in the administrator's words.
            note: Option<String>,
        },
        /// Access was taken away.
        #[derive(JsonSchema)]
        ContainmentApplied 1 {
            /// What was done.
            action: Action,
            /// Why.
            cause: Cause,
            /// Grants that were revoked.
            grants: Vec<GrantId>,
            /// Clients that were suspended or throttled.
            clients: Vec<ClientKey>,
            /// Users who must log in again.
            subjects: Vec<SubjectId>,
            /// Logins that were ended.
            sessions: Option<Vec<SessionId>>,
            /// Networks that were throttled, as digests keyed per month.
            networks: Option<Vec<Digest>>,
        },
    }
}

/// How grave an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be known.
    Informational,
    /// To be looked at some day.
    Low,
    /// To be looked at.
    Medium,
    /// To be looked at today.
    High,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: [Self; 5] = [
        Self::Informational,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// The word in the ledger, in tables and in Sigma.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Whom an alert is about, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct About {
    /// The client.
    #[serde(default)]
    pub client: Option<ClientKey>,
    /// The user.
    #[serde(default)]
    pub subject: Option<SubjectId>,
    /// The grant.
    #[serde(default)]
    pub grant: Option<GrantId>,
    /// The network, as a digest keyed per month.
    #[serde(default)]
    pub network: Option<Digest>,
}

/// Why access was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A policy's rule fired.
    Policy {
        /// The rule.
        rule: String,
        /// Its version.
        rule_version: u32,
        /// The position of the event that it fired at.
        position: u64,
    },
    /// An administrator said so.
    Administrator {
        /// By what the grants were chosen: `client`, `user`, `key`, `address` or `window`.
        by: String,
        /// Which; none where that is a personal datum.
        #[serde(default)]
        value: Option<String>,
        /// From when on they were issued.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Until when.
        #[serde(default)]
        until: Option<Timestamp>,
        /// Why.
        reason: String,
    },
}

/// What is known of the two who presented one token. Who of them it was issued to, nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dossier {
    /// Who used it first, which may be its holder or a thief who was faster.
    pub holder: Presenter,
    /// Who presented it again.
    pub presenter: Presenter,
    /// Seconds between the two.
    pub seconds_between: u64,
    /// What it looks like.
    pub verdict: Verdict,
    /// Why, each in a sentence.
    pub reasons: Vec<String>,
    /// Access tokens that had not expired and ended with the family.
    pub killed_access_tokens: u32,
    /// The refresh generation that ended with it.
    pub killed_generation: Option<u32>,
}

/// Who presented a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Presenter {
    /// The event that it led to.
    pub position: u64,
    /// When.
    pub at: Timestamp,
    /// The request.
    pub request: RequestId,
    /// Its network, as a digest keyed per month.
    #[serde(default)]
    pub network: Option<Digest>,
    /// The family of its user agent.
    #[serde(default)]
    pub agent: Option<String>,
    /// How the client had authenticated.
    #[serde(default)]
    pub authentication: Option<String>,
}

/// What a replay looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The client itself, which did not get, or lost, the first answer.
    Retry,
    /// Somebody else.
    Theft,
    /// It may be either.
    Unclear,
}

impl Verdict {
    /// The word in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Theft => "theft",
            Self::Unclear => "unclear",
        }
    }
}

/// An alert's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What a rule found.
    pub raised: Option<AlertRaised>,
    /// What was done about it, or without a rule.
    pub containments: Vec<ContainmentApplied>,
    /// Whether somebody looked at it.
    pub acknowledged: Option<AlertAcknowledged>,
}

/// Commands on an alert.
#[derive(Clone, Debug)]
pub enum AlertCommand {
    /// Raise it, with what is done about it in the same append.
    Raise {
        /// What was found.
        alert: Box<AlertRaised>,
        /// What is done.
        containment: Option<ContainmentApplied>,
    },
    /// Record what an administrator took away.
    Contain(ContainmentApplied),
    /// Note that somebody looked at it.
    Acknowledge {
        /// What came of that.
        note: Option<String>,
    },
}

/// Why a command on an alert was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AlertRefusal {
    /// It was raised before.
    #[error("this alert was raised already")]
    Exists,
    /// Never raised.
    #[error("there is no such alert")]
    Unknown,
    /// It was acknowledged before.
    #[error("this alert was acknowledged already")]
    Acknowledged,
}

impl Alert {
    /// Whether anything is known of it.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.raised.is_some() || !self.containments.is_empty()
    }

    /// Decides a command.
    #[must_use]
    pub fn decide(&self, command: &AlertCommand) -> Decision<AlertEvent, (), AlertRefusal> {
        match command {
            AlertCommand::Raise { .. } | AlertCommand::Contain(_) if self.exists() => {
                Decision::refuse(AlertRefusal::Exists)
            }
            AlertCommand::Raise { alert, containment } => {
                let mut events: Vec<AlertEvent> = vec![(**alert).clone().into()];
                events.extend(containment.clone().map(AlertEvent::from));
                Decision::accept(events, ())
            }
            AlertCommand::Contain(containment) => Decision::accept(vec![containment.clone().into()], ()),
            AlertCommand::Acknowledge { .. } if !self.exists() => Decision::refuse(AlertRefusal::Unknown),
            AlertCommand::Acknowledge { .. } if self.acknowledged.is_some() => {
                Decision::refuse(AlertRefusal::Acknowledged)
            }
            AlertCommand::Acknowledge { note } => {
                Decision::accept(vec![AlertAcknowledged { note: note.clone() }.into()], ())
            }
        }
    }

    fn evolve(&mut self, event: AlertEvent) {
        match event {
            AlertEvent::AlertRaised(event) => self.raised = Some(event),
            AlertEvent::AlertAcknowledged(event) => self.acknowledged = Some(event),
            AlertEvent::ContainmentApplied(event) => self.containments.push(event),
        }
    }
}

aggregate!(Alert, Alert, "alert", AlertCommand, AlertEvent, AlertRefusal);
