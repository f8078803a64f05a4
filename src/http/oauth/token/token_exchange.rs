//! `grant_type=urn:ietf:params:oauth:grant-type:token-exchange`, RFC 8693: a token of this server for another one, of
//! the same subject and for another service, as far as a rule of the requesting client lets it.

use super::super::{ClientRequest, authorization_details, resource, rounds, standing};
use super::presented_token::{PresentedToken, TokenType};
use super::{Place, Randoms, TokenResponse, allowed, parameter_scope, unexpected};
use crate::app::App;
use crate::domain::authorization_detail::{AskedDetails, Selection};
use crate::domain::client::{ExchangeMode, ExchangeRule, GrantType, TokenFormat};
use crate::domain::grant::{ActiveToken, Exchange, Grant, Outcome};
use crate::domain::refusal::RefusalReason;
use crate::domain::user::User;
use crate::http::client_auth::AuthenticatedClient;
use crate::http::error::{Rejection, TokenError};
use crate::ids::GrantId;
use crate::ledger::{LedgerError, UnitOfWork};
use crate::operations::authorization_detail::Holder;

/// The most `audience` and `resource` parameters together.
const MAX_TARGETS: usize = 20;

/// What a request presents.
struct Tokens {
    subject: Result<PresentedToken, RefusalReason>,
    actor: Option<Result<PresentedToken, RefusalReason>>,
    requested: TokenType,
}

pub(super) async fn exchange(
    app: &App,
    request: &ClientRequest,
) -> Result<TokenResponse, Rejection<TokenError>> {
    let tokens = read(app, request).await?;
    let randoms = Randoms::new(app)?;
    let mut unit = app.ledger.unit_of_work(&request.context);
    let response = rounds!(unit, round(app, request, &mut unit, (&tokens, &randoms)))?;
    Ok(response.issued_as(tokens.requested.name()))
}

fn refused(reason: RefusalReason) -> Rejection<TokenError> {
    Rejection::new(TokenError::InvalidRequest, reason)
}

/// RFC 8693 §2.1: the tokens and their types.
async fn read(app: &App, request: &ClientRequest) -> Result<Tokens, Rejection<TokenError>> {
    let requested = match request.form.get("requested_token_type").map(TokenType::named) {
        None => TokenType::AccessToken,
        Some(Some(requested @ (TokenType::AccessToken | TokenType::Jwt))) => requested,
        Some(Some(TokenType::IdToken) | None) => {
            return Err(refused(RefusalReason::RequestedTypeUnsupported));
        }
    };
    let subject = request.required("subject_token")?;
    let subject_type = token_type(request.required("subject_token_type")?)?;
    let actor = match (
        request.form.get("actor_token"),
        request.form.get("actor_token_type"),
    ) {
        (None, None) => None,
        (None, Some(_)) => return Err(refused(RefusalReason::TokenTypeUnsupported)),
        (Some(token), _) => {
            let actor_type = token_type(request.required("actor_token_type")?)?;
            let actor = PresentedToken::read(app, actor_type, token).await?;
            Some(actor.ok_or(RefusalReason::ActorTokenInactive))
        }
    };
    Ok(Tokens {
        subject: PresentedToken::read(app, subject_type, subject)
            .await?
            .ok_or(RefusalReason::SubjectTokenInactive),
        actor,
        requested,
    })
}

fn token_type(name: &str) -> Result<TokenType, Rejection<TokenError>> {
    TokenType::named(name).ok_or(refused(RefusalReason::TokenTypeUnsupported))
}

