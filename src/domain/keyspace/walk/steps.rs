//! One step after the other, with a pause as long as each step took.

use std::time::{Duration, Instant};

use super::super::name::is_own;
use super::{HELD, KEPT, Kind, LOCK, State, Walk, biggest, key, record, stop_key};
use crate::clock;
use crate::domain::Context;
use crate::domain::actor::Actor;
use crate::stores::redis::{BrowseCommands, Error};

/// Keys that one SCAN looks at, and one UNLINK deletes.
const STEP: usize = 500;
const LEAST_PAUSE: Duration = Duration::from_millis(1);
/// How often a page hears of it.
const SHOWN: Duration = Duration::from_millis(500);
/// A server that does not answer for so long ends the walk.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(ctx: &Context, actor: &Actor, mut walk: Walk) {
    walk.state = match steps(ctx, &mut walk).await {
        Ok(state) => state,
        Err(error) => State::Failed(format!("{error}. What it had done stands above; begin again for the rest.")),
    };
    if walk.kind == Kind::Delete {
        let ended = match &walk.state {
            State::Done => "done",
            State::Stopped => "stopped",
            _ => "failed",
        };
        if let Err(error) = record(ctx, actor, &walk, ended).await {
            log::warn!("the end of a deletion of keys could not be recorded: {error}");
        }
    }
    walk.seen_at = clock::now();
    let redis = ctx.redis.required();
    if let Err(error) = redis.set_json(&key(walk.id), &walk, Some(KEPT)).await {
        log::warn!("the end of a walk over keys could not be shown: {error}");
    }
    let _ = redis.release(LOCK, &walk.id.to_string()).await;
}

/// How it ended.
async fn steps(ctx: &Context, walk: &mut Walk) -> Result<State, Error> {
    let browse = ctx.redis.browse();
    let pattern = (!walk.pattern.is_empty()).then(|| walk.pattern.clone());
    let (mut cursor, mut shown, mut answered) = (0, Instant::now(), Instant::now());
    let mut top = biggest::Top::default();
    loop {
        let began = Instant::now();
        match step(ctx, &browse, walk, &mut top, cursor, pattern.as_deref()).await {
            Ok(next) => {
                answered = Instant::now();
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
            Err(error) if error.is_outage() && answered.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(error) => return Err(error),
        }
        if shown.elapsed() >= SHOWN {
            shown = Instant::now();
            if is_stopped(ctx, walk).await {
                walk.biggest = top.list();
                return Ok(State::Stopped);
            }
            if !holds(ctx, walk).await {
                return Ok(State::Failed("Another walk began while Redis did not answer this one. Begin again when it is over.".into()));
            }
            show(ctx, walk).await;
        }
        tokio::time::sleep(began.elapsed().clamp(LEAST_PAUSE, Duration::from_millis(100))).await;
    }
    walk.looked_at = walk.looked_at.max(walk.total);
    walk.biggest = top.weighed(&browse).await?;
    Ok(State::Done)
}

async fn step(
    ctx: &Context,
    browse: &BrowseCommands<'_>,
    walk: &mut Walk,
    top: &mut biggest::Top,
    cursor: u64,
    pattern: Option<&[u8]>,
) -> Result<u64, Error> {
    let (next, mut names) = browse.scan(cursor, pattern, None, STEP).await?;
    names.retain(|name| !is_own(&ctx.redis, name));
    match walk.kind {
        Kind::Count => walk.matched += names.len() as u64,
        Kind::Delete => {
            for some in names.chunks(STEP) {
                walk.matched += browse.unlink(some).await?;
            }
        }
        Kind::Biggest => {
            walk.matched += names.len() as u64;
            top.look_at(browse, names).await?;
        }
    }
    walk.looked_at = (walk.looked_at + STEP as u64).min(walk.total);
    Ok(next)
}

/// Without an answer it goes on: the next step meets the same fault.
async fn is_stopped(ctx: &Context, walk: &Walk) -> bool {
    ctx.redis.required().exists(&stop_key(walk.id)).await.unwrap_or(false)
}

/// Where Redis was away for longer than the lock lives, somebody else may hold it. Without an answer it goes on.
async fn holds(ctx: &Context, walk: &Walk) -> bool {
    ctx.redis.required().acquire(LOCK, &walk.id.to_string(), HELD).await.unwrap_or(true)
}

async fn show(ctx: &Context, walk: &mut Walk) {
    walk.seen_at = clock::now();
    let _ = ctx.redis.required().set_json(&key(walk.id), walk, Some(KEPT)).await;
}
