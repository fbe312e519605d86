//! The files of one form as they come: large ones on their own, small ones together.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::batch::{self, Small};
use super::engine::{FREE, Upload, Whole};
use super::memory_limit::Reserved;
use super::receiver::{Ended, Receiver};
use super::{File, FileState};
use crate::domain::{Error, Result};

/// Small files that wait for company: so many, or so many bytes.
const COMPANY: usize = 64;
const COMPANY_BYTES: usize = 1 << 20;
/// How long they wait where nothing more comes.
const LINGER: Duration = Duration::from_millis(50);
/// Batches of one form that travel at once; no more of the form is read meanwhile.
const IN_FLIGHT: usize = 3;

/// Takes in the files of one form. Dropped, it still stores what has arrived whole.
pub struct Intake {
    receiver: Receiver,
    /// In the order in which they came; `Pending` until it is known what became of one.
    ended: Vec<Ended>,
    waiting: Vec<(usize, Small)>,
    waiting_bytes: usize,
    memory: Option<Reserved>,
    batches: VecDeque<BatchTask>,
}

/// A batch on its way: what became of each file, by its place among those of the form.
type BatchTask = JoinHandle<Vec<(usize, Result<File>)>>;

impl Intake {
    pub fn new(receiver: Receiver) -> Self {
        Self { receiver, ended: Vec::new(), waiting: Vec::new(), waiting_bytes: 0, memory: None, batches: VecDeque::new() }
    }

    pub fn batch(&self) -> uuid::Uuid {
        self.receiver.batch
    }

    /// Files so far.
    pub fn count(&self) -> usize {
        self.ended.len()
    }

    /// Whether a file has failed already. Those that are still on their way do not count.
    pub fn has_failed(&self) -> bool {
        self.ended.iter().any(|ended| ended.error.is_some())
    }

    /// A file that may begin; `None` where it was refused.
    pub async fn begin(&mut self, name: &str, content_type: Option<&str>, length: Option<u64>) -> Option<Upload> {
        match self.receiver.begin(name, content_type, length).await {
            Ok(upload) => Some(upload),
            Err(refused) => {
                self.ended.push(Ended { file: *refused.file, error: Some(refused.error) });
                None
            }
        }
    }

    /// A file that has arrived whole.
    pub async fn end(&mut self, mut upload: Upload) {
        let at = self.ended.len();
        self.ended.push(Ended { file: upload.describe(), error: None });
        match upload.whole().await {
            Ok(Whole::Small(small)) => self.keep(at, small).await,
            Ok(large) => {
                let (ctx, actor) = (self.receiver.ctx.clone(), self.receiver.actor.clone());
                let stored = self.receiver.ctx.run_to_completion(async move { large.store(&ctx, &actor).await }).await;
                self.settle(at, stored);
            }
            Err(error) => self.settle(at, Err(error)),
        }
    }

    /// A file that cannot be stored.
    pub async fn give_up(&mut self, upload: Upload, error: Error) {
        let file = upload.abandon(&error).await;
        self.ended.push(Ended { file, error: Some(error) });
    }

    fn settle(&mut self, at: usize, stored: Result<File>) {
        let ended = &mut self.ended[at];
        match stored {
            Ok(file) => ended.file = file,
            Err(error) => *ended = Ended { file: ended.file.clone().failed(&error), error: Some(error) },
        }
    }

    /// Waits for what comes next of the form; where it keeps us waiting, small files do not wait for it.
    pub async fn meanwhile<T>(&mut self, next: impl Future<Output = T>) -> T {
        if self.waiting.is_empty() {
            return next.await;
        }
        let mut next = pin!(next);
        match tokio::time::timeout(LINGER, &mut next).await {
            Ok(came) => came,
            Err(_) => {
                self.send();
                next.await
            }
        }
    }

    /// What became of each file, in the order in which they came.
    pub async fn finish(mut self) -> Vec<Ended> {
        self.send();
        while !self.batches.is_empty() {
            self.wait_for_oldest().await;
        }
        for at in 0..self.ended.len() {
            if self.ended[at].file.state == FileState::Pending {
                self.settle(at, Err(Error::Internal("storing it was cut off".into())));
            }
        }
        std::mem::take(&mut self.ended)
    }

    async fn keep(&mut self, at: usize, small: Small) {
        self.waiting_bytes += small.body.len();
        self.waiting.push((at, small));
        if self.memory.is_none() {
            self.memory = self.receiver.ctx.upload_memory.reserve_small(COMPANY_BYTES + FREE);
        }
        // Without memory to wait in they go at once.
        if self.memory.is_none() || self.waiting.len() >= COMPANY || self.waiting_bytes >= COMPANY_BYTES {
            self.send();
            while self.batches.len() >= IN_FLIGHT {
                self.wait_for_oldest().await;
            }
        }
    }

    /// Sends those that wait on their way.
    fn send(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.waiting_bytes = 0;
        let memory = self.memory.take();
        let (places, files): (Vec<usize>, Vec<Small>) = std::mem::take(&mut self.waiting).into_iter().unzip();
        let (ctx, actor) = (self.receiver.ctx.clone(), self.receiver.actor.clone());
        self.batches.push_back(self.receiver.ctx.in_background(async move {
            let stored = batch::store(&ctx, &actor, files).await;
            drop(memory);
            places.into_iter().zip(stored).collect()
        }));
    }

    /// Waits for the batch that has been under way longest.
    async fn wait_for_oldest(&mut self) {
        let Some(oldest) = self.batches.front_mut() else { return };
        let finished = oldest.await;
        self.batches.pop_front();
        match finished {
            Ok(stored) => stored.into_iter().for_each(|(at, stored)| self.settle(at, stored)),
            Err(error) => log::error!("a batch of small files was cut off: {error}"),
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.send();
    }
}
