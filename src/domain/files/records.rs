//! What Larder knows of objects in the store: the rows of the objects that it stored.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::{ExpressionMethods, QueryDsl};
use diesel_async::RunQueryDsl;

use super::FileState;
use crate::domain::names::BucketName;
use crate::domain::secrets::hex;
use crate::domain::{Context, Error, Result};
use crate::schema::files;

/// Where an object came from, according to Larder's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Uploaded through Larder by this user and unchanged since: the ETag matches.
    Larder { by: String, sha256: Option<String> },
    /// Uploaded through Larder, but the object's ETag has changed.
    Changed,
    /// Not uploaded through Larder.
    Outside,
}

/// Larder's record of an object that it stored.
#[derive(Clone, Debug)]
pub(in crate::domain) struct UploadRecord {
    etag: String,
    by: String,
    sha256: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
}

impl UploadRecord {
    /// The record applies only while the ETag is unchanged.
    pub fn origin(&self, etag: &str) -> Origin {
        if self.etag == etag { Origin::Larder { by: self.by.clone(), sha256: self.sha256.clone() } } else { Origin::Changed }
    }
}

type RecordRow = (String, Option<String>, String, Option<Vec<u8>>, Option<DateTime<Utc>>);

/// Records by key, for keys with a `ready` row or one that is being deleted.
pub(in crate::domain) async fn records(ctx: &Context, bucket: &BucketName, keys: &[&str]) -> Result<HashMap<String, UploadRecord>> {
    // Postgres cannot store NUL, so no row has such a key.
    let keys: Vec<&str> = keys.iter().copied().filter(|key| !key.contains('\0')).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<RecordRow> = ctx
        .db
        .run(async |conn| {
            files::table
                .filter(files::bucket.eq(bucket.as_str()))
                .filter(files::object_key.eq_any(&keys))
                .filter(files::state.eq_any([FileState::Deleting, FileState::Ready]))
                // In this order, so that of two rows with the same key the ready one is kept.
                .order(files::state.asc())
                .select((files::object_key, files::etag, files::uploaded_by_label, files::sha256, files::expires_at))
                .load(conn)
                .await
                .map_err(Error::from)
        })
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(key, etag, by, sha256, expires_at)| {
            Some((key, UploadRecord { etag: etag?, by, sha256: sha256.as_deref().map(hex), expires_at }))
        })
        .collect())
}
