//! The parameter `authorization_details`, RFC 9396: what a client asks for where the word of a scope says too little.

use super::ClientRequest;
use crate::app::App;
use crate::domain::authorization_detail::{
    self, AllowedTypes, AskedDetails, AuthorizationDetailType, Detail, Schema, ShownDetail,
};
use crate::domain::client::{Client, Registration};
use crate::domain::grant::{Basis, Family, Grant, TokenRef};
use crate::domain::refusal::RefusalReason;
use crate::domain::trusted_issuer::TrustedIssuer;
use crate::domain::value::Sealed;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::error::{Rejection, TokenError, WireError};
use crate::http::form::Form;
use crate::ids::GrantId;
use crate::ledger::{LedgerError, Loaded, UnitOfWork};
use crate::operations::authorization_detail::Holder;

/// The parameter.
pub(super) const PARAMETER: &str = "authorization_details";

/// A detail that the client may ask for, and how people are shown it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) detail: Detail,
    pub(super) shown: ShownDetail,
    /// Whether the user is asked about it whatever was allowed before.
    pub(super) each_time: bool,
}

/// The details alone.
pub(super) fn details(asked: &[Asked]) -> Vec<Detail> {
    asked.iter().map(|one| one.detail.clone()).collect()
}

/// What is wrong with authorization details, in fixed words for the client's developer.
pub(super) fn what(reason: RefusalReason) -> &'static str {
    #[expect(clippy::wildcard_enum_match_arm, reason = "reasons of this module")]
    match reason {
        RefusalReason::DetailTypeUnknown => {
            "An authorization detail is of a type that this server does not know."
        }
        RefusalReason::DetailTypeNotAllowed => {
            "An authorization detail is of a type that the client is not registered for."
        }
        RefusalReason::DetailInvalid => {
            "An authorization detail has a member that its type does not know, lacks one, or has a value that is not allowed."
        }
        RefusalReason::DetailLocationNotAllowed => {
            "An authorization detail is for a location that its type does not have or that is not in the client's audience."
        }
        _ => {
            "The authorization_details are not a JSON array of at most 20 objects with a type, have more than 8192 bytes or 8 levels, or have a detail or a member twice, an integer beyond 2^53, a fraction of more than 15 digits, or a character that is not shown."
        }
    }
}

/// What the parameter asks for, by its form alone; none where it is not there.
pub(super) fn read(form: &Form) -> Result<Option<Vec<Detail>>, RefusalReason> {
    let parsed = form.get(PARAMETER).map(authorization_detail::parse).transpose();
    parsed.map_err(|_| RefusalReason::DetailsMalformed)
}

/// Whether the parameter asks for anything.
pub(super) fn are_asked_for(form: &Form) -> bool {
    read(form).is_ok_and(|asked| asked.is_some_and(|asked| !asked.is_empty()))
}

/// What a request for a new grant asks for: each of a type that is defined and the client's, as its schema has it (RFC 9396
/// §5), and for resource servers that the client may have tokens for.
pub(super) async fn requested<E: WireError>(
    unit: &mut UnitOfWork<'_>,
    form: &Form,
    (client, audience): (&Registration, &[String]),
    refuse: impl Fn(RefusalReason) -> Rejection<E>,
) -> Result<Vec<Asked>, Rejection<E>> {
    let mut asked = Vec::new();
    for detail in read(form).map_err(&refuse)?.unwrap_or_default() {
        let name = detail.type_name().to_owned();
        let known = unit
            .load::<AuthorizationDetailType>(AuthorizationDetailType::id(&name))
            .await?;
        let definition = known
            .grantable()
            .filter(|known| known.name == name)
            .ok_or_else(|| refuse(RefusalReason::DetailTypeUnknown))?;
        if !client.metadata.authorization_details_types.contains(&name) {
            return Err(refuse(RefusalReason::DetailTypeNotAllowed));
        }
        let terms = &definition.terms;
        // A schema was read before it was defined.
        if !Schema::parse(&terms.schema).is_ok_and(|schema| schema.accepts(&detail)) {
            return Err(refuse(RefusalReason::DetailInvalid));
        }
        if !detail.is_within(&terms.resources, audience) {
            return Err(refuse(RefusalReason::DetailLocationNotAllowed));
        }
        let shown = ShownDetail::of(&detail, Some(terms));
        asked.push(Asked {
            detail,
            shown,
            each_time: terms.asked_each_time,
        });
    }
    Ok(asked)
}

