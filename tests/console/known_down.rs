//! A server that is known to be down: pages that need it report this immediately, and work again as soon as it is back.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use larder::domain::actor::Role;
use larder::domain::health::{Service, State};

use crate::support::{Client, TestApp, eventually, eventually_within};

/// Far below the shortest deadline of a request to a server, and above what a page takes on a busy machine.
const IMMEDIATELY: Duration = Duration::from_millis(500);
/// The deadline of one server and the time for the rest.
const ONE_DEADLINE: Duration = Duration::from_secs(5);

fn pages(bucket: &str) -> Vec<String> {
    let fixed = ["/", "/buckets", "/uploads", "/uploads/new", "/audit", "/users", "/cache", "/cache/keys", "/cache/clients", "/health"];
    let own = ["", "/settings", "/object?key=a.txt", "/download?key=a.txt"];
    fixed.into_iter().map(str::to_owned).chain(own.into_iter().map(|end| format!("/buckets/{bucket}{end}"))).collect()
}

async fn timed(client: &Client, path: &str) -> (u16, Duration) {
    let began = Instant::now();
    let status = client.get(path).await.status;
    (status, began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_respond_immediately_and_recover_within_a_second() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    admin.upload(&app.bucket, "a.txt", "a").await.expect_status(303);
    let server = |service| match service {
        Service::Postgres => app.servers().postgres(),
        Service::Redis => app.servers().redis(),
        _ => app.servers().s3(),
    };
    for (service, page) in
        [(Service::S3, format!("/buckets/{}", app.bucket)), (Service::Postgres, "/audit".into()), (Service::Redis, "/cache/clients".into())]
    {
        let state = async |state| app.ctx.health.state(service) == state;
        eventually("the service is healthy", async || state(State::Up).await).await;
        server(service).freeze();
        eventually_within(Duration::from_secs(20), "the service is down", async || state(State::Down).await).await;
        for path in pages(&app.bucket) {
            let (status, took) = timed(&admin, &path).await;
            assert!(matches!(status, 200 | 503) && took < IMMEDIATELY, "{} down, {path}: {status} after {took:?}", service.name());
        }
        assert_eq!(admin.get(&page).await.status, 503, "{} down, {page}", service.name());
        server(service).thaw();
        eventually_within(Duration::from_secs(1), "the page opens", async || admin.get(&page).await.status == 200).await;
        eventually_within(Duration::from_secs(3), "the service is shown as up", async || state(State::Up).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_used_again_immediately() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    eventually("Postgres is healthy", async || app.ctx.health.state(Service::Postgres) == State::Up).await;
    let postgres = app.servers().postgres();
    postgres.stop();
    eventually_within(Duration::from_secs(20), "Postgres is down", async || app.ctx.health.state(Service::Postgres) == State::Down).await;
    assert_eq!(admin.get("/audit").await.status, 503);
    postgres.restart().unwrap();
    eventually_within(Duration::from_secs(2), "the page opens", async || admin.get("/audit").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_waits_for_two_servers_one_after_the_other() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    admin.upload(&app.bucket, "a.txt", "a").await.expect_status(303);
    for path in pages(&app.bucket) {
        admin.get(&path).await;
    }
    app.servers().s3().freeze();
    app.servers().postgres().freeze();
    app.servers().redis().freeze();
    let paths = pages(&app.bucket);
    let all = join_all(paths.iter().map(|path| timed(&admin, path))).await;
    for (path, (status, took)) in paths.iter().zip(all) {
        assert!(matches!(status, 200 | 503) && took < ONE_DEADLINE, "{path}: {status} after {took:?}");
    }
}
