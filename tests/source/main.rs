//! What the sources must keep to: imports point to lower layers only, each server's crate has one place (the rules of
//! docs/architecture.md), and texts use the terms of the field.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod cycles;
mod language;
mod paths;
mod redis_commands;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use paths::Named;

struct Source {
    /// Below `src`.
    place: PathBuf,
    text: String,
    named: Vec<Named>,
}

/// The files below `directory` whose names end in one of these extensions.
fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let (mut directories, mut found) = (vec![directory.to_owned()], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted)) {
                found.push(path);
            }
        }
    }
    found
}

/// Every source file, read and parsed once.
fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let read = |path: PathBuf| {
            let place = path.strip_prefix(&root).unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let named = paths::named(&paths::module(&place), &text);
            Source { place, text, named }
        };
        files(&root, &["rs"]).into_iter().map(read).collect()
    });
    assert!(SOURCES.len() > 200);
    &SOURCES
}

/// Whether the file `place` is the module `layer` or below it, such as `console/view` for `console/view/units.rs`.
fn is_part(place: &Path, layer: &str) -> bool {
    place.with_extension("").starts_with(layer)
}

/// Layer, and what it may name of this crate besides itself.
const LAYERS: [(&str, &[&str]); 16] = [
    ("main", &["cli", "config"]),
    ("cli", &["app", "domain", "stores", "embedded", "config", "clock"]),
    ("app", &["console", "api", "domain", "stores", "embedded", "config", "clock", "meter", "ready"]),
    ("console", &["domain", "config", "clock", "meter", "percentile", "ready", "utf8"]),
    ("api", &["console::http", "console::routes", "console::Route", "console::Access", "domain", "config", "clock", "meter", "ready"]),
    ("embedded", &["config", "clock"]),
    ("domain", &["stores", "schema", "config", "clock", "percentile", "utf8"]),
    ("stores", &["config", "clock", "utf8"]),
    ("config", &["clock"]),
    ("meter", &["percentile"]),
    ("percentile", &[]),
    ("utf8", &[]),
    ("ready", &[]),
    ("clock", &[]),
    ("schema", &[]),
    ("lib", &[]),
];

