//! The transfer of a large file: its parts are received, hashed and sent at the same time.

use aws_lc_rs::digest;
use bytes::Bytes;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::part_buffer::PartBuffer;
use crate::config::UploadConfig;
use crate::domain::faults::crash_point;
use crate::domain::files::OWNER;
use crate::domain::uploads::attempt::{Attempt, Heartbeat};
use crate::domain::uploads::limits::send_rate::SendRate;
use crate::domain::uploads::publishing::{Content, ReceivedFile};
use crate::domain::uploads::row::{self, Digest};
use crate::domain::{Error, Result};
use crate::stores::s3::{self, Part, PartReceipt, PutOptions};

const MIB: u64 = 1 << 20;
/// Concurrent part requests per upload.
const IN_FLIGHT: usize = 4;
/// Limit of the S3 protocol.
pub(in crate::domain::uploads) const MAX_PARTS: i32 = 10_000;

/// Parts of `max(8 MiB, length / 9,000)`, since S3 permits 10,000. The length is only claimed by the sender, so a
/// part may use at most a quarter of the total memory.
pub(in crate::domain::uploads) fn part_size(length: Option<u64>, memory: usize) -> usize {
    let by_length = length.unwrap_or(0).div_ceil(9_000).next_multiple_of(MIB);
    usize::try_from(by_length.clamp(8 * MIB, largest_part(memory))).unwrap_or(usize::MAX)
}

fn largest_part(memory: usize) -> u64 {
    (memory as u64 / 4).max(8 * MIB)
}

/// The largest accepted file in bytes: the configured limit, or what fits into the parts permitted by memory.
pub fn largest(upload: &UploadConfig) -> u64 {
    upload.max_size.min(largest_part(upload.memory).saturating_mul(MAX_PARTS.unsigned_abs().into()))
}

/// The SHA-256 of the parts in order, computed in parallel with receiving.
enum Hash {
    Idle(digest::Context),
    Running(JoinHandle<digest::Context>),
}

pub(in crate::domain::uploads) struct Parts {
    pub attempt: Attempt,
    part_size: usize,
    /// Capacity of a part: the whole body may be smaller than the part size.
    capacity: usize,
    /// The part that is being received.
    buffer: PartBuffer,
    send_rate: SendRate,
    /// Taken while it is awaited; `None` after the upload has ended.
    hash: Option<Hash>,
    next: i32,
    sending: JoinSet<std::result::Result<PartReceipt, s3::Error>>,
    receipts: Vec<PartReceipt>,
    heartbeat: Heartbeat,
}

impl Parts {
    pub fn new(attempt: Attempt, length: Option<u64>) -> Self {
        let heartbeat = Heartbeat::start(&attempt.ctx, vec![attempt.lease]);
        let max = attempt.ctx.config.upload.max_size;
        let part_size = part_size(length.map(|length| length.min(max)), attempt.ctx.upload_memory.total());
        let capacity = length.and_then(|length| usize::try_from(length).ok()).map_or(part_size, |length| length.min(part_size));
        Self {
            part_size,
            capacity,
            buffer: PartBuffer::new(&attempt.ctx.upload_memory, attempt.actor.id, capacity),
            send_rate: SendRate::new(),
            attempt,
            hash: Some(Hash::Idle(digest::Context::new(&digest::SHA256))),
            next: 1,
            sending: JoinSet::new(),
            receipts: Vec::new(),
            heartbeat,
        }
    }

