//! Multipart uploads in progress and their parts.

use bytes::Bytes;
use larder::stores::s3::{Error, OpenUpload, Part};

use crate::s3::{TEXT, store};
use crate::support::Set;

fn pairs(uploads: &[OpenUpload]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = uploads.iter().map(|upload| (upload.key.clone(), upload.upload_id.clone())).collect();
    pairs.sort();
    pairs
}

#[tokio::test(flavor = "multi_thread")]
async fn multipart_uploads_are_listed_until_they_end() {
    let set = Set::shared().await;
    let (store, bucket) = store(&set).await;
    assert!(store.list_multipart(&bucket, None, None, 10).await.unwrap().uploads.is_empty());
    let mut begun = Vec::new();
    for key in ["a b+c%2F.bin", "a/deep", "same", "same", "é"] {
        begun.push((key.to_owned(), store.create_multipart(&bucket, key, &TEXT).await.unwrap()));
    }
    begun.sort();
    let all = store.list_multipart(&bucket, None, None, 100).await.unwrap();
    assert_eq!(pairs(&all.uploads), begun);
    assert!(all.next.is_none() && all.uploads.iter().all(|upload| upload.initiated.is_some()));
    let same = store.list_multipart(&bucket, Some("same"), None, 10).await.unwrap();
    assert_eq!(same.uploads.len(), 2);
    for (key, upload) in &begun {
        store.abort_multipart(&bucket, key, upload).await.unwrap();
    }
    assert!(store.list_multipart(&bucket, None, None, 10).await.unwrap().uploads.is_empty());
    assert_eq!(store.list_multipart("t-no-such-bucket", None, None, 1).await.err(), Some(Error::NoSuchBucket));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listing_of_multipart_uploads_paginates_without_gaps_or_duplicates() {
    let set = Set::shared().await;
    let (store, bucket) = store(&set).await;
    let mut begun = Vec::new();
    for key in ["a", "b/c", "b/d", "same", "same", "same", "z"] {
        begun.push((key.to_owned(), store.create_multipart(&bucket, key, &TEXT).await.unwrap()));
    }
    begun.sort();
    let (mut seen, mut marker, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.list_multipart(&bucket, None, marker.as_ref(), 2).await.unwrap();
        assert!(page.uploads.len() <= 2);
        seen.extend(page.uploads);
        pages += 1;
        assert!(pages < 10, "the listing does not end: {seen:?}");
        marker = page.next;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(pairs(&seen), begun);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_multipart_upload_are_listed_in_pages() {
    let set = Set::shared().await;
    let (store, bucket) = store(&set).await;
    let upload = store.create_multipart(&bucket, "k ü+%", &TEXT).await.unwrap();
    let mut sent = Vec::new();
    for (number, length) in [(1, 101), (2, 102), (5, 105)] {
        let part = Part { number, body: Bytes::from(vec![b'x'; length]) };
        let receipt = store.put_part(&bucket, "k ü+%", &upload, part).await.unwrap();
        sent.push((number, length as u64, receipt.etag.trim_matches('"').to_owned()));
    }
    let (mut seen, mut marker, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.list_parts(&bucket, "k ü+%", &upload, marker, 2).await.unwrap();
        assert!(page.parts.len() <= 2 && page.parts.iter().all(|part| part.modified.is_some()));
        seen.extend(page.parts.into_iter().map(|part| (part.number, part.size, part.etag)));
        pages += 1;
        marker = page.next;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), (sent, 2));
    store.abort_multipart(&bucket, "k ü+%", &upload).await.unwrap();
    assert_eq!(store.list_parts(&bucket, "k ü+%", &upload, None, 2).await.err(), Some(Error::NoSuchUpload));
}
