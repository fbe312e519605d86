//! Neighbours of Larder, served by this program in a separate process: a stub that answers the checks like Qdrant and
//! LiteLLM, and a bare page.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::process::Running;

/// The same value as in Larder.
const WRITE_BUFFER: usize = 128 << 10;

pub struct Neighbour {
    pub address: SocketAddr,
    process: Running,
}

impl Neighbour {
    /// `what`: `stub`, or a file with the head and the body of the bare page.
    pub async fn start(what: &str, directory: &Path) -> Result<Self> {
        let address = free_address()?;
        let program = std::env::current_exe()?.display().to_string();
        let process =
            Running::start(&program, &["--neighbour", what, "--at", &address.to_string()], &[], &directory.join("neighbours.log"))?;
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(Self { address, process });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("{what} does not listen at {address}")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        Command::new("kill").args(["-s", name, &self.process.pid().to_string()]).status()?;
        Ok(())
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // A frozen process receives no other signal.
        drop(self.thaw());
    }
}

/// On this machine, with a port on which nothing listens.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Runs in the neighbour process; never returns.
pub async fn serve(what: &str, at: SocketAddr) -> Result<()> {
    if what == "stub" {
        return Ok(HttpServer::new(|| App::new().configure(stub)).workers(1).bind(at)?.run().await?);
    }
    let page = std::fs::read(what).with_context(|| what.to_owned())?;
    let end = page.windows(4).position(|four| four == b"\r\n\r\n").context("the page has no head")?;
    let head = std::str::from_utf8(&page[..end])?.to_owned();
    let body = bytes::Bytes::copy_from_slice(&page[end + 4..]);
    let headers: Vec<(HeaderName, HeaderValue)> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        // actix writes these two headers itself.
        .filter(|(name, _)| !matches!(*name, "content-length" | "date"))
        .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
        .collect();
    let bare = move || {
        let (headers, body) = (headers.clone(), body.clone());
        let answer = move || {
            let mut answer = HttpResponse::Ok();
            for (name, value) in &headers {
                answer.append_header((name.clone(), value.clone()));
            }
            std::future::ready(answer.body(body.clone()))
        };
        App::new().route("/", web::get().to(answer))
    };
    Ok(HttpServer::new(bare).h1_write_buffer_size(WRITE_BUFFER).bind(at)?.run().await?)
}

/// The requests of Larder's checks to Qdrant and LiteLLM. No path belongs to both.
fn stub(cfg: &mut web::ServiceConfig) {
    let tells = |value: serde_json::Value| web::get().to(move || std::future::ready(HttpResponse::Ok().json(value.clone())));
    let healthy = json!({ "status": "healthy", "litellm_version": "1.106.2" });
    let models = json!({ "data": [{ "id": "small" }, { "id": "large" }, { "id": "embedding" }] });
    cfg.route("/", tells(json!({ "version": "1.12.2" })))
        .route("/readyz", web::get().to(|| std::future::ready("all shards are ready")))
        .route("/collections", tells(json!({ "result": { "collections": [] } })))
        .route("/health/readiness", tells(healthy.clone()))
        .route("/health/readiness/details", tells(healthy))
        .route("/v1/models", tells(models));
}
