//! Valid settings, and the messages for invalid ones.

mod stores;

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use super::{Config, ConfigErrors, EmbeddedUrls, Environment, LogFormat, Stores};

/// All that is required without `--embedded`.
const REQUIRED: [(&str, &str); 4] = [
    ("DATABASE_URL", "postgres://larder:word-of-postgres@db.example:5432/larder"),
    ("REDIS_URL", "redis://cache.example:6379/0"),
    ("AWS_ACCESS_KEY_ID", "key"),
    ("AWS_SECRET_ACCESS_KEY", "word-of-s3"),
];

fn read(variables: &[(&str, &str)], stores: Stores<'_>) -> Result<Config, ConfigErrors> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    Config::from_lookup(&|name| variables.get(name).map(ToString::to_string), stores)
}

/// The required variables and others.
fn with(more: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let mut variables = REQUIRED.to_vec();
    variables.extend_from_slice(more);
    read(&variables, Stores::FromEnvironment)
}

/// The only error that `more` causes.
#[track_caller]
fn error(more: &[(&str, &str)]) -> String {
    let mut errors = with(more).expect_err("an error").0;
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn embedded() -> EmbeddedUrls {
    EmbeddedUrls {
        database_url: "postgres:///larder?host=%2Frun&user=larder".into(),
        redis_url: "unix:///run/redis.sock?pass=word".into(),
        s3_endpoint: "http://127.0.0.1:20000".into(),
        s3_access_key_id: "embedded-key".into(),
        s3_secret_access_key: "embedded-word".into(),
    }
}

#[test]
fn the_defaults_match_the_documentation() {
    let config = with(&[]).unwrap();
    assert_eq!(config.environment, Environment::Development);
    assert_eq!(config.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.public_url, None);
    assert_eq!(config.data_dir.to_str(), Some("./data"));
    assert_eq!(config.redis.pool_size, 10);
    assert_eq!(config.redis.timeout, Duration::from_secs(5));
    assert_eq!(config.redis.prefix, "");
    assert_eq!(config.s3.buckets, ["sme-files"]);
    assert_eq!(config.s3.region, "us-east-1");
    assert_eq!(config.s3.endpoint, None, "empty means AWS");
    assert_eq!(config.upload.memory, 128 << 20);
    assert_eq!(config.upload.lease, Duration::from_secs(900));
    assert_eq!(config.upload.keep, Duration::from_secs(7 * 86_400));
    assert!(config.migrate_on_start);
    assert!(!config.read_only);
    assert_eq!(config.rate_limit_per_minute, 600);
    assert_eq!(config.log_format, LogFormat::Text);
    assert!(config.qdrant_url.is_none() && config.litellm_url.is_none() && config.litellm_models.is_empty());
}

#[test]
fn every_missing_store_variable_is_named_in_one_message() {
    let errors = read(&[], Stores::FromEnvironment).unwrap_err();
    assert_eq!(errors.0.len(), 4, "{errors}");
    let message = errors.to_string();
    for (name, _) in REQUIRED {
        assert!(message.contains(&format!("- {name} is missing")), "{message}");
        assert!(message.contains(&format!("{name}=")) || message.contains(&format!("{name}_FILE=")), "no example: {message}");
    }
    assert!(message.contains("MINIO_ROOT_USER") && message.contains("--embedded"), "{message}");
}

#[test]
fn errors_of_different_kinds_are_reported_together() {
    let errors = with(&[
        ("BIND", "localhost"),
        ("REDIS_POOL_SIZE", "0"),
        ("UPLOAD_MEMORY", "lots"),
        ("APP_ENV", "staging"),
        ("LOG_FORMAT", "xml"),
        ("MIGRATE_ON_START", "perhaps"),
        ("TRUSTED_PROXIES", "10.0.0.1, proxy"),
        ("S3_BUCKETS", "ok-bucket,Not_A_Bucket"),
        ("QDRANT_URL", "qdrant:6333"),
    ])
    .unwrap_err();
    let message = errors.to_string();
    assert_eq!(errors.0.len(), 9, "{message}");
    for part in ["\"localhost\"", "0, outside 1 to 10000", "\"lots\"", "\"staging\"", "\"xml\"", "\"perhaps\"", "\"proxy\"", "Not_A_Bucket"]
    {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert!(errors.0.iter().all(|error| error.contains(". Example: ")), "{message}");
}

#[test]
fn names_used_by_other_applications_are_accepted() {
    let config = read(
        &[
            REQUIRED[0],
            REQUIRED[1],
            ("REDIS_MAX_CONNECTIONS", "7"),
            ("MINIO_URL", "http://minio:9000/"),
            ("MINIO_ROOT_USER", "root"),
            ("MINIO_SECRET_KEY", "word"),
            ("MINIO_BUCKET_NAME", "one, two-2"),
        ],
        Stores::FromEnvironment,
    )
    .unwrap();
    assert_eq!(config.redis.pool_size, 7);
    assert_eq!(config.s3.endpoint.as_deref(), Some("http://minio:9000"));
    assert_eq!(config.s3.access_key_id, "root");
    assert_eq!(config.s3.secret_access_key.reveal(), "word");
    assert_eq!(config.s3.buckets, ["one", "two-2"]);
}

#[test]
fn two_names_of_one_setting_must_not_differ() {
    assert!(with(&[("MINIO_ACCESS_KEY", "key")]).is_ok());
    let error = error(&[("MINIO_ACCESS_KEY", "other")]);
    assert!(error.contains("AWS_ACCESS_KEY_ID and MINIO_ACCESS_KEY"), "{error}");
}

#[test]
fn a_secret_may_come_from_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "from a file").unwrap();
    let path = file.path().to_str().unwrap();
    let config = with(&[("AWS_SECRET_ACCESS_KEY", ""), ("AWS_SECRET_ACCESS_KEY_FILE", path), ("METRICS_TOKEN_FILE", path)]).unwrap();
    assert_eq!(config.s3.secret_access_key.reveal(), "from a file", "without the line's end");
    assert_eq!(config.metrics_token.unwrap().reveal(), "from a file");

    let both = error(&[("AWS_SECRET_ACCESS_KEY_FILE", path)]);
    assert!(both.contains("AWS_SECRET_ACCESS_KEY and AWS_SECRET_ACCESS_KEY_FILE are both set"), "{both}");
    let unreadable = error(&[("METRICS_TOKEN_FILE", "/no/such/file")]);
    assert!(unreadable.contains("METRICS_TOKEN_FILE") && unreadable.contains("/no/such/file"), "{unreadable}");
}

