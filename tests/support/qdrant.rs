//! A stub of Qdrant, for which no package exists: see `qdrant.py`.

use std::sync::OnceLock;

use super::python_server::PythonServer;

pub const QDRANT_KEY: &str = "key-of-the-tests";

/// The shared instance of this test binary.
pub async fn qdrant() -> &'static PythonServer {
    static SHARED: OnceLock<PythonServer> = OnceLock::new();
    let start = || PythonServer::start("qdrant-client", "qdrant.py", &[("QDRANT_KEY", QDRANT_KEY)]);
    tokio::task::spawn_blocking(move || SHARED.get_or_init(start)).await.unwrap()
}
