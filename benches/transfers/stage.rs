//! The environment of every row: the servers, a bucket, nginx, files to send, and the check of the results.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use larder::embedded::{Options, S3Kind, Servers};

use crate::arguments::{Arguments, Kind};
use crate::cleanup::{self, Cleanup};
use crate::nginx::Nginx;

pub const BUCKET: &str = "bench";
/// Presigned URLs are created for one transfer each.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Always left free on the disk.
const SPARE: u64 = 4 << 30;

pub struct Stage {
    pub arguments: Arguments,
    pub s3: aws_sdk_s3::Client,
    pub nginx: Nginx,
    // Stopped after nginx and before the directory is removed.
    pub servers: Servers,
    pub directory: PathBuf,
    _cleanup: Cleanup,
}

impl Stage {
    /// Call this on the main thread: processes started here end with the thread that started them.
    pub async fn set(arguments: Arguments) -> Result<Self> {
        let directory = match &arguments.directory {
            Some(parent) => parent.join(format!("larder-bench-{}", std::process::id())),
            None => cleanup::directory("bench"),
        };
        std::fs::create_dir_all(&directory)?;
        let cleanup = Cleanup::start(None, [directory.clone()]);
        let s3 = if arguments.store == Kind::Minio { S3Kind::MinIo } else { S3Kind::SeaweedFs };
        let servers = Servers::start(&directory.join("servers"), Options { durable: true, s3 })?;
        let nginx = Nginx::start(&servers.urls().s3_endpoint, &directory)?;
        let s3 = client(&servers);
        s3.create_bucket().bucket(BUCKET).send().await.context("failed to create the bucket")?;
        Ok(Self { arguments, s3, nginx, servers, directory, _cleanup: cleanup })
    }

    /// A file of pseudo-random, incompressible bytes, in the page cache.
    pub fn input(&self, size: u64) -> Result<PathBuf> {
        let path = self.directory.join(format!("input-{size}"));
        if !path.exists() {
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
            let mut left = size;
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            while left > 0 {
                // Xorshift64*.
                state ^= state >> 12;
                state ^= state << 25;
                state ^= state >> 27;
                let bytes = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_ne_bytes();
                let count = usize::try_from(left.min(8))?;
                file.write_all(&bytes[..count])?;
                left -= count as u64;
            }
            file.flush()?;
        }
        // Back into the page cache, in case other rows have evicted it.
        std::io::copy(&mut File::open(&path)?, &mut std::io::sink())?;
        Ok(path)
    }

    /// A sparse file of zeros: for rows that only measure Larder's memory.
    pub fn sparse(&self, size: u64) -> Result<PathBuf> {
        let path = self.directory.join(format!("sparse-{size}"));
        File::create(&path)?.set_len(size)?;
        Ok(path)
    }

    pub async fn presigned_put(&self, key: &str) -> Result<String> {
        let request = self.s3.put_object().bucket(BUCKET).key(key);
        Ok(request.presigned(PresigningConfig::expires_in(LIFETIME)?).await?.uri().to_owned())
    }

    pub async fn presigned_get(&self, key: &str) -> Result<String> {
        let request = self.s3.get_object().bucket(BUCKET).key(key);
        Ok(request.presigned(PresigningConfig::expires_in(LIFETIME)?).await?.uri().to_owned())
    }

    /// The same URL through nginx.
    pub fn by_nginx(&self, url: &str) -> String {
        url.replacen(&self.servers.urls().s3_endpoint, &self.nginx.base, 1)
    }

    pub async fn put_file(&self, key: &str, file: &Path) -> Result<()> {
        self.s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from_path(file).await?).send().await?;
        Ok(())
    }

    /// Checks that exactly these objects exist below `prefix`, with their full size.
    pub async fn check(&self, prefix: &str, count: usize, size: u64) -> Result<()> {
        let found = self.list(prefix).await?;
        ensure!(found.len() == count, "{} objects of {count} arrived", found.len());
        match found.iter().find(|(_, length)| *length != size) {
            Some((key, length)) => bail!("{key} has {length} bytes of {size}"),
            None => Ok(()),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        let mut pages = self.s3.list_objects_v2().bucket(BUCKET).prefix(prefix).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page?.contents() {
                found.push((object.key().unwrap_or_default().to_owned(), u64::try_from(object.size().unwrap_or_default())?));
            }
        }
        Ok(found)
    }

    /// Deletes everything below `prefix`, and makes the store release the space.
    pub async fn clear(&self, prefix: &str) -> Result<()> {
        let found = self.list(prefix).await?;
        for some in found.chunks(1000) {
            let keys = some.iter().map(|(key, _)| ObjectIdentifier::builder().key(key).build());
            let delete = Delete::builder().quiet(true).set_objects(Some(keys.collect::<Result<_, _>>()?)).build()?;
            self.s3.delete_objects().bucket(BUCKET).delete(delete).send().await?;
        }
        self.give_back().await
    }

    async fn give_back(&self) -> Result<()> {
        match self.arguments.store {
            // MinIO moves deleted objects here and empties it every five minutes.
            Kind::Minio => {
                let trash = self.directory.join("servers/s3/minio/.minio.sys/tmp/.trash");
                for entry in std::fs::read_dir(trash).into_iter().flatten().flatten() {
                    // It may have been removed in the meantime.
                    drop(std::fs::remove_dir_all(entry.path()));
                }
            }
            // SeaweedFS keeps deleted objects until its master compacts the volumes.
            Kind::Weed => {
                let (host, port) = self.servers.urls().s3_endpoint.rsplit_once(':').context("the endpoint has no port")?;
                let url = format!("{host}:{}/vol/vacuum?garbageThreshold=0.001", port.parse::<u16>()? + 1);
                reqwest::Client::builder().no_proxy().build()?.get(url).send().await?.error_for_status()?;
            }
        }
        Ok(())
    }

    /// Called before each measurement: flushes earlier writes to disk and ensures that `bytes` are free.
    pub fn settle(&self, bytes: u64) -> Result<()> {
        Command::new("sync").status()?;
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.directory).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let free: u64 = text.lines().last().unwrap_or_default().trim().parse().context("unexpected output of df")?;
        ensure!(free > bytes + SPARE, "{} MiB of disk space are required, but {} MiB are free", (bytes + SPARE) >> 20, free >> 20);
        Ok(())
    }
}

fn client(servers: &Servers) -> aws_sdk_s3::Client {
    let urls = servers.urls();
    let credentials = Credentials::new(&urls.s3_access_key_id, &urls.s3_secret_access_key, None, None, "bench");
    let configuration = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials)
        .region(Region::new("us-east-1"))
        .endpoint_url(&urls.s3_endpoint)
        .force_path_style(true)
        // Like Larder's client: the SDK's default checksum trailers break some stores.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    aws_sdk_s3::Client::from_conf(configuration.build())
}
