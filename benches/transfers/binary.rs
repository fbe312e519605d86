//! The release binary on a free port, with a signed-in admin.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use larder::config::EmbeddedUrls;
use reqwest::header::{ORIGIN, SET_COOKIE};

use crate::process::Running;

const EMAIL: &str = "bench@example.com";
const PASSWORD: &str = "only-for-benches-7291";

pub struct Larder {
    process: Running,
    /// `http://127.0.0.1:<port>`
    pub base: String,
    /// `name=value`
    pub cookie: String,
    pub http: reqwest::Client,
}

/// The environment of an instance on these stores.
pub fn environment(urls: &EmbeddedUrls, bucket: &str) -> Vec<(&'static str, String)> {
    let values = [
        ("DATABASE_URL", urls.database_url.as_str()),
        ("REDIS_URL", &urls.redis_url),
        ("REDIS_BROWSE_URL", &urls.redis_browse_url()),
        // A single user sends all requests.
        ("RATE_LIMIT_PER_MINUTE", "0"),
        ("S3_ENDPOINT_URL", &urls.s3_endpoint),
        ("S3_BUCKETS", bucket),
        ("AWS_ACCESS_KEY_ID", &urls.s3_access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &urls.s3_secret_access_key),
        ("ADMIN_EMAIL", EMAIL),
        ("ADMIN_PASSWORD", PASSWORD),
        ("BIND", "127.0.0.1:0"),
    ];
    values.map(|(name, value)| (name, value.to_owned())).into()
}

/// Starts the release binary without waiting. `log` is truncated, since it will contain the listening address.
pub fn launch(arguments: &[&str], environment: &[(&str, &str)], log: &Path) -> Result<Running> {
    // The log may contain the address of an earlier instance.
    drop(std::fs::remove_file(log));
    let directory = log.parent().context("the log has no directory")?.display().to_string();
    let environment: Vec<(&str, &str)> = [("TMPDIR", directory.as_str())].into_iter().chain(environment.iter().copied()).collect();
    Running::start(env!("CARGO_BIN_EXE_larder"), arguments, &environment, log)
}

impl Larder {
    pub async fn start(urls: &EmbeddedUrls, bucket: &str, log: &Path) -> Result<Self> {
        Self::start_with(urls, bucket, log, &[]).await
    }

    /// With additional or changed variables.
    pub async fn start_with(urls: &EmbeddedUrls, bucket: &str, log: &Path, more: &[(&str, &str)]) -> Result<Self> {
        let environment = environment(urls, bucket);
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied()).collect();
        let process = launch(&["serve"], &environment, log)?;
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        let mut larder = Self { process, base: String::new(), cookie: String::new(), http };
        larder.wait_until_ready(log).await.with_context(|| format!("{:?}", std::fs::read_to_string(log).unwrap_or_default()))?;
        larder.sign_in().await?;
        Ok(larder)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    async fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let began = Instant::now();
        loop {
            self.process.check()?;
            let text = std::fs::read_to_string(log)?;
            if let Some((_, rest)) = text.split_once("listening on ") {
                self.base = rest.lines().next().unwrap_or_default().trim().to_owned();
                let ready = self.http.get(format!("{}/readyz", self.base)).send().await;
                if ready.is_ok_and(|answer| answer.status() == 200) {
                    return Ok(());
                }
            }
            if began.elapsed() > Duration::from_secs(30) {
                bail!("Larder is not ready after 30 s");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The admin is created a moment after startup.
    async fn sign_in(&mut self) -> Result<()> {
        for _ in 0..5 {
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs([("email", EMAIL), ("password", PASSWORD)]).finish();
            let request = self.http.post(format!("{}/session", self.base)).header(ORIGIN, &self.base);
            let answer = request.header("content-type", "application/x-www-form-urlencoded").body(form).send().await?;
            if answer.status() == 303 {
                let cookies = answer.headers().get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
                let session = cookies.filter_map(|cookie| cookie.split(';').next()).find(|cookie| cookie.starts_with("larder="));
                self.cookie = session.context("signing in set no cookie")?.to_owned();
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bail!("the admin cannot sign in")
    }

    /// The URL of an upload form. `single`: it has one file.
    pub fn form_url(&self, bucket: &str, prefix: &str, single: bool) -> String {
        format!("{}/buckets/{bucket}/uploads?prefix={prefix}{}", self.base, if single { "&single=1" } else { "" })
    }

    pub fn download_url(&self, bucket: &str, key: &str) -> String {
        format!("{}/buckets/{bucket}/download?key={key}", self.base)
    }
}
