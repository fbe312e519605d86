//! Multipart uploads whose process crashed after creating them and before recording their ID.
//!
//! The store does not report who created an upload. One is considered Larder's if a row with this key was being
//! uploaded when it was created, no row has its ID, it has no parts, and it is older than the lease. Aborting it
//! loses no data.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{Bool, Text, Timestamptz};
use diesel_async::RunQueryDsl;

use crate::clock;
use crate::domain::{Context, Error, Result};
use crate::stores::s3::OpenUpload;

const PAGE: i32 = 1000;

#[derive(diesel::QueryableByName)]
struct Bucket {
    #[diesel(sql_type = Text)]
    bucket: String,
}

#[derive(diesel::QueryableByName)]
struct OwnershipRow {
    #[diesel(sql_type = Bool)]
    ours: bool,
}

/// Aborts orphans in every bucket that has rows; returns their number.
pub(in crate::domain::uploads) async fn sweep(ctx: &Context) -> Result<usize> {
    let mut aborted = 0;
    for bucket in buckets(ctx).await? {
        // A bucket that was deleted or cannot be listed does not affect the others.
        match sweep_bucket(ctx, &bucket).await {
            Ok(count) => aborted += count,
            Err(error) => log::debug!("multipart uploads of {bucket} could not be checked: {error}"),
        }
    }
    Ok(aborted)
}

async fn sweep_bucket(ctx: &Context, bucket: &str) -> Result<usize> {
    let before = clock::now() - TimeDelta::from_std(ctx.config.upload.lease).unwrap_or(TimeDelta::minutes(15));
    let (mut aborted, mut marker) = (0, None);
    loop {
        let page = ctx.s3.list_multipart(bucket, None, marker.as_ref(), PAGE).await?;
        for upload in page.uploads {
            let Some(began) = upload.initiated.filter(|began| *began < before) else { continue };
            if is_ours(ctx, bucket, &upload, began).await? && is_empty(ctx, bucket, &upload).await? {
                ctx.s3.abort_multipart(bucket, &upload.key, &upload.upload_id).await?;
                log::warn!("aborted the empty multipart upload of {bucket} {:?} created at {began}", upload.key);
                aborted += 1;
            }
        }
        marker = page.next;
        if marker.is_none() {
            return Ok(aborted);
        }
    }
}

async fn is_empty(ctx: &Context, bucket: &str, upload: &OpenUpload) -> Result<bool> {
    Ok(ctx.s3.list_parts(bucket, &upload.key, &upload.upload_id, None, 1).await?.parts.is_empty())
}

/// According to the rows; the minute allows for clock differences.
async fn is_ours(ctx: &Context, bucket: &str, upload: &OpenUpload, began: DateTime<Utc>) -> Result<bool> {
    if upload.key.contains('\0') {
        return Ok(false);
    }
    let query = diesel::sql_query(
        "SELECT count(*) FILTER (WHERE s3_upload_id = $4) = 0
                AND count(*) FILTER (WHERE created_at <= $3 + interval '1 minute'
                                           AND (state = 'pending' OR finished_at >= $3 - interval '1 minute')) > 0 AS ours
         FROM files WHERE bucket = $1 AND object_key = $2",
    )
    .bind::<Text, _>(bucket)
    .bind::<Text, _>(&upload.key)
    .bind::<Timestamptz, _>(began)
    .bind::<Text, _>(&upload.upload_id);
    let ownership: OwnershipRow = ctx.db.run(async |conn| query.get_result(conn).await.map_err(Error::from)).await?;
    Ok(ownership.ours)
}

/// Steps from name to name through the index: there are many rows and few buckets.
async fn buckets(ctx: &Context) -> Result<Vec<String>> {
    ctx.db
        .run(async |conn| {
            let found: Vec<Bucket> = diesel::sql_query(
                "WITH RECURSIVE found AS (
             (SELECT bucket FROM files ORDER BY bucket LIMIT 1)
             UNION ALL
             SELECT (SELECT files.bucket FROM files WHERE files.bucket > found.bucket ORDER BY files.bucket LIMIT 1)
             FROM found WHERE found.bucket IS NOT NULL)
         SELECT bucket FROM found WHERE bucket IS NOT NULL",
            )
            .load(conn)
            .await
            .map_err(Error::from)?;
            Ok(found.into_iter().map(|found| found.bucket).collect())
        })
        .await
}
