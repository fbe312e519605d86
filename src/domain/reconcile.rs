//! Compares what Larder has recorded with what the store holds, bucket by bucket, a page at a time, and mends the
//! difference when told. Never deletes an object; safe beside a Larder that runs.

mod objects;
mod repair;
mod rows;
mod uploads;

use std::collections::BTreeSet;

use super::names::BucketName;
use super::{Context, Error, Result, abilities, audit};
use crate::stores::s3;

pub struct Options<'a> {
    /// Only this bucket; `None` means all that the store lists and all that Larder has recorded something of.
    pub bucket: Option<&'a BucketName>,
    /// Otherwise nothing is changed anywhere.
    pub repair: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub buckets: u64,
    pub objects: u64,
    pub uploads: u64,
    pub differences: u64,
    pub repaired: u64,
    /// Said, and left as they are: what is not provably ours.
    pub notes: u64,
}

impl Report {
    pub fn left(&self) -> u64 {
        self.differences.saturating_sub(self.repaired)
    }
}

/// One comparison under way: what it may do, whom it tells, what it has found.
struct Run<'a> {
    ctx: &'a Context,
    repair: bool,
    /// The bucket was named, so that it is known to be meant.
    named: bool,
    say: &'a mut dyn FnMut(&str),
    report: Report,
}

/// What became of one difference.
enum Repair {
    Done,
    /// Somebody else has settled it, or changed it, since it was found.
    Outdated,
    Skipped,
}

impl Run<'_> {
    /// A difference, in a line. `done` says what mending it has made of it.
    fn differs(&mut self, place: (&str, &str), what: &str, done: &str, repaired: Result<Repair>) {
        let named = audit::object(place.0, place.1);
        match repaired {
            Ok(Repair::Outdated) => return,
            Ok(Repair::Done) => {
                self.report.repaired += 1;
                (self.say)(&format!("repaired {named:?}: {what} {done}"));
            }
            Ok(Repair::Skipped) => (self.say)(&format!("differs  {named:?}: {what}")),
            Err(why) => {
                log::info!("{named:?} was not repaired: {why}");
                (self.say)(&format!("failed   {named:?}: {what} It could not be repaired: {}", reason(&why)));
            }
        }
        self.report.differences += 1;
    }

    fn note(&mut self, bucket: &str, key: &str, what: &str) {
        self.report.notes += 1;
        (self.say)(&format!("note     {:?}: {what}", audit::object(bucket, key)));
    }
}

fn reason(why: &Error) -> &'static str {
    match why {
        Error::S3(s3::Error::AccessDenied) => "the store refused Larder's key.",
        Error::S3(_) => "the store did not answer.",
        Error::Postgres(_) => "the database did not answer.",
        _ => "see the log.",
    }
}

/// Tells each difference in a line; the sums.
pub async fn run(ctx: &Context, options: &Options<'_>, say: &mut dyn FnMut(&str)) -> Result<Report> {
    // What the store makes of unusual names, where a Larder that runs has found out.
    let known = abilities::known(ctx).await;
    let by_folder = known.is_some_and(|probed| probed.abilities.lists_by_folder);
    let mut run = Run { ctx, repair: options.repair, named: options.bucket.is_some(), say, report: Report::default() };
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
                return Err(Error::NotFound(format!("There is no bucket named {only}, and Larder has recorded nothing in it.")));
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
