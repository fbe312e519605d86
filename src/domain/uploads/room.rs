//! Room for a part: memory that is taken in small steps for a slow sender and whole for a fast one, and that counts
//! until the last who reads its bytes is done with them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::budget::{Budget, busy};
use super::pace::Pace;
use crate::domain::Result;

/// What a slow sender is given at a time, so that hundreds of them cannot hold the memory that fast ones need.
pub(super) const STEP: usize = 128 << 10;
/// While others wait for memory, nobody may take longer than this to fill a whole part.
const FILLING: Duration = Duration::from_secs(20);
/// Only buffers of the usual size are worth keeping, and only so many.
pub(super) const USUAL: usize = 8 << 20;
const SPARE: usize = 4;

pub(super) struct Room {
    budget: Budget,
    bytes: Vec<u8>,
    /// Bytes of the whole part.
    share: usize,
    /// Bytes that may be held now.
    held: usize,
    permit: Option<OwnedSemaphorePermit>,
    /// Since when memory for the whole part is held.
    whole_since: Option<Instant>,
}

impl Room {
    pub fn new(budget: &Budget, share: usize) -> Self {
        Self { budget: budget.clone(), bytes: Vec::new(), share, held: 0, permit: None, whole_since: None }
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() == self.share
    }

    /// Takes as much as the part has room for, waiting for memory where it must; the rest. Busy where there is none
    /// in time, or where the sender is too slow for those who wait.
    pub async fn fill(&mut self, mut chunk: Bytes, pace: &Pace) -> Result<Bytes> {
        while !chunk.is_empty() && !self.is_full() {
            if self.bytes.len() == self.held {
                self.grow(pace).await?;
            }
            if self.whole_since.is_some_and(|since| since.elapsed() > FILLING) && self.budget.is_short() {
                return Err(busy("It arrived too slowly while others were waiting. Try again when less is being uploaded."));
            }
            let rest = chunk.split_off(chunk.len().min(self.held - self.bytes.len()));
            self.bytes.extend_from_slice(&chunk);
            chunk = rest;
        }
        Ok(chunk)
    }

    /// Nobody who holds memory for a whole part waits for more of it, so those who wait for one get theirs.
    async fn grow(&mut self, pace: &Pace) -> Result<()> {
        if pace.is_fast() && self.share > STEP {
            let whole = self.budget.whole(self.share).await?;
            let mut bytes = self.budget.spare(self.share);
            bytes.extend_from_slice(&self.bytes);
            self.bytes = bytes;
            self.permit = Some(whole);
            self.held = self.share;
            self.whole_since = Some(Instant::now());
        } else {
            let step = STEP.min(self.share - self.held);
            let more = self.budget.step(step).await?;
            match &mut self.permit {
                Some(permit) => permit.merge(more),
                None => self.permit = Some(more),
            }
            self.held += step;
            self.bytes.reserve_exact(step);
        }
        Ok(())
    }

    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.budget.give_back(std::mem::take(&mut self.bytes));
    }
}

/// Buffers to be used again: fresh memory costs a fault for every page.
#[derive(Default)]
pub(super) struct Spare(Vec<Vec<u8>>);

impl Spare {
    pub fn take(&mut self, capacity: usize) -> Vec<u8> {
        let kept = if capacity == USUAL { self.0.pop() } else { None };
        kept.unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    pub fn keep(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() == USUAL && self.0.len() < SPARE {
            bytes.clear();
            self.0.push(bytes);
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
