//! Concurrent uploads to one key, on two replicas, through forms and in parts.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use larder::domain::actor::Role;

use super::checker::Checker;
use super::child::LEASE;
use super::ledger::{Ledger, Outcome};
use super::random::Random;
use super::sender::Sender;
use crate::support::TestApp;

const RACERS: usize = 50;
const MIB: usize = 1 << 20;

/// One in ten uploads is sent in parts, each by a different user, since a user can have one pending upload per key.
async fn race(app: &TestApp, others: &str, key: &str, overwrite: bool, ledger: &Ledger) -> Vec<Outcome> {
    let mut random = Random::announced(key);
    let editor = Sender::sign_in(&app.base, &app.bucket, &app.new_user(Role::Editor).await, ledger.clone()).await;
    let mut racers = Vec::new();
    for number in 0..RACERS {
        let base = if number % 2 == 0 { app.base.as_str() } else { others };
        let size = if number % 10 == 5 { 8 * MIB + 4_096 } else { random.within(1, 150_000) };
        let body = random.bytes(size);
        if number % 10 == 0 {
            let own = Sender::sign_in(base, &app.bucket, &app.new_user(Role::Editor).await, ledger.clone()).await;
            let deadline = Instant::now() + Duration::from_secs(50);
            racers.push(async move { own.resumable(key, &body, overwrite, deadline).await }.boxed());
        } else {
            let sender = editor.at(base);
            racers.push(
                async move {
                    let answer = sender.file(key, &body, overwrite).await.unwrap();
                    match answer.status.as_u16() {
                        201 => Outcome::Stored,
                        409 => Outcome::Refused,
                        status => panic!("{status}: {:?}", answer.body),
                    }
                }
                .boxed(),
            );
        }
    }
    join_all(racers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_uploads_to_one_key_one_wins_unless_overwriting_is_allowed() {
    let app = TestApp::start_with(|config| config.upload.lease = LEASE).await;
    let replica = app.replica().await;
    let ledger = Ledger::default();
    let ended = race(&app, &replica.base, "first", false, &ledger).await;
    let count = |outcome| ended.iter().filter(|ended| **ended == outcome).count();
    assert_eq!((count(Outcome::Stored), count(Outcome::Refused)), (1, RACERS - 1), "{ended:?}");

    let ended = race(&app, &replica.base, "last", true, &ledger).await;
    let stored = ended.iter().filter(|ended| **ended == Outcome::Stored).count();
    eprintln!("{stored} of {RACERS} overwrote");
    // Uploads that wait for their turn longer than 20 s are told to try again.
    assert!(stored > RACERS / 2, "{ended:?}");
    // This includes that the ETag of the ready row matches the store.
    Checker::of(&app).await.check(&ledger).await;
}
