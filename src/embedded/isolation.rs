//! A network namespace for a server whose internal ports need no key.
//!
//! The parts of SeaweedFS trust every client of their ports: one request to the master deletes the data of a bucket.
//! Inside a separate namespace, only the processes of the server can reach these ports.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::process;

/// How a server is separated from other programs on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// In a network namespace, entered with this command.
    Namespace(&'static [&'static str]),
    /// The operating system does not allow namespaces.
    None,
}

/// With a user namespace, which every user may create where the operating system allows it.
const AS_USER: &[&str] = &["unshare", "--user", "--map-root-user", "--net", "--"];
/// Root needs no user namespace.
const AS_ROOT: &[&str] = &["unshare", "--net", "--"];
/// Runs its arguments with the loopback interface up.
const WITH_LOOPBACK: &[&str] = &["sh", "-c", r#"ip link set lo up && exec "$@""#, "sh"];

impl Isolation {
    /// What this operating system allows, tried once.
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Isolation> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let candidates: &[&'static [&'static str]] = if process::is_root() { &[AS_USER, AS_ROOT] } else { &[AS_USER] };
            candidates.iter().copied().find(|way| works(way)).map_or(Self::None, Self::Namespace)
        })
    }

    /// The prefix of the command line of the server.
    pub fn prefix(self) -> Vec<&'static str> {
        match self {
            Self::Namespace(way) => way.iter().chain(WITH_LOOPBACK).copied().collect(),
            Self::None => Vec::new(),
        }
    }
}

fn works(way: &[&str]) -> bool {
    let line: Vec<&str> = way.iter().chain(WITH_LOOPBACK).copied().collect();
    // The search path of `Invocation::command` includes the directories of administration programs.
    let result = Command::new(line[0])
        .args(&line[1..])
        .arg("true")
        .env("PATH", process::SEARCH_PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    result.is_ok_and(|status| status.success())
}
