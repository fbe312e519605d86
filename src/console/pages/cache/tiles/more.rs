//! The metrics below the first five.

use super::{RedisMetrics, Tile, Tone, milliseconds, own_latency, per_second, usage_text};
use crate::console::pages::cache::metrics::percent;
use crate::console::view::units::{count_text, memory_text};
use crate::domain::redis_metrics::Counter;
use crate::domain::redis_metrics::{Info, PoolUsage, parts};

const MIB: i64 = 1 << 20;
/// MEMORY DOCTOR does not report on less data than this.
const MIN_MEMORY: u64 = 5 << 20;

pub fn more(metrics: &RedisMetrics, [work, browse]: [PoolUsage; 2]) -> Vec<Tile> {
    let info = &metrics.info;
    vec![
        own_latency_tile(metrics),
        servers(info),
        pool(work, browse),
        keys(info),
        expirations(metrics),
        fragmentation(info),
        peak(info),
        persistence(info),
        replication(info),
        errors(metrics),
        slow(metrics),
        lazy(info),
    ]
}

fn own_latency_tile(metrics: &RedisMetrics) -> Tile {
    let Some((p50, p95)) = own_latency(metrics) else {
        return Tile::new("Latency to Redis", "not sampled yet".into(), "")
            .line(format!("now {}", milliseconds(metrics.ping.as_secs_f64() * 1000.0)));
    };
    let tone = match p95 {
        100.0.. => Tone::Bad,
        10.0.. => Tone::Warn,
        _ => Tone::Ok,
    };
    Tile::new("Latency to Redis", format!("{p95:.2}"), "ms p95")
        .line(format!("p50 {}, now {}", milliseconds(p50), milliseconds(metrics.ping.as_secs_f64() * 1000.0)))
        .with_status(tone, "Slow")
        .with_explanation(
            "round trip of PING, last 60 samples",
            "measured by Larder",
            "If the server latency is low, the network is slow or this machine is busy.",
        )
}

fn servers(info: &Info) -> Tile {
    const PREFIX: &str = "latency_percentiles_usec_";
    let slowest = info.with_prefix(PREFIX).filter_map(|(command, value)| {
        let p99 = parts(value).find(|(name, _)| *name == "p99")?.1.parse::<f64>().ok()?;
        Some((command, p99 / 1000.0))
    });
    let Some((command, p99)) = slowest.max_by(|a, b| a.1.total_cmp(&b.1)) else { return Tile::not_available("Server latency") };
    Tile::new("Server latency", format!("{p99:.2}"), "ms p99")
        .line(format!("{}, the slowest command", command.replace('|', " ").to_uppercase()))
        .with_status(if p99 > 10.0 { Tone::Warn } else { Tone::Ok }, "Slow command")
        .with_explanation(
            "99th percentile of each command since startup; the slowest command is shown",
            "latency_percentiles_usec_*",
            "A slow command blocks all others. The slow log shows the command and its client.",
        )
}

fn pool(work: PoolUsage, browse: PoolUsage) -> Tile {
    Tile::new("Larder's connections", work.in_use.to_string(), "in use")
        .line(usage_text(work))
        .line(format!("for these pages: {}", usage_text(browse)))
        .with_status(if work.waiting > 0 { Tone::Warn } else { Tone::Ok }, "Waiting")
        .with_explanation(
            "connections of this process",
            "REDIS_POOL_SIZE",
            "Requests wait when all connections are in use: raise REDIS_POOL_SIZE.",
        )
}

fn keys(info: &Info) -> Tile {
    let of_databases =
        |part: &str| -> u64 { info.with_prefix("db").filter_map(|(db, _)| info.part(&format!("db{db}"), part)?.parse::<u64>().ok()).sum() };
    let (keys, expires) = (of_databases("keys"), of_databases("expires"));
    let endless = keys.saturating_sub(expires);
    let share = 100.0 * endless as f64 / keys.max(1) as f64;
    Tile::new("Keys", count_text(keys), "")
        .line(if keys == 0 { "none".to_owned() } else { format!("{} without an expiry", percent(share)) })
        .with_status(if keys >= 1000 && share > 50.0 { Tone::Note } else { Tone::Ok }, "No expiry")
        .with_explanation(
            "keys of all databases; 1 − keys with an expiry ÷ keys",
            "db0:keys, db0:expires",
            "In a cache, most keys should have an expiry. Keys without one remain until they are deleted or evicted.",
        )
}

