//! moto, an implementation of the S3 API in Python that has archived objects and storage classes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

pub struct Moto {
    /// `http://127.0.0.1:<port>`
    pub endpoint: String,
    /// Ends when its standard input closes, at the latest with this process.
    _process: Child,
}

impl Moto {
    /// The shared instance of this test binary.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Moto> = OnceLock::new();
        tokio::task::spawn_blocking(|| SHARED.get_or_init(Self::start)).await.unwrap()
    }

    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut process = Command::new(root.join(".cache/moto/bin/python"))
            .arg(root.join("tests/support/moto_server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts; `.ci/install test` installs it");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("http://"), "tests/support/moto_server.py does not start: its output is {line:?}");
        Self { endpoint: line.trim().to_owned(), _process: process }
    }
}
