//! PostgreSQL on a unix socket, in a directory that only our user may enter.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_encode;
use tokio_postgres::NoTls;

use super::directory::{self, Directory};
use super::isolation::Isolation;
use super::process::{self, Invocation, User};
use super::redis::PATH;
use super::server::ServerSpec;

/// Part of the name of the socket. PostgreSQL does not listen on the network.
const PORT: u16 = 5432;

pub(super) struct Postgres {
    /// The directory of the programs.
    programs: PathBuf,
    /// The parent directory of `data`.
    directory: PathBuf,
    sockets: PathBuf,
    durable: bool,
    /// Whether the database `larder` is known to exist.
    has_database: std::cell::Cell<bool>,
}

impl Postgres {
    pub fn new(directory: &Directory, programs: PathBuf, durable: bool) -> Self {
        Self {
            programs,
            directory: directory.of("postgres"),
            // A separate directory, because it may have to belong to another user.
            sockets: directory.sockets().join("pg"),
            durable,
            has_database: false.into(),
        }
    }

    pub fn url(&self) -> String {
        format!("postgres:///larder?host={}&user=larder&port={PORT}", percent_encode(self.sockets.as_os_str().as_bytes(), PATH))
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Creates the data in a temporary directory first, so that an interrupted run does not leave incomplete data.
    fn initialise(&mut self, log: &Path) -> Result<(), String> {
        if let Ok(version) = std::fs::read_to_string(self.data().join("PG_VERSION")) {
            return self.use_version(version.trim());
        }
        let fresh = self.directory.join("data.new");
        if fresh.exists() {
            std::fs::remove_dir_all(&fresh).map_err(|error| format!("{} cannot be removed: {error}", fresh.display()))?;
        }
        let mut arguments = vec!["--pgdata=data.new", "--username=larder", "--encoding=UTF8", "--locale=C.UTF-8"];
        // No password: the directory of the socket is protected, and anyone who may enter it could also read the
        // password.
        arguments.extend(["--auth=trust", "--no-instructions"]);
        if !self.durable {
            arguments.push("--no-sync");
        }
        let initdb = Invocation {
            isolation: Isolation::None,
            program: self.programs.join("initdb"),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            directory: self.directory.clone(),
            user: User::NotRoot,
            death_signal: "KILL",
        };
        let status = initdb.command(log).and_then(|mut command| command.status()).map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(match status.signal() {
                Some(signal) => format!("initdb was terminated by signal {signal}"),
                None => format!("initdb failed ({status})"),
            });
        }
        std::fs::rename(&fresh, self.data()).map_err(|error| error.to_string())
    }

    /// A newer major version cannot read the data of an older one.
    fn use_version(&mut self, version: &str) -> Result<(), String> {
        let packaged = PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
        if packaged.join("postgres").is_file() {
            self.programs = packaged;
        } else if self.programs.starts_with("/usr/lib/postgresql") {
            return Err(format!(
                "the data in {} was written by PostgreSQL {version}, which is not installed. Install the package postgresql-{version}.",
                self.directory.display()
            ));
        }
        Ok(())
    }

    /// PostgreSQL refuses to start while a process with the PID in its lock file exists, even if that process is a
    /// zombie or an unrelated program. At this point no server of ours is running.
    fn remove_stale_lock(&self) {
        let path = self.data().join("postmaster.pid");
        let Ok(text) = std::fs::read_to_string(&path) else { return };
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
        let postgres = std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "postgres");
        if !process::runs(pid) || !postgres {
            drop(std::fs::remove_file(path));
        }
    }

    async fn connect(&self) -> Result<(), tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.sockets).port(PORT).user("larder").dbname("postgres").connect_timeout(Duration::from_secs(1));
        let (client, connection) = config.connect(NoTls).await?;
        let connection = tokio::spawn(connection);
        if !self.has_database.get() {
            if client.query("SELECT FROM pg_database WHERE datname = 'larder'", &[]).await?.is_empty() {
                client.batch_execute("CREATE DATABASE larder").await?;
            }
            self.has_database.set(true);
        }
        drop(client);
        drop(connection.await);
        Ok(())
    }
}

impl ServerSpec for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn prepare(&mut self, log: &Path, _address_is_known: bool) -> Result<(), String> {
        directory::make(&self.sockets).map_err(|error| error.to_string())?;
        process::give_to_not_root(&self.directory)?;
        process::give_to_not_root(&self.sockets)?;
        self.initialise(log)?;
        self.remove_stale_lock();
        Ok(())
    }

    fn invocation(&self) -> Invocation {
        let sockets = self.sockets.to_string_lossy().replace('"', "\"\"");
        let mut settings = vec![
            "listen_addresses=".to_owned(),
            format!("unix_socket_directories=\"{sockets}\""),
            "unix_socket_permissions=0700".into(),
            format!("port={PORT}"),
            "shared_buffers=64MB".into(),
            "timezone=UTC".into(),
            "log_timezone=UTC".into(),
        ];
        if self.durable {
            settings.push("max_connections=100".into());
        } else {
            // Tests run in parallel, each with its own pools.
            settings.extend(["max_connections=300", "fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(Into::into));
        }
        let mut arguments = vec!["-D".into(), self.data().into_os_string()];
        for setting in settings {
            arguments.extend(["-c".into(), setting.into()]);
        }
        Invocation {
            isolation: Isolation::None,
            program: self.programs.join("postgres"),
            arguments,
            environment: Vec::new(),
            directory: self.directory.clone(),
            user: User::NotRoot,
            death_signal: if self.durable { "INT" } else { "KILL" },
        }
    }

    fn is_ready(&self) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return false };
        runtime.block_on(async { matches!(tokio::time::timeout(Duration::from_secs(5), self.connect()).await, Ok(Ok(()))) })
    }

    /// Recovery must finish before PostgreSQL is ready.
    fn start_timeout(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn address(&self) -> String {
        self.url()
    }

    /// A fast shutdown: open transactions are rolled back. Killing its child processes would make a recovery
    /// necessary.
    fn stop_signal(&self) -> &'static str {
        "INT"
    }
}
