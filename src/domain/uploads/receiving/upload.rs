//! The upload of one file: small files are kept in memory, large ones are sent to the store part by part.

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::receiver;
use super::target::Target;
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::faults::crash_point;
use crate::domain::uploads::File;
use crate::domain::uploads::attempt::{Attempt, Heartbeat, describe};
use crate::domain::uploads::failure::{Failure, incomplete};
use crate::domain::uploads::publishing::batch::{self, SmallFile};
use crate::domain::uploads::publishing::{self, OnFailure, ReceivedFile};
use crate::domain::uploads::row::{self, Lease, Start};
use crate::domain::uploads::streaming::parts::{Parts, already_ended, digest_of};
use crate::domain::{Context, Error, Result};

/// Memory that an upload may use without a permit: enough for most small files.
pub(in crate::domain::uploads) const FREE: usize = 64 << 10;

/// A file being received. If it is dropped before [`Upload::finish`], it is undone in the background.
pub struct Upload {
    ctx: Context,
    actor: Actor,
    target: Target,
    /// Length of the whole body that contains the file, as claimed by the sender.
    length: Option<u64>,
    size: u64,
    /// `None` after the upload has ended.
    stage: Option<Stage>,
}

enum Stage {
    /// Nothing is recorded or stored yet.
    Small(BytesMut),
    Large(Box<Parts>),
}

/// A file that was received completely.
pub(in crate::domain::uploads) enum ReceivedUpload {
    Small(SmallFile),
    /// With the heartbeat to hold until it is published.
    Large(Box<(ReceivedFile, Heartbeat)>),
}

impl Upload {
    pub(in crate::domain::uploads) fn new(ctx: &Context, actor: &Actor, target: Target, length: Option<u64>) -> Self {
        let stage = Some(Stage::Small(BytesMut::new()));
        Self { ctx: ctx.clone(), actor: actor.clone(), target, length, size: 0, stage }
    }

    /// Takes the next bytes; waits while memory or the store is busy.
    pub async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.size += chunk.len() as u64;
        let max = self.ctx.config.upload.max_size;
        if self.size > max {
            return Err(Error::TooLarge(format!("The file is larger than the limit of {max} bytes.")));
        }
        match &mut self.stage {
            Some(Stage::Small(buffer)) if buffer.len() + chunk.len() <= FREE => {
                buffer.extend_from_slice(&chunk);
                Ok(())
            }
            Some(Stage::Small(buffer)) => {
                let buffered = std::mem::take(buffer).freeze();
                let parts = self.switch_to_parts().await?;
                parts.write(buffered).await?;
                parts.write(chunk).await
            }
            Some(Stage::Large(parts)) => parts.write(chunk).await,
            None => Err(already_ended()),
        }
    }

    /// Called when the sender is inactive: releases memory that it has not filled.
    pub fn release_unused(&mut self) {
        if let Some(Stage::Large(parts)) = &mut self.stage {
            parts.release_unused();
        }
    }

    /// The row is written before the first byte is stored, after checking that no existing object would be replaced.
    async fn switch_to_parts(&mut self) -> Result<&mut Parts> {
        receiver::check_absent(&self.ctx, &self.target).await?;
        let lease = Lease::new();
        row::insert_one(&self.ctx, &self.actor, lease, &self.target, Start::Receiving).await?;
        let (ctx, actor, target) = (self.ctx.clone(), self.actor.clone(), self.target.clone());
        let parts = Parts::new(Attempt { ctx, actor, lease, target, multipart: None }, self.length);
        let stage = self.stage.insert(Stage::Large(Box::new(parts)));
        crash_point("upload::row_written")?;
        match stage {
            Stage::Large(parts) => Ok(parts),
            Stage::Small(_) => Err(Error::Internal("the upload is not in the large stage".into())),
        }
    }

    /// Publishes the file; runs to completion even if the sender disconnects.
    pub async fn finish(mut self) -> Result<File> {
        let received = self.receive_all().await?;
        let (ctx, actor) = (self.ctx.clone(), self.actor.clone());
        self.ctx.run_to_completion(async move { received.store(&ctx, &actor).await }).await
    }

    /// All steps before publishing. If it fails, the upload is undone.
    pub(in crate::domain::uploads) async fn receive_all(&mut self) -> Result<ReceivedUpload> {
        if let Some(Stage::Large(parts)) = &mut self.stage
            && let Err(error) = parts.finish().await
        {
            self.undo(Failure::of(&error)).await;
            return Err(error);
        }
        match self.stage.take() {
            Some(Stage::Small(buffer)) => {
                let body = buffer.freeze();
                Ok(ReceivedUpload::Small(SmallFile { digest: digest_of(&body), target: self.target.clone(), body }))
            }
            Some(Stage::Large(parts)) => Ok(ReceivedUpload::Large(Box::new(parts.into_received(self.size)?))),
            None => Err(already_ended()),
        }
    }

    /// Undoes the upload and records the reason; returns the failed file.
    pub async fn abandon(mut self, error: &Error) -> File {
        match self.undo(Failure::of(error)).await {
            Some(file) => file.failed(error),
            None => self.describe().failed(error),
        }
    }

    /// Runs to completion even if the caller is cancelled.
    async fn undo(&mut self, failure: Failure) -> Option<File> {
        let undoing = undo(self.stage.take()?, &self.ctx, &self.actor, &self.target, failure);
        self.ctx.in_background(undoing).await.ok()
    }

    /// The file before anything of it is stored.
    pub fn describe(&self) -> File {
        let id = match &self.stage {
            Some(Stage::Large(parts)) => parts.attempt.lease.file,
            _ => Uuid::now_v7(),
        };
        describe(&self.actor, &self.target, id)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(stage) = self.stage.take() {
            let failure = Failure::of(&incomplete("The connection closed before the file was complete."));
            self.ctx.in_background(undo(stage, &self.ctx, &self.actor, &self.target, failure));
        }
    }
}

fn undo(stage: Stage, ctx: &Context, actor: &Actor, target: &Target, failure: Failure) -> impl Future<Output = File> + Send + use<> {
    let (ctx, actor, target) = (ctx.clone(), actor.clone(), target.clone());
    async move {
        match stage {
            Stage::Large(parts) => {
                let attempt = parts.stop().await;
                attempt.fail(&failure).await;
                attempt.describe()
            }
            Stage::Small(_) => reject(&ctx, &actor, target, failure).await,
        }
    }
}

impl ReceivedUpload {
    /// Must not be cancelled.
    pub async fn store(self, ctx: &Context, actor: &Actor) -> Result<File> {
        match self {
            Self::Small(small) => {
                let stored = batch::store(ctx, actor, vec![small]).await;
                stored.into_iter().next().unwrap_or_else(|| Err(Error::Internal("the batch returned no outcome".into())))
            }
            Self::Large(arrived) => {
                let (file, _heartbeat) = *arrived;
                publishing::publish(file, OnFailure::Undo).await
            }
        }
    }
}

/// Records a file of which nothing was stored, so that the page of its form can list it.
pub(in crate::domain::uploads) async fn reject(ctx: &Context, actor: &Actor, target: Target, failure: Failure) -> File {
    ctx.transfer_counters.count_upload(failure.outcome());
    let target = target.recordable();
    let id = match row::insert_rejected(ctx, actor, &target, &failure).await {
        Ok(id) => id,
        Err(error) => {
            log::warn!("a rejected upload could not be recorded: {error}");
            Uuid::now_v7()
        }
    };
    let ended = describe(actor, &target, id);
    File { state: failure.state, activity: None, error: Some(failure.why), finished_at: Some(clock::now()), ..ended }
}
