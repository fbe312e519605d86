//! The destination of one form's files: key, name and overwriting are decided before the first byte of a file is
//! read.

use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use super::target::Target;
use super::upload::{Upload, reject};
use crate::domain::actor::Actor;
use crate::domain::names::{BucketName, ObjectKey};
use crate::domain::s3_sentences::bucket_not_found;
use crate::domain::slots::Slot;
use crate::domain::uploads::File;
use crate::domain::uploads::failure::Failure;
use crate::domain::uploads::publishing::already_exists;
use crate::domain::{Context, Error, Result};
use crate::stores::s3;

/// The destination of the files of one form.
pub struct Receiver {
    pub(in crate::domain::uploads) ctx: Context,
    pub(in crate::domain::uploads) actor: Actor,
    bucket: BucketName,
    prefix: String,
    overwrite: bool,
    pub batch: Uuid,
    _slot: Slot,
}

impl Receiver {
    /// Takes a slot and checks that the bucket exists, before the body is read.
    pub async fn open(ctx: &Context, actor: &Actor, bucket: BucketName, prefix: &str, overwrite: bool) -> Result<Self> {
        let slot = ctx.upload_memory.enter(actor)?;
        let mut prefix = prefix.to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        match ctx.s3.head_bucket(bucket.as_str()).await {
            // A key with write permission does not necessarily have read permission.
            Ok(()) | Err(s3::Error::AccessDenied) => {}
            Err(s3::Error::NoSuchBucket) => return Err(bucket_not_found(&bucket)),
            Err(error) => return Err(error.into()),
        }
        Ok(Self { ctx: ctx.clone(), actor: actor.clone(), bucket, prefix, overwrite, batch: Uuid::now_v7(), _slot: slot })
    }

    /// Starts a file. `length`: of the whole body, as claimed by the sender. Rejections are recorded, so that the
    /// page of the form can list them.
    pub async fn begin(
        &self,
        file_name: &str,
        content_type: Option<&str>,
        length: Option<u64>,
    ) -> std::result::Result<Upload, RejectedFile> {
        let target = self.target(file_name, content_type);
        let checked = match check(&self.ctx, &target) {
            Ok(()) => check_similar(&self.ctx, &target).await,
            refused => refused,
        };
        if let Err(error) = checked {
            let file = reject(&self.ctx, &self.actor, target, Failure::of(&error)).await;
            return Err(RejectedFile { file: Box::new(file), error });
        }
        Ok(Upload::new(&self.ctx, &self.actor, target, length))
    }

    pub(in crate::domain::uploads) fn target(&self, file_name: &str, content_type: Option<&str>) -> Target {
        let name = base_name(file_name);
        Target {
            batch: self.batch,
            bucket: self.bucket.to_string(),
            key: format!("{}{name}", self.prefix),
            name: name.to_owned(),
            content_type: content_type.filter(|media| is_media_type(media)).unwrap_or("application/octet-stream").to_owned(),
            overwrite: self.overwrite,
        }
    }
}

/// A rejected file.
pub struct RejectedFile {
    pub file: Box<File>,
    pub error: Error,
}

/// The outcome of one file.
pub struct FileOutcome {
    pub file: File,
    /// Why it is not stored.
    pub error: Option<Error>,
}

/// Whether the file may have this name.
pub(in crate::domain::uploads) fn check(ctx: &Context, target: &Target) -> Result<()> {
    if matches!(target.name.as_str(), "" | "." | "..") {
        return Err(Error::refused("file", "The file has no name."));
    }
    if ObjectKey::parse(target.key.as_str()).is_none() {
        return Err(Error::refused("file", "The name including its folder is longer than 1,024 bytes."));
    }
    match ctx.s3.key_rules().mangled_with_body(&target.key) {
        Some(why) => Err(Error::refused("file", why)),
        None => Ok(()),
    }
}

/// Conflict if the folder has an object whose name looks the same, in another normalization form of Unicode, unless the
/// sender has confirmed the upload.
pub(in crate::domain::uploads) async fn check_similar(ctx: &Context, target: &Target) -> Result<()> {
    if target.overwrite || target.name.is_ascii() {
        return Ok(());
    }
    let folder = target.key.strip_suffix(&target.name).unwrap_or_default();
    let forms: [String; 2] = [target.name.nfc().collect(), target.name.nfd().collect()];
    for form in forms.iter().filter(|form| **form != target.name) {
        match ctx.s3.head(&target.bucket, &format!("{folder}{form}"), None).await {
            Ok(_) => return Err(similar_exists(&target.name)),
            Err(s3::Error::NoSuchKey | s3::Error::AccessDenied | s3::Error::InvalidKey(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn similar_exists(name: &str) -> Error {
    Error::Conflict(format!(
        "An object that looks like {name} exists, with the same characters in another Unicode form. Upload with \u{201c}Replace\u{201d} to \
         store this file as a second object."
    ))
}

/// Conflict if the object exists and may not be replaced.
pub(in crate::domain::uploads) async fn check_absent(ctx: &Context, target: &Target) -> Result<()> {
    if target.overwrite {
        return Ok(());
    }
    match ctx.s3.head(&target.bucket, &target.key, None).await {
        Ok(_) => Err(already_exists(&target.name)),
        // On AWS, a key that may not list buckets receives 403 for missing objects; `If-None-Match` decides there.
        Err(s3::Error::NoSuchKey | s3::Error::AccessDenied) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Browsers send names, other programs may send paths. Only the part after the last slash is used.
fn base_name(file_name: &str) -> &str {
    file_name.rsplit('/').next().unwrap_or_default()
}

fn is_media_type(media: &str) -> bool {
    media.len() <= 255 && media.contains('/') && media.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_file_name_is_not_followed() {
        for (given, name) in [("a.txt", "a.txt"), ("../../etc/passwd", "passwd"), ("a\\b.txt", "a\\b.txt"), ("..", ".."), ("x/", "")] {
            assert_eq!(base_name(given), name);
        }
    }
}
