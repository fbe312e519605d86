//! A large file on its way: parts that fill, are hashed and travel at the same time.

use aws_lc_rs::digest;
use bytes::Bytes;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::OWNER;
use super::attempt::{Attempt, Beating};
use super::part_buffer::PartBuffer;
use super::publish::Whole;
use super::row::{self, Digest};
use super::send_rate::SendRate;
use crate::config::UploadConfig;
use crate::domain::faults::crash_point;
use crate::domain::{Error, Result};
use crate::stores::s3::{self, Part, PartReceipt, PutOptions};

const MIB: u64 = 1 << 20;
/// Parts of one upload that travel at once.
const IN_FLIGHT: usize = 4;
/// S3 takes no more parts of one object.
pub(super) const MAX_PARTS: i32 = 10_000;

/// Parts of `max(8 MiB, length / 9,000)`: S3 takes 10,000. The length is only the sender's word, so it can claim
/// no more than a quarter of the memory for all.
pub(super) fn part_size(length: Option<u64>, memory: usize) -> usize {
    let by_length = length.unwrap_or(0).div_ceil(9_000).next_multiple_of(MIB);
    usize::try_from(by_length.clamp(8 * MIB, largest_part(memory))).unwrap_or(usize::MAX)
}

fn largest_part(memory: usize) -> u64 {
    (memory as u64 / 4).max(8 * MIB)
}

/// Bytes of the largest file that is taken: what is configured, and what the parts that memory allows hold.
pub fn largest(upload: &UploadConfig) -> u64 {
    upload.max_size.min(largest_part(upload.memory).saturating_mul(MAX_PARTS.unsigned_abs().into()))
}

/// SHA-256 of parts in their order, computed beside the connection that they come from.
enum Hash {
    Here(digest::Context),
    Away(JoinHandle<digest::Context>),
}

pub(super) struct Parts {
    pub attempt: Attempt,
    part_size: usize,
    /// What a part may need at most: the whole body may be smaller than one.
    share: usize,
    /// The part that is being filled.
    buffer: PartBuffer,
    send_rate: SendRate,
    /// Taken while it is awaited; without it the upload is over.
    hash: Option<Hash>,
    next: i32,
    sending: JoinSet<std::result::Result<PartReceipt, s3::Error>>,
    receipts: Vec<PartReceipt>,
    beating: Beating,
}

/// What is ready to be published, and what must be held until it is.
pub(super) struct ReceivedFile {
    pub attempt: Attempt,
    pub whole: Whole,
    pub digest: Digest,
    pub held: Beating,
}

impl Parts {
    pub fn new(attempt: Attempt, length: Option<u64>) -> Self {
        let beating = Beating::start(&attempt.ctx, vec![attempt.lease]);
        let most = attempt.ctx.config.upload.max_size;
        let part_size = part_size(length.map(|length| length.min(most)), attempt.ctx.upload_memory.total());
        let share = length.and_then(|length| usize::try_from(length).ok()).map_or(part_size, |length| length.min(part_size));
        Self {
            part_size,
            share,
            buffer: PartBuffer::new(&attempt.ctx.upload_memory, attempt.actor.id, share),
            send_rate: SendRate::new(),
            attempt,
            hash: Some(Hash::Here(digest::Context::new(&digest::SHA256))),
            next: 1,
            sending: JoinSet::new(),
            receipts: Vec::new(),
            beating,
        }
    }

    /// Takes the next bytes; waits while memory or the store is busy.
    pub async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        self.send_rate.came(chunk.len());
        while !chunk.is_empty() {
            chunk = self.buffer.fill(chunk, &self.send_rate).await?;
            if self.buffer.is_full() {
                self.send().await?;
            }
        }
        self.send_rate.ask();
        Ok(())
    }

    /// The sender has fallen silent: memory that it has not filled is returned.
    pub fn release_unused(&mut self) {
        self.buffer.release_unused();
    }

    /// Sends the rest, and waits until all of it is hashed and all parts are at the store.
    pub async fn finish(&mut self) -> Result<()> {
        if self.next > 1 && self.buffer.len() > 0 {
            self.send().await?;
        }
        while let Some(sent) = self.sending.join_next().await {
            self.keep(sent)?;
        }
        self.receipts.sort_by_key(|receipt| receipt.number);
        let hash = self.hash_here().await?;
        self.hash = Some(Hash::Here(hash));
        Ok(())
    }

    /// After [`Self::finish`]; `size` in bytes.
    pub fn into_received(mut self, size: u64) -> Result<ReceivedFile> {
        let Some(Hash::Here(mut hash)) = self.hash.take() else { return Err(already_over()) };
        let whole = if self.attempt.multipart.is_some() {
            Whole::Parts(self.receipts)
        } else {
            let body = self.buffer.freeze();
            hash.update(&body);
            Whole::Body(body)
        };
        let digest = Digest { size: i64::try_from(size).unwrap_or(i64::MAX), sha256: hash.finish().as_ref().to_vec() };
        Ok(ReceivedFile { attempt: self.attempt, whole, digest, held: self.beating })
    }

    /// Nothing of it travels any more, and the attempt can be undone.
    pub async fn stop(mut self) -> Attempt {
        self.sending.shutdown().await;
        self.attempt
    }

    async fn send(&mut self) -> Result<()> {
        if self.next > MAX_PARTS {
            return Err(Error::TooLarge(format!(
                "The file has more than {MAX_PARTS} parts of {} bytes. With a larger UPLOAD_MEMORY it would fit.",
                self.part_size
            )));
        }
        let upload = self.multipart().await?;
        let body = std::mem::replace(&mut self.buffer, PartBuffer::new(&self.attempt.ctx.upload_memory, self.attempt.actor.id, self.share))
            .freeze();
        let mut hash = self.hash_here().await?;
        let to_hash = body.clone();
        let attempt = &self.attempt;
        self.hash = Some(Hash::Away(attempt.ctx.runtime.spawn_blocking(move || {
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

    /// The id of the multipart upload; begins it where it has not begun.
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

    /// The hash of all parts but the last ones, once it is computed.
    async fn hash_here(&mut self) -> Result<digest::Context> {
        match self.hash.take() {
            Some(Hash::Here(hash)) => Ok(hash),
            Some(Hash::Away(hash)) => hash.await.map_err(|error| Error::Internal(format!("hashing stopped: {error}"))),
            None => Err(already_over()),
        }
    }

    fn keep(&mut self, sent: std::result::Result<std::result::Result<PartReceipt, s3::Error>, JoinError>) -> Result<()> {
        let receipt = sent.map_err(|error| Error::from(s3::Error::Unreachable(error.to_string())))??;
        self.receipts.push(receipt);
        Ok(())
    }
}

/// At the store, with the mark that says whose it is.
pub(super) async fn create_multipart(attempt: &Attempt) -> Result<String> {
    let id = attempt.lease.file.to_string();
    let metadata = [(OWNER, id.as_str())];
    let options = PutOptions { content_type: &attempt.target.content_type, metadata: &metadata, only_if_absent: false };
    Ok(attempt.ctx.s3.create_multipart(&attempt.target.bucket, &attempt.target.key, &options).await?)
}

pub(super) fn already_over() -> Error {
    Error::Conflict("This upload is over.".into())
}

/// The SHA-256 and the length of bytes that are all here.
pub(super) fn digest_of(body: &[u8]) -> Digest {
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
