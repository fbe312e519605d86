//! Reads `DATABASE_URL`. What libpq accepts is accepted, or refused by the name of the parameter.
//! Source of the parameters: PostgreSQL documentation, "Database Connection Control Functions".

use std::net::IpAddr;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode};

/// Parameters that `tokio_postgres` reads with the meaning of libpq.
const PASSED_ON: [&str; 18] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "application_name",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "sslnegotiation",
    "sslmode",
];

/// Parameters without effect here: compression is never used, the server's name is always sent, and the remaining ones tune the
/// pools of other clients.
const WITHOUT_EFFECT: [&str; 9] = [
    "sslcompression",
    "sslsni",
    "connection_limit",
    "pool_timeout",
    "pool_mode",
    "statement_cache_size",
    "prepareThreshold",
    "krbsrvname",
    "gsslib",
];

/// A connection URL that was understood.
#[derive(Clone)]
pub struct PostgresUrl {
    pub config: tokio_postgres::Config,
    /// A private certificate authority, from `sslrootcert`.
    pub root_certificate: Option<String>,
    /// Settings of the session, not part of `config`.
    pub options: Option<String>,
    /// A pooler in transaction mode is in between, from `pgbouncer=true`: it refuses settings at the start of a connection.
    pub has_pooler: bool,
}

impl PostgresUrl {
    /// `verify-ca` and `verify-full` are treated as `require`, because certificates are always verified; `allow` as `prefer`.
    /// Without `sslmode`, connections to a loopback address or a socket are unencrypted and all others prefer TLS.
    ///
    /// # Errors
    /// The predicate of a sentence about the variable, such as "has no host". Never contains the password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some(rest) = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme)) else {
            return Err("does not begin with postgres:// or postgresql://".to_owned());
        };
        check_password(rest)?;
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut parsed = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("contains the parameter {pair:?} without a value"))?;
            parsed.add(name, value)?;
        }
        let rebuilt = if parsed.kept.is_empty() { base.to_owned() } else { format!("{base}?{}", parsed.kept.join("&")) };
        // The error of the library may quote the URL, which contains the password.
        let mut config = tokio_postgres::Config::from_str(&rebuilt).map_err(|_| "is not a Postgres connection string".to_owned())?;
        let local = config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
            Host::Unix(_) => true,
        });
        if !parsed.mode_given && local && parsed.root_certificate.is_none() {
            config.ssl_mode(SslMode::Disable);
        }
        if config.get_application_name().is_none() {
            config.application_name(parsed.application_name.as_deref().unwrap_or("larder"));
        }
        Ok(Self { config, root_certificate: parsed.root_certificate, options: parsed.options, has_pooler: parsed.has_pooler })
    }
}

/// Adds a password to a URL without one.
pub(super) fn with_password(url: &str, password: &str) -> String {
    let encoded = percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC);
    format!("{url}{}password={encoded}", if url.contains('?') { '&' } else { '?' })
}

#[derive(Default)]
struct Parameters {
    kept: Vec<String>,
    root_certificate: Option<String>,
    application_name: Option<String>,
    options: Option<String>,
    mode_given: bool,
    has_pooler: bool,
}

impl Parameters {
    fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        let decoded = percent_decode_str(value).decode_utf8_lossy();
        let keep = |this: &mut Self, name: &str, value: &str| this.kept.push(format!("{name}={value}"));
        let unknown = || Err(format!("contains {name}={decoded}, which Larder does not support"));
        match (name, &*decoded) {
            ("sslmode", mode) => {
                self.mode_given = true;
                match mode {
                    "disable" | "prefer" | "require" => keep(self, name, value),
                    "allow" => keep(self, name, "prefer"),
                    "verify-ca" | "verify-full" => keep(self, name, "require"),
                    _ => {
                        return Err(format!(
                            "contains sslmode={decoded}; disable, allow, prefer, require, verify-ca and verify-full exist"
                        ));
                    }
                }
            }
            // The certificates of the system, which are used anyway.
            ("sslrootcert", "system") => {}
            ("sslrootcert", path) => self.root_certificate = Some(path.to_owned()),
            ("fallback_application_name", name) => self.application_name = Some(name.to_owned()),
            ("options", options) => self.options = Some(options.to_owned()),
            ("gssencmode", "disable" | "prefer") | ("client_encoding", "auto" | "utf8" | "UTF8" | "utf-8" | "UTF-8") => {}
            ("gssencmode" | "client_encoding", _) => return unknown(),
            ("pgbouncer", flag) => self.has_pooler = flag == "true",
            ("schema", "public") => {}
            ("schema", schema) => {
                return Err(format!(
                    "contains schema={schema}, which Postgres does not know; write options=-csearch_path%3D{schema}, or set the search \
                     path of the user"
                ));
            }
            ("sslcert" | "sslkey" | "sslpassword", _) => {
                return Err(format!("contains {name}, but Larder does not sign in with client certificates; use a password"));
            }
            ("service" | "passfile", _) => {
                return Err(format!("contains {name}, but Larder reads no files of libpq; give the values themselves"));
            }
            (name, _) if WITHOUT_EFFECT.contains(&name) => {}
            (name, _) if PASSED_ON.contains(&name) => keep(self, name, value),
            (name, _) => return Err(format!("contains the parameter {name}, which Larder does not support")),
        }
        Ok(())
    }
}

