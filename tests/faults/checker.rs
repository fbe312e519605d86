//! Invariants that must hold after every fault, once the reaper has run.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use larder::stores::s3::Store;
use sha2::{Digest, Sha256};

use super::ledger::{Ledger, hex, judge};
use crate::support::{TestApp, eventually_within};

/// Longer than a lease of 5 s plus the pause between two reaper passes, with a margin for a busy machine.
const REAPED: Duration = Duration::from_secs(40);

pub struct Checker {
    pub s3: Store,
    pub sql: tokio_postgres::Client,
    pub bucket: String,
    /// The store returned wrong ETags: only bytes are compared.
    pub etags_were_altered: bool,
}

/// An object as it is read back.
struct StoredObject {
    etag: Option<String>,
    sha256: String,
}

impl Checker {
    pub async fn of(app: &TestApp) -> Self {
        let s3 =
            Store::new(&larder::config::S3Config { endpoint: Some(app.servers().urls().s3_endpoint.clone()), ..app.ctx.config.s3.clone() });
        Self { s3, sql: app.sql().await, bucket: app.bucket.clone(), etags_were_altered: false }
    }

    /// Waits until no work is in progress, then panics if any invariant is violated.
    pub async fn check(&self, ledger: &Ledger) {
        let mut left = Vec::new();
        let deadline = tokio::time::Instant::now() + REAPED;
        eventually_within(REAPED * 2, "everything is settled", async || {
            left = self.unsettled().await;
            left.is_empty() || tokio::time::Instant::now() > deadline
        })
        .await;
        assert!(left.is_empty(), "not settled within {REAPED:?}:\n{}", left.join("\n"));
        let violations = self.violations(ledger).await;
        assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
    }

    /// Multipart uploads that were created but not ended; uploads waiting to be resumed may remain.
    pub async fn unsettled(&self) -> Vec<String> {
        let pending = "SELECT object_key, coalesce(s3_upload_id, ''), fingerprint IS NOT NULL AND NOT publishing
                       FROM files WHERE state = 'pending'";
        let rows = self.sql.query(pending, &[]).await.unwrap();
        let mut left: Vec<String> =
            rows.iter().filter(|row| !row.get::<_, bool>(2)).map(|row| format!("pending: {}", row.get::<_, &str>(0))).collect();
        let named: HashSet<String> = rows.iter().map(|row| row.get(1)).collect();
        for (key, id) in self.open_uploads().await {
            if !named.contains(&id) {
                left.push(format!("open at the store, and no row knows it: {key} ({id})"));
            }
        }
        let orphans = "SELECT count(*) FROM upload_parts p JOIN files f ON f.id = p.file_id WHERE f.state <> 'pending'";
        let orphans: i64 = self.sql.query_one(orphans, &[]).await.unwrap().get(0);
        if orphans > 0 {
            left.push(format!("{orphans} recorded parts of uploads that are over"));
        }
        left
    }

    async fn open_uploads(&self) -> Vec<(String, String)> {
        let (mut found, mut marker) = (Vec::new(), None);
        loop {
            let page = self.s3.list_multipart(&self.bucket, None, marker.as_ref(), 1000).await.unwrap();
            found.extend(page.uploads.into_iter().map(|upload| (upload.key, upload.upload_id)));
            marker = page.next;
            if marker.is_none() {
                found.retain(|(key, _)| !is_probe(key));
                return found;
            }
        }
    }

    async fn violations(&self, ledger: &Ledger) -> Vec<String> {
        let objects = self.objects().await;
        let mut wrong = Vec::new();
        let ready = "SELECT object_key, etag, encode(sha256, 'hex') FROM files WHERE state = 'ready'";
        let rows = self.sql.query(ready, &[]).await.unwrap();
        for row in &rows {
            let (key, etag, sha256): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
            match objects.get(key) {
                None => wrong.push(format!("{key}: ready without an object")),
                Some(found) if found.sha256 != sha256 => wrong.push(format!("{key}: ready with other bytes than the object's")),
                Some(found) if found.etag.as_deref() != Some(etag) && !self.etags_were_altered => {
                    wrong.push(format!("{key}: ready with {etag}, and the object has {:?}", found.etag));
                }
                Some(_) => {}
            }
        }
        let known: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
        wrong.extend(objects.keys().filter(|key| !known.contains(key.as_str())).map(|key| format!("{key}: an object without a row")));
        for (key, attempts) in ledger.by_key() {
            let found = objects.get(&key).map(|found| found.sha256.as_str());
            wrong.extend(judge(&attempts, found).into_iter().map(|why| format!("{key}: {why}")));
        }
        wrong
    }

    /// All objects in the bucket, read completely.
    async fn objects(&self) -> HashMap<String, StoredObject> {
        let (mut keys, mut next) = (Vec::new(), None);
        loop {
            let page = self.s3.list(&self.bucket, "", false, next.as_deref(), 1000).await.unwrap();
            keys.extend(page.objects.into_iter().map(|object| object.key).filter(|key| !is_probe(key)));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        futures_util::stream::iter(keys.into_iter().map(|key| async move { (key.clone(), self.read(&key).await) }))
            .buffer_unordered(8)
            .collect()
            .await
    }

    async fn read(&self, key: &str) -> StoredObject {
        let mut opened = self.s3.get(&self.bucket, key, None, &Default::default()).await.unwrap();
        let (mut hash, mut size) = (Sha256::new(), 0);
        while let Some(chunk) = opened.body.next().await {
            let chunk = chunk.unwrap();
            size += chunk.len() as u64;
            hash.update(&chunk);
        }
        assert_eq!(size, opened.length, "{key} is not read whole");
        StoredObject { etag: opened.etag, sha256: hex(&hash.finalize()) }
    }
}

/// Objects of the abilities probe, which removes them itself.
fn is_probe(key: &str) -> bool {
    key.trim_start_matches('/').starts_with(".larder-probe-")
}
