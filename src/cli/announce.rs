//! What a person sees once Larder is ready to be used.

use std::process::{Command, Stdio};

use super::say;

/// Prints where Larder is and, before the first admin exists, the link that makes one; opens a browser where there
/// is a display.
pub fn announce(address: &str, setup_link: Option<&str>) {
    let mut lines = vec![String::new(), format!("  Larder is ready at   {address}")];
    if let Some(link) = setup_link {
        lines.push(format!("  Make the first admin {link}"));
    }
    lines.extend(["  Press Ctrl-C to stop.".to_owned(), String::new()]);
    say(&lines.join("\n"));
    let display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if display {
        open(setup_link.unwrap_or(address));
    }
}

/// Tried, not promised: the address stands on the terminal.
fn open(address: &str) {
    let mut command = Command::new("xdg-open");
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Waited for in a thread, so that it does not stay behind as a zombie.
    std::thread::spawn(move || command.status());
}