#[test]
fn each_layer_imports_only_lower_layers() {
    let mut broken = Vec::new();
    for Source { place, named, .. } in sources() {
        let (layer, allowed) = LAYERS.iter().find(|(layer, _)| is_part(place, layer)).unwrap_or_else(|| panic!("{place:?} has no layer"));
        let own = format!("crate::{layer}");
        for named in named.iter().filter(|named| named.is_in("crate") && named.path != "crate") {
            if !named.is_in(&own) && !allowed.iter().any(|lower| named.is_in(&format!("crate::{lower}"))) {
                broken.push(format!("{} names {}", place.display(), named.path));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

/// Part of a layer, and what it must not name.
const PARTS: [(&str, &[&str]); 3] = [
    ("console/http", &["crate::console::pages", "crate::console::samples"]),
    ("console/view", &["crate::console::http", "crate::console::pages", "crate::console::samples"]),
    ("api", &["crate::console::http::session"]),
];

#[test]
fn parts_of_the_console_do_not_depend_on_pages() {
    let mut broken = Vec::new();
    for Source { place, named, .. } in sources() {
        for (_, forbidden) in PARTS.iter().filter(|(part, _)| is_part(place, part)) {
            for named in named.iter().filter(|named| forbidden.iter().any(|forbidden| named.is_in(forbidden))) {
                broken.push(format!("{} names {}", place.display(), named.path));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

#[test]
fn pages_do_not_import_pages() {
    let pages = "crate::console::pages";
    let modules: Vec<String> = sources()
        .iter()
        .filter_map(|source| Some(source.place.strip_prefix("console/pages").ok()?.with_extension("").iter().next()?.to_str()?.to_owned()))
        .collect();
    let mut broken = Vec::new();
    for Source { place, named, .. } in sources() {
        let Ok(below) = place.strip_prefix("console/pages") else { continue };
        let own = below.with_extension("").iter().next().unwrap().to_str().unwrap().to_owned();
        for other in modules.iter().filter(|other| **other != own) {
            for named in named.iter().filter(|named| named.is_in(&format!("{pages}::{other}"))) {
                broken.push(format!("{} names {}", place.display(), named.path));
            }
        }
    }
    broken.dedup();
    assert_eq!(broken, [""; 0]);
}

/// Crate, and the only modules that may name it.
const CRATES: [(&str, &[&str]); 13] = [
    ("aws_sdk_s3", &["stores/s3"]),
    ("aws_smithy_types", &["stores/s3"]),
    ("aws_smithy_http_client", &["stores/s3"]),
    ("redis", &["stores/redis"]),
    ("deadpool_redis", &["stores/redis"]),
    ("deadpool", &["stores/redis", "stores/postgres", "stores/pool_usage"]),
    // The embedded server is asked for its readiness before any pool exists; the URL is read with the library's own parser.
    ("tokio_postgres", &["stores/postgres", "embedded/postgres", "config/postgres_url"]),
    ("reqwest", &["stores/http"]),
    ("actix_web", &["console", "api", "app"]),
    ("actix_files", &["console"]),
    ("askama", &["console"]),
    ("clap", &["cli"]),
    ("dotenvy", &["config", "cli", "main"]),
];

#[test]
fn each_crate_of_a_server_has_one_place() {
    let mut broken = Vec::new();
    let children: Vec<PathBuf> = sources().iter().map(|source| source.place.with_extension("")).collect();
    for Source { place, named, .. } in sources() {
        for (name, allowed) in CRATES {
            // Not the crate but a module of this name: imported, or a child of this one.
            let imported = named.iter().any(|named| named.path != name && named.path.ends_with(&format!("::{name}")));
            let imported = imported || children.contains(&place.with_extension("").join(name));
            for named in named.iter().filter(|named| named.is_in(name) && !imported) {
                if !allowed.iter().any(|allowed| is_part(place, allowed)) {
                    broken.push(format!("{} names {}", place.display(), named.path));
                }
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

/// Plain data of a server that the domain passes on unchanged. What does something stays in `stores`.
const PASSED_ON: [&str; 25] = [
    "connect_error::ErrorClass",
    "litellm::ModelCheck",
    "pool_usage::PoolUsage",
    "postgres::known_migrations",
    "postgres::probe::ServerState",
    "postgres::probe::Writes",
    "redis::BYTES",
    "redis::Client",
    "redis::Cost",
    "redis::Described",
    "redis::Elements",
    "redis::Info",
    "redis::Page",
    "redis::Pairs",
    "redis::PendingEntry",
    "redis::StreamGroup",
    "redis::Ttl",
    "redis::literal",
    "redis::parts",
    "s3::Abilities",
    "s3::Ability",
    "s3::KeyRules",
    "s3::OpenMarker",
    "s3::Probed",
    "s3::Versioning",
];

#[test]
fn the_domain_passes_on_only_plain_data_of_the_stores() {
    let mut passed_on: Vec<String> = Vec::new();
    for source in sources().iter().filter(|source| is_part(&source.place, "domain")) {
        let stores = source.named.iter().filter(|named| named.reexported && named.is_in("crate::stores"));
        passed_on.extend(stores.map(|named| named.path.trim_start_matches("crate::stores::").to_owned()));
    }
    passed_on.sort();
    passed_on.dedup();
    assert_eq!(passed_on, PASSED_ON);
}

#[test]
fn only_the_configuration_reads_the_environment() {
    for Source { place, named, .. } in sources() {
        let reads =
            named.iter().any(|named| ["std::env::var", "std::env::var_os", "std::env::vars", "env::var"].contains(&named.path.as_str()));
        // DISPLAY and PATH describe the machine; they configure nothing.
        let allowed = ["config", "cli/announce", "embedded/programs"].iter().any(|allowed| is_part(place, allowed));
        assert!(!reads || allowed, "{} reads the environment", place.display());
    }
}
