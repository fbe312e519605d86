//! Commands that Larder never sends to a Redis that other applications use.

use crate::{Source, sources};

/// No command that stops or empties a server.
#[test]
fn no_harmful_redis_command_is_used() {
    let found: Vec<&Source> = sources().iter().filter(|source| source.place.starts_with("stores/redis")).collect();
    assert!(found.len() > 5);
    for Source { place, text, .. } in found {
        for command in
            ["KEYS", "MONITOR", "FLUSHALL", "FLUSHDB", "DEBUG", "SORT", "SAVE", "BGSAVE", "SHUTDOWN", "SWAPDB", "HGETALL", "SMEMBERS"]
        {
            assert!(!text.contains(&format!("\"{command}\"")), "{} uses {command}", place.display());
        }
        assert!(!text.contains("\"SET\")") || !text.contains("\"CONFIG\").arg(\"SET\")"), "{}", place.display());
    }
}
