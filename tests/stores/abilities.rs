//! The abilities of a store, determined by probing: the same code against SeaweedFS and MinIO, which differ.

use futures_util::future::join_all;
use larder::stores::s3::{Abilities, Ability, Error, Probed};
use uuid::Uuid;

use crate::s3::{TEXT, store};
use crate::support::Set;

fn is_minio() -> bool {
    std::env::var_os("LARDER_TEST_S3").is_some_and(|kind| kind == "minio")
}

fn probed(abilities: &Abilities, bucket: &str) -> Probed {
    Probed { abilities: abilities.clone(), bucket: bucket.to_owned(), at: larder::clock::now() }
}

#[tokio::test(flavor = "multi_thread")]
async fn probing_finds_the_abilities_and_leaves_nothing_behind() {
    let set = Set::shared().await;
    let (store, bucket) = store(&set).await;
    assert!(!store.key_rules_known() && store.key_rules().mangled("a//b").is_some(), "no unusual key is considered safe before");
    let found = store.probe(&bucket, Uuid::now_v7()).await.unwrap();
    let everywhere = [
        &found.put_if_absent,
        &found.complete_if_absent,
        &found.put_if_match,
        &found.checksums,
        &found.range,
        &found.presigned,
        &found.encoded_listing,
        &found.tagging,
        &found.versioning,
        &found.lifecycle,
        &found.policy,
        &found.cors,
    ];
    assert!(everywhere.iter().all(|ability| **ability == Ability::Yes), "{found:?}");
    assert_eq!(
        (found.delete_if_match.is_no(), found.multipart_listing.is_no(), found.raw_open_keys),
        (is_minio(), is_minio(), !is_minio())
    );
    assert_eq!(found.lists_by_folder, !is_minio());
    assert!(found.keys.mangled("plain ü?#%2F+.txt").is_none() && found.keys.mangled("a/../b").is_some());

    store.remember(probed(&found, &bucket));
    assert!(store.key_rules_known() && store.key_rules() == found.keys);
    // Only the probe can determine how a plus is encoded.
    let upload = store.create_multipart(&bucket, "a+b%2Fc", &TEXT).await.unwrap();
    let open = store.list_multipart(&bucket, None, None, 100).await.unwrap().uploads;
    assert_eq!(open.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["a+b%2Fc"], "the probe's own uploads are aborted");
    store.abort_multipart(&bucket, "a+b%2Fc", &upload).await.unwrap();
    let left = store.list(&bucket, "", true, None, 100).await.unwrap();
    assert_eq!((left.prefixes, left.objects.len()), (Vec::<String>::new(), 0));
    store.delete_bucket(&bucket).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_probes_find_the_same() {
    let set = Set::shared().await;
    let (store, bucket) = store(&set).await;
    let alone = store.probe(&bucket, Uuid::now_v7()).await.unwrap();
    for found in join_all((0..4).map(|_| store.probe(&bucket, Uuid::now_v7()))).await {
        assert_eq!(found.unwrap(), alone);
    }
    let left = store.list(&bucket, "", false, None, 100).await.unwrap();
    assert_eq!(left.objects.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_of_a_frozen_store_fails_in_time() {
    let set = Set::own().await;
    let (store, bucket) = store(&set).await;
    assert_eq!(store.probe("t-no-such-bucket", Uuid::now_v7()).await, Err(Error::NoSuchBucket));
    set.servers().s3().freeze();
    let started = std::time::Instant::now();
    assert!(matches!(store.probe(&bucket, Uuid::now_v7()).await, Err(Error::Unreachable(_))));
    assert!(started.elapsed() < std::time::Duration::from_secs(15), "{:?}", started.elapsed());
    set.servers().s3().thaw();
    crate::support::eventually("the store is available again", async || store.probe(&bucket, Uuid::now_v7()).await.is_ok()).await;
    crate::support::eventually("late requests are cleaned up by the next probe", async || {
        store.probe(&bucket, Uuid::now_v7()).await.unwrap();
        store.list(&bucket, "", false, None, 100).await.unwrap().objects.is_empty()
    })
    .await;
}
