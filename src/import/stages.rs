//! The first look at the tokens: which are live, and what their clients use.

use super::files::Files;
use super::join::{Parts, parts_for};
use super::passport::{self, access_token};
use super::record::{Usage, grant_type};
use super::report::{Remark, Report};
use super::{Import, ImportError, Kind, Options, Progress, Tell, tables};
use crate::clock::Timestamp;

/// The live refresh tokens, as far as they were looked at.
pub(super) enum Tokens {
    /// To be joined with their access tokens.
    Passport {
        refresh: Parts,
        access: Parts,
        live: u64,
    },
    /// To be read again: each row says all.
    Tables,
}

impl Import {
    /// Looks at the tokens before anything is imported: clients get the scopes that their tokens have.
    pub(super) async fn survey(&mut self) -> Result<(Usage, Tokens), ImportError> {
        let (files, options, tell) = (self.files.clone(), self.options.clone(), self.tell.clone());
        let report = std::mem::take(&mut self.report);
        let now = self.operations.ledger.clock().now();
        let survey = tokio::task::spawn_blocking(move || {
            let mut survey = Survey {
                files,
                options,
                tell,
                report,
                now,
                usage: Usage::default(),
            };
            let tokens = match survey.options.kind {
                Kind::Passport => survey.passport(),
                Kind::Tables => survey.tables(),
            };
            (survey.report, tokens.map(|tokens| (survey.usage, tokens)))
        });
        let (report, surveyed) = survey.await.map_err(|_| ImportError::Interrupted)?;
        self.report = report;
        surveyed
    }
}

struct Survey {
    files: Files,
    options: Options,
    tell: Tell,
    report: Report,
    now: Timestamp,
    usage: Usage,
}

impl Survey {
    fn passport(&mut self) -> Result<Tokens, ImportError> {
        let (files, tell) = (self.files.clone(), self.tell.clone());
        let [refresh_bytes, access_bytes] =
            [passport::REFRESH_TOKENS, passport::ACCESS_TOKENS].map(|table| files.bytes(table));
        let count = parts_for(refresh_bytes + access_bytes);
        let mut refresh = Parts::new(count)?;
        let mut live = 0;
        files.for_each(
            passport::REFRESH_TOKENS,
            &["id", "access_token_id", "revoked", "expires_at"],
            |row, done| {
                self.report.counts(passport::REFRESH_TOKENS).read += 1;
                if row.number % 1024 == 0 {
                    tell(Progress {
                        stage: "refresh tokens",
                        done,
                        total: refresh_bytes,
                    });
                }
                match passport::refresh_token(&row, &self.options, self.now) {
                    Ok(token) => {
                        live += 1;
                        refresh.add(&token.access, &token)
                    }
                    Err((place, reason)) => self.report.skip(place.remark(passport::REFRESH_TOKENS, reason)),
                }
            },
        )?;
        let mut access = Parts::new(count)?;
        files.for_each(
            passport::ACCESS_TOKENS,
            &["id", "client_id", "user_id", "scopes", "revoked"],
            |row, done| {
                self.report.counts(passport::ACCESS_TOKENS).read += 1;
                if row.number % 1024 == 0 {
                    tell(Progress {
                        stage: "access tokens",
                        done,
                        total: access_bytes,
                    });
                }
                match access_token(&row) {
                    Ok(token) => {
                        self.usage.scopes_of(&token.client, &token.scopes);
                        access.add(&token.id, &token)
                    }
                    Err((place, reason)) => self.report.skip(place.remark(passport::ACCESS_TOKENS, reason)),
                }
            },
        )?;
        Ok(Tokens::Passport {
            refresh,
            access,
            live,
        })
    }

    fn tables(&mut self) -> Result<Tokens, ImportError> {
        let (files, tell) = (self.files.clone(), self.tell.clone());
        for table in [tables::REFRESH_TOKENS, tables::ACCESS_TOKENS] {
            let total = files.bytes(table);
            files.for_each(table, &["client_id", "scope"], |row, done| {
                if row.number % 1024 == 0 {
                    tell(Progress {
                        stage: "tokens",
                        done,
                        total,
                    });
                }
                if table == tables::ACCESS_TOKENS {
                    self.report.counts(table).read += 1;
                }
                let Some(client) = row.get("client_id").filter(|_| row.malformed().is_none()) else {
                    return Ok(());
                };
                if let Ok(scopes) = row.list("scope", &[' ', ',']) {
                    self.usage.scopes_of(client, &scopes);
                }
                if table == tables::REFRESH_TOKENS
                    && let Ok(audience) = row.list("audience", &[' ', ','])
                {
                    self.usage.audience_of(client, audience);
                }
                self.usage
                    .grant_type_of(client, row.get("grant_type").and_then(grant_type));
                Ok(())
            })?;
        }
        files.for_each(tables::CODES, &[], |row, _| {
            self.report.counts(tables::CODES).read += 1;
            self.report.skip(Remark {
                table: tables::CODES,
                row: row.number,
                id: row.get("id").unwrap_or_default().to_owned(),
                reason: "authorization codes end within minutes and are not taken over".to_owned(),
            })
        })?;
        Ok(Tokens::Tables)
    }
}