#[test]
fn secrets_are_never_printed() {
    let config = with(&[
        ("REDIS_PASSWORD", "word-of-redis"),
        ("AWS_SESSION_TOKEN", "word-of-session"),
        ("METRICS_TOKEN", "word-of-metrics"),
        ("LITELLM_URL", "http://127.0.0.1:4000"),
        ("LITELLM_MASTER_KEY", "word-of-litellm"),
        ("QDRANT_API_KEY", "word-of-qdrant"),
        ("ADMIN_EMAIL", "you@example.com"),
        ("ADMIN_PASSWORD", "word-of-admin"),
    ])
    .unwrap();
    let printed = format!("{config:?} {config:#?}");
    assert!(printed.contains("[secret]"));
    assert!(!printed.contains("word-of"), "{printed}");

    let errors = with(&[
        ("DATABASE_URL", "mysql://u:word-of-mysql@h/d"),
        ("REDIS_URL", "http://:word-of-redis@h"),
        ("ADMIN_EMAIL", "you@example.com"),
        ("ADMIN_PASSWORD", "word-of"),
        ("LITELLM_URL", "word-of-litellm"),
        ("QDRANT_URL", "http://me:word-of-qdrant@h"),
    ]);
    let message = errors.unwrap_err().to_string();
    assert!(message.contains("ADMIN_PASSWORD is shorter") && !message.contains("word-of"), "{message}");
}

#[test]
fn sizes_have_units() {
    let memory = |value| with(&[("UPLOAD_MEMORY", value)]).map(|config| config.upload.memory);
    assert_eq!(memory("33554432"), Ok(32 << 20));
    assert_eq!(memory("64MiB"), Ok(64 << 20));
    assert_eq!(memory("1 gib"), Ok(1 << 30));
    assert_eq!(memory("100MB"), Ok(100_000_000));
    for bad in ["64 miles", "-1", "1.5GiB", "MiB", "99999999999TiB"] {
        assert!(error(&[("UPLOAD_MEMORY", bad)]).contains("not a size"), "{bad}");
    }
    assert!(error(&[("UPLOAD_MEMORY", "1MiB")]).contains("less than"));
    assert_eq!(with(&[("UPLOAD_MAX_SIZE", "2TiB")]).unwrap().upload.max_size, 2 << 40);
}

#[test]
fn production_requires_the_public_url() {
    assert!(error(&[("APP_ENV", "production")]).starts_with("PUBLIC_URL is required"));
    let config = with(&[("APP_ENV", "production"), ("PUBLIC_URL", "https://larder.example.com/")]).unwrap();
    assert_eq!(config.origin(), Some("https://larder.example.com"));
    assert!(config.is_https());
    assert!(config.warnings()[0].contains("REDIS_PASSWORD"));
    assert!(config.warnings()[1].contains("REDIS_BROWSE_URL"));
    assert!(config.warnings()[2].contains("TRUSTED_PROXIES"));
    let guarded = [
        ("APP_ENV", "production"),
        ("PUBLIC_URL", "https://larder.example.com"),
        ("REDIS_PASSWORD", "word"),
        ("REDIS_BROWSE_URL", "redis://larder-browse:word@cache.example:6379/0"),
        ("TRUSTED_PROXIES", "10.0.0.2"),
    ];
    assert!(with(&guarded).unwrap().warnings().is_empty());
}

