//! A running instance for one test.

use std::sync::Arc;

use larder::app::{self, Running};
use larder::config::{Config, Stores};
use larder::domain::Context;
use larder::domain::actor::{Actor, Role};
use larder::domain::users::{self, NewUser};
use larder::embedded::Servers;

use super::{Client, Set, eventually};

/// Satisfies all password rules.
pub const PASSWORD: &str = "only-for-tests-7291";

/// An instance on a free port, with its own database, Redis prefix and bucket.
pub struct TestApp {
    /// `http://127.0.0.1:<port>`
    pub base: String,
    /// Exists and is empty.
    pub bucket: String,
    /// The stores and the domain, as used by the handlers.
    pub ctx: Context,
    pub database: String,
    set: Arc<Set>,
    running: Running,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With a changed configuration.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(Set::shared().await, change).await
    }

    /// With its own servers, which the test may stop, freeze and kill: `app.servers()`.
    pub async fn with_own_servers() -> Self {
        Self::on(Set::own().await, |_| {}).await
    }

    pub async fn on(set: Arc<Set>, change: impl FnOnce(&mut Config)) -> Self {
        let database = set.new_database().await;
        let name = uuid::Uuid::now_v7().simple().to_string();
        let mut config = Config::from_lookup(&|_| None, Stores::Embedded(set.servers().urls())).unwrap();
        config.bind = ([127, 0, 0, 1], 0).into();
        config.database_url = larder::config::Secret::new(set.database_url(&database));
        // The template is migrated.
        config.migrate_on_start = false;
        config.redis.prefix = format!("t-{name}:");
        config.s3.buckets = vec![format!("t-{name}")];
        // So that a test does not wait as long as a user would.
        config.probe_period = std::time::Duration::from_secs(1);
        change(&mut config);
        Self::run(set, database, config).await
    }

    /// Another instance on the same data, as behind a load balancer.
    pub async fn replica(&self) -> Self {
        let mut config = Config::clone(&self.ctx.config);
        config.bind = ([127, 0, 0, 1], 0).into();
        Self::run(self.set.clone(), self.database.clone(), config).await
    }

    async fn run(set: Arc<Set>, database: String, config: Config) -> Self {
        let bucket = config.s3.buckets[0].clone();
        let running = app::start(config).await.unwrap();
        let base = format!("http://{}", running.address);
        let app = Self { base, bucket, ctx: running.ctx.clone(), database, set, running };
        let visitor = app.visitor();
        eventually("Larder is ready", async || visitor.get("/readyz").await.status == 200).await;
        let on_our_servers = app.ctx.config.s3.endpoint.as_deref() == Some(app.servers().urls().s3_endpoint.as_str());
        if on_our_servers && app.servers().s3().pid().is_some() {
            // Larder creates the bucket a moment after its start.
            eventually("the bucket exists", async || app.ctx.s3.head_bucket(&app.bucket).await.is_ok()).await;
        }
        app
    }

    pub fn servers(&self) -> &Servers {
        self.set.servers()
    }

    /// A connection to this test's database.
    pub async fn sql(&self) -> tokio_postgres::Client {
        self.set.connect(&self.database).await
    }

    /// A connection to this test's Redis server, for commands that Larder itself never sends.
    pub async fn redis_connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.servers().urls().redis_url.as_str()).unwrap();
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(std::time::Duration::from_secs(120)));
        client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
    }

    /// The response to one command to this test's Redis server, as text.
    pub async fn redis(&self, command: &[&str]) -> String {
        let url = self.servers().urls().redis_url.clone();
        let mut cli = std::process::Command::new("redis-cli");
        cli.args(["--no-auth-warning", "--raw"]);
        let (path, query) = url.trim_start_matches("unix://").split_once('?').unwrap();
        let password = query.split('&').find_map(|pair| pair.strip_prefix("pass="));
        cli.args(["-s", &percent_encoding::percent_decode_str(path).decode_utf8_lossy()]);
        if let Some(password) = password {
            cli.args(["-a", password]);
        }
        let output = cli.args(command).output().unwrap();
        assert!(output.status.success(), "redis-cli: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// How the store treats unusual keys, once Larder has probed it.
    pub async fn rules_known(&self) -> larder::stores::s3::KeyRules {
        eventually("the store has been probed", async || self.ctx.s3.key_rules_known()).await;
        self.ctx.s3.key_rules()
    }

    /// A client that is not signed in.
    /// The variables of the stores, for a process of its own.
    pub fn variables<'a>(&'a self, database_url: &'a str) -> Vec<(&'a str, &'a str)> {
        let urls = self.servers().urls();
        vec![
            ("DATABASE_URL", database_url),
            ("REDIS_URL", &urls.redis_url),
            ("S3_ENDPOINT_URL", &urls.s3_endpoint),
            ("AWS_ACCESS_KEY_ID", &urls.s3_access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &urls.s3_secret_access_key),
            ("S3_BUCKETS", &self.bucket),
        ]
    }

    pub fn visitor(&self) -> Client {
        Client::new(&self.base)
    }

    /// A new user with this role, signed in through the page.
    pub async fn sign_in(&self, role: Role) -> Client {
        let email = self.new_user(role).await;
        let client = self.visitor();
        client.post("/session", &[("email", &email), ("password", PASSWORD)]).await.expect_status(303);
        client
    }

    /// The `Cookie` header of a new user with this role.
    pub async fn session_cookie(&self, role: Role) -> String {
        let email = self.new_user(role).await;
        let page = self.visitor().post("/session", &[("email", &email), ("password", PASSWORD)]).await.expect_status(303);
        let name = larder::console::http::session::cookie_name(&self.ctx.config);
        let cookies = page.headers.get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        cookies.into_iter().find(|cookie| cookie.starts_with(&format!("{name}="))).unwrap().to_owned()
    }

    /// Creates a user with this role and the password `PASSWORD`; returns the e-mail address.
    pub async fn new_user(&self, role: Role) -> String {
        let email = format!("{}-{}@example.com", role.as_str(), uuid::Uuid::now_v7().simple());
        let new = NewUser { email: &email, name: "Tess Test", role, password: PASSWORD };
        users::create(&self.ctx, &Actor::system("Tests"), new).await.unwrap();
        email
    }

    /// The directory of the static files.
    pub fn static_files(&self) -> std::path::PathBuf {
        self.running.assets.directory().to_owned()
    }

    /// The status of `/readyz`.
    pub fn ready(&self) -> larder::ready::Ready {
        self.running.ready.clone()
    }

    /// Shuts down gracefully, as after SIGTERM.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}
