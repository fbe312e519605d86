//! What Larder relies on, tried: conditions, checksums, listings, ranges, links.

use std::time::Duration;

use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::EncodingType;
use bytes::Bytes;

use super::Ability;
use super::readings::undecided;
use super::scratch::{BYTES, Scratch, TEXT, Trial};
use crate::stores::s3::objects::{Conditions, PutOptions, crc32_header, decoded};
use crate::stores::s3::{Error, Part, Store, fault};

/// Names under which trials open multipart uploads.
pub(super) const UPLOADED: [&str; 3] = ["complete", "open+here", "part"];

const IGNORED: &str = "It ignores the condition.";

/// A request whose condition does not hold.
fn refused<T>(answer: Result<T, Error>) -> Trial {
    match answer {
        Err(Error::PreconditionFailed) => Ok(Ability::Yes),
        Ok(_) => Ok(Ability::No(IGNORED.into())),
        Err(error) => undecided(error),
    }
}

impl Scratch<'_> {
    pub async fn put_if_absent(&self) -> Trial {
        self.put("absent").await?;
        let absent = PutOptions { only_if_absent: true, ..TEXT };
        refused(self.store.put(self.bucket, &self.key("absent"), Bytes::from_static(BYTES), &absent).await)
    }

    pub async fn complete_if_absent(&self) -> Trial {
        self.put("complete").await?;
        let key = self.key("complete");
        let upload = match self.store.begin_multipart(self.bucket, &key, &TEXT).await {
            Ok(upload) => upload,
            Err(error) => return undecided(error),
        };
        let part = Part { number: 1, body: Bytes::from_static(BYTES) };
        let receipt = match self.store.put_part(self.bucket, &key, &upload, part).await {
            Ok(receipt) => receipt,
            Err(error) => return undecided(error),
        };
        refused(self.store.complete_multipart(self.bucket, &key, &upload, &[receipt], true).await)
    }

    pub async fn put_if_match(&self) -> Trial {
        self.put("match").await?;
        let request = self.store.client.put_object().bucket(self.bucket).key(self.key("match"));
        let request = request.if_match("\"00000000000000000000000000000000\"").body(ByteStream::from_static(BYTES));
        refused(request.send().await.map_err(fault::of))
    }

    pub async fn delete_if_match(&self) -> Trial {
        self.put("unmatched").await?;
        let key = self.key("unmatched");
        let request = self.store.client.delete_object().bucket(self.bucket).key(&key);
        let answer = request.if_match("\"00000000000000000000000000000000\"").send().await.map(|_| ()).map_err(fault::of);
        match (answer, self.store.head(self.bucket, &key, None).await) {
            (Err(Error::PreconditionFailed), Ok(_)) => Ok(Ability::Yes),
            (Err(error), Ok(_)) => undecided(error),
            (Ok(()) | Err(_), Err(Error::NoSuchKey)) => Ok(Ability::No(IGNORED.into())),
            (Ok(()), Ok(_)) => Ok(Ability::Unknown("It said that it had deleted the object, and had not.".into())),
            (_, Err(error)) => undecided(error),
        }
    }

    /// A whole object and a part, each with the CRC-32 of other bytes.
    pub async fn checksums(&self) -> Trial {
        let client = &self.store.client;
        let wrong = crc32_header(b"other");
        let refused = |answer: Result<(), Error>| match answer {
            Err(Error::ChecksumMismatch | Error::InvalidRequest(_)) => Ok(Ability::Yes),
            Ok(()) => Ok(Ability::No("It keeps bytes whose checksum is another's.".into())),
            Err(error) => undecided(error),
        };
        let put = client.put_object().bucket(self.bucket).key(self.key("checksum")).checksum_crc32(&wrong);
        let put = put.body(ByteStream::from_static(BYTES)).customize().disable_payload_signing().send();
        let whole = refused(put.await.map(|_| ()).map_err(fault::of))?;
        if whole != Ability::Yes {
            return Ok(whole);
        }
        let key = self.key("part");
        let upload = match self.store.begin_multipart(self.bucket, &key, &TEXT).await {
            Ok(upload) => upload,
            Err(error) => return undecided(error),
        };
        let part = client.upload_part().bucket(self.bucket).key(&key).upload_id(upload).part_number(1).checksum_crc32(&wrong);
        let part = part.body(ByteStream::from_static(BYTES)).customize().disable_payload_signing().send();
        refused(part.await.map(|_| ()).map_err(fault::of))
    }

    pub async fn range(&self) -> Trial {
        self.put("range").await?;
        let conditions = Conditions { range: Some("bytes=1-2".into()), ..Conditions::default() };
        match self.store.get(self.bucket, &self.key("range"), None, &conditions).await {
            Ok(opened) if opened.length == 2 && opened.content_range.is_some() => Ok(Ability::Yes),
            Ok(_) => Ok(Ability::No("It sends the whole object whatever is asked for.".into())),
            Err(error) => undecided(error),
        }
    }

    /// A link to the store's own address: whether browsers reach the public one is not for us to try.
    pub async fn presigned(&self) -> Trial {
        self.put("link").await?;
        let key = self.key("link");
        let Ok(config) = PresigningConfig::expires_in(Duration::from_secs(300)) else {
            return Ok(Ability::Unknown("The link could not be made.".into()));
        };
        let link = match self.store.client.get_object().bucket(self.bucket).key(&key).presigned(config).await.map_err(fault::of) {
            Ok(link) => link.uri().to_owned(),
            Err(error) => return undecided(error),
        };
        let request = self.store.anonymous().get_object().bucket(self.bucket).key(&key).customize();
        // As a browser sends it: a header of the protocol that the link has not signed would be refused.
        let bare = move |request: &mut HttpRequest| {
            for name in ["x-amz-user-agent", "x-amz-checksum-mode"] {
                request.headers_mut().remove(name);
            }
            drop(request.set_uri(link.as_str()));
        };
        let answer = request.mutate_request(bare).send().await.map_err(fault::of);
        match answer {
            Ok(_) => Ok(Ability::Yes),
            Err(Error::AccessDenied) => Ok(Ability::No("It refuses links that Larder has signed.".into())),
            Err(error) => undecided(error),
        }
    }

    pub async fn encoded_listing(&self) -> Trial {
        self.put("en+c o%2Fded").await?;
        let prefix = self.key("en");
        let request = self.store.client.list_objects_v2().bucket(self.bucket).prefix(&prefix).encoding_type(EncodingType::Url);
        let key = self.key("en+c o%2Fded");
        match request.send().await.map_err(fault::of) {
            Ok(found) if found.contents().iter().filter_map(|object| object.key()).any(|listed| decoded(listed) == key) => Ok(Ability::Yes),
            Ok(_) => Ok(Ability::No("It does not encode the names that it lists.".into())),
            Err(error) => undecided(error),
        }
    }

    /// By bytes `order-` comes before `order/`.
    pub async fn lists_by_folder(&self) -> Result<bool, Error> {
        self.put("order/a").await?;
        self.put("order-a").await?;
        let listed = self.store.list(self.bucket, &self.key("order"), false, None, 10).await?;
        Ok(listed.objects.first().is_some_and(|first| first.key == self.key("order/a")))
    }

    /// And whether the names come as they are, where they should have been encoded.
    pub async fn multipart_listing(&self) -> Result<(Ability, bool), Error> {
        let key = self.key("open+here");
        if let Err(error) = self.store.begin_multipart(self.bucket, &key, &TEXT).await {
            return Ok((undecided(error)?, false));
        }
        let beginning = self.key("open");
        let (some, one) = futures_util::join!(self.open_keys(&beginning), self.open_keys(&key));
        let (some, one) = match (some, one) {
            (Ok(some), Ok(one)) => (some, one),
            (Err(error), _) | (_, Err(error)) => return Ok((undecided(error)?, false)),
        };
        let raw = one.contains(&key);
        let ability = match (some.is_empty(), one.is_empty()) {
            (false, _) => Ability::Yes,
            (true, false) => Ability::No("It finds an open upload by its whole name only, so a list of all may miss some.".into()),
            (true, true) => Ability::No("It lists none.".into()),
        };
        Ok((ability, raw))
    }

    /// As the store spells them.
    async fn open_keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let request = self.store.client.list_multipart_uploads().bucket(self.bucket).prefix(prefix).encoding_type(EncodingType::Url);
        let answer = request.send().await.map_err(fault::of)?;
        Ok(answer.uploads().iter().filter_map(|upload| upload.key().map(str::to_owned)).collect())
    }
}

impl Store {
    /// Brings no key of its own, as a browser that follows a link.
    fn anonymous(&self) -> aws_sdk_s3::Client {
        let mut builder = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .timeout_config(super::super::timeouts())
            .allow_no_auth();
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint_url(endpoint).force_path_style(true);
        }
        aws_sdk_s3::Client::from_conf(builder.build())
    }
}
