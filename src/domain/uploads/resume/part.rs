//! One part of a resumable upload: received into memory, verified, stored, recorded in its turn.

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
use crate::domain::uploads::part_buffer::PartBuffer;
use crate::domain::uploads::send_rate::SendRate;
use crate::domain::{Context, Error, Result};
use crate::stores::s3::{Part, PartReceipt};

/// How far a part may be ahead of those that are recorded: three may come before their turn.
const AHEAD: i32 = 4;
/// How long a part waits for those before it.
const TURN: Duration = Duration::from_secs(30);
/// How often a part that comes slowly gives a sign of life.
const BEAT: Duration = Duration::from_secs(20);

/// A part that is arriving.
pub struct PartUpload {
    ctx: Context,
    actor: Actor,
    row: Row,
    number: i32,
    size: usize,
    buffer: PartBuffer,
    send_rate: SendRate,
    /// When the last sign of life was given.
    beat: Instant,
    _slot: Slot,
}

/// May part `number` come? Conflict where other parts come first, Refused where it is over or has no such part.
pub async fn begin_part(ctx: &Context, actor: &Actor, bucket: &str, id: Uuid, number: i32) -> Result<PartUpload> {
    let slot = ctx.upload_memory.enter(actor)?;
    let found = row::find(ctx, actor, bucket, id).await?;
    if !found.is_open() {
        return Err(found.over());
    }
    let (length, part_size) = (found.length(), found.part_size());
    let size = size_of(number, length, part_size).and_then(|size| usize::try_from(size).ok());
    let Some(size) = size else {
        return Err(Error::refused("number", format!("This upload has the parts 1 to {}.", count(length, part_size))));
    };
    if number > found.parts_done() + AHEAD {
        return Err(Error::Conflict(format!("Part {} has to come first.", found.parts_done() + 1)));
    }
    if found.s3_upload_id.is_none() {
        return Err(Error::Conflict("This upload has not begun at the store. Open it again.".into()));
    }
    row::touch(ctx, id).await?;
    let buffer = PartBuffer::new(&ctx.upload_memory, actor.id, size);
    Ok(PartUpload {
        ctx: ctx.clone(),
        actor: actor.clone(),
        row: found,
        number,
        size,
        buffer,
        send_rate: SendRate::new(),
        beat: Instant::now(),
        _slot: slot,
    })
}

impl PartUpload {
    /// Takes the next bytes; waits while memory is short.
    pub async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.send_rate.came(chunk.len());
        if self.beat.elapsed() > BEAT {
            self.beat = Instant::now();
            if let Err(error) = row::touch(&self.ctx, self.row.file.id).await {
                log::debug!("a heartbeat was lost: {error}");
            }
        }
        let rest = self.buffer.fill(chunk, &self.send_rate).await?;
        self.send_rate.ask();
        if rest.is_empty() { Ok(()) } else { Err(self.wrong_size()) }
    }

    /// The sender has fallen silent: memory that it has not filled is returned.
    pub fn release_unused(&mut self) {
        self.buffer.release_unused();
    }

    /// Stores and records the part; `sha256` is what the sender says it is. Runs to its end even where the sender
    /// goes away now. Refused where the bytes differ from what was said, Conflict where another part of this number
    /// is there.
    pub async fn finish(self, sha256: Option<Vec<u8>>) -> Result<StoredPart> {
        let ctx = self.ctx.clone();
        ctx.run_to_completion(async move { self.store(sha256).await }).await
    }

    async fn store(self, told: Option<Vec<u8>>) -> Result<StoredPart> {
        if !self.buffer.is_full() {
            return Err(self.wrong_size());
        }
        let Self { ctx, actor, row, number, size, buffer, _slot, .. } = self;
        let body = buffer.freeze();
        let sha256 = Sha256::digest(&body).to_vec();
        if told.is_some_and(|told| told != sha256) {
            return Err(Error::refused("digest", format!("Part {number} is not what its digest says. It was not stored.")));
        }
        let part = StoredPart { number, size: size as u64, sha256 };
        if number <= row.parts_done() {
            return same_as_recorded(&ctx, row.file.id, part).await;
        }
        let upload = row.s3_upload_id.as_deref().unwrap_or_default();
        let sent = Part { number, body: body.clone() };
        let receipt = ctx.s3.put_part(&row.file.bucket, &row.file.object_key, upload, sent).await?;
        crash_point("resume::part_stored")?;
        record(&ctx, &actor, row, part, &receipt, &body).await
    }

    fn wrong_size(&self) -> Error {
        Error::refused("number", format!("Part {} of this upload has {} bytes.", self.number, self.size))
    }
}

/// Waits for its turn, then goes on with the hash of the whole.
async fn record(ctx: &Context, actor: &Actor, mut row: Row, part: StoredPart, receipt: &PartReceipt, body: &[u8]) -> Result<StoredPart> {
    let id = row.file.id;
    let deadline = Instant::now() + TURN;
    let mut pause = Duration::from_millis(10);
    loop {
        if row.parts_done() >= part.number {
            return same_as_recorded(ctx, id, part).await;
        }
        if row.parts_done() == part.number - 1 {
            let hash = go_on(row.hash_state.as_deref(), body)?;
            if row::record_part(ctx, actor, id, &part, receipt, &hash).await? {
                crash_point("resume::part_recorded")?;
                return Ok(part);
            }
        }
        if Instant::now() > deadline {
            let why = format!("Part {} has to come first.", row.parts_done() + 1);
            return Err(Error::Busy { why, retry_after: Duration::from_secs(1) });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
        row = row::find(ctx, actor, &row.file.bucket, id).await?;
        if !row.is_open() {
            return Err(row.over());
        }
    }
}

/// The state of the hash after `body`. Kept as the crate `sha2` writes it.
fn go_on(state: Option<&[u8]>, body: &[u8]) -> Result<Vec<u8>> {
    let mut hash = restored(state)?;
    hash.update(body);
    Ok(hash.serialize().to_vec())
}

pub(super) fn restored(state: Option<&[u8]>) -> Result<Sha256> {
    let Some(state) = state else { return Ok(Sha256::new()) };
    let unreadable = || Error::Internal("the state of a hash cannot be read".into());
    let state = state.try_into().map_err(|_| unreadable())?;
    Sha256::deserialize(state).map_err(|_| unreadable())
}

/// A part that comes again is welcome, if it is the same.
async fn same_as_recorded(ctx: &Context, id: Uuid, part: StoredPart) -> Result<StoredPart> {
    let recorded = row::parts(ctx, id).await?.into_iter().find(|(recorded, _)| recorded.number == part.number);
    match recorded {
        Some((recorded, _)) if recorded == part => Ok(part),
        _ => Err(Error::Conflict(format!("Part {} is stored already, with other content: the file has changed.", part.number))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_on_where_it_was_left() {
        let text: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        for split in [0, 1, 63, 64, 65, 100_000] {
            let state = go_on(None, &text[..split]).unwrap();
            let state = go_on(Some(&state), &text[split..]).unwrap();
            assert_eq!(restored(Some(&state)).unwrap().finalize(), Sha256::digest(&text), "{split}");
        }
        assert!(restored(Some(b"short")).is_err());
    }
}
