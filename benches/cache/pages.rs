//! Pages, requested like a browser does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::binary::Larder;
use crate::large::Large;
use crate::{Figure, percentile, process};

async fn milliseconds(larder: &Larder, path: &str) -> Result<f64> {
    let began = Instant::now();
    let answer = larder.http.get(format!("{}{path}", larder.base)).header("cookie", &larder.cookie).send().await?;
    ensure!(answer.status() == 200, "{path}: {}", answer.status());
    answer.bytes().await?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

pub async fn searches(larder: &Larder, large: &Large) -> Result<Vec<Figure>> {
    let patterns =
        [("every key", "*"), ("one in a hundred thousand", "*:12345*"), ("none", "nothing:*"), ("a name", "cache:listing:7777777")];
    // Data that every page needs is loaded once before measuring.
    milliseconds(larder, "/cache/keys?match=x").await?;
    let resident = process::resident(larder.pid())?;
    process::reset_peak(larder.pid())?;
    let mut figures = Vec::new();
    for (name, pattern) in patterns {
        let mut times = Vec::new();
        for at in 0..20 {
            // From a different position each time, like users who paginate.
            let cursor = if pattern.contains('*') { (at * 104_729).to_string() } else { String::new() };
            times.push(milliseconds(larder, &format!("/cache/keys?match={pattern}&cursor={cursor}")).await?);
        }
        figures.push(Figure::new(format!("{name}: page, median, ms"), percentile(&mut times, 50), None));
        figures.push(Figure::new(format!("{name}: page, worst, ms"), percentile(&mut times, 100), Some(300.0)));
    }
    let grown = process::peak(larder.pid())?.saturating_sub(resident);
    figures.push(Figure::new("peak of Larder's memory above idle, MiB", grown as f64 / f64::from(1 << 20), Some(8.0)));
    figures.push(Figure::new("Larder's commands in the slow log (10 ms)", large.slow().await? as f64, Some(0.0)));
    Ok(figures)
}

pub async fn figures(larder: &Larder, large: &Large) -> Result<Vec<Figure>> {
    let mut quiet = Vec::new();
    let before = large.busy().await?;
    for _ in 0..100 {
        quiet.push(milliseconds(larder, "/cache").await?);
    }
    let each = (large.busy().await? - before) as f64 / 100.0 / 1000.0;
    let stop = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn(background_load(large.connect().await?, stop.clone()));
    let mut busy = Vec::new();
    for _ in 0..200 {
        busy.push(milliseconds(larder, "/cache").await?);
    }
    stop.store(true, Ordering::Relaxed);
    let rate = others.await??;
    Ok(vec![
        Figure::new("execution time in Redis per page, ms", each, Some(2.0)),
        Figure::new("page with idle Redis, median, ms", percentile(&mut quiet, 50), None),
        Figure::new("operations per second of other clients", rate, None),
        Figure::new("page under that load, median, ms", percentile(&mut busy, 50), None),
        Figure::new("page under that load, p99, ms", percentile(&mut busy, 99), Some(20.0)),
    ])
}

/// About 10,000 reads per second; returns the actual number.
async fn background_load(mut connection: redis::aio::MultiplexedConnection, stop: Arc<AtomicBool>) -> Result<f64> {
    let (began, mut count) = (Instant::now(), 0_u64);
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let mut reads = redis::pipe();
        for _ in 0..50 {
            count += 1;
            reads.get(format!("cache:listing:{}", count * 7919 % 10_000_000)).ignore();
        }
        let _: () = reads.query_async(&mut connection).await?;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
