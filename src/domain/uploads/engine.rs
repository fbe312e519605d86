//! One file on its way: bounded buffers, SHA-256 and length as it passes, parts in flight.

use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use tokio::task::{AbortHandle, JoinSet};

use super::budget::{Reserved, busy};
use super::publish::{self, Whole};
use super::row::{self, Digest, Lease, Target};
use super::{File, FileState, OWNER};
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::{Context, Error, Result};
use crate::stores::s3::{self, Part, PartReceipt, PutOptions};

const MIB: u64 = 1 << 20;
/// Parts of one upload that travel at once.
const IN_FLIGHT: usize = 4;

/// What an upload may hold without asking for memory: most small files never have to.
const FREE: usize = 64 << 10;
/// While others wait for memory, nobody may take longer than this to fill a part with it.
const FILLING: Duration = Duration::from_secs(20);
/// S3 takes no more parts of one object.
const MAX_PARTS: i32 = 10_000;

/// Parts of `max(8 MiB, length / 9,000)`: S3 takes 10,000. The length is only the sender's word, so it can claim
/// no more than a quarter of the memory for all.
pub(super) fn part_size(length: Option<u64>, memory: usize) -> usize {
    let by_length = length.unwrap_or(0).div_ceil(9_000).next_multiple_of(MIB);
    let most = (memory as u64 / 4).max(8 * MIB);
    usize::try_from(by_length.clamp(8 * MIB, most)).unwrap_or(usize::MAX)
}

/// Everything that must be undone where the upload does not end well.
pub(super) struct Attempt {
    pub ctx: Context,
    pub actor: Actor,
    pub lease: Lease,
    pub target: Target,
    pub multipart: Option<String>,
}

impl Attempt {
    pub fn describe(&self) -> File {
        File {
            id: self.lease.file,
            batch_id: self.target.batch,
            bucket: self.target.bucket.clone(),
            key: self.target.key.clone(),
            name: self.target.name.clone(),
            size: None,
            sha256: None,
            etag: None,
            state: FileState::Pending,
            stalled: false,
            uploaded_by: self.actor.label.clone(),
            error: None,
            created_at: clock::now(),
            finished_at: None,
        }
    }

    /// Undoes what is stored and says why on the row. Never touches the object itself.
    pub async fn fail(&self, why: &str) {
        if let Some(upload) = &self.multipart
            && let Err(error) = self.ctx.s3.abort_multipart(&self.target.bucket, &self.target.key, upload).await
        {
            // The row stays `pending`, and the reaper aborts it later.
            log::warn!("a multipart upload could not be aborted yet: {error}");
            return;
        }
        if let Err(error) = row::fail(&self.ctx, &self.actor, self.lease, &self.target, why).await {
            log::warn!("a failed upload could not be recorded yet: {error}");
        }
    }
}

impl File {
    /// The same file, with the sentence that says why it is not stored.
    pub fn failed(mut self, error: &Error) -> Self {
        self.state = FileState::Failed;
        self.error = Some(publish::sentence(error));
        self
    }
}

/// A file that is arriving. Dropped before [`Upload::finish`], it is undone in the background.
pub struct Upload {
    /// Taken by `finish` and `abandon`.
    attempt: Option<Attempt>,
    part_size: usize,
    max_size: u64,
    buffer: BytesMut,
    /// Memory for the buffer that is being filled, and since when it is held.
    reserved: Option<(Reserved, Instant)>,
    hash: digest::Context,
    size: u64,
    next_part: i32,
    sending: JoinSet<std::result::Result<PartReceipt, s3::Error>>,
    receipts: Vec<PartReceipt>,
    heartbeat: AbortHandle,
}

impl Upload {
    pub(super) fn new(ctx: &Context, actor: &Actor, lease: Lease, target: Target, length: Option<u64>) -> Self {
        Self {
            attempt: Some(Attempt { ctx: ctx.clone(), actor: actor.clone(), lease, target, multipart: None }),
            part_size: part_size(length.map(|length| length.min(ctx.config.upload.max_size)), ctx.budget.total()),
            max_size: ctx.config.upload.max_size,
            buffer: BytesMut::new(),
            reserved: None,
            hash: digest::Context::new(&digest::SHA256),
            size: 0,
            next_part: 1,
            sending: JoinSet::new(),
            receipts: Vec::new(),
            heartbeat: start_heartbeat(ctx, lease),
        }
    }

