//! Importing another server's clients, users and refresh tokens, and what they are good for afterwards.

mod passport;
mod rows;
mod runs;
mod tables;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::FixedOffset;
use grantlog::crypto::defuse::Secret;
use grantlog::domain::value::{Digest, ScopeSet};
use grantlog::import::{self, Files, ImportError, Kind, Options, Report};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::TestServer;

/// A Laravel key: these 32 bytes.
const KEY: [u8; 32] = [9; 32];
const CLIENT: &str = "0a9f8dd9-9f13-4138-abf7-566f30886cf1";
const SECRET: &str = "ORgE1SbhnjX73A3NPk2zZjxN0fMJetKPxXsH7Hyu";

/// Files of a source.
struct Source {
    dir: TempDir,
    kind: Kind,
}

impl Source {
    fn new(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, kind }
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn options(&self, server: &TestServer) -> Options {
        Options {
            kind: self.kind,
            source: "old".to_owned(),
            dry_run: false,
            scope: ScopeSet::default(),
            utc_offset: FixedOffset::east_opt(0).unwrap(),
            client_secrets: None,
            plain_passwords: false,
            issuer: server.base.clone(),
            grant_lifetime_days: 365,
            skipped_file: None,
        }
    }

    async fn import(&self, server: &TestServer) -> Report {
        self.import_with(server, |_| {}).await.unwrap()
    }

    async fn import_with(
        &self,
        server: &TestServer,
        change: impl FnOnce(&mut Options),
    ) -> Result<Report, ImportError> {
        let mut options = self.options(server);
        change(&mut options);
        let files = Files::find(&[self.dir.path().to_owned()])?;
        let (operations, context) = (&server.app.operations, TestServer::context());
        import::import(operations, &context, files, options, Arc::new(|_| {})).await
    }
}

/// `(read, imported, already there, skipped)` of a table.
fn counts(report: &Report, table: &str) -> (u64, u64, u64, u64) {
    let counts = report.tables[table];
    (counts.read, counts.imported, counts.already_there, counts.skipped)
}

/// Stores Passport's key, as `--passport-key-file` does.
async fn store_key(server: &TestServer) {
    let key = format!("base64:{}", STANDARD.encode(KEY));
    import::key::store(
        &server.app.operations,
        &TestServer::context(),
        &Secret::parse(&key).unwrap(),
    )
    .await
    .unwrap();
}

/// 80 hexadecimal digits, as League's server makes token ids.
fn token_id(name: &str) -> String {
    format!("{}{}", Digest::of(name.as_bytes()), "0123456789abcdef")
}

/// A refresh token as League's server makes it, from the published description of its encryption.
fn old_token(client: &str, refresh: &str, key: &[u8]) -> String {
    let payload = json!({
        "client_id": client, "refresh_token_id": token_id(refresh), "access_token_id": token_id("a"),
        "scopes": ["view-user"], "user_id": "1", "expire_time": 4_102_444_800_i64,
    });
    let salt = Digest::of(refresh.as_bytes()).0;
    let iv: [u8; 16] = *Digest::of(client.as_bytes()).0.first_chunk().unwrap();
    let mut stretched = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        100_000.try_into().unwrap(),
        &salt,
        &Digest::of(key).0,
        &mut stretched,
    );
    let prk = Salt::new(HKDF_SHA256, &salt).extract(&stretched);
    let derive = |info: &[u8]| {
        let mut out = [0; 32];
        prk.expand(&[info], Length).unwrap().fill(&mut out).unwrap();
        out
    };
    let mut body = payload.to_string().into_bytes();
    let cipher = UnboundCipherKey::new(&AES_256, &derive(b"DefusePHP|V2|KeyForEncryption")).unwrap();
    EncryptingKey::ctr(cipher)
        .unwrap()
        .less_safe_encrypt(&mut body, EncryptionContext::Iv128(FixedLength::from(&iv)))
        .unwrap();
    let mut message = vec![0xde, 0xf5, 0x02, 0x00];
    for part in [&salt[..], &iv, &body] {
        message.extend_from_slice(part);
    }
    let mac = hmac::Key::new(hmac::HMAC_SHA256, &derive(b"DefusePHP|V2|KeyForAuthentication"));
    let tag = hmac::sign(&mac, &message);
    message.extend_from_slice(tag.as_ref());
    hex(&message)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

async fn post(server: &TestServer, path: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let response = reqwest::Client::new()
        .post(server.url(path))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Presents a refresh token.
async fn refresh(server: &TestServer, (client, secret): (&str, &str), token: &str) -> (StatusCode, Value) {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", client),
        ("client_secret", secret),
        ("refresh_token", token),
    ];
    post(server, "/oauth/token", &form).await
}

async fn introspect(server: &TestServer, (client, secret): (&str, &str), token: &str) -> Value {
    let form = [("client_id", client), ("client_secret", secret), ("token", token)];
    post(server, "/oauth/introspect", &form).await.1
}

/// The ledger's last position.
async fn head(server: &TestServer) -> i64 {
    sqlx::query_scalar("SELECT position FROM grantlog.head")
        .fetch_one(server.app.ledger.pool())
        .await
        .unwrap()
}

/// The reasons of the last refusals, newest first.
async fn refusals(server: &TestServer) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT payload->>'reason' FROM grantlog.ledger_refusal WHERE event_type = 'RequestRefused' \
         ORDER BY position DESC",
    )
    .fetch_all(server.app.ledger.pool())
    .await
    .unwrap()
}

fn own(path: &Path) -> Vec<PathBuf> {
    vec![path.to_owned()]
}