/// Points out characters of a password that end the host part of a URL unless they are escaped.
fn check_password(rest: &str) -> Result<(), String> {
    let escaped = |c: char| format!("%{:02X}", u32::from(c));
    let hint = |c: char| Err(format!("contains an unescaped {c} in its password; write {} instead", escaped(c)));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user_and_password, _)) => {
            let password = user_and_password.split_once(':').map_or("", |(_, password)| password);
            if password.contains('@') {
                return hint('@');
            }
            let is_escape = |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
            if user_and_password.split('%').skip(1).any(|rest| !is_escape(rest)) {
                return hint('%');
            }
        }
        // The part before the first / ? or # has no @, but a later one does: the character is part of the password.
        None if authority.contains(':') && rest[authority.len()..].split('?').next().unwrap_or_default().contains('@') => {
            if let Some(c) = rest[authority.len()..].chars().next() {
                return hint(c);
            }
        }
        None if authority.contains(':') && rest[authority.len()..].starts_with(['?', '#']) && rest.contains('@') => {
            if let Some(c) = rest[authority.len()..].chars().next() {
                return hint(c);
            }
        }
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(url: &str) -> String {
        PostgresUrl::parse(url).err().unwrap()
    }

    fn mode(url: &str) -> SslMode {
        PostgresUrl::parse(url).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn the_url_determines_the_tls_mode() {
        assert_eq!(mode("postgres://u:p@127.0.0.1/db"), SslMode::Disable);
        assert_eq!(mode("postgres:///app?host=/run/larder&user=app"), SslMode::Disable);
        assert_eq!(mode("postgres://u@db.example.com/db"), SslMode::Prefer);
        assert_eq!(mode("postgres://u@db.example.com/db?sslmode=allow"), SslMode::Prefer);
        assert_eq!(mode("postgres://u@127.0.0.1/db?sslmode=verify-full"), SslMode::Require);
        assert_eq!(mode("postgres://u@db.example.com/db?sslmode=disable"), SslMode::Disable);
        let with_ca = PostgresUrl::parse("postgres://u@db/db?sslmode=require&sslrootcert=/etc/my%20ca.pem").unwrap();
        assert_eq!(with_ca.root_certificate.as_deref(), Some("/etc/my ca.pem"));
    }

    #[test]
    fn parameters_of_libpq_and_of_other_clients_are_accepted() {
        for query in [
            "gssencmode=prefer",
            "gssencmode=disable&client_encoding=UTF8",
            "sslsni=1&sslcompression=0",
            "target_session_attrs=read-write&channel_binding=prefer",
            "keepalives_idle=30&connect_timeout=5",
            "fallback_application_name=shop",
            "schema=public&connection_limit=5&pool_timeout=10",
            "sslrootcert=system&sslmode=verify-full",
        ] {
            assert!(PostgresUrl::parse(&format!("postgres://u:p@db/larder?{query}")).is_ok(), "{query}");
        }
        assert!(PostgresUrl::parse("postgres://u:p@db/larder?pgbouncer=true").unwrap().has_pooler);
    }

    #[test]
    fn a_parameter_that_is_not_supported_is_named() {
        for (query, named) in [
            ("sslcert=/a.pem", "sslcert"),
            ("gssencmode=require", "gssencmode=require"),
            ("client_encoding=latin1", "client_encoding=latin1"),
            ("schema=shop", "schema=shop"),
            ("sslmode=invalid", "sslmode=invalid"),
            ("service=db", "service"),
            ("colour=blue", "the parameter colour"),
            ("flag", "\"flag\""),
        ] {
            let why = why(&format!("postgres://u:secret@db/larder?{query}"));
            assert!(why.contains(named) && !why.contains("secret"), "{query}: {why}");
        }
    }

    #[test]
    fn an_unescaped_character_of_a_password_is_pointed_out() {
        for (password, c, code) in
            [("a/b", '/', "%2F"), ("a#b", '#', "%23"), ("a?b", '?', "%3F"), ("a@b", '@', "%40"), ("a%b", '%', "%25"), ("5%", '%', "%25")]
        {
            let why = why(&format!("postgres://larder:{password}@db.example.com:5432/larder"));
            assert!(why.contains(&format!("unescaped {c}")) && why.contains(code), "{password}: {why}");
            assert!(!why.contains(password), "{why}");
        }
        for good in ["a%2Fb", "a%40b", "", "a:b", "a+b&c=d"] {
            assert!(PostgresUrl::parse(&format!("postgres://larder:{good}@db.example.com:5432/larder")).is_ok(), "{good}");
        }
    }
}
