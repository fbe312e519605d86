//! One part of a resumable upload: received into memory, verified, stored, and recorded in sequence.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::row::{self, Row};
use super::{StoredPart, count, size_of};
use crate::domain::actor::Actor;
use crate::domain::faults::crash_point;
use crate::domain::slots::Slot;
use crate::domain::uploads::limits::send_rate::SendRate;
use crate::domain::uploads::streaming::part_buffer::PartBuffer;
use crate::domain::{Context, Error, Result};
use crate::stores::s3::{Part, PartReceipt};

/// How far a part may be ahead of the recorded parts: three parts may arrive early.
const WINDOW: i32 = 4;
/// How long a part waits for the parts before it.
const SEQUENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Heartbeat interval while a part arrives slowly.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(20);

/// A part that is being received.
pub struct PartUpload {
    ctx: Context,
    actor: Actor,
    row: Row,
    number: i32,
    size: usize,
    buffer: PartBuffer,
    send_rate: SendRate,
    /// Time of the last heartbeat.
    last_heartbeat: Instant,
    _slot: Slot,
}

/// Starts receiving part `number`. Conflict if earlier parts are missing, Refused if the upload has ended or has no
/// such part.
pub async fn start_part(ctx: &Context, actor: &Actor, bucket: &str, id: Uuid, number: i32) -> Result<PartUpload> {
    let slot = ctx.upload_memory.enter(actor)?;
    let found = row::find(ctx, actor, bucket, id).await?;
    if !found.is_pending() {
        return Err(found.ended_error());
    }
    let (length, part_size) = (found.length(), found.part_size());
    let size = size_of(number, length, part_size).and_then(|size| usize::try_from(size).ok());
    let Some(size) = size else {
        return Err(Error::refused("number", format!("The part number must be between 1 and {}.", count(length, part_size))));
    };
    if number > found.parts_done() + WINDOW {
        return Err(Error::Conflict(format!("Send part {} first.", found.parts_done() + 1)));
    }
    if found.s3_upload_id.is_none() {
        return Err(Error::Conflict("The multipart upload does not exist at the store yet. Create the upload again.".into()));
    }
    row::send_heartbeat(ctx, id).await?;
    let buffer = PartBuffer::new(&ctx.upload_memory, actor.id, size);
    Ok(PartUpload {
        ctx: ctx.clone(),
        actor: actor.clone(),
        row: found,
        number,
        size,
        buffer,
        send_rate: SendRate::new(),
        last_heartbeat: Instant::now(),
        _slot: slot,
    })
}

impl PartUpload {
    /// Writes the next bytes; waits while memory is short.
    pub async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.send_rate.received(chunk.len());
        if self.last_heartbeat.elapsed() > HEARTBEAT_INTERVAL {
            self.last_heartbeat = Instant::now();
            if let Err(error) = row::send_heartbeat(&self.ctx, self.row.file.id).await {
                log::debug!("a heartbeat was lost: {error}");
            }
        }
        let rest = self.buffer.fill(chunk, &self.send_rate).await?;
        self.send_rate.wait_for_more();
        if rest.is_empty() { Ok(()) } else { Err(self.wrong_size()) }
    }

    /// Called when the sender is inactive: releases memory that it has not filled.
    pub fn release_unused(&mut self) {
        self.buffer.release_unused();
    }

    /// Stores and records the part; `sha256` is its expected hash. Runs to completion even if the sender disconnects.
    /// Refused if the bytes do not match the hash, Conflict if a different part with this number exists.
    pub async fn finish(self, sha256: Option<Vec<u8>>) -> Result<StoredPart> {
        let ctx = self.ctx.clone();
        ctx.run_to_completion(async move { self.store(sha256).await }).await
    }

    async fn store(self, expected: Option<Vec<u8>>) -> Result<StoredPart> {
        if !self.buffer.is_full() {
            return Err(self.wrong_size());
        }
        let Self { ctx, actor, row, number, size, buffer, _slot, .. } = self;
        let body = buffer.freeze();
        let sha256 = Sha256::digest(&body).to_vec();
        if expected.is_some_and(|expected| expected != sha256) {
            return Err(Error::refused("digest", format!("Part {number} does not match its digest and was not stored.")));
        }
        let part = StoredPart { number, size: size as u64, sha256 };
        if number <= row.parts_done() {
            return check_identical(&ctx, row.file.id, part).await;
        }
        let upload = row.s3_upload_id.as_deref().unwrap_or_default();
        let sent = Part { number, body: body.clone() };
        let receipt = ctx.s3.put_part(&row.file.bucket, &row.file.object_key, upload, sent).await?;
        crash_point("resume::part_stored")?;
        record(&ctx, &actor, row, part, &receipt, &body).await
    }

    fn wrong_size(&self) -> Error {
        Error::refused("number", format!("Part {} of this upload must have {} bytes.", self.number, self.size))
    }
}

/// Waits until all earlier parts are recorded, then adds the part to the hash of the file.
async fn record(ctx: &Context, actor: &Actor, mut row: Row, part: StoredPart, receipt: &PartReceipt, body: &[u8]) -> Result<StoredPart> {
    let id = row.file.id;
    let deadline = Instant::now() + SEQUENCE_TIMEOUT;
    let mut pause = Duration::from_millis(10);
    loop {
        if row.parts_done() >= part.number {
            return check_identical(ctx, id, part).await;
        }
        if row.parts_done() == part.number - 1 {
            let hash = extend_hash(row.hash_state.as_deref(), body)?;
            if row::record_part(ctx, actor, id, &part, receipt, &hash).await? {
                crash_point("resume::part_recorded")?;
                return Ok(part);
            }
        }
        if Instant::now() > deadline {
            let why = format!("Send part {} first.", row.parts_done() + 1);
            return Err(Error::Busy { why, retry_after: Duration::from_secs(1) });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
        row = row::find(ctx, actor, &row.file.bucket, id).await?;
        if !row.is_pending() {
            return Err(row.ended_error());
        }
    }
}

/// The hash state after `body`, in the serialization format of the `sha2` crate.
fn extend_hash(state: Option<&[u8]>, body: &[u8]) -> Result<Vec<u8>> {
    let mut hash = restore_hash(state)?;
    hash.update(body);
    Ok(hash.serialize().to_vec())
}

pub(super) fn restore_hash(state: Option<&[u8]>) -> Result<Sha256> {
    let Some(state) = state else { return Ok(Sha256::new()) };
    let invalid = || Error::Internal("invalid hash state".into());
    let state = state.try_into().map_err(|_| invalid())?;
    Sha256::deserialize(state).map_err(|_| invalid())
}

/// A repeated part is accepted if it is identical.
async fn check_identical(ctx: &Context, id: Uuid, part: StoredPart) -> Result<StoredPart> {
    let recorded = row::parts(ctx, id).await?.into_iter().find(|(recorded, _)| recorded.number == part.number);
    match recorded {
        Some((recorded, _)) if recorded == part => Ok(part),
        _ => Err(Error::Conflict(format!("Part {} is already stored with different content: the file has changed.", part.number))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_continues_from_its_saved_state() {
        let text: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        for split in [0, 1, 63, 64, 65, 100_000] {
            let state = extend_hash(None, &text[..split]).unwrap();
            let state = extend_hash(Some(&state), &text[split..]).unwrap();
            assert_eq!(restore_hash(Some(&state)).unwrap().finalize(), Sha256::digest(&text), "{split}");
        }
        assert!(restore_hash(Some(b"short")).is_err());
    }
}
