//! The environment of the measurement: the machine, and the versions of all programs involved.

use std::process::Command;

use serde_json::{Value, json};

fn cpu_info(field: &str) -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == field));
    line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// Whether the processor has SHA-256 instructions.
pub fn has_sha() -> bool {
    // x86 and Arm use different names.
    let (flags, features) = (cpu_info("flags"), cpu_info("Features"));
    flags.split(' ').any(|flag| flag == "sha_ni") || features.split(' ').any(|feature| feature == "sha2")
}

pub fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

pub fn describe(store: &str) -> Value {
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": cpu_info("model name"),
        "sha_instructions": has_sha(),
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "larder": format!("{} {}", env!("CARGO_PKG_VERSION"), first_line("git", &["describe", "--always", "--dirty"])),
        "store": store,
        "nginx": first_line("nginx", &["-v"]),
        "curl": first_line("curl", &["--version"]).split(" (").next(),
    })
}

/// The version installed by `.ci/install`: a MinIO built with Go does not know its own version.
pub fn pinned(name: &str) -> String {
    let text = std::fs::read_to_string(".ci/common").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
}

/// The first line that a program prints, on either output.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/sbin", std::env::var_os("PATH").unwrap_or_default().display());
    let Ok(output) = Command::new(program).args(arguments).env("PATH", path).output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}