    /// Takes the next bytes; waits while memory or the store is busy.
    pub async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        self.size += chunk.len() as u64;
        if self.size > self.max_size {
            return Err(Error::TooLarge(format!("The file is larger than the {} bytes that Larder takes.", self.max_size)));
        }
        self.hash.update(&chunk);
        while !chunk.is_empty() {
            self.see_to_memory(chunk.len()).await?;
            let room = self.part_size - self.buffer.len();
            self.buffer.extend_from_slice(&chunk.split_to(room.min(chunk.len())));
            if self.buffer.len() == self.part_size {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// Publishes the file; runs to its end even where the sender goes away now.
    pub async fn finish(mut self) -> Result<File> {
        if let Err(error) = self.send_rest().await {
            self.abandon(&error).await;
            return Err(error);
        }
        let hash = std::mem::replace(&mut self.hash, digest::Context::new(&digest::SHA256));
        let digest = Digest { size: i64::try_from(self.size).unwrap_or(i64::MAX), sha256: hash.finish().as_ref().to_vec() };
        let Some(attempt) = self.attempt.take() else { return Err(already_over()) };
        let whole = match attempt.multipart {
            Some(_) => Whole::Parts(std::mem::take(&mut self.receipts)),
            None => Whole::Body(std::mem::take(&mut self.buffer).freeze()),
        };
        let reserved = self.reserved.take();
        let ctx = attempt.ctx.clone();
        ctx.see_through(async move {
            let _memory = reserved;
            let _beating = Beating(start_heartbeat(&attempt.ctx, attempt.lease));
            publish::publish(attempt, whole, digest).await
        })
        .await
    }

    /// Everything but the publishing: the last part, and waiting for all of them.
    async fn send_rest(&mut self) -> Result<()> {
        if self.next_part > 1 && !self.buffer.is_empty() {
            self.send_part().await?;
        }
        while let Some(sent) = self.sending.join_next().await {
            self.keep(sent)?;
        }
        self.receipts.sort_by_key(|receipt| receipt.number);
        Ok(())
    }

    /// Undoes the upload and records why; the file as it failed.
    pub async fn abandon(mut self, error: &Error) -> Option<File> {
        self.heartbeat.abort();
        self.sending.shutdown().await;
        let attempt = self.attempt.take()?;
        attempt.fail(&publish::sentence(error)).await;
        Some(attempt.describe().failed(error))
    }

    /// The file as it stands before anything of it is stored.
    pub fn describe(&self) -> Option<File> {
        self.attempt.as_ref().map(Attempt::describe)
    }

    /// Memory for a whole part before more than a little of it is held.
    async fn see_to_memory(&mut self, coming: usize) -> Result<()> {
        let budget = &self.context()?.budget;
        match &self.reserved {
            None if self.buffer.len() + coming > FREE => {
                let reserved = budget.reserve(self.part_size).await?;
                self.reserved = Some((reserved, Instant::now()));
                Ok(())
            }
            Some((_, since)) if since.elapsed() > FILLING && budget.is_short() => {
                Err(busy("The file arrived too slowly while others were waiting. Try again when less is being uploaded."))
            }
            _ => Ok(()),
        }
    }

    fn context(&self) -> Result<&Context> {
        self.attempt.as_ref().map(|attempt| &attempt.ctx).ok_or_else(already_over)
    }

    async fn send_part(&mut self) -> Result<()> {
        if self.next_part > MAX_PARTS {
            return Err(Error::TooLarge(format!(
                "The file has more than {MAX_PARTS} parts of {} bytes. With a larger UPLOAD_MEMORY it would fit.",
                self.part_size
            )));
        }
        let Some(attempt) = self.attempt.as_mut() else { return Err(already_over()) };
        let upload = match &attempt.multipart {
            Some(upload) => upload.clone(),
            None => {
                let id = attempt.lease.file.to_string();
                let metadata = [(OWNER, id.as_str())];
                let options = PutOptions { content_type: &attempt.target.content_type, metadata: &metadata, only_if_absent: false };
                let upload = attempt.ctx.s3.begin_multipart(&attempt.target.bucket, &attempt.target.key, &options).await?;
                attempt.multipart = Some(upload.clone());
                row::set_multipart(&attempt.ctx, attempt.lease, &upload, self.part_size).await?;
                upload
            }
        };
        let part = Part { number: self.next_part, body: std::mem::take(&mut self.buffer).freeze() };
        self.next_part += 1;
        let reserved = self.reserved.take();
        let (store, bucket, key) = (attempt.ctx.s3.clone(), attempt.target.bucket.clone(), attempt.target.key.clone());
        let runtime = attempt.ctx.runtime.clone();
        self.sending.spawn_on(
            async move {
                let receipt = store.put_part(&bucket, &key, &upload, part).await;
                drop(reserved);
                receipt
            },
            &runtime,
        );
        while self.sending.len() >= IN_FLIGHT {
            if let Some(sent) = self.sending.join_next().await {
                self.keep(sent)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, sent: std::result::Result<std::result::Result<PartReceipt, s3::Error>, tokio::task::JoinError>) -> Result<()> {
        let receipt = sent.map_err(|error| Error::from(s3::Error::Unreachable(error.to_string())))??;
        self.receipts.push(receipt);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.heartbeat.abort();
        self.sending.abort_all();
        if let Some(attempt) = self.attempt.take() {
            let ctx = attempt.ctx.clone();
            ctx.in_background(async move { attempt.fail("The connection closed before the whole file had arrived.").await });
        }
    }
}

fn already_over() -> Error {
    Error::Conflict("This upload is over.".into())
}

struct Beating(AbortHandle);

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Beats often enough that one lost beat does no harm.
fn start_heartbeat(ctx: &Context, lease: Lease) -> AbortHandle {
    let every = Duration::from_secs(15).min(ctx.config.upload.lease / 3);
    let ctx = ctx.clone();
    let runtime = ctx.runtime.clone();
    runtime
        .spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if let Err(error) = row::beat(&ctx, lease).await {
                    log::debug!("a heartbeat was lost: {error}");
                }
            }
        })
        .abort_handle()
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