/// Which types of these details the client may have now: registered for them, defined, not retired. Each becomes a
/// precondition.
pub(super) async fn allowed_types(
    unit: &mut UnitOfWork<'_>,
    client: &Registration,
    details: &[Detail],
) -> Result<AllowedTypes, LedgerError> {
    let mut allowed = AllowedTypes::new();
    for name in details.iter().map(Detail::type_name) {
        let registered = client
            .metadata
            .authorization_details_types
            .iter()
            .any(|one| one == name);
        if !registered || allowed.contains_key(name) {
            continue;
        }
        let known = unit
            .load::<AuthorizationDetailType>(AuthorizationDetailType::id(name))
            .await?;
        if let Some(known) = known.grantable() {
            allowed.insert(name.to_owned(), known.terms.resources.clone());
        }
    }
    Ok(allowed)
}

/// The parameter of a token request.
pub(super) fn parameter(request: &ClientRequest) -> Result<Option<Vec<Detail>>, Rejection<TokenError>> {
    read(&request.form).map_err(|reason| Rejection::new(TokenError::InvalidAuthorizationDetails, reason))
}

/// A grant's details, and what the token request wants of them.
pub(super) async fn of_grant(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    client: &AuthenticatedClient,
    (grant, asked): (&Loaded<Grant>, Option<Vec<Detail>>),
) -> Result<AskedDetails, LedgerError> {
    let granted = match grant.family.as_deref() {
        Some(family) => app.operations.details_of(GrantId(grant.id), family).await?,
        None => Vec::new(),
    };
    Ok(AskedDetails {
        allowed: allowed_types(unit, &client.registration, &granted).await?,
        granted,
        asked,
    })
}

/// What a token request asks for that begins a grant without a user's answer (RFC 9396 §5): for these resource servers, and
/// sealed for that grant.
pub(super) async fn of_new_grant(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    (request, client): (&ClientRequest, &AuthenticatedClient),
    audience: &[String],
    (grant, holder): (GrantId, Holder),
) -> Result<Option<(Vec<Detail>, Sealed)>, Rejection<TokenError>> {
    let refuse = |reason| Rejection::new(TokenError::InvalidAuthorizationDetails, reason).client(client.key);
    let asked = (&*client.registration, audience);
    let asked = requested(unit, &request.form, asked, refuse).await?;
    let details = details(&asked);
    let sealed = app.operations.seal_details(grant, holder, &details).await?;
    Ok(sealed.map(|sealed| (details, sealed)))
}

/// Leaves the types that the client of this grant may have, and the trust that it came of.
async fn keep_types_of(
    unit: &mut UnitOfWork<'_>,
    allowed: &mut AllowedTypes,
    family: &Family,
) -> Result<(), LedgerError> {
    let client = unit.load::<Client>(family.client.0).await?;
    let registered = client
        .active()
        .map(|client| &client.metadata.authorization_details_types);
    allowed.retain(|name, _| registered.is_some_and(|types| types.contains(name)));
    if let Some(Basis::Trust(issuer)) = family.basis.as_deref() {
        let trusted = unit.load::<TrustedIssuer>(issuer.0).await?;
        let trust = trusted.trust_for(family.client);
        allowed.retain(|name, _| trust.is_some_and(|trust| trust.authorization_details_types.contains(name)));
    }
    Ok(())
}

/// Leaves the types that the grants of all these tokens may have.
pub(super) async fn keep_types_of_tokens(
    unit: &mut UnitOfWork<'_>,
    allowed: &mut AllowedTypes,
    tokens: &[TokenRef],
) -> Result<(), LedgerError> {
    for token in tokens {
        let grant = unit.load::<Grant>(token.grant.0).await?;
        match grant.family.as_deref() {
            Some(family) => keep_types_of(unit, allowed, family).await?,
            None => allowed.clear(),
        }
    }
    Ok(())
}

/// What of a token's details may be used now by the client of its grant and all that the grant rests on, as far as they are
/// for these resource servers (RFC 9396 §9.2); all of them where none are named.
pub(super) async fn usable(
    unit: &mut UnitOfWork<'_>,
    (client, family): (&Registration, &Family),
    details: &[Detail],
    audience: Option<&[String]>,
) -> Result<Vec<Detail>, LedgerError> {
    let mut allowed = allowed_types(unit, client, details).await?;
    if !allowed.is_empty() {
        keep_types_of(unit, &mut allowed, family).await?;
        if let Some(Basis::Tokens(lineage)) = family.basis.as_deref() {
            keep_types_of_tokens(unit, &mut allowed, &lineage.subjects).await?;
        }
    }
    let is_usable = |detail: &&Detail| {
        let resources = allowed.get(detail.type_name());
        resources.is_some_and(|resources| audience.is_none_or(|audience| detail.is_for(resources, audience)))
    };
    Ok(details.iter().filter(is_usable).cloned().collect())
}
