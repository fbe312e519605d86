//! The steps of a scan. After each step it pauses for as long as the step took.

use std::time::{Duration, Instant};

use super::super::name::is_own;
use super::{LOCK, LOCK_TTL, RESULT_TTL, Scan, ScanKind, ScanState, biggest, key, record, stop_key};
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::{Context, signing};
use crate::stores::redis::{BrowseCommands, Error};

/// Keys examined per SCAN and deleted per UNLINK.
const BATCH: usize = 500;
const MIN_PAUSE: Duration = Duration::from_millis(1);
/// How often the stored progress is updated.
const UPDATE_INTERVAL: Duration = Duration::from_millis(500);
/// The scan fails if the server does not respond for this long.
const OUTAGE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(ctx: &Context, actor: &Actor, mut scan: Scan) {
    scan.state = match steps(ctx, &mut scan).await {
        Ok(state) => state,
        Err(error) => ScanState::Failed(format!("{error}. The results so far are updated above; start the scan again for the rest.")),
    };
    if scan.kind == ScanKind::Delete {
        let ended = match &scan.state {
            ScanState::Done => "done",
            ScanState::Stopped => "stopped",
            _ => "failed",
        };
        if let Err(error) = record(ctx, actor, &scan, ended).await {
            log::warn!("the end of a deletion of keys could not be recorded: {error}");
        }
    }
    scan.seen_at = clock::now();
    let redis = ctx.redis.required();
    if let Err(error) = signing::set_json(ctx, &redis, &key(scan.id), &scan, RESULT_TTL).await {
        log::warn!("the end of a key scan could not be stored: {error}");
    }
    let _ = redis.release(LOCK, &scan.id.to_string()).await;
}

/// Returns the final state.
async fn steps(ctx: &Context, scan: &mut Scan) -> Result<ScanState, Error> {
    let browse = ctx.redis.browse();
    let pattern = (!scan.pattern.is_empty()).then(|| scan.pattern.clone());
    let (mut cursor, mut updated, mut answered) = (0, Instant::now(), Instant::now());
    let mut largest = biggest::Largest::default();
    loop {
        let began = Instant::now();
        match step(ctx, &browse, scan, &mut largest, cursor, pattern.as_deref()).await {
            Ok(next) => {
                answered = Instant::now();
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
            Err(error) if error.is_outage() && answered.elapsed() < OUTAGE_TIMEOUT => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(error) => return Err(error),
        }
        if updated.elapsed() >= UPDATE_INTERVAL {
            updated = Instant::now();
            if is_stopped(ctx, scan).await {
                scan.biggest = largest.list();
                return Ok(ScanState::Stopped);
            }
            if !renew_lock(ctx, scan).await {
                return Ok(ScanState::Failed(
                    "Another scan started while Redis was unreachable. Start this one again when it has ended.".into(),
                ));
            }
            store_progress(ctx, scan).await;
        }
        tokio::time::sleep(began.elapsed().clamp(MIN_PAUSE, Duration::from_millis(100))).await;
    }
    scan.examined = scan.examined.max(scan.total);
    scan.biggest = largest.measured(&browse).await?;
    Ok(ScanState::Done)
}

async fn step(
    ctx: &Context,
    browse: &BrowseCommands<'_>,
    scan: &mut Scan,
    largest: &mut biggest::Largest,
    cursor: u64,
    pattern: Option<&[u8]>,
) -> Result<u64, Error> {
    let (next, mut names) = browse.scan(cursor, pattern, BATCH).await?;
    names.retain(|name| !is_own(&ctx.redis, name));
    // Redis may return more keys than requested.
    let examined = names.len().max(BATCH) as u64;
    match scan.kind {
        ScanKind::Count => scan.add_matches(names),
        ScanKind::Delete => {
            for some in names.chunks(BATCH) {
                scan.matched += browse.unlink(some).await?;
            }
        }
        ScanKind::Biggest => {
            scan.matched += names.len() as u64;
            largest.examine(browse, names).await?;
        }
    }
    scan.examined = (scan.examined + examined).min(scan.total);
    Ok(next)
}

/// Without a response, the scan continues: the next step handles the error.
async fn is_stopped(ctx: &Context, scan: &Scan) -> bool {
    ctx.redis.required().exists(&stop_key(scan.id)).await.unwrap_or(false)
}

/// After an outage longer than the lock's TTL, another scan may hold the lock. Without a response, the scan
/// continues.
async fn renew_lock(ctx: &Context, scan: &Scan) -> bool {
    ctx.redis.required().acquire(LOCK, &scan.id.to_string(), LOCK_TTL).await.unwrap_or(true)
}

async fn store_progress(ctx: &Context, scan: &mut Scan) {
    scan.seen_at = clock::now();
    let _ = signing::set_json(ctx, &ctx.redis.required(), &key(scan.id), scan, RESULT_TTL).await;
}
