//! Redis on a unix socket, with an append-only file.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::directory::Directory;
use super::isolation::Isolation;
use super::process::{Invocation, User};
use super::server::ServerSpec;

/// Comments, and the ACL entry for the user of `REDIS_BROWSE_URL`.
const BROWSE: &str = include_str!("../../deploy/redis/browse.acl");

/// The characters that are not escaped in a path within a URL.
pub(super) const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

pub(super) struct Redis {
    program: PathBuf,
    directory: PathBuf,
    socket: PathBuf,
    password: String,
    durable: bool,
}

impl Redis {
    pub fn new(directory: &Directory, program: PathBuf, durable: bool) -> Self {
        Self {
            program,
            directory: directory.of("redis"),
            socket: directory.sockets().join("redis.sock"),
            password: directory.keys().redis_password.clone(),
            durable,
        }
    }

    pub fn url(&self) -> String {
        format!("unix://{}?pass={}", percent_encode(self.socket.as_os_str().as_bytes(), PATH), self.password)
    }

    /// In a file, because every user of the machine can read a command line.
    fn write_configuration(&self) -> std::io::Result<()> {
        let socket = self.socket.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
        let configuration = format!(
            "port 0\nunixsocket \"{socket}\"\nunixsocketperm 700\nrequirepass {}\ndir ./\nsave \"\"\nappendonly yes\n\
             appendfsync {}\ndaemonize no\n{}",
            self.password,
            if self.durable { "everysec" } else { "no" },
            BROWSE.replace("PASSWORD", &self.password),
        );
        let path = self.directory.join("redis.conf");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(configuration.as_bytes())
    }

    fn ping(&self) -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(format!("AUTH {}\r\nPING\r\n", self.password).as_bytes())?;
        // The reply has two lines. While Redis loads its file, the second is `-LOADING`.
        let mut answer = Vec::new();
        let mut buffer = [0; 256];
        while answer.iter().filter(|byte| **byte == b'\n').count() < 2 {
            match stream.read(&mut buffer)? {
                0 => return Ok(false),
                read => answer.extend_from_slice(&buffer[..read]),
            }
        }
        Ok(answer.ends_with(b"+PONG\r\n"))
    }
}

impl ServerSpec for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn prepare(&mut self, _log: &Path, _address_is_known: bool) -> Result<(), String> {
        self.write_configuration().map_err(|error| format!("its configuration cannot be written: {error}"))
    }

    fn invocation(&self) -> Invocation {
        Invocation {
            isolation: Isolation::None,
            program: self.program.clone(),
            arguments: vec!["./redis.conf".into()],
            environment: Vec::new(),
            directory: self.directory.clone(),
            user: User::Same,
            death_signal: if self.durable { "TERM" } else { "KILL" },
        }
    }

    fn is_ready(&self) -> bool {
        self.ping().unwrap_or(false)
    }

    /// Redis loads its whole file first.
    fn start_timeout(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn address(&self) -> String {
        self.url()
    }

    fn stop_signal(&self) -> &'static str {
        "TERM"
    }
}
