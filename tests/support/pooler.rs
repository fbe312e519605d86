//! PgBouncer in transaction mode, in front of a test's Postgres.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cleanup::Cleanup;
use super::{Set, eventually};

pub struct Pooler {
    directory: PathBuf,
    _cleanup: Cleanup,
}

impl Pooler {
    /// `settings`: additional lines of its configuration.
    pub async fn start(set: &Set, settings: &str) -> Self {
        // Sockets must have short paths. Readable for the user that it changes to.
        let directory = tempfile::Builder::new().prefix("larder-pooler-").tempdir_in("/tmp").unwrap().keep();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        let sockets = PathBuf::from(set.postgres_socket()).parent().unwrap().display().to_string();
        // Each transaction uses another connection of the server, so that nothing of a session remains by chance.
        let configuration = format!(
            "[databases]\n* = host={sockets} user=larder\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {}\nlisten_port = 6432\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 5\nserver_round_robin = 1\nmax_client_conn = 200\n{settings}\n",
            directory.display()
        );
        std::fs::write(directory.join("pgbouncer.ini"), configuration).unwrap();
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let mut command = Command::new(ordinary_user().first().copied().unwrap_or("env"));
        command.args(ordinary_user().iter().skip(1)).arg(program()).arg(directory.join("pgbouncer.ini"));
        let mut child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let pooler = Self { _cleanup: Cleanup::start(Some(child.id()), [directory.clone()]), directory };
        let socket = pooler.directory.join(".s.PGSQL.6432");
        eventually("PgBouncer accepts connections", async || {
            assert!(child.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(pooler.directory.join("log")).unwrap());
            tokio::net::UnixStream::connect(&socket).await.is_ok()
        })
        .await;
        pooler
    }

    /// `query`: further parameters, such as `&pgbouncer=true`.
    pub fn url(&self, database: &str, query: &str) -> String {
        format!("postgres:///{database}?host={}&user=larder&port=6432{query}", self.directory.display())
    }
}

/// Debian installs it where only root searches for programs.
fn program() -> &'static str {
    ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("pgbouncer")
}

/// PgBouncer does not run as root: like the embedded Postgres, it runs in a user namespace, or as the user `postgres`.
fn ordinary_user() -> &'static [&'static str] {
    const NAMESPACE: &[&str] = &["unshare", "-U", "--map-user=1000", "--map-group=1000", "--"];
    const USER: &[&str] = &["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"];
    let output = Command::new("id").arg("-u").output().unwrap();
    if output.stdout != b"0\n" {
        return &[];
    }
    let works = Command::new(NAMESPACE[0]).args(&NAMESPACE[1..]).arg("true").output().is_ok_and(|output| output.status.success());
    if works { NAMESPACE } else { USER }
}
