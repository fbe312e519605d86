//! Many small files in one form, like a browser sending a folder, compared with the SDK sending sixteen at a time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, ORIGIN};
use serde_json::Value;

use crate::arguments::RowName;
use crate::endpoints::{Endpoint, Endpoints};
use crate::rounds::{Plan, Series, measure};
use crate::stage::BUCKET;

const SIZE: usize = 4 << 10;
const AT_ONCE: usize = 16;
const BOUNDARY: &str = "----larder-bench-6d1f0c52";
/// Parts written at once, like a browser's buffer.
const TOGETHER: u32 = 16;

pub async fn run(endpoints: Endpoints<'_>) -> Result<(String, u64, Vec<Series>)> {
    let count = endpoints.stage.arguments.files;
    let content = Bytes::from(std::fs::read(endpoints.stage.input(SIZE as u64)?)?);
    let bytes = u64::from(count) * SIZE as u64;
    let plan = Plan { row: RowName::Small, rounds: endpoints.stage.arguments.rounds, warm_up: true, disk: 4 * bytes };
    let send = async |endpoint: Endpoint, name: &str| {
        let prefix = format!("{name}/");
        match endpoint {
            Endpoint::Larder => by_form(endpoints, &prefix, count, &content).await,
            Endpoint::Store | Endpoint::Nginx => by_sdk(endpoints, &prefix, count, &content).await,
        }
    };
    let after = async |name: &str| {
        let prefix = format!("{name}/");
        endpoints.stage.check(&prefix, count as usize, SIZE as u64).await?;
        endpoints.stage.clear(&prefix).await
    };
    let series = measure(endpoints, &[Endpoint::Store, Endpoint::Larder], plan, send, after).await?;
    Ok((format!("{count} × 4 KiB. All in one form, against the same PUTs by the SDK, {AT_ONCE} at a time"), bytes, series))
}

async fn by_sdk(endpoints: Endpoints<'_>, prefix: &str, count: u32, content: &Bytes) -> Result<()> {
    let puts = stream::iter(0..count).map(|number| {
        let put = endpoints.stage.s3.put_object().bucket(BUCKET).key(format!("{prefix}{}", name(number)));
        // One task each, so that all cores are used.
        tokio::spawn(put.body(ByteStream::from(content.clone())).send())
    });
    let mut puts = puts.buffer_unordered(AT_ONCE);
    while let Some(put) = puts.next().await {
        put??;
    }
    Ok(())
}

async fn by_form(endpoints: Endpoints<'_>, prefix: &str, count: u32, content: &Bytes) -> Result<()> {
    let larder = endpoints.larder;
    let end = format!("--{BOUNDARY}--\r\n");
    let length = u64::from(count) * part(0, content).len() as u64 + end.len() as u64;
    let content = content.clone();
    let parts = stream::iter((0..count).step_by(TOGETHER as usize)).map(move |first| {
        let some = first..(first + TOGETHER).min(count);
        Ok::<_, std::convert::Infallible>(Bytes::from(some.flat_map(|number| part(number, &content)).collect::<Vec<u8>>()))
    });
    let body = parts.chain(stream::once(async move { Ok(Bytes::from(end)) }));
    let request = larder.http.post(larder.form_url(BUCKET, prefix, false)).timeout(Duration::from_secs(1800));
    let request = request
        .header(COOKIE, &larder.cookie)
        .header(ORIGIN, &larder.base)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
        .header(CONTENT_LENGTH, length)
        .body(reqwest::Body::wrap_stream(body));
    let answer = request.send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status == 201, "Larder answered {status} to the form: {text:.300}");
    let body: Value = serde_json::from_str(&text)?;
    let files = body["files"].as_array().context("Larder's answer has no files")?;
    ensure!(files.len() == count as usize, "Larder answered with {} files of {count}", files.len());
    Ok(())
}

/// Names of equal length.
fn name(number: u32) -> String {
    format!("file-{number:05}.bin")
}

fn part(number: u32, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\nContent-Type: application/octet-stream\r\n\r\n",
        name(number)
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}
