//! The server under measurement: a process of its own, so that its CPU time and memory are its own.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Bench, Database, floor};
use crate::app::App;
use crate::clock::Clock;
use crate::config::Settings;
use crate::credential::{self, Address, Kind};
use crate::crypto::master::MasterKey;
use crate::domain::consent::{Consent, ConsentCommand, Terms};
use crate::domain::grant::{CodeIssued, Grant};
use crate::domain::pkce::{Challenge, Method};
use crate::domain::user::User;
use crate::domain::value::ScopeSet;
use crate::ids::{ClientKey, GrantId, SubjectId};
use crate::ledger::{Actor, Context};
use crate::operations::client::ClientRegistration;
use crate::operations::user::NewUser;

/// The example of RFC 7636 appendix B.
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(super) const REDIRECT_URI: &str = "https://app.example/callback";
const MASTER_KEY: [u8; 32] = [7; 32];

fn settings(database_url: &str) -> Result<Settings> {
    let text = format!("issuer = \"http://127.0.0.1\"\ndatabase_url = \"{database_url}\"\n");
    Ok(toml::from_str(&text)?)
}

async fn open(database_url: &str) -> Result<App> {
    Ok(App::open(
        settings(database_url)?,
        MasterKey::from_bytes(MASTER_KEY),
        Clock::default(),
    )
    .await?)
}

/// Serves until killed; prints the address.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
pub(super) async fn serve(database_url: &str) -> Result<()> {
    let app = open(database_url).await?;
    let listener = crate::server::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    println!("{}", listener.local_addr()?);
    // The same routes under the same layers, and the floor beside them.
    let bench = floor::routes()
        .route("/codes", axum::routing::post(codes))
        .with_state(app.clone());
    let router = crate::http::router(app.clone()).merge(bench);
    crate::server::serve_router(app, router, listener, crate::server::stop_signal()?).await?;
    Ok(())
}

/// A server process with a client and a user registered, and this process's own way into its ledger.
pub(super) struct Subject {
    child: Child,
    pub(super) address: SocketAddr,
    pub(super) app: App,
    pub(super) client: ClientKey,
    pub(super) authorization: String,
    pub(super) user: SubjectId,
}

