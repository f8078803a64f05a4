//! `/admin/users`: what `grantlog user` does. Users are named by their ids in paths, which are logged on the way; by their
//! login names only in a body.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::{JsonBody, PatchBody};
use super::endpoint::{About, Asked, Call, Operation, Rejected, operation};
use super::parameters::{Because, Id, MayBecause, Nothing, Page, PageQuery, Reason};
use super::scope::AdminScope;
use crate::clock::Timestamp;
use crate::domain::client::Client;
use crate::domain::user::{User, UserRefusal};
use crate::ids::SubjectId;
use crate::operations::OperationError;
use crate::operations::erasure::Inventory;
use crate::operations::legal_hold::StandingHold;
use crate::operations::profile::ProfilePatch;
use crate::operations::subject::is_pairwise;
use crate::operations::user::NewUser;
use crate::operations::user_shown::ShownUser;
use crate::projection::replay::NotBlanked;

/// How long the table of users is waited for after an erasure.
const TABLES_WITHIN: Duration = Duration::from_secs(5);

/// Which user.
#[derive(Deserialize, JsonSchema)]
struct Named {
    /// The subject's id.
    sub: Id,
}

/// A user in a list.
#[derive(Serialize, JsonSchema)]
struct ListedUser {
    #[serde(flatten)]
    user: ShownUser,
    /// The position of the registration; the next page begins after it.
    position: i64,
    /// When the user was registered.
    created_at: Timestamp,
}

/// A user to register.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Registration {
    /// The login name.
    username: String,
    /// The display name.
    #[serde(default)]
    name: Option<String>,
    /// The e-mail address.
    #[serde(default)]
    email: Option<String>,
    /// The password, 8 to 1024 characters; without one the user cannot log in until one is set.
    #[serde(default)]
    password: Option<String>,
    /// Further claims of OpenID Connect, by their names.
    #[serde(default)]
    claims: Map<String, Value>,
}

/// Claims of OpenID Connect, by their names; `name` and `email` among them.
#[derive(JsonSchema)]
struct Claims {
    #[schemars(flatten)]
    #[expect(dead_code, reason = "it only describes")]
    claims: Map<String, Value>,
}

/// Whom somebody looks for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lookup {
    /// The login name, or the subject's id; with `client` also the pairwise `sub` that the client knows.
    user: String,
    /// Answer with the `sub` that this client knows the user by: its id.
    #[serde(default)]
    client: Option<String>,
}

/// A user who was found.
#[derive(Serialize, JsonSchema)]
struct FoundUser {
    #[serde(flatten)]
    user: ShownUser,
    /// The `sub` that the client knows the user by; only where a client was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_sub: Option<String>,
}

/// A new password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// 8 to 1024 characters.
    password: String,
    /// Why; it is recorded.
    #[serde(default)]
    reason: Option<Reason>,
}

/// A legal hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Hold {
    /// Why; it is recorded, encrypted like the user's data.
    reason: Reason,
    /// When it ends by itself.
    #[serde(default)]
    until: Option<Timestamp>,
}

/// An erasure.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Erasure {
    /// Whether only to say what it would destroy, blank and end.
    dry_run: bool,
    /// Why, without naming the user: it is recorded in clear.
    #[serde(default)]
    reason: Option<Reason>,
}

/// What an erasure did, or would do.
#[derive(Serialize, JsonSchema)]
struct Erased {
    /// Whether nothing was done.
    dry_run: bool,
    /// Until when backups may hold the keys, where the setting `key_backup_days` says so.
    backups_hold_keys_until: Option<Timestamp>,
    /// The legal hold that keeps the user's data.
    legal_hold: Option<StandingHold>,
    /// Whether the table of users may still show the user, as it is behind the ledger: it is blanked when it gets there.
    tables_behind: bool,
    /// Replayed schemas that still show the user, since this server's role could not blank them.
    not_blanked: Vec<NotBlanked>,
    #[serde(flatten)]
    inventory: Inventory,
}

const ALL: &str = "/admin/users";
const ONE: &str = "/admin/users/{sub}";

const LIST: About = About::get(
    ALL,
    ("listUsers", "List users in the order of their registration"),
);
const CREATE: About = About::post(AdminScope::Configure, ALL, ("createUser", "Register a user")).creates();
const LOOKUP: About = About::post(
    AdminScope::Read,
    "/admin/users/lookup",
    ("lookupUser", "Find a user by login name or id"),
);
const SHOW: About = About::get(ONE, ("showUser", "Show a user"));
const UPDATE: About = About::patch(
    ONE,
    ("updateUser", "Change a user's name, e-mail address or claims"),
);
const SET_PASSWORD: About = About::post(
    AdminScope::Configure,
    "/admin/users/{sub}/set-password",
    (
        "setPassword",
        "Set a new password; every session and token of the user ends",
    ),
);
const DISABLE: About = About::post(
    AdminScope::Operate,
    "/admin/users/{sub}/disable",
    (
        "disableUser",
        "Let a user act no more; sessions and tokens end at once",
    ),
);
const ENABLE: About = About::post(
    AdminScope::Operate,
    "/admin/users/{sub}/enable",
    ("enableUser", "Let a user act again"),
);
const ERASE: About = About::post(
    AdminScope::Configure,
    "/admin/users/{sub}/erase",
    (
        "eraseUser",
        "Destroy the keys to everything that is stored of a user, for good",
    ),
);
const HOLD: About = About::post(
    AdminScope::Evidence,
    "/admin/users/{sub}/hold",
    (
        "holdUser",
        "Keep a user's data: it cannot be erased while the hold stands",
    ),
);
const RELEASE: About = About::post(
    AdminScope::Evidence,
    "/admin/users/{sub}/release",
    ("releaseUser", "End a legal hold"),
);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(LIST, list),
        operation(CREATE, create),
        operation(LOOKUP, lookup),
        operation(SHOW, show),
        operation(UPDATE, update),
        operation(SET_PASSWORD, set_password),
        operation(DISABLE, disable),
        operation(ENABLE, enable),
        operation(ERASE, erase),
        operation(HOLD, hold),
        operation(RELEASE, release),
    ]
}

