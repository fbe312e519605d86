//! What an attack costs everyone else: memory, the pages of a bystander, errors, and the time until all is back to normal.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{MIB, UPLOAD_MEMORY};
use crate::child::Child;
use crate::either;
use crate::sender::Sender;

/// The longest time of a page of a bystander.
const PAGE: Duration = Duration::from_millis(300);
/// The time after an attack until everything is back to normal.
const RECOVERY: Duration = Duration::from_secs(10);
/// Memory that the process may keep after an attack. The allocator returns it to the system only in part, and reuses it
/// for the next requests.
const KEPT: usize = 64 * MIB + UPLOAD_MEMORY;

/// Limits that did not hold. All attacks run, so that one run measures everything.
static VIOLATIONS: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub fn check(holds: bool, violation: impl FnOnce() -> String) {
    if !holds {
        let violation = violation();
        eprintln!("VIOLATED: {violation}");
        VIOLATIONS.lock().unwrap().push(violation);
    }
}

/// What was measured while an attack ran.
struct Measured {
    idle: usize,
    peak: usize,
    /// Slowest of a hundred pages of a bystander, and how many failed.
    p99: Duration,
    errors: usize,
}

pub fn resident(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() * 99).div_ceil(100) - 1]
}

async fn pages(bystander: &Sender, until: &AtomicBool) -> (Vec<Duration>, usize) {
    let (mut times, mut errors) = (Vec::new(), 0);
    while !until.load(Ordering::Relaxed) || times.len() < 20 {
        let (status, took) = bystander.look("/buckets").await;
        errors += usize::from(status != 200);
        times.push(took);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (times, errors)
}

/// Runs an attack beside a bystander and a meter, then checks what must hold for all of them. The limits are absolute in the long
/// form, which runs alone.
pub async fn under<T>(name: &str, child: &Child, bystander: &Sender, attack: impl Future<Output = T>) -> T {
    let quiet = p99(pages(bystander, &AtomicBool::new(true)).await.0);
    let (idle, descriptors) = (resident(child), child.descriptors());
    let (over, peak) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(idle));
    let meter = async {
        while !over.load(Ordering::Relaxed) {
            peak.fetch_max(resident(child), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let attacking = async {
        let outcome = attack.await;
        over.store(true, Ordering::Relaxed);
        outcome
    };
    let (outcome, (times, errors), ()) = tokio::join!(attacking, pages(bystander, &over), meter);
    let measured = Measured { idle, peak: peak.into_inner(), p99: p99(times), errors };
    let grown = (measured.peak - measured.idle) / MIB;
    eprintln!("{name}: +{grown} MiB, page p99 {:?} (quiet {quiet:?}), {} errors", measured.p99, measured.errors);
    check(measured.peak <= measured.idle + 64 * MIB + UPLOAD_MEMORY, || format!("{name}: {grown} MiB more than at rest"));
    // The short form runs beside other tests.
    let allowed = either(Duration::from_secs(1), PAGE);
    check(measured.p99 <= allowed, || format!("{name}: a page took {:?} instead of {quiet:?}", measured.p99));
    check(measured.errors == 0, || format!("{name}: {} errors", measured.errors));
    let ended = Instant::now();
    let is_normal = loop {
        let (status, took) = bystander.look("/buckets").await;
        // The clients here keep some connections of their own.
        let is_closed = child.descriptors() <= descriptors + 60;
        if status == 200 && took <= allowed && is_closed && resident(child) <= idle + KEPT {
            break true;
        }
        if ended.elapsed() > RECOVERY {
            break false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (kept, open) = (resident(child).saturating_sub(idle) / MIB, child.descriptors().saturating_sub(descriptors));
    let state = format!("+{kept} MiB and +{open} descriptors after {:?}", ended.elapsed());
    eprintln!("{name}: {state}");
    check(is_normal, || format!("{name}: not back to normal: {state}"));
    assert!(!child.log().contains(" 500 "), "{name}: an answer of 500:\n{}", child.end_of_log());
    outcome
}

/// Fails with all limits that did not hold.
pub fn assert_all_held() {
    let violations = VIOLATIONS.lock().unwrap();
    assert!(violations.is_empty(), "{violations:#?}");
}
