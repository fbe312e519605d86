//! The compared endpoints, and one transfer through each with curl.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::binary::Larder;
use crate::stage::{BUCKET, Stage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Directly to the store: the baseline of the others.
    Store,
    Nginx,
    Larder,
}

impl Endpoint {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Nginx => "nginx",
            Self::Larder => "larder",
        }
    }
}

#[derive(Clone, Copy)]
pub struct Endpoints<'a> {
    pub stage: &'a Stage,
    pub larder: &'a Larder,
}

impl Endpoints<'_> {
    /// The process between curl and the store.
    pub fn pid(&self, endpoint: Endpoint) -> Option<u32> {
        match endpoint {
            Endpoint::Store => None,
            Endpoint::Nginx => Some(self.stage.nginx.pid()),
            Endpoint::Larder => Some(self.larder.pid()),
        }
    }

    /// Uploads the object `prefix` + file name; returns when the endpoint reports it as stored.
    pub async fn upload(&self, endpoint: Endpoint, prefix: &str, name: &str, file: &Path) -> Result<()> {
        let key = format!("{prefix}{name}");
        let path = file.display();
        let (arguments, expected) = match endpoint {
            Endpoint::Larder => {
                let headers = [format!("Cookie: {}", self.larder.cookie), format!("Origin: {}", self.larder.base)];
                let form = format!("file=@{path};filename={name};type=application/octet-stream");
                let mut arguments = vec!["-H".to_owned(), "Accept: application/json".to_owned(), "-F".to_owned(), form];
                arguments.extend(headers.into_iter().flat_map(|header| ["-H".to_owned(), header]));
                arguments.push(self.larder.form_url(BUCKET, prefix, true));
                (arguments, 201)
            }
            Endpoint::Store | Endpoint::Nginx => {
                let url = self.stage.presigned_put(&key).await?;
                let url = if endpoint == Endpoint::Nginx { self.stage.by_nginx(&url) } else { url };
                (vec!["-T".to_owned(), path.to_string(), url], 200)
            }
        };
        let answer = curl(&arguments).await?;
        ensure!(answer.status == expected, "{} answered {} to an upload", endpoint.as_str(), answer.status);
        Ok(())
    }

    /// Fails unless all `size` bytes are received.
    pub async fn download(&self, endpoint: Endpoint, key: &str, size: u64) -> Result<()> {
        let arguments = match endpoint {
            Endpoint::Larder => {
                let url = self.larder.download_url(BUCKET, key);
                vec!["-H".to_owned(), format!("Cookie: {}", self.larder.cookie), url]
            }
            Endpoint::Store => vec![self.stage.presigned_get(key).await?],
            Endpoint::Nginx => vec![self.stage.by_nginx(&self.stage.presigned_get(key).await?)],
        };
        let answer = curl(&arguments).await?;
        ensure!(answer.status == 200, "{} answered {} to a download", endpoint.as_str(), answer.status);
        ensure!(answer.received == size, "{} gave {} bytes of {size}", endpoint.as_str(), answer.received);
        Ok(())
    }
}

struct Answer {
    status: u16,
    received: u64,
}

async fn curl(arguments: &[String]) -> Result<Answer> {
    let mut command = tokio::process::Command::new("curl");
    // `-q` comes first, so that the user's curl configuration is ignored.
    command.args(["-q", "-sS", "--noproxy", "*", "-m", "1800", "-o", "/dev/null", "-w", "%{http_code} %{size_download}"]).args(arguments);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("failed to start curl")?;
    ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr).trim());
    let text = String::from_utf8(output.stdout)?;
    let (status, received) = text.trim().split_once(' ').context("unexpected output of curl")?;
    Ok(Answer { status: status.parse()?, received: received.parse()? })
}
