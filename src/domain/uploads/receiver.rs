//! The files of one form: target, names and overwriting are decided before a file's first byte is read.

use uuid::Uuid;

use super::engine::Upload;
use super::publish::{exists, sentence};
use super::row::{self, Target};
use super::{File, FileState};
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::names::{BucketName, ObjectKey, storable};
use crate::domain::{Context, Error, Result};
use crate::stores::s3;

/// Where the files of one form go.
pub struct Receiver {
    ctx: Context,
    actor: Actor,
    bucket: BucketName,
    prefix: String,
    overwrite: bool,
    pub batch: Uuid,
}

impl Receiver {
    /// Looks whether the bucket is there, before anything of the body is read.
    pub async fn open(ctx: &Context, actor: &Actor, bucket: BucketName, prefix: &str, overwrite: bool) -> Result<Self> {
        let mut prefix = prefix.to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        match ctx.s3.head_bucket(bucket.as_str()).await {
            // A key that may write need not be one that may look.
            Ok(()) | Err(s3::Error::AccessDenied) => {}
            Err(s3::Error::NoSuchBucket) => return Err(Error::NotFound(format!("There is no bucket named {bucket}."))),
            Err(error) => return Err(error.into()),
        }
        Ok(Self { ctx: ctx.clone(), actor: actor.clone(), bucket, prefix, overwrite, batch: Uuid::now_v7() })
    }

    /// A file that may begin, or the reason why not. `length`: of the whole body, as the sender says.
    pub async fn begin(&self, file_name: &str, content_type: Option<&str>, length: Option<u64>) -> std::result::Result<Upload, Refused> {
        let name = base_name(file_name);
        let target = Target {
            batch: self.batch,
            bucket: self.bucket.to_string(),
            key: format!("{}{name}", self.prefix),
            name: name.to_owned(),
            content_type: content_type.filter(|media| is_media_type(media)).unwrap_or("application/octet-stream").to_owned(),
            overwrite: self.overwrite,
        };
        if let Err(error) = self.check(&target).await {
            return Err(self.refuse(target, error).await);
        }
        match row::insert_pending(&self.ctx, &self.actor, &target).await {
            Ok(lease) => Ok(Upload::new(&self.ctx, &self.actor, lease, target, length)),
            Err(error) => Err(self.refuse(target, error).await),
        }
    }

    async fn check(&self, target: &Target) -> Result<()> {
        if matches!(target.name.as_str(), "" | "." | "..") {
            return Err(Error::refused("file", "A file needs a name."));
        }
        if ObjectKey::parse(target.key.as_str()).is_none() {
            return Err(Error::refused("file", "With its folder the name is longer than the 1,024 bytes that a store takes."));
        }
        if let Some(why) = self.ctx.s3.key_rules().mangled_with_body(&target.key) {
            return Err(Error::refused("file", why));
        }
        if self.overwrite {
            return Ok(());
        }
        match self.ctx.s3.head(&target.bucket, &target.key, None).await {
            Ok(_) => Err(exists(&target.name)),
            Err(s3::Error::NoSuchKey | s3::Error::AccessDenied) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Records the refusal, so that the page of the form can list it.
    async fn refuse(&self, target: Target, error: Error) -> Refused {
        let why = sentence(&error);
        let recordable = Target { key: recordable(&target.key), name: recordable(&target.name), ..target };
        let id = match row::insert_refused(&self.ctx, &self.actor, &recordable, &why).await {
            Ok(id) => id,
            Err(fault) => {
                log::warn!("a refused upload could not be recorded: {fault}");
                Uuid::now_v7()
            }
        };
        let file = File {
            id,
            batch_id: self.batch,
            bucket: recordable.bucket,
            key: recordable.key,
            name: recordable.name,
            size: None,
            sha256: None,
            etag: None,
            state: FileState::Failed,
            stalled: false,
            uploaded_by: self.actor.label.clone(),
            error: Some(why),
            created_at: clock::now(),
            finished_at: Some(clock::now()),
        };
        Refused { file: Box::new(file), error }
    }
}

/// A file that was not taken.
pub struct Refused {
    pub file: Box<File>,
    pub error: Error,
}

/// Browsers send names; programs send whatever they like. Only what stands behind the last slash counts.
fn base_name(file_name: &str) -> &str {
    file_name.rsplit('/').next().unwrap_or_default()
}

/// What Postgres can keep of a name that the store cannot.
fn recordable(text: &str) -> String {
    let clean = storable(text);
    let mut end = clean.len().min(ObjectKey::MAX_BYTES);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    if end == 0 { "(no name)".to_owned() } else { clean[..end].to_owned() }
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

    #[test]
    fn what_is_recorded_of_a_bad_name_fits_the_column() {
        assert_eq!(recordable("a\0b"), "a\u{fffd}b");
        assert_eq!(recordable(""), "(no name)");
        assert!(recordable(&"é".repeat(2000)).len() <= 1024);
    }
}
