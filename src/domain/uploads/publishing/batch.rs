//! Small files in batches: one statement inserts all rows and claims their keys.

use std::time::Instant;

use bytes::Bytes;

use super::{Content, OnFailure, ReceivedFile, repeat_error};
use crate::domain::actor::Actor;
use crate::domain::faults::crash_point;
use crate::domain::uploads::File;
use crate::domain::uploads::attempt::{Attempt, Heartbeat};
use crate::domain::uploads::receiving::target::Target;
use crate::domain::uploads::row::{self, Digest, Lease, Start};
use crate::domain::{Context, Error, Result};

/// A complete file in memory.
pub(in crate::domain::uploads) struct SmallFile {
    pub target: Target,
    pub body: Bytes,
    pub digest: Digest,
}

impl SmallFile {
    fn into_received(self, ctx: &Context, actor: &Actor, lease: Lease) -> ReceivedFile {
        let attempt = Attempt { ctx: ctx.clone(), actor: actor.clone(), lease, target: self.target, multipart: None };
        ReceivedFile { attempt, content: Content::Body(self.body), digest: self.digest }
    }
}

/// Stores files of one form and returns their outcomes in order. Must not be cancelled.
pub(in crate::domain::uploads) async fn store(ctx: &Context, actor: &Actor, files: Vec<SmallFile>) -> Vec<Result<File>> {
    let leases: Vec<Lease> = files.iter().map(|_| Lease::new()).collect();
    let rows = || files.iter().zip(&leases).map(|(file, lease)| (*lease, &file.target, Start::Received(&file.digest)));
    let inserted = ctx.db.run(async |conn| row::insert(conn, actor, rows()).await.map_err(Error::from)).await;
    let claimed_at = Instant::now();
    let claimed = match inserted.and_then(|ids| crash_point("batch::rows_written").map(|()| ids)) {
        Ok(ids) => ids,
        Err(error) => return repeat_error(error, files.len()),
    };
    let heartbeat = Heartbeat::start(ctx, leases.clone());
    let (ours, others): (Vec<_>, Vec<_>) =
        files.into_iter().zip(leases).enumerate().partition(|(_, (_, lease))| claimed.contains(&lease.file));
    let (places, ours): (Vec<usize>, Vec<ReceivedFile>) =
        ours.into_iter().map(|(at, (file, lease))| (at, file.into_received(ctx, actor, lease))).unzip();
    let published = super::publish_claimed(ours, claimed_at, OnFailure::Undo).await;
    let mut outcomes: Vec<(usize, Result<File>)> = places.into_iter().zip(published).collect();
    drop(heartbeat);
    // Their keys are being published by other uploads, possibly by this batch.
    for (at, (file, lease)) in others {
        outcomes.push((at, store_later(ctx, actor, file, lease).await));
    }
    outcomes.sort_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Stores a file after waiting for its key.
async fn store_later(ctx: &Context, actor: &Actor, file: SmallFile, lease: Lease) -> Result<File> {
    row::insert_one(ctx, actor, lease, &file.target, Start::Receiving).await?;
    let _heartbeat = Heartbeat::start(ctx, vec![lease]);
    super::publish(file.into_received(ctx, actor, lease), OnFailure::Undo).await
}