async fn round(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    (tokens, randoms): (&Tokens, &Randoms),
) -> Result<Option<TokenResponse>, Rejection<TokenError>> {
    let client = request.authenticate(app, unit).await?;
    permitted(app, unit, &client).await?;
    if tokens.requested == TokenType::Jwt
        && client.registration.metadata.access_token_format != TokenFormat::Jwt
    {
        return Err(refused(RefusalReason::RequestedTypeUnsupported).client(client.key));
    }
    proven(request, &client, tokens)?;
    let (subject, actor) = active(unit, &client, tokens).await?;
    unit.about(subject.subject);
    let about = |rejection: Rejection<TokenError>| {
        let (grant, user) = (subject.token.grant, subject.subject);
        rejection.client(client.key).grant(grant, user)
    };
    let mut command = command(app, request, unit, (&client, subject.clone(), actor), randoms)
        .await
        .map_err(about)?;
    let id = GrantId(
        app.ledger
            .random()
            .uuid_at(command.at)
            .map_err(LedgerError::from)?,
    );
    command.details = details(app, request, unit, (&client, &subject), tokens)
        .await
        .map_err(about)?;
    let holder = subject
        .subject
        .map_or(Holder::Client(client.key), Holder::Subject);
    let asked = command.details.asked.as_deref().unwrap_or_default();
    command.sealed = app.operations.seal_details(id, holder, asked).await?;
    // Proven above: what is bound to a key stays bound to it.
    let bound = tokens.subject.as_ref().ok().and_then(|token| token.confirmation);
    command.mint.confirmation = command.mint.confirmation.or(bound);
    let grant = unit.create::<Grant>(id.0);
    let Some(concluded) = unit.conclude(&grant, grant.exchange(&command)).await? else {
        return Ok(None);
    };
    let place = Place::of(&grant, concluded.first_own);
    match concluded.outcome {
        Ok(Outcome::Tokens(issued)) => {
            TokenResponse::new(app, &client.registration, place, &issued, randoms).map(Some)
        }
        Ok(Outcome::Code | Outcome::Answered | Outcome::Imported | Outcome::Revoked) => Err(unexpected()),
        Err(refusal) => Err(about(Rejection::from(refusal))),
    }
}

/// RFC 8693 §5: who acts for others must authenticate.
async fn permitted(
    app: &App,
    unit: &mut UnitOfWork<'_>,
    client: &AuthenticatedClient,
) -> Result<(), Rejection<TokenError>> {
    if client.registration.metadata.is_public() {
        let rejection = Rejection::new(TokenError::UnauthorizedClient, RefusalReason::PublicClient);
        return Err(rejection.client(client.key));
    }
    allowed(app, unit, client, GrantType::TokenExchange).await
}

/// A token that is bound to a key is exchanged by whoever proves to hold it: it would be rid of it otherwise.
fn proven(
    request: &ClientRequest,
    client: &AuthenticatedClient,
    tokens: &Tokens,
) -> Result<(), Rejection<TokenError>> {
    let presented = [Some(&tokens.subject), tokens.actor.as_ref()];
    let mut presented = presented.into_iter().flatten().flatten();
    let is_proven = presented.all(|token| token.confirmation.is_none_or(|key| request.proves(key)));
    let unproven = || refused(RefusalReason::TokenKeyUnproven).client(client.key);
    is_proven.then_some(()).ok_or_else(unproven)
}

/// Both tokens, as they stand now.
async fn active(
    unit: &mut UnitOfWork<'_>,
    client: &AuthenticatedClient,
    tokens: &Tokens,
) -> Result<(ActiveToken, Option<ActiveToken>), Rejection<TokenError>> {
    let inactive = |reason| refused(reason).client(client.key);
    let presented = tokens.subject.as_ref().map_err(|reason| inactive(*reason))?;
    let subject = presented.active(unit).await?;
    let subject = subject.ok_or_else(|| inactive(RefusalReason::SubjectTokenInactive))?;
    let Some(presented) = &tokens.actor else {
        return Ok((subject, None));
    };
    let presented = presented.as_ref().map_err(|reason| inactive(*reason))?;
    let actor = presented.active(unit).await?;
    let actor = actor.ok_or_else(|| inactive(RefusalReason::ActorTokenInactive))?;
    // Whoever got hold of somebody's token would be that actor otherwise.
    if actor.token.client != client.key {
        return Err(refused(RefusalReason::ActorOtherClient).client(client.key));
    }
    Ok((subject, Some(actor)))
}

