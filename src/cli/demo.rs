//! The demo data of `grantlog dev`: made once, found again at the next start, and never overwritten.

use anyhow::Context as _;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::dev_files::{DevAdmin, DevClient, DevClients, DevUser, Remembered};
use super::output;
use crate::app::App;
use crate::crypto::password::Verified;
use crate::domain::authorization_detail::{
    AuthorizationDetailType, AuthorizationDetailTypeCommand, DetailTypeTerms,
};
use crate::domain::client::{Approval, Client, ClientCommand, GrantType, SecretVerifier};
use crate::domain::user::User;
use crate::domain::value::Digest;
use crate::http::admin::AdminScope;
use crate::ids::ClientKey;
use crate::ledger::{Actor, Context};
use crate::operations::describe;
use crate::operations::user::NewUser;

/// Name, description, whether restricted.
const SCOPES: [(&str, &str, bool); 14] = [
    ("view-user", "See your name and user name", false),
    ("detail-user", "See your e-mail address", true),
    ("get_user_profile", "See your profile", false),
    ("server-operations", "Operate servers", false),
    ("read-users", "Read every user's profile", true),
    ("admin", "Administer this Grantlog", true),
    (AdminScope::Read.name(), AdminScope::Read.description(), true),
    (
        AdminScope::Operate.name(),
        AdminScope::Operate.description(),
        true,
    ),
    (
        AdminScope::Configure.name(),
        AdminScope::Configure.description(),
        true,
    ),
    (
        AdminScope::Evidence.name(),
        AdminScope::Evidence.description(),
        true,
    ),
    ("openid", "Know who you are", false),
    ("profile", "See your name and user name", false),
    ("email", "See your e-mail address", false),
    ("offline_access", "Keep this access while you are away", false),
];
const USERNAME: &str = "demo";

/// What was made or found.
pub(super) struct Demo {
    pub(super) clients: DevClients,
    pub(super) user: DevUser,
    pub(super) admin: DevAdmin,
}

/// Makes what is missing. `remembered` is brought up to date.
pub(super) async fn ensure(app: &App, remembered: &mut Remembered) -> anyhow::Result<Demo> {
    let context = Context::local(app.ledger.random().uuid()?, Actor::CommandLine, "dev");
    for (name, description, restricted) in SCOPES {
        app.operations
            .define_scope(&context, name, description, restricted)
            .await?;
    }
    define_payments(app, &context).await?;
    let mut maker = Maker {
        app,
        context,
        remembered,
    };
    let confidential = maker.client(web(), &["detail-user"]).await?;
    let public = maker.client(native(), &[]).await?;
    let machine = maker.client(machine(&app.settings.issuer), &[]).await?;
    let admin = maker.client(admin(), &["admin"]).await?;
    let user = maker.user().await?;
    Ok(Demo {
        clients: DevClients {
            confidential,
            public,
            machine,
        },
        user,
        admin: DevAdmin {
            client_id: admin.client_id,
            client_secret: admin.client_secret,
        },
    })
}

/// The type of authorization details (RFC 9396) of the demo clients.
const PAYMENT: &str = "demo_payment";

/// Defines it where nobody has.
async fn define_payments(app: &App, context: &Context) -> anyhow::Result<()> {
    let id = AuthorizationDetailType::id(PAYMENT);
    if app.operations.load::<AuthorizationDetailType>(id).await?.exists() {
        return Ok(());
    }
    let schema = json!({
        "type": "object",
        "properties": {
            "type": {"const": PAYMENT},
            "amount": {"type": "string", "pattern": "^[0-9]{1,9}[.][0-9]{2}$"},
            "creditor": {"type": "string", "minLength": 1, "maxLength": 70},
        },
        "required": ["amount", "creditor"],
        "additionalProperties": false,
    });
    let terms = DetailTypeTerms {
        schema: schema.to_string(),
        template: Some("Pay {amount} EUR to {creditor}".to_owned()),
        resources: Vec::new(),
        asked_each_time: true,
    };
    let name = PAYMENT.to_owned();
    let command = AuthorizationDetailTypeCommand::Define { name, terms };
    let operations = &app.operations;
    Ok(operations
        .command_authorization_detail_type(context, PAYMENT, &command)
        .await?)
}

fn web() -> Value {
    json!({
        "client_id": "demo-web",
        "client_name": "Demo Web Application",
        "redirect_uris": ["http://127.0.0.1:8481/callback", "http://localhost:8481/callback"],
        "token_endpoint_auth_method": "any",
        "scope": "view-user detail-user get_user_profile server-operations openid profile email offline_access",
        "default_scopes": "view-user",
        "allowed_origins": ["http://127.0.0.1:8481", "http://localhost:8481"],
        "home_page_url": "http://127.0.0.1:8481/",
        "authorization_details_types": [PAYMENT],
    })
}

fn native() -> Value {
    json!({
        "client_id": "demo-native",
        "client_name": "Demo Native Application",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token", GrantType::DeviceCode.name()],
        "token_endpoint_auth_method": "none",
        "scope": "view-user get_user_profile openid profile email offline_access",
        "default_scopes": "view-user",
    })
}