async fn list(call: Call, asked: Asked<Nothing, PageQuery>) -> Result<Page<ListedUser>, Rejected> {
    let PageQuery { after, limit } = asked.query;
    let operations = call.operations();
    let mut users = Vec::new();
    for listed in operations.list::<User>(after, limit.0).await? {
        users.push(ListedUser {
            user: operations.shown_user(SubjectId(listed.loaded.id)).await?,
            position: listed.position,
            created_at: listed.created_at,
        });
    }
    Ok(Page::new(users, limit, |user| user.position))
}

async fn create(
    call: Call,
    asked: Asked<Nothing, Nothing, JsonBody<Registration>>,
) -> Result<ShownUser, Rejected> {
    let Registration {
        username,
        name,
        email,
        password,
        claims,
    } = asked.body.0;
    let further = ProfilePatch::read(claims)?;
    let user = NewUser {
        username,
        name,
        email,
        password,
    };
    let operations = call.operations();
    let subject = operations.create_user_with(&call.context, user, &further).await?;
    Ok(operations.shown_user(subject).await?)
}

async fn lookup(call: Call, asked: Asked<Nothing, Nothing, JsonBody<Lookup>>) -> Result<FoundUser, Rejected> {
    let Lookup { user, client } = asked.body.0;
    let operations = call.operations();
    let registration = match client {
        Some(client) => {
            let key = call.named_client(&client).await?;
            operations.load::<Client>(key.0).await?.registration.clone()
        }
        None => None,
    };
    let pairwise = match &registration {
        Some(registration) if is_pairwise(&user) => operations.find_subject(registration, &user).await?,
        Some(_) | None => None,
    };
    let known = match pairwise {
        Some(subject) => Some(subject),
        None => operations.known_user(&user).await?,
    };
    let subject = known.ok_or_else(|| call.missing("There is no user of this name or id."))?;
    call.looks_at_user(subject);
    let client_sub = registration.map(|registration| operations.subject_for(&registration, subject));
    let user = operations.shown_user(subject).await?;
    Ok(FoundUser { user, client_sub })
}

async fn show(call: Call, asked: Asked<Named>) -> Result<ShownUser, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    Ok(call.operations().shown_user(subject).await?)
}

async fn update(call: Call, asked: Asked<Named, Nothing, PatchBody<Claims>>) -> Result<ShownUser, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    let patch = ProfilePatch::read(asked.body.members)?;
    let operations = call.operations();
    operations.update_user(&call.context, subject, &patch).await?;
    Ok(operations.shown_user(subject).await?)
}

async fn set_password(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<NewPassword>>,
) -> Result<ShownUser, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    let NewPassword { password, reason } = asked.body.0;
    let context = call.because(reason.map(|reason| reason.0));
    let operations = call.operations();
    operations.set_password(&context, subject, password).await?;
    Ok(operations.shown_user(subject).await?)
}

async fn disable(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<ShownUser, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    let operations = call.operations();
    operations
        .disable_user(&call.context, subject, &asked.body.0.reason.0)
        .await?;
    Ok(operations.shown_user(subject).await?)
}

async fn enable(
    call: Call,
    asked: Asked<Named, Nothing, JsonBody<MayBecause>>,
) -> Result<ShownUser, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    let context = call.because(asked.body.0.reason.map(|reason| reason.0));
    let operations = call.operations();
    operations.enable_user(&context, subject).await?;
    Ok(operations.shown_user(subject).await?)
}

async fn erase(call: Call, asked: Asked<Named, Nothing, JsonBody<Erasure>>) -> Result<Erased, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    let Erasure { dry_run, reason } = asked.body.0;
    let operations = call.operations();
    let legal_hold = operations.standing_hold(subject).await?;
    if legal_hold.is_some() && !dry_run {
        return Err(OperationError::User(UserRefusal::LegalHold).into());
    }
    let reason = reason.map(|reason| reason.0);
    let inventory = operations.erasure_inventory(subject, reason.as_deref()).await?;
    let (mut tables_behind, mut not_blanked) = (false, Vec::new());
    if !dry_run {
        let context = call.because(reason);
        let erased = operations.erase_user(&context, subject).await?;
        tables_behind = !operations.wait_for_users(erased.position, TABLES_WITHIN).await?;
        not_blanked = erased.not_blanked;
    }
    let days = call.app.settings.key_backup_days;
    let now = call.app.ledger.clock().now();
    Ok(Erased {
        dry_run,
        backups_hold_keys_until: days.map(|days| now + chrono::TimeDelta::days(days.into())),
        legal_hold,
        tables_behind,
        not_blanked,
        inventory,
    })
}

async fn hold(call: Call, asked: Asked<Named, Nothing, JsonBody<Hold>>) -> Result<ShownUser, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    let Hold { reason, until } = asked.body.0;
    let operations = call.operations();
    operations
        .place_hold(&call.context, subject, &reason.0, until)
        .await?;
    Ok(operations.shown_user(subject).await?)
}

async fn release(call: Call, asked: Asked<Named, Nothing, JsonBody<Because>>) -> Result<ShownUser, Rejected> {
    let subject = call.user(asked.path.sub).await?;
    let operations = call.operations();
    operations
        .lift_hold(&call.context, subject, &asked.body.0.reason.0)
        .await?;
    Ok(operations.shown_user(subject).await?)
}