/// The rule for these tokens. An actor token asks for delegation. Without one it is impersonation where that is
/// allowed, and otherwise the client itself is the actor.
fn rule<'a>(
    client: &'a AuthenticatedClient,
    subject: &ActiveToken,
    actor: Option<&ActiveToken>,
) -> Result<&'a ExchangeRule, Rejection<TokenError>> {
    let of = |mode| client.registration.exchange_rule(subject.token.client, mode);
    let delegation = of(ExchangeMode::Delegation);
    let rule = match actor {
        Some(_) => delegation,
        None => of(ExchangeMode::Impersonation).or(delegation),
    };
    rule.ok_or(refused(RefusalReason::ExchangeNotAllowed))
}

async fn command(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    (client, subject, actor): (&AuthenticatedClient, ActiveToken, Option<ActiveToken>),
    randoms: &Randoms,
) -> Result<Exchange, Rejection<TokenError>> {
    let registration = &client.registration;
    let rule = rule(client, &subject, actor.as_ref())?.clone();
    let password_generation = match subject.subject {
        None => 0,
        Some(user) if registration.metadata.serves(user) => {
            unit.load::<User>(user.0).await?.password_generation
        }
        Some(_) => return Err(refused(RefusalReason::ClientNotLive)),
    };
    let client_scope = standing::allowed_scope(unit, registration, &rule.scope).await?;
    let audience = targets(request)?;
    let mut mint = randoms.mint(
        registration,
        GrantType::TokenExchange,
        request.confirmation(client)?,
    );
    mint.refresh = None;
    Ok(Exchange {
        client: client.key,
        client_id: registration.client_id.clone(),
        client_version: u64::try_from(client.loaded.sequence).unwrap_or_default(),
        rule,
        subject,
        actor,
        scope: parameter_scope(request)?,
        audience,
        details: AskedDetails::default(),
        sealed: None,
        client_scope,
        client_audience: registration.metadata.audience_or(&app.settings.issuer),
        password_generation,
        mint,
        at: unit.at(),
    })
}

/// The subject token's authorization details, and what is asked for of them; an ID token stands for all of its grant. A type
/// that one of the clients that it came through may no longer have is in no new token.
async fn details(
    app: &App,
    request: &ClientRequest,
    unit: &mut UnitOfWork<'_>,
    (client, subject): (&AuthenticatedClient, &ActiveToken),
    tokens: &Tokens,
) -> Result<AskedDetails, Rejection<TokenError>> {
    let asked = authorization_details::parameter(request)?;
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok(AskedDetails::default());
    };
    let presented = tokens
        .subject
        .as_ref()
        .ok()
        .and_then(|token| token.details.clone());
    let granted = if let Some(details) = presented {
        details
    } else {
        let grant = unit.load::<Grant>(subject.token.grant.0).await?;
        authorization_details::of_grant(app, unit, client, (&grant, None))
            .await?
            .granted
    };
    let mut allowed = authorization_details::allowed_types(unit, &client.registration, &granted).await?;
    let mut through = vec![subject.token];
    if let Some(lineage) = &subject.lineage {
        through.extend(&lineage.subjects);
    }
    authorization_details::keep_types_of_tokens(unit, &mut allowed, &through).await?;
    // In the order of the granted ones; what is not within them stays, and is refused.
    let asked = Selection::asked(&granted, &asked).map_or(asked, |selection| selection.apply(&granted));
    Ok(AskedDetails {
        granted,
        asked: Some(asked),
        allowed,
    })
}

/// RFC 8693 §2.1: services by URI (`resource`) and by name (`audience`); none where neither is there.
fn targets(request: &ClientRequest) -> Result<Option<Vec<String>>, Rejection<TokenError>> {
    let invalid = |reason| Rejection::new(TokenError::InvalidTarget, reason);
    let mut targets = resource::requested(&request.form)
        .map_err(invalid)?
        .unwrap_or_default();
    for name in request.form.all("audience") {
        if !targets.iter().any(|known| known == name) {
            targets.push(name.to_owned());
        }
    }
    if targets.len() > MAX_TARGETS {
        return Err(invalid(RefusalReason::ResourceMalformed));
    }
    Ok((!targets.is_empty()).then_some(targets))
}
