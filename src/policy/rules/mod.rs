//! The rules that Grantlog brings along. `docs/policies.md` is their manual.

mod built_in;
mod client_changes;
mod consents;
mod device;
mod grants;
mod issuance;
mod logins;
mod places;
mod refusals;
mod replays;
mod suppressed;

pub use built_in::BuiltIn;
use built_in::Takes;

use super::memory::Measure;
use super::rule::{Definition, Running};
use crate::domain::alert::Severity;
use crate::domain::policy::Action;

const HOUR: u32 = 3600;
const DAY: u32 = 24 * HOUR;

fn measure(definition: &Definition) -> Measure {
    Measure {
        threshold: usize::try_from(definition.threshold).unwrap_or(usize::MAX),
        window: definition.window(),
    }
}

/// Those that end or hold back a grant.
const ON_GRANTS: &[Action] = &[
    Action::Alert,
    Action::Throttle,
    Action::RequireFreshLogin,
    Action::RevokeGrant,
    Action::SuspendClient,
];
/// Those that end or hold back a client.
const ON_CLIENTS: &[Action] = &[Action::Alert, Action::Throttle, Action::SuspendClient];
/// Where a user is known.
const ON_USERS: &[Action] = &[Action::Alert, Action::RequireFreshLogin];
/// Where a network is known, and nobody else.
const ON_NETWORKS: &[Action] = &[Action::Alert, Action::ThrottleNetwork];
/// Where a client and a network are known.
const ON_CLIENTS_AT_NETWORKS: &[Action] = &[
    Action::Alert,
    Action::Throttle,
    Action::ThrottleNetwork,
    Action::SuspendClient,
];

