//! An S3 server on a loopback port: SeaweedFS, or MinIO in tests.
//!
//! SeaweedFS runs in a network namespace if the operating system allows it, because its internal ports need no key.
//! A relay then forwards connections from a port to its S3 socket, which is in a directory that only this user may
//! enter. The port stays bound until Larder ends.

mod exchange;
mod ports;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::S3Kind;
use super::directory::{self, Directory};
use super::isolation::Isolation;
use super::process::{Invocation, User};
use super::relay::Relay;
use super::server::ServerSpec;
use exchange::{exchange, over_tcp, over_unix};
use ports::{GRPC, Ports};

pub(super) struct S3 {
    kind: S3Kind,
    isolation: Isolation,
    /// Of an isolated server. Present from the first start on, so that the port stays bound while the server restarts.
    relay: Option<Relay>,
    program: PathBuf,
    directory: PathBuf,
    sockets: PathBuf,
    /// The previous ports until the first start, or 0.
    ports: Ports,
    access_key_id: String,
    secret_access_key: String,
    internal: String,
    /// When the S3 part of the current process first responded.
    answered: Cell<Option<Instant>>,
    /// The number of processes that were killed because they were stuck.
    given_up: Cell<u8>,
}

impl S3 {
    pub fn new(directory: &Directory, kind: S3Kind, program: PathBuf) -> Self {
        let keys = directory.keys();
        let isolation = match kind {
            S3Kind::SeaweedFs => Isolation::detect(),
            // MinIO has only one port, and it requires a key.
            S3Kind::MinIo => Isolation::None,
        };
        if kind == S3Kind::SeaweedFs && isolation == Isolation::None {
            log::warn!(
                "This system allows no network namespaces, so any program on this machine, and any web page that a browser on \
                 it opens, can delete the data of the embedded S3 server without a key. Use this only for a try, or allow \
                 user namespaces: sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
            );
        }
        Self {
            kind,
            isolation,
            relay: None,
            program,
            directory: directory.of("s3"),
            sockets: directory.sockets().to_owned(),
            ports: Ports { first: directory.s3_port().unwrap_or_default(), _claim: None },
            access_key_id: keys.s3_access_key_id.clone(),
            secret_access_key: keys.s3_secret_access_key.clone(),
            internal: keys.s3_internal.clone(),
            answered: Cell::new(None),
            given_up: Cell::new(0),
        }
    }

    fn s3_socket(&self) -> PathBuf {
        self.sockets.join("s3.sock")
    }

    fn filer_socket(&self) -> PathBuf {
        self.sockets.join("filer.sock")
    }

    fn s3_request(&self, head: &str) -> Option<String> {
        match self.isolation {
            Isolation::Namespace(_) => exchange(over_unix(&self.s3_socket())?, head, ""),
            Isolation::None => exchange(over_tcp(self.ports.first)?, head, ""),
        }
    }

    /// Whether SeaweedFS can store bytes. The port of its master, which provides this information, is not reachable
    /// in a namespace. In that case a byte is stored outside of the buckets and removed again.
    fn has_a_volume(&self) -> bool {
        let file = "/larder-ready HTTP/1.0\r\n";
        let to_filer = |method: &str, body| exchange(over_unix(&self.filer_socket())?, &format!("{method} {file}"), body);
        match self.isolation {
            Isolation::Namespace(_) => {
                let stored = to_filer("PUT", "1").is_some_and(|answer| answer.contains(" 201 "));
                if stored {
                    to_filer("DELETE", "");
                }
                stored
            }
            Isolation::None => {
                let volume = format!("127.0.0.1:{}", self.ports.first + 2);
                let topology = over_tcp(self.ports.first + 1).and_then(|master| exchange(master, "GET /dir/status HTTP/1.0\r\n", ""));
                topology.is_some_and(|topology| topology.contains(&volume))
            }
        }
    }

    fn data(&self) -> PathBuf {
        match self.kind {
            S3Kind::SeaweedFs => self.directory.clone(),
            S3Kind::MinIo => self.directory.join("minio"),
        }
    }