fn expirations(metrics: &RedisMetrics) -> Tile {
    let stale = metrics.info.fraction("expired_stale_perc");
    let tile = Tile::new("Expirations", per_second(metrics.hour.rate(Counter::Expired)), "/s in the last hour");
    let tile = match stale {
        Some(stale) => tile.line(format!("{} expired but not yet removed", percent(stale))),
        None => tile,
    };
    tile.with_status(if stale.is_some_and(|stale| stale > 25.0) { Tone::Warn } else { Tone::Ok }, "Behind").with_explanation(
        "expired keys ÷ seconds",
        "expired_keys, expired_stale_perc",
        "Redis removes expired keys in the background. A high share means that expired keys still use memory.",
    )
}

fn fragmentation(info: &Info) -> Tile {
    let (Some(ratio), Some(bytes)) = (info.fraction("mem_fragmentation_ratio"), info.signed("mem_fragmentation_bytes")) else {
        return Tile::not_available("Fragmentation");
    };
    let used = info.number("used_memory").unwrap_or(0);
    let allocator = info.fraction("allocator_frag_ratio").zip(info.signed("allocator_frag_bytes"));
    let tile = Tile::new("Fragmentation", format!("{ratio:.2}"), "×");
    let tile = tile.line(format!("{} above used memory", memory_text(u64::try_from(bytes).unwrap_or(0))));
    let tile = match allocator {
        Some((ratio, bytes)) => tile.line(format!("allocator {ratio:.2}×, {}", memory_text(u64::try_from(bytes).unwrap_or(0)))),
        None => tile,
    };
    if used < MIN_MEMORY {
        return tile.line("too little data to evaluate").with_explanation(FORMULA, FIELDS, ADVICE);
    }
    let (tone, label) = if ratio < 1.0 && used > 64 << 20 {
        (Tone::Bad, "Swapping?")
    } else if (ratio > 1.4 && bytes > 10 * MIB) || allocator.is_some_and(|(ratio, bytes)| ratio > 1.1 && bytes > 10 * MIB) {
        (Tone::Warn, "High")
    } else {
        (Tone::Ok, "")
    };
    tile.with_status(tone, label).with_explanation(FORMULA, FIELDS, ADVICE)
}

const FORMULA: &str = "resident memory ÷ used memory";
const FIELDS: &str = "mem_fragmentation_ratio, mem_fragmentation_bytes, allocator_frag_ratio, allocator_frag_bytes";
const ADVICE: &str = "The allocator ratio is the more accurate one. If it is high, active defragmentation or a restart frees memory. A ratio below \
                      1 means that the system has swapped memory to disk, which makes Redis slow.";

fn peak(info: &Info) -> Tile {
    let Some(peak) = info.number("used_memory_peak") else { return Tile::not_available("Peak memory") };
    let used = info.number("used_memory").unwrap_or(0);
    let (value, unit) = crate::console::view::units::memory_parts(peak);
    let dataset = info.number("used_memory_dataset").zip(info.number("used_memory_overhead"));
    let tile = Tile::new("Peak memory", value, unit);
    let tile = match dataset {
        Some((data, overhead)) => tile.line(format!("now {} data, {} overhead", memory_text(data), memory_text(overhead))),
        None => tile,
    };
    let high = used >= MIN_MEMORY && peak > used + used / 2;
    tile.with_status(if high { Tone::Note } else { Tone::Ok }, "Was higher").with_explanation(
        "maximum since startup",
        "used_memory_peak, used_memory_dataset, used_memory_overhead",
        "A peak far above the current usage explains high fragmentation.",
    )
}

