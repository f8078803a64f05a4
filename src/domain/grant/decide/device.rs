//! The device authorization: asking, answering, redeeming (RFC 8628 §3).

use super::Decision;
use crate::clock::Timestamp;
use crate::domain::grant::{
    Device, DeviceAuthorizationApproved, DeviceAuthorizationDenied, DeviceAuthorizationRequested,
    DeviceCodeRedeemed, DeviceCodeReplayed, DeviceStage, Family, Grant, GrantEvent, GrantRefusal, Issued,
    Outcome, Reason, RedeemDeviceCode, TokenIssued,
};

impl Grant {
    /// Begins a device authorization. Whether it may begin is decided on client and scopes.
    #[must_use]
    pub fn request_device(&self, event: &DeviceAuthorizationRequested) -> Decision {
        if self.family.is_some() {
            return Decision::refuse(GrantRefusal::Exists);
        }
        Decision::accept(vec![event.clone().into()], Outcome::Code)
    }

    /// Approves it. Whether this user may is decided on user, client and consent.
    #[must_use]
    pub fn approve_device(&self, event: &DeviceAuthorizationApproved) -> Decision {
        self.answer_device(event.clone().into(), event.at)
    }

    /// Denies it.
    #[must_use]
    pub fn deny_device(&self, event: &DeviceAuthorizationDenied) -> Decision {
        self.answer_device(event.clone().into(), event.at)
    }

    /// The first answer counts.
    fn answer_device(&self, answer: GrantEvent, at: Timestamp) -> Decision {
        match self.awaits_answer(at) {
            Ok(_) => Decision::accept(vec![answer], Outcome::Answered),
            Err(refusal) => Decision::refuse(refusal),
        }
    }

    /// What a device asks for, where it still waits for an answer.
    pub fn awaits_answer(&self, at: Timestamp) -> Result<&Family, GrantRefusal> {
        let (family, device) = self.device().ok_or(GrantRefusal::Unknown)?;
        match device.stage {
            _ if family.revoked.is_some() => Err(GrantRefusal::Revoked),
            DeviceStage::Approved | DeviceStage::Denied | DeviceStage::Redeemed => {
                Err(GrantRefusal::DeviceAnswered)
            }
            DeviceStage::Pending if at >= device.expires_at => Err(GrantRefusal::DeviceCodeExpired),
            DeviceStage::Pending => Ok(family),
        }
    }

    /// Exchanges the device code for tokens (RFC 8628 §3.4). The digest first, then the client, then a replay.
    #[must_use]
    pub fn redeem_device(&self, command: &RedeemDeviceCode) -> Decision {
        let authentic = |device: &Device| device.digest.matches(&command.digest);
        let Some((family, device)) = self.device().filter(|(_, device)| authentic(device)) else {
            return Decision::refuse(GrantRefusal::Unknown);
        };
        if command.client != family.client {
            return Decision::refuse(GrantRefusal::OtherClient);
        }
        if device.stage == DeviceStage::Redeemed {
            let (client, at) = (command.client, command.at);
            let replay = DeviceCodeReplayed { client, at }.into();
            return family.replayed(replay, Reason::CodeReplayed, GrantRefusal::DeviceCodeReplayed, at);
        }
        if family.revoked.is_some() {
            return Decision::refuse(GrantRefusal::Revoked);
        }
        if device.stage == DeviceStage::Denied {
            return Decision::refuse(GrantRefusal::DeviceDenied);
        }
        if command.at >= device.expires_at {
            return Decision::refuse(GrantRefusal::DeviceCodeExpired);
        }
        if device.stage == DeviceStage::Pending {
            return Decision::refuse(GrantRefusal::DevicePending);
        }
        if let Err(refusal) = family.stands(&command.circumstances, command.at) {
            return Decision::refuse(refusal);
        }
        self.issue_to_device(family, command)
    }

    /// The approval stands: what the device code is exchanged for.
    fn issue_to_device(&self, family: &Family, command: &RedeemDeviceCode) -> Decision {
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
        let redeemed = DeviceCodeRedeemed {
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
