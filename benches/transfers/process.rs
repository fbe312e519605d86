//! Processes of ours: they die with us, and `/proc` says what they use.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Of `utime` and `stime` in `/proc/PID/stat`: a hundred a second on every Linux that has a `/proc`.
const TICKS: f64 = 100.0;

/// A server that ends when this is dropped, and with us however we end.
pub struct Running(Child);

impl Running {
    /// The death signal hangs on the thread that calls this: call it on the main thread.
    pub fn start(program: &str, arguments: &[&str], environment: &[(&str, &str)], log: &Path) -> Result<Self> {
        let output = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--", program])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .envs(environment.iter().copied())
            // Away from a `.env` that Larder would read.
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

    /// An error once it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.0.try_wait()? {
            Some(status) => bail!("it ended: {status}"),
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

/// Processor time of a process, all its threads and its children, in seconds.
pub fn cpu(pid: u32) -> Result<f64> {
    let mut ticks = 0;
    for pid in std::iter::once(pid).chain(children(pid)) {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the program's name in brackets, and may itself hold spaces and brackets.
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

/// From now on the peak is that of what comes.
pub fn forget_peak(pid: u32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("the peak of memory cannot be reset")
}

/// The most memory since [`forget_peak`], in bytes.
pub fn peak(pid: u32) -> Result<u64> {
    status(pid, "VmHWM:")
}

/// Memory now, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

fn status(pid: u32, field: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context("a field of /proc/PID/status is missing")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? << 10)
}
