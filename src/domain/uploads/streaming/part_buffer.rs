//! The buffer of a part: memory is allocated in small steps for slow senders and whole for fast ones, and counts
//! towards the limit until the last reader of the bytes is done.

use std::time::{Duration, Instant};

use bytes::Bytes;
use memmap2::MmapMut;

use crate::domain::fair_pool::{Grant, Person};
use crate::domain::uploads::limits::memory_limit::{MemoryLimit, busy, kibibytes};
use crate::domain::uploads::limits::send_rate::SendRate;
use crate::domain::{Error, Result};

/// Allocation step of a slow sender, so that hundreds of them cannot use up the memory that fast ones need.
const STEP: usize = 128 << 10;
/// While others wait for memory, a sender may take no longer than this to fill a whole part.
const FILL_TIMEOUT: Duration = Duration::from_secs(20);
/// A sender that is inactive for this long keeps only the memory that it has filled.
pub(in crate::domain::uploads) const IDLE: Duration = Duration::from_secs(2);
/// Only a few buffers of the usual size are kept for reuse.
const REUSABLE_SIZE: usize = 8 << 20;
const MAX_SPARE: usize = 4;

pub(in crate::domain::uploads) struct PartBuffer {
    limit: MemoryLimit,
    person: Person,
    memory: Memory,
    /// Bytes received.
    len: usize,
    /// Capacity of the whole part.
    share: usize,
    grants: Vec<Grant>,
    /// When the memory for the whole part was allocated.
    whole_since: Option<Instant>,
    /// When the speed of the sender was last checked, and how many bytes had arrived then.
    checked: (Instant, usize),
}

/// Awaits the next bytes of a sender; calls `release` once after two seconds of inactivity.
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

/// The unused remainder is zeroed.
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

    /// Copies as much as the part can hold, waiting for memory if necessary, and returns the rest. Busy if no memory
    /// becomes available in time, or if the sender is too slow while others wait.
    pub async fn fill(&mut self, mut chunk: Bytes, send_rate: &SendRate) -> Result<Bytes> {
        while !chunk.is_empty() && !self.is_full() {
            if self.len == self.memory.bytes().len() {
                self.grow(send_rate).await?;
            }
            if self.whole_since.is_some_and(|since| since.elapsed() > FILL_TIMEOUT) && self.limit.is_short() {
                return Err(busy("The file arrived too slowly while other uploads were waiting. Try again later."));
            }
            self.check_speed();
            if self.len == self.memory.bytes().len() {
                continue;
            }
            let free = &mut self.memory.bytes_mut()[self.len..];
            let taken = chunk.split_to(chunk.len().min(free.len()));
            free[..taken.len()].copy_from_slice(&taken);
            self.len += taken.len();
        }
        Ok(chunk)
    }

    /// Allocates a step for senders that are not fast, otherwise the whole part. If no step is available, slow
    /// senders wait for one, so that they do not block fast ones in the other queue.
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

    /// Called every two seconds. While others wait, a sender that sent less than one step keeps only the memory it
    /// has filled.
    fn check_speed(&mut self) {
        let (at, len) = self.checked;
        if self.whole_since.is_some() && at.elapsed() > IDLE {
            if self.len - len < STEP && self.limit.is_short() {
                self.release_unused();
            }
            self.checked = (Instant::now(), self.len);
        }
    }

    /// Releases the memory that is not filled yet, because the sender is idle.
    pub fn release_unused(&mut self) {
        let Memory::Whole(whole) = &self.memory else { return };
        let filled = Memory::Steps(whole[..self.len].to_vec());
        // The memory is not kept for other uploads, because its pages would stay in use.
        drop(std::mem::replace(&mut self.memory, filled));
        self.grants.iter_mut().for_each(|grant| grant.shrink(kibibytes(self.len)));
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
            self.limit.reclaim(bytes);
        }
    }
}

/// Memory for reuse: fresh memory causes a page fault per page.
#[derive(Default)]
pub(in crate::domain::uploads) struct SpareBuffers(Vec<MmapMut>);

impl SpareBuffers {
    /// `Internal` if the machine is out of memory.
    pub fn take(&mut self, size: usize) -> Result<MmapMut> {
        match self.0.pop_if(|spare| spare.len() == size) {
            Some(spare) => Ok(spare),
            None => MmapMut::map_anon(size).map_err(|error| Error::Internal(format!("no memory for a part: {error}"))),
        }
    }

    pub fn keep(&mut self, bytes: MmapMut) {
        if bytes.len() == REUSABLE_SIZE && self.0.len() < MAX_SPARE {
            self.0.push(bytes);
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
