//! Child processes that die with this process, signals, and information from `/proc`.
//!
//! The crate forbids `unsafe`, so util-linux does what usually happens between fork and exec.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::isolation::Isolation;

/// Exits if our process died before the death signal was set. Files and sockets are accessible to their owner only.
const UNLESS_ORPHANED: &str = r#"[ "$PPID" = "$1" ] || exit 1; shift; umask 077; exec "$@""#;

/// The search path for servers and for the tools that start them.
pub(super) const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// The program to run, its arguments, and how it is stopped.
pub(super) struct Invocation {
    pub program: PathBuf,
    pub isolation: Isolation,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(&'static str, String)>,
    pub directory: PathBuf,
    pub user: User,
    /// Sent when the thread that started the process ends, so start it from a thread that lives as long as the
    /// process.
    pub death_signal: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// The current user.
    Same,
    /// Any user except root, because PostgreSQL refuses to run as root.
    NotRoot,
}

impl Invocation {
    /// A command in a separate process group, so that Ctrl-C only affects Larder. Its output is appended to `log`.
    pub fn command(&self, log: &Path) -> std::io::Result<Command> {
        let prefix: &[&str] = match self.user {
            User::NotRoot if is_root() => drop_root(),
            _ => &[],
        };
        let mut line: Vec<OsString> = prefix.iter().copied().chain(self.isolation.prefix()).map(OsString::from).collect();
        // Innermost, because a change of credentials clears the death signal.
        line.extend(["setpriv", "--pdeathsig", self.death_signal, "--", "sh", "-c", UNLESS_ORPHANED, "sh"].map(OsString::from));
        line.push(std::process::id().to_string().into());
        line.push(self.program.clone().into());
        line.extend(self.arguments.iter().cloned());
        let output = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            // Only the listed variables, because `.env` has added settings of other programs to our environment.
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.directory)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        Ok(command)
    }
}

pub(super) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

const USER_NAMESPACE: &[&str] = &["unshare", "-U", "--map-user=1000", "--map-group=1000", "--"];
const POSTGRES_USER: &[&str] = &["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"];

/// A user namespace if they are allowed, because it needs no change of owner. Otherwise the user `postgres`.
fn drop_root() -> &'static [&'static str] {
    static WAY: OnceLock<&[&str]> = OnceLock::new();
    WAY.get_or_init(|| {
        let works = |way: &[&str]| {
            let result = Command::new(way[0]).args(&way[1..]).arg("true").stdin(Stdio::null()).output();
            result.is_ok_and(|output| output.status.success())
        };
        if works(USER_NAMESPACE) { USER_NAMESPACE } else { POSTGRES_USER }
    })
}

/// Makes the user that PostgreSQL runs as the owner of `directory`.
pub(super) fn give_to_not_root(directory: &Path) -> Result<(), String> {
    if !is_root() || drop_root() == USER_NAMESPACE {
        return Ok(());
    }
    let run = |line: &[&str]| Command::new(line[0]).args(&line[1..]).arg(directory).stdin(Stdio::null()).output();
    match run(&["chown", "-R", "postgres:postgres"]) {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    // Other content of the directory is readable by its owner only, or is in a separate directory.
    let passable = std::fs::Permissions::from_mode(0o711);
    directory.parent().map_or(Ok(()), |parent| std::fs::set_permissions(parent, passable)).map_err(|error| error.to_string())?;
    let reach: Vec<&str> = POSTGRES_USER.iter().copied().chain(["test", "-w"]).collect();
    if run(&reach).is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    Err(format!(
        "PostgreSQL does not run as root, user namespaces are not allowed here, and the user postgres cannot access {}. \
         Run Larder as an ordinary user, or set DATA_DIR to a directory that all users may enter.",
        directory.display()
    ))
}

/// Uses the `kill` built into the shell. It is not an error if a process has already ended.
pub(super) fn signal(pids: &[u32], name: &str) {
    if pids.is_empty() {
        return;
    }
    let mut command = Command::new("sh");
    command.args(["-c", r#"name=$1; shift; kill -s "$name" -- "$@" 2>/dev/null"#, "sh", name]);
    command.args(pids.iter().map(u32::to_string)).stdin(Stdio::null());
    if let Err(error) = command.status() {
        log::error!("SIG{name} could not be sent to {pids:?}: {error}");
    }
}

/// A process and all its descendants, because the children of PostgreSQL leave its process group.
pub(super) fn family(pid: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(processes.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    family
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub state: char,
    pub parent: u32,
    /// In clock ticks since the machine was booted. Together with the PID it identifies a process permanently.
    pub started: u64,
}

pub(super) fn stat(pid: u32) -> Option<Stat> {
    read_stat(Path::new(&format!("/proc/{pid}/stat")))
}

fn read_stat(file: &Path) -> Option<Stat> {
    let text = std::fs::read_to_string(file).ok()?;
    // The second field is the name of the program in brackets, which may itself contain spaces and brackets.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat { state: fields.first()?.chars().next()?, parent: fields.get(1)?.parse().ok()?, started: fields.get(19)?.parse().ok()? })
}

/// Waits up to one second until every thread is stopped. On a busy machine, STOP reaches the threads one after the
/// other, and the remaining ones still respond.
pub(super) fn wait_until_still(pids: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(1);
    let still = |pid: &u32| {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        threads.filter_map(|thread| read_stat(&thread.path().join("stat"))).all(|stat| matches!(stat.state, 'T' | 't' | 'Z' | 'X'))
    };
    while !pids.iter().all(still) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the process is running. A zombie does not count.
pub(super) fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// Writes the PID of the process to `file`, for `wait_for_predecessor`.
pub(super) fn record(file: &Path, pid: u32) {
    let started = stat(pid).map_or(0, |stat| stat.started);
    if let Err(error) = std::fs::write(file, format!("{pid} {started}\n")) {
        log::warn!("{} cannot be written: {error}", file.display());
    }
}

/// The server of a Larder process that was killed may still be stopping. Two servers on the same data would damage
/// it.
pub(super) fn wait_for_predecessor(name: &str, file: &Path, limit: Duration) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(started))) = (numbers.next(), numbers.next()) else { return };
    let Ok(pid) = u32::try_from(pid) else { return };
    let is_it = || stat(pid).is_some_and(|stat| stat.started == started) && runs(pid);
    let deadline = Instant::now() + limit;
    let mut killed = false;
    while is_it() {
        if !killed && Instant::now() > deadline {
            log::warn!("{name} of an earlier Larder (process {pid}) does not end; it is killed");
            signal(&family(pid), "KILL");
            killed = true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
