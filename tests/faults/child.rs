//! Larder as a separate process that can be killed and ends with the tests.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use larder::config::{Config, Stores};
use larder::stores::s3::Store;
use tokio::sync::OnceCell;

use super::checker::Checker;
use super::ledger::Ledger;
use super::sender::Sender;
use crate::support::{PASSWORD, Set, eventually, eventually_within, scratch};

const EMAIL: &str = "faults@example.com";
/// The lease of all instances here; the reaper passes every 1.25 s.
pub const LEASE: Duration = Duration::from_secs(5);

/// A database and a bucket for any number of instances.
pub struct World {
    pub set: Arc<Set>,
    pub bucket: String,
    pub ledger: Ledger,
    /// The store's address, if not the real one.
    pub endpoint: Option<String>,
    pub database: String,
    person: OnceCell<Sender>,
    directory: PathBuf,
}

pub struct Child {
    pub base: String,
    process: std::process::Child,
    log: PathBuf,
}

/// A free port below the range of outgoing connections and above the ports of the tests' servers.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = (std::process::id() % 60) as u16 * 100;
    let ports = std::iter::repeat_with(|| 23_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 6_900);
    ports.take(6_900).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

impl World {
    pub async fn new(set: Arc<Set>) -> Self {
        let database = set.new_database().await;
        let bucket = format!("f-{}", uuid::Uuid::now_v7().simple());
        Self { set, bucket, ledger: Ledger::default(), endpoint: None, database, person: OnceCell::new(), directory: scratch("faults") }
    }

    pub fn store(&self) -> Store {
        let config = Config::from_lookup(&|_| None, Stores::Embedded(self.set.servers().urls())).unwrap();
        Store::new(&config.s3)
    }

    pub async fn checker(&self) -> Checker {
        let sql = self.set.connect(&self.database).await;
        Checker { s3: self.store(), sql, bucket: self.bucket.clone(), etags_were_altered: false }
    }

    /// Started without waiting.
    pub fn launch(&self, port: u16, more: &[(&str, &str)]) -> Child {
        let urls = self.set.servers().urls();
        let log = self.directory.join(format!("{port}.log"));
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let bind = format!("127.0.0.1:{port}");
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_larder")])
            .env_clear()
            .env("DATABASE_URL", self.set.database_url(&self.database))
            .env("REDIS_URL", &urls.redis_url)
            .env("S3_ENDPOINT_URL", self.endpoint.as_ref().unwrap_or(&urls.s3_endpoint))
            .env("AWS_ACCESS_KEY_ID", &urls.s3_access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &urls.s3_secret_access_key)
            .env("S3_BUCKETS", &self.bucket)
            .env("UPLOAD_LEASE_SECONDS", LEASE.as_secs().to_string())
            .env("MIGRATE_ON_START", "false")
            .env("ADMIN_EMAIL", EMAIL)
            .env("ADMIN_PASSWORD", PASSWORD)
            .env("BIND", &bind)
            // Files left by a killed instance are removed with the directory.
            .env("TMPDIR", &self.directory)
            .envs(more.iter().copied())
            .current_dir(&self.directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        Child { base: format!("http://{bind}"), process: command.spawn().unwrap(), log }
    }

    /// Started, and ready for uploads.
    pub async fn start(&self, port: u16, more: &[(&str, &str)]) -> Child {
        let mut child = self.launch(port, more);
        child.ready().await;
        let store = self.store();
        eventually("the bucket exists", async || store.head_bucket(&self.bucket).await.is_ok()).await;
        child
    }

    /// A user who is signed in at every instance.
    pub async fn sender(&self, child: &Child) -> Sender {
        let signing_in = Sender::sign_in(&child.base, &self.bucket, EMAIL, self.ledger.clone());
        self.person.get_or_init(|| signing_in).await.at(&child.base)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // If the directory is kept, the logs can be inspected.
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.directory));
        }
    }
}

impl Child {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    async fn ready(&mut self) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/readyz", self.base);
        eventually_within(Duration::from_secs(30), "Larder is ready", async || {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("Larder ended at its start ({status}); the end of its log:\n{}", self.end_of_log());
            }
            http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    pub fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Sends SIGKILL and waits for the process to end.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn terminate(&self) {
        let status = Command::new("sh").args(["-c", "kill -s TERM \"$1\"", "sh", &self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits until the process ends.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let mut status = None;
        eventually_within(within, "Larder ends", async || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Open files and sockets of the process.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
