//! A stub of Qdrant, for which no package exists: see `qdrant.py`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

pub struct QdrantServer {
    /// `http://127.0.0.1:<port>`
    pub base: String,
    /// Ends when its standard input closes, at the latest with this process.
    _process: Child,
}

impl QdrantServer {
    pub const KEY: &str = "key-of-the-tests";

    /// The shared instance of this test binary.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<QdrantServer> = OnceLock::new();
        tokio::task::spawn_blocking(|| SHARED.get_or_init(Self::start)).await.unwrap()
    }

    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut process = Command::new(root.join(".cache/qdrant-client/bin/python"))
            .arg(root.join("tests/support/qdrant.py"))
            .env("QDRANT_KEY", Self::KEY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Qdrant's Python client is there; `.ci/install test` installs it");
        let mut base = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut base).unwrap();
        assert!(base.starts_with("http://"), "tests/support/qdrant.py does not start: it says {base:?}");
        Self { base: base.trim().to_owned(), _process: process }
    }
}
