//! SIGTERM, and uploads slower than a lease.

use std::time::{Duration, Instant};

use super::child::{LEASE, World, free_port};
use super::ledger::Outcome;
use super::random::Random;
use super::raw::{Sending, Upload};
use crate::support::{Set, eventually};

const MIB: usize = 1 << 20;

/// A few bytes at a time, so that neither the idle limit nor the minimum rate ends the upload.
async fn drip(sending: &mut Sending, from: usize, until: Instant) -> usize {
    let mut sent = from;
    while Instant::now() < until {
        sent += 500;
        sending.send_up_to(sent).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_uploads_finish_and_the_other_replica_settles_the_rest() {
    let mut random = Random::announced("stops");
    let world = World::new(Set::shared().await).await;
    let mut stopped = world.start(free_port(), &[]).await;
    let other = world.start(free_port(), &[]).await;
    let sender = world.sender(&stopped).await;
    let body = random.bytes(17 * MIB);
    let began = Instant::now();
    let form = |name: &str| Upload::form(&sender, &[(name.to_owned(), body.clone())], false).begin();
    let (mut slow, mut endless) = (form("slow").await, form("endless").await);
    let sent = 9 * MIB;
    slow.send_up_to(sent).await;
    endless.send_up_to(sent).await;
    let checker = world.checker().await;
    let pending = async |key: &str| {
        let row = checker.sql.query_one("SELECT state FROM files WHERE object_key = $1 ORDER BY id DESC LIMIT 1", &[&key]).await;
        row.is_ok_and(|row| row.get::<_, &str>(0) == "pending")
    };
    eventually("both uploads have started", async || pending("slow").await && pending("endless").await).await;

    // Longer than two leases, while the other replica looks for expired uploads.
    let until = Instant::now() + LEASE * 2;
    tokio::join!(drip(&mut slow, sent, until), drip(&mut endless, sent, until));
    assert!(pending("slow").await && pending("endless").await, "a slow upload was treated as expired");

    let asked = Instant::now();
    stopped.terminate();
    // Well within the 30 s.
    let until = Instant::now() + LEASE + Duration::from_secs(1);
    tokio::join!(drip(&mut slow, sent + 50_000, until), drip(&mut endless, sent + 50_000, until));
    slow.send_rest().await;
    let answer = slow.answer().await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    sender.ledger.enter("slow", &body, false, began, Outcome::Stored);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(http.get(format!("{}/livez", stopped.base)).send().await.is_err(), "it still accepts requests");
    let left = Duration::from_secs(40).saturating_sub(asked.elapsed());
    let dripping = drip(&mut endless, sent + 100_000, asked + Duration::from_secs(28));
    let (_, status) = tokio::join!(dripping, stopped.ended(left));
    let took = asked.elapsed();
    assert!(took <= Duration::from_secs(35), "{took:?}");
    assert!(status.success(), "{status}: {}", stopped.end_of_log());
    sender.ledger.enter("endless", &body, false, began, Outcome::Refused);
    checker.check(&world.ledger).await;
    let row = checker.sql.query_one("SELECT state FROM files WHERE object_key = 'endless'", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "failed");
    drop(other);
}
