//! The data directory: a lock held by one Larder process, generated keys, and a short path for the sockets.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use crate::config::EmbeddedUrls;

/// The path of a unix socket is limited to 107 bytes, and Postgres appends `/.s.PGSQL.5432`.
const LONGEST_SOCKET_DIRECTORY: usize = 90;

/// Created once and kept in `embedded.json`, which only its owner can read.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Keys {
    pub s3_access_key_id: String,
    pub s3_secret_access_key: String,
    pub redis_password: String,
    /// Signs the messages between the parts of SeaweedFS, so that no one else on this machine can send them.
    pub s3_internal: String,
    /// The first port of the S3 server. It is used again if it is free.
    #[serde(default)]
    s3_port: Option<u16>,
    /// The previous directory of the sockets, if that was outside this directory.
    #[serde(default)]
    outside: Option<PathBuf>,
    /// Written by the latest start. Valid only while the lock is held.
    #[serde(default)]
    running: Option<Running>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Running {
    database_url: String,
    redis_url: String,
    s3_endpoint: String,
}

impl From<&EmbeddedUrls> for Running {
    fn from(urls: &EmbeddedUrls) -> Self {
        Self { database_url: urls.database_url.clone(), redis_url: urls.redis_url.clone(), s3_endpoint: urls.s3_endpoint.clone() }
    }
}

pub(super) struct Directory {
    root: PathBuf,
    sockets: PathBuf,
    keys: Keys,
    // Released by the operating system when the process ends for any reason.
    _lock: File,
    // Removed when it is dropped.
    _outside: Option<tempfile::TempDir>,
}

impl Directory {
    pub fn open(path: &Path) -> Result<Self, Error> {
        make(path)?;
        let root = std::fs::canonicalize(path).map_err(Error::io(format!("{} cannot be opened", path.display())))?;
        let lock = lock(&root)?;
        for name in ["log", "postgres", "redis", "s3", "run"] {
            make(&root.join(name))?;
        }
        let mut keys = read_or_make_keys(&root)?;
        if let Some(old) = keys.outside.take() {
            drop(std::fs::remove_dir_all(old));
        }
        // Removes the addresses of an earlier start, because a command may read them during this one.
        keys.running = None;
        let mut outside = None;
        let mut sockets = root.join("run");
        if sockets.as_os_str().as_bytes().len() > LONGEST_SOCKET_DIRECTORY {
            let made = tempfile::Builder::new().prefix("larder-").tempdir_in("/tmp");
            let made = made.map_err(Error::io("a directory for the sockets cannot be created in /tmp"))?;
            sockets = made.path().to_owned();
            keys.outside = Some(sockets.clone());
            outside = Some(made);
        }
        write_keys(&root, &keys)?;
        Ok(Self { root, sockets, keys, _lock: lock, _outside: outside })
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn s3_port(&self) -> Option<u16> {
        self.keys.s3_port
    }

    /// The directory for the sockets of the servers. Only this user may enter it.
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// The data directory of one server.
    pub fn of(&self, server: &str) -> PathBuf {
        self.root.join(server)
    }

    pub fn log_of(&self, server: &str) -> PathBuf {
        self.root.join("log").join(format!("{server}.log"))
    }

    /// Records which process runs, so that a later start can wait for it to end.
    pub fn pid_file_of(&self, server: &str) -> PathBuf {
        self.root.join("run").join(format!("{server}.pid"))
    }

    /// Stores the S3 port for the next start, and the addresses for commands that run at the same time.
    pub fn remember(&self, urls: &EmbeddedUrls) -> Result<(), Error> {
        let port = urls.s3_endpoint.rsplit(':').next().and_then(|port| port.parse().ok());
        write_keys(&self.root, &Keys { s3_port: port, running: Some(Running::from(urls)), ..self.keys.clone() })
    }
}

/// What the last start wrote, if its lock is still held.
pub(super) fn remembered(root: &Path) -> Option<EmbeddedUrls> {
    let lock = File::open(root.join("lock")).ok()?;
    if !matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)) {
        return None;
    }
    let keys: Keys = serde_json::from_slice(&std::fs::read(root.join("embedded.json")).ok()?).ok()?;
    let running = keys.running?;
    Some(EmbeddedUrls {
        database_url: running.database_url,
        redis_url: running.redis_url,
        s3_endpoint: running.s3_endpoint,
        s3_access_key_id: keys.s3_access_key_id,
        s3_secret_access_key: keys.s3_secret_access_key,
    })
}

/// Creates a directory that only its owner may enter. An existing one is not changed.
pub(super) fn make(path: &Path) -> Result<(), Error> {
    // The parent directories are not secret, and PostgreSQL may have to pass through them as another user.
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(Error::io(format!("{} cannot be created", path.display())))?;
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io(format!("{} cannot be created", path.display())))
}

fn lock(root: &Path) -> Result<File, Error> {
    let path = root.join("lock");
    let failed = || Error::io(format!("{} cannot be written", path.display()));
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            drop(file.read_to_string(&mut pid));
            return Err(Error::Locked { dir: root.to_owned(), pid: pid.trim().to_owned() });
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(failed()(error)),
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed())?;
    Ok(file)
}

fn read_or_make_keys(root: &Path) -> Result<Keys, Error> {
    let path = root.join("embedded.json");
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::Io {
            what: format!("{} cannot be understood; the servers' keys are in it", path.display()),
            source: error.into(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Keys {
            s3_access_key_id: format!("LARDER{}", random_hex(7)?.to_uppercase()),
            s3_secret_access_key: random_hex(20)?,
            redis_password: random_hex(24)?,
            s3_internal: random_hex(24)?,
            s3_port: None,
            outside: None,
            running: None,
        }),
        Err(error) => Err(Error::io(format!("{} cannot be read", path.display()))(error)),
    }
}

/// Atomic, because a partly written file would lose the keys of the data.
fn write_keys(root: &Path, keys: &Keys) -> Result<(), Error> {
    let path = root.join("embedded.json");
    let failed = || Error::io(format!("{} cannot be written", path.display()));
    let json = serde_json::to_vec_pretty(keys).map_err(std::io::Error::other).map_err(failed())?;
    let mut file = tempfile::NamedTempFile::new_in(root).map_err(failed())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed())?;
    file.write_all(&json).and_then(|()| file.as_file().sync_all()).map_err(failed())?;
    file.persist(&path).map_err(|error| failed()(error.error))?;
    Ok(())
}

fn random_hex(bytes: usize) -> Result<String, Error> {
    let mut random = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::Io {
        what: "random keys cannot be created".into(),
        source: std::io::Error::other("the system's source of randomness failed"),
    })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