#[test]
fn each_instance_on_a_host_has_its_own_cookies() {
    for (url, bind, name) in [
        ("http://host.example:9000", "127.0.0.1:8080", "larder-9000"),
        ("http://host.example", "127.0.0.1:8080", "larder-80"),
        ("http://[2001:db8::8080]", "127.0.0.1:8080", "larder-80"),
        ("https://host.example", "127.0.0.1:8080", "__Host-larder"),
        ("https://host.example:8443", "127.0.0.1:8080", "__Host-larder-8443"),
    ] {
        assert_eq!(with(&[("PUBLIC_URL", url), ("BIND", bind)]).unwrap().cookie_name("larder"), name, "{url} {bind}");
    }
    // Replicas listen on different ports and share the database.
    let name = |bind, database| with(&[("BIND", bind), ("DATABASE_URL", database)]).unwrap().cookie_name("larder");
    let (first, second) = ("postgres://larder@127.0.0.1/first", "postgres://larder@127.0.0.1/second");
    assert_eq!(name("127.0.0.1:8080", first), name("[::1]:8081", first));
    assert_ne!(name("127.0.0.1:8080", first), name("127.0.0.1:8080", second));
}

#[test]
fn the_public_url_is_an_origin() {
    assert!(error(&[("PUBLIC_URL", "https://example.com/larder")]).contains("has a path"));
    for bad in ["larder.example.com", "ftp://larder.example.com", "https://", "https:///x", "https://a b"] {
        assert!(error(&[("PUBLIC_URL", bad)]).starts_with("PUBLIC_URL "), "{bad}");
    }
    assert!(!with(&[("PUBLIC_URL", "http://larder.example.com")]).unwrap().is_https());
    for (url, origin) in [
        ("https://x.example:443", "https://x.example"),
        ("http://x.example:80/", "http://x.example"),
        ("https://x.example:80", "https://x.example:80"),
        ("HTTPS://Larder.Example.COM:8443", "https://larder.example.com:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://BÜCHER.example:443/", "https://xn--bcher-kva.example"),
        ("http://[2001:DB8::1]:8080", "http://[2001:db8::1]:8080"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ] {
        assert_eq!(with(&[("PUBLIC_URL", url)]).unwrap().origin(), Some(origin), "{url}");
    }
    for bad in ["https://me@x.example", "https://x.example?a", "https://x.example/#a"] {
        assert!(error(&[("PUBLIC_URL", bad)]).contains("more than a scheme"), "{bad}");
    }
}

#[test]
fn service_urls_and_model_names_are_checked() {
    for bad in ["http://me:word@qdrant:6333", "http://me@qdrant", "http://qdrant?x=y", "http://qdrant/#x"] {
        let error = error(&[("QDRANT_URL", bad)]);
        assert!(error.starts_with("QDRANT_URL contains a "), "{error}");
    }
    assert_eq!(with(&[("LITELLM_URL", "https://models/behind/a@b/")]).unwrap().litellm_url.as_deref(), Some("https://models/behind/a@b"));
    let models = with(&[("LITELLM_MODELS", " chat, embedding ,,chat,")]).unwrap().litellm_models;
    assert_eq!(models, ["chat", "embedding"]);
}

#[test]
fn the_first_admin_requires_an_address_and_a_password() {
    assert!(error(&[("ADMIN_EMAIL", "you@example.com")]).starts_with("ADMIN_PASSWORD is missing"));
    assert!(error(&[("ADMIN_PASSWORD", "long enough to be one")]).starts_with("ADMIN_EMAIL is missing"));
    let admin = with(&[("ADMIN_EMAIL", "you@example.com"), ("ADMIN_PASSWORD", "long enough to be one")]).unwrap().first_admin.unwrap();
    assert_eq!(admin.email, "you@example.com");
    assert_eq!(admin.password.reveal(), "long enough to be one");
}

#[test]
fn blank_is_unset_and_flags_have_three_spellings() {
    let config = with(&[("BIND", "  "), ("QDRANT_URL", ""), ("READ_ONLY", "yes"), ("MIGRATE_ON_START", "0")]).unwrap();
    assert_eq!(config.bind.port(), 8080);
    assert!(config.read_only && !config.migrate_on_start);
}

#[test]
fn numbers_are_limited_to_a_range() {
    for (name, value) in
        [("REDIS_SOCKET_TIMEOUT", "0"), ("REDIS_SOCKET_TIMEOUT", "NaN"), ("UPLOAD_LEASE_SECONDS", "1"), ("UPLOAD_KEEP_DAYS", "400")]
    {
        assert!(error(&[(name, value)]).contains("outside"), "{name}={value}");
    }
    assert_eq!(with(&[("REDIS_SOCKET_TIMEOUT", "0.25")]).unwrap().redis.timeout, Duration::from_millis(250));
}

/// The file that operators copy names every variable, and its values are valid.
#[test]
fn the_example_file_is_complete_and_valid() {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example")).unwrap();
    let reader = include_str!("read.rs").to_owned() + include_str!("../config.rs");
    let names = reader.split('"').filter(|word| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c == '3'));
    for name in names {
        assert!(file.contains(name), "{name} is not in .env.example");
    }
    let lines = file.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).filter_map(|line| line.split_once('='));
    let set: HashMap<String, String> = lines
        .filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c == '3') && !name.ends_with("_FILE"))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect();
    Config::from_lookup(&|name| set.get(name).cloned(), Stores::FromEnvironment).unwrap();
}
