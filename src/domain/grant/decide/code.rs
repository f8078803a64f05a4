//! The authorization code: issued once, exchanged once (RFC 6749 §4.1).

use super::{Decision, holds};
use crate::domain::grant::{
    CodeIssued, CodeRedeemed, CodeReplayed, Family, Grant, GrantRefusal, Issued, Outcome, Reason, RedeemCode,
    TokenIssued,
};
use crate::domain::pkce;

impl Grant {
    /// Issues a code. Whether it may be issued is decided on user, client and consent.
    #[must_use]
    pub fn issue_code(&self, event: &CodeIssued) -> Decision {
        if self.family.is_some() {
            return Decision::refuse(GrantRefusal::Exists);
        }
        Decision::accept(vec![event.clone().into()], Outcome::Code)
    }

    /// Exchanges the code for tokens (RFC 6749 §4.1.3).
    #[must_use]
    pub fn redeem(&self, command: &RedeemCode) -> Decision {
        let Some(family) = self.family.as_deref() else {
            return Decision::refuse(GrantRefusal::Unknown);
        };
        let Some(code) = family
            .code
            .as_ref()
            .filter(|code| code.digest.matches(&command.digest))
        else {
            return Decision::refuse(GrantRefusal::Unknown);
        };
        if command.client != family.client {
            return Decision::refuse(GrantRefusal::OtherClient);
        }
        if let Err(refusal) = holds(code.confirmation, command.mint.confirmation) {
            return Decision::refuse(refusal);
        }
        if code.redeemed {
            let replay = CodeReplayed {
                client: command.client,
                at: command.at,
            }
            .into();
            return family.replayed(
                replay,
                Reason::CodeReplayed,
                GrantRefusal::CodeReplayed,
                command.at,
            );
        }
        if family.revoked.is_some() {
            return Decision::refuse(GrantRefusal::Revoked);
        }
        if command.at >= code.expires_at {
            return Decision::refuse(GrantRefusal::CodeExpired);
        }
        let same_redirect_uri = match &command.redirect_uri {
            Some(uri) => *uri == code.redirect_uri,
            None => !code.redirect_uri_required,
        };
        if !same_redirect_uri {
            return Decision::refuse(GrantRefusal::RedirectUriChanged);
        }
        if !command.redirect_uri_registered {
            return Decision::refuse(GrantRefusal::RedirectUriRemoved);
        }
        if let Err(refusal) = pkce::verify(code.challenge.as_ref(), command.verifier.as_deref()) {
            return Decision::refuse(refusal.into());
        }
        if let Err(refusal) = family.stands(&command.circumstances, command.at) {
            return Decision::refuse(refusal);
        }
        self.issue_redeemed(family, command)
    }

    /// The code is good: what it is exchanged for.
    fn issue_redeemed(&self, family: &Family, command: &RedeemCode) -> Decision {
        let Some(scope) = family.still_allowed(None, &command.circumstances) else {
            return Decision::refuse(GrantRefusal::ScopeNoLongerAllowed);
        };
        let audience = match family.narrowed(command.audience.as_ref(), &command.allowed_audience) {
            Ok(audience) => audience,
            Err(refusal) => return Decision::refuse(refusal),
        };
        let details = match family.selected(&command.details, (&scope, &audience)) {
            Ok(details) => details,
            Err(refusal) => return Decision::refuse(refusal),
        };
        let redeemed = CodeRedeemed {
            client: command.client,
            at: command.at,
        };
        let (access, refresh) = family.mint(&command.mint, 1, command.at);
        let issued = TokenIssued {
            flow: family.flow,
            client: family.client,
            subject: family.subject,
            scope,
            audience,
            authorization_details: None,
            details,
            access,
            refresh,
            password_generation: family.password_generation,
            issued_at: command.at,
            grant_expires_at: family.expires_at,
        };
        let outcome = Outcome::Tokens(Box::new(Issued::of(
            &issued,
            self.sequence + 2,
            &command.details.granted,
        )));
        Decision::accept(vec![redeemed.into(), issued.into()], outcome)
    }
}
