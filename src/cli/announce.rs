//! The message shown when Larder is ready.

use std::process::{Command, Stdio};

use super::print_line;

/// Prints Larder's URL and, before the first admin exists, the setup link; opens a browser if a display is available.
pub fn announce(address: &str, setup_link: Option<&str>) {
    let mut lines = vec![String::new(), format!("  Larder is ready at   {address}")];
    if let Some(link) = setup_link {
        lines.push(format!("  Create the first admin: {link}"));
    }
    lines.extend(["  Press Ctrl-C to stop.".to_owned(), String::new()]);
    print_line(&lines.join("\n"));
    let display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if display {
        open(setup_link.unwrap_or(address));
    }
}

/// Best effort: the URL is also printed on the terminal.
fn open(address: &str) {
    let mut command = Command::new("xdg-open");
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A thread waits for the process, so that it does not become a zombie.
    std::thread::spawn(move || command.status());
}
