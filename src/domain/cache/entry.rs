//! A value as it is stored in Redis: signed, with the time of its computation and the times until which it is fresh and
//! may be served at all.

use std::time::Duration;

use aws_lc_rs::rand;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Spec;
use crate::clock;
use crate::domain::signing::Signer;

#[derive(Serialize, Deserialize)]
pub(super) struct Entry<T> {
    #[serde(with = "chrono::serde::ts_milliseconds")]
    at: DateTime<Utc>,
    #[serde(with = "chrono::serde::ts_milliseconds")]
    fresh_until: DateTime<Utc>,
    /// A signed copy that is written again later is not trusted after this time.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    kept_until: DateTime<Utc>,
    value: T,
}

/// A cached value.
#[derive(Clone, Debug)]
pub struct CachedValue<T> {
    pub value: T,
    /// When it was stored.
    pub at: DateTime<Utc>,
    /// Whether its fresh period has not ended.
    pub is_fresh: bool,
}

impl<T: DeserializeOwned> Entry<T> {
    /// `None` if it is not signed by Larder, too old, or written by another version.
    pub fn read(signer: &Signer, name: &str, signed: &str) -> Option<CachedValue<T>> {
        let entry: Self = serde_json::from_str(signer.verify(name, signed)?).ok()?;
        (clock::now() < entry.kept_until).then_some(())?;
        Some(CachedValue { value: entry.value, at: entry.at, is_fresh: clock::now() < entry.fresh_until })
    }
}

impl<'a, T: Serialize> Entry<&'a T> {
    /// The text for the Redis key `name`, and its TTL. `None` if the value cannot be serialized, or nothing can be signed yet.
    pub fn write(signer: &Signer, name: &str, spec: &Spec, value: &'a T) -> Option<(String, Duration)> {
        let at = clock::now();
        let fresh = jittered(spec.fresh, spec.jitter_percent, random());
        let ttl = fresh + spec.stale;
        let (fresh_until, kept_until) = (at + TimeDelta::from_std(fresh).ok()?, at + TimeDelta::from_std(ttl).ok()?);
        let entry = Self { at, fresh_until, kept_until, value };
        Some((signer.sign(name, &serde_json::to_string(&entry).ok()?)?, ttl))
    }
}

/// If the random number generator fails, the TTL has no jitter.
fn random() -> u16 {
    let mut bytes = [0x80, 0];
    let _ = rand::fill(&mut bytes);
    u16::from_be_bytes(bytes)
}

/// `ttl` varied by up to `percent` in either direction, depending on `random`.
fn jittered(ttl: Duration, percent: u8, random: u16) -> Duration {
    let by = f64::from(random) / f64::from(u16::MAX) * 2.0 - 1.0;
    ttl.mul_f64(1.0 + by * f64::from(percent) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_varies_by_at_most_its_jitter() {
        let ttl = Duration::from_secs(100);
        assert_eq!(jittered(ttl, 20, 0), Duration::from_secs(80));
        assert_eq!(jittered(ttl, 20, u16::MAX), Duration::from_secs(120));
        assert_eq!(jittered(ttl, 0, 7), ttl);
        assert_eq!(jittered(ttl, 100, 0), Duration::ZERO);
        let ttls: Vec<Duration> = (0..1000).map(|_| jittered(ttl, 10, random())).collect();
        assert!(ttls.iter().all(|ttl| (90.0..=110.0).contains(&ttl.as_secs_f64())));
        let (shortest, longest) = (ttls.iter().min(), ttls.iter().max());
        assert!(shortest < Some(&Duration::from_secs(92)) && longest > Some(&Duration::from_secs(108)), "{shortest:?} {longest:?}");
    }
}
