//! Checks that hang or die, and several consoles checking together.

use std::time::Duration;

use serde_json::Value;

use crate::child::{Child, World, free_port};
use crate::support::{Client, Set, eventually_within};

/// The check period used in production.
const PERIOD: Duration = Duration::from_secs(4);

async fn health(larder: &Child, path: &str) -> Value {
    let client = Client::new(&larder.base);
    client.send(client.request(reqwest::Method::GET, path).header("accept", "application/json")).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_check_is_shown_as_stale_and_never_as_up() {
    let world = World::new(Set::shared().await).await;
    let larder = world.start(free_port(), &[("FAILPOINTS", "health::check=3*off->return")]).await;
    // Not "pass": the bucket may have been missing at the first inspection.
    for name in ["postgres", "redis", "s3"] {
        let path = format!("/health/{name}");
        eventually_within(PERIOD * 2, "the service has been checked once", async || health(&larder, &path).await["healthy"] == true).await;
    }
    eventually_within(PERIOD * 8, "the checks are stale", async || health(&larder, "/health").await["status"] == "fail").await;
    let page = async || Client::new(&larder.base).get("/health").await.expect_status(200).text_of("main");
    eventually_within(PERIOD, "the page shows all as stale", async || page().await.matches("Stale").count() == 3).await;
    assert_eq!(health(&larder, "/health/redis").await["healthy"], false);
    larder.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_task_that_panics_is_restarted() {
    let world = World::new(Set::shared().await).await;
    let larder = world.start(free_port(), &[("FAILPOINTS", "health::check=3*panic->off")]).await;
    eventually_within(PERIOD * 4, "all services are checked eventually", async || health(&larder, "/health").await["status"] == "pass")
        .await;
    assert!(larder.log().contains("is restarted"));
    larder.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_seen_by_three_consoles() {
    let world = World::new(Set::own().await).await;
    let mut larders = Vec::new();
    for _ in 0..3 {
        larders.push(world.start(free_port(), &[]).await);
    }
    for larder in &larders {
        eventually_within(PERIOD * 4, "all services are healthy", async || health(larder, "/health").await["status"] == "pass").await;
    }
    let redis = world.set.servers().redis();
    redis.freeze();
    let shown = async |status: &str, healthy: bool| {
        for larder in &larders {
            if health(larder, "/health").await["status"] != status || health(larder, "/health/redis").await["healthy"] != healthy {
                return false;
            }
        }
        true
    };
    eventually_within(PERIOD * 4, "every console warns", async || shown("warn", false).await).await;
    let sql = world.set.connect(&world.database).await;
    let count = async |what: &str| -> i64 {
        sql.query_one(&format!("SELECT count(*) FROM health_incidents WHERE {what}"), &[]).await.unwrap().get(0)
    };
    // Down after three failed checks, and written within another eight seconds.
    eventually_within(PERIOD * 12, "each console has written the incident", async || {
        count("service = 'redis' AND class = 'timeout'").await == 3
    })
    .await;
    redis.thaw();
    eventually_within(PERIOD * 6, "every console shows the service as healthy", async || shown("pass", true).await).await;
    eventually_within(PERIOD * 6, "the end of the incident is written", async || count("ended_at IS NULL").await == 0).await;
    larders.into_iter().for_each(Child::kill);
}
