//! Stopped uploads and deletions, and multipart uploads in progress at the store.

use std::collections::HashMap;

use uuid::Uuid;

use super::rows::{self, Row};
use super::{Repair, Run};
use crate::domain::files::FileState;
use crate::domain::names::BucketName;
use crate::domain::objects::deletions;
use crate::domain::uploads::reaper;
use crate::domain::{Error, Result};
use crate::stores::s3;

/// Uploads and deletions whose lease has expired are settled in the same way as by a running server, in all buckets
/// regardless of the selected one.
pub(super) async fn stopped(run: &mut Run<'_>, bucket: Option<&BucketName>) -> Result<()> {
    let found = rows::stopped(run.ctx, bucket.map(BucketName::as_str)).await?;
    if found.is_empty() {
        return Ok(());
    }
    let mut left: Vec<Uuid> = Vec::new();
    if run.repair {
        while reaper::pass(run.ctx).await? + deletions::pass(run.ctx).await? > 0 {}
        let ids: Vec<Uuid> = found.iter().map(|row| row.id).collect();
        left = rows::still_in_progress(run.ctx, &ids).await?;
    }
    for row in &found {
        let what = if row.state == FileState::Deleting {
            "A deletion was interrupted."
        } else {
            "An upload was interrupted and is no longer being sent."
        };
        let repaired = match (run.repair, left.contains(&row.id)) {
            (false, _) => Ok(Repair::Skipped),
            (true, false) => Ok(Repair::Done),
            (true, true) => Err(Error::S3(s3::Error::Unreachable("the object could not be checked".into()))),
        };
        run.difference((&row.bucket, &row.object_key), what, "The record was updated to match the store.", repaired);
    }
    Ok(())
}

/// Aborts Larder's uploads that have ended. Uploads without a row may belong to other applications and are only
/// reported.
pub(super) async fn compare(run: &mut Run<'_>, bucket: &str) -> Result<()> {
    let mut marker = None;
    loop {
        let page = match run.ctx.s3.list_multipart(bucket, None, marker.as_ref(), 1000).await {
            Ok(page) => page,
            Err(s3::Error::NoSuchBucket) => return Ok(()),
            Err(s3::Error::AccessDenied | s3::Error::NotSupported) => {
                run.note(bucket, "", "The store does not list the multipart uploads of this bucket, so they were not compared.");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        run.report.uploads += page.uploads.len() as u64;
        let ids: Vec<&str> = page.uploads.iter().map(|upload| upload.upload_id.as_str()).filter(|id| !id.contains('\0')).collect();
        let known = rows::of_uploads(run.ctx, bucket, &ids).await?;
        let known: HashMap<&str, &Row> = known.iter().filter_map(|row| Some((row.s3_upload_id.as_deref()?, row))).collect();
        for upload in &page.uploads {
            let Some(row) = known.get(upload.upload_id.as_str()) else {
                run.note(bucket, &upload.key, "A multipart upload without a record, possibly of another application. It was kept.");
                continue;
            };
            // A row never returns to `pending`, so this cannot race with an upload.
            if row.state == FileState::Pending {
                continue;
            }
            let what = "The store still holds parts of an upload that has ended.";
            let repaired = if run.repair {
                let aborted = run.ctx.s3.abort_multipart(bucket, &row.object_key, &upload.upload_id).await;
                aborted.map(|()| Repair::Done).map_err(Error::from)
            } else {
                Ok(Repair::Skipped)
            };
            run.difference((bucket, &upload.key), what, "The parts were removed.", repaired);
        }
        marker = page.next;
        if marker.is_none() {
            return Ok(());
        }
    }
}
