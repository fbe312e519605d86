//! Every fail point in the source × panic, error, sleep: afterwards nothing is lost, corrupted or left over.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use super::child::{Child, LEASE, World, free_port};
use super::either;
use super::ledger::Outcome;
use super::random::Random;
use super::raw;
use super::sender::Sender;
use crate::support::{Set, eventually_within};

const MIB: usize = 1 << 20;
/// Concurrent instances: each has its own connections to Postgres.
const AT_ONCE: usize = 7;

/// How long the log may lag behind a response.
const REACHED: Duration = Duration::from_secs(2);

/// The fail points of uploads; those of other actions are tested next to those actions.
fn points() -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    read(Path::new("src"), &mut points);
    points.retain(|point| ["upload::", "batch::", "resume::", "reaper::"].iter().any(|prefix| point.starts_with(prefix)));
    points
}

fn read(directory: &Path, points: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.path().is_dir() {
            read(&entry.path(), points);
        } else if entry.path().extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let named = text.split("crash_point(\"").skip(1).filter_map(|rest| rest.split('"').next());
            points.extend(named.map(str::to_owned));
        }
    }
}

/// Uploads that pass the fail point, under keys that start with `key`, each with an outcome that the ledger permits.
async fn pass(point: &str, key: &str, sender: &Sender, random: &mut Random) {
    let soon = Instant::now() + Duration::from_secs(3);
    let large = random.bytes(9 * MIB);
    match point {
        // An interrupted body is undone before the response.
        "upload::aborted" => {
            let mut cut = raw::Upload::form(sender, &[(format!("{key}-cut"), large.clone())], false).begin().await;
            cut.send_up_to(8 * MIB + 100_000).await;
            cut.finish().await;
        }
        _ if point.starts_with("upload::") => {
            let middle = random.bytes(300_000);
            let _ = sender.file(&format!("{key}-middle"), &middle, false).await;
            let _ = sender.file(&format!("{key}-large"), &large, false).await;
            let _ = sender.file(&format!("{key}-large"), &random.bytes(9 * MIB), true).await;
        }
        _ if point.starts_with("batch::") => {
            let files: Vec<(String, Bytes)> = (0..4).map(|at| (format!("{key}-{at}"), random.bytes(5_000))).collect();
            let _ = sender.form(&files, false).await;
            let files: Vec<(String, Bytes)> = (0..2).map(|at| (format!("{key}-{at}"), random.bytes(4_000))).collect();
            let _ = sender.form(&files, true).await;
        }
        _ => {
            sender.resumable(&format!("{key}-parts"), &large, false, soon).await;
        }
    }
}

/// Whether the condition holds, now or a little later.
async fn has_within(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    condition()
}

/// A few fail points with one instance each, all replicas of one another; each must reach its point.
async fn wave(world: &World, wave: &[(String, String)], random: &mut Random) {
    let larders = join_all(wave.iter().map(|(point, action)| async move {
        let points = format!("{point}={action}");
        world.start(free_port(), &[("FAILPOINTS", &points)]).await
    }));
    let larders: Vec<Child> = larders.await;
    let tries = wave.iter().zip(&larders).map(|((point, action), larder)| {
        let mut random = random.fork();
        async move {
            let sender = world.sender(larder).await;
            let kind = action.split('(').next().unwrap_or(action).trim_start_matches("1*");
            let deadline = Instant::now() + Duration::from_secs(60);
            // On a busy machine, an upload may fail before it gets so far.
            for round in 0.. {
                let (key, began) = (format!("{}-{kind}-{round}", point.replace("::", "-")), Instant::now());
                pass(point, &key, &sender, &mut random).await;
                if kind == "sleep" && began.elapsed() > LEASE || has_within(REACHED, || larder.log().contains(point.as_str())).await {
                    return;
                }
                assert!(Instant::now() < deadline, "{point} is not reached ({action})");
            }
        }
    });
    join_all(tries).await;
    larders.into_iter().for_each(Child::kill);
}

async fn all(action: &str) {
    let mut random = Random::announced(action);
    let world = World::new(Set::shared().await).await;
    let points = points();
    assert!(points.len() >= 12, "{points:?}");
    let (reaper, others): (Vec<_>, Vec<_>) = points.into_iter().partition(|point| point.starts_with("reaper::"));
    let cases: Vec<_> = others.into_iter().map(|point| (point, action.to_owned())).collect();
    for some in cases.chunks(AT_ONCE) {
        wave(&world, some, &mut random).await;
    }
    for point in reaper {
        // Anything left by the batches is found here.
        let larder = world.start(free_port(), &[("FAILPOINTS", &format!("{point}={action}"))]).await;
        if !action.contains("sleep") {
            eventually_within(LEASE * 4, &format!("{point} is reached"), async || larder.log().contains(&point)).await;
        }
        larder.kill();
    }
    let (stored, unknown) = (world.ledger.count(Outcome::Stored), world.ledger.count(Outcome::Unknown));
    eprintln!("{action}: {stored} files acknowledged, {unknown} cut off, {} refused", world.ledger.count(Outcome::Refused));
    let _healthy = world.start(free_port(), &[]).await;
    world.checker().await.check(&world.ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_or_an_error_at_any_point_loses_nothing() {
    tokio::join!(all("panic"), all("return"));
}

/// Longer than the lease, while the reapers of other replicas run.
#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_at_any_point_loses_nothing() {
    all(either("1*sleep(6500)", "1*sleep(30000)")).await;
}
