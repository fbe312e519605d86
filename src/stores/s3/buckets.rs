//! Operations on buckets.

use aws_sdk_s3::types::{BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration};
use chrono::{DateTime, Utc};

use super::{Error, Store, fault};

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
    /// Every bucket that our key may see, in name order.
    pub async fn list_buckets(&self) -> Result<Vec<BucketEntry>, Error> {
        let mut buckets = Vec::new();
        let mut pages = self.client.list_buckets().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(fault::of)?;
            buckets.extend(page.buckets().iter().filter_map(|bucket| {
                let created = bucket.creation_date().and_then(super::objects::to_chrono);
                Some(BucketEntry { name: bucket.name()?.to_owned(), created })
            }));
        }
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(buckets)
    }

    /// `NoSuchBucket` where it is missing, `AccessDenied` where it is another's.
    pub async fn head_bucket(&self, bucket: &str) -> Result<(), Error> {
        match self.client.head_bucket().bucket(bucket).send().await.map_err(fault::of) {
            Ok(_) => Ok(()),
            Err(Error::NoSuchKey) => Err(Error::NoSuchBucket),
            Err(error) => Err(error),
        }
    }

    pub async fn create_bucket(&self, bucket: &str) -> Result<(), Error> {
        let mut request = self.client.create_bucket().bucket(bucket);
        // AWS wants the region named, except for its first.
        if self.region != "us-east-1" {
            let constraint = BucketLocationConstraint::from(self.region.as_str());
            request = request.create_bucket_configuration(CreateBucketConfiguration::builder().location_constraint(constraint).build());
        }
        request.send().await.map(|_| ()).map_err(fault::of)
    }

    /// `BucketNotEmpty` where it is not. Looked at first as well: some stores delete whatever is inside.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), Error> {
        let found = self.client.list_objects_v2().bucket(bucket).max_keys(1).send().await.map_err(fault::of)?;
        if found.key_count().unwrap_or_default() > 0 || !found.contents().is_empty() {
            return Err(Error::BucketNotEmpty);
        }
        match self.client.list_object_versions().bucket(bucket).max_keys(1).send().await {
            Ok(found) if !found.versions().is_empty() || !found.delete_markers().is_empty() => return Err(Error::BucketNotEmpty),
            // A store without versions cannot hide any.
            Ok(_) | Err(_) => {}
        }
        self.client.delete_bucket().bucket(bucket).send().await.map(|_| ()).map_err(fault::of)
    }

    pub async fn versioning(&self, bucket: &str) -> Result<Versioning, Error> {
        let answer = self.client.get_bucket_versioning().bucket(bucket).send().await.map_err(fault::of)?;
        Ok(match answer.status() {
            Some(BucketVersioningStatus::Enabled) => Versioning::On,
            Some(BucketVersioningStatus::Suspended) => Versioning::Suspended,
            _ => Versioning::Off,
        })
    }
}
