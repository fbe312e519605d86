//! The object store: the same code against SeaweedFS and MinIO.

use std::time::Duration;

use bytes::Bytes;
use larder::config::{Config, Secret, Stores};
use larder::stores::s3::{Conditions, Error, Part, PutOptions, Store, Versioning};

use crate::support::Set;

pub const TEXT: PutOptions<'static> = PutOptions { content_type: "text/plain", metadata: &[("who", "larder")], only_if_absent: false };

pub async fn store(set: &Set) -> (Store, String) {
    let config = Config::from_lookup(&|_| None, Stores::Embedded(set.servers().urls())).unwrap();
    let store = Store::new(&config.s3);
    let bucket = format!("t-{}", uuid::Uuid::now_v7().simple());
    store.create_bucket(&bucket).await.unwrap();
    (store, bucket)
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_created_listed_and_deleted_only_when_empty() {
    let set = Set::shared().await;
    let (store, bucket) = store(&set).await;
    assert!(store.list_buckets().await.unwrap().iter().any(|entry| entry.name == bucket && entry.created.is_some()));
    assert_eq!(store.create_bucket(&bucket).await, Err(Error::BucketExists));
    assert_eq!(store.head_bucket("t-no-such-bucket").await, Err(Error::NoSuchBucket));
    assert_eq!(store.versioning(&bucket).await, Ok(Versioning::Off));
    store.put(&bucket, "a", Bytes::from_static(b"x"), &TEXT).await.unwrap();
    assert_eq!(store.delete_bucket(&bucket).await, Err(Error::BucketNotEmpty));
    let etag = store.head(&bucket, "a", None).await.unwrap().etag;
    assert_eq!(store.delete_if(&bucket, "a", "other").await, Err(Error::PreconditionFailed));
    store.delete_if(&bucket, "a", &etag).await.unwrap();
    assert_eq!(store.delete_if(&bucket, "a", &etag).await, Err(Error::NoSuchKey));
    store.delete_bucket(&bucket).await.unwrap();
    assert_eq!(store.head_bucket(&bucket).await, Err(Error::NoSuchBucket));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_keeps_its_bytes_type_and_metadata() {
    let set = Set::shared().await;
    let (store, bucket) = store(&set).await;
    let stored = store.put(&bucket, "k", Bytes::from_static(b"content"), &TEXT).await.unwrap();
    let head = store.head(&bucket, "k", None).await.unwrap();
    assert_eq!((head.size, &head.etag, head.content_type.as_deref()), (7, &stored.etag, Some("text/plain")));
    assert!(head.metadata.contains(&("who".into(), "larder".into())));
    let mut opened = store.get(&bucket, "k", None, &Conditions { range: Some("bytes=3-4".into()), ..Conditions::default() }).await.unwrap();
    assert_eq!((opened.length, opened.content_range.as_deref()), (2, Some("bytes 3-4/7")));
    assert_eq!(opened.body.next().await.unwrap().unwrap(), "te");
    assert_eq!(store.head(&bucket, "missing", None).await.unwrap_err(), Error::NoSuchKey);
    let absent = PutOptions { only_if_absent: true, ..TEXT };
    assert_eq!(store.put(&bucket, "k", Bytes::from_static(b"new"), &absent).await, Err(Error::PreconditionFailed));
    assert_eq!(store.get("t-no-such-bucket", "k", None, &Conditions::default()).await.err(), Some(Error::NoSuchBucket));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_one_object_or_nothing() {
    let set = Set::shared().await;
    let (store, bucket) = store(&set).await;
    let upload = store.create_multipart(&bucket, "big", &TEXT).await.unwrap();
    let first = Bytes::from(vec![b'1'; 5 << 20]);
    let mut receipts = Vec::new();
    for (number, body) in [(1, first.clone()), (2, Bytes::from_static(b"end"))] {
        receipts.push(store.put_part(&bucket, "big", &upload, Part { number, body }).await.unwrap());
    }
    assert_eq!(store.head(&bucket, "big", None).await.unwrap_err(), Error::NoSuchKey, "it does not exist before it is complete");
    let stored = store.complete_multipart(&bucket, "big", &upload, &receipts, true).await.unwrap();
    let head = store.head(&bucket, "big", None).await.unwrap();
    assert_eq!((head.size, head.etag), ((5 << 20) + 3, stored.etag));
    assert!(head.metadata.contains(&("who".into(), "larder".into())));
    let upload = store.create_multipart(&bucket, "aborted", &TEXT).await.unwrap();
    store.put_part(&bucket, "aborted", &upload, Part { number: 1, body: first }).await.unwrap();
    store.abort_multipart(&bucket, "aborted", &upload).await.unwrap();
    store.abort_multipart(&bucket, "aborted", &upload).await.unwrap();
    assert_eq!(store.head(&bucket, "aborted", None).await.unwrap_err(), Error::NoSuchKey);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_groups_folders_paginates_and_decodes_keys() {
    let set = Set::shared().await;
    let (store, bucket) = store(&set).await;
    for key in ["a b+c%2F.txt", "dir/one", "dir/two", "x", "é", "z?#&"] {
        store.put(&bucket, key, Bytes::from_static(b"1"), &TEXT).await.unwrap();
    }
    let (mut keys, mut folders, mut cursor, mut pages) = (Vec::new(), Vec::new(), None, 0);
    loop {
        let page = store.list(&bucket, "", true, cursor.as_deref(), 2).await.unwrap();
        assert!(page.objects.len() + page.prefixes.len() <= 2);
        keys.extend(page.objects.into_iter().map(|object| object.key));
        folders.extend(page.prefixes);
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((keys, folders), (vec!["a b+c%2F.txt".into(), "x".into(), "z?#&".into(), "é".into()], vec!["dir/".to_owned()]));
    assert!(pages >= 3);
    assert_eq!(store.list("t-no-such-bucket", "", true, None, 1).await.err(), Some(Error::NoSuchBucket));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_a_wrong_address_and_a_frozen_server_are_distinguished_in_time() {
    let set = Set::own().await;
    let (store, bucket) = store(&set).await;
    let with = |change: &dyn Fn(&mut larder::config::S3Config)| {
        let mut config = Config::from_lookup(&|_| None, Stores::Embedded(set.servers().urls())).unwrap().s3;
        change(&mut config);
        Store::new(&config)
    };
    let wrong_key = with(&|config| config.secret_access_key = Secret::new("wrong"));
    assert_eq!(wrong_key.list(&bucket, "", true, None, 1).await.err(), Some(Error::AccessDenied));
    let nowhere = with(&|config| config.endpoint = Some("http://127.0.0.1:1".into()));
    assert!(matches!(nowhere.head_bucket(&bucket).await, Err(Error::Unreachable(_))));
    set.servers().s3().freeze();
    let started = std::time::Instant::now();
    assert!(matches!(store.head_bucket(&bucket).await, Err(Error::Unreachable(_))));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    set.servers().s3().thaw();
    crate::support::eventually("the store is available again", async || store.head_bucket(&bucket).await.is_ok()).await;
}
