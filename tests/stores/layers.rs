//! Layering rules: each server's crate is used only by its own module, and imports point only to lower layers.

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

#[test]
fn each_layer_uses_only_its_own_crates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(found.len() > 50);
    let rules: [(&str, &[&str]); 11] = [
        ("aws_sdk_s3", &["stores/s3"]),
        ("deadpool::managed", &["stores/redis"]),
        ("redis::cmd", &["stores/redis"]),
        ("reqwest", &["stores/http"]),
        ("actix_", &["console", "api", "app"]),
        ("askama", &["console"]),
        ("crate::console", &["console", "api", "app"]),
        ("crate::api", &["api", "app"]),
        ("crate::domain", &["domain", "console", "api", "app", "cli", "config/read"]),
        ("crate::app", &["app", "cli", "main"]),
        ("std::env::var(", &["config"]),
    ];
    for (path, text) in &found {
        let place = path.strip_prefix(&root).unwrap().to_str().unwrap();
        for (name, layers) in rules {
            let allowed = layers.iter().any(|floor| place.starts_with(floor));
            assert!(allowed || !text.contains(name), "{place} uses {name}, which belongs to {layers:?}");
        }
    }
}
