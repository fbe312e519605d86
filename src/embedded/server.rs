//! One server: a thread that starts it, waits until it is ready, and restarts it when it dies.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::process::{self, Invocation};
use super::{Error, directory::Directory};

/// How long the first start may fail repeatedly: the remains of a killed Larder process take seconds to clear.
const FIRST_START: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// What differs between the kinds of servers.
pub(super) trait ServerSpec: Send + 'static {
    fn name(&self) -> &'static str;
    /// Called before every start. Once clients know the address, it must not change.
    fn prepare(&mut self, log: &Path, address_is_known: bool) -> Result<(), String>;
    fn invocation(&self) -> Invocation;
    /// Whether the server responds. May block for a second.
    fn is_ready(&self) -> bool;
    /// How long a running process may take to become ready.
    fn start_timeout(&self) -> Duration;
    /// The address for clients, once the server is ready.
    fn address(&self) -> String;
    /// Whether a restart would be faster than waiting for this process.
    fn is_stuck(&self) -> bool {
        false
    }

    /// The signal for an orderly stop.
    fn stop_signal(&self) -> &'static str;
    /// Called after the process has ended.
    fn clean_up(&self) {}
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Up,
    Down,
    /// Down, and the thread ends.
    Ended,
}

struct State {
    wanted: Wanted,
    pid: Option<u32>,
    /// The address while the server is ready.
    up: Option<String>,
    failure: Option<String>,
}

struct Shared {
    name: &'static str,
    stop_signal: &'static str,
    state: Mutex<State>,
    changed: Condvar,
}