    /// Writes the next bytes; waits while memory or the store is busy.
    pub async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        self.send_rate.received(chunk.len());
        while !chunk.is_empty() {
            chunk = self.buffer.fill(chunk, &self.send_rate).await?;
            if self.buffer.is_full() {
                self.send().await?;
            }
        }
        self.send_rate.wait_for_more();
        Ok(())
    }

    /// Called when the sender is inactive: releases memory that it has not filled.
    pub fn release_unused(&mut self) {
        self.buffer.release_unused();
    }

    /// Sends the rest, and waits until everything is hashed and all parts are stored.
    pub async fn finish(&mut self) -> Result<()> {
        if self.next > 1 && self.buffer.len() > 0 {
            self.send().await?;
        }
        while let Some(sent) = self.sending.join_next().await {
            self.keep(sent)?;
        }
        self.receipts.sort_by_key(|receipt| receipt.number);
        let hash = self.finished_hash().await?;
        self.hash = Some(Hash::Idle(hash));
        Ok(())
    }

    /// Call after [`Self::finish`]; `size` in bytes. The heartbeat must be held until the file is published.
    pub fn into_received(mut self, size: u64) -> Result<(ReceivedFile, Heartbeat)> {
        let Some(Hash::Idle(mut hash)) = self.hash.take() else { return Err(already_ended()) };
        let content = if self.attempt.multipart.is_some() {
            Content::Parts(self.receipts)
        } else {
            let body = self.buffer.freeze();
            hash.update(&body);
            Content::Body(body)
        };
        let digest = Digest { size: i64::try_from(size).unwrap_or(i64::MAX), sha256: hash.finish().as_ref().to_vec() };
        Ok((ReceivedFile { attempt: self.attempt, content, digest }, self.heartbeat))
    }

    /// Aborts all requests in flight, so that the attempt can be undone.
    pub async fn stop(mut self) -> Attempt {
        self.sending.shutdown().await;
        self.attempt
    }

    async fn send(&mut self) -> Result<()> {
        if self.next > MAX_PARTS {
            return Err(Error::TooLarge(format!(
                "The file has more than {MAX_PARTS} parts of {} bytes. Increase UPLOAD_MEMORY to upload it.",
                self.part_size
            )));
        }
        let upload = self.multipart().await?;
        let body =
            std::mem::replace(&mut self.buffer, PartBuffer::new(&self.attempt.ctx.upload_memory, self.attempt.actor.id, self.capacity))
                .freeze();
        let mut hash = self.finished_hash().await?;
        let to_hash = body.clone();
        let attempt = &self.attempt;
        self.hash = Some(Hash::Running(attempt.ctx.runtime.spawn_blocking(move || {
            hash.update(&to_hash);
            hash
        })));
        let part = Part { number: self.next, body };
        self.next += 1;
        let (store, bucket, key) = (attempt.ctx.s3.clone(), attempt.target.bucket.clone(), attempt.target.key.clone());
        self.sending.spawn_on(async move { store.put_part(&bucket, &key, &upload, part).await }, &attempt.ctx.runtime);
        crash_point("upload::part_sent")?;
        while self.sending.len() >= IN_FLIGHT {
            if let Some(sent) = self.sending.join_next().await {
                self.keep(sent)?;
            }
        }
        Ok(())
    }

    /// The ID of the multipart upload, which is created if necessary.
    async fn multipart(&mut self) -> Result<String> {
        let attempt = &mut self.attempt;
        if let Some(upload) = &attempt.multipart {
            return Ok(upload.clone());
        }
        let upload = create_multipart(attempt).await?;
        attempt.multipart = Some(upload.clone());
        crash_point("upload::multipart_begun")?;
        row::set_multipart(&attempt.ctx, attempt.lease, &upload, self.part_size).await?;
        crash_point("upload::multipart_recorded")?;
        Ok(upload)
    }

    /// The hash of all parts sent so far, once computed.
    async fn finished_hash(&mut self) -> Result<digest::Context> {
        match self.hash.take() {
            Some(Hash::Idle(hash)) => Ok(hash),
            Some(Hash::Running(hash)) => hash.await.map_err(|error| Error::Internal(format!("hashing stopped: {error}"))),
            None => Err(already_ended()),
        }
    }

    fn keep(&mut self, sent: std::result::Result<std::result::Result<PartReceipt, s3::Error>, JoinError>) -> Result<()> {
        let receipt = sent.map_err(|error| Error::from(s3::Error::Unreachable(error.to_string())))??;
        self.receipts.push(receipt);
        Ok(())
    }
}

/// Creates the multipart upload, with the metadata that identifies its owner.
pub(in crate::domain::uploads) async fn create_multipart(attempt: &Attempt) -> Result<String> {
    let id = attempt.lease.file.to_string();
    let metadata = [(OWNER, id.as_str())];
    let options = PutOptions { content_type: &attempt.target.content_type, metadata: &metadata, only_if_absent: false };
    Ok(attempt.ctx.s3.create_multipart(&attempt.target.bucket, &attempt.target.key, &options).await?)
}

pub(in crate::domain::uploads) fn already_ended() -> Error {
    Error::Conflict("This upload has already ended.".into())
}

/// The SHA-256 and length of a complete body.
pub(in crate::domain::uploads) fn digest_of(body: &[u8]) -> Digest {
    Digest { size: i64::try_from(body.len()).unwrap_or(i64::MAX), sha256: digest::digest(&digest::SHA256, body).as_ref().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_with_the_file_and_never_beyond_their_share_of_the_memory() {
        const MEMORY: usize = 4 << 30;
        assert_eq!(part_size(None, MEMORY), 8 << 20);
        assert_eq!(part_size(Some(1 << 30), MEMORY), 8 << 20);
        let five_tib = 5_u64 << 40;
        let size = part_size(Some(five_tib), MEMORY) as u64;
        assert!(five_tib.div_ceil(size) <= 9_000 && size < 5 << 30, "{size}");
        assert_eq!(part_size(Some(u64::MAX), 128 << 20), 32 << 20);
        assert_eq!(part_size(Some(u64::MAX), 16 << 20), 8 << 20);
    }
}
