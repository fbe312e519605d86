//! One tile per metric: its value, formula, source fields and advice. The thresholds are those of the Redis documentation
//! and of MEMORY DOCTOR, where they exist.

use super::metrics::percent;
use crate::console::view::badge::Badge;
use crate::console::view::units::{THIN_SPACE, count_text, duration_text, memory_parts, memory_text};
use crate::domain::redis_metrics::{Counter, Gauge, RedisMetrics, Sums};
use crate::domain::redis_metrics::{Info, PoolUsage};

mod more;

pub use more::more;

/// With fewer lookups, the hit ratio is not meaningful.
const MIN_LOOKUPS: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Ok,
    Note,
    Warn,
    Bad,
}

#[derive(Debug)]
pub struct Tile {
    pub name: &'static str,
    pub value: String,
    pub unit: &'static str,
    pub lines: Vec<String>,
    /// Fill level in percent.
    pub meter: Option<f64>,
    tone: Tone,
    /// The label of the badge, at most two words.
    label: &'static str,
    pub formula: &'static str,
    pub fields: &'static str,
    pub advice: &'static str,
}

impl Tile {
    fn new(name: &'static str, value: String, unit: &'static str) -> Self {
        Self { name, value, unit, lines: Vec::new(), meter: None, tone: Tone::Ok, label: "", formula: "", fields: "", advice: "" }
    }

    /// For metrics that the server does not report.
    fn not_available(name: &'static str) -> Self {
        Self::new(name, "unavailable".to_owned(), "").line("The server or its ACL does not allow reading this metric.")
    }

    fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    fn with_status(mut self, tone: Tone, label: &'static str) -> Self {
        if tone != Tone::Ok {
            (self.tone, self.label) = (tone, label);
        }
        self
    }

    fn with_explanation(mut self, formula: &'static str, fields: &'static str, advice: &'static str) -> Self {
        (self.formula, self.fields, self.advice) = (formula, fields, advice);
        self
    }

    /// Tone, icon and label of the badge.
    pub fn badge(&self) -> Option<Badge> {
        match self.tone {
            Tone::Ok => None,
            Tone::Note => Some(Badge::new("off", "note", self.label)),
            Tone::Warn => Some(Badge::new("warn", "warn", self.label)),
            Tone::Bad => Some(Badge::new("bad", "close", self.label)),
        }
    }

    pub fn is_text(&self) -> bool {
        self.unit.is_empty() && !self.value.starts_with(|c: char| c.is_ascii_digit())
    }

    pub fn meter_share(&self) -> Option<f64> {
        self.meter.map(|share| share.clamp(0.0, 100.0))
    }
}

/// "Valkey 8.1.1 · up 41 days · append-only file on, last write ok".
pub fn server(info: &Info) -> String {
    let (name, version) = info.program();
    let mut parts = vec![format!("{name} {}", version.unwrap_or("(unknown version)"))];
    if let Some(seconds) = info.signed("uptime_in_seconds") {
        parts.push(format!("up {}", duration_text(seconds)));
    }
    parts.push(match (info.is("aof_enabled", "1"), info.text("aof_last_write_status")) {
        (true, status) => format!("append-only file on, last write {}", status.unwrap_or("unknown")),
        (false, _) => "append-only file off".to_owned(),
    });
    parts.join(" · ")
}

fn of_lookups(sums: &Sums, window: &str) -> String {
    match sums.hit_ratio() {
        Some(ratio) => format!("{window} {} of {}", percent(ratio), count_text(sums.lookups())),
        None => format!("{window} no lookups"),
    }
}

fn per_second(rate: Option<f64>) -> String {
    match rate {
        None => "unknown".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(rate) if rate < 10.0 => format!("{rate:.1}"),
        Some(rate) => count_text(rate.round() as u64),
    }
}

/// The five most important metrics.
pub fn main(metrics: &RedisMetrics) -> Vec<Tile> {
    vec![hit_ratio(metrics), memory(&metrics.info), operations(metrics), clients(&metrics.info, &metrics.hour), evictions(metrics)]
}

