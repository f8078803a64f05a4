//! Laravel Passport's tables, as versions 7 to 13 have them.

use super::record::{ClientRow, ClientSecret, Place, Read, UserPassword, UserRow, grant_type};
use super::table::Row;
use super::{Options, record};
use crate::clock::Timestamp;
use crate::domain::client::GrantType;
use crate::domain::value::Digest;

pub(super) const CLIENTS: &str = "oauth_clients";
pub(super) const ACCESS_TOKENS: &str = "oauth_access_tokens";
pub(super) const REFRESH_TOKENS: &str = "oauth_refresh_tokens";
pub(super) const USERS: &str = "users";

/// `oauth_clients`. Versions before 13 have `redirect`, `personal_access_client` and `password_client`; version 13
/// has `redirect_uris` and `grant_types`.
pub(super) fn client(row: &Row, options: &Options) -> Read<ClientRow> {
    let place = place(row, row.get("id").unwrap_or_default());
    let refuse = |reason: String| (place.clone(), reason);
    let id = required(row, "id").map_err(refuse)?.to_owned();
    if row.flag("revoked").map_err(refuse)? {
        return Err(refuse("it is revoked".to_owned()));
    }
    if let Some(provider) = row.get("provider").filter(|provider| *provider != "users") {
        return Err(refuse(format!(
            "its users are those of the provider {provider}, not of the table users"
        )));
    }
    let form = options.client_secrets.unwrap_or(record::SecretForm::Auto);
    let secret = ClientSecret::read(row.get("secret"), form).map_err(refuse)?;
    let mut notes = Vec::new();
    let uris = if row.get("redirect_uris").is_some() {
        "redirect_uris"
    } else {
        "redirect"
    };
    let redirect_uris = row.list(uris, &[',']).map_err(refuse)?;
    let confidential = !matches!(secret, ClientSecret::None);
    let grant_types = match row.get("grant_types") {
        Some(_) => stated(row, &mut notes).map_err(refuse)?,
        None => implied(row, confidential, &redirect_uris).map_err(refuse)?,
    };
    if grant_types.is_empty() {
        return Err(refuse(
            "it issues tokens by no grant that is known here (a personal access client does so in PHP)"
                .to_owned(),
        ));
    }
    let by_password =
        grant_types.contains(&GrantType::Password) && !grant_types.contains(&GrantType::AuthorizationCode);
    Ok(ClientRow {
        client_id: id.clone(),
        name: row.get("name").unwrap_or("Imported client").to_owned(),
        secret,
        redirect_uris,
        flow: if by_password {
            GrantType::Password
        } else {
            GrantType::AuthorizationCode
        },
        grant_types,
        owner: row.get("user_id").or(row.get("owner_id")).map(str::to_owned),
        is_live: true,
        pages: [None, None, None],
        notes,
        id,
        place,
    })
}

fn stated(row: &Row, notes: &mut Vec<String>) -> Result<Vec<GrantType>, String> {
    let mut known = Vec::new();
    for name in row.list("grant_types", &[','])? {
        match grant_type(&name) {
            Some(kind) => known.push(kind),
            None => notes.push(format!("without the grant type {name}, which is not known here")),
        }
    }
    if known == [GrantType::RefreshToken] {
        known.clear();
    }
    Ok(known)
}

fn implied(row: &Row, confidential: bool, redirect_uris: &[String]) -> Result<Vec<GrantType>, String> {
    let mut kinds = Vec::new();
    if row.flag("password_client")? {
        kinds.extend([GrantType::Password, GrantType::RefreshToken]);
    } else if !row.flag("personal_access_client")? {
        if !redirect_uris.is_empty() {
            kinds.extend([GrantType::AuthorizationCode, GrantType::RefreshToken]);
        }
        if confidential {
            kinds.push(GrantType::ClientCredentials);
        }
    }
    Ok(kinds)
}

/// `users`: the e-mail address is the login name, unless there is a column `username`.
pub(super) fn user(row: &Row, options: &Options) -> Read<UserRow> {
    let place = place(row, row.get("id").unwrap_or_default());
    let refuse = |reason: String| (place.clone(), reason);
    let id = required(row, "id").map_err(refuse)?.to_owned();
    if row.get("deleted_at").is_some() {
        return Err(refuse("it is deleted".to_owned()));
    }
    let email = row.get("email").map(|email| email.trim().to_owned());
    let username = row
        .get("username")
        .map(str::to_owned)
        .or_else(|| email.clone())
        .ok_or_else(|| refuse("it has neither an e-mail address nor a user name".to_owned()))?;
    let mut notes = Vec::new();
    let password = UserPassword::read(row.get("password"), options.plain_passwords, &mut notes);
    Ok(UserRow {
        id,
        username,
        name: row.get("name").map(str::to_owned),
        email,
        password,
        notes,
        place,
    })
}

/// A live row of `oauth_refresh_tokens`, before its access token is known.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct RefreshRow {
    pub(super) place: Place,
    pub(super) digest: Digest,
    pub(super) access: Digest,
    pub(super) expires_at: Timestamp,
}

pub(super) fn refresh_token(row: &Row, options: &Options, now: Timestamp) -> Read<RefreshRow> {
    let place = place(row, &record::shortened(row.get("id").unwrap_or_default()));
    let refuse = |reason: String| (place.clone(), reason);
    let id = required(row, "id").map_err(refuse)?;
    let access = required(row, "access_token_id").map_err(refuse)?;
    if row.flag("revoked").map_err(refuse)? {
        return Err(refuse("it is revoked".to_owned()));
    }
    let expires_at = row
        .time("expires_at", options.utc_offset)
        .map_err(refuse)?
        .ok_or_else(|| refuse("it has no expires_at".to_owned()))?;
    if expires_at <= now {
        return Err(refuse("it has expired".to_owned()));
    }
    Ok(RefreshRow {
        digest: Digest::of(id.as_bytes()),
        access: Digest::of(access.as_bytes()),
        expires_at,
        place,
    })
}

/// What a refresh token's access token says.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct AccessRow {
    pub(super) id: Digest,
    pub(super) client: String,
    pub(super) user: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) revoked: bool,
}

pub(super) fn access_token(row: &Row) -> Read<AccessRow> {
    let place = place(row, &record::shortened(row.get("id").unwrap_or_default()));
    let refuse = |reason: String| (place.clone(), reason);
    Ok(AccessRow {
        id: Digest::of(required(row, "id").map_err(refuse)?.as_bytes()),
        client: required(row, "client_id").map_err(refuse)?.to_owned(),
        user: row.get("user_id").map(str::to_owned),
        scopes: row.list("scopes", &[' ', ',']).map_err(refuse)?,
        revoked: row.flag("revoked").map_err(refuse)?,
    })
}

pub(super) fn place(row: &Row, id: &str) -> Place {
    Place {
        row: row.number,
        id: id.to_owned(),
    }
}

/// A value that must be there, of a row that is one.
pub(super) fn required<'a>(row: &'a Row, column: &str) -> Result<&'a str, String> {
    if let Some(problem) = row.malformed() {
        return Err(problem.to_owned());
    }
    row.get(column).ok_or_else(|| format!("it has no {column}"))
}
