//! The device authorization of a grant (RFC 8628): a device asks, a user answers elsewhere, the device redeems.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Circumstances, DeviceAuthorizationApproved, DeviceAuthorizationRequested, Family, Grant, Mint};
use crate::clock::Timestamp;
use crate::domain::authorization_detail::AskedDetails;
use crate::domain::client::GrantType;
use crate::domain::openid::{Authentication, IndividualClaims, OPENID};
use crate::domain::value::Digest;
use crate::ids::ClientKey;

/// A device code (RFC 8628 §3.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// SHA-256 of its random part.
    pub digest: Digest,
    /// When it ends.
    pub expires_at: Timestamp,
    /// How far it has come.
    pub stage: DeviceStage,
    /// The resource servers that the device named, for its user to see.
    #[serde(default)]
    pub resources: Vec<String>,
}

/// How far a device authorization has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceStage {
    /// Nobody has answered.
    Pending,
    /// A user approved.
    Approved,
    /// A user denied.
    Denied,
    /// Tokens were issued for it.
    Redeemed,
}

impl DeviceStage {
    /// The word for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "waits for an answer",
            Self::Approved => "approved, not redeemed",
            Self::Denied => "denied",
            Self::Redeemed => "redeemed",
        }
    }
}

/// Exchange the device code for tokens (RFC 8628 §3.4).
#[derive(Clone, Debug)]
pub struct RedeemDeviceCode {
    /// SHA-256 of the presented code's random part.
    pub digest: Digest,
    /// The authenticated client.
    pub client: ClientKey,
    /// The `resource` parameters (RFC 8707): the audience of the access token, where it is to be narrower.
    pub audience: Option<Vec<String>>,
    /// The audience that the client's tokens may have now.
    pub allowed_audience: Vec<String>,
    /// The grant's authorization details, and the parameter.
    pub details: AskedDetails,
    /// What holds of user, consent and client now.
    pub circumstances: Circumstances,
    /// The tokens to issue.
    pub mint: Mint,
    /// Now.
    pub at: Timestamp,
}

impl Grant {
    /// Its device authorization, with what was asked for.
    #[must_use]
    pub fn device(&self) -> Option<(&Family, &Device)> {
        let family = self.family.as_deref()?;
        Some((family, family.device.as_ref()?))
    }

    pub(super) fn device_is(&mut self, stage: DeviceStage) {
        let family = self.family.as_deref_mut();
        if let Some(device) = family.and_then(|family| family.device.as_mut()) {
            device.stage = stage;
        }
    }
}

impl Family {
    /// Until a user approves, it is nobody's.
    pub(super) fn from_device(event: DeviceAuthorizationRequested) -> Self {
        Self {
            client: event.client,
            subject: None,
            flow: GrantType::DeviceCode,
            imported: false,
            scope: event.scope,
            audience: event.audience,
            authorization_details: event.authorization_details,
            session: None,
            authentication: None,
            password_generation: 0,
            consent_withdrawals: 0,
            expires_at: event.grant_expires_at,
            code: None,
            device: Some(Device {
                digest: event.digest,
                expires_at: event.expires_at,
                stage: DeviceStage::Pending,
                resources: event.resources.unwrap_or_default(),
            }),
            refresh: None,
            revoked: None,
            revoked_access: BTreeMap::new(),
            basis: None,
            management: None,
            replaced_by: None,
        }
    }

    /// The grant rests on the approver's login from here on.
    pub(super) fn approved(&mut self, event: DeviceAuthorizationApproved) {
        if let Some(device) = &mut self.device {
            device.stage = DeviceStage::Approved;
        }
        self.subject = Some(event.subject);
        self.authorization_details = event.authorization_details;
        self.session = Some(event.session);
        self.password_generation = event.password_generation;
        self.consent_withdrawals = event.consent_withdrawals;
        self.authentication = self.scope.contains(OPENID).then(|| {
            Box::new(Authentication {
                time: Some(event.auth_time),
                amr: event.amr,
                nonce: None,
                claims: Vec::new(),
                individual_claims: IndividualClaims::default(),
            })
        });
    }
}
