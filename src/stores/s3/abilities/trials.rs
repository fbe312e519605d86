//! Trials of what Larder relies on: conditions, checksums, listings, ranges, links.

use std::time::Duration;

use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::EncodingType;
use bytes::Bytes;

use super::Ability;
use super::readings::classify_error;
use super::scratch::{BYTES, Scratch, TEXT, Trial};
use crate::stores::s3::objects::{Conditions, PutOptions, crc32_header, decoded};
use crate::stores::s3::{Error, Part, Store, error};

/// Keys under which trials create multipart uploads.
pub(super) const UPLOAD_NAMES: [&str; 3] = ["complete", "open+here", "part"];

const IGNORED: &str = "The store ignores the condition.";

/// A request whose condition is not met.
fn refused<T>(response: Result<T, Error>) -> Trial {
    match response {
        Err(Error::PreconditionFailed) => Ok(Ability::Yes),
        Ok(_) => Ok(Ability::No(IGNORED.into())),
        Err(error) => classify_error(error),
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
        let upload = match self.store.create_multipart(self.bucket, &key, &TEXT).await {
            Ok(upload) => upload,
            Err(error) => return classify_error(error),
        };
        let part = Part { number: 1, body: Bytes::from_static(BYTES) };
        let receipt = match self.store.put_part(self.bucket, &key, &upload, part).await {
            Ok(receipt) => receipt,
            Err(error) => return classify_error(error),
        };
        refused(self.store.complete_multipart(self.bucket, &key, &upload, &[receipt], true).await)
    }

    pub async fn put_if_match(&self) -> Trial {
        self.put("match").await?;
        let request = self.store.client.put_object().bucket(self.bucket).key(self.key("match"));
        let request = request.if_match("\"00000000000000000000000000000000\"").body(ByteStream::from_static(BYTES));
        refused(request.send().await.map_err(error::from_sdk))
    }

    pub async fn delete_if_match(&self) -> Trial {
        self.put("unmatched").await?;
        let key = self.key("unmatched");
        let request = self.store.client.delete_object().bucket(self.bucket).key(&key);
        let response = request.if_match("\"00000000000000000000000000000000\"").send().await.map(|_| ()).map_err(error::from_sdk);
        match (response, self.store.head(self.bucket, &key, None).await) {
            (Err(Error::PreconditionFailed), Ok(_)) => Ok(Ability::Yes),
            (Err(error), Ok(_)) => classify_error(error),
            (Ok(()) | Err(_), Err(Error::NoSuchKey)) => Ok(Ability::No(IGNORED.into())),
            (Ok(()), Ok(_)) => Ok(Ability::Unknown("The store reported a deletion but kept the object.".into())),
            (_, Err(error)) => classify_error(error),
        }
    }

    /// A whole object and a part, each sent with the CRC-32 of different bytes.
    pub async fn checksums(&self) -> Trial {
        let client = &self.store.client;
        let wrong = crc32_header(b"other");
        let refused = |response: Result<(), Error>| match response {
            Err(Error::ChecksumMismatch | Error::InvalidRequest(_)) => Ok(Ability::Yes),
            Ok(()) => Ok(Ability::No("The store accepts bytes with a wrong checksum.".into())),
            Err(error) => classify_error(error),
        };
        let put = client.put_object().bucket(self.bucket).key(self.key("checksum")).checksum_crc32(&wrong);
        let put = put.body(ByteStream::from_static(BYTES)).customize().disable_payload_signing().send();
        let whole = refused(put.await.map(|_| ()).map_err(error::from_sdk))?;
        if whole != Ability::Yes {
            return Ok(whole);
        }
        let key = self.key("part");
        let upload = match self.store.create_multipart(self.bucket, &key, &TEXT).await {
            Ok(upload) => upload,
            Err(error) => return classify_error(error),
        };
        let part = client.upload_part().bucket(self.bucket).key(&key).upload_id(upload).part_number(1).checksum_crc32(&wrong);
        let part = part.body(ByteStream::from_static(BYTES)).customize().disable_payload_signing().send();
        refused(part.await.map(|_| ()).map_err(error::from_sdk))
    }

    pub async fn range(&self) -> Trial {
        self.put("range").await?;
        let conditions = Conditions { range: Some("bytes=1-2".into()), ..Conditions::default() };
        match self.store.get(self.bucket, &self.key("range"), None, &conditions).await {
            Ok(opened) if opened.length == 2 && opened.content_range.is_some() => Ok(Ability::Yes),
            Ok(_) => Ok(Ability::No("The store ignores the range and sends the whole object.".into())),
            Err(error) => classify_error(error),
        }
    }

    /// A link to the store's own address. Whether browsers can reach the public address cannot be tried from here.
    pub async fn presigned(&self) -> Trial {
        self.put("link").await?;
        let key = self.key("link");
        let Ok(config) = PresigningConfig::expires_in(Duration::from_secs(300)) else {
            return Ok(Ability::Unknown("The link could not be created.".into()));
        };
        let link = match self.store.client.get_object().bucket(self.bucket).key(&key).presigned(config).await.map_err(error::from_sdk) {
            Ok(link) => link.uri().to_owned(),
            Err(error) => return classify_error(error),
        };
        let request = self.store.anonymous().get_object().bucket(self.bucket).key(&key).customize();
        // As a browser would send it: the store would reject headers that the link does not sign.
        let bare = move |request: &mut HttpRequest| {
            for name in ["x-amz-user-agent", "x-amz-checksum-mode"] {
                request.headers_mut().remove(name);
            }
            drop(request.set_uri(link.as_str()));
        };
        let response = request.mutate_request(bare).send().await.map_err(error::from_sdk);
        match response {
            Ok(_) => Ok(Ability::Yes),
            Err(Error::AccessDenied) => Ok(Ability::No("The store rejects links signed by Larder.".into())),
            Err(error) => classify_error(error),
        }
    }

    pub async fn encoded_listing(&self) -> Trial {
        self.put("en+c o%2Fded").await?;
        let prefix = self.key("en");
        let request = self.store.client.list_objects_v2().bucket(self.bucket).prefix(&prefix).encoding_type(EncodingType::Url);
        let key = self.key("en+c o%2Fded");
        match request.send().await.map_err(error::from_sdk) {
            Ok(found) if found.contents().iter().filter_map(|object| object.key()).any(|listed| decoded(listed) == key) => Ok(Ability::Yes),
            Ok(_) => Ok(Ability::No("The store does not encode the names it lists.".into())),
            Err(error) => classify_error(error),
        }
    }

    /// In byte order, `order-` comes before `order/`.
    pub async fn lists_by_folder(&self) -> Result<bool, Error> {
        self.put("order/a").await?;
        self.put("order-a").await?;
        let listed = self.store.list(self.bucket, &self.key("order"), false, None, 10).await?;
        Ok(listed.objects.first().is_some_and(|first| first.key == self.key("order/a")))
    }

    /// Also returns whether the keys are unencoded although encoding was requested.
    pub async fn multipart_listing(&self) -> Result<(Ability, bool), Error> {
        let key = self.key("open+here");
        if let Err(error) = self.store.create_multipart(self.bucket, &key, &TEXT).await {
            return Ok((classify_error(error)?, false));
        }
        let prefix = self.key("open");
        let (some, one) = futures_util::join!(self.open_keys(&prefix), self.open_keys(&key));
        let (some, one) = match (some, one) {
            (Ok(some), Ok(one)) => (some, one),
            (Err(error), _) | (_, Err(error)) => return Ok((classify_error(error)?, false)),
        };
        let raw = one.contains(&key);
        let ability = match (some.is_empty(), one.is_empty()) {
            (false, _) => Ability::Yes,
            (true, false) => {
                Ability::No("The store lists an open upload only by its full name, so a list of all uploads may be incomplete.".into())
            }
            (true, true) => Ability::No("The store lists no uploads in progress.".into()),
        };
        Ok((ability, raw))
    }

    /// With the store's spelling.
    async fn open_keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let request = self.store.client.list_multipart_uploads().bucket(self.bucket).prefix(prefix).encoding_type(EncodingType::Url);
        let response = request.send().await.map_err(error::from_sdk)?;
        Ok(response.uploads().iter().filter_map(|upload| upload.key().map(str::to_owned)).collect())
    }
}

impl Store {
    /// Without credentials, like a browser that follows a link.
    fn anonymous(&self) -> aws_sdk_s3::Client {
        let mut builder = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .timeout_config(super::super::timeouts())
            .allow_no_auth();
        if let Some(http) = &self.http_client {
            builder = builder.http_client(http.clone());
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint_url(endpoint).force_path_style(true);
        }
        aws_sdk_s3::Client::from_conf(builder.build())
    }
}
