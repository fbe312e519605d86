//! Operations on buckets.

use aws_sdk_s3::types::{BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration};
use chrono::{DateTime, Utc};

use super::{Error, Store, error};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    On,
    Suspended,
    Off,
}

#[derive(Clone, Debug)]
pub struct BucketEntry {
    pub name: String,
    pub created: Option<DateTime<Utc>>,
}

impl Store {
    /// All buckets visible to Larder's key, sorted by name.
    pub async fn list_buckets(&self) -> Result<Vec<BucketEntry>, Error> {
        let mut buckets = Vec::new();
        let mut pages = self.client().await?.list_buckets().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(error::from_sdk)?;
            buckets.extend(page.buckets().iter().filter_map(|bucket| {
                let created = bucket.creation_date().and_then(super::objects::to_chrono);
                Some(BucketEntry { name: bucket.name()?.to_owned(), created })
            }));
        }
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(buckets)
    }

    /// `NoSuchBucket` if it does not exist, `AccessDenied` if another account owns it.
    pub async fn head_bucket(&self, bucket: &str) -> Result<(), Error> {
        match self.client().await?.head_bucket().bucket(bucket).send().await.map_err(error::from_sdk) {
            Ok(_) => Ok(()),
            Err(Error::NoSuchKey) => Err(Error::NoSuchBucket),
            // A HEAD response has no body. The response to a listing contains the reason.
            Err(error @ Error::InvalidKey(_)) => Err(self.list(bucket, "", false, None, 1).await.err().unwrap_or(error)),
            Err(error) => Err(error),
        }
    }

    pub async fn create_bucket(&self, bucket: &str) -> Result<(), Error> {
        let mut request = self.client().await?.create_bucket().bucket(bucket);
        // AWS requires the region to be named, except for us-east-1.
        if self.region != "us-east-1" {
            let constraint = BucketLocationConstraint::from(self.region.as_str());
            request = request.create_bucket_configuration(CreateBucketConfiguration::builder().location_constraint(constraint).build());
        }
        request.send().await.map(|_| ()).map_err(error::from_sdk)
    }

    /// Fails with `BucketNotEmpty` if it contains anything. Checked here because some stores delete the contents as
    /// well.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), Error> {
        let found = self.client().await?.list_objects_v2().bucket(bucket).max_keys(1).send().await.map_err(error::from_sdk)?;
        if found.key_count().unwrap_or_default() > 0 || !found.contents().is_empty() {
            return Err(Error::BucketNotEmpty);
        }
        match self.client().await?.list_object_versions().bucket(bucket).max_keys(1).send().await {
            Ok(found) if !found.versions().is_empty() || !found.delete_markers().is_empty() => return Err(Error::BucketNotEmpty),
            // A store without versioning has no hidden versions.
            Ok(_) | Err(_) => {}
        }
        self.client().await?.delete_bucket().bucket(bucket).send().await.map(|_| ()).map_err(error::from_sdk)
    }

    pub async fn versioning(&self, bucket: &str) -> Result<Versioning, Error> {
        let response = self.client().await?.get_bucket_versioning().bucket(bucket).send().await.map_err(error::from_sdk)?;
        Ok(match response.status() {
            Some(BucketVersioningStatus::Enabled) => Versioning::On,
            Some(BucketVersioningStatus::Suspended) => Versioning::Suspended,
            _ => Versioning::Off,
        })
    }
}
