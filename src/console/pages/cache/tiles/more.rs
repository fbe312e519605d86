//! The figures below the first five.

use super::{RedisMetrics, Tile, Tone, milliseconds, own_latency, per_second, usage_text};
use crate::console::pages::cache::metrics::percent;
use crate::console::units::{count_text, memory_text};
use crate::domain::redis_metrics::Counter;
use crate::stores::redis::{Info, Usage, parts};

const MIB: i64 = 1 << 20;
/// MEMORY DOCTOR does not judge less data than this.
const ENOUGH_MEMORY: u64 = 5 << 20;

pub fn more(metrics: &RedisMetrics, [work, browse]: [Usage; 2]) -> Vec<Tile> {
    let info = &metrics.info;
    vec![
        own(metrics),
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

fn own(metrics: &RedisMetrics) -> Tile {
    let Some((p50, p95)) = own_latency(metrics) else {
        return Tile::new("Latency from here", "not sampled yet".into(), "")
            .line(format!("just now {}", milliseconds(metrics.ping.as_secs_f64() * 1000.0)));
    };
    let tone = match p95 {
        100.0.. => Tone::Bad,
        10.0.. => Tone::Warn,
        _ => Tone::Ok,
    };
    Tile::new("Latency from here", format!("{p95:.2}"), "ms p95")
        .line(format!("p50 {}, just now {}", milliseconds(p50), milliseconds(metrics.ping.as_secs_f64() * 1000.0)))
        .with_status(tone, "Slow")
        .with_explanation(
            "PING, there and back, of the last 60 samples",
            "measured by Larder",
            "Where the server itself is fast (see beside), the way to it is slow, or this machine is busy.",
        )
}

fn servers(info: &Info) -> Tile {
    const PREFIX: &str = "latency_percentiles_usec_";
    let slowest = info.with_prefix(PREFIX).filter_map(|(command, value)| {
        let p99 = parts(value).find(|(name, _)| *name == "p99")?.1.parse::<f64>().ok()?;
        Some((command, p99 / 1000.0))
    });
    let Some((command, p99)) = slowest.max_by(|a, b| a.1.total_cmp(&b.1)) else { return Tile::not_available("Latency of the server") };
    Tile::new("Latency of the server", format!("{p99:.2}"), "ms p99")
        .line(format!("{}, the slowest command", command.replace('|', " ").to_uppercase()))
        .with_status(if p99 > 10.0 { Tone::Warn } else { Tone::Ok }, "Slow command")
        .with_explanation(
            "the 99th percentile of each command since the server's start; the largest is shown",
            "latency_percentiles_usec_*",
            "One slow command holds up all others. The slow log names it and who sent it.",
        )
}

fn pool(work: Usage, browse: Usage) -> Tile {
    Tile::new("Larder's connections", work.in_use.to_string(), "in use")
        .line(usage_text(work))
        .line(format!("for these pages: {}", usage_text(browse)))
        .with_status(if work.waiting > 0 { Tone::Warn } else { Tone::Ok }, "Waiting")
        .with_explanation(
            "connections of this process",
            "REDIS_POOL_SIZE",
            "Callers wait when all connections are in use: raise REDIS_POOL_SIZE.",
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
        .with_status(if keys >= 1000 && share > 50.0 { Tone::Note } else { Tone::Ok }, "Kept for ever")
        .with_explanation(
            "keys of all databases; 1 − keys with an expiry ÷ keys",
            "db0:keys, db0:expires",
            "In a cache most keys should expire by themselves. What has no expiry stays until it is deleted, or evicted.",
        )
}

fn expirations(metrics: &RedisMetrics) -> Tile {
    let stale = metrics.info.fraction("expired_stale_perc");
    let tile = Tile::new("Expirations", per_second(metrics.hour.rate(Counter::Expired)), "/s in the hour");
    let tile = match stale {
        Some(stale) => tile.line(format!("{} expired and not yet removed", percent(stale))),
        None => tile,
    };
    tile.with_status(if stale.is_some_and(|stale| stale > 25.0) { Tone::Warn } else { Tone::Ok }, "Behind").with_explanation(
        "keys whose end came ÷ seconds",
        "expired_keys, expired_stale_perc",
        "Redis removes what has expired beside its work. Where much of it waits, memory is held by what nobody can read.",
    )
}

fn fragmentation(info: &Info) -> Tile {
    let (Some(ratio), Some(bytes)) = (info.fraction("mem_fragmentation_ratio"), info.signed("mem_fragmentation_bytes")) else {
        return Tile::not_available("Fragmentation");
    };
    let used = info.number("used_memory").unwrap_or(0);
    let allocator = info.fraction("allocator_frag_ratio").zip(info.signed("allocator_frag_bytes"));
    let tile = Tile::new("Fragmentation", format!("{ratio:.2}"), "×");
    let tile = tile.line(format!("{} beyond what is used", memory_text(u64::try_from(bytes).unwrap_or(0))));
    let tile = match allocator {
        Some((ratio, bytes)) => tile.line(format!("of the allocator {ratio:.2}×, {}", memory_text(u64::try_from(bytes).unwrap_or(0)))),
        None => tile,
    };
    if used < ENOUGH_MEMORY {
        return tile.line("too little data to judge").with_explanation(FORMULA, FIELDS, ADVICE);
    }
    let (tone, words) = if ratio < 1.0 && used > 64 << 20 {
        (Tone::Bad, "Swapped out?")
    } else if (ratio > 1.4 && bytes > 10 * MIB) || allocator.is_some_and(|(ratio, bytes)| ratio > 1.1 && bytes > 10 * MIB) {
        (Tone::Warn, "High")
    } else {
        (Tone::Ok, "")
    };
    tile.with_status(tone, words).with_explanation(FORMULA, FIELDS, ADVICE)
}

const FORMULA: &str = "memory that the system gave ÷ memory that is used";
const FIELDS: &str = "mem_fragmentation_ratio, mem_fragmentation_bytes, allocator_frag_ratio, allocator_frag_bytes";
const ADVICE: &str = "The allocator's figure is the true one. Where it is high, active defragmentation or a restart gives the memory back. Below 1 \
                      the system has put a part of it out to disk, and Redis is slow.";

fn peak(info: &Info) -> Tile {
    let Some(peak) = info.number("used_memory_peak") else { return Tile::not_available("Peak memory") };
    let used = info.number("used_memory").unwrap_or(0);
    let (value, unit) = crate::console::units::memory_parts(peak);
    let dataset = info.number("used_memory_dataset").zip(info.number("used_memory_overhead"));
    let tile = Tile::new("Peak memory", value, unit);
    let tile = match dataset {
        Some((data, overhead)) => tile.line(format!("now {} data, {} overhead", memory_text(data), memory_text(overhead))),
        None => tile,
    };
    let high = used >= ENOUGH_MEMORY && peak > used + used / 2;
    tile.with_status(if high { Tone::Note } else { Tone::Ok }, "Was higher").with_explanation(
        "the most since the server's start",
        "used_memory_peak, used_memory_dataset, used_memory_overhead",
        "A peak far above what is used now is a reason for high fragmentation.",
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
            "what the last attempts came to",
            "rdb_last_bgsave_status, aof_enabled, aof_last_write_status, aof_last_bgrewrite_status, latest_fork_usec",
            "Where saving fails, the disk is full or its rights are wrong: a restart now would lose what was written since.",
        )
}

fn replication(info: &Info) -> Tile {
    let Some(role) = info.text("role") else { return Tile::not_available("Replication") };
    let tile = if role == "slave" {
        let link = info.text("master_link_status").unwrap_or("not known");
        let ago = info.number("master_last_io_seconds_ago").unwrap_or(0);
        let lag =
            info.number("master_repl_offset").zip(info.number("slave_repl_offset")).map_or(0, |(master, own)| master.saturating_sub(own));
        let tone = if link != "up" || ago > 10 { Tone::Bad } else { Tone::Ok };
        Tile::new("Replication", "replica".into(), "")
            .line(format!("link {link}, heard {ago} s ago, {} behind", memory_text(lag)))
            .with_status(tone, "Cut off")
    } else {
        Tile::new("Replication", "primary".into(), "")
            .line(format!("{} replicas", count_text(info.number("connected_slaves").unwrap_or(0))))
    };
    tile.with_explanation(
        "the role, and how far a replica is behind",
        "role, connected_slaves, master_link_status, master_last_io_seconds_ago, slave_repl_offset",
        "A replica that is cut off answers with what it had then.",
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
    let tile = Tile::new("Errors", count_text(hour), "in the hour");
    let tile = match kinds.as_slice() {
        [] => tile.line("none since its start"),
        kinds => {
            tile.line(kinds.iter().take(3).map(|(kind, count)| format!("{kind} {}", count_text(*count))).collect::<Vec<_>>().join(", "))
        }
    };
    let denied: u64 = metrics.info.with_prefix("acl_access_denied_").filter_map(|(_, count)| count.parse::<u64>().ok()).sum();
    tile.line(format!("{} refused by the access list", count_text(denied))).with_explanation(
        "commands that were answered with an error",
        "total_error_replies, errorstat_*, acl_access_denied_*",
        "Some programs use errors in their daily work (NOSCRIPT, BUSYGROUP). A number that climbs is worth a look.",
    )
}

fn slow(metrics: &RedisMetrics) -> Tile {
    match &metrics.slow {
        Ok(count) => Tile::new("Slow log", count_text(*count), if *count == 1 { "command" } else { "commands" })
            .line("kept by the server, the newest ones")
            .with_explanation(
                "commands that took longer than slowlog-log-slower-than, 10 ms by default",
                "SLOWLOG LEN",
                "Look at them: one slow command holds up all others.",
            ),
        Err(_) => Tile::new("Slow log", "not permitted".into(), "").line("to the user that Larder looks at Redis with"),
    }
}

fn lazy(info: &Info) -> Tile {
    let Some(pending) = info.number("lazyfree_pending_objects") else { return Tile::not_available("Being freed") };
    Tile::new("Being freed", count_text(pending), if pending == 1 { "object" } else { "objects" })
        .line("deleted, their memory is not given back yet")
        .with_explanation(
            "objects that UNLINK left to a thread of its own",
            "lazyfree_pending_objects",
            "After a large deletion it counts down to 0.",
        )
}
