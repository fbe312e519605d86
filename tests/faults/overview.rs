//! The first page of a Larder that is alone in its process: what it keeps for a moment is not shown for longer.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::ACCEPT;

use crate::child::{World, free_port};
use crate::sender::Sender;
use crate::support::{Set, eventually};

async fn text(sender: &Sender, path: &str) -> String {
    let answer = sender.request(Method::GET, path).header(ACCEPT, "text/html").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// How often the figures of the page were looked up.
async fn lookups(sender: &Sender) -> f64 {
    let metrics = text(sender, "/metrics").await;
    let figures = metrics.lines().filter(|line| line.starts_with("larder_cache_lookups_total{") && line.contains("\"overview-stored\""));
    figures.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_is_kept_and_tells_at_once_what_was_done() {
    let world = World::new(Set::shared().await).await;
    let larder = world.start(free_port(), &[]).await;
    let sender = world.sender(&larder).await;
    for name in ["one.txt", "two.txt", "three.txt"] {
        eventually("the page is kept", async || {
            let before = lookups(&sender).await;
            text(&sender, "/").await;
            lookups(&sender).await <= before
        })
        .await;
        sender.form(&[(name.to_owned(), Bytes::from_static(b"x"))], false).await.unwrap();
        let page = text(&sender, "/").await;
        assert!(page.contains(&format!(">{name}<")), "{page}");
    }
    larder.kill();
}
