//! Commands that Larder never sends to a Redis that other applications use.

use std::path::{Path, PathBuf};

fn sources(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// No command that stops or empties a server.
#[test]
fn no_harmful_redis_command_is_used() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stores/redis"), &mut found);
    assert!(found.len() > 5);
    for (path, text) in &found {
        for command in
            ["KEYS", "MONITOR", "FLUSHALL", "FLUSHDB", "DEBUG", "SORT", "SAVE", "BGSAVE", "SHUTDOWN", "SWAPDB", "HGETALL", "SMEMBERS"]
        {
            assert!(!text.contains(&format!("\"{command}\"")), "{} uses {command}", path.display());
        }
        assert!(!text.contains("\"SET\")") || !text.contains("\"CONFIG\").arg(\"SET\")"), "{}", path.display());
    }
}