/// All of them.
pub const ALL: &[BuiltIn] = &[
    BuiltIn {
        id: "refresh-replay",
        version: 1,
        title: "A refresh token was used again after its time",
        description: "The grant ended the family itself, in the same append. The alert adds both presenters side by \
                      side and whether it looks like a retry or like theft.",
        severity: Severity::High,
        technique: "T1528",
        threshold: 1,
        window: HOUR,
        lookback: HOUR,
        takes: Takes::NOTHING,
        actions: ON_GRANTS,
        begin: |_| Box::new(Running::new(replays::RefreshReplay)),
    },
    BuiltIn {
        id: "code-replay",
        version: 1,
        title: "An authorization code or device code was used again",
        description: "The grant revoked everything that came of the code. A client that sends its request twice does \
                      this too; the dossier tells them apart.",
        severity: Severity::High,
        technique: "T1528",
        threshold: 1,
        window: HOUR,
        lookback: HOUR,
        takes: Takes::NOTHING,
        actions: ON_GRANTS,
        begin: |_| Box::new(Running::new(replays::CodeReplay)),
    },
    BuiltIn {
        id: "code-mismatch",
        version: 1,
        title: "Authentic codes with the wrong PKCE verifier, redirect URI or client",
        description: "Codes that fell into other hands do not fit the request of who holds them. A broken client does \
                      this at every attempt; an injected code does it seldom.",
        severity: Severity::Medium,
        technique: "T1557",
        threshold: 3,
        window: HOUR / 6,
        lookback: HOUR / 6,
        takes: Takes::BOTH,
        actions: ON_CLIENTS,
        begin: |definition| {
            Box::new(Running::new(refusals::CodeMismatch {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "grant-new-networks",
        version: 2,
        title: "One grant used from several new networks",
        description: "The tokens of one grant were renewed, or a user's were used at this server's own endpoints, from \
                      networks (/24 or /48) that it was not used from before. A moving phone changes networks, though \
                      seldom that often.",
        severity: Severity::Medium,
        technique: "T1550.001",
        threshold: 3,
        window: HOUR,
        lookback: DAY,
        takes: Takes::BOTH,
        actions: ON_GRANTS,
        begin: |definition| {
            Box::new(Running::new(grants::NewNetworks {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "grant-new-agents",
        version: 1,
        title: "One grant used by several kinds of programs",
        description: "The tokens of one grant were renewed by user agents of different families: an app does not become \
                      curl.",
        severity: Severity::Medium,
        technique: "T1550.001",
        threshold: 2,
        window: DAY,
        lookback: DAY,
        takes: Takes::BOTH,
        actions: ON_GRANTS,
        begin: |definition| {
            Box::new(Running::new(grants::NewAgents {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "impossible-travel",
        version: 2,
        title: "Logins of one user too far apart for the time between",
        description: "Two logins within the window from places that nobody travels between in that time; the threshold \
                      is the speed in km/h. Needs a database of places (geoip_database). Virtual private networks do \
                      this too.",
        severity: Severity::Medium,
        technique: "T1078",
        threshold: 900,
        window: DAY,
        lookback: DAY,
        takes: Takes::BOTH,
        actions: ON_USERS,
        begin: |definition| {
            Box::new(Running::new(places::ImpossibleTravel {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "consent-burst",
        version: 1,
        title: "Many consents to restricted scopes for a young client",
        description: "Users gave a client that was registered less than 14 days ago restricted scopes, one after the \
                      other: a phishing campaign with a consent page.",
        severity: Severity::High,
        technique: "T1528",
        threshold: 5,
        window: HOUR,
        lookback: HOUR,
        takes: Takes::BOTH,
        actions: ON_CLIENTS,
        begin: |definition| {
            Box::new(Running::new(consents::Burst {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "first-sensitive-consent",
        version: 1,
        title: "First consent to a restricted scope for a client in 30 days",
        description: "A user gave a client a restricted scope that no user had given it within the window.",
        severity: Severity::Low,
        technique: "T1528",
        threshold: 1,
        window: 30 * DAY,
        lookback: 30 * DAY,
        takes: Takes::WINDOW,
        actions: ON_CLIENTS,
        begin: |definition| {
            Box::new(Running::new(consents::FirstSensitive {
                window: definition.window(),
            }))
        },
    },
    BuiltIn {
        id: "client-secret-brute-force",
        version: 1,
        title: "Client secrets guessed",
        description: "Failed authentications of one client from one network. That alone is told only; where the same \
                      network then gets a token within an hour, the action is taken and the alert is critical.",
        severity: Severity::High,
        technique: "T1110.001",
        threshold: 10,
        window: 300,
        lookback: HOUR + 300,
        takes: Takes::BOTH,
        actions: ON_CLIENTS_AT_NETWORKS,
        begin: |definition| {
            Box::new(Running::new(refusals::SecretBruteForce {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "machine-new-network",
        version: 1,
        title: "A machine's client from a network unseen for 14 days",
        description: "Client credentials were used from a network that the client was not seen at within the window. \
                      Deployments move; thieves do, too.",
        severity: Severity::Medium,
        technique: "T1078.004",
        threshold: 1,
        window: 14 * DAY,
        lookback: 14 * DAY,
        takes: Takes::WINDOW,
        actions: ON_GRANTS,
        begin: |definition| {
            Box::new(Running::new(issuance::MachineNewNetwork {
                window: definition.window(),
            }))
        },
    },
    BuiltIn {
        id: "password-spray",
        version: 1,
        title: "Wrong passwords for many users from one network",
        description: "Failed logins for different users from one network. A school behind one address does this on the \
                      first day.",
        severity: Severity::High,
        technique: "T1110.003",
        threshold: 10,
        window: HOUR / 6,
        lookback: HOUR / 6,
        takes: Takes::BOTH,
        actions: ON_NETWORKS,
        begin: |definition| {
            Box::new(Running::new(logins::Spray {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "password-guessing",
        version: 1,
        title: "Wrong passwords for one user",
        description: "Failed logins for one user, wherever they came from.",
        severity: Severity::Medium,
        technique: "T1110.001",
        threshold: 5,
        window: HOUR / 6,
        lookback: HOUR / 6,
        takes: Takes::BOTH,
        actions: ON_USERS,
        begin: |definition| {
            Box::new(Running::new(logins::Guessing {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "device-code-guessing",
        version: 1,
        title: "User codes of devices guessed",
        description: "Wrong user codes from one network (RFC 8628 §5.1).",
        severity: Severity::Medium,
        technique: "T1110",
        threshold: 10,
        window: HOUR / 6,
        lookback: HOUR / 6,
        takes: Takes::BOTH,
        actions: ON_NETWORKS,
        begin: |definition| {
            Box::new(Running::new(device::Guessing {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "device-approver-mismatch",
        version: 1,
        title: "A device approved from another network than it polls from",
        description: "The user approved from one network, the device got its token at another (RFC 8628 §5.4, remote \
                      phishing). Usual where devices have another uplink than phones.",
        severity: Severity::Low,
        technique: "T1528",
        threshold: 1,
        window: HOUR,
        lookback: HOUR,
        takes: Takes::NOTHING,
        actions: ON_GRANTS,
        begin: |_| Box::new(Running::new(device::ApproverMismatch)),
    },
    BuiltIn {
        id: "dormant-client",
        version: 1,
        title: "A client that slept for 90 days gets tokens again",
        description: "Nobody looks after a forgotten client; whoever finds its secret is not missed.",
        severity: Severity::Medium,
        technique: "T1078.004",
        threshold: 1,
        window: 30 * DAY * 3,
        lookback: 30 * DAY * 3,
        takes: Takes::LONG_WINDOW,
        actions: ON_CLIENTS,
        begin: |definition| {
            Box::new(Running::new(issuance::Dormant {
                window: definition.window(),
            }))
        },
    },
    BuiltIn {
        id: "issuance-rate",
        version: 1,
        title: "Far more tokens than at this hour of other days",
        description: "Within one hour of the clock a client got more access tokens than the threshold and than six times \
                      the median of the same hour of the 14 days before.",
        severity: Severity::Medium,
        technique: "T1528",
        threshold: 100,
        window: HOUR,
        lookback: 14 * DAY + HOUR,
        takes: Takes::THRESHOLD,
        actions: ON_CLIENTS,
        begin: |definition| {
            Box::new(Running::new(issuance::Rate {
                threshold: definition.threshold,
            }))
        },
    },
    BuiltIn {
        id: "scope-probing",
        version: 2,
        title: "A client tries scopes",
        description: "Requests that were refused with invalid_scope: somebody finds out what the client may do. Only those \
                      that the client had authenticated for are acted upon; those that anybody may make in its name are \
                      counted for each network, and told.",
        severity: Severity::Low,
        technique: "T1069.003",
        threshold: 5,
        window: HOUR / 6,
        lookback: HOUR / 6,
        takes: Takes::BOTH,
        actions: ON_CLIENTS,
        begin: |definition| {
            Box::new(Running::new(refusals::ScopeProbing {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "refusals-suppressed",
        version: 1,
        title: "More refusals of one network than are recorded",
        description: "Beyond refusals_per_minute of one network, client and kind of refusal only their number is on the \
                      ledger, and no other rule sees them. A client in a loop does this; so does somebody who hides \
                      what else they do.",
        severity: Severity::Medium,
        technique: "T1562.006",
        threshold: 100,
        window: HOUR / 6,
        lookback: HOUR / 6,
        takes: Takes::BOTH,
        actions: ON_NETWORKS,
        begin: |definition| {
            Box::new(Running::new(suppressed::Suppressed {
                measure: measure(definition),
            }))
        },
    },
    BuiltIn {
        id: "client-changed",
        version: 2,
        title: "A client was changed and then used from a new network",
        description: "A secret was added, a restricted scope approved, or redirect URIs, scope, authentication method, \
                      keys (jwks, jwks_uri) or certificate changed, and within a day the client came from a network \
                      that it was not seen at for 14 days before the change.",
        severity: Severity::High,
        technique: "T1098.001",
        threshold: 1,
        window: DAY,
        lookback: 15 * DAY,
        takes: Takes::WINDOW,
        actions: ON_GRANTS,
        begin: |definition| {
            Box::new(Running::new(client_changes::UsedElsewhere {
                window: definition.window(),
            }))
        },
    },
];

/// The rule of that name.
#[must_use]
pub fn named(id: &str) -> Option<&'static BuiltIn> {
    ALL.iter().find(|rule| rule.id == id)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail like this"
)]
mod tests;
