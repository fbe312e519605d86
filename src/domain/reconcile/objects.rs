//! Objects against rows. The listing gives size and ETag; only where they differ from the row is the object itself
//! asked for.

use std::collections::{HashMap, HashSet};

use super::rows::{self, Order, Row};
use super::{Repair, Run, repair};
use crate::domain::Result;
use crate::domain::uploads::OWNER;
use crate::stores::s3::{self, Head, Listing, ObjectEntry};

pub(super) async fn compare(run: &mut Run<'_>, bucket: &str, by_folder: bool) -> Result<()> {
    let order = Order { by_folder };
    let (mut cursor, mut after) = (None, String::new());
    loop {
        let page = match run.ctx.s3.list(bucket, "", false, cursor.as_deref(), 1000).await {
            Ok(page) => page,
            Err(s3::Error::NoSuchBucket) if run.named => Listing { prefixes: Vec::new(), objects: Vec::new(), next: None },
            // The wrong store, perhaps: every row of the bucket would be declared gone.
            Err(s3::Error::NoSuchBucket) => {
                let what = "The store has no such bucket. If that is right, name it with --bucket to have its records repaired.";
                run.note(bucket, "", what);
                return Ok(());
            }
            Err(s3::Error::AccessDenied) => {
                run.note(bucket, "", "The store refuses to list this bucket with Larder's key, so its objects were not compared.");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        run.report.objects += page.objects.len() as u64;
        listed(run, bucket, &page.objects).await?;
        let until = page.objects.iter().map(|object| order.place(&object.key)).max();
        let keys: HashSet<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
        let last = page.next.is_none();
        // Where a store lists in an order of its own, a place behind us is not looked at twice.
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

/// Objects that the rows of their keys do not explain.
async fn listed(run: &mut Run<'_>, bucket: &str, objects: &[ObjectEntry]) -> Result<()> {
    // Postgres keeps no NUL, so it knows no key that has one.
    let keys: Vec<&str> = objects.iter().map(|object| object.key.as_str()).filter(|key| !key.contains('\0')).collect();
    let mut by_key: HashMap<String, Vec<Row>> = HashMap::new();
    for row in rows::at_keys(run.ctx, bucket, &keys).await? {
        by_key.entry(row.object_key.clone()).or_default().push(row);
    }
    for object in objects {
        if let Some(rows) = by_key.get(&object.key) {
            judge(run, bucket, object, rows).await?;
        }
    }
    Ok(())
}

async fn judge(run: &mut Run<'_>, bucket: &str, object: &ObjectEntry, rows: &[Row]) -> Result<()> {
    let ready = rows.iter().find(|row| row.state == "ready");
    // Whoever is at it settles it; what had stopped was settled, or said, before.
    let busy = rows.iter().any(|row| matches!(row.state.as_str(), "pending" | "deleting"));
    let explained = ready.is_some_and(|row| row.etag.as_deref() == Some(&object.etag));
    let explicable = ready.is_some() || rows.iter().any(|row| row.state == "failed" && row.size.is_some());
    if explained || busy || !explicable {
        return Ok(());
    }
    if run.ctx.s3.key_rules().mangled(&object.key).is_some() {
        return Ok(());
    }
    let head = match run.ctx.s3.head(bucket, &object.key, None).await {
        Ok(head) => head,
        // Gone since it was listed; the next comparison sees what is recorded of that.
        Err(s3::Error::NoSuchKey) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let place = (bucket, object.key.as_str());
    if let Some(row) = ready {
        if row.etag.as_deref() == Some(&head.etag) {
            return Ok(());
        }
        let repaired = if run.repair { repair::supersede(run.ctx, row, &head.etag).await } else { Ok(Repair::Skipped) };
        let done = "It was left as it is, and what was recorded counts as replaced.";
        run.differs(place, "The object was changed outside Larder.", done, repaired);
    }
    if let Some(row) = rows.iter().find(|row| made(row, &head)) {
        let repaired = if run.repair { repair::roll_forward(run.ctx, row, &head).await } else { Ok(Repair::Skipped) };
        let what = "The object is whole and carries the number of an upload that is recorded as failed.";
        run.differs(place, what, "It is recorded as stored.", repaired);
    }
    Ok(())
}

/// The object carries the number of this failed upload, and nothing of it is missing.
fn made(row: &Row, head: &Head) -> bool {
    let id = row.id.to_string();
    let ours = head.metadata.iter().any(|(name, value)| name == OWNER && *value == id);
    let whole = row.size.is_none_or(|size| u64::try_from(size).is_ok_and(|size| size == head.size));
    row.state == "failed" && ours && whole
}

/// Rows whose objects should have been on this page of the listing and were not.
async fn unlisted(run: &mut Run<'_>, bucket: &str, order: Order, after: &str, until: Option<&str>, keys: &HashSet<&str>) -> Result<()> {
    let mut after = after.to_owned();
    loop {
        let rows = rows::ready_between(run.ctx, bucket, order, &after, until).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = order.place(&last.object_key);
        for row in rows.iter().filter(|row| !keys.contains(row.object_key.as_str())) {
            gone(run, bucket, row).await?;
        }
    }
}

async fn gone(run: &mut Run<'_>, bucket: &str, row: &Row) -> Result<()> {
    if let Some(why) = run.ctx.s3.key_rules().mangled(&row.object_key) {
        run.note(bucket, &row.object_key, &format!("It is not listed, and was not looked at. {why}"));
        return Ok(());
    }
    match run.ctx.s3.head(bucket, &row.object_key, None).await {
        Err(s3::Error::NoSuchKey | s3::Error::NoSuchBucket) => {}
        // It came after its page was listed, or the store lists in an order of its own.
        Ok(_) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let repaired = if run.repair { repair::delete(run.ctx, row).await } else { Ok(Repair::Skipped) };
    let what = "The object is recorded and is not in the store.";
    run.differs((bucket, &row.object_key), what, "It is recorded as deleted.", repaired);
    Ok(())
}
