//! The store's abilities: probed once and known to all replicas, with or without Redis.

use larder::domain::abilities::{self, Ability};
use larder::domain::actor::{Actor, Role};
use larder::domain::cache::Key;
use larder::domain::names::BucketName;
use larder::domain::{Error, audit};

use crate::support::{TestApp, eventually};

fn actor() -> Actor {
    Actor { role: Role::Editor, ..Actor::system("Tests") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_uses_the_cached_result_without_probing() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let first = abilities::known(&app.ctx).await.unwrap();
    assert_eq!((first.bucket.as_str(), &first.abilities.range), (app.bucket.as_str(), &Ability::Yes));
    eventually("the result is in Redis", async || app.redis(&["EXISTS", &kept(&app)]).await == "1").await;
    let replica = app.replica().await;
    replica.rules_known().await;
    assert_eq!(replica.ctx.s3.probed().unwrap().at, first.at, "not probed again");

    let bucket = BucketName::parse(&app.bucket).unwrap();
    // A second probe shortly afterwards returns the first result.
    assert_eq!(abilities::probe(&replica.ctx, &actor(), &bucket).await.map(|probed| probed.at).ok(), Some(first.at));
    age(&app, first.at - chrono::TimeDelta::hours(30)).await;
    app.ctx.s3.remember(abilities::Probed { at: first.at - chrono::TimeDelta::hours(30), ..first.clone() });
    let again = abilities::probe(&app.ctx, &actor(), &bucket).await.unwrap();
    assert!(again.at > first.at && again.abilities == first.abilities);
    assert_eq!(abilities::known(&replica.ctx).await.unwrap().at, again.at, "the other replica receives it");
    let events = audit::of_resource(&app.ctx, &actor(), &audit::object(&app.bucket, ""), 10).await.unwrap();
    assert_eq!(events[0].action, "store.probe");
}

fn kept(app: &TestApp) -> String {
    kept_of(app, app.ctx.s3.endpoint().unwrap())
}

fn kept_of(app: &TestApp, endpoint: &str) -> String {
    let key = Key::of(&[&endpoint, &env!("CARGO_PKG_VERSION")]);
    format!("{}cache:store-abilities:{}", app.ctx.config.redis.prefix, key.as_str())
}

/// As if it had been probed long ago.
async fn age(app: &TestApp, at: chrono::DateTime<chrono::Utc>) {
    let signed = app.redis(&["GET", &kept(app)]).await;
    let mut value: serde_json::Value = serde_json::from_str(signed.split_once('.').unwrap().1).unwrap();
    value["value"]["at"] = serde_json::to_value(at).unwrap();
    let key = kept(app);
    let name = key.strip_prefix(app.ctx.redis.prefix()).unwrap();
    app.redis(&["SET", &key, &app.ctx.signer.sign(name, &value.to_string()).unwrap()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_another_store_is_not_used() {
    let app = TestApp::start().await;
    app.rules_known().await;
    eventually("the result is in Redis", async || app.redis(&["EXISTS", &kept(&app)]).await == "1").await;
    app.redis(&["RENAME", &kept(&app), &kept_of(&app, "http://elsewhere.example")]).await;
    let replica = app.replica().await;
    replica.rules_known().await;
    assert!(replica.ctx.s3.probed().unwrap().at > app.ctx.s3.probed().unwrap().at, "it probed the store itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_keeps_its_result_without_redis_and_without_the_store() {
    let app = TestApp::with_own_servers().await;
    let bucket = BucketName::parse(&app.bucket).unwrap();
    app.rules_known().await;
    app.servers().redis().stop();
    let first = abilities::known(&app.ctx).await.unwrap();
    app.servers().s3().stop();
    app.ctx.s3.remember(abilities::Probed { at: first.at - chrono::TimeDelta::hours(1), ..first.clone() });
    assert!(matches!(abilities::probe(&app.ctx, &actor(), &bucket).await, Err(Error::S3(_))));
    assert_eq!(abilities::known(&app.ctx).await.unwrap().abilities, first.abilities);
    let nowhere = BucketName::parse("t-no-such-bucket").unwrap();
    app.servers().s3().start().unwrap();
    eventually("the store is available again", async || app.ctx.s3.head_bucket(&app.bucket).await.is_ok()).await;
    assert!(matches!(abilities::probe(&app.ctx, &actor(), &nowhere).await, Err(Error::NotFound(_))));
}
