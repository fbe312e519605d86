//! The variables of Postgres, Redis and S3.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Reader;
use crate::config::postgres_url::{self, PostgresUrl};
use crate::config::{EmbeddedUrls, LinkKey, RedisConfig, S3Config, Secret, bucket_rules, redis_url};

impl Reader<'_> {
    fn required(&mut self, names: &[&str], example: &str) -> String {
        match self.text(names) {
            Some(value) => value,
            None => {
                let alias = if names.len() > 1 { format!(" (or {})", names[1..].join(", ")) } else { String::new() };
                if !self.errors.iter().any(|error| error.starts_with(&format!("{} ", names[0]))) {
                    self.error(names[0], &format!("is missing{alias}; or add --embedded"), example);
                }
                String::new()
            }
        }
    }

    pub fn database_url(&mut self, embedded: Option<&EmbeddedUrls>) -> Secret {
        if let Some(urls) = embedded {
            return Secret::new(&urls.database_url);
        }
        let example = "DATABASE_URL=postgres://larder:password@127.0.0.1:5432/larder";
        let url = self.required(&["DATABASE_URL"], example);
        // As for programs that use libpq.
        let password = self.text(&["PGPASSWORD"]);
        match (PostgresUrl::parse(&url), password) {
            (Ok(parsed), Some(password)) if parsed.config.get_password().is_none() => {
                return Secret::new(postgres_url::with_password(&url, &password));
            }
            (Err(why), _) if !url.is_empty() => self.error("DATABASE_URL", &why, example),
            _ => {}
        }
        Secret::new(url)
    }

    pub fn database_migration_url(&mut self, embedded: Option<&EmbeddedUrls>) -> Option<Secret> {
        let example = "DATABASE_MIGRATION_URL=postgres://larder_owner:password@127.0.0.1:5432/larder";
        let url = self.text(&["DATABASE_MIGRATION_URL"]).filter(|_| embedded.is_none())?;
        match PostgresUrl::parse(&url) {
            Ok(parsed) if parsed.has_pooler => {
                self.error("DATABASE_MIGRATION_URL", "contains pgbouncer=true, but must lead to the server directly", example);
            }
            Ok(_) => {}
            Err(why) => self.error("DATABASE_MIGRATION_URL", &why, example),
        }
        Some(Secret::new(url))
    }

    pub fn redis(&mut self, embedded: Option<&EmbeddedUrls>) -> RedisConfig {
        let example = "REDIS_URL=redis://127.0.0.1:6379/0";
        let url = match embedded {
            Some(urls) => urls.redis_url.clone(),
            None => {
                let url = self.required(&["REDIS_URL"], example);
                let password = self.text(&["REDIS_PASSWORD"]);
                if !url.is_empty()
                    && let Err(why) = redis_url::check(&url)
                {
                    self.error("REDIS_URL", &why, example);
                }
                redis_url::with_password(&url, password.as_deref())
            }
        };
        let pool_size = self.bounded(&["REDIS_POOL_SIZE", "REDIS_MAX_CONNECTIONS"], 10, 1..=10_000, "REDIS_POOL_SIZE=10");
        let timeout = self.parsed(&["REDIS_SOCKET_TIMEOUT"], 5.0_f64, "a number of seconds", "REDIS_SOCKET_TIMEOUT=5");
        if !(0.05..=60.0).contains(&timeout) {
            self.error("REDIS_SOCKET_TIMEOUT", &format!("is {timeout}, outside 0.05 to 60 seconds"), "REDIS_SOCKET_TIMEOUT=5");
        }
        let browse_url = match embedded {
            Some(urls) => Some(urls.redis_browse_url()),
            None => self.text(&["REDIS_BROWSE_URL"]),
        };
        if let Some(Err(why)) = browse_url.as_deref().map(redis_url::check) {
            self.error("REDIS_BROWSE_URL", &why, "REDIS_BROWSE_URL=redis://larder-browse:PASSWORD@127.0.0.1:6379/0");
        }
        let browse_password = self.text(&["REDIS_BROWSE_PASSWORD"]).filter(|_| embedded.is_none());
        let browse_url = browse_url.map(|url| redis_url::with_password(&url, browse_password.as_deref()));
        RedisConfig {
            url: Secret::new(url),
            browse_url: browse_url.map(Secret::new),
            pool_size: usize::try_from(pool_size).unwrap_or(10),
            timeout: Duration::try_from_secs_f64(timeout).unwrap_or(Duration::from_secs(5)),
            prefix: String::new(),
        }
    }

    /// The content of a PEM file with at least one valid certificate.
    fn certificates(&mut self, name: &'static str, example: &str) -> Option<Vec<u8>> {
        let path = self.text(&[name])?;
        let pem = match std::fs::read(&path) {
            Ok(pem) => pem,
            Err(error) => {
                self.error(name, &format!("names {path:?}, which cannot be read: {error}"), example);
                return None;
            }
        };
        let found: Result<Vec<_>, String> = CertificateDer::pem_slice_iter(&pem)
            .map(|certificate| {
                let certificate = certificate.map_err(|error| error.to_string())?;
                rustls::RootCertStore::empty().add(certificate).map_err(|error| error.to_string())
            })
            .collect();
        match found {
            Ok(found) if !found.is_empty() => return Some(pem),
            Ok(_) => self.error(name, &format!("names {path:?}, which contains no certificate in PEM format"), example),
            Err(error) => self.error(name, &format!("names {path:?}, which contains an invalid certificate: {error}"), example),
        }
        None
    }

    pub fn s3(&mut self, embedded: Option<&EmbeddedUrls>) -> S3Config {
        let (endpoint, access_key_id, secret_access_key) = match embedded {
            Some(urls) => (Some(urls.s3_endpoint.clone()), urls.s3_access_key_id.clone(), urls.s3_secret_access_key.clone()),
            None => (
                self.store_url(&["S3_ENDPOINT_URL", "MINIO_URL"], "S3_ENDPOINT_URL=http://127.0.0.1:9000"),
                self.required(&["AWS_ACCESS_KEY_ID", "MINIO_ACCESS_KEY", "MINIO_ROOT_USER"], "AWS_ACCESS_KEY_ID=larder"),
                self.required(
                    &["AWS_SECRET_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_ROOT_PASSWORD"],
                    "AWS_SECRET_ACCESS_KEY_FILE=/run/secrets/s3",
                ),
            ),
        };
        let buckets: Vec<String> = self
            .text(&["S3_BUCKETS", "MINIO_BUCKET_NAME", "AWS_BUCKET_NAME"])
            .unwrap_or_else(|| "sme-files".into())
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        for name in &buckets {
            let broken = bucket_rules::violated(name);
            if !broken.is_empty() {
                self.error("S3_BUCKETS", &format!("contains {name:?}: {}", broken.join(" ")), "S3_BUCKETS=sme-files,invoices");
            }
        }
        let link_key = match (self.text(&["S3_LINK_ACCESS_KEY_ID"]), self.text(&["S3_LINK_SECRET_ACCESS_KEY"])) {
            (Some(access_key_id), Some(secret)) => Some(LinkKey { access_key_id, secret_access_key: Secret::new(secret) }),
            (None, None) => None,
            (Some(_), None) => {
                self.error(
                    "S3_LINK_SECRET_ACCESS_KEY",
                    "is missing, but S3_LINK_ACCESS_KEY_ID is set",
                    "S3_LINK_SECRET_ACCESS_KEY_FILE=/run/secrets/links",
                );
                None
            }
            (None, Some(_)) => {
                self.error(
                    "S3_LINK_ACCESS_KEY_ID",
                    "is missing, but S3_LINK_SECRET_ACCESS_KEY is set",
                    "S3_LINK_ACCESS_KEY_ID=larder-links",
                );
                None
            }
        };
        S3Config {
            link_key: link_key.filter(|_| embedded.is_none()),
            endpoint,
            public_url: self.store_url(&["S3_PUBLIC_URL"], "S3_PUBLIC_URL=https://files.example.com"),
            buckets,
            region: self.text(&["AWS_REGION"]).unwrap_or_else(|| "us-east-1".into()),
            access_key_id,
            secret_access_key: Secret::new(secret_access_key),
            ca_pem: if embedded.is_some() { None } else { self.certificates("S3_CA_FILE", "S3_CA_FILE=/etc/ssl/store-ca.pem") },
            health_writes: self.flag("S3_HEALTH_WRITES", true),
            session_token: if embedded.is_some() { None } else { self.text(&["AWS_SESSION_TOKEN"]).map(Secret::new) },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Stores};

    #[test]
    fn migrations_use_their_own_url_or_that_of_the_database() {
        let read = |own: Option<&'static str>| {
            let lookup = move |name: &str| match name {
                "DATABASE_URL" => Some("postgres://app@pooler/larder?pgbouncer=true".to_owned()),
                "DATABASE_MIGRATION_URL" => own.map(str::to_owned),
                "REDIS_URL" => Some("redis://cache/0".to_owned()),
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("key".to_owned()),
                _ => None,
            };
            Config::from_lookup(&lookup, Stores::FromEnvironment)
        };
        assert!(read(None).unwrap().migration_url().reveal().contains("app@pooler"));
        assert_eq!(read(Some("postgres://owner@db/larder")).unwrap().migration_url().reveal(), "postgres://owner@db/larder");
        for wrong in ["postgres://owner@pooler/larder?pgbouncer=true", "mysql://owner@db/larder"] {
            let errors = read(Some(wrong)).unwrap_err().0;
            assert!(errors.len() == 1 && errors[0].starts_with("DATABASE_MIGRATION_URL "), "{errors:?}");
        }
    }
}
