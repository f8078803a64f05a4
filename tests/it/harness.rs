//! What tests share: one Postgres, a database for each test, a server on a free port, an HTTP client.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use grantlog::app::App;
use grantlog::clock::Clock;
use grantlog::config::Settings;
use grantlog::crypto::master::MasterKey;
use grantlog::domain::client::Client;
use grantlog::ledger::{Actor, Context};
use grantlog::operations::client::{ClientRegistration, CreatedClient};
use grantlog::operations::user::NewUser;
use grantlog::operations::{OperationError, describe};
use grantlog::postgres::{Options, Postgres};
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::sync::OnceCell;

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of its own, migrated.
pub(crate) struct TestDatabase {
    /// As the owner.
    pub(crate) owner_url: String,
    /// As the application's role.
    pub(crate) app_url: String,
    /// The database's name.
    pub(crate) name: String,
}

/// The one server of this process: embedded, in a directory that is warm the next time; or somebody else's.
enum Server {
    Embedded(Postgres),
    Socket(String),
}

static SERVER: OnceCell<Server> = OnceCell::const_new();

/// A migrated database of the shared server: copying it takes a fraction of what the migrations do.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

impl Server {
    async fn start() -> Self {
        let server = if let Ok(dir) = std::env::var("GRANTLOG_TEST_SOCKET_DIR") {
            Self::Socket(dir)
        } else {
            let mut options = Options::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/postgres"));
            options.settings = vec![("max_connections".to_owned(), "400".to_owned())];
            let started = Postgres::start(options, |line| eprintln!("{line}")).await;
            Self::Embedded(started.unwrap())
        };
        drop_stale_databases(&server.url("postgres", "postgres")).await;
        server
    }

    fn url(&self, user: &str, database: &str) -> String {
        match self {
            Self::Embedded(postgres) => postgres.url(user, database),
            Self::Socket(dir) => format!("postgres://{user}@localhost/{database}?host={dir}"),
        }
    }
}

/// Databases `test_<pid>_<number>` whose process is gone.
async fn drop_stale_databases(url: &str) {
    let mut admin = PgConnection::connect(url).await.unwrap();
    let names: Vec<String> =
        sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datname ~ '^test_[0-9]+_[0-9]+$'")
            .fetch_all(&mut admin)
            .await
            .unwrap();
    for name in names {
        let pid = name.split('_').nth(1).unwrap();
        let lives = Command::new("ps")
            .args(["-p", pid])
            .output()
            .unwrap()
            .status
            .success();
        // This process has made none yet: what has its number is another's of before.
        if !lives || pid == std::process::id().to_string() {
            // Another process may be first.
            let _ = admin
                .execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)").as_str())
                .await;
        }
    }
}

/// The server that test databases are made in: `(user, database) -> url`.
pub(crate) async fn server_url(user: &str, database: &str) -> String {
    SERVER.get_or_init(Server::start).await.url(user, database)
}

/// A name for a database of this process, which a later one drops.
pub(crate) fn database_name() -> String {
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    format!("test_{}_{number}", std::process::id())
}

impl TestDatabase {
    /// Makes one on the shared server.
    pub(crate) async fn create() -> Self {
        let server = SERVER.get_or_init(Server::start).await;
        let url = |user: &str, database: &str| server.url(user, database);
        let template = TEMPLATE
            .get_or_init(|| async { Self::create_on(url).await.name })
            .await;
        Self::copy(template, url).await
    }

    async fn copy(template: &str, url: impl Fn(&str, &str) -> String) -> Self {
        let name = database_name();
        let mut admin = PgConnection::connect(&url("postgres", "postgres")).await.unwrap();
        admin
            .execute(format!("CREATE DATABASE {name} TEMPLATE {template}").as_str())
            .await
            .unwrap();
        Self {
            app_url: url("grantlog_app", &name),
            owner_url: url("postgres", &name),
            name,
        }
    }

    /// Makes one on any server: `(user, database) -> url`.
    pub(crate) async fn create_on(url: impl Fn(&str, &str) -> String) -> Self {
        let name = database_name();
        let mut admin = PgConnection::connect(&url("postgres", "postgres")).await.unwrap();
        admin
            .execute(format!("CREATE DATABASE {name}").as_str())
            .await
            .unwrap();
        let owner_url = url("postgres", &name);
        grantlog::ledger::migrate::run(&owner_url).await.unwrap();
        Self {
            app_url: url("grantlog_app", &name),
            owner_url,
            name,
        }
    }

