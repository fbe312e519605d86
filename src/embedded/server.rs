//! One server: a thread that starts it, waits until it answers, and starts it again when it dies.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::process::{self, Invocation};
use super::{Error, directory::Directory};

/// How long a first start may go on failing: what a killed Larder left behind takes seconds to clear.
const FIRST_START: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// What one kind of server needs.
pub(super) trait Recipe: Send + 'static {
    fn name(&self) -> &'static str;
    /// Called before every start. Once clients know the address, it must not change.
    fn prepare(&mut self, log: &Path, address_is_known: bool) -> Result<(), String>;
    fn invocation(&self) -> Invocation;
    /// Whether it answers. May block for a second.
    fn answers(&self) -> bool;
    /// How long a process that runs may take to answer.
    fn patience(&self) -> Duration;
    /// What clients are told once it answers.
    fn address(&self) -> String;
    /// Sent to stop it in order.
    /// Whether a new process would answer sooner than this one.
    fn is_stuck(&self) -> bool {
        false
    }

    fn stop_signal(&self) -> &'static str;
    /// After it has ended.
    fn clean_up(&self) {}
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Up,
    Down,
    /// Down, and the thread ends.
    Gone,
}

struct State {
    wanted: Wanted,
    pid: Option<u32>,
    /// The address, while it answers.
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
    /// Begins to start it, and does not wait.
    pub(super) fn launch(recipe: impl Recipe, directory: &Directory) -> Result<Self, Error> {
        let name = recipe.name();
        let state = State { wanted: Wanted::Up, pid: None, up: None, failure: None };
        let shared = Arc::new(Shared { name, stop_signal: recipe.stop_signal(), state: Mutex::new(state), changed: Condvar::new() });
        let keeper = Keeper { recipe, shared: shared.clone(), log: directory.log_of(name), pid_file: directory.pid_file_of(name) };
        let thread = std::thread::Builder::new().name(format!("keep-{name}")).spawn(move || keeper.run());
        let thread = thread.map_err(Error::io(format!("no thread can be started for {name}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits until it answers, and gives its address.
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

    /// The process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.shared.lock().pid
    }

    /// Stops all its processes where they stand: connections stay open and nothing answers.
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

    /// `kill -9`. It is started again, as after any other death.
    pub fn kill(&self) {
        if let Some(pid) = self.pid() {
            process::signal(&process::family(pid), "KILL");
            self.shared.wait_for(Duration::from_secs(10), |state| state.pid != Some(pid));
        }
    }

    /// Stops it in order; it stays down until `start`.
    pub fn stop(&self) {
        self.shared.stop(Wanted::Down);
    }

    /// Starts it after `stop`, and waits until it answers.
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
        self.shared.stop(Wanted::Gone);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("The thread that kept {} panicked", self.shared.name);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(&self, wanted: Wanted) {
        let mut state = self.lock();
        if state.wanted != Wanted::Gone {
            state.wanted = wanted;
            state.failure = None;
        }
        self.changed.notify_all();
    }

    /// Waits until `done`; false when `limit` passes first.
    fn wait_for(&self, limit: Duration, done: impl Fn(&State) -> bool) -> bool {
        let (_state, result) =
            self.changed.wait_timeout_while(self.lock(), limit, |state| !done(state)).unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }

    /// In order, then by force.
    fn stop(&self, wanted: Wanted) {
        self.want(wanted);
        let Some(pid) = self.lock().pid else { return };
        // A frozen process hears nothing else.
        process::signal(&process::family(pid), "CONT");
        process::signal(&[pid], self.stop_signal);
        if !self.wait_for(Duration::from_secs(15), |state| state.pid != Some(pid)) {
            log::warn!("{} does not stop; it is killed", self.name);
            process::signal(&process::family(pid), "KILL");
            self.wait_for(Duration::from_secs(5), |state| state.pid != Some(pid));
        }
    }
}

/// What the thread owns. The death signal of the process hangs on this thread.
struct Keeper<R> {
    recipe: R,
    shared: Arc<Shared>,
    log: PathBuf,
    pid_file: PathBuf,
}

impl<R: Recipe> Keeper<R> {
    fn run(mut self) {
        self.keep_log_short();
        process::wait_for_predecessor(self.recipe.name(), &self.pid_file, FIRST_START / 2);
        let mut was_up = false;
        let mut failures = 0;
        let began = Instant::now();
        loop {
            let state = self.shared.changed.wait_while(self.shared.lock(), |state| state.wanted == Wanted::Down);
            if state.unwrap_or_else(PoisonError::into_inner).wanted == Wanted::Gone {
                return;
            }
            let started = Instant::now();
            let outcome = self.run_once(&mut was_up);
            self.recipe.clean_up();
            if self.shared.lock().wanted != Wanted::Up {
                failures = 0;
                continue;
            }
            // One that ran for a while and died is not one that cannot start.
            failures = if started.elapsed() > Duration::from_secs(30) { 1 } else { failures + 1 };
            let why = outcome.err().unwrap_or_else(|| "it ended".into());
            if !was_up && began.elapsed() > FIRST_START {
                let mut state = self.shared.lock();
                state.failure = Some(format!("{why}\n{}", self.end_of_log()));
                state.wanted = Wanted::Down;
                self.shared.changed.notify_all();
                continue;
            }
            if was_up {
                log::warn!("{} died ({why}); it is started again", self.recipe.name());
            }
            let pause = Duration::from_millis(50 << failures.min(7));
            self.shared.wait_for(pause, |state| state.wanted != Wanted::Up);
        }
    }

    /// From start to end of one process.
    fn run_once(&mut self, was_up: &mut bool) -> Result<(), String> {
        self.recipe.prepare(&self.log, *was_up)?;
        let mut command = self.recipe.invocation().command(&self.log).map_err(|error| error.to_string())?;
        let mut child = {
            // Under the lock, so that a stop comes either before the start or finds the pid.
            let mut state = self.shared.lock();
            if state.wanted != Wanted::Up {
                return Ok(());
            }
            let child = command.spawn().map_err(|error| error.to_string())?;
            state.pid = Some(child.id());
            child
        };
        process::record(&self.pid_file, child.id());
        let answered = self.wait_for_answer(&mut child);
        if answered {
            *was_up = true;
            self.shared.lock().up = Some(self.recipe.address());
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

    /// False when the process ended instead; one that stays silent is killed.
    fn wait_for_answer(&self, child: &mut Child) -> bool {
        let deadline = Instant::now() + self.recipe.patience();
        while matches!(child.try_wait(), Ok(None)) {
            if self.recipe.answers() {
                return true;
            }
            if self.recipe.is_stuck() {
                process::signal(&process::family(child.id()), "KILL");
                return false;
            }
            if Instant::now() > deadline {
                log::error!("{} did not answer within {} s; it is killed", self.recipe.name(), self.recipe.patience().as_secs());
                process::signal(&process::family(child.id()), "KILL");
                return false;
            }
            std::thread::sleep(POLL);
        }
        false
    }

    fn keep_log_short(&self) {
        if std::fs::metadata(&self.log).is_ok_and(|log| log.len() > 10 << 20) {
            drop(std::fs::rename(&self.log, self.log.with_extension("log.1")));
        }
    }

    fn end_of_log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4_000)..]);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n");
        format!("The end of {}:\n{last}", self.log.display())
    }
}
