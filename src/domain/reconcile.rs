//! Compares Larder's records with the contents of the store, bucket by bucket and page by page, and optionally
//! repairs the records. Never deletes an object; safe while Larder is running.

mod objects;
mod repair;
mod rows;
mod uploads;

use std::collections::BTreeSet;

use super::names::BucketName;
use super::{Context, Error, Result, abilities, audit};
use crate::stores::s3;

pub struct Options<'a> {
    /// Only this bucket; `None` means all buckets that the store lists or that Larder has records of.
    pub bucket: Option<&'a BucketName>,
    /// Otherwise nothing is changed.
    pub repair: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub buckets: u64,
    pub objects: u64,
    pub uploads: u64,
    pub differences: u64,
    pub repaired: u64,
    /// Reported and left unchanged, because they are not provably Larder's.
    pub notes: u64,
}

impl Report {
    pub fn left(&self) -> u64 {
        self.differences.saturating_sub(self.repaired)
    }
}

/// A comparison in progress: its options, output and results.
struct Run<'a> {
    ctx: &'a Context,
    repair: bool,
    /// The bucket was named explicitly.
    is_explicit: bool,
    report_line: &'a mut dyn FnMut(&str),
    report: Report,
}

/// The result of repairing one difference.
enum Repair {
    Done,
    /// The record was changed since it was compared.
    Outdated,
    Skipped,
}

impl Run<'_> {
    /// Reports one difference in a line. `done` describes the effect of the repair.
    fn difference(&mut self, place: (&str, &str), what: &str, done: &str, repaired: Result<Repair>) {
        let resource = audit::object(place.0, place.1);
        match repaired {
            Ok(Repair::Outdated) => return,
            Ok(Repair::Done) => {
                self.report.repaired += 1;
                (self.report_line)(&format!("repaired {resource:?}: {what} {done}"));
            }
            Ok(Repair::Skipped) => (self.report_line)(&format!("difference  {resource:?}: {what}")),
            Err(why) => {
                log::info!("{resource:?} was not repaired: {why}");
                (self.report_line)(&format!("failed   {resource:?}: {what} It could not be repaired: {}", reason(&why)));
            }
        }
        self.report.differences += 1;
    }

    fn note(&mut self, bucket: &str, key: &str, what: &str) {
        self.report.notes += 1;
        (self.report_line)(&format!("note     {:?}: {what}", audit::object(bucket, key)));
    }
}

fn reason(why: &Error) -> &'static str {
    match why {
        Error::S3(s3::Error::AccessDenied) => "the store denied access to Larder's key.",
        Error::S3(_) => "the store is unreachable.",
        Error::Postgres(_) => "the database is unreachable.",
        _ => "see the log.",
    }
}

/// Reports each difference in a line and returns the totals.
pub async fn run(ctx: &Context, options: &Options<'_>, report_line: &mut dyn FnMut(&str)) -> Result<Report> {
    // How the store treats unusual names, if a running Larder has probed it.
    let known = abilities::known(ctx).await;
    let by_folder = known.is_some_and(|probed| probed.abilities.lists_by_folder);
    let mut run = Run { ctx, repair: options.repair, is_explicit: options.bucket.is_some(), report_line, report: Report::default() };
    let buckets = buckets(ctx, options.bucket).await?;
    uploads::stopped(&mut run, options.bucket).await?;
    for bucket in &buckets {
        run.report.buckets += 1;
        objects::compare(&mut run, bucket, by_folder).await?;
        uploads::compare(&mut run, bucket).await?;
    }
    Ok(run.report)
}

async fn buckets(ctx: &Context, only: Option<&BucketName>) -> Result<BTreeSet<String>> {
    let mut names = rows::buckets(ctx).await?;
    if let Some(only) = only {
        match ctx.s3.head_bucket(only.as_str()).await {
            Err(s3::Error::NoSuchBucket) if !names.contains(only.as_str()) => {
                return Err(Error::NotFound(format!("Bucket {only} not found, and Larder has no records of it.")));
            }
            Ok(()) | Err(s3::Error::NoSuchBucket | s3::Error::AccessDenied) => return Ok(BTreeSet::from([only.to_string()])),
            Err(error) => return Err(error.into()),
        }
    }
    match ctx.s3.list_buckets().await {
        Ok(entries) => names.extend(entries.into_iter().map(|entry| entry.name)),
        Err(s3::Error::AccessDenied) => names.extend(ctx.config.s3.buckets.iter().cloned()),
        Err(error) => return Err(error.into()),
    }
    Ok(names)
}
