//! Layer 1 against real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

#[path = "../support/mod.rs"]
mod support;

mod abilities;
mod http;
mod litellm;
mod migrations;
mod open;
mod pooler;
mod postgres;
mod postgres_errors;
mod qdrant;
mod redis;
mod redis_roles;
mod s3;
mod s3_responses;
mod tls;

use support::Set;

#[tokio::test(flavor = "multi_thread")]
async fn every_test_has_its_own_migrated_database() {
    let set = Set::shared().await;
    let (one, other) = (set.new_database().await, set.new_database().await);
    assert_ne!(one, other);
    let slugs = set.connect(&one).await.query("SELECT slug FROM tenants", &[]).await.unwrap();
    assert_eq!(slugs.len(), 1);
    set.connect(&one).await.batch_execute("UPDATE tenants SET name = 'Changed'").await.unwrap();
    let row = set.connect(&other).await.query_one("SELECT name FROM tenants", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "Larder");
}
