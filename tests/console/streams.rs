//! What the pages of health are sent while they are open.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use larder::domain::actor::Role;
use reqwest::Method;

use crate::health::all_up;
use crate::support::{Client, TestApp};

/// The pieces of the stream until `enough` says so.
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
async fn what_changes_is_sent_to_whoever_looks_and_nobody_else() {
    let app = TestApp::with_own_servers().await;
    all_up(&app).await;
    let viewer = app.sign_in(Role::Viewer).await;
    let refused = app.visitor().send(app.visitor().request(Method::GET, "/health/events").header("accept", "text/event-stream")).await;
    assert_eq!(refused.status, 401);
    let text = streamed(&viewer, "/health/events", |text| text.matches("\n\n").count() >= 2).await;
    assert!(text.starts_with("retry: 2000\n\n") && text.contains("data: <section class=\"card\" data-key=\"redis\""), "{text}");
    app.servers().redis().stop();
    let text = streamed(&viewer, "/health/events", |text| text.contains("Stopped by it")).await;
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with("data: ") || line.starts_with("retry: ")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_service_is_sent_as_it_changes() {
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
    assert!(!text.contains("data-key=\"s3\"") && text.contains("Time to answer"), "{text}");
    app.servers().redis().stop();
    let text = streamed(&viewer, address, |text| text.contains("Lasts")).await;
    assert!(text.contains("data-down=\"1\"") && text.contains("What to do"), "{text}");
    // Without Postgres there is no history, and all the rest; one stream sees it go and come back.
    app.servers().postgres().stop();
    let (gone, told) = ("Postgres, which keeps the history, does not answer", "Time to answer");
    let started = std::cell::Cell::new(false);
    let text = streamed(&viewer, address, |text| {
        if text.contains(gone) && !started.replace(true) {
            app.servers().postgres().start().unwrap();
        }
        text.rfind(told) > text.rfind(gone) && text.contains(gone)
    })
    .await;
    assert!(text.contains("data-key=\"facts\""), "{text}");
    for missing in ["qdrant", "nothing"] {
        viewer.get(&format!("/health/services/{missing}/events")).await.expect_status(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_do_not_keep_a_console_from_stopping() {
    let app = TestApp::start().await;
    let viewer = app.sign_in(Role::Viewer).await;
    let mut stream = viewer.request(Method::GET, "/health/events").send().await.unwrap().bytes_stream();
    stream.next().await.unwrap().unwrap();
    let began = Instant::now();
    app.stop().await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