impl Subject {
    pub(super) async fn start(bench: &Bench, name: &str) -> Result<Self> {
        let database: Database = bench.database(name).await?;
        let app = open(&database.app).await?;
        let (client, authorization, user) = register(&app).await?;
        let program = std::env::current_exe()?;
        let mut child = Command::new(program)
            .args(["bench", "--child", &database.app])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the server under measurement")?;
        let stdout = child.stdout.take().context("the child's output")?;
        let line = BufReader::new(stdout)
            .lines()
            .next_line()
            .await?
            .context("the child ended")?;
        Ok(Self {
            child,
            address: line.parse()?,
            app,
            client,
            authorization,
            user,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        self.child.kill().await?;
        self.app.ledger.close().await;
        Ok(())
    }

    /// Codes, issued by the server itself, so that their grants are as hot as after a login.
    pub(super) async fn codes(&self, count: usize) -> Result<Vec<String>> {
        let body = format!("{count} {} {}", self.client, self.user);
        let mut connection = super::driver::Connection::open(self.address).await?;
        let answer = connection.post("/codes", "none", &body).await?;
        Ok(answer.lines().map(str::to_owned).collect())
    }
}

/// Issues codes through the ledger, many at once: `count client user` in, a line each out.
async fn codes(
    axum::extract::State(app): axum::extract::State<App>,
    body: String,
) -> Result<String, axum::http::StatusCode> {
    let failed = |_| axum::http::StatusCode::INTERNAL_SERVER_ERROR;
    issue_codes(&app, &body).await.map_err(failed)
}

async fn issue_codes(app: &App, body: &str) -> Result<String> {
    const AT_ONCE: usize = 128;
    let mut words = body.split(' ');
    let mut word = || words.next().context("count client user");
    let (count, client, user): (usize, uuid::Uuid, uuid::Uuid) =
        (word()?.parse()?, word()?.parse()?, word()?.parse()?);
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|number| {
            let app = app.clone();
            let share = count / AT_ONCE + usize::from(number < count % AT_ONCE);
            tokio::spawn(async move {
                let mut codes = Vec::with_capacity(share);
                for _ in 0..share {
                    codes.push(code(&app, ClientKey(client), SubjectId(user)).await?);
                }
                anyhow::Ok(codes)
            })
        })
        .collect();
    let mut codes = Vec::with_capacity(count);
    for task in tasks {
        codes.extend(task.await??);
    }
    Ok(codes.join("\n"))
}

async fn register(app: &App) -> Result<(ClientKey, String, SubjectId)> {
    use base64::Engine;
    let context = Context::local(uuid::Uuid::nil(), Actor::System, "bench");
    for scope in ["view-user", "server-operations"] {
        app.operations.define_scope(&context, scope, scope, false).await?;
    }
    let registration: ClientRegistration = serde_json::from_value(serde_json::json!({
        "client_name": "bench", "redirect_uris": [REDIRECT_URI], "scope": "view-user server-operations",
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "default_scopes": "server-operations",
    }))?;
    let created = app.operations.create_client(&context, registration).await?;
    let credentials = format!(
        "{}:{}",
        created.client_id,
        created.client_secret.unwrap_or_default()
    );
    let authorization = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(credentials)
    );
    let user = NewUser {
        username: "bench".to_owned(),
        ..NewUser::default()
    };
    let user = app.operations.create_user(&context, user).await?;
    let mut unit = app.ledger.unit_of_work(&context);
    let consent = unit.load::<Consent>(Consent::id(user, created.key)).await?;
    let scope: ScopeSet = ["view-user"].into_iter().collect();
    let give = ConsentCommand::Give {
        subject: user,
        client: created.key,
        terms: Terms {
            scope,
            ..Terms::default()
        },
        authorization_details: None,
        at: unit.at(),
    };
    unit.conclude(&consent, consent.decide(&give)).await?;
    Ok((created.key, authorization, user))
}

async fn code(app: &App, client: ClientKey, subject: SubjectId) -> Result<String> {
    let ledger = &app.ledger;
    let context = Context::local(uuid::Uuid::nil(), Actor::User(subject), "/oauth/authorize");
    let random: [u8; 32] = ledger.random().bytes()?;
    let mut unit = ledger.unit_of_work(&context);
    loop {
        let at = unit.at();
        let id = GrantId(ledger.random().uuid_at(at)?);
        let user = unit.load::<User>(subject.0).await?;
        let grant = unit.create::<Grant>(id.0);
        let event = CodeIssued {
            client,
            subject,
            session: None,
            auth_time: Some(at),
            amr: None,
            nonce: None,
            id_token_claims: None,
            individual_claims: None,
            scope: ["view-user"].into_iter().collect(),
            audience: vec![app.settings.issuer.clone()],
            authorization_details: None,
            digest: credential::digest(Kind::Code, &random),
            redirect_uri: REDIRECT_URI.to_owned(),
            redirect_uri_required: true,
            challenge: Some(Challenge::parse(CHALLENGE, Method::S256)?),
            confirmation: None,
            password_generation: user.password_generation,
            management: None,
            consent_withdrawals: 0,
            issued_at: at,
            expires_at: at + chrono::TimeDelta::seconds(600),
            grant_expires_at: at + chrono::TimeDelta::days(365),
        };
        if unit.conclude(&grant, grant.issue_code(&event)).await?.is_some() {
            let key = ledger.vault().master().address_key();
            return Ok(credential::format(
                Kind::Code,
                key,
                Address {
                    grant: id,
                    sequence: 1,
                },
                &random,
            ));
        }
    }
}
