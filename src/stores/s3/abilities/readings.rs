//! What the store tells of a bucket when it is asked, and of an object's tags.

use aws_sdk_s3::types::{Tag, Tagging};

use super::Ability;
use super::scratch::{Scratch, Trial};
use crate::stores::s3::{Error, KeyRules, fault};

/// For what is neither yes nor no. A store that does not answer at all ends the probe.
pub(super) fn undecided(error: Error) -> Trial {
    match error {
        Error::Unreachable(_) | Error::SlowDown | Error::NoSpace | Error::NoSuchBucket => Err(error),
        Error::AccessDenied => Ok(Ability::Unknown("Larder's key may not do this here.".into())),
        Error::NotSupported => Ok(Ability::No("The store does not know this request.".into())),
        error => {
            log::info!("what the store can do: {error}");
            Ok(Ability::Unknown("The store answered with an error.".into()))
        }
    }
}

/// That there is nothing to read is an answer too.
fn readable<T>(answer: Result<T, Error>) -> Trial {
    match answer {
        Ok(_) | Err(Error::NoSuchKey) => Ok(Ability::Yes),
        Err(error) => undecided(error),
    }
}

impl Scratch<'_> {
    pub async fn versioning(&self) -> Trial {
        readable(self.store.client.get_bucket_versioning().bucket(self.bucket).send().await.map_err(fault::of))
    }

    pub async fn policy(&self) -> Trial {
        readable(self.store.client.get_bucket_policy().bucket(self.bucket).send().await.map_err(fault::of))
    }

    pub async fn lifecycle(&self) -> Trial {
        readable(self.store.client.get_bucket_lifecycle_configuration().bucket(self.bucket).send().await.map_err(fault::of))
    }

    pub async fn cors(&self) -> Trial {
        readable(self.store.client.get_bucket_cors().bucket(self.bucket).send().await.map_err(fault::of))
    }

    pub async fn key_rules(&self) -> Result<KeyRules, Error> {
        self.store.try_keys(self.bucket, |name| self.key(name)).await
    }

    pub async fn tagging(&self) -> Trial {
        self.put("tagged").await?;
        let key = self.key("tagged");
        let client = &self.store.client;
        let Ok(tags) = Tagging::builder().set_tag_set(Tag::builder().key("k").value("v").build().ok().map(|tag| vec![tag])).build() else {
            return Ok(Ability::Unknown("The tags could not be written down.".into()));
        };
        if let Err(error) = client.put_object_tagging().bucket(self.bucket).key(&key).tagging(tags).send().await.map_err(fault::of) {
            return undecided(error);
        }
        match client.get_object_tagging().bucket(self.bucket).key(&key).send().await.map_err(fault::of) {
            Ok(found) if found.tag_set().iter().any(|tag| (tag.key(), tag.value()) == ("k", "v")) => Ok(Ability::Yes),
            Ok(_) => Ok(Ability::No("Tags are taken and not kept.".into())),
            Err(error) => undecided(error),
        }
    }
}
