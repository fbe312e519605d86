//! Addresses of the three stores.

use super::{embedded, error, read, with};
use crate::config::Stores;
use crate::config::postgres_url::PostgresUrl;

#[test]
fn postgres_urls_are_checked() {
    for good in [
        "postgres://u@h/d",
        "postgresql://u:p@h:1/d?sslmode=require",
        "postgres:///d?host=%2Frun%2Fpg&user=u",
        "postgres://u@h/d?sslmode=verify-full&sslrootcert=/etc/ssl/db.pem",
    ] {
        assert!(with(&[("DATABASE_URL", good)]).is_ok(), "{good}");
    }
    for bad in ["mysql://u@h/d", "host=h user=u", "postgres://u@h:port/d", "postgres://u@h/d?sslmode=perhaps"] {
        assert!(error(&[("DATABASE_URL", bad)]).starts_with("DATABASE_URL "), "{bad}");
    }
}

#[test]
fn redis_urls_are_checked() {
    for good in ["redis://h", "redis://h:6380/3", "rediss://u:p@h/0", "redis://:p@[::1]:6379", "unix:///run/redis.sock"] {
        assert!(with(&[("REDIS_URL", good)]).is_ok(), "{good}");
    }
    for (bad, why) in [
        ("cache:6379", "is not a URL"),
        ("http://h", "begins with http://"),
        ("redis://", "has no host"),
        ("redis://:p@:6379", "has no host"),
        ("redis://h/cache", "not a database number"),
    ] {
        assert!(error(&[("REDIS_URL", bad)]).contains(why), "{bad}");
    }
}

#[test]
fn the_redis_password_is_added_to_a_url_without_one() {
    let url = |url, password| {
        let config = with(&[("REDIS_URL", url), ("REDIS_PASSWORD", password)]).unwrap();
        config.redis.url.reveal().to_owned()
    };
    assert_eq!(url("redis://h:6379/0", "p@ss/word"), "redis://:p%40ss%2Fword@h:6379/0");
    assert_eq!(url("redis://user@h:6379/0", "word"), "redis://user:word@h:6379/0");
    assert_eq!(url("redis://:own@h", "other"), "redis://:own@h");
    assert_eq!(url("unix:///run/redis.sock", "word"), "unix:///run/redis.sock?pass=word");
    assert_eq!(url("unix:///run/redis.sock?db=1", "word"), "unix:///run/redis.sock?db=1&pass=word");
}

#[test]
fn passwords_outside_the_urls_may_contain_any_character() {
    let password = r#"a/b&c" d'e#f%g\h$i?j=k@l:m"#;
    let outside = [
        ("DATABASE_URL", "postgres://larder@h:5432/larder?sslmode=require"),
        ("PGPASSWORD", password),
        ("REDIS_BROWSE_URL", "redis://larder-browse@h:6379/0"),
        ("REDIS_BROWSE_PASSWORD", password),
    ];
    let config = with(&outside).unwrap();
    let parsed = PostgresUrl::parse(config.database_url.reveal()).unwrap();
    assert_eq!(parsed.config.get_password(), Some(password.as_bytes()));
    assert_eq!(parsed.config.get_dbname(), Some("larder"));
    let browse = url::Url::parse(config.redis.browse_url.unwrap().reveal()).unwrap();
    let decoded = percent_encoding::percent_decode_str(browse.password().unwrap()).decode_utf8().unwrap();
    assert_eq!((browse.username(), &*decoded), ("larder-browse", password));
    // The password of the URL wins.
    let own = with(&[("DATABASE_URL", "postgres://larder:own@h/larder"), ("PGPASSWORD", "other")]).unwrap();
    assert_eq!(own.database_url.reveal(), "postgres://larder:own@h/larder");
}

#[test]
fn store_variables_are_ignored_with_embedded_servers() {
    let urls = embedded();
    let config = read(&[("DATABASE_URL", "nonsense"), ("REDIS_URL", "nonsense")], Stores::Embedded(&urls)).unwrap();
    assert_eq!(config.database_url.reveal(), urls.database_url);
    assert_eq!(config.redis.url.reveal(), urls.redis_url);
    assert_eq!(config.s3.endpoint, Some(urls.s3_endpoint));
    assert_eq!(config.s3.access_key_id, "embedded-key");
    assert_eq!(config.s3.secret_access_key.reveal(), "embedded-word");
}

#[test]
fn the_url_of_a_store_has_no_path() {
    let endpoint = |url| with(&[("S3_ENDPOINT_URL", url), ("S3_PUBLIC_URL", url)]).unwrap().s3;
    for (url, read) in [
        ("http://store:9000", "http://store:9000"),
        ("https://store/", "https://store"),
        ("https://store//", "https://store"),
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
    ] {
        assert_eq!((endpoint(url).endpoint.as_deref(), endpoint(url).public_url.as_deref()), (Some(read), Some(read)), "{url}");
    }
    for name in ["S3_ENDPOINT_URL", "S3_PUBLIC_URL"] {
        for (bad, why) in [
            ("https://store/s3", "has a path"),
            ("https://store/s3/", "has a path"),
            ("https://key:secret@store", "more than a scheme"),
            ("https://store?x=1", "more than a scheme"),
            ("store:9000", "is not an http"),
        ] {
            let error = error(&[(name, bad)]);
            assert!(error.starts_with(&format!("{name} ")) && error.contains(why), "{bad}: {error}");
        }
    }
}

#[test]
fn the_file_of_certificate_authorities_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem").display().to_string();
    let why = || error(&[("S3_CA_FILE", &path)]);
    assert!(why().contains("cannot be read"));
    std::fs::write(&path, "no certificate").unwrap();
    assert!(why().contains("contains no certificate"));
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(why().contains("invalid certificate"));
}
