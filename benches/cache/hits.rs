//! A cached value, read through the cache and by a bare GET.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use larder::config::{Config, EmbeddedUrls, Stores};
use larder::domain::cache::{self, Key, Namespace};

use crate::{Figure, percentile};

const ROUNDS: usize = 9;
const EACH: u32 = 5_000;
static VALUES: Namespace<String> = Namespace::new("bench", Duration::from_secs(3600));

pub async fn measure(urls: &EmbeddedUrls) -> Result<Vec<Figure>> {
    let config = Config::from_lookup(&|_| None, Stores::Embedded(urls)).context("the configuration")?;
    let ctx = larder::app::context(config)?;
    let key = Key::of(&[&"sme-files", &"contracts/2026"]);
    let compute = || async { Ok("x".repeat(200)) };
    cache::get_or_compute(&ctx, &VALUES, &key, compute).await?;
    let name = format!("cache:bench:{}", key.as_str());
    let redis = ctx.redis.best_effort(Duration::from_secs(1));
    redis.get(&name).await?.context("the value was not found at its key")?;
    let (mut bare, mut cached, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..EACH {
            redis.get(&name).await?;
        }
        let one = began.elapsed().as_secs_f64() / f64::from(EACH) * 1e6;
        let began = Instant::now();
        for _ in 0..EACH {
            cache::get_or_compute(&ctx, &VALUES, &key, compute).await?;
        }
        let other = began.elapsed().as_secs_f64() / f64::from(EACH) * 1e6;
        bare.push(one);
        cached.push(other);
        ratios.push(other / one);
    }
    Ok(vec![
        Figure::new("bare GET, µs", percentile(&mut bare, 50), None),
        Figure::new("cached value, µs", percentile(&mut cached, 50), None),
        Figure::new("cached value ÷ bare GET", percentile(&mut ratios, 50), Some(1.1)),
    ])
}