fn machine(issuer: &str) -> Value {
    json!({
        "client_id": "demo-machine",
        "client_name": "Demo Machine",
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "any",
        "scope": "server-operations",
        "default_scopes": "server-operations",
        "authorization_details_types": [PAYMENT],
        // It is the demo's resource server too.
        "introspects": [issuer],
    })
}

fn admin() -> Value {
    json!({
        "client_id": "demo-admin",
        "client_name": "Demo Administration",
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "any",
        "scope": "admin",
        "default_scopes": "admin",
    })
}

struct Maker<'a> {
    app: &'a App,
    context: Context,
    remembered: &'a mut Remembered,
}

impl Maker<'_> {
    /// A demo client, with the named restricted scopes approved.
    async fn client(&mut self, wanted: Value, approved: &[&str]) -> anyhow::Result<DevClient> {
        let introspects = wanted.get("introspects").cloned();
        let registration = describe::parse(wanted)?;
        let client_id = registration.client_id.clone().unwrap_or_default();
        let operations = &self.app.operations;
        let key = if let Some(key) = operations.find_client(&client_id).await? {
            self.keep(key, &client_id, introspects).await?;
            key
        } else {
            let created = operations.create_client(&self.context, registration).await?;
            if let Some(secret) = created.client_secret {
                self.remembered.secrets.insert(client_id.clone(), secret);
            }
            created.key
        };
        let client = operations.load::<Client>(key.0).await?;
        let registration = client.registration.as_ref().context("a demo client is missing")?;
        // Once: what an administrator decided since stays.
        for scope in approved {
            if !registration.approvals.contains_key(*scope) && client.active().is_some() {
                self.approve(key, scope).await?;
            }
        }
        let metadata = &registration.metadata;
        Ok(DevClient {
            client_secret: self.remembered.secrets.get(&client_id).cloned(),
            client_id,
            redirect_uris: metadata.redirect_uris.clone(),
            scopes: metadata.scope.iter().map(str::to_owned).collect(),
        })
    }

    /// Gives an existing client a new secret where its own is lost, and the audience that it introspects where
    /// the issuer has moved (another port). The rest is as its owner left it.
    async fn keep(
        &mut self,
        key: ClientKey,
        client_id: &str,
        introspects: Option<Value>,
    ) -> anyhow::Result<()> {
        let operations = &self.app.operations;
        let client = operations.load::<Client>(key.0).await?;
        let Some(registration) = client.active() else {
            output::note(&format!("{client_id} is suspended or revoked"));
            return Ok(());
        };
        if let Some(introspects) = introspects {
            let patch = [("introspects".to_owned(), introspects)].into_iter().collect();
            let metadata = describe::merge(&registration.metadata, patch)?;
            operations.update_client(&self.context, key, metadata).await?;
        }
        let known = self.remembered.secrets.get(client_id);
        let presented = known.map(|secret| SecretVerifier::Sha256(Digest::of(secret.as_bytes())));
        let valid = registration
            .valid_secrets(self.app.ledger.clock().now())
            .any(|secret| presented.as_ref() == Some(&secret.verifier));
        if !valid && !registration.metadata.is_public() {
            let secret = operations.rotate_client_secret(&self.context, key, 0).await?;
            self.remembered.secrets.insert(client_id.to_owned(), secret);
        }
        Ok(())
    }

    async fn approve(&self, client: ClientKey, scope: &str) -> anyhow::Result<()> {
        let command = ClientCommand::Approval {
            scope: scope.to_owned(),
            step: Approval::Approved,
            reason: "demo".to_owned(),
        };
        Ok(self
            .app
            .operations
            .command_client(&self.context, client, &command)
            .await?)
    }

    /// The demo user, with a new password where the old one is lost.
    async fn user(&mut self) -> anyhow::Result<DevUser> {
        let operations = &self.app.operations;
        let known = self.remembered.passwords.get(USERNAME).cloned();
        let random: [u8; 12] = self.app.ledger.random().bytes()?;
        let fresh = URL_SAFE_NO_PAD.encode(random);
        let password = match operations.find_user(USERNAME).await? {
            None => {
                let user = NewUser {
                    username: USERNAME.to_owned(),
                    name: Some("Demo User".to_owned()),
                    email: Some("demo@example.com".to_owned()),
                    password: Some(fresh.clone()),
                };
                operations.create_user(&self.context, user).await?;
                fresh
            }
            Some(subject) => {
                let user = operations.load::<User>(subject.0).await?;
                let account = user.account.as_ref().context("the demo user is erased")?;
                let hash = operations.password_hash(subject, account).await?;
                match known {
                    Some(known) if operations.hasher.verify(known.clone(), hash).await? != Verified::No => {
                        known
                    }
                    Some(_) | None => {
                        operations
                            .set_password(&self.context, subject, fresh.clone())
                            .await?;
                        fresh
                    }
                }
            }
        };
        self.remembered
            .passwords
            .insert(USERNAME.to_owned(), password.clone());
        Ok(DevUser {
            username: USERNAME.to_owned(),
            password,
        })
    }
}
