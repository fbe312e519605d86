//! Multipart uploads that a Larder began and died before any row could name them.
//!
//! The store does not say who began an open upload. One is taken for ours where a row of this very key was being
//! uploaded when it began, no row has its name, no part of it has ever come, and whoever begins one has long
//! named it: giving it up loses nobody a byte.

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
struct Judgement {
    #[diesel(sql_type = Bool)]
    ours: bool,
}

/// Gives up those in every bucket that has seen an upload; how many.
pub(super) async fn sweep(ctx: &Context) -> Result<usize> {
    let mut given_up = 0;
    for bucket in ctx.db.within(buckets(ctx)).await? {
        // One bucket that is gone or not ours to list is not in the way of the others.
        match sweep_bucket(ctx, &bucket).await {
            Ok(count) => given_up += count,
            Err(error) => log::debug!("open uploads of {bucket} were not looked at: {error}"),
        }
    }
    Ok(given_up)
}

async fn sweep_bucket(ctx: &Context, bucket: &str) -> Result<usize> {
    let before = clock::now() - TimeDelta::from_std(ctx.config.upload.lease).unwrap_or(TimeDelta::minutes(15));
    let (mut given_up, mut marker) = (0, None);
    loop {
        let page = ctx.s3.list_multipart(bucket, None, marker.as_ref(), PAGE).await?;
        for upload in page.uploads {
            let Some(began) = upload.initiated.filter(|began| *began < before) else { continue };
            if ctx.db.within(is_ours(ctx, bucket, &upload, began)).await? && is_empty(ctx, bucket, &upload).await? {
                ctx.s3.abort_multipart(bucket, &upload.key, &upload.upload_id).await?;
                log::warn!("gave up the empty multipart upload of {bucket} {:?} that began at {began}", upload.key);
                given_up += 1;
            }
        }
        marker = page.next;
        if marker.is_none() {
            return Ok(given_up);
        }
    }
}

async fn is_empty(ctx: &Context, bucket: &str, upload: &OpenUpload) -> Result<bool> {
    Ok(ctx.s3.list_parts(bucket, &upload.key, &upload.upload_id, None, 1).await?.parts.is_empty())
}

/// By the rows; a minute is for clocks that differ.
async fn is_ours(ctx: &Context, bucket: &str, upload: &OpenUpload, began: DateTime<Utc>) -> Result<bool> {
    if upload.key.contains('\0') {
        return Ok(false);
    }
    let mut conn = ctx.db.get().await?;
    let judgement: Judgement = diesel::sql_query(
        "SELECT count(*) FILTER (WHERE s3_upload_id = $4) = 0
                AND count(*) FILTER (WHERE created_at <= $3 + interval '1 minute'
                                           AND (state = 'pending' OR finished_at >= $3 - interval '1 minute')) > 0 AS ours
         FROM files WHERE bucket = $1 AND object_key = $2",
    )
    .bind::<Text, _>(bucket)
    .bind::<Text, _>(&upload.key)
    .bind::<Timestamptz, _>(began)
    .bind::<Text, _>(&upload.upload_id)
    .get_result(&mut conn)
    .await?;
    Ok(judgement.ours)
}

/// From one name to the next by the index: there are many rows and few buckets.
async fn buckets(ctx: &Context) -> Result<Vec<String>> {
    let mut conn = ctx.db.get().await?;
    let found: Vec<Bucket> = diesel::sql_query(
        "WITH RECURSIVE found AS (
             (SELECT bucket FROM files ORDER BY bucket LIMIT 1)
             UNION ALL
             SELECT (SELECT files.bucket FROM files WHERE files.bucket > found.bucket ORDER BY files.bucket LIMIT 1)
             FROM found WHERE found.bucket IS NOT NULL)
         SELECT bucket FROM found WHERE bucket IS NOT NULL",
    )
    .load(&mut conn)
    .await
    .map_err(Error::from)?;
    Ok(found.into_iter().map(|found| found.bucket).collect())
}
