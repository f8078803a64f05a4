//! Clients: registered under the ids and secrets that they have.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;

use super::record::{ClientRow, ClientSecret, Place, Usage};
use super::{Import, ImportError, Kind, passport, tables};
use crate::domain::client::{AuthMethod, Client, ClientCommand, ClientMetadata, GrantType, SecretVerifier};
use crate::domain::redirect_uri;
use crate::domain::uri;
use crate::domain::value::{ScopeSet, is_scope_token};
use crate::ids::{ClientKey, SubjectId};
use crate::ledger::LedgerError;
use crate::operations::OperationError;
use crate::operations::client::{CLIENT_ID, check_client_id};
use crate::operations::describe;

/// What grants need to know of the clients, by their key in the other server's tables.
pub(super) type Clients = HashMap<String, Known>;

/// A client that is here.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) key: ClientKey,
    pub(super) flow: GrantType,
    pub(super) audience: Vec<String>,
}

enum Fate {
    Imported,
    AlreadyThere,
    Skipped(String),
}

impl Import {
    pub(super) async fn clients(&mut self, usage: &Usage) -> Result<Clients, ImportError> {
        let kind = self.options.kind;
        let (table, needed): (_, &'static [&'static str]) = match kind {
            Kind::Passport => (passport::CLIENTS, &["id", "name", "secret", "revoked"]),
            Kind::Tables => (
                tables::CLIENTS,
                &["id", "client_id", "client_secret", "redirect_uri"],
            ),
        };
        self.define_scopes(&self.all_scopes(usage)).await?;
        let mut clients = Clients::new();
        let mut rows = self.files.stream(table, needed);
        while let Some(chunk) = rows.recv().await {
            for row in chunk?.rows {
                self.report.counts(table).read += 1;
                let read = match kind {
                    Kind::Passport => passport::client(&row, &self.options),
                    Kind::Tables => tables::client(&row, &self.options),
                };
                match read {
                    Ok(client) => self.client(table, client, usage, &mut clients).await?,
                    Err((place, reason)) => self.report.skip(place.remark(table, reason))?,
                }
            }
        }
        if self.report.counts(table).read == 0 {
            return Err(ImportError::NoTable(table));
        }
        Ok(clients)
    }

    fn all_scopes(&self, usage: &Usage) -> ScopeSet {
        usage
            .scopes
            .values()
            .flatten()
            .map(String::as_str)
            .chain(self.options.scope.iter())
            .filter(|scope| is_scope_token(scope))
            .collect()
    }

    async fn client(
        &mut self,
        table: &'static str,
        client: ClientRow,
        usage: &Usage,
        clients: &mut Clients,
    ) -> Result<(), ImportError> {
        let (place, id) = (client.place.clone(), client.id.clone());
        if !self.client_ids.insert(id.clone()) {
            return self
                .report
                .skip(place.remark(table, "an earlier row has the same id"));
        }
        let mut notes = client.notes.clone();
        let mut metadata = match self.metadata(&client, usage, &mut notes) {
            Ok(metadata) => metadata,
            Err(reason) => return self.report.skip(place.remark(table, reason)),
        };
        let known = Known {
            key: ClientKey(self.id_here("client", &client.client_id)),
            flow: client.flow,
            audience: if metadata.audience.is_empty() {
                vec![self.options.issuer.clone()]
            } else {
                metadata.audience.clone()
            },
        };
        // What tokens may be refreshed for, their client may have tokens for.
        for audience in usage.audiences.get(&id).into_iter().flatten() {
            if metadata.audience.is_empty() {
                metadata.audience.clone_from(&known.audience);
            }
            if !metadata.audience.contains(audience) {
                metadata.audience.push(audience.clone());
                notes.push(format!(
                    "{audience} is in its audience, since its tokens are for it"
                ));
            }
        }
        match self.register(&known, client, metadata).await? {
            Fate::Skipped(reason) => return self.report.skip(place.remark(table, reason)),
            Fate::Imported => {
                self.report.counts(table).imported += 1;
                self.note(table, &place, notes);
            }
            Fate::AlreadyThere => self.report.counts(table).already_there += 1,
        }
        clients.insert(id, known);
        Ok(())
    }

    pub(super) fn note(&mut self, table: &'static str, place: &Place, notes: Vec<String>) {
        for note in notes {
            self.report.note(place.remark(table, note));
        }
    }

    async fn register(
        &self,
        known: &Known,
        client: ClientRow,
        metadata: ClientMetadata,
    ) -> Result<Fate, ImportError> {
        let key = known.key.0;
        let client_id = client.client_id;
        if let Err(OperationError::Invalid { problem, .. }) = check_client_id(&client_id) {
            return Ok(Fate::Skipped(format!("its client_id: {problem}")));
        }
        let named = key.to_string() != client_id;
        let mut unit = self.operations.ledger.unit_of_work(&self.context);
        let found = unit.load::<Client>(key).await?;
        if let Some(registration) = &found.registration {
            return Ok(if registration.client_id == client_id {
                Fate::AlreadyThere
            } else {
                Fate::Skipped("its id is another client's here".to_owned())
            });
        }
        let taken = || Fate::Skipped("its client_id is another client's here".to_owned());
        if named
            && self
                .operations
                .ledger
                .find_name(CLIENT_ID, &client_id)
                .await?
                .is_some()
        {
            return Ok(taken());
        }
        if self.options.dry_run {
            return Ok(Fate::Imported);
        }
        let command = ClientCommand::Register {
            client_id: client_id.clone(),
            metadata: Box::new(metadata),
            verifier: self.verifier(client.secret).await?,
            imported: Some(self.options.source.clone()),
        };
        let mut unit = self.operations.ledger.unit_of_work(&self.context);
        loop {
            let state = unit.load::<Client>(key).await?;
            if named {
                unit.claim::<Client>(CLIENT_ID, &client_id, key);
            }
            match unit.conclude(&state, state.decide(&command)).await {
                Ok(Some(concluded)) => {
                    concluded.outcome?;
                    return Ok(Fate::Imported);
                }
                Ok(None) => {}
                Err(LedgerError::NameTaken(_)) => return Ok(taken()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn verifier(&self, secret: ClientSecret) -> Result<Option<SecretVerifier>, ImportError> {
        Ok(match secret {
            ClientSecret::None => None,
            ClientSecret::Sha256(digest) => Some(SecretVerifier::Sha256(digest)),
            ClientSecret::Argon2(hash) => Some(SecretVerifier::Argon2id(hash)),
            ClientSecret::Bcrypt(hash) => Some(SecretVerifier::Bcrypt(hash)),
            ClientSecret::Plain(secret) => {
                let hash = self.operations.hasher.hash(secret).await;
                Some(SecretVerifier::Argon2id(hash.map_err(OperationError::from)?))
            }
        })
    }

    /// What the client is and may do here; what of it cannot be taken over is left out and noted.
    fn metadata(
        &self,
        client: &ClientRow,
        usage: &Usage,
        notes: &mut Vec<String>,
    ) -> Result<ClientMetadata, String> {
        let public = matches!(client.secret, ClientSecret::None);
        let redirect_uris = redirect_uris(client, notes);
        let mut grant_types: BTreeSet<GrantType> = client.grant_types.iter().copied().collect();
        if client.grant_types.is_empty() {
            grant_types.extend(usage.grant_types.get(&client.id).into_iter().flatten());
            grant_types.extend([GrantType::AuthorizationCode, GrantType::RefreshToken]);
            if !public {
                grant_types.insert(GrantType::ClientCredentials);
            }
        }
        if redirect_uris.is_empty()
            && grant_types.remove(&GrantType::AuthorizationCode)
            && !client.grant_types.is_empty()
        {
            notes.push("without authorization_code: it has no redirect URI that is allowed here".to_owned());
        }
        if public && grant_types.remove(&GrantType::ClientCredentials) {
            notes.push("without client_credentials: it has no secret".to_owned());
        }
        let scope: ScopeSet = usage
            .scopes
            .get(&client.id)
            .into_iter()
            .flatten()
            .map(String::as_str)
            .chain(self.options.scope.iter())
            .filter(|scope| is_scope_token(scope))
            .collect();
        let pages = ["home_page_url", "logo_url", "privacy_policy_url"];
        let members = json!({
            "client_name": client.name,
            "redirect_uris": redirect_uris,
            "grant_types": grant_types,
            "token_endpoint_auth_method": if public { AuthMethod::None } else { AuthMethod::Any },
            "scope": scope.to_string(),
            // What these servers sign with, and let confidential clients leave out.
            "access_token_algorithm": "RS256",
            "legacy": !public,
            "is_live": client.is_live,
            "owner": client.owner.as_ref().map(|owner| SubjectId(self.id_here("user", owner))),
        });
        let mut members = members.as_object().cloned().unwrap_or_default();
        for (member, page) in pages.into_iter().zip(&client.pages) {
            match page.as_deref().map(str::trim) {
                Some(url) if url.len() <= 2000 && uri::is_web(url) => {
                    members.insert(member.to_owned(), url.into());
                }
                Some(_) => notes.push(format!("without its {member}, which is no http or https URL")),
                None => {}
            }
        }
        describe::parse(members.into())
            .and_then(|registration| registration.metadata())
            .map_err(|error| error.to_string())
    }
}

fn redirect_uris(client: &ClientRow, notes: &mut Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    for uri in &client.redirect_uris {
        match redirect_uri::check(uri, redirect_uri::AUTHORIZATION_RESPONSE) {
            Ok(()) if kept.contains(uri) => {}
            Ok(()) => kept.push(uri.clone()),
            Err(problem) => notes.push(format!("without a redirect URI: {problem}")),
        }
    }
    kept
}