    fn seaweedfs_arguments(&self) -> Vec<String> {
        let [s3, master, volume, filer, admin] = [0, 1, 2, 3, 4].map(|part| self.ports.first + part);
        let mut arguments: Vec<String> = ["-logtostderr=true", "mini", "-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
            .into_iter()
            // Disables parts that are not needed.
            .chain(["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"])
            // Both are on by default and can lose data: deleting a bucket with its objects, and creating a bucket
            // because of a typing error.
            .chain(["-s3.allowDeleteBucketNotEmpty=false", "-s3.autoCreateBucket=false"])
            // Telemetry is on by default too.
            .chain(["-master.telemetry=false"])
            // By default the limit is the number of full volumes that fit on the disk, which on a small disk is less
            // than one per bucket.
            .chain(["-volume.max=1000"])
            .chain(["-filer.exposeDirectoryData=false", "-volume.preStopSeconds=0"])
            .map(str::to_owned)
            .collect();
        arguments.push(format!("-filer.localSocket={}", self.filer_socket().display()));
        arguments.push(format!("-s3.localSocket={}", self.s3_socket().display()));
        for (part, port) in [("s3", s3), ("master", master), ("volume", volume), ("filer", filer), ("admin", admin)] {
            arguments.push(format!("-{part}.port={port}"));
        }
        arguments
    }

    fn seaweedfs_environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("AWS_ACCESS_KEY_ID", self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
            ("GOMEMLIMIT", "512MiB".into()),
        ];
        if self.isolation != Isolation::None {
            return environment;
        }
        // If other programs can reach the internal ports, these keys prevent them from reading and writing objects
        // there.
        for name in ["WEED_JWT_SIGNING_KEY", "WEED_JWT_SIGNING_READ_KEY", "WEED_JWT_FILER_SIGNING_KEY", "WEED_JWT_FILER_SIGNING_READ_KEY"] {
            environment.push((name, self.internal.clone()));
        }
        environment
    }
}

impl ServerSpec for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn prepare(&mut self, _log: &Path, address_is_known: bool) -> Result<(), String> {
        directory::make(&self.data()).map_err(|error| error.to_string())?;
        self.answered.set(None);
        self.clean_up();
        if !address_is_known {
            let last = std::mem::replace(&mut self.ports, Ports { first: 0, _claim: None }).first;
            // Releases the port, which may be chosen again.
            self.relay = None;
            self.ports = Ports::choose(last, self.isolation)?;
            if self.isolation != Isolation::None {
                let started = Relay::start(self.ports.first, &self.s3_socket());
                self.relay = Some(started.map_err(|error| format!("port {} cannot be opened: {error}", self.ports.first))?);
            }
        }
        Ok(())
    }

    fn invocation(&self) -> Invocation {
        let (arguments, environment) = match self.kind {
            S3Kind::SeaweedFs => (self.seaweedfs_arguments(), self.seaweedfs_environment()),
            S3Kind::MinIo => (
                vec!["server".into(), "minio".into(), "--address".into(), format!("127.0.0.1:{}", self.ports.first)],
                vec![
                    ("MINIO_ROOT_USER", self.access_key_id.clone()),
                    ("MINIO_ROOT_PASSWORD", self.secret_access_key.clone()),
                    ("MINIO_BROWSER", "off".into()),
                    ("MINIO_UPDATE", "off".into()),
                    ("GOMEMLIMIT", "512MiB".into()),
                ],
            ),
        };
        Invocation {
            isolation: self.isolation,
            program: self.program.clone(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment,
            directory: self.directory.clone(),
            user: User::Same,
            // MinIO writes to disk before it confirms a write, so a kill loses nothing. An orderly stop takes a
            // second.
            death_signal: "KILL",
        }
    }

    fn is_ready(&self) -> bool {
        match self.kind {
            // The S3 part responds before the master knows of a volume to write to.
            S3Kind::SeaweedFs => {
                let answers = self.s3_request("GET / HTTP/1.0\r\n").is_some_and(|answer| !answer.contains(" 50"));
                if answers && self.answered.get().is_none() {
                    self.answered.set(Some(Instant::now()));
                }
                let is_ready = answers && self.has_a_volume();
                if let Some(relay) = self.relay.as_ref().filter(|_| is_ready) {
                    relay.open();
                }
                is_ready
            }
            S3Kind::MinIo => {
                self.s3_request("GET /minio/health/live HTTP/1.0\r\n").is_some_and(|answer| answer.starts_with("HTTP/1.0 200"))
            }
        }
    }

    fn start_timeout(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.first)
    }

    /// The volume part registers with the master once. If it does so a millisecond too early, it retries after five
    /// seconds. Restarting takes less than one second. On a slow machine the process is not restarted.
    fn is_stuck(&self) -> bool {
        let waits = self.answered.get().is_some_and(|since| since.elapsed() > Duration::from_millis(800));
        let stuck = self.kind == S3Kind::SeaweedFs && waits && self.given_up.get() < 2;
        self.given_up.set(self.given_up.get() + u8::from(stuck));
        stuck
    }

    /// An orderly stop of SeaweedFS often waits fifteen seconds for unused connections. A kill loses nothing that it
    /// has confirmed.
    fn stop_signal(&self) -> &'static str {
        match self.kind {
            S3Kind::SeaweedFs => "KILL",
            S3Kind::MinIo => "TERM",
        }
    }

    /// SeaweedFS leaves these files behind. Their names cannot be configured.
    fn clean_up(&self) {
        if let Some(relay) = &self.relay {
            relay.close();
        }
        if self.kind == S3Kind::SeaweedFs && self.ports.first != 0 {
            for (part, offset) in [("s3", 0), ("master", 1), ("volume", 2), ("filer", 3), ("admin", 4)] {
                drop(std::fs::remove_file(format!("/tmp/seaweedfs-{part}-grpc-{}.sock", self.ports.first + offset + GRPC)));
            }
        }
    }
}