fn hit_ratio(metrics: &RedisMetrics) -> Tile {
    let now = &metrics.five_minutes;
    let (value, unit) = match now.hit_ratio() {
        Some(ratio) => (format!("{ratio:.1}"), "%"),
        None => ("no lookups".to_owned(), ""),
    };
    let tone = match now.hit_ratio().filter(|_| now.lookups() >= MIN_LOOKUPS) {
        Some(ratio) if ratio < 50.0 => Tone::Warn,
        Some(ratio) if ratio < 75.0 => Tone::Note,
        _ => Tone::Ok,
    };
    let tile = Tile::new("Hit ratio", value, unit)
        .line(format!("of {} lookups in 5 minutes, excluding lookups by these pages", count_text(now.lookups())));
    let tile = tile.line(of_lookups(&metrics.hour, "hour"));
    let tile = match &metrics.day {
        Some(day) => tile.line(of_lookups(day, "24 hours")),
        None => tile.line("24 hours unavailable: Postgres is not responding"),
    };
    let life = lifetime(&metrics.info);
    tile.line(life).with_status(tone, "Low").with_explanation(
        "100 × hits ÷ (hits + misses), from the difference between two samples, without the lookups by these pages",
        "keyspace_hits, keyspace_misses",
        "Many misses mean that the requested keys were never stored, have expired or were evicted. Check the namespaces, evictions and \
         TTLs. The thresholds of 75 and 50 % are Larder's own. All clients and databases are \
         included, as are Larder's cache and sessions; the lookups by these pages are counted separately and subtracted.",
    )
}

/// The hit ratio since the server started, with the uptime for context.
fn lifetime(info: &Info) -> String {
    let (hits, misses) = (info.number("keyspace_hits").unwrap_or(0), info.number("keyspace_misses").unwrap_or(0));
    let up = info.signed("uptime_in_seconds").map_or_else(String::new, |seconds| format!(" ({})", duration_text(seconds)));
    match hits + misses {
        0 => format!("since startup{up} no lookups"),
        all => format!("since startup{up} {}, including these pages", percent(100.0 * hits as f64 / all as f64)),
    }
}

fn memory(info: &Info) -> Tile {
    let Some(used) = info.number("used_memory") else { return Tile::not_available("Memory") };
    let (value, unit) = memory_parts(used);
    let tile = Tile::new("Memory", value, unit);
    let policy = info.text("maxmemory_policy").unwrap_or("policy unavailable").to_owned();
    let limit = info.number("maxmemory").unwrap_or(0);
    let tile = if limit > 0 {
        let share = 100.0 * used as f64 / limit as f64;
        let tone = match share {
            95.0.. => Tone::Bad,
            80.0.. => Tone::Warn,
            _ => Tone::Ok,
        };
        let label = match (share >= 95.0, policy == "noeviction") {
            (true, true) => "Almost full",
            (true, false) => "Above 95 %",
            (false, _) => "Above 80 %",
        };
        let tile = tile.line(format!("{} of {}", percent(share), memory_text(limit))).with_status(tone, label);
        Tile { meter: Some(share), ..tile }
    } else {
        let total =
            info.number("total_system_memory").map_or_else(String::new, |total| format!(", {} of system memory", memory_text(total)));
        tile.line(format!("no limit set{total}")).with_status(Tone::Note, "No limit")
    };
    tile.line(policy).with_explanation(
        "used memory ÷ limit",
        "used_memory, maxmemory, maxmemory_policy, total_system_memory",
        "At the limit, Redis evicts keys, or rejects writes if the policy is noeviction. Raise maxmemory, shorten TTLs or delete \
         big keys. Without a limit, Redis grows until the machine runs out of memory.",
    )
}

