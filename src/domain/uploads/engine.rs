//! One file as it arrives: a little of it in memory, then, where it is large, part by part to the store.

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::attempt::{Attempt, describe};
use super::batch::{self, Small};
use super::failure::{Failure, cut};
use super::parts::{Parts, ReceivedFile, already_over, digest_of};
use super::publish;
use super::receiver;
use super::row;
use super::target::Target;
use super::{File, FileState};
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::faults::crash_point;
use crate::domain::{Context, Error, Result};

/// What an upload may hold without asking for memory: most small files never have to.
pub(super) const FREE: usize = 64 << 10;

/// A file that is arriving. Dropped before [`Upload::finish`], it is undone in the background.
pub struct Upload {
    ctx: Context,
    actor: Actor,
    target: Target,
    /// Of the whole body that the file is in, as its sender says.
    length: Option<u64>,
    size: u64,
    /// `None` once it is over.
    stage: Option<Stage>,
}

enum Stage {
    /// Nothing is recorded or stored yet.
    Small(BytesMut),
    Large(Box<Parts>),
}

/// A file that has arrived whole.
pub(super) enum Whole {
    Small(Small),
    Large(Box<ReceivedFile>),
}

impl Upload {
    pub(super) fn new(ctx: &Context, actor: &Actor, target: Target, length: Option<u64>) -> Self {
        let stage = Some(Stage::Small(BytesMut::new()));
        Self { ctx: ctx.clone(), actor: actor.clone(), target, length, size: 0, stage }
    }

    /// Takes the next bytes; waits while memory or the store is busy.
    pub async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.size += chunk.len() as u64;
        let most = self.ctx.config.upload.max_size;
        if self.size > most {
            return Err(Error::TooLarge(format!("The file is larger than the {most} bytes that Larder takes.")));
        }
        match &mut self.stage {
            Some(Stage::Small(buffer)) if buffer.len() + chunk.len() <= FREE => {
                buffer.extend_from_slice(&chunk);
                Ok(())
            }
            Some(Stage::Small(buffer)) => {
                let begun = std::mem::take(buffer).freeze();
                let parts = self.begin_large().await?;
                parts.write(begun).await?;
                parts.write(chunk).await
            }
            Some(Stage::Large(parts)) => parts.write(chunk).await,
            None => Err(already_over()),
        }
    }

    /// The sender has fallen silent: memory that it has not filled is returned.
    pub fn release_unused(&mut self) {
        if let Some(Stage::Large(parts)) = &mut self.stage {
            parts.release_unused();
        }
    }

    /// The row stands before the first byte is stored, and what must not be replaced is looked for before that.
    async fn begin_large(&mut self) -> Result<&mut Parts> {
        receiver::look_first(&self.ctx, &self.target).await?;
        let lease = row::insert_pending(&self.ctx, &self.actor, &self.target).await?;
        let (ctx, actor, target) = (self.ctx.clone(), self.actor.clone(), self.target.clone());
        let parts = Parts::new(Attempt { ctx, actor, lease, target, multipart: None }, self.length);
        let stage = self.stage.insert(Stage::Large(Box::new(parts)));
        crash_point("upload::row_written")?;
        match stage {
            Stage::Large(parts) => Ok(parts),
            Stage::Small(_) => Err(Error::Internal("a large upload that is small".into())),
        }
    }

    /// Publishes the file; runs to its end even where the sender goes away now.
    pub async fn finish(mut self) -> Result<File> {
        let whole = self.whole().await?;
        let (ctx, actor) = (self.ctx.clone(), self.actor.clone());
        self.ctx.run_to_completion(async move { whole.store(&ctx, &actor).await }).await
    }

    /// Everything but the publishing. An upload that fails here is undone.
    pub(super) async fn whole(&mut self) -> Result<Whole> {
        if let Some(Stage::Large(parts)) = &mut self.stage
            && let Err(error) = parts.finish().await
        {
            self.undo(Failure::of(&error)).await;
            return Err(error);
        }
        match self.stage.take() {
            Some(Stage::Small(buffer)) => {
                let body = buffer.freeze();
                Ok(Whole::Small(Small { digest: digest_of(&body), target: self.target.clone(), body }))
            }
            Some(Stage::Large(parts)) => Ok(Whole::Large(Box::new(parts.into_received(self.size)?))),
            None => Err(already_over()),
        }
    }

    /// Undoes the upload and records why; the file as it failed.
    pub async fn abandon(mut self, error: &Error) -> File {
        match self.undo(Failure::of(error)).await {
            Some(file) => file.failed(error),
            None => self.describe().failed(error),
        }
    }

    /// What is stored is undone and the reason recorded, even where whoever waits for it goes away.
    async fn undo(&mut self, failure: Failure) -> Option<File> {
        let undoing = undo(self.stage.take()?, &self.ctx, &self.actor, &self.target, failure);
        self.ctx.in_background(undoing).await.ok()
    }

    /// The file as it stands before anything of it is stored.
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
            let failure = Failure::of(&cut("The connection closed before the whole file had arrived."));
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
            Stage::Small(_) => refuse(&ctx, &actor, target, failure).await,
        }
    }
}

impl Whole {
    /// To be called where nothing cuts it off.
    pub async fn store(self, ctx: &Context, actor: &Actor) -> Result<File> {
        match self {
            Self::Small(small) => {
                let stored = batch::store(ctx, actor, vec![small]).await;
                stored.into_iter().next().unwrap_or_else(|| Err(Error::Internal("a batch without its file".into())))
            }
            Self::Large(arrived) => {
                let ReceivedFile { attempt, whole, digest, held: _held } = *arrived;
                publish::publish(attempt, whole, digest).await
            }
        }
    }
}

/// Records a file of which nothing was stored, so that the page of its form can list it.
pub(super) async fn refuse(ctx: &Context, actor: &Actor, target: Target, failure: Failure) -> File {
    ctx.transfer_counters.count_upload(failure.outcome());
    let target = target.recordable();
    let id = match row::insert_refused(ctx, actor, &target, &failure).await {
        Ok(id) => id,
        Err(fault) => {
            log::warn!("a refused upload could not be recorded: {fault}");
            Uuid::now_v7()
        }
    };
    let ended = describe(actor, &target, id);
    File { state: FileState::Failed, activity: None, error: Some(failure.why), finished_at: Some(clock::now()), ..ended }
}
