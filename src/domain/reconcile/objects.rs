//! Compares objects with rows. The listing provides size and ETag; the object itself is requested only if they differ
//! from the row.

use std::collections::{HashMap, HashSet};

use super::rows::{self, Order, Row};
use super::{Repair, Run, repair};
use crate::domain::Result;
use crate::domain::files::{FileState, OWNER};
use crate::stores::s3::{self, Head, Listing, ObjectEntry};

pub(super) async fn compare(run: &mut Run<'_>, bucket: &str, by_folder: bool) -> Result<()> {
    let order = Order { by_folder };
    let (mut cursor, mut after) = (None, String::new());
    loop {
        let page = match run.ctx.s3.list(bucket, "", false, cursor.as_deref(), 1000).await {
            Ok(page) => page,
            Err(s3::Error::NoSuchBucket) if run.is_explicit => Listing { prefixes: Vec::new(), objects: Vec::new(), next: None },
            // Larder may be connected to the wrong store, and every row of the bucket would be marked as deleted.
            Err(s3::Error::NoSuchBucket) => {
                let what = "The bucket does not exist in the store. If this is expected, repair its records with --bucket.";
                run.note(bucket, "", what);
                return Ok(());
            }
            Err(s3::Error::AccessDenied) => {
                run.note(bucket, "", "Larder's key may not list this bucket, so its objects were not compared.");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        run.report.objects += page.objects.len() as u64;
        listed(run, bucket, &page.objects).await?;
        let until = page.objects.iter().map(|object| order.position(&object.key)).max();
        let keys: HashSet<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
        let last = page.next.is_none();
        // If the store lists in its own order, the range before `after` is not compared again.
        if last || until.as_ref().is_some_and(|until| *until > after) {
            let until = if last { None } else { until };
            unlisted(run, bucket, order, &after, until.as_deref(), &keys).await?;
            after = until.unwrap_or(after);
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// Objects that differ from the rows of their keys.
async fn listed(run: &mut Run<'_>, bucket: &str, objects: &[ObjectEntry]) -> Result<()> {
    // Postgres cannot store NUL, so no row has such a key.
    let keys: Vec<&str> = objects.iter().map(|object| object.key.as_str()).filter(|key| !key.contains('\0')).collect();
    let mut by_key: HashMap<String, Vec<Row>> = HashMap::new();
    for row in rows::at_keys(run.ctx, bucket, &keys).await? {
        by_key.entry(row.object_key.clone()).or_default().push(row);
    }
    for object in objects {
        if let Some(rows) = by_key.get(&object.key) {
            compare_object(run, bucket, object, rows).await?;
        }
    }
    Ok(())
}

async fn compare_object(run: &mut Run<'_>, bucket: &str, object: &ObjectEntry, rows: &[Row]) -> Result<()> {
    let ready = rows.iter().find(|row| row.state == FileState::Ready);
    // An upload or deletion in progress will update the row; stopped ones were handled before.
    let busy = rows.iter().any(|row| matches!(row.state, FileState::Pending | FileState::Deleting));
    let matches = ready.is_some_and(|row| row.etag.as_deref() == Some(&object.etag));
    let may_match = ready.is_some() || rows.iter().any(|row| row.state.is_not_stored() && row.size.is_some());
    if matches || busy || !may_match {
        return Ok(());
    }
    if run.ctx.s3.key_rules().mangled(&object.key).is_some() {
        return Ok(());
    }
    let head = match run.ctx.s3.head(bucket, &object.key, None).await {
        Ok(head) => head,
        // Deleted since it was listed; the next run compares again.
        Err(s3::Error::NoSuchKey) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let position = (bucket, object.key.as_str());
    if let Some(row) = ready {
        if row.etag.as_deref() == Some(&head.etag) {
            return Ok(());
        }
        let repaired = if run.repair { repair::supersede(run.ctx, row, &head.etag).await } else { Ok(Repair::Skipped) };
        let done = "The object was kept, and the record is marked as superseded.";
        run.difference(position, "The object was changed outside Larder.", done, repaired);
    }
    if let Some(row) = rows.iter().find(|row| was_created_by(row, &head)) {
        let repaired = if run.repair { repair::roll_forward(run.ctx, row, &head).await } else { Ok(Repair::Skipped) };
        let what = "The object is complete and carries the ID of an upload that is recorded as failed.";
        run.difference(position, what, "The upload was marked as stored.", repaired);
    }
    Ok(())
}

/// Whether the object carries the ID of this failed upload and is complete.
fn was_created_by(row: &Row, head: &Head) -> bool {
    let id = row.id.to_string();
    let ours = head.metadata.iter().any(|(name, value)| name == OWNER && *value == id);
    let whole = row.size.is_none_or(|size| u64::try_from(size).is_ok_and(|size| size == head.size));
    row.state.is_not_stored() && ours && whole
}

/// Rows whose objects are missing from this page of the listing.
async fn unlisted(run: &mut Run<'_>, bucket: &str, order: Order, after: &str, until: Option<&str>, keys: &HashSet<&str>) -> Result<()> {
    let mut after = after.to_owned();
    loop {
        let rows = rows::ready_between(run.ctx, bucket, order, &after, until).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = order.position(&last.object_key);
        for row in rows.iter().filter(|row| !keys.contains(row.object_key.as_str())) {
            gone(run, bucket, row).await?;
        }
    }
}

async fn gone(run: &mut Run<'_>, bucket: &str, row: &Row) -> Result<()> {
    if let Some(why) = run.ctx.s3.key_rules().mangled(&row.object_key) {
        run.note(bucket, &row.object_key, &format!("The object is not listed and cannot be checked. {why}"));
        return Ok(());
    }
    match run.ctx.s3.head(bucket, &row.object_key, None).await {
        Err(s3::Error::NoSuchKey | s3::Error::NoSuchBucket) => {}
        // Created after its page was listed, or the store lists in its own order.
        Ok(_) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let repaired = if run.repair { repair::delete(run.ctx, row).await } else { Ok(Repair::Skipped) };
    let what = "The object is recorded but does not exist in the store.";
    run.difference((bucket, &row.object_key), what, "The record was marked as deleted.", repaired);
    Ok(())
}
