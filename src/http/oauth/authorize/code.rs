//! Issuing the code (RFC 6749 §4.1.2): the consent, if it is given now, and the code are one append, which
//! passes only if client, user, session, scopes and consent are by then as they were seen.

use axum::response::Response;
use chrono::TimeDelta;

use super::error::AuthorizeError;
use super::request::{AuthorizationRequest, Target};
use super::visit::Visit;
use crate::clock::Timestamp;
use crate::credential::{self, Address, Kind};
use crate::domain::consent::{Consent, ConsentCommand};
use crate::domain::grant::{CodeIssued, Grant};
use crate::domain::refusal::RefusalReason;
use crate::domain::value::Digest;
use crate::http::error::Rejection;
use crate::http::oauth::{authorization_details, standing};
use crate::http::oidc::userinfo;
use crate::http::session::LiveSession;
use crate::ids::GrantId;
use crate::ledger::{LedgerError, Loaded, UnitOfWork};
use crate::operations::authorization_detail::Holder;

/// What a code rests on.
#[derive(Clone, Copy)]
pub(super) struct Granting<'a> {
    pub(super) target: &'a Target,
    pub(super) request: &'a AuthorizationRequest,
    pub(super) live: &'a LiveSession,
    pub(super) consent: &'a Loaded<Consent>,
    /// Whether the user has just approved.
    pub(super) consents_now: bool,
}

/// Issues a code and sends it to the client. None: something had moved, decide again.
pub(super) async fn issue(
    visit: &Visit,
    unit: &mut UnitOfWork<'_>,
    granting: Granting<'_>,
) -> Result<Option<Response>, Rejection<AuthorizeError>> {
    let (app, at) = (&visit.app, unit.at());
    let random: [u8; 32] = app.ledger.random().bytes().map_err(LedgerError::from)?;
    let id = app.ledger.random().uuid_at(at).map_err(LedgerError::from)?;
    unit.about(Some(granting.live.login.subject));
    if granting.consents_now {
        give_consent(visit, unit, &granting).await?;
    }
    let grant = unit.create::<Grant>(id);
    let mut event = granting.code_issued(visit, credential::digest(Kind::Code, &random), at);
    let holder = Holder::Subject(granting.live.login.subject);
    let details = authorization_details::details(&granting.request.details);
    event.authorization_details = app.operations.seal_details(GrantId(id), holder, &details).await?;
    if granting.target.back.mode.is_signed() {
        standing::may_sign(app, unit, granting.target.back.algorithm.key()).await?;
    }
    // As late as can be, and before the code is durable: of several answers at once one has a code.
    if !visit.is_first_answer().await? {
        return Err(Rejection::new(
            AuthorizeError::InvalidRequestUri,
            RefusalReason::RequestUriUnknown,
        ));
    }
    let Some(concluded) = unit.conclude(&grant, grant.issue_code(&event)).await? else {
        return Ok(None);
    };
    concluded.outcome?;
    let address = Address {
        grant: GrantId(id),
        sequence: 1,
    };
    let key = app.ledger.vault().master().address_key();
    let code = credential::format(Kind::Code, key, address, &random);
    Ok(Some(granting.target.back.code(
        app,
        visit.origin.presentation,
        &code,
    )))
}

/// Writes the consent where it adds something, or where the client had the user asked again.
async fn give_consent(
    visit: &Visit,
    unit: &mut UnitOfWork<'_>,
    granting: &Granting<'_>,
) -> Result<(), LedgerError> {
    let Granting {
        target,
        request,
        live,
        consent,
        ..
    } = *granting;
    let subject = live.login.subject;
    let details = authorization_details::details(&request.details);
    let new_details = visit
        .app
        .operations
        .seal_unconsented((subject, target.key), consent, &details)
        .await?;
    let terms = request.terms(target);
    let adds = new_details.is_some() || !consent.allows(&terms);
    if !adds && !request.prompt.consent {
        return Ok(());
    }
    let command = ConsentCommand::Give {
        subject,
        client: target.key,
        terms,
        authorization_details: new_details,
        at: unit.at(),
    };
    unit.also(consent, &consent.decide(&command).events)
}

impl Granting<'_> {
    fn code_issued(&self, visit: &Visit, digest: Digest, at: Timestamp) -> CodeIssued {
        let Self {
            target,
            request,
            live,
            consent,
            ..
        } = *self;
        let individual_claims = &request.openid.individual_claims;
        let settings = &visit.app.settings;
        let code_lifetime = target.registration.metadata.code_lifetime(settings.code_lifetime);
        // After the narrowing to the resources that were asked for: `openid` opens UserInfo whatever they are.
        let audience = userinfo::audience(settings, &request.scope, request.audience.clone());
        CodeIssued {
            client: target.key,
            subject: live.login.subject,
            session: Some(live.id),
            auth_time: Some(live.login.authenticated_at),
            amr: Some(live.login.amr.clone()),
            nonce: request.openid.nonce.clone(),
            id_token_claims: request.openid.id_token_claims(&request.scope),
            individual_claims: (!individual_claims.is_empty()).then(|| individual_claims.clone()),
            scope: request.scope.clone(),
            audience,
            authorization_details: None,
            digest,
            redirect_uri: target.back.redirect_uri.clone(),
            redirect_uri_required: target.redirect_uri_given,
            challenge: request.challenge.clone(),
            confirmation: request.confirmation,
            management: request.management,
            password_generation: live.user.password_generation,
            consent_withdrawals: consent.withdrawals,
            issued_at: at,
            expires_at: at + TimeDelta::seconds(i64::from(code_lifetime)),
            grant_expires_at: at + TimeDelta::days(i64::from(settings.grant_lifetime_days)),
        }
    }
}
