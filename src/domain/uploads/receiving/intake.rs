//! Receives the files of one form: large files are stored individually, small ones in batches.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::receiver::{FileOutcome, Receiver};
use super::upload::{FREE, ReceivedUpload, Upload};
use crate::domain::uploads::limits::memory_limit::Reserved;
use crate::domain::uploads::publishing::batch::{self, SmallFile};
use crate::domain::uploads::{File, FileState};
use crate::domain::{Error, Result};

/// A batch is sent when it has this many files or bytes.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: usize = 1 << 20;
/// How long a batch waits for more files.
const BATCH_DELAY: Duration = Duration::from_millis(50);
/// Concurrent batches per form; no more of the form is read in the meantime.
const IN_FLIGHT: usize = 3;

/// Receives the files of one form. If it is dropped, files received completely are still stored.
pub struct Intake {
    receiver: Receiver,
    /// In order of arrival; `Pending` until the outcome of a file is known.
    outcomes: Vec<FileOutcome>,
    waiting: Vec<(usize, SmallFile)>,
    waiting_bytes: usize,
    memory: Option<Reserved>,
    batches: VecDeque<BatchTask>,
}

/// A batch in progress: the outcome of each file, by its index in the form.
type BatchTask = JoinHandle<Vec<(usize, Result<File>)>>;

impl Intake {
    pub fn new(receiver: Receiver) -> Self {
        Self { receiver, outcomes: Vec::new(), waiting: Vec::new(), waiting_bytes: 0, memory: None, batches: VecDeque::new() }
    }

    pub fn batch(&self) -> uuid::Uuid {
        self.receiver.batch
    }

    /// Number of files so far.
    pub fn count(&self) -> usize {
        self.outcomes.len()
    }

    /// Whether a file has failed. Files in progress do not count.
    pub fn has_failed(&self) -> bool {
        self.outcomes.iter().any(|outcomes| outcomes.error.is_some())
    }

    /// Starts a file; `None` if it was rejected.
    pub async fn begin(&mut self, name: &str, content_type: Option<&str>, length: Option<u64>) -> Option<Upload> {
        match self.receiver.begin(name, content_type, length).await {
            Ok(upload) => Some(upload),
            Err(refused) => {
                self.outcomes.push(FileOutcome { file: *refused.file, error: Some(refused.error) });
                None
            }
        }
    }

    /// Ends a file that was received completely.
    pub async fn end(&mut self, mut upload: Upload) {
        let at = self.outcomes.len();
        self.outcomes.push(FileOutcome { file: upload.describe(), error: None });
        match upload.receive_all().await {
            Ok(ReceivedUpload::Small(small)) => self.keep(at, small).await,
            Ok(large) => {
                let (ctx, actor) = (self.receiver.ctx.clone(), self.receiver.actor.clone());
                let stored = self.receiver.ctx.run_to_completion(async move { large.store(&ctx, &actor).await }).await;
                self.set_outcome(at, stored);
            }
            Err(error) => self.set_outcome(at, Err(error)),
        }
    }

    /// Cancels a file that cannot be stored.
    pub async fn cancel(&mut self, upload: Upload, error: Error) {
        let file = upload.abandon(&error).await;
        self.outcomes.push(FileOutcome { file, error: Some(error) });
    }

    fn set_outcome(&mut self, at: usize, stored: Result<File>) {
        let outcomes = &mut self.outcomes[at];
        match stored {
            Ok(file) => outcomes.file = file,
            Err(error) => *outcomes = FileOutcome { file: outcomes.file.clone().failed(&error), error: Some(error) },
        }
    }

    /// Waits for the next part of the form; if that takes too long, the collected small files are sent.
    pub async fn next_or_flush<T>(&mut self, next: impl Future<Output = T>) -> T {
        if self.waiting.is_empty() {
            return next.await;
        }
        let mut next = pin!(next);
        match tokio::time::timeout(BATCH_DELAY, &mut next).await {
            Ok(next_part) => next_part,
            Err(_) => {
                self.send();
                next.await
            }
        }
    }

    /// The outcome of each file, in order of arrival.
    pub async fn finish(mut self) -> Vec<FileOutcome> {
        self.send();
        while !self.batches.is_empty() {
            self.wait_for_oldest().await;
        }
        for at in 0..self.outcomes.len() {
            if self.outcomes[at].file.state == FileState::Pending {
                self.set_outcome(at, Err(Error::Internal("storing the file was aborted".into())));
            }
        }
        std::mem::take(&mut self.outcomes)
    }

    async fn keep(&mut self, at: usize, small: SmallFile) {
        self.waiting_bytes += small.body.len();
        self.waiting.push((at, small));
        if self.memory.is_none() {
            self.memory = self.receiver.ctx.upload_memory.reserve_small(BATCH_BYTES + FREE);
        }
        // Without memory to wait in, the batch is sent immediately.
        if self.memory.is_none() || self.waiting.len() >= BATCH_FILES || self.waiting_bytes >= BATCH_BYTES {
            self.send();
            while self.batches.len() >= IN_FLIGHT {
                self.wait_for_oldest().await;
            }
        }
    }

    /// Sends the collected files as a batch.
    fn send(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.waiting_bytes = 0;
        let memory = self.memory.take();
        let (indexes, files): (Vec<usize>, Vec<SmallFile>) = std::mem::take(&mut self.waiting).into_iter().unzip();
        let (ctx, actor) = (self.receiver.ctx.clone(), self.receiver.actor.clone());
        self.batches.push_back(self.receiver.ctx.in_background(async move {
            let stored = batch::store(&ctx, &actor, files).await;
            drop(memory);
            indexes.into_iter().zip(stored).collect()
        }));
    }

    /// Waits for the oldest batch.
    async fn wait_for_oldest(&mut self) {
        let Some(oldest) = self.batches.front_mut() else { return };
        let finished = oldest.await;
        self.batches.pop_front();
        match finished {
            Ok(stored) => stored.into_iter().for_each(|(at, stored)| self.set_outcome(at, stored)),
            Err(error) => log::error!("a batch of small files was aborted: {error}"),
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.send();
    }
}
