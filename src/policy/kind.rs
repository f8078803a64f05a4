//! The kinds of events that rules ask for, and sets of them.

macro_rules! kinds {
    ($($Kind:ident),* $(,)?) => {
        /// The events that rules ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is the event of that name")]
        #[repr(u8)]
        pub enum Kind {
            $($Kind,)*
            /// Any other event.
            Other,
        }

        impl Kind {
            /// All that have a name.
            pub const NAMED: &'static [Self] = &[$(Self::$Kind,)*];

            /// Of the event of that name.
            #[must_use]
            pub fn of(event_type: &str) -> Self {
                match event_type {
                    $(stringify!($Kind) => Self::$Kind,)*
                    _ => Self::Other,
                }
            }

            /// The event's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$Kind => stringify!($Kind),)*
                    Self::Other => "",
                }
            }
        }
    };
}

kinds! {
    RequestRefused,
    RefusalsSuppressed,
    CodeIssued,
    CodeRedeemed,
    CodeReplayed,
    TokenIssued,
    RefreshRotated,
    RefreshRetried,
    AccessTokenRefreshed,
    RefreshReplayed,
    DeviceAuthorizationRequested,
    DeviceAuthorizationApproved,
    DeviceCodeRedeemed,
    DeviceCodeReplayed,
    ClientRegistered,
    ClientUpdated,
    ClientSecretAdded,
    ScopeApproved,
    ScopeDefined,
    ScopeChanged,
    ConsentGiven,
    SessionStarted,
    SessionReauthenticated,
    SubjectKeyDestroyed,
    TokenUseCounted,
    PolicyEnabled,
    PolicyChanged,
    PolicyDisabled,
    LedgerRead,
}

impl Kind {
    /// Those whose client, user and grant say what somebody looked at, and not who did something or to whom.
    const CONCERN_NOBODY: [Self; 1] = [Self::LedgerRead];

    /// Whether whom it names has nothing to do with it.
    #[must_use]
    pub fn concerns_nobody(self) -> bool {
        Self::CONCERN_NOBODY.contains(&self)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    bits: u32,
    /// Every event, whatever its kind.
    pub all: bool,
}

impl Kinds {
    /// Every event.
    pub const ALL: Self = Self {
        bits: u32::MAX,
        all: true,
    };

    /// These.
    #[must_use]
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut bits = 0;
        let mut rest = kinds;
        while let [kind, tail @ ..] = rest {
            bits |= 1 << (*kind as u32);
            rest = tail;
        }
        Self { bits, all: false }
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            bits: self.bits | other.bits,
            all: self.all || other.all,
        }
    }

    /// Whether an event of that kind is among them.
    #[must_use]
    pub const fn has(self, kind: Kind) -> bool {
        self.all || self.bits & (1 << (kind as u32)) != 0
    }

    /// The events' names; none where it is every event.
    #[must_use]
    pub fn names(self) -> Option<Vec<&'static str>> {
        let named = Kind::NAMED.iter().filter(|kind| self.has(**kind));
        (!self.all).then(|| named.map(|kind| kind.name()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_kinds_are_those_of_events() {
        let schemas = crate::domain::event::Event::schemas();
        for kind in Kind::NAMED {
            assert!(
                schemas.iter().any(|schema| schema.event_type == kind.name()),
                "{kind:?}"
            );
            assert_eq!(Kind::of(kind.name()), *kind);
            assert!(Kinds::of(&[*kind]).has(*kind) && !Kinds::of(&[*kind]).has(Kind::Other));
        }
        assert!(Kind::NAMED.len() < 31, "they are bits of a u32");
    }
}
