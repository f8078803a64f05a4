//! The five-table server: `users`, `clients`, `client_access_tokens`, `client_refresh_tokens`,
//! `client_authorization_codes`.

use super::Options;
use super::passport::{place, required};
use super::record::{ClientRow, ClientSecret, Read, SecretForm, TokenRow, UserPassword, UserRow, grant_type};
use super::table::Row;
use crate::clock::Timestamp;
use crate::domain::client::GrantType;
use crate::domain::value::Digest;

pub(super) const CLIENTS: &str = "clients";
pub(super) const ACCESS_TOKENS: &str = "client_access_tokens";
pub(super) const REFRESH_TOKENS: &str = "client_refresh_tokens";
pub(super) const CODES: &str = "client_authorization_codes";
pub(super) const USERS: &str = "users";

/// `clients`.
pub(super) fn client(row: &Row, options: &Options) -> Read<ClientRow> {
    let place = place(row, row.get("id").unwrap_or_default());
    let refuse = |reason: String| (place.clone(), reason);
    let id = required(row, "id").map_err(refuse)?.to_owned();
    let client_id = required(row, "client_id").map_err(refuse)?.to_owned();
    let form = options.client_secrets.unwrap_or(SecretForm::Plain);
    let secret = ClientSecret::read(row.get("client_secret"), form).map_err(refuse)?;
    let redirect_uris = row.list("redirect_uri", &[',', ' ']).map_err(refuse)?;
    let page = |column: &str| row.get(column).map(str::to_owned);
    Ok(ClientRow {
        name: row.get("name").unwrap_or(&client_id).to_owned(),
        client_id,
        secret,
        redirect_uris,
        grant_types: Vec::new(),
        flow: GrantType::AuthorizationCode,
        owner: row.get("user_id").map(str::to_owned),
        is_live: row.flag("is_live").map_err(refuse)?,
        pages: [
            page("home_page_url"),
            page("logo_url"),
            page("privacy_policy_url"),
        ],
        notes: Vec::new(),
        id,
        place,
    })
}

/// `users`.
pub(super) fn user(row: &Row, options: &Options) -> Read<UserRow> {
    let place = place(row, row.get("id").unwrap_or_default());
    let refuse = |reason: String| (place.clone(), reason);
    let id = required(row, "id").map_err(refuse)?.to_owned();
    let username = required(row, "username").map_err(refuse)?.to_owned();
    let mut notes = Vec::new();
    let password = UserPassword::read(row.get("password"), options.plain_passwords, &mut notes);
    Ok(UserRow {
        id,
        username,
        name: row.get("name").map(str::to_owned),
        email: row.get("email").map(str::to_owned),
        password,
        notes,
        place,
    })
}

/// `client_refresh_tokens`: says itself what it stands for.
pub(super) fn refresh_token(row: &Row, options: &Options, now: Timestamp) -> Read<TokenRow> {
    let place = place(row, row.get("id").unwrap_or_default());
    let refuse = |reason: String| (place.clone(), reason);
    let token = required(row, "refresh_token").map_err(refuse)?;
    if !(super::SHORTEST_TOKEN..=super::LONGEST_TOKEN).contains(&token.len()) {
        return Err(refuse(format!(
            "its refresh_token has not {} to {} characters",
            super::SHORTEST_TOKEN,
            super::LONGEST_TOKEN
        )));
    }
    let expires_at = row
        .time("expired_at", options.utc_offset)
        .map_err(refuse)?
        .ok_or_else(|| refuse("it has no expired_at".to_owned()))?;
    if expires_at <= now {
        return Err(refuse("it has expired".to_owned()));
    }
    Ok(TokenRow {
        digest: Digest::of(token.as_bytes()),
        client: required(row, "client_id").map_err(refuse)?.to_owned(),
        user: row.get("user_id").map(str::to_owned),
        scopes: row.list("scope", &[' ', ',']).map_err(refuse)?,
        audience: row.list("audience", &[' ', ',']).map_err(refuse)?,
        flow: row
            .get("grant_type")
            .and_then(grant_type)
            .filter(|kind| *kind != GrantType::RefreshToken),
        expires_at,
        place,
    })
}
