//! `kill -9` at random moments, while clients upload continuously.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::child::{World, free_port};
use super::either;
use super::ledger::Outcome;
use super::random::Random;
use super::sender::Sender;
use crate::support::Set;

const CLIENTS: usize = 8;
/// Keys that all clients overwrite.
const SHARED: usize = 16;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_upload_is_lost_by_a_kill_at_any_moment() {
    let mut random = Random::announced("kills");
    let (world, port) = (World::new(Set::shared().await).await, free_port());
    let mut larder = world.start(port, &[]).await;
    let sender = world.sender(&larder).await;
    for at in 0..SHARED {
        let size = random.within(1, 100 * KIB);
        assert_eq!(sender.file(&shared(at), &random.bytes(size), false).await.unwrap().status, 201);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|at| tokio::spawn(client(at, sender.clone(), random.fork(), stop.clone()))).collect();
    let kills = either(20, 200);
    for _ in 0..kills {
        // The delay is random.
        tokio::time::sleep(Duration::from_millis(random.within(0, 900) as u64)).await;
        larder.kill();
        larder = world.start(port, &[]).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let (stored, unknown) = (world.ledger.count(Outcome::Stored), world.ledger.count(Outcome::Unknown));
    eprintln!("{kills} kills: {stored} files acknowledged, {unknown} uploads cut off");
    assert!(unknown >= kills, "the kills interrupted no uploads");
    world.checker().await.check(&world.ledger).await;
}

fn shared(at: usize) -> String {
    format!("shared-{at}")
}

async fn client(number: usize, sender: Sender, mut random: Random, stop: Arc<AtomicBool>) {
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let overwrite = random.within(0, 1) == 0;
        let names: Vec<String> = (0..random.within(2, 9))
            .map(|at| if overwrite { shared((random.within(0, SHARED - 1) + at) % SHARED) } else { format!("new-{number}-{round}-{at}") })
            .collect();
        let kind = random.within(0, 19);
        let (least, most) = match kind {
            0..=8 => (1, 100 * KIB),
            9..=14 => (100 * KIB, 2 * MIB),
            _ => (8 * MIB + 1, 20 * MIB),
        };
        let mut body = || {
            let size = random.within(least, most);
            random.bytes(size)
        };
        match kind {
            0..=4 => {
                let mut files: Vec<_> = names.into_iter().map(|name| (name, body())).collect();
                files.sort_by(|one, other| one.0.cmp(&other.0));
                files.dedup_by(|one, other| one.0 == other.0);
                drop(sender.form(&files, overwrite).await);
            }
            15..=17 => {
                let patience = Instant::now() + Duration::from_secs(15);
                sender.resumable(&names[0], &body(), overwrite, patience).await;
            }
            _ => drop(sender.file(&names[0], &body(), overwrite).await),
        }
        // No process listens for a moment after each kill.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
