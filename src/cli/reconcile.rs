//! `larder reconcile`: compares the database with the object store.

use anyhow::bail;

use super::print_line;
use crate::app;
use crate::config::Config;
use crate::domain::names::BucketName;
use crate::domain::reconcile::{self, Options, Report};

/// Fails, with exit code 1, if differences remain.
pub(super) async fn run(config: Config, dry_run: bool, bucket: Option<&BucketName>) -> anyhow::Result<()> {
    if config.read_only && !dry_run {
        bail!("READ_ONLY is set, so nothing can be repaired. Run: larder reconcile --dry-run");
    }
    let ctx = app::context(config)?;
    let report = reconcile::run(&ctx, &Options { bucket, repair: !dry_run }, &mut |line| print_line(line)).await?;
    print_line(&summary(&report, dry_run));
    if report.left() > 0 {
        let hint = if dry_run { " To repair them, run without --dry-run." } else { "" };
        bail!("{} remain.{hint}", counted(report.left(), "difference"));
    }
    Ok(())
}

pub(super) fn bucket(name: &str) -> Result<BucketName, String> {
    BucketName::parse(name).ok_or_else(|| "invalid bucket name".into())
}

fn counted(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

fn summary(report: &Report, dry_run: bool) -> String {
    let compared = format!(
        "Compared {} and {} in {}",
        counted(report.objects, "object"),
        counted(report.uploads, "multipart upload"),
        counted(report.buckets, "bucket")
    );
    let found = match (report.differences, dry_run) {
        (0, _) => "no difference".to_owned(),
        (differences, true) => format!("{}, nothing changed", counted(differences, "difference")),
        (differences, false) => format!("{}, {} repaired", counted(differences, "difference"), report.repaired),
    };
    let notes = if report.notes == 0 { String::new() } else { format!(", {} notes", report.notes) };
    format!("{compared}: {found}{notes}.")
}
