//! Where Larder spends processor time, by `perf`: separate from the measurements, because it slows them down.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::report;

/// Number of functions printed.
const TOP: usize = 25;

pub struct Profile {
    perf: Child,
    data: PathBuf,
}

impl Profile {
    pub fn start(row: &str, pid: u32) -> Result<Self> {
        let data = report::directory()?.join(format!("{row}.perf"));
        let mut command = Command::new("perf");
        command.args(["record", "--quiet", "-F", "1999", "-p", &pid.to_string(), "-o"]).arg(&data);
        let perf = command.stdin(Stdio::null()).spawn().context("--profile needs perf (Debian package linux-perf)")?;
        // It attaches a moment after its start.
        std::thread::sleep(std::time::Duration::from_millis(500));
        Ok(Self { perf, data })
    }

    pub fn finish(mut self) -> Result<()> {
        Command::new("kill").args(["-s", "INT", &self.perf.id().to_string()]).status()?;
        self.perf.wait()?;
        let arguments = ["report", "--stdio", "--no-children", "--sort", "symbol", "--percent-limit", "0.4", "-i"];
        let output = Command::new("perf").args(arguments).arg(&self.data).stdin(Stdio::null()).output()?;
        println!("\nProfile of Larder, kept in {}:", self.data.display());
        let text = String::from_utf8_lossy(&output.stdout);
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).take(TOP) {
            // Empty columns follow the name.
            println!("  {:.150}", line.trim().split("    ").next().unwrap_or_default());
        }
        Ok(())
    }
}
