//! One attempt to store a file: its row, its lease, and how to undo it.

use std::time::Duration;

use tokio::task::AbortHandle;

use super::failure::{self, Failure};
use super::receiving::target::Target;
use super::row::{self, Lease};
use super::{Activity, File, FileState};
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::faults::crash_point;
use crate::domain::{Context, Error, Result};

/// Everything that must be undone if the upload fails.
pub(super) struct Attempt {
    pub ctx: Context,
    pub actor: Actor,
    pub lease: Lease,
    pub target: Target,
    pub multipart: Option<String>,
}

impl Attempt {
    pub fn describe(&self) -> File {
        describe(&self.actor, &self.target, self.lease.file)
    }

    /// Undoes what is stored and records the reason on the row. Never touches the object itself.
    pub async fn undo(&self, failure: &Failure) -> Result<()> {
        if let Some(upload) = &self.multipart {
            self.ctx.s3.abort_multipart(&self.target.bucket, &self.target.key, upload).await?;
        }
        crash_point("upload::aborted")?;
        row::fail(&self.ctx, &self.actor, self.lease, &self.target, failure).await
    }

    /// Like [`Self::undo`]; if this fails, the row stays `pending` and the reaper handles it.
    pub async fn fail(&self, failure: &Failure) {
        if let Err(error) = self.undo(failure).await {
            log::warn!("a failed upload could not be undone yet: {error}");
        }
    }
}

/// A file of which nothing is stored yet.
pub(super) fn describe(actor: &Actor, target: &Target, id: uuid::Uuid) -> File {
    File {
        id,
        batch_id: target.batch,
        bucket: target.bucket.clone(),
        key: target.key.clone(),
        name: target.name.clone(),
        size: None,
        sha256: None,
        etag: None,
        state: FileState::Pending,
        activity: Some(Activity::Receiving),
        resumable: None,
        uploaded_by: actor.label.clone(),
        error: None,
        created_at: clock::now(),
        finished_at: None,
    }
}

impl File {
    /// The same file, with the reason why it is not stored.
    pub fn failed(mut self, error: &Error) -> Self {
        self.state = FileState::Failed;
        self.activity = None;
        self.error = Some(failure::sentence(error));
        self
    }
}

/// Sends heartbeats for these attempts until it is dropped.
pub(super) struct Heartbeat(AbortHandle);

impl Heartbeat {
    /// The interval is short enough that one lost heartbeat does no harm.
    pub fn start(ctx: &Context, leases: Vec<Lease>) -> Self {
        let every = Duration::from_secs(15).min(ctx.config.upload.lease / 3);
        let ctx = ctx.clone();
        let runtime = ctx.runtime.clone();
        let task = runtime.spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if let Err(error) = row::send_heartbeats(&ctx, &leases).await {
                    log::debug!("a heartbeat was lost: {error}");
                }
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}
