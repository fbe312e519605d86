//! What the store reports about a bucket's settings, and about an object's tags.

use aws_sdk_s3::types::{Tag, Tagging};

use super::Ability;
use super::scratch::{Scratch, Trial};
use crate::stores::s3::{Error, KeyRules, error};

/// Classifies an error of a trial. If the store does not respond at all, the probe ends.
pub(super) fn classify_error(error: Error) -> Trial {
    match error {
        Error::Unreachable(_) | Error::SlowDown | Error::NoSpace | Error::QuotaExceeded(_) | Error::NoSuchBucket => Err(error),
        Error::AccessDenied => Ok(Ability::Unknown("Larder's key is not permitted to do this here.".into())),
        Error::NotSupported => Ok(Ability::No("The store does not support this request.".into())),
        error => {
            log::info!("a trial of the store's abilities failed: {error}");
            Ok(Ability::Unknown("The store returned an error.".into()))
        }
    }
}

/// An empty result means that the request is supported.
fn readable<T>(response: Result<T, Error>) -> Trial {
    match response {
        Ok(_) | Err(Error::NoSuchKey) => Ok(Ability::Yes),
        Err(error) => classify_error(error),
    }
}

impl Scratch<'_> {
    pub async fn versioning(&self) -> Trial {
        readable(self.store.client.get_bucket_versioning().bucket(self.bucket).send().await.map_err(error::from_sdk))
    }

    pub async fn policy(&self) -> Trial {
        readable(self.store.client.get_bucket_policy().bucket(self.bucket).send().await.map_err(error::from_sdk))
    }

    pub async fn lifecycle(&self) -> Trial {
        readable(self.store.client.get_bucket_lifecycle_configuration().bucket(self.bucket).send().await.map_err(error::from_sdk))
    }

    pub async fn cors(&self) -> Trial {
        readable(self.store.client.get_bucket_cors().bucket(self.bucket).send().await.map_err(error::from_sdk))
    }

    pub async fn key_rules(&self) -> Result<KeyRules, Error> {
        self.store.try_keys(self.bucket, |name| self.key(name)).await
    }

    pub async fn tagging(&self) -> Trial {
        self.put("tagged").await?;
        let key = self.key("tagged");
        let client = &self.store.client;
        let Ok(tags) = Tagging::builder().set_tag_set(Tag::builder().key("k").value("v").build().ok().map(|tag| vec![tag])).build() else {
            return Ok(Ability::Unknown("The tags could not be encoded.".into()));
        };
        if let Err(error) = client.put_object_tagging().bucket(self.bucket).key(&key).tagging(tags).send().await.map_err(error::from_sdk) {
            return classify_error(error);
        }
        match client.get_object_tagging().bucket(self.bucket).key(&key).send().await.map_err(error::from_sdk) {
            Ok(found) if found.tag_set().iter().any(|tag| (tag.key(), tag.value()) == ("k", "v")) => Ok(Ability::Yes),
            Ok(_) => Ok(Ability::No("The store accepts tags but does not keep them.".into())),
            Err(error) => classify_error(error),
        }
    }
}