    /// A pool as the owner, for looking.
    pub(crate) async fn owner(&self) -> PgPool {
        PgPool::connect(&self.owner_url).await.unwrap()
    }
}

/// Settings for a test.
pub(crate) fn settings(database_url: &str) -> Settings {
    let text = format!(
        "issuer = \"http://127.0.0.1\"\ndatabase_url = \"{database_url}\"\nfailures_per_minute = 1000\n"
    );
    toml::from_str(&text).unwrap()
}

/// A server in this process, on its own database.
pub(crate) struct TestServer {
    /// Its state.
    pub(crate) app: App,
    /// Its clock, which a test may move forward.
    pub(crate) clock: Clock,
    /// Its database.
    pub(crate) database: TestDatabase,
    /// Where it listens; also its issuer.
    pub(crate) base: String,
}

impl TestServer {
    /// Starts one on a fresh database.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one with changed settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_on_database(TestDatabase::create().await, change).await
    }

    /// Starts one on a database of a server of the test's own.
    pub(crate) async fn start_on(
        url: impl Fn(&str, &str) -> String,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::start_on_database(TestDatabase::create_on(url).await, change).await
    }

    /// A further node on the server's database, with its settings and clock: the application and where it is served.
    pub(crate) async fn second_node(&self) -> (App, String) {
        let (settings, clock) = (self.app.settings.clone(), self.clock.clone());
        let app = App::open(settings, MasterKey::from_bytes([42; 32]), clock)
            .await
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let service = grantlog::http::router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        (app, base)
    }

    async fn start_on_database(database: TestDatabase, change: impl FnOnce(&mut Settings)) -> Self {
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

    /// Folds the projections up to the ledger's head.
    pub(crate) async fn settle(&self) {
        let runner = grantlog::projection::ProjectionRunner::start(&self.app.ledger);
        let head = *self.app.ledger.head().borrow();
        runner.wait_for(head).await.unwrap();
        runner.stop().await;
    }

    /// The context of administration in tests.
    pub(crate) fn context() -> Context {
        Context::local(uuid::Uuid::new_v4(), Actor::CommandLine, "test")
    }

    /// Registers a client from RFC 7591 metadata.
    pub(crate) async fn client(&self, metadata: serde_json::Value) -> CreatedClient {
        let registration: ClientRegistration = serde_json::from_value(metadata).unwrap();
        self.app
            .operations
            .create_client(&Self::context(), registration)
            .await
            .unwrap()
    }

    /// Changes members of a client's metadata, as `client update` does.
    pub(crate) async fn update_client(
        &self,
        key: grantlog::ids::ClientKey,
        patch: serde_json::Value,
    ) -> Result<(), OperationError> {
        let operations = &self.app.operations;
        let client = operations.load::<Client>(key.0).await?;
        let metadata = &client.registration.as_ref().unwrap().metadata;
        let metadata = describe::merge(metadata, patch.as_object().unwrap().clone())?;
        operations.update_client(&Self::context(), key, metadata).await
    }

    /// Registers a user; one whose name is an e-mail address has that address.
    pub(crate) async fn user(&self, username: &str, password: &str) -> grantlog::ids::SubjectId {
        let email = if username.contains('@') {
            username.to_owned()
        } else {
            format!("{username}@example.com")
        };
        let user = NewUser {
            username: username.to_owned(),
            name: Some(format!("{username} Example")),
            email: Some(email),
            password: Some(password.to_owned()),
        };
        self.app
            .operations
            .create_user(&Self::context(), user)
            .await
            .unwrap()
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// An HTTP client that keeps cookies and follows no redirect.
pub(crate) fn browser() -> reqwest::Client {
    reqwest::Client::builder()
        .cookie_store(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// Serves what `app` is for the address on a free port, for as long as the test runs.
pub(crate) async fn serve<T>(app: impl FnOnce(SocketAddr) -> (T, Router)) -> T {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (made, router) = app(listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    made
}
