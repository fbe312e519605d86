//! Live updates of the health pages.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use larder::domain::actor::Role;
use reqwest::Method;

use crate::health::all_up;
use crate::support::{Client, TestApp};

/// Reads the stream until `enough` returns true.
pub async fn streamed(client: &Client, address: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut answer = client.request(Method::GET, address).header("accept", "text/event-stream").send().await.unwrap().bytes_stream();
    let mut text = String::new();
    let reading = async {
        while let Some(Ok(piece)) = answer.next().await {
            text.push_str(&String::from_utf8_lossy(&piece));
            if enough(&text) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("enough within 20 s");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn live_updates_are_sent_to_signed_in_users_only() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    let refused = app.visitor().send(app.visitor().request(Method::GET, "/health/events").header("accept", "text/event-stream")).await;
    assert_eq!(refused.status, 401);
    let text = streamed(&viewer, "/health/events", |text| text.matches("\n\n").count() >= 2).await;
    assert!(text.starts_with("retry: 2000\n\n") && text.contains("data: <section class=\"card\" data-key=\"redis\""), "{text}");
    app.servers().redis().stop();
    let text = streamed(&viewer, "/health/events", |text| text.contains("Affected")).await;
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with("data: ") || line.starts_with("retry: ")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_service_receives_live_updates() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    let page = viewer.get("/health/services/redis?range=day").await.expect_status(200);
    assert_eq!(page.attributes("[data-live]", "data-live"), ["/health/services/redis/events?range=day"]);
    let address = "/health/services/redis/events?range=day";
    let text = streamed(&viewer, address, |text| text.matches("\n\n").count() >= 2).await;
    for part in [
        "data-key=\"badge\" data-down=\"0\" data-says=\"Redis: Up\"",
        "data-key=\"charts\"",
        "data-key=\"facts\"",
        "data-key=\"incidents\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("data-key=\"s3\"") && text.contains("Response time"), "{text}");
    app.servers().redis().stop();
    let text = streamed(&viewer, address, |text| text.contains("Ongoing")).await;
    assert!(text.contains("data-down=\"1\"") && text.contains("What to do"), "{text}");
    // Without Postgres only the history is missing; one stream receives the outage and the recovery.
    app.servers().postgres().stop();
    let (unavailable, available) = ("History is unavailable because Postgres is not responding", "Response time");
    let started = std::cell::Cell::new(false);
    let text = streamed(&viewer, address, |text| {
        if text.contains(unavailable) && !started.replace(true) {
            app.servers().postgres().start().unwrap();
        }
        text.rfind(available) > text.rfind(unavailable) && text.contains(unavailable)
    })
    .await;
    assert!(text.contains("data-key=\"facts\""), "{text}");
    for missing in ["qdrant", "nothing"] {
        viewer.get(&format!("/health/services/{missing}/events")).await.expect_status(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_do_not_delay_a_shutdown() {
    let app = TestApp::start().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let mut stream = viewer.request(Method::GET, "/health/events").send().await.unwrap().bytes_stream();
    stream.next().await.unwrap().unwrap();
    let started = Instant::now();
    app.stop().await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