fn operations(metrics: &RedisMetrics) -> Tile {
    let now =
        metrics.info.number("instantaneous_ops_per_sec").map(|rate| rate as f64).or_else(|| metrics.five_minutes.rate(Counter::Commands));
    let kbps = |field| metrics.info.fraction(field).map_or_else(|| "?".to_owned(), |rate: f64| format!("{rate:.0}"));
    let network = format!("{} in, {} out, KiB/s", kbps("instantaneous_input_kbps"), kbps("instantaneous_output_kbps"));
    Tile::new("Operations", per_second(now), "/s")
        .line(format!("{}/s on average in the last hour", per_second(metrics.hour.rate(Counter::Commands))))
        .line(network)
        .with_explanation(
            "commands between two samples ÷ seconds between them",
            "instantaneous_ops_per_sec, total_commands_processed, instantaneous_input_kbps, instantaneous_output_kbps",
            "This metric has no threshold. If it changes suddenly, check the clients.",
        )
}

fn clients(info: &Info, hour: &Sums) -> Tile {
    let Some(clients) = info.number("connected_clients") else { return Tile::not_available("Clients") };
    let (limit, rejected) = (info.number("maxclients"), hour.get(Counter::Rejected));
    let share = limit.filter(|limit| *limit > 0).map(|limit| 100.0 * clients as f64 / limit as f64);
    let tone = match share {
        _ if rejected > 0 => Tone::Bad,
        Some(80.0..) => Tone::Warn,
        _ => Tone::Ok,
    };
    let blocked = info.number("blocked_clients").unwrap_or(0);
    Tile::new("Clients", count_text(clients), "")
        .line(limit.map_or_else(|| "limit unavailable".to_owned(), |limit| format!("of {} allowed", count_text(limit))))
        .line(if rejected > 0 {
            format!("{} rejected in the last hour", count_text(rejected))
        } else {
            format!("{} blocked", count_text(blocked))
        })
        .with_status(tone, if rejected > 0 { "Rejected" } else { "Above 80 %" })
        .with_explanation(
            "current connections, and connections rejected in the last hour",
            "connected_clients, maxclients, blocked_clients, rejected_connections",
            "Blocked clients are normal for applications that use queues. Rejected connections mean that an application opens \
             too many: check the clients by name, or raise maxclients.",
        )
}

fn evictions(metrics: &RedisMetrics) -> Tile {
    let now = metrics.five_minutes.rate(Counter::Evicted).unwrap_or(0.0);
    let hour = metrics.hour.get(Counter::Evicted);
    let value = if now > 0.0 && now < 0.1 { "under 0.1".to_owned() } else { per_second(Some(now)) };
    Tile::new("Evictions", value, "/s")
        .line(if hour == 0 { "none in the last hour".to_owned() } else { format!("{} keys in the last hour", count_text(hour)) })
        .line(format!("{} keys since startup", count_text(metrics.info.number("evicted_keys").unwrap_or(0))))
        .with_status(if now > 0.0 { Tone::Warn } else { Tone::Ok }, "Evicting")
        .with_explanation(
            "keys evicted to free memory ÷ seconds, over 5 minutes",
            "evicted_keys",
            "The memory is too small for the stored data. In a cache, evictions lower the hit ratio. If jobs or sessions are stored in the \
             same Redis, they are lost: use a separate Redis server for them.",
        )
}

/// p50 and p95 of the last sixty samples, in milliseconds.
fn own_latency(metrics: &RedisMetrics) -> Option<(f64, f64)> {
    let mut last: Vec<u64> = metrics.samples.iter().rev().take(60).map(|sample| sample.gauge(Gauge::Latency)).collect();
    last.sort_unstable();
    let at = |share: usize| last.get((last.len().checked_sub(1)?) * share / 100).map(|us| *us as f64 / 1000.0);
    Some((at(50)?, at(95)?))
}

fn milliseconds(value: f64) -> String {
    format!("{value:.2}{THIN_SPACE}ms")
}

fn usage_text(usage: PoolUsage) -> String {
    format!("{} of {} in use, {} idle, {} waiting", usage.in_use, usage.limit, usage.idle, usage.waiting)
}
