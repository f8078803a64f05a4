//! What tests share: one Postgres, a database for each test, a server on a free port, an HTTP client.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use grantlog::app::App;
use grantlog::clock::Clock;
use grantlog::config::Settings;
use grantlog::crypto::master::MasterKey;
use grantlog::ledger::{Actor, Context};
use grantlog::operations::client::{ClientRegistration, CreatedClient};
use grantlog::operations::user::NewUser;
use sqlx::{Connection, Executor, PgConnection, PgPool};

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of its own, migrated.
pub struct TestDatabase {
    /// As the owner.
    pub owner_url: String,
    /// As the application's role.
    pub app_url: String,
    /// The database's name.
    pub name: String,
}

/// The server that test databases are made in: `(user, database) -> url`.
async fn server_url(user: &str, database: &str) -> String {
    let base = std::env::var("GRANTLOG_TEST_SOCKET_DIR").expect("GRANTLOG_TEST_SOCKET_DIR");
    format!("postgres://{user}@localhost/{database}?host={base}")
}

impl TestDatabase {
    /// Makes one.
    pub async fn create() -> Self {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let mut admin = PgConnection::connect(&server_url("postgres", "postgres").await)
            .await
            .unwrap();
        admin
            .execute(format!("CREATE DATABASE {name}").as_str())
            .await
            .unwrap();
        let owner_url = server_url("postgres", &name).await;
        grantlog::ledger::migrate::run(&owner_url).await.unwrap();
        Self {
            app_url: server_url("grantlog_app", &name).await,
            owner_url,
            name,
        }
    }

    /// A pool as the owner, for looking.
    pub async fn owner(&self) -> PgPool {
        PgPool::connect(&self.owner_url).await.unwrap()
    }
}

/// Settings for a test.
pub fn settings(database_url: &str) -> Settings {
    let text = format!(
        "issuer = \"http://127.0.0.1\"\ndatabase_url = \"{database_url}\"\nfailures_per_minute = 1000\n"
    );
    toml::from_str(&text).unwrap()
}

/// A server in this process, on its own database.
pub struct TestServer {
    /// Its state.
    pub app: App,
    /// Its clock, which a test may move forward.
    pub clock: Clock,
    /// Its database.
    pub database: TestDatabase,
    /// Where it listens; also its issuer.
    pub base: String,
}

impl TestServer {
    /// Starts one on a fresh database.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one with changed settings.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let database = TestDatabase::create().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut settings = settings(&database.app_url);
        settings.issuer.clone_from(&base);
        change(&mut settings);
        let clock = Clock::default();
        let app = App::open(settings, MasterKey::from_bytes([42; 32]), clock.clone())
            .await
            .unwrap();
        let service = grantlog::http::router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let server = Self {
            app,
            clock,
            database,
            base,
        };
        for (name, description, restricted) in [
            ("view-user", "See your name and user name", false),
            ("detail-user", "See your e-mail address", true),
            ("server-operations", "Operate servers", false),
        ] {
            server
                .app
                .operations
                .define_scope(&Self::context(), name, description, restricted)
                .await
                .unwrap();
        }
        server
    }

    /// The context of administration in tests.
    pub fn context() -> Context {
        Context::local(uuid::Uuid::new_v4(), Actor::CommandLine, "test")
    }

    /// Registers a client from RFC 7591 metadata.
    pub async fn client(&self, metadata: serde_json::Value) -> CreatedClient {
        let registration: ClientRegistration = serde_json::from_value(metadata).unwrap();
        self.app
            .operations
            .create_client(&Self::context(), registration)
            .await
            .unwrap()
    }

    /// Registers a user.
    pub async fn user(&self, username: &str, password: &str) -> grantlog::ids::SubjectId {
        let user = NewUser {
            username: username.to_owned(),
            name: Some(format!("{username} Example")),
            email: Some(format!("{username}@example.com")),
            password: Some(password.to_owned()),
        };
        self.app
            .operations
            .create_user(&Self::context(), user)
            .await
            .unwrap()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// An HTTP client that keeps cookies and follows no redirect.
pub fn browser() -> reqwest::Client {
    reqwest::Client::builder()
        .cookie_store(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}