/// A handle to one server. Dropping it stops the server.
pub struct Server {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins to start the server, and returns immediately.
    pub(super) fn launch(spec: impl ServerSpec, directory: &Directory) -> Result<Self, Error> {
        let name = spec.name();
        let state = State { wanted: Wanted::Up, pid: None, up: None, failure: None };
        let shared = Arc::new(Shared { name, stop_signal: spec.stop_signal(), state: Mutex::new(state), changed: Condvar::new() });
        let supervisor = Supervisor { spec, shared: shared.clone(), log: directory.log_of(name), pid_file: directory.pid_file_of(name) };
        let thread = std::thread::Builder::new().name(format!("keep-{name}")).spawn(move || supervisor.run());
        let thread = thread.map_err(Error::io(format!("no thread can be started for {name}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits until the server is ready, and returns its address.
    pub fn wait_until_up(&self) -> Result<String, Error> {
        let mut state = self.shared.lock();
        loop {
            if let Some(address) = &state.up {
                return Ok(address.clone());
            }
            if state.wanted != Wanted::Up {
                let why = state.failure.clone().unwrap_or_else(|| "it was stopped".into());
                return Err(Error::NotStarted(self.shared.name, why));
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The PID of the process, if it is running.
    pub fn pid(&self) -> Option<u32> {
        self.shared.lock().pid
    }

    /// Pauses all its processes: connections stay open, but nothing responds.
    pub fn freeze(&self) {
        if let Some(pid) = self.pid() {
            let family = process::family(pid);
            process::signal(&family, "STOP");
            process::wait_until_still(&family);
        }
    }

    pub fn thaw(&self) {
        if let Some(pid) = self.pid() {
            process::signal(&process::family(pid), "CONT");
        }
    }

    /// `kill -9`. The server is restarted, as after any other death.
    pub fn kill(&self) {
        if let Some(pid) = self.pid() {
            process::signal(&process::family(pid), "KILL");
            self.shared.wait_for(Duration::from_secs(10), |state| state.pid != Some(pid));
        }
    }

    /// Stops the server in an orderly way. It stays down until `start`.
    pub fn stop(&self) {
        self.shared.stop(Wanted::Down);
    }

    /// Starts the server after `stop`, and waits until it is ready.
    pub fn start(&self) -> Result<(), Error> {
        self.shared.want(Wanted::Up);
        self.wait_until_up().map(drop)
    }

    pub fn restart(&self) -> Result<(), Error> {
        self.stop();
        self.start()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop(Wanted::Ended);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("The thread that supervised {} panicked", self.shared.name);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(&self, wanted: Wanted) {
        let mut state = self.lock();
        if state.wanted != Wanted::Ended {
            state.wanted = wanted;
            state.failure = None;
        }
        self.changed.notify_all();
    }

    /// Waits until `done` is true. Returns false if `limit` passes first.
    fn wait_for(&self, limit: Duration, done: impl Fn(&State) -> bool) -> bool {
        let (_state, result) =
            self.changed.wait_timeout_while(self.lock(), limit, |state| !done(state)).unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }

    /// First an orderly stop, then a kill.
    fn stop(&self, wanted: Wanted) {
        self.want(wanted);
        let Some(pid) = self.lock().pid else { return };
        // A paused process receives no other signal.
        process::signal(&process::family(pid), "CONT");
        process::signal(&[pid], self.stop_signal);
        if !self.wait_for(Duration::from_secs(15), |state| state.pid != Some(pid)) {
            log::warn!("{} does not stop; it is killed", self.name);
            process::signal(&process::family(pid), "KILL");
            self.wait_for(Duration::from_secs(5), |state| state.pid != Some(pid));
        }
    }
}

/// The state of the thread. The death signal of the process is sent when this thread ends.
struct Supervisor<R> {
    spec: R,
    shared: Arc<Shared>,
    log: PathBuf,
    pid_file: PathBuf,
}

impl<R: ServerSpec> Supervisor<R> {
    fn run(mut self) {
        self.rotate_log();
        process::wait_for_predecessor(self.spec.name(), &self.pid_file, FIRST_START / 2);
        let mut was_up = false;
        let mut failures = 0;
        let began = Instant::now();
        loop {
            let state = self.shared.changed.wait_while(self.shared.lock(), |state| state.wanted == Wanted::Down);
            if state.unwrap_or_else(PoisonError::into_inner).wanted == Wanted::Ended {
                return;
            }
            let started = Instant::now();
            let outcome = self.run_process(&mut was_up);
            self.spec.clean_up();
            if self.shared.lock().wanted != Wanted::Up {
                failures = 0;
                continue;
            }
            // A process that ran for a while before it died counts as the first failure.
            failures = if started.elapsed() > Duration::from_secs(30) { 1 } else { failures + 1 };
            let why = outcome.err().unwrap_or_else(|| "it ended".into());
            if !was_up && began.elapsed() > FIRST_START {
                let mut state = self.shared.lock();
                state.failure = Some(format!("{why}\n{}", self.log_tail()));
                state.wanted = Wanted::Down;
                self.shared.changed.notify_all();
                continue;
            }
            if was_up {
                log::warn!("{} died ({why}); it will be restarted", self.spec.name());
            }
            let pause = Duration::from_millis(50 << failures.min(7));
            self.shared.wait_for(pause, |state| state.wanted != Wanted::Up);
        }
    }

    /// Runs one process from its start to its end.
    fn run_process(&mut self, was_up: &mut bool) -> Result<(), String> {
        self.spec.prepare(&self.log, *was_up)?;
        let mut command = self.spec.invocation().command(&self.log).map_err(|error| error.to_string())?;
        let mut child = {
            // The lock is held, so that a stop comes either before the start or sees the PID.
            let mut state = self.shared.lock();
            if state.wanted != Wanted::Up {
                return Ok(());
            }
            let child = command.spawn().map_err(|error| error.to_string())?;
            state.pid = Some(child.id());
            child
        };
        process::record(&self.pid_file, child.id());
        let ready = self.wait_until_ready(&mut child);
        if ready {
            *was_up = true;
            self.shared.lock().up = Some(self.spec.address());
            self.shared.changed.notify_all();
        }
        let status = child.wait();
        let mut state = self.shared.lock();
        state.pid = None;
        state.up = None;
        self.shared.changed.notify_all();
        drop(state);
        match status {
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// False if the process ended instead. A process that does not respond is killed.
    fn wait_until_ready(&self, child: &mut Child) -> bool {
        let deadline = Instant::now() + self.spec.start_timeout();
        while matches!(child.try_wait(), Ok(None)) {
            if self.spec.is_ready() {
                return true;
            }
            if self.spec.is_stuck() {
                process::signal(&process::family(child.id()), "KILL");
                return false;
            }
            if Instant::now() > deadline {
                log::error!("{} was not ready within {} s and will be killed", self.spec.name(), self.spec.start_timeout().as_secs());
                process::signal(&process::family(child.id()), "KILL");
                return false;
            }
            std::thread::sleep(POLL);
        }
        false
    }

    fn rotate_log(&self) {
        if std::fs::metadata(&self.log).is_ok_and(|log| log.len() > 10 << 20) {
            drop(std::fs::rename(&self.log, self.log.with_extension("log.1")));
        }
    }

    fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4_000)..]);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n");
        format!("The end of {}:\n{last}", self.log.display())
    }
}
