//! PartBuffer for a part: memory that is taken in small steps for a slow sender and whole for a fast one, and that counts
//! until the last who reads its bytes is done with them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use memmap2::MmapMut;

use super::fair_pool::{Grant, Person};
use super::memory_limit::{MemoryLimit, busy};
use super::send_rate::SendRate;
use crate::domain::{Error, Result};

/// What a slow sender is given at a time, so that hundreds of them cannot hold the memory that fast ones need.
const STEP: usize = 128 << 10;
/// While others wait for memory, nobody may take longer than this to fill a whole part.
const FILLING: Duration = Duration::from_secs(20);
/// How long a sender may be silent before it keeps only the memory that it has filled.
pub(super) const IDLE: Duration = Duration::from_secs(2);
/// Only buffers of the usual size are worth keeping, and only so many.
const USUAL: usize = 8 << 20;
const SPARE: usize = 4;

pub(super) struct PartBuffer {
    limit: MemoryLimit,
    person: Person,
    memory: Memory,
    /// Bytes that have come.
    len: usize,
    /// Bytes of the whole part.
    share: usize,
    grants: Vec<Grant>,
    /// Since when memory for the whole part is held.
    whole_since: Option<Instant>,
    /// When the speed of the sender was last checked, and how many bytes had arrived then.
    checked: (Instant, usize),
}

/// Awaits the next bytes of a sender; after two seconds of silence calls `release`, once.
pub async fn or_release<T>(next: impl Future<Output = T>, release: impl FnOnce()) -> T {
    let mut next = std::pin::pin!(next);
    match tokio::time::timeout(IDLE, &mut next).await {
        Ok(next) => next,
        Err(_) => {
            release();
            next.await
        }
    }
}

/// Zeroed as far as it is not used.
enum Memory {
    Steps(Vec<u8>),
    Whole(MmapMut),
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Steps(bytes) => bytes,
            Self::Whole(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Steps(bytes) => bytes,
            Self::Whole(bytes) => bytes,
        }
    }
}

impl PartBuffer {
    pub fn new(limit: &MemoryLimit, person: Person, share: usize) -> Self {
        Self {
            limit: limit.clone(),
            person,
            memory: Memory::Steps(Vec::new()),
            len: 0,
            share,
            grants: Vec::new(),
            whole_since: None,
            checked: (Instant::now(), 0),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_full(&self) -> bool {
        self.len == self.share
    }

    /// Takes as much as the part has room for, waiting for memory where it must; the rest. Busy where there is none
    /// in time, or where the sender is too slow for those who wait.
    pub async fn fill(&mut self, mut chunk: Bytes, send_rate: &SendRate) -> Result<Bytes> {
        while !chunk.is_empty() && !self.is_full() {
            if self.len == self.memory.bytes().len() {
                self.grow(send_rate).await?;
            }
            if self.whole_since.is_some_and(|since| since.elapsed() > FILLING) && self.limit.is_short() {
                return Err(busy("It arrived too slowly while others were waiting. Try again when less is being uploaded."));
            }
            self.check_speed();
            if self.len == self.memory.bytes().len() {
                continue;
            }
            let room = &mut self.memory.bytes_mut()[self.len..];
            let taken = chunk.split_to(chunk.len().min(room.len()));
            room[..taken.len()].copy_from_slice(&taken);
            self.len += taken.len();
        }
        Ok(chunk)
    }

    /// A step for whoever has not shown that it is fast, else memory for the whole part. Where no step is left, those
    /// who have shown that they are slow wait for one: they must not stand before fast ones in the other queue.
    async fn grow(&mut self, send_rate: &SendRate) -> Result<()> {
        let fast = send_rate.is_fast() && self.share > STEP;
        if let Memory::Steps(bytes) = &mut self.memory
            && !fast
        {
            let step = STEP.min(self.share - bytes.len());
            let more = match self.limit.try_step(self.person, step) {
                None if send_rate.is_slow() => Some(self.limit.step(self.person, step).await?),
                more => more,
            };
            if let Some(more) = more {
                self.grants.push(more);
                bytes.reserve_exact(step);
                bytes.resize(bytes.len() + step, 0);
                return Ok(());
            }
        }
        let grant = self.limit.whole(self.person, self.share).await?;
        let mut whole = self.limit.spare(self.share)?;
        whole[..self.len].copy_from_slice(&self.memory.bytes()[..self.len]);
        self.memory = Memory::Whole(whole);
        self.grants = vec![grant];
        (self.whole_since, self.checked) = (Some(Instant::now()), (Instant::now(), self.len));
        Ok(())
    }

    /// Every two seconds: while others wait, a sender of less than a step in that time keeps only what it has filled.
    fn check_speed(&mut self) {
        let (at, len) = self.checked;
        if self.whole_since.is_some() && at.elapsed() > IDLE {
            if self.len - len < STEP && self.limit.is_short() {
                self.release_unused();
            }
            self.checked = (Instant::now(), self.len);
        }
    }

    /// Returns the memory that is not filled yet, for a sender that has fallen silent.
    pub fn release_unused(&mut self) {
        let Memory::Whole(whole) = &self.memory else { return };
        let filled = Memory::Steps(whole[..self.len].to_vec());
        // Not kept for others: its pages would stay in use.
        drop(std::mem::replace(&mut self.memory, filled));
        self.grants.iter_mut().for_each(|grant| grant.shrink(self.len));
        self.whole_since = None;
    }

    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PartBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory.bytes()[..self.len]
    }
}

impl Drop for PartBuffer {
    fn drop(&mut self) {
        self.grants.clear();
        if let Memory::Whole(bytes) = std::mem::replace(&mut self.memory, Memory::Steps(Vec::new())) {
            self.limit.give_back(bytes);
        }
    }
}

/// Memory to be used again: fresh memory costs a fault for every page.
#[derive(Default)]
pub(super) struct SpareBuffers(Vec<MmapMut>);

impl SpareBuffers {
    /// `Internal` where the machine has no more.
    pub fn take(&mut self, size: usize) -> Result<MmapMut> {
        match self.0.pop_if(|spare| spare.len() == size) {
            Some(spare) => Ok(spare),
            None => MmapMut::map_anon(size).map_err(|error| Error::Internal(format!("no memory for a part: {error}"))),
        }
    }

    pub fn keep(&mut self, bytes: MmapMut) {
        if bytes.len() == USUAL && self.0.len() < SPARE {
            self.0.push(bytes);
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
