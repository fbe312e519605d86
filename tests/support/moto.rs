//! moto, an implementation of the S3 API in Python that has archived objects and storage classes.

use std::sync::OnceLock;

use super::python_server::PythonServer;

/// The shared instance of this test binary.
pub async fn moto() -> &'static PythonServer {
    static SHARED: OnceLock<PythonServer> = OnceLock::new();
    tokio::task::spawn_blocking(|| SHARED.get_or_init(|| PythonServer::start("moto", "moto_server.py", &[]))).await.unwrap()
}
