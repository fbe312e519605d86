//! Readers for single variables: aliases, `NAME_FILE`, and error messages.

mod stores;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::{ConfigErrors, Environment, FirstAdmin, Network, Secret, UploadConfig};

pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    errors: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, errors: BTreeSet::new() }
    }

    pub fn error(&mut self, name: &str, what: &str, example: &str) {
        self.errors.insert(format!("{name} {what}. Example: {example}"));
    }

    pub fn finish<T>(self, read: T) -> Result<T, ConfigErrors> {
        if self.errors.is_empty() { Ok(read) } else { Err(ConfigErrors(self.errors.into_iter().collect())) }
    }

    pub fn bind(&mut self) -> SocketAddr {
        self.parsed(&["BIND"], SocketAddr::from(([127, 0, 0, 1], 8080)), "an address and port", "BIND=127.0.0.1:8080")
    }

    /// The value of one variable: `NAME`, or the content of the file that `NAME_FILE` points to. Empty means unset.
    fn one(&mut self, name: &str) -> Option<String> {
        let direct = (self.lookup)(name).filter(|value| !value.trim().is_empty());
        let file_name = format!("{name}_FILE");
        let path = (self.lookup)(&file_name).filter(|value| !value.is_empty());
        match (direct, path) {
            (Some(_), Some(_)) => {
                self.error(
                    name,
                    &format!("and {file_name} are both set"),
                    &format!("set only {file_name}=/run/secrets/{}", name.to_lowercase()),
                );
                None
            }
            (Some(value), None) => Some(value.trim().to_owned()),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(value) => Some(value.trim_end_matches(['\r', '\n']).to_owned()).filter(|value| !value.is_empty()),
                Err(error) => {
                    self.error(
                        &file_name,
                        &format!("names {path:?}, which cannot be read ({error})"),
                        &format!("{file_name}=/run/secrets/{}", name.to_lowercase()),
                    );
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// The first name is the canonical one. Two names with different values are an error.
    pub fn text(&mut self, names: &[&str]) -> Option<String> {
        let found: Vec<(&str, String)> = names.iter().filter_map(|name| self.one(name).map(|value| (*name, value))).collect();
        let (first, value) = found.first()?;
        if let Some((other, _)) = found.iter().find(|(_, other)| other != value) {
            self.error(first, &format!("and {other} are two names of one setting and differ"), &format!("set only {}", names[0]));
        }
        Some(value.clone())
    }

    pub fn parsed<T: FromStr>(&mut self, names: &[&str], default: T, what: &str, example: &str) -> T {
        let Some(value) = self.text(names) else { return default };
        value.parse().unwrap_or_else(|_| {
            self.error(names[0], &format!("is {value:?}, which is not {what}"), example);
            default
        })
    }

    /// A whole number within the given range.
    pub fn bounded(&mut self, names: &[&str], default: u64, bounds: std::ops::RangeInclusive<u64>, example: &str) -> u64 {
        let value = self.parsed(names, default, "a whole number", example);
        if bounds.contains(&value) {
            return value;
        }
        self.error(names[0], &format!("is {value}, outside {} to {}", bounds.start(), bounds.end()), example);
        default
    }

    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.text(&[name]).as_deref() {
            None => default,
            Some("true" | "1" | "yes") => true,
            Some("false" | "0" | "no") => false,
            Some(other) => {
                let what = format!("is {other:?}, which is neither true nor false");
                self.error(name, &what, &format!("{name}={default}"));
                default
            }
        }
    }

    /// A size in bytes: a number, or one with KiB, MiB, GiB, TiB (also KB, MB, GB, TB).
    fn bytes(&mut self, name: &str, default: u64, minimum: u64, example: &str) -> u64 {
        let Some(value) = self.text(&[name]) else { return default };
        match parse_bytes(&value) {
            Some(bytes) if bytes >= minimum => bytes,
            Some(_) => {
                self.error(name, &format!("is {value:?}, less than {minimum} bytes"), example);
                default
            }
            None => {
                self.error(name, &format!("is {value:?}, which is not a size"), example);
                default
            }
        }
    }

    pub fn addresses(&mut self, name: &str) -> Vec<Network> {
        let Some(value) = self.text(&[name]) else { return Vec::new() };
        let mut addresses = Vec::new();
        for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.error(
                    name,
                    &format!("contains {part:?}, which is neither an IP address nor a network"),
                    &format!("{name}=10.0.0.2,10.1.0.0/16"),
                ),
            }
        }
        addresses
    }

    pub fn http_url(&mut self, names: &[&str], example: &str) -> Option<String> {
        let value = self.text(names)?;
        let rest = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
        match rest {
            Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !value.contains(char::is_whitespace) => {
                Some(value.trim_end_matches('/').to_owned())
            }
            _ => {
                self.error(names[0], "is not an http:// or https:// URL", example);
                None
            }
        }
    }

    /// The URL of an object store, without a path.
    pub fn store_url(&mut self, names: &[&str], example: &str) -> Option<String> {
        let value = self.text(names)?;
        let path_error = "has a path, but S3 requests are signed for the root of a host: use a host name of its own";
        origin(value.trim_end_matches('/'), path_error).map_err(|what| self.error(names[0], what, example)).ok()
    }

    pub fn public_url(&mut self, environment: Environment) -> Option<String> {
        let example = "PUBLIC_URL=https://larder.example.com";
        let Some(value) = self.text(&["PUBLIC_URL"]) else {
            if environment == Environment::Production {
                self.error("PUBLIC_URL", "is required when APP_ENV=production", example);
            }
            return None;
        };
        origin(&value, "has a path; Larder is served at the root of its host").map_err(|what| self.error("PUBLIC_URL", what, example)).ok()
    }

    pub fn first_admin(&mut self) -> Option<FirstAdmin> {
        let email = self.text(&["ADMIN_EMAIL"]);
        let password = self.text(&["ADMIN_PASSWORD"]);
        match (email, password) {
            (Some(email), Some(password)) => {
                if password.chars().count() < 12 {
                    self.error("ADMIN_PASSWORD", "is shorter than 12 characters", "ADMIN_PASSWORD='correct horse battery staple'");
                }
                Some(FirstAdmin { email, password: Secret::new(password) })
            }
            (Some(_), None) => {
                self.error("ADMIN_PASSWORD", "is missing beside ADMIN_EMAIL", "ADMIN_PASSWORD_FILE=/run/secrets/admin_password");
                None
            }
            (None, Some(_)) => {
                self.error("ADMIN_EMAIL", "is missing beside ADMIN_PASSWORD", "ADMIN_EMAIL=you@example.com");
                None
            }
            (None, None) => None,
        }
    }

    pub fn count(&mut self, name: &'static str, default: u64) -> usize {
        usize::try_from(self.bounded(&[name], default, 1..=100_000, &format!("{name}={default}"))).unwrap_or(usize::MAX)
    }

    pub fn upload(&mut self) -> UploadConfig {
        const MIB: u64 = 1 << 20;
        let memory = self.bytes("UPLOAD_MEMORY", 128 * MIB, 16 * MIB, "UPLOAD_MEMORY=128MiB");
        UploadConfig {
            memory: usize::try_from(memory).unwrap_or(usize::MAX),
            max_size: self.bytes("UPLOAD_MAX_SIZE", 5 << 40, 1, "UPLOAD_MAX_SIZE=5TiB"),
            at_once: self.count("UPLOAD_LIMIT", 512),
            at_once_each: self.count("UPLOAD_LIMIT_PER_PERSON", 256),
            lease: Duration::from_secs(self.bounded(&["UPLOAD_LEASE_SECONDS"], 900, 5..=86_400, "UPLOAD_LEASE_SECONDS=900")),
            keep: Duration::from_secs(86_400 * self.bounded(&["UPLOAD_KEEP_DAYS"], 7, 1..=365, "UPLOAD_KEEP_DAYS=7")),
        }
    }
}

/// The origin of a URL as browsers send it in `Origin`: lower case, without the default port, and the host in ASCII (punycode).
/// `path_error`: for a URL with a path.
///
/// # Errors
/// The predicate of a sentence about the variable.
fn origin(value: &str, path_error: &'static str) -> Result<String, &'static str> {
    const NOT_A_URL: &str = "is not an http:// or https:// URL";
    let (_, rest) = value.split_once("://").ok_or(NOT_A_URL)?;
    // The parser would repair these.
    if rest.starts_with(['/', '\\']) || value.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(NOT_A_URL);
    }
    let url = url::Url::parse(value).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or(NOT_A_URL)?;
    if url.path() != "/" {
        return Err(path_error);
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("contains more than a scheme, a host and a port");
    }
    Ok(url.origin().ascii_serialization())
}

fn parse_bytes(value: &str) -> Option<u64> {
    let split = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..split].parse().ok()?;
    let unit: u64 = match value[split..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(unit)
}