fn persistence(info: &Info) -> Tile {
    let Some(save) = info.text("rdb_last_bgsave_status") else { return Tile::not_available("Persistence") };
    let append_only = info.is("aof_enabled", "1");
    let write = info.text("aof_last_write_status").unwrap_or("ok");
    let rewrite = info.text("aof_last_bgrewrite_status").unwrap_or("ok");
    let fork = info.number("latest_fork_usec").unwrap_or(0);
    let bad = save != "ok" || (append_only && (write != "ok" || rewrite != "ok"));
    let value = if append_only { "append-only file" } else { "snapshots" };
    let tone = match (bad, fork > 1_000_000) {
        (true, _) => Tone::Bad,
        (false, true) => Tone::Warn,
        (false, false) => Tone::Ok,
    };
    Tile::new("Persistence", value.to_owned(), "")
        .line(format!("last snapshot {save}, last write {write}, last rewrite {rewrite}"))
        .line(format!("{} changes since the last snapshot", count_text(info.number("rdb_changes_since_last_save").unwrap_or(0))))
        .with_status(tone, if bad { "Not saved" } else { "Slow fork" })
        .with_explanation(
            "result of the last attempts",
            "rdb_last_bgsave_status, aof_enabled, aof_last_write_status, aof_last_bgrewrite_status, latest_fork_usec",
            "If saving fails, the disk is full or its permissions are wrong. A restart would lose all writes since the last save.",
        )
}

fn replication(info: &Info) -> Tile {
    if info.text("role").is_none() {
        return Tile::not_available("Replication");
    }
    let tile = if info.is_replica() {
        let link = info.text("master_link_status").unwrap_or("unknown");
        let ago = info.number("master_last_io_seconds_ago").unwrap_or(0);
        let lag =
            info.number("master_repl_offset").zip(info.number("slave_repl_offset")).map_or(0, |(master, own)| master.saturating_sub(own));
        let tone = if link != "up" || ago > 10 { Tone::Bad } else { Tone::Ok };
        Tile::new("Replication", "replica".into(), "")
            .line(format!("link {link}, last contact {ago} s ago, {} behind", memory_text(lag)))
            .with_status(tone, "Disconnected")
    } else {
        Tile::new("Replication", "primary".into(), "")
            .line(format!("{} replicas", count_text(info.number("connected_slaves").unwrap_or(0))))
    };
    tile.with_explanation(
        "the role, and the lag of a replica",
        "role, connected_slaves, master_link_status, master_last_io_seconds_ago, slave_repl_offset",
        "A disconnected replica returns outdated data.",
    )
}

fn errors(metrics: &RedisMetrics) -> Tile {
    let hour = metrics.hour.get(Counter::Errors);
    let mut kinds: Vec<(&str, u64)> = metrics
        .info
        .with_prefix("errorstat_")
        .filter_map(|(kind, value)| Some((kind, parts(value).find(|(name, _)| *name == "count")?.1.parse().ok()?)))
        .collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let tile = Tile::new("Errors", count_text(hour), "in the last hour");
    let tile = match kinds.as_slice() {
        [] => tile.line("none since startup"),
        kinds => {
            tile.line(kinds.iter().take(3).map(|(kind, count)| format!("{kind} {}", count_text(*count))).collect::<Vec<_>>().join(", "))
        }
    };
    let denied: u64 = metrics.info.with_prefix("acl_access_denied_").filter_map(|(_, count)| count.parse::<u64>().ok()).sum();
    tile.line(format!("{} denied by the ACL", count_text(denied))).with_explanation(
        "commands that returned an error",
        "total_error_replies, errorstat_*, acl_access_denied_*",
        "Some applications cause errors in normal operation (NOSCRIPT, BUSYGROUP). Investigate a rising number.",
    )
}

fn slow(metrics: &RedisMetrics) -> Tile {
    match &metrics.slow {
        Some(count) => Tile::new("Slow log", count_text(*count), if *count == 1 { "command" } else { "commands" })
            .line("most recent entries kept by the server")
            .with_explanation(
                "commands that took longer than slowlog-log-slower-than, 10 ms by default",
                "SLOWLOG LEN",
                "Check the slow log: a slow command blocks all others.",
            ),
        None => Tile::new("Slow log", "not permitted".into(), "").line("for the Redis user that Larder reads with"),
    }
}

fn lazy(info: &Info) -> Tile {
    let Some(pending) = info.number("lazyfree_pending_objects") else { return Tile::not_available("Pending deletions") };
    Tile::new("Pending deletions", count_text(pending), if pending == 1 { "object" } else { "objects" })
        .line("deleted, memory not yet freed")
        .with_explanation("objects that UNLINK frees in the background", "lazyfree_pending_objects", "Drops to 0 after a large deletion.")
}
