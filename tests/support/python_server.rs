//! A server written in Python, which prints its address and ends when its standard input closes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub struct PythonServer {
    /// `http://127.0.0.1:<port>`
    pub base: String,
    /// Ends at the latest with this process.
    _process: Child,
}

impl PythonServer {
    /// Runs `tests/support/<script>` in the Python environment `.cache/<environment>`.
    pub fn start(environment: &str, script: &str, variables: &[(&str, &str)]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut process = Command::new(root.join(".cache").join(environment).join("bin/python"))
            .arg(root.join("tests/support").join(script))
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{script} does not start ({error}); `.ci/install test` installs {environment}"));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("http://"), "tests/support/{script} does not start: its output is {line:?}");
        Self { base: line.trim().to_owned(), _process: process }
    }
}
