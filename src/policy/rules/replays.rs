//! Tokens that were used again.

use crate::policy::observed::{Kind, Kinds, Observed};
use crate::policy::rule::{Finding, Fold};

/// A refresh token that was over was presented.
pub(super) struct RefreshReplay;

impl Fold for RefreshReplay {
    type State = ();

    const WANTS: Kinds = Kinds::of(&[Kind::RefreshReplayed]);

    fn observe(&self, (): &mut (), event: &Observed) -> Vec<Finding> {
        if event.kind != Kind::RefreshReplayed {
            return Vec::new();
        }
        vec![Finding::at(
            event,
            "A refresh token that had been used was presented again; its family is revoked.",
        )]
    }
}

/// A code was presented twice.
pub(super) struct CodeReplay;

impl Fold for CodeReplay {
    type State = ();

    const WANTS: Kinds = Kinds::of(&[Kind::CodeReplayed, Kind::DeviceCodeReplayed]);

    fn observe(&self, (): &mut (), event: &Observed) -> Vec<Finding> {
        if !matches!(event.kind, Kind::CodeReplayed | Kind::DeviceCodeReplayed) {
            return Vec::new();
        }
        vec![Finding::at(
            event,
            "A code that had been redeemed was presented again; what came of it is revoked.",
        )]
    }
}
