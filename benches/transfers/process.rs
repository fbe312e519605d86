//! Child processes that end with this one, and their resource use from `/proc`.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Ticks per second of `utime` and `stime` in `/proc/PID/stat`: 100 on every Linux.
const TICKS: f64 = 100.0;

/// A server that ends on drop, and with this process however it ends.
pub struct Running(Child);

impl Running {
    /// The death signal depends on the calling thread: call this on the main thread.
    pub fn start(program: &str, arguments: &[&str], environment: &[(&str, &str)], log: &Path) -> Result<Self> {
        let output = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--", program])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .envs(environment.iter().copied())
            // In another directory, so that Larder does not read a `.env`.
            .current_dir(log.parent().context("the log has no directory")?)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        command.spawn().map(Self).with_context(|| program.to_owned())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.0.try_wait()? {
            Some(status) => bail!("the process ended: {status}"),
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.check().is_err() {
            return;
        }
        let pid = self.0.id().to_string();
        drop(Command::new("kill").args(["-s", "TERM", &pid]).status());
        for _ in 0..100 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Processor time of a process including its threads and children, in seconds.
pub fn cpu(pid: u32) -> Result<f64> {
    let mut ticks = 0;
    for pid in std::iter::once(pid).chain(children(pid)) {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the program's name in parentheses, which may itself contain spaces and parentheses.
        let fields: Vec<&str> = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        for field in [11, 12] {
            ticks += fields.get(field).and_then(|ticks| ticks.parse::<u32>().ok()).context("/proc/PID/stat cannot be read")?;
        }
    }
    Ok(f64::from(ticks) / TICKS)
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Resets the peak memory.
pub fn reset_peak(pid: u32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("failed to reset the peak memory")
}

/// Peak memory since [`reset_peak`], in bytes.
pub fn peak(pid: u32) -> Result<u64> {
    status(pid, "VmHWM:")
}

/// Current memory, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

fn status(pid: u32, field: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context("a field of /proc/PID/status is missing")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? << 10)
}
